/// What to say of directives for Lua that do not exist: OpenResty's with the name of ours, misspelt ones with the
/// hooks that there are.
enum ScriptDirectiveHints {
    /// `nil` for a name that is of another kind.
    static func message(for name: String) -> String? {
        guard let range = name.ranges(of: "_by_lua").last else { return nil }
        let hook = String(name[..<range.lowerBound])
        let suffix = String(name[range.lowerBound...])
        guard ["_by_lua", "_by_lua_block", "_by_lua_file"].contains(suffix) else { return nil }
        let form = suffix == "_by_lua" ? "_by_lua_block" : suffix
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
        ("access", .request), ("content", .request), ("balancer", .request), ("precontent", .request),
        ("header_filter", .response), ("body_filter", .responseBody),
    ]
}
