/// Words of modules that are no part of nginx, and of HAProxy, whose files are read by mistake or moved word by word: a
/// message says whose they are, and what there is instead.
enum OtherProgramsDirectives {
    /// `nil` for a word that is nobody's.
    static func message(for name: String) -> String? {
        if isHAProxys(name) {
            let own = haproxy.first { $0.names.contains(name) }?.remedy
            return "is a word of HAProxy: " + (own.map { "here it is \($0), " } ?? "") + "see \(fromHAProxy)"
        }
        return modules.first { $0.names.contains(name) }.map {
            "is a directive of nginx's module \($0.module), which Switchyard does not have: \($0.remedy)"
        }
    }

    static func isHAProxys(_ name: String) -> Bool {
        haproxyRest.contains(name) || haproxy.contains { $0.names.contains(name) }
    }

    /// Those that make a variable of the argument that begins with `$`.
    static func definesVariable(_ name: String) -> Bool {
        modules.contains { $0.module == "set-misc" && $0.names.contains(name) }
    }

    /// Said of `timeout` as well, which is a word of nginx's for mail, but known from HAProxy.
    static let timeouts =
        "HAProxy's are \"proxy_connect_timeout\", \"proxy_read_timeout\" and others, see " + fromHAProxy

    /// Where words of HAProxy are listed.
    static let fromHAProxy = "\"From HAProxy\" in docs/migrating.md"

    /// What is said, for tests.
    static var remedies: [String] { modules.map(\.remedy) + [timeouts] }

    private struct Module {
        let module: String
        let names: NameList
        let remedy: String
    }

    // Said of directives and variables of nginx's own, too.
    static let compression = "responses go out as the upstream compressed them"
    private static let filter =
        "a \"response_body\" hook changes responses, as examples/rewrite_response.lua does"
    static let health =
        "examples/health_check.lua asks servers, and \"max_fails\" and \"fail_timeout\" of a \"server\" take it out "
        + "where requests fail"
    static let place =
        "\"geo\", \"map_by_lua_block\" of \"$remote_addr\" or a header of what stands in front say where clients are"

    private static let modules = [
        Module(
            module: "headers-more", names: "more_set_input_headers more_clear_input_headers",
            remedy: "\"proxy_set_header\" sets what goes upstream, and takes it away with \"\""),
        Module(
            module: "headers-more", names: "more_*",
            remedy:
                "\"add_header\" adds, \"proxy_hide_header\" takes away, and a \"response\" hook does both, as "
                + "examples/header_policy.lua does"),
        Module(module: "brotli", names: "brotli*", remedy: compression),
        Module(module: "zstd", names: "zstd*", remedy: compression),
        Module(module: "pagespeed", names: "pagespeed pagespeed_*", remedy: filter),
        Module(module: "substitutions", names: "subs_filter*", remedy: filter),
        Module(module: "replace-filter", names: "replace_filter*", remedy: filter),
        Module(module: "geoip2", names: "geoip2*", remedy: place),
        Module(module: "ip2location", names: "ip2location*", remedy: place),
        Module(
            module: "echo", names: "echo echo_*",
            remedy: "\"return 200 text;\" answers, or a \"request\" hook with \"flow:respond\""),
        Module(
            module: "modsecurity", names: "modsecurity*",
            remedy:
                "a firewall can stand before it, and \"request\", \"request_body\" and \"message\" hooks refuse what "
                + "they do not like"),
        Module(
            module: "naxsi", names: "SecRulesEnabled MainRule BasicRule CheckRule DeniedUrl LearningMode",
            remedy:
                "a firewall can stand before it, and \"request\" and \"request_body\" hooks refuse what they do not like"
        ),
        Module(
            module: "set-misc",
            names: """
                set_escape_uri set_unescape_uri set_if_empty set_quote_* set_encode_* set_decode_* set_base32* \
                set_hashed_upstream set_rotate set_random set_secure_random* set_md5 set_sha1 set_hmac_* \
                set_local_today set_formatted_* set_hex*
                """,
            remedy:
                "\"set_by_lua_block\" makes variables, with \"sy.uri\", \"sy.base64\", \"sy.hex\", \"sy.md5\" and others"
        ),
        Module(module: "redis", names: "redis_*", remedy: "a \"request\" hook asks by \"sy.redis\""),
        Module(module: "redis2", names: "redis2_*", remedy: "a \"request\" hook asks by \"sy.redis\""),
        Module(
            module: "memc", names: "memc_*", remedy: "\"sy.shared\" and \"sy.redis\" keep keys and values"),
        Module(
            module: "srcache", names: "srcache_*",
            remedy: "nothing is cached, a cache can stand before or behind it"),
        Module(
            module: "vts", names: "vhost_traffic_status*",
            remedy: "\"prometheus_metrics\" answers with counters"),
        Module(
            module: "upstream_check", names: "check check_*",
            remedy: health),
        Module(
            module: "upstream-fair", names: "fair", remedy: "\"least_conn\" chooses those that are least busy"
        ),
        Module(
            module: "nchan", names: "nchan_*",
            remedy: "scripts publish to WebSockets by tags, see examples/broadcast.lua"),
        Module(
            module: "push-stream", names: "push_stream_*",
            remedy: "scripts publish to WebSockets by tags, see examples/broadcast.lua"),
        Module(
            module: "auth_ldap", names: "auth_ldap* ldap_server",
            remedy: "\"auth_request\" asks a server that knows, or examples/forward_auth.lua"),
        Module(
            module: "auth_pam", names: "auth_pam*",
            remedy: "\"auth_request\" asks a server that knows, or examples/forward_auth.lua"),
        Module(module: "cookie_flag", names: "set_cookie_flag", remedy: "\"proxy_cookie_flags\" does it"),
        Module(
            module: "opentelemetry", names: "otel_* opentelemetry* opentracing*",
            remedy:
                "no traces are sent: \"$request_id\" and \"traceparent\" go upstream by \"proxy_set_header\""),
        // No pattern: misspelt ones of `proxy_connect_timeout` are not its.
        Module(
            module: "proxy_connect",
            names: """
                proxy_connect proxy_connect_allow proxy_connect_address proxy_connect_bind proxy_connect_response \
                proxy_connect_connect_timeout proxy_connect_data_timeout proxy_connect_read_timeout \
                proxy_connect_send_timeout
                """, remedy: "CONNECT is not proxied"),
        Module(
            module: "rtmp", names: "rtmp rtmp_*",
            remedy: "it proxies HTTP and WebSockets, and no other protocols"),
        Module(
            module: "fancyindex", names: "fancyindex*",
            remedy: "no files are sent, a server that sends them can stand behind \"proxy_pass\""),
        Module(
            module: "upload", names: "upload_*",
            remedy: "bodies are streamed to the upstream, and a \"request_body\" hook sees them"),
    ]

    private static let haproxy: [(names: NameList, remedy: String)] = [
        ("frontend bind", "\"server\" with \"listen\""),
        ("backend default-server server-template balance", "\"upstream\""),
        ("acl use_backend default_backend use-server", "\"location\", \"map\" and \"proxy_pass\""),
        ("http-request", "\"proxy_set_header\", \"return\", \"deny\", \"rewrite\" or a \"request\" hook"),
        ("http-response http-after-response", "\"add_header\" or a \"response\" hook"),
        ("lua-load lua-load-per-thread", "\"plugin\""),
        ("lua-prepend-path", "\"lua_package_path\""),
        ("stick-table", "\"limit_req_zone\" and \"limit_conn_zone\""),
        ("maxconn", "\"worker_connections\", and \"max_conns\" of a \"server\""),
        ("nbthread nbproc", "\"worker_processes\""),
        ("errorfile", "\"error_page\""),
        ("userlist", "\"auth_basic_user_file\""),
        ("nameserver resolvers", "\"resolver\""),
        ("redirect", "\"return\""),
        ("stats monitor-uri", "\"stub_status\" and \"prometheus_metrics\""),
    ]

    private static let haproxyRest: NameList = """
        global defaults mode option stick log cookie compression retries peers peer filter tcp-request tcp-response \
        tcp-check http-check http-reuse ca-base crt-base crt-store unique-id-format log-format log-tag chroot \
        hash-type fullconn mailers force-persist ignore-persist ssl-default-* tune.*
        """
}
