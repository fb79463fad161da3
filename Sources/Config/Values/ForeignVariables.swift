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
}
