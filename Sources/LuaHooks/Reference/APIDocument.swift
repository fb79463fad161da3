internal import Config
internal import ProxyCore
internal import Wire

/// The API as the reference and editors see it: what the rows of `LuaAPI.functions` say, by the object that
/// each belongs to.
struct APIDocument {
    struct Parameter {
        var name: String
        var type: String
        var isOptional: Bool

        /// The arguments of a row: `name: type`, separated by commas that stand in no brackets.
        static func list(_ text: String) -> [Parameter] {
            text.parts(between: ",").compactMap(Parameter.init)
        }

        private init?(_ text: String) {
            let text = text.drop { $0 == " " }
            guard !text.isEmpty else { return nil }
            let name = text.prefix { $0 != ":" && $0 != "?" }
            isOptional = text.dropFirst(name.count).first == "?"
            self.name = String(name)
            type = String(text.dropFirst(name.count).drop { $0 == ":" || $0 == "?" || $0 == " " })
            if type.isEmpty { type = "any" }
        }
    }

    struct Method {
        var name: String
        var parameters: [Parameter]
        /// Another way to call it.
        var overload: [Parameter]?
        var returns: String
        var summary: String
        var waits: Bool
    }

    struct Field {
        var name: String
        var type: String
        var summary: String
        /// What setting it does; empty where it cannot be set.
        var setting: String
        /// What it can be set to; empty where it cannot be set.
        var settableType = ""
        /// The types of its names, where any is a field, and of those that can be set.
        var keys: [String] = []
        var settableKeys: [String] = []
        /// Any name is a field.
        var isDynamic: Bool
        /// `pairs` goes through the fields.
        var isIterable = false
        var waits: Bool
    }

    /// A kind of object, or a module.
    struct Section {
        /// As the types file calls it; empty for what is in no module.
        var name: String
        /// As scripts reach it: `flow.req.headers, flow.res.headers`.
        var paths: [String]
        var isModule: Bool
        var fields: [Field] = []
        var methods: [Method] = []
    }

    private(set) var sections: [Section] = []

    init(_ functions: [LuaFunction]) {
        for type in LuaType.allCases { add(type, functions) }
        for function in functions {
            guard let module = function.place.module else { continue }
            let index = section(module: module)
            if case .libraryValue = function.place {
                sections[index].fields.append(Field(function, isDynamic: false))
            } else {
                sections[index].methods.append(Method(function))
            }
        }
        sections.removeAll { $0.fields.isEmpty && $0.methods.isEmpty }
    }

    private mutating func section(module: String) -> Int {
        if let known = sections.firstIndex(where: { $0.isModule && $0.name == module }) { return known }
        sections.append(Section(name: module, paths: [module], isModule: true))
        return sections.count - 1
    }

    /// Two kinds of objects that look the same to scripts are one section.
    private mutating func add(_ type: LuaType, _ functions: [LuaFunction]) {
        let rows = functions.filter { $0.place.type == type }
        guard !rows.isEmpty else { return }
        let section = Self.section(of: type, rows)
        if let known = sections.firstIndex(where: { $0.name == section.name }) {
            sections[known].merge(section)
        } else {
            sections.append(section)
        }
    }

    private static func section(of type: LuaType, _ rows: [LuaFunction]) -> Section {
        var section = Section(name: type.className, paths: [type.name], isModule: false)
        for row in rows {
            switch row.place {
            case .method: section.methods.append(Method(row))
            case .getter, .part, .ownTable: section.fields.append(Field(row, isDynamic: false))
            case .anyGetter: section.fields.append(Field(row, isDynamic: true))
            default: break
            }
        }
        for row in rows {
            switch row.place {
            case .setter, .anySetter:
                guard let index = section.fields.firstIndex(where: { $0.name == row.name }) else { continue }
                section.fields[index].setting = row.summary
                section.fields[index].take(settableBy: APIDocument.Parameter.list(row.parameters))
            case .metamethod where row.name == "__pairs":
                for index in section.fields.indices where section.fields[index].isDynamic {
                    section.fields[index].isIterable = true
                }
            default: break
            }
        }
        return section
    }
}

extension APIDocument.Section {
    /// Adds another kind of objects of the same name. What only one of the two kinds has is nil in the other.
    fileprivate mutating func merge(_ other: APIDocument.Section) {
        paths += other.paths
        for index in fields.indices where !other.fields.contains(where: { $0.name == fields[index].name }) {
            fields[index].makeOptional()
        }
        for var field in other.fields where !fields.contains(where: { $0.name == field.name }) {
            field.makeOptional()
            fields.append(field)
        }
        methods += other.methods.filter { method in !methods.contains { $0.name == method.name } }
    }
}

extension APIDocument.Method {
    init(_ function: LuaFunction) {
        self.init(
            name: function.name, parameters: APIDocument.Parameter.list(function.parameters),
            overload: function.overload.map(APIDocument.Parameter.list), returns: function.returns,
            summary: function.summary, waits: function.waits)
    }
}

extension APIDocument.Field {
    init(_ function: LuaFunction, isDynamic: Bool) {
        self.init(
            name: function.name, type: function.returns, summary: function.summary, setting: "",
            isDynamic: isDynamic, waits: function.waits)
        if isDynamic {
            keys = Self.members(APIDocument.Parameter.list(function.parameters).first?.type ?? "string")
        }
    }

    /// From the parameters of what sets it: a name where any is a field, and the value.
    fileprivate mutating func take(settableBy parameters: [APIDocument.Parameter]) {
        guard let value = parameters.last else { return }
        settableType = value.isOptional ? value.type + "|nil" : value.type
        if isDynamic, parameters.count > 1 { settableKeys = Self.members(parameters[0].type) }
    }

    fileprivate mutating func makeOptional() {
        guard !Self.members(type).contains("nil") else { return }
        type += type.contains("|") ? "|nil" : "?"
    }

    /// All that it can be: editors have one type for what a field gives and what it takes.
    var fullType: String {
        var all = Self.members(type)
        let further = Self.members(settableType).filter { !all.contains($0) }
        guard !further.isEmpty else { return type }
        all += further
        return (all.filter { $0 != "nil" } + all.filter { $0 == "nil" }.prefix(1)).joined(separator: "|")
    }

    /// The types of a union: `string?` is `string` and `nil`.
    private static func members(_ type: String) -> [String] {
        type.parts(between: "|").flatMap {
            $0.hasSuffix("?") ? [String($0.dropLast()), "nil"] : $0.isEmpty ? [] : [$0]
        }
    }
}

extension String {
    /// What stands between the separators, but for those in brackets.
    fileprivate func parts(between separator: Character) -> [String] {
        var parts = [""]
        var depth = 0
        for character in self {
            switch character {
            case "(", "{", "[", "<": depth += 1
            case ")", "}", "]", ">": depth -= 1
            case separator where depth == 0:
                parts.append("")
                continue
            default: break
            }
            parts[parts.count - 1].append(character)
        }
        return parts
    }
}

extension LuaFunction.Place {
    /// The kind of object that the row belongs to.
    var type: LuaType? {
        switch self {
        case .method(let type), .getter(let type), .setter(let type), .anyGetter(let type),
            .anySetter(let type),
            .metamethod(let type):
            type
        case .part(let whole, _, _), .ownTable(let whole, _): whole
        case .module, .global, .library, .libraryValue, .hidden: nil
        }
    }

    var module: String? {
        switch self {
        case .module(let name), .library(let name), .libraryValue(let name): name
        case .global: ""
        default: nil
        }
    }
}

extension LuaType {
    /// As the types file calls it.
    var className: String {
        switch self {
        case .flow: "Flow"
        case .request: "Request"
        case .response: "Response"
        case .requestHeaders, .responseHeaders: "Headers"
        case .arguments: "Arguments"
        case .cookies: "Cookies"
        case .variables: "Variables"
        case .client, .upstream: "Leg"
        case .offer: "Offer"
        case .timer: "Timer"
        case .socket: "Socket"
        case .redis: "Redis"
        case .dictionary: "Dictionary"
        case .counter: "Counter"
        case .gauge: "Gauge"
        case .histogram: "Histogram"
        case .message: "Message"
        case .frame: "Frame"
        case .remoteFlow: "RemoteFlow"
        case .remoteClient: "RemoteClient"
        case .remoteUpstream: "RemoteUpstream"
        case .testProxy: "TestProxy"
        case .testClient: "TestClient"
        case .testBackend: "TestBackend"
        case .testServer: "TestServer"
        case .testRequest: "TestRequest"
        case .testWebSocket: "TestWebSocket"
        case .testSocket: "TestSocket"
        case .expectation: "Expectation"
        }
    }
}

/// The hooks of a plugin, as the reference and editors describe them.
enum HookDocument {
    struct Hook {
        var stage: HookStage
        var summary: String
        /// What it may return, as LuaLS writes it; empty for nothing.
        var returns: String
        var meaning: String
    }

    static let hooks: [Hook] = HookStage.allCases.map { stage in
        switch stage {
        case .initialise:
            Hook(stage: stage, summary: "Once for each worker, before it accepts.", returns: "", meaning: "")
        case .certificate:
            Hook(
                stage: stage,
                summary: "A client's handshake of TLS, before it is answered; in `server` and `http`.",
                returns: "{ certificate: string, key: string }|{ reject: string }|false|nil",
                meaning: "Both as PEM or absolute paths; `reject` ends the handshake and says why in the "
                    + "log; false takes the configured certificate. A client that resumes a session is not asked about again: "
                    + "that was made for the same name.")
        case .request:
            Hook(
                stage: stage, summary: "The head has been read and the location chosen; no upstream has.",
                returns: "", meaning: "`return flow:respond{…}` answers at once.")
        case .upgrade:
            Hook(
                stage: stage,
                summary: "A valid request to change the protocol, before the upstream is asked.",
                returns: "", meaning: "`return flow:respond{…}` denies it, with any status.")
        case .response:
            Hook(
                stage: stage, summary: "The upstream's head, a 101 too, before it is sent on.", returns: "",
                meaning: "`return flow:respond{…}` replaces the response.")
        case .requestBody:
            Hook(
                stage: stage,
                summary: "Each piece of the request's body; the last is empty and has `last` set.",
                returns: "string|false|nil", meaning: "A string goes on in its place; false drops it.")
        case .responseBody:
            Hook(
                stage: stage,
                summary: "Each piece of the response's body; the last is empty and has `last` set.",
                returns: "string|false|nil", meaning: "A string goes on in its place; false drops it.")
        case .open:
            Hook(
                stage: stage,
                summary: "The 101 is valid and both connections stand, before the client sees a byte.",
                returns: "",
                meaning: "`return flow:close(code, reason)` ends the tunnel.")
        case .message:
            Hook(
                stage: stage, summary: "A whole message, put together and inflated.",
                returns: "string|string[]|false|nil",
                meaning:
                    "A string replaces it, a list of strings takes its place as several, an empty one as none; "
                    + "false drops it; "
                    + "`flow:close(code, reason)` ends the tunnel.")
        case .frame:
            Hook(
                stage: stage, summary: "Each frame as it is on the wire.",
                returns: "string|string[]|false|nil",
                meaning:
                    "A string replaces its payload, a list of strings takes its place as several, an empty one as "
                    + "none; false drops it; `flow:close(code, reason)` ends the tunnel.")
        case .close:
            Hook(
                stage: stage,
                summary:
                    "The tunnel has ended; or it has not come about though its `open` hooks had begun, as where the "
                    + "client went while one of them waited.",
                returns: "", meaning: "")
        case .drain:
            Hook(
                stage: stage,
                summary: "A shutdown, or a reload with worker_shutdown_timeout, asks the tunnel to end.",
                returns: "number?",
                meaning: "Seconds of grace.")
        case .log:
            Hook(stage: stage, summary: "The exchange is over.", returns: "", meaning: "")
        }
    }

    typealias Record = [(name: String, type: String, summary: String)]

    /// What a plugin may have besides hooks.
    static let plugin: Record = [
        (
            "variables", "table<string, fun(flow: Flow): string|number|boolean|nil>?",
            "Variables of the configuration by their names, without the `$`: each is computed when it is first asked for, and "
                + "once in an exchange."
        ),
        (
            "migrate", "(fun(ctx: table, flow: Flow): table?)|nil",
            "After a reload, for each open WebSocket that moves: what `flow.ctx` is from now on, made of what it was; nil "
                + "leaves it as it is by then."
        ),
    ]

    /// What stages have hooks that may be tables, by the name of what such a table is.
    static let filters: [(stage: HookStage, name: String)] = [
        (.message, "MessageHook"), (.frame, "FrameHook"),
    ]

    /// The fields of such a table, with the type of its function.
    static func filter(_ stage: HookStage, run: String) -> Record {
        let what = stage == .frame ? "frames" : "messages"
        return [
            ("run", run, "The hook itself."),
            (
                "from", "\"client\"|\"upstream\"|\"both\"|nil",
                "Whose \(what) it sees; both sides' unless given."
            ),
            (
                "type", stage.opcodes.map { "\"\($0.scriptName)\"|" }.joined() + "nil",
                "The one kind of \(what) that it sees; all of them unless given."
            ),
            ("max_size", "integer?", "It does not see \(what) with more bytes than this."),
        ]
    }

    /// What `sy.fetch` gives, and tests receive.
    static let fetched: Record = [
        ("status", "integer", "200 to 999; 101 too where a test has it as the answer to a handshake."),
        ("reason", "string", "What follows the status, often nothing."),
        ("headers", "Headers", "A copy, to be used as `flow.res.headers` is."),
        ("body", "string", "The whole of it."),
    ]

    static let peer: Record = [
        ("name", "string", "Its address, as in `$upstream_addr`: `10.0.0.1:80`, `[::1]:80`, `unix:/path`."),
        ("server", "string", "The `server` that it is of, as the configuration writes it."),
        ("weight", "integer", ""),
        ("backup", "boolean", ""),
        ("down", "boolean", "Out of service: `down` in the configuration, or as `sy.set_peer_down` said."),
        ("fails", "integer", "Tries of this worker that failed, towards `max_fails`."),
        ("connections", "integer", "Requests and tunnels of this worker that use it now."),
    ]

    /// What answers the fetches of a proxy under test.
    static let fetchHandler =
        "fun(request: { url: string, method: string, headers: Headers, body: string? }): (TestMessage?, string?)"

    static let testSetup: Record = [
        ("plugin", "string?", "A plugin's file, beside the file of tests unless the path is absolute."),
        ("args", "table<string, string|number|boolean>?", "Its arguments."),
        ("location", "string?", "Directives to add to the location, such as `proxy_read_timeout 5s;`."),
        ("server", "string?", "Directives, or locations, to add to the server."),
        ("http", "string?", "Directives to add around the server, such as `lua_shared_dict rates 1m;`."),
        ("config", "string?", "A whole configuration in place of all that."),
        ("file", "string?", "The file of a whole configuration, beside the file of tests."),
        (
            "on_fetch", "(\(fetchHandler))|nil",
            "As `p:on_fetch`, for what `init` hooks fetch too."
        ),
    ]

    static let testMessage: Record = [
        ("method", "string?", "Of a request; GET unless given."),
        ("path", "string?", "Of a request, perhaps with a query; `/` unless given."),
        ("status", "integer?", "Of a response; 200 unless given."),
        (
            "headers", "Headers|table<string, string|string[]>|nil",
            "Names with a value or a list of values, or those of a message, to pass them on."
        ),
        (
            "body", "string|string[]|nil",
            "With its length; a list is sent in chunks, each of which has arrived before the next is sent."
        ),
    ]

    static let testHandshake: Record = [
        ("path", "string?", "`/` unless given."),
        (
            "headers", "Headers|table<string, string|string[]>|nil",
            "What is given here stands in place of the usual."
        ),
        ("protocols", "string[]|string|nil", "The subprotocols that are offered."),
        (
            "deflate", "boolean?",
            "Whether permessage-deflate is offered, with whatever parameters are chosen."
        ),
    ]

    static let testFrame: Record = [
        (
            "type", "\"text\"|\"binary\"|\"continuation\"|\"ping\"|\"pong\"|\"close\"|nil",
            "What it holds."
        ),
        ("data", "string?", "The payload as on the wire, without its mask."),
        ("fin", "boolean?", "Whether it is the last frame of its message."),
    ]

    /// How a client of a test comes to the proxy.
    static let testConnection: Record = [
        ("address", "string?", "The client's: `203.0.113.9`, or with a port."),
        (
            "listener", "string?",
            "Where it connects to, as `listen` has it: `8080`, `10.0.0.5:8080` or `unix:/path`; the first there is unless "
                + "given."
        ),
        ("tls", "TestTLS?", "What its handshake is to have come to, where the listener has `ssl`."),
    ]

    static let testTLS: Record = [
        ("version", "string?", "`$ssl_protocol`; `TLSv1.3` unless given."),
        ("cipher", "string?", "`$ssl_cipher`; `TLS_AES_256_GCM_SHA384` unless given."),
        ("server_name", "string?", "The name that the client asks for, `$ssl_server_name`."),
        ("client_subject", "string?", "Of the client's certificate, `$ssl_client_s_dn`."),
        ("client_issuer", "string?", "`$ssl_client_i_dn`."),
        ("client_serial", "string?", "`$ssl_client_serial`."),
        ("client_fingerprint", "string?", "`$ssl_client_fingerprint`."),
        ("client_certificate", "string?", "The certificate as PEM, `$ssl_client_raw_cert`."),
        (
            "verified", "boolean?",
            "Whether an authority vouches for the certificate; true where anything is said of one, and none was sent "
                + "unless given."
        ),
    ]

    /// The type of each argument of a hook.
    static let types = [
        "flow": "Flow", "chunk": "string", "last": "boolean", "info": "CloseInfo", "msg": "Message",
        "frame": "Frame", "hello": "ClientHello",
    ]

    /// What `certificate` hooks are given.
    static let hello: Record = [
        ("server_name", "string?", "The name that the client asks for."),
        ("alpn", "string[]", "The protocols that it offers."),
        ("versions", "string[]", "Versions of TLS, such as `TLSv1.3`."),
        ("ciphers", "integer[]", "Cipher suites, by their numbers."),
        ("address", "string", "The address of the connection's peer."),
        ("port", "integer?", "Its port."),
    ]

    static let closeInfo: [(name: String, type: String, summary: String)] = [
        ("code", "integer", "The close code; 1005 or 1006 where there was none."),
        ("reason", "string", "What the close frame says."),
        ("by", "\"client\"|\"upstream\"|\"proxy\"", "Whose wish it was."),
        ("clean", "boolean", "Both sides had said goodbye."),
    ]

    static let answer: [(name: String, type: String, summary: String)] = [
        ("status", "integer?", "200 to 599; 200 unless given."),
        (
            "headers", "Headers|table<string, string|number|string[]>|nil",
            "Names with a value or a list of values, or those of a message, to pass them on."
        ),
        ("body", "string?", "Without one, a status from 300 on has its usual page."),
    ]
}
