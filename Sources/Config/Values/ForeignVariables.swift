/// Variables of nginx's own modules that the product does not have, and that a configuration cannot make its own in nginx:
/// to assign one is refused there as well, or has an effect that it would not have here.
enum ForeignVariables {
    static func contains(_ name: String) -> Bool { names.contains(name) }

    private static let names: Set<String> = [
        "date_gmt", "date_local", "document_root", "fastcgi_path_info", "fastcgi_script_name",
        "realpath_root", "request_body_file", "request_filename", "secure_link",
        "secure_link_expires",
        "slice_range",
        "tcpinfo_rcv_space", "tcpinfo_rtt", "tcpinfo_rttvar", "tcpinfo_snd_cwnd", "uid_got",
        "uid_reset", "uid_set",
    ]

    /// What to do without a variable of nginx or of one of its modules, or `nil` for one of nobody's.
    static func remedy(for name: String) -> String? {
        remedies.first { $0.names.contains(name) }?.remedy
    }

    private static let remedies: [(names: NameList, remedy: String)] = [
        (
            "document_root realpath_root request_filename fastcgi_*",
            "no files are sent, and \"$uri\" is the path that is asked for"
        ),
        ("request_body_file", "bodies are not kept in files"),
        ("date_gmt date_local", "\"$time_iso8601\" and \"$time_local\" are there"),
        ("geoip_* geoip2_* ip2location_*", OtherProgramsDirectives.place),
        ("secure_link*", "a \"request\" hook compares \"sy.base64.encode_url(sy.md5(…))\""),
        ("invalid_referer", "\"map $http_referer\" with \"if\" does it"),
        ("modern_browser ancient_browser msie", "\"map $http_user_agent\" does it"),
        (
            "uid_got uid_reset uid_set",
            "a \"response\" hook adds \"Set-Cookie\", as examples/experiment.lua does"
        ),
        ("jwt_*", "\"sy.jwt.verify\" checks tokens, see examples/tenants.lua"),
        ("slice_range memcached_key upstream_cache_* cache_*", "nothing is cached"),
        ("brotli_ratio zstd_ratio", OtherProgramsDirectives.compression),
        ("http3 quic", "there is no HTTP/3"),
        ("spdy spdy_*", "there is no SPDY, and \"$http2\" tells HTTP/2"),
        ("tcpinfo_*", "nothing is asked of the kernel about connections"),
        (
            "otel_* opentelemetry_* opentracing_*",
            "no traces are sent, and \"$request_id\" tells requests apart"
        ),
        ("session_log_*", "\"$request_id\" and \"$connection\" tell requests and connections apart"),
    ]
}
