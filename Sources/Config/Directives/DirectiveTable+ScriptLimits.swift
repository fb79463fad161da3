extension DirectiveTable {
    private static let mainAndHTTP: Contexts = [.main, .http]

    /// What holds for all scripts; applied before any is loaded.
    static let scriptLimits: [Directive] = [
        Directive(
            "lua_on_error", "closed | open", in: [.http, .server, .location, .ifInLocation], takes: .one,
            default: "closed",
            "Whether an exchange ends when a hook fails (500, or close code 1011 after an upgrade) or goes on."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.luaFailure = try call.choice(
                call.arguments[0], ["closed": ScriptFailurePolicy.closed, "open": .open])
        },
        Directive(
            "lua_package_path", "path", in: mainAndHTTP, takes: .one, default: ";;",
            "Where require looks: templates with ?, separated by semicolons, relative ones under the "
                + "configuration's directory; ;; stands for that directory and those that the system has for Lua 5.4.",
            phase: .names
        ) { scope, call in
            scope.compilation.lua.packagePath = LuaSettings.packagePath(
                call.arguments[0].text, under: scope.compilation.configurationDirectory)
        },
        Directive(
            "lua_shared_dict", "name size", in: mainAndHTTP, takes: .two,
            "Memory that the scripts of all workers share, of at least 8k.", repeats: true, phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            let name = call.arguments[0]
            guard isLuaName(name.bytes) else { throw call.failure(found: name, expected: "a name in Lua") }
            let size = try call.largeSize(call.arguments[1])
            guard size >= leastDictionary else {
                throw call.failure(found: call.arguments[1], expected: "a size of at least 8k")
            }
            guard !scope.compilation.lua.sharedDictionaries.contains(where: { $0.name == name.text }) else {
                throw call.failure("found a second dictionary of the name \"\(name.text)\"", at: name)
            }
            scope.compilation.lua.sharedDictionaries.append(
                SharedDictionarySettings(name: name.text, bytes: size))
        },
        Directive(
            "shared_state", "url [prefix=name]", in: mainAndHTTP, takes: .between(1, 2),
            "Redis, through which `sy.publish` reaches the tunnels of other nodes too: \(RedisURL.expected). Nodes of one prefix, switchyard unless given, hear each other.",
            phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.lua.sharedState = try sharedState(call)
        },
        Directive(
            "lua_hook_timeout", "time", in: mainAndHTTP, takes: .one, default: "50ms",
            "Time on the processor that a script may take without waiting.", phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            let time = try call.time(call.arguments[0])
            guard time > 0 else { throw call.failure(found: call.arguments[0], expected: "at least 1ms") }
            scope.compilation.lua.hookTimeout = time
        },
        Directive(
            "lua_memory_limit", "size", in: mainAndHTTP, takes: .one, default: "64m",
            "Memory of one worker's interpreter, of at least 1m.", phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            let size = try call.largeSize(call.arguments[0])
            guard size >= leastInterpreter else {
                throw call.failure(found: call.arguments[0], expected: "a size of at least 1m")
            }
            scope.compilation.lua.memoryLimit = size
        },
        Directive(
            "lua_max_waiting", "number", in: mainAndHTTP, takes: .one, default: "10000",
            "Hooks of one worker that may wait at once.", phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.lua.maxWaiting = try call.number(call.arguments[0], in: 1...Int.max)
        },
        Directive(
            "lua_sandbox", "on | off", in: mainAndHTTP, takes: .one, default: "on",
            "Keeps io, most of os and debug, and binary code from scripts.", phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.lua.sandbox = try call.flag(call.arguments[0])
        },
    ]

    /// Bytes; OpenResty's least.
    private static let leastDictionary = 8 << 10
    /// Bytes; the libraries alone take a part of it.
    private static let leastInterpreter = 1 << 20

    private static func sharedState(_ call: DirectiveUse) throws(ConfigDiagnostic) -> SharedStateSettings {
        guard let url = RedisURL(call.arguments[0].text) else {
            throw call.failure(found: call.arguments[0], expected: RedisURL.expected)
        }
        var settings = SharedStateSettings(url: url)
        if call.arguments.count > 1 {
            let word = call.arguments[1]
            guard let prefix = word.value(after: "prefix="), !prefix.bytes.isEmpty else {
                throw call.failure(found: word, expected: "prefix=name")
            }
            settings.prefix = prefix.text
        }
        return settings
    }
}
