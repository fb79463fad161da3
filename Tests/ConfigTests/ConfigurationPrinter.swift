import Config
import Patterns
import Testing

/// Writes a configuration as text, leaving out what an empty one says too.
struct ConfigurationPrinter {
    private let configuration: Configuration
    private let servers: [VirtualServer]
    /// What a configuration says whose http block holds an empty server.
    private let baseline: Configuration
    private let plainServer: VirtualServer

    init(_ configuration: Configuration) throws {
        self.configuration = configuration
        var servers: [VirtualServer] = []
        func add(_ server: VirtualServer) {
            if !servers.contains(where: { $0 === server }) { servers.append(server) }
        }
        for listener in configuration.listeners {
            add(listener.defaultServer)
            let names = [
                listener.names.exact, listener.names.leadingWildcards, listener.names.trailingWildcards,
            ]
            for table in names { table.sorted { key($0.key) < key($1.key) }.forEach { add($0.value) } }
            listener.names.regexes.forEach { add($0.value) }
        }
        self.servers = servers
        let compiled = ConfigurationCompiler.compile(
            text: "http { server { } }", name: "baseline",
            environment: CompilationEnvironment(prefix: "", builtinVariables: testVariables))
        baseline = try #require(compiled.configuration)
        plainServer = try #require(baseline.listeners.first?.defaultServer)
    }

    /// At the levels of a single block, only what that block makes.
    func lines(level: String) -> [String] {
        switch level {
        case "location":
            return scriptLines + (servers.first?.locations.prefixes.first.map { contents(of: $0) } ?? [])
        case "server":
            return listenerLines + scriptLines + (servers.first.map { contents(of: $0) } ?? [])
        case "upstream":
            return upstreamLines
        default:
            return processLines + logLines + zoneLines + listenerLines + upstreamLines + mapLines
                + scriptLines
                + serverLines
        }
    }

    private var processLines: [String] {
        differences(configuration.process, baseline.process).map { "process \($0)" }
    }

    private var logLines: [String] {
        configuration.logBuffers.map { destination, buffering in
            "log \(destination) buffer \(buffering.size) flush \(buffering.flushInterval)"
        }.sorted()
    }

    private var zoneLines: [String] {
        configuration.limitZones.map { zone in
            "limit zone \(zone.name) " + reflected(zone, leavingOut: "name")
        }
    }

    private var listenerLines: [String] {
        var result: [String] = []
        for listener in configuration.listeners {
            var words = ["listen \(listener.address.description)"]
            words += differences(listener.options, ListenOptions())
            if listener.isHTTP2 { words.append("http2") }
            if listener.isTLS { words.append("ssl") }
            if listener.hasProxyProtocol { words.append("proxy_protocol") }
            words.append("default \(label(listener.defaultServer))")
            result.append(words.joined(separator: ", "))
            result += lines(of: listener.names.exact, as: "exact ")
            result += lines(of: listener.names.leadingWildcards, as: "*")
            result += lines(of: listener.names.trailingWildcards, as: "trailing ")
            for entry in listener.names.regexes {
                result.append("  \(text(entry.pattern)) → \(label(entry.value))\(groups(entry.namedGroups))")
            }
        }
        return result
    }

    private func lines(of table: [[UInt8]: VirtualServer], as kind: String) -> [String] {
        table.sorted { key($0.key) < key($1.key) }.map { "  \(kind)\(quoted($0.key)) → \(label($0.value))" }
    }

    private func label(_ server: VirtualServer) -> String {
        "server \(servers.firstIndex { $0 === server }.map { $0 + 1 } ?? 0)"
    }

    private var upstreamLines: [String] {
        var result: [String] = []
        for group in configuration.upstreams {
            let empty = UpstreamGroup(name: group.name, servers: group.servers, isImplicit: group.isImplicit)
            let kind = group.isImplicit ? "implicit upstream" : "upstream"
            let words = ["\(kind) \(string(group.name))"] + differences(group, empty)
            result.append(words.joined(separator: ", "))
            for server in group.servers {
                let plain = UpstreamServer(
                    endpoint: server.endpoint, name: server.name, position: server.position)
                let words = ["  \(text(server.endpoint))"] + differences(server, plain)
                result.append(words.joined(separator: ", "))
            }
        }
        return result
    }

    private var mapLines: [String] {
        var result: [String] = []
        for map in configuration.maps {
            result.append("map \(text(map.key)) → $\(map.name)\(map.isVolatile ? ", volatile" : "")")
            result += entries(map.entries.exact, as: "")
            result += entries(map.entries.leadingWildcards, as: "*")
            result += entries(map.entries.trailingWildcards, as: "trailing ")
            for entry in map.entries.regexes {
                result.append("  \(text(entry.pattern)) → \(text(entry.value))\(groups(entry.namedGroups))")
            }
            switch map.search {
            case .shares(let shares):
                result += shares.map { share in
                    "  below \(share.limit.map { "\($0)" } ?? "all") → \(text(share.value))"
                }
            case .ranges(let ranges, let proxies):
                result += ranges.entries.map { "  \($0.first)-\($0.last) → \(text($0.value))" }
                if let proxies { result.append("  proxies \(reflected(proxies))") }
            // What networks there are, NetworkTableTests look at.
            case .networks(_, let proxies):
                if let proxies { result.append("  proxies \(reflected(proxies))") }
            case nil: break
            }
            result.append("  default → \(text(map.defaultValue))")
        }
        return result
    }

    private func entries(_ table: [[UInt8]: Template], as kind: String) -> [String] {
        table.sorted { key($0.key) < key($1.key) }.map { "  \(kind)\(quoted($0.key)) → \(text($0.value))" }
    }

    private var scriptLines: [String] {
        let scripts = configuration.scripts.enumerated().map { index, script in
            let text = script.text
            let words =
                switch script.body {
                case .plugin(_, let arguments):
                    ["plugin"] + arguments.map { "\($0.name)=\(quoted($0.value))" }
                case .hook(let stage, _): ["hook \(stage.name)"]
                case .variable: ["variable"]
                }
            return
                "script \(index) \(words.joined(separator: " ")) at \(text.file):\(text.line) \(quoted(text.text))"
        }
        let plans = configuration.scriptPlans.enumerated().map { "plan \($0): \($1)" }
        return differences(configuration.lua, baseline.lua).map { "lua \($0)" } + scripts + plans
    }

    private var serverLines: [String] {
        servers.flatMap { server in
            ["\(label(server)) \(quoted(server.name))"] + indented(contents(of: server))
        }
    }

    private func contents(of server: VirtualServer) -> [String] {
        var lines: [String] = []
        if case .none = server.root.handler {} else { lines.append("handler \(text(server.root.handler))") }
        lines += differences(server.connection, plainServer.connection)
        lines += differences(server.tls, plainServer.tls)
        lines += differences(server.settings.values, plainServer.settings.values)
        lines += server.root.accessRules.map { text($0) }
        if let rules = server.root.realIP { lines.append("realIP \(text(rules))") }
        if let rules = server.root.authentication { lines.append("authentication \(text(rules))") }
        lines += server.rewrites.flatMap { instruction($0) }
        lines += contents(of: server.locations)
        for (name, location) in server.namedLocations.sorted(by: { key($0.key) < key($1.key) }) {
            lines += ["location \(string(name))"] + indented(contents(of: location))
        }
        return lines
    }

    private func contents(of table: LocationTable) -> [String] {
        let exact = table.exact.sorted { key($0.key) < key($1.key) }.map(\.value)
        return (exact + table.prefixes + table.regexes).flatMap { location in
            ["location \(heading(location.matcher))"] + indented(contents(of: location))
        }
    }

    private func heading(_ matcher: LocationMatcher) -> String {
        switch matcher {
        case .server: "server"
        case .exact(let uri): "= \(string(uri))"
        case .prefix(let uri, let stops): "\(stops ? "^~ " : "")\(string(uri))"
        case .regex(let pattern, let named):
            "\(pattern.isCaseInsensitive ? "~*" : "~") \(pattern.source)\(groups(named))"
        case .named(let name): string(name)
        case .ifBlock: "if"
        case .limitExcept: "limit_except"
        }
    }

    private func contents(of location: Location) -> [String] {
        var lines: [String] = []
        if location.isInternal { lines.append("internal") }
        if case .none = location.handler {} else { lines.append("handler \(text(location.handler))") }
        lines += differences(location.settings.values, plainServer.settings.values)
        lines += location.accessRules.map { text($0) }
        if let rules = location.realIP { lines.append("realIP \(text(rules))") }
        if let rules = location.authentication { lines.append("authentication \(text(rules))") }
        lines += location.rewrites.flatMap { instruction($0) }
        if let limit = location.limitExcept {
            lines.append("limit_except \(limit.methods.map { string($0) }.joined(separator: " "))")
            lines += indented(contents(of: limit.location))
        }
        return lines + contents(of: location.children)
    }

    private func instruction(_ instruction: RewriteInstruction) -> [String] {
        switch instruction {
        case .set(let slot, let value): ["set \(slot) = \(text(value))"]
        case .setArguments(let value): ["set args = \(text(value))"]
        case .stop: ["break"]
        case .return(let action): ["return \(text(action))"]
        case .rewrite(let rule):
            [
                "rewrite \(rule.pattern.source) → \(text(rule.replacement)), flag \(rule.flag)"
                    + (rule.keepsArguments ? "" : ", drops arguments")
                    + (rule.isRedirect ? ", redirects" : "")
                    + groups(rule.namedGroups)
            ]
        case .when(let condition, let location):
            ["if \(text(condition))"] + indented(contents(of: location))
        }
    }

    // MARK: Values

    private func differences(_ value: Any, _ other: Any) -> [String] {
        let others = Dictionary(
            Mirror(reflecting: other).children.map { ($0.label ?? "", text($0.value)) },
            uniquingKeysWith: { $1 })
        return Mirror(reflecting: value).children.compactMap { child in
            let label = child.label ?? ""
            let shown = text(child.value)
            return shown == others[label] ? nil : "\(label) \(shown)"
        }
    }

    /// Any value of the model as text, by what it is made of.
    private func text(_ value: Any) -> String {
        if let list = value as? [Any], list.isEmpty { return "none" }
        switch value {
        case AccessRule.Network.cidr(let bytes, let bits) as AccessRule.Network:
            return "\(bytes.map { String($0) }.joined(separator: "."))/\(bits)"
        case let bytes as [UInt8]: return quoted(bytes)
        case let text as String: return text
        case let number as any BinaryInteger: return "\(number)"
        case let flag as Bool: return flag ? "on" : "off"
        case let word as TLSWord: return quoted(Array(word.text.utf8))
        case let source as TLSSource: return text(source.contents)
        case let place as SourcePosition: return "line \(place.line)"
        case let settings as ProxyTLSSettings:
            return "(" + differences(settings, ProxyTLSSettings()).joined(separator: "; ") + ")"
        case let limits as LimitSettings:
            return "(" + differences(limits, LimitSettings()).joined(separator: "; ") + ")"
        case let pass as ProxyPass: return reflected(pass, leavingOut: pass.isTLS ? "" : "isTLS")
        case let template as Template: return text(template)
        case let pattern as Pattern:
            return "\(pattern.isCaseInsensitive ? "~*" : "~")\(pattern.source)"
        case let type as Set<[UInt8]>:
            return "{" + type.map { string($0) }.sorted().joined(separator: " ") + "}"
        case let types as [[UInt8]: [UInt8]]:
            return types.sorted { key($0.key) < key($1.key) }
                .map { "\(string($0.key)):\(string($0.value))" }.joined(separator: " ")
        default: return reflected(value)
        }
    }

    private func reflected(_ value: Any, leavingOut label: String = "") -> String {
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .optional:
            return mirror.children.first.map { text($0.value) } ?? "none"
        case .collection:
            return "[" + mirror.children.map { text($0.value) }.joined(separator: "; ") + "]"
        case .tuple:
            return mirror.children.map { child in
                let label = child.label.map { $0.hasPrefix(".") ? "" : "\($0) " } ?? ""
                return label + text(child.value)
            }.joined(separator: ", ")
        case .enum:
            guard let payload = mirror.children.first else { return "\(value)" }
            return "\(payload.label ?? "")(\(text(payload.value)))"
        default:
            return mirror.children.filter { $0.label != label || label.isEmpty }
                .map { "\($0.label ?? "") \(text($0.value))" }.joined(separator: ", ")
        }
    }

    private func text(_ template: Template) -> String {
        let parts = template.parts.map { part in
            switch part {
            case .literal(let bytes): string(bytes)
            case .variable(let id): "${\(variable(id))}"
            case .capture(let group): "$\(group)"
            }
        }
        return "\"\(parts.joined())\""
    }

    private func variable(_ id: VariableID) -> String {
        let definition = configuration.variables[id.index]
        return switch definition.source {
        case .builtin: definition.name
        case .family: definition.name
        case .map(let index): "\(definition.name) of map \(index)"
        case .assigned(let slot): "\(definition.name) in slot \(slot)"
        case .assignedOverMap(let index, let slot): "\(definition.name) in slot \(slot) or of map \(index)"
        case .script(let slot, let assigned):
            "\(definition.name) of script slot \(slot)\(assigned.map { " or in slot \($0)" } ?? "")"
        }
    }

    private func groups(_ groups: [NamedGroup]) -> String {
        groups.map { ", group \($0.group) in slot \($0.slot)" }.joined()
    }

    private func string(_ bytes: [UInt8]) -> String {
        String(decoding: bytes, as: UTF8.self).replacing("\n", with: "\\n").replacing("\t", with: "\\t")
    }

    private func quoted(_ bytes: [UInt8]) -> String { "\"\(string(bytes))\"" }
    private func indented(_ lines: [String]) -> [String] { lines.map { "  \($0)" } }
}

private func key(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
