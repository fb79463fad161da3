/// A piece of Lua that a directive names or holds. Each directive is a script of its own: one plugin named at two
/// places is two scripts, with an environment and arguments of its own each.
package struct Script: Sendable, Hashable {
    package enum Body: Sendable, Hashable {
        /// `plugin`: the text yields a table of hooks, or a function that makes one of the arguments.
        case plugin(ScriptText, arguments: [ScriptArgument])
        /// `HOOK_by_lua_block` and `HOOK_by_lua_file`: the text is the body of one hook, the stage's parameters
        /// are in scope.
        case hook(HookStage, ScriptText)
        /// `set_by_lua_…` and `map_by_lua_block`: the text is the body of a function of `value` and `flow`; `value`
        /// is `nil` but for `map_by_lua_block`.
        case variable(ScriptText)
    }

    package var body: Body
    /// Where the directive stands.
    package var position: SourcePosition

    package init(body: Body, position: SourcePosition) {
        self.body = body
        self.position = position
    }

    package var text: ScriptText {
        switch body {
        case .plugin(let text, _), .hook(_, let text), .variable(let text): text
        }
    }
}

/// Lua as it was read when the configuration was.
package struct ScriptText: Sendable, Hashable {
    package var text: [UInt8]
    /// As messages name it: a plugin's or included file's path, or that of the configuration file.
    package var file: String
    /// The line in `file` at which the text begins, so that Lua's messages carry the file's own lines.
    package var line: Int

    package init(text: [UInt8], file: String, line: Int) {
        self.text = text
        self.file = file
        self.line = line
    }
}

/// One `key=value` of a `plugin`, in the order written; a key stands once.
package struct ScriptArgument: Sendable, Hashable {
    package var name: String
    package var value: [UInt8]

    package init(name: String, value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

/// The points of an exchange at which scripts run, in the order in which an exchange meets them.
package enum HookStage: Int, Sendable, CaseIterable {
    case initialise, certificate, request, upgrade, response, requestBody, responseBody
    case open, message, frame, close, drain, log

    /// As scripts and directives call it.
    package var name: String {
        switch self {
        case .initialise: "init"
        case .certificate: "certificate"
        case .request: "request"
        case .upgrade: "upgrade"
        case .response: "response"
        case .requestBody: "request_body"
        case .responseBody: "response_body"
        case .open: "open"
        case .message: "message"
        case .frame: "frame"
        case .close: "close"
        case .drain: "drain"
        case .log: "log"
        }
    }

    /// The names under which a hook's text finds its arguments.
    package var parameters: [String] {
        switch self {
        case .initialise: []
        case .certificate: ["hello"]
        case .request, .upgrade, .response, .open, .drain, .log: ["flow"]
        case .requestBody, .responseBody: ["flow", "chunk", "last"]
        case .message: ["flow", "msg"]
        case .frame: ["flow", "frame"]
        case .close: ["flow", "info"]
        }
    }

    package init?(name: String) {
        guard let stage = HookStage.allCases.first(where: { $0.name == name }) else { return nil }
        self = stage
    }
}

/// How a level computes a variable whose source is `VariableSource.script`.
package struct ScriptVariable: Sendable, Hashable {
    /// Below `Configuration.scriptSlots`; one for each name.
    package var slot: Int
    /// A position in `Configuration.scripts`.
    package var script: Int
    /// The key in the `variables` of a plugin; empty for a script that is a variable's body itself.
    package var name: [UInt8]
    /// What the configuration calls it, without the `$`.
    package var label: [UInt8]
    /// The text of a `map_by_lua_block`, which its body sees as `value`.
    package var key: Template?
    /// `default=`: the value where the script fails.
    package var fallback: [UInt8]

    package init(
        slot: Int, script: Int, name: [UInt8] = [], label: [UInt8], key: Template? = nil,
        fallback: [UInt8] = []
    ) {
        self.slot = slot
        self.script = script
        self.name = name
        self.label = label
        self.key = key
        self.fallback = fallback
    }
}

/// `lua_on_error`: what becomes of an exchange whose hook failed.
package enum ScriptFailurePolicy: Sendable, Hashable {
    /// It ends: with 500 before an upgrade, with close code 1011 after it.
    case closed
    /// It goes on as if the hook had returned nothing.
    case open
}

/// What holds for every interpreter of a configuration.
package struct LuaSettings: Sendable, Hashable {
    /// Templates separated by `;` as in Lua's `package.path`, from `packagePath(_:under:)`.
    package var packagePath = ""
    package var sharedDictionaries: [SharedDictionarySettings] = []
    /// Milliseconds on the CPU that one resume may take; at least 1.
    package var hookTimeout = 50
    /// Bytes that one interpreter may hold.
    package var memoryLimit = 64 << 20
    /// Hooks of one worker that may wait at once.
    package var maxWaiting = 10_000
    package var sandbox = true
    /// `nil` where what scripts publish stays on this node.
    package var sharedState: SharedStateSettings?

    package init() {}

    /// What `lua_package_path` comes to.
    ///
    /// - Parameters:
    ///   - text: templates separated by `;`. `;;` stands for the default: modules beside the configuration, then those
    ///     that the system has for Lua 5.4.
    ///   - directory: of the configuration; relative templates are under it.
    /// - Returns: templates as in Lua's `package.path`, all of them absolute.
    package static func packagePath(_ text: String, under directory: String) -> String {
        text.replacing(";;", with: ";" + defaultTemplates.joined(separator: ";") + ";")
            .split(separator: ";")
            .map { Paths.path(String($0), under: directory) }
            .joined(separator: ";")
    }

    private static let defaultTemplates = ["?.lua", "?/init.lua"] + systemTemplates

    /// Where Lua itself looks, and Debian's packages put theirs.
    package static let systemTemplates = ["/usr/local/share/lua/5.4", "/usr/share/lua/5.4"].flatMap {
        ["\($0)/?.lua", "\($0)/?/init.lua"]
    }
}

/// A `lua_shared_dict`.
package struct SharedDictionarySettings: Sendable, Hashable {
    package var name: String
    package var bytes: Int

    package init(name: String, bytes: Int) {
        self.name = name
        self.bytes = bytes
    }
}

/// `shared_state`: where nodes hear of each other.
package struct SharedStateSettings: Sendable, Hashable {
    package var url: RedisURL
    /// Nodes with another one are none of ours.
    package var prefix = "switchyard"
}
