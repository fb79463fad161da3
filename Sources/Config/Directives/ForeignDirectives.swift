/// Directives of nginx's own modules that have no row in the table: the product knows them, to say that it does
/// not support them, and what to do instead.
enum ForeignDirectives {
    static func contains(_ name: String) -> Bool { remedies[name] != nil }

    /// `nil` for a directive of another kind.
    static func message(for name: String) -> String? {
        remedies[name].map { "is a directive of nginx that Switchyard does not support: \($0)" }
    }

    /// Whether a word of this name is hardly anything else: `status` and `timeout` are arguments, too.
    static func isPlain(_ name: String) -> Bool {
        contains(name) && (name.contains("_") || ["alias", "index", "root"].contains(name))
    }

    static var names: some Collection<String> { remedies.keys }

    /// Those that make a variable of the argument that begins with `$`.
    static func definesVariable(_ name: String) -> Bool { definingVariables.contains(name) }

    private static let definingVariables: Set<String> = [
        "perl_set", "js_set", "js_var", "keyval",
    ]

    /// By name. What is said of a directive by itself goes before what is said of its list.
    private static let remedies: [String: String] = {
        var remedies: [String: String] = [:]
        for (names, remedy) in ownRemedies + lists {
            for name in names.split(separator: " ") where remedies[String(name)] == nil {
                remedies[String(name)] = remedy
            }
        }
        return remedies
    }()

    private static let lists: [(names: String, remedy: String)] = [
        (
            core,
            "it proxies HTTP and WebSockets, and \"From nginx\" in docs/migrating.md says what else is left out"
        ),
        (http, "it can be left out, or a hook in Lua does what it is for"),
        (files, "no files are sent, a server that sends them can stand behind \"proxy_pass\""),
        (filters, "a \"response_body\" hook changes responses, as examples/rewrite_response.lua does"),
        (caching, "nothing is cached, a cache can stand before or behind it"),
        (balancing, "a \"request\" hook chooses the upstream by \"flow:route\""),
        (
            variables,
            "\"map\" and \"set_by_lua_block\" make variables, and \"map_by_lua_block\" one of another"
        ),
        (tls, "it can be left out"),
        (http2, "\"http2\" serves HTTP/2, and there is no HTTP/3"),
        (
            fastcgiAndKin,
            "upstreams speak HTTP, so that the application's server or a gateway can stand behind \"proxy_pass\""
        ),
        (proxying, "it can be left out, or \"request\" and \"response\" hooks do what it is for"),
        (stream, "it proxies HTTP and WebSockets, and no other protocols"),
        (mail, "it proxies HTTP and WebSockets, and no other protocols"),
        (commercial, "\"From nginx\" in docs/migrating.md says what is left out"),
    ]

    private static let ownRemedies: [(names: String, remedy: String)] = [
        ("limit_zone", "nginx has \"limit_conn_zone\" in its place"),
        (
            "sub_filter sub_filter_types sub_filter_last_modified sub_filter_once",
            "see examples/rewrite_response.lua"
        ),
        ("mirror mirror_request_body", "see examples/mirror.lua"),
        (
            "secure_link secure_link_md5 secure_link_secret",
            "a \"request\" hook compares \"sy.base64.encode_url(sy.md5(…))\""
        ),
        (
            "valid_referers referer_hash_max_size referer_hash_bucket_size",
            "\"map $http_referer\" with \"if\" does it, and examples/allowed_origins.lua for WebSockets"
        ),
        (
            "userid userid_service userid_name userid_domain userid_path userid_expires userid_p3p userid_mark userid_flags",
            "a \"response\" hook adds \"Set-Cookie\", as examples/experiment.lua does"
        ),
        (
            "gzip_window gzip_hash gzip_no_buffer postpone_gzipping gunzip_buffers",
            "responses go out as the upstream compressed them"
        ),
        (
            "grpc_pass grpc_set_header",
            "gRPC goes by \"proxy_pass\" and \"proxy_set_header\", with \"proxy_http_version 2\""
        ),
        (
            "sticky sticky_cookie_insert",
            "a plugin keeps visitors at a server by a cookie, see \(OtherProgramsDirectives.fromHAProxy)"
        ),
        ("health_check match", OtherProgramsDirectives.health),
        (
            "js_import js_content js_set js_path js_include js_body_filter js_header_filter js_var js_preload_object "
                + "js_fetch_timeout js_fetch_buffer_size js_shared_dict_zone js_access js_preread js_filter "
                + "perl perl_modules perl_require perl_set",
            "hooks are in Lua, see docs/scripting.md"
        ),
        (
            "api status status_format status_zone",
            "\"prometheus_metrics\" and \"stub_status\" answer with counters"
        ),
        ("keyval keyval_zone", "scripts keep keys and values in \"sy.shared\""),
        (
            "auth_jwt auth_jwt_claim_set auth_jwt_header_set auth_jwt_key_file auth_jwt_key_request auth_jwt_leeway "
                + "auth_jwt_require auth_jwt_type",
            "\"sy.jwt.verify\" checks tokens, see examples/tenants.lua"
        ),
        ("timeout", OtherProgramsDirectives.timeouts),
        ("internal_redirect", "a \"request\" hook calls \"flow:internal_redirect\""),
    ]

    private static let core = "ssl_engine google_perftools_profiles stream mail quic_bpf"

    private static let http =
        "satisfy_any server_name_in_log override_charset max_headers post_action "
        + "early_hints keepalive_min_timeout"

    private static let files =
        "root alias index try_files autoindex_exact_size autoindex_format autoindex_localtime random_index "
        + "dav_methods create_full_put_path min_delete_depth dav_access empty_gif flv mp4 mp4_buffer_size "
        + "mp4_max_buffer_size mp4_limit_rate mp4_limit_rate_after mp4_start_key_frame"

    private static let filters =
        "addition_types add_before_body add_after_body charset_types charset_map source_charset "
        + "ssi_silent_errors ssi_ignore_recycled_buffers ssi_min_file_chunk ssi_value_length ssi_types "
        + "ssi_last_modified xml_entities xslt_stylesheet xslt_param xslt_string_param xslt_types "
        + "xslt_last_modified image_filter image_filter_jpeg_quality image_filter_webp_quality "
        + "image_filter_sharpen image_filter_transparency image_filter_interlace image_filter_buffer slice "
        + "degradation degrade"

    private static let caching =
        "proxy_store_access memcached_pass memcached_bind "
        + "memcached_socket_keepalive memcached_connect_timeout memcached_send_timeout memcached_buffer_size "
        + "memcached_read_timeout memcached_next_upstream memcached_next_upstream_tries "
        + "memcached_next_upstream_timeout memcached_gzip_flag memcached_force_ranges"

    private static let balancing = "least_time queue ntlm state"

    private static let variables =
        "geoip_country geoip_city geoip_org geoip_proxy geoip_proxy_recursive browser ancient_browser "
        + "ancient_browser_value modern_browser modern_browser_value"

    private static let tls =
        "ssl_certificate_compression ssl_object_cache_inheritable proxy_ssl"

    private static let http2 =
        "spdy_recv_buffer_size spdy_pool_size spdy_max_concurrent_streams "
        + "spdy_streams_index_size spdy_recv_timeout spdy_keepalive_timeout spdy_headers_comp spdy_chunk_size "
        + "http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size quic_retry quic_gso "
        + "quic_host_key quic_active_connection_id_limit"

    private static let proxying =
        "proxy_force_ranges proxy_allow_upstream proxy_pass_trailers proxy_request_dynamic"

    /// Four modules whose directives differ in their prefix only, for the most part.
    private static let fastcgiAndKin: String = {
        let common =
            "pass store store_access buffering request_buffering ignore_client_abort bind socket_keepalive "
            + "connect_timeout send_timeout buffer_size pass_request_headers pass_request_body intercept_errors "
            + "read_timeout buffers busy_buffers_size force_ranges limit_rate cache cache_key cache_path "
            + "cache_bypass no_cache cache_valid cache_min_uses cache_max_range_offset cache_use_stale "
            + "cache_methods cache_lock cache_lock_timeout cache_lock_age cache_revalidate "
            + "cache_background_update max_temp_file_size temp_file_write_size next_upstream "
            + "next_upstream_tries next_upstream_timeout param pass_header hide_header ignore_headers"
        let names = ["fastcgi", "uwsgi", "scgi", "grpc"].flatMap { module in
            common.split(separator: " ").map { "\(module)_\($0)" }
        }
        let own =
            "fastcgi_index fastcgi_send_lowat fastcgi_keep_conn fastcgi_split_path_info fastcgi_catch_stderr "
            + "uwsgi_modifier1 uwsgi_modifier2 uwsgi_string uwsgi_ssl_session_reuse uwsgi_ssl_protocols "
            + "uwsgi_ssl_ciphers uwsgi_ssl_name uwsgi_ssl_server_name uwsgi_ssl_verify uwsgi_ssl_verify_depth "
            + "uwsgi_ssl_trusted_certificate uwsgi_ssl_crl uwsgi_ssl_certificate uwsgi_ssl_certificate_key "
            + "uwsgi_ssl_password_file uwsgi_ssl_conf_command grpc_set_header grpc_ssl_session_reuse "
            + "grpc_ssl_protocols grpc_ssl_ciphers grpc_ssl_name grpc_ssl_server_name grpc_ssl_verify "
            + "grpc_ssl_verify_depth grpc_ssl_trusted_certificate grpc_ssl_crl grpc_ssl_certificate "
            + "grpc_ssl_certificate_key grpc_ssl_password_file grpc_ssl_conf_command"
        return (names + [own]).joined(separator: " ")
    }()

    private static let stream =
        "preread_buffer_size preread_timeout proxy_protocol_timeout ssl_preread ssl_handshake_timeout "
        + "proxy_download_rate proxy_upload_rate proxy_requests proxy_responses proxy_timeout proxy_protocol "
        + "proxy_half_close proxy_session_drop proxy_downstream_buffer proxy_upstream_buffer pass"

    private static let mail =
        "protocol auth_http auth_http_timeout auth_http_header auth_http_pass_client_cert imap_capabilities "
        + "imap_auth imap_client_buffer pop3_capabilities pop3_auth smtp_capabilities smtp_auth "
        + "smtp_client_buffer smtp_greeting_delay starttls proxy proxy_buffer proxy_pass_error_message "
        + "proxy_smtp_auth xclient timeout max_errors"

    private static let commercial =
        "session_log session_log_format session_log_zone hls hls_buffers hls_forward_args hls_fragment "
        + "hls_mp4_buffer_size hls_mp4_max_buffer_size f4f f4f_buffer_size zone_sync zone_sync_server "
        + "otel_trace otel_exporter"
}
