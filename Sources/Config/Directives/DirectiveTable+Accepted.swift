/// Directives that change nothing here, so that configurations which have them run as they are.
extension DirectiveTable {
    static let acceptedCore: [Directive] = [
        .accepted("master_process", in: .main, why: "There is one process; workers are threads."),
        .accepted("load_module", in: .main, why: "Directives of modules are reported where they are used."),
        .accepted("env", in: .main, why: "The process keeps its environment."),
        .accepted("lock_file", in: .main, why: "There is no lock: each worker accepts by itself."),
        .accepted("pcre_jit", in: .main, why: "Regular expressions are always compiled to machine code."),
        .accepted("working_directory", in: .main, why: "The process stays where it was started."),
        .accepted("worker_cpu_affinity", in: .main, takes: .atLeast(1), why: "The kernel places threads."),
        .accepted("worker_priority", in: .main, why: "Threads keep the priority of the process."),
        .accepted("worker_rlimit_core", in: .main, why: "The limit stays as the process was started with."),
        .accepted("timer_resolution", in: .main, why: "The loop reads the clock once a turn."),
        .accepted("thread_pool", in: .main, takes: .between(2, 3), why: "No files are read while serving."),
        .accepted("debug_points", in: .main, why: "There are none."),
        .accepted("use", in: .events, why: "The loop uses epoll."),
        .accepted("multi_accept", in: .events, why: "Workers always accept all that is waiting."),
        .accepted("accept_mutex", in: .events, why: "The kernel wakes one of the workers."),
        .accepted("accept_mutex_delay", in: .events, why: "The kernel wakes one of the workers."),
        .accepted("epoll_events", in: .events, why: "The loop chooses by itself."),
        .accepted("worker_aio_requests", in: .events, why: "No files are read while serving."),
        .accepted("debug_connection", in: .events, why: "error_log's level holds for all connections."),
    ]

    static let acceptedHTTP: [Directive] =
        [
            group(
                "server_names_hash_max_size server_names_hash_bucket_size variables_hash_max_size "
                    + "variables_hash_bucket_size map_hash_max_size map_hash_bucket_size",
                in: .http, why: "Tables size themselves."),
            group("types_hash_max_size types_hash_bucket_size", in: .levels, why: "Tables size themselves."),
            group(
                "connection_pool_size request_pool_size", in: .httpAndServer,
                why: "Memory comes from the system's allocator."),
            group(
                "client_body_in_single_buffer client_body_in_file_only", in: .levels,
                why: "Request bodies are passed on as they come."),
            group("sendfile", in: .levelsAndIf, why: "No files are sent."),
            group(
                "sendfile_max_chunk tcp_nopush aio aio_write directio directio_alignment read_ahead "
                    + "open_file_cache_valid open_file_cache_min_uses open_file_cache_errors open_file_cache_events log_not_found "
                    + "if_modified_since max_ranges etag",
                in: .levels, why: "No files are sent."),
            group(
                "lingering_close lingering_time lingering_timeout", in: .levels,
                why: "A connection closed with unread bytes is always drained for a moment."),
            group(
                "msie_padding msie_refresh send_lowat postpone_output subrequest_output_buffer_size",
                in: .levels, why: "Responses are sent as they come."),
            group("output_buffers", in: .levels, takes: .two, why: "Responses are sent as they come."),
            group(
                "rewrite_log uninitialized_variable_warn", in: .levelsAndIf.union(.ifInServer),
                why: "Rewrites are not logged."),
            group(
                "gzip_comp_level gzip_min_length gzip_vary gzip_http_version", in: .levels,
                why: "Compression cannot be turned on yet."),
            group(
                "gzip_proxied gzip_types gzip_disable", in: .levels, takes: .atLeast(1),
                why: "Compression cannot be turned on yet."),
            group("gzip_buffers", in: .levels, takes: .two, why: "Compression cannot be turned on yet."),
            group(
                "open_file_cache open_log_file_cache", in: .levels, takes: .between(1, 4),
                why: "Log files stay open; no others are opened."),
            group(
                "client_body_temp_path fastcgi_temp_path uwsgi_temp_path scgi_temp_path", in: .levels,
                takes: .between(1, 4), why: "No temporary files are written."),
        ].flatMap { $0 }

    static let acceptedProxying: [Directive] =
        [
            group(
                "proxy_headers_hash_max_size proxy_headers_hash_bucket_size", in: .levels,
                why: "Tables size themselves."),
            group(
                "proxy_max_temp_file_size proxy_temp_file_write_size", in: .levels,
                why: "No temporary files are written."),
            group(
                "proxy_temp_path", in: .levels, takes: .between(1, 4), why: "No temporary files are written."),
            group(
                "proxy_cache_bypass proxy_no_cache proxy_cache_valid proxy_cache_use_stale proxy_cache_methods "
                    + "proxy_cache_purge",
                in: .levels, takes: .atLeast(1), why: "Nothing is cached."),
            group(
                "proxy_cache_key proxy_cache_min_uses proxy_cache_lock proxy_cache_lock_timeout proxy_cache_lock_age "
                    + "proxy_cache_revalidate proxy_cache_convert_head proxy_cache_background_update "
                    + "proxy_cache_max_range_offset",
                in: .levels, why: "Nothing is cached."),
            group("proxy_cache_path", in: .http, takes: .atLeast(2), why: "Nothing is cached."),
            group("proxy_send_lowat", in: .levels, why: "The kernel's value is kept."),
        ].flatMap { $0 }

    /// What may be turned off, as it is.
    static let offOnly: [Directive] = [
        .offOnly(
            "gzip", in: .levelsAndIf, "compressing responses",
            instead: "responses go out as the upstream compressed them"),
        .offOnly(
            "gunzip", in: .levels, "decompressing responses",
            instead:
                "\"proxy_set_header Accept-Encoding identity\" asks the upstream for what is not compressed"),
        .offOnly("gzip_static", in: .levels, "sending files"),
        .offOnly("ssl", in: .httpAndServer, "TLS by other means than \"listen … ssl\""),
        .offOnly(
            "proxy_cache", in: .levels, "caching", instead: "a cache can stand before or behind it"),
        .offOnly(
            "proxy_store", in: .levels, "storing responses", instead: "a cache can stand before or behind it"),
        .offOnly(
            "proxy_bind", in: .levels, "choosing the local address",
            instead: "the system's routes choose the address that connections to upstreams come from"),
        .offOnly(
            "autoindex", in: .levels, "listing directories",
            instead: "a server that sends files can stand behind \"proxy_pass\""),
        .offOnly(
            "ssi", in: .levelsAndIf, "server-side includes",
            instead: "a \"response_body\" hook changes responses, as examples/rewrite_response.lua does"),
        .offOnly(
            "charset", in: .levelsAndIf, "changing character sets",
            instead: "a \"response\" hook can set \"Content-Type\""),
        .offOnly("disable_symlinks", in: .levels, "sending files"),
    ]

    /// Rows for names separated by spaces.
    private static func group(
        _ names: String, in contexts: Contexts, takes arity: Arity = .one, why: String
    ) -> [Directive] {
        names.split(separator: " ").map { .accepted(String($0), in: contexts, takes: arity, why: why) }
    }
}
