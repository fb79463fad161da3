/// What to say of directives for Lua that do not exist: OpenResty's with the name of ours, misspelt ones with the
/// hooks that there are.
enum ScriptDirectiveHints {
    /// `nil` for a name that is of another kind.
    static func message(for name: String) -> String? {
        if name.hasPrefix("lua_") { return settings.first { $0.names.contains(name) }?.message }
        guard let range = name.ranges(of: "_by_lua").last else { return nil }
        let hook = String(name[..<range.lowerBound])
        let suffix = String(name[range.lowerBound...])
        guard ["_by_lua", "_by_lua_block", "_by_lua_file"].contains(suffix) else { return nil }
        let form = suffix == "_by_lua" ? "_by_lua_block" : suffix
        if hook == "balancer" {
            return
                "is a directive of OpenResty, expected \"request\(form)\" in the location, with \"flow:route\""
        }
        if let remedy = hooksWithoutOurs.first(where: { $0.theirs.contains(hook) })?.remedy {
            return "is a directive of OpenResty that has no counterpart: \(remedy)"
        }
        if let ours = openRestyHooks.first(where: { $0.theirs == hook })?.ours {
            return "is a directive of OpenResty, expected \"\(ours.name)\(form)\""
        }
        if DirectiveTable.names.contains(hook + form) {
            return "is a directive of OpenResty, expected \"\(hook)_by_lua_block\" or \"\(hook)_by_lua_file\""
        }
        let hooks = HookStage.allCases.map(\.name)
        if let near = Spelling.nearest(to: hook, among: hooks) {
            return "unknown hook, did you mean \"\(near)\(form)\"?"
        }
        return "unknown hook \"\(hook)\", expected \(DirectiveUse.listing(hooks))"
    }

    private static let openRestyHooks: [(theirs: String, ours: HookStage)] = [
        ("init_worker", .initialise), ("server_rewrite", .request), ("rewrite", .request),
        ("access", .request), ("content", .request), ("precontent", .request),
        ("header_filter", .response), ("body_filter", .responseBody),
        ("ssl_certificate", .certificate), ("ssl_client_hello", .certificate),
    ]

    private static let hooksWithoutOurs: [(theirs: Set<String>, remedy: String)] = [
        (["ssl_session_fetch", "ssl_session_store"], "\"ssl_session_cache\" is shared by all workers"),
        (["exit_worker"], "nothing runs when a worker ends"),
        (["proxy_ssl_certificate"], "\"proxy_ssl_certificate\" takes variables"),
        (["proxy_ssl_verify"], "\"proxy_ssl_verify\" checks certificates of upstreams"),
    ]

    /// OpenResty's settings that have no row in the table.
    private static let settings: [(names: Set<String>, message: String)] = [
        (
            ["lua_package_cpath"],
            of("\"lua_sandbox off\" lets scripts set \"package.cpath\" and load libraries in C")
        ),
        (
            ["lua_code_cache"],
            of("a reload loads scripts anew, and \"switchyard proxy --watch\" loads one whenever it is saved")
        ),
        (
            [
                "lua_socket_connect_timeout", "lua_socket_send_timeout", "lua_socket_read_timeout",
                "lua_socket_send_lowat", "lua_socket_buffer_size", "lua_socket_pool_size",
                "lua_socket_keepalive_timeout", "lua_socket_log_errors",
            ],
            of("\"sy.fetch\" and \"sy.tcp.connect\" are told the timeout")
        ),
        (["lua_need_request_body"], of("\"flow.req:body()\" waits for the body")),
        (["lua_check_client_abort"], of("a hook ends when its client vanishes, so that it can be left out")),
        (
            ["lua_max_pending_timers", "lua_max_running_timers"],
            of("\"lua_max_waiting\" bounds the hooks that wait")
        ),
        (
            [
                "lua_ssl_trusted_certificate", "lua_ssl_verify_depth", "lua_ssl_crl", "lua_ssl_certificate",
                "lua_ssl_certificate_key", "lua_ssl_protocols", "lua_ssl_ciphers", "lua_ssl_conf_command",
                "lua_ssl_key_log",
            ],
            of("\"sy.fetch\" checks certificates against \"proxy_ssl_trusted_certificate\"")
        ),
        (
            [
                "lua_capture_error_log", "lua_http10_buffering", "lua_load_resty_core", "lua_malloc_trim",
                "lua_regex_cache_max_entries", "lua_regex_match_limit", "lua_sa_restart",
                "lua_thread_cache_max_entries",
                "lua_transform_underscores_in_response_headers", "lua_use_default_type",
                "lua_worker_thread_vm_pool_size", "lua_upstream_skip_openssl_default_verify",
            ], of("it can be left out")
        ),
    ]

    private static func of(_ remedy: String) -> String { "is a directive of OpenResty: \(remedy)" }
}
