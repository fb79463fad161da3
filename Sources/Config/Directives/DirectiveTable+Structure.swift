internal import Patterns

extension DirectiveTable {
    static let structure: [Directive] = [
        // The parser replaces it by what it includes, so that no level ever meets one.
        Directive(
            "include", "file | pattern", in: .all, takes: .one,
            "Stands for the directives of a file, or of all files that match, in the order of their names.",
            repeats: true
        ) { _, _ in },
        Directive(
            "http", "{ … }", in: .main, takes: .none, "Holds the servers and what they share.", form: .block,
            phase: .blocks
        ) { scope, call throws(ConfigDiagnostic) in
            var http = scope.child(.http)
            http.settings.accessLogs = [scope.compilation.defaultAccessLog(at: call.position)]
            DirectiveCompiler.apply(call.body, to: &http)
            scope.compilation.http = http.settings
        },
        Directive(
            "server", "{ … }", in: .http, takes: .none, "A virtual server.", form: .block, repeats: true,
            phase: .blocks
        ) { scope, call throws(ConfigDiagnostic) in
            var server = scope.child(.server)
            DirectiveCompiler.apply(call.body, to: &server)
            let locations = server.locations
            var named: [[UInt8]: Location] = [:]
            for draft in locations {
                if case .named(let name) = draft.location.matcher, named[name] == nil {
                    named[name] = draft.location
                }
            }
            let table = LocationTable(locations, reportingTo: scope.compilation)
            let rewrites = server.rewrites
            server.rewrites = []
            server.tls.asksScripts = server.scripts.contains {
                scope.compilation.scripts.hasHook(.certificate, in: $0)
            }
            server.tls.listensAt = server.server.listens.first(where: \.arguments.isTLS)?.position
            let finished = VirtualServer(
                index: scope.compilation.servers.count, name: server.server.primaryName,
                settings: server.finishedSettings(), rewrites: rewrites,
                locations: table, namedLocations: named,
                root: server.finishedLocation(children: LocationTable(), source: call.position),
                connection: server.connection, tls: server.tls)
            scope.compilation.servers.append(
                CompiledServer(
                    server: finished, listens: server.server.listens,
                    usesDefaultPort: !server.seen.contains("listen"), names: server.server.names,
                    position: call.position))
        },
        Directive(
            "location", "[= | ~ | ~* | ^~] uri { … } or @name { … }", in: [.server, .location],
            takes: .between(1, 2), "Settings for the requests whose URI it matches.", form: .block,
            repeats: true,
            phase: .blocks, apply: applyLocation),
        Directive(
            "limit_except", "method … { … }", in: .location, takes: .atLeast(1),
            "Settings for requests of all methods but these; GET includes HEAD.", form: .block, phase: .blocks
        ) { scope, call throws(ConfigDiagnostic) in
            var methods: [[UInt8]] = []
            for word in call.arguments {
                let method = word.text.uppercased()
                guard limitExceptMethods.contains(method) else {
                    scope.compilation.report(
                        call.failure(
                            found: word, expected: "one of \(limitExceptMethods.joined(separator: ", "))"))
                    continue
                }
                methods.append(Array(method.utf8))
                if method == "GET" { methods.append(Array("HEAD".utf8)) }
            }
            var block = scope.child(.limitExcept)
            block.matcher = .limitExcept
            DirectiveCompiler.apply(call.body, to: &block)
            let location = block.finishedLocation(children: LocationTable(), source: call.position)
            scope.limitExcept = LimitExcept(methods: methods, location: location)
        },
    ]

    private static let limitExceptMethods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "OPTIONS", "PROPFIND", "PROPPATCH",
        "LOCK", "UNLOCK", "PATCH",
    ]

    // MARK: location

    private static func applyLocation(_ scope: inout Scope, _ call: DirectiveUse) throws(ConfigDiagnostic) {
        var block = scope.child(.location)
        var isSound = true
        do throws(ConfigDiagnostic) {
            block.matcher = try locationMatcher(call, in: scope)
            try checkNesting(block.matcher, in: scope.matcher, call)
        } catch {
            scope.compilation.report(error)
            // So that what stands inside is checked as well, and not blamed for this.
            block.matcher = .prefix([], stopsRegexSearch: false)
            isSound = false
        }
        DirectiveCompiler.apply(call.body, to: &block)
        let children = LocationTable(block.locations, reportingTo: scope.compilation)
        guard isSound else { return }
        scope.locations.append(
            LocationDraft(
                location: block.finishedLocation(children: children, source: call.position),
                name: call.arguments[call.arguments.count - 1]))
    }

    private static func locationMatcher(
        _ call: DirectiveUse, in scope: Scope
    ) throws(ConfigDiagnostic) -> LocationMatcher {
        let first = call.arguments[0]
        if call.arguments.count == 2 {
            let name = call.arguments[1]
            switch first.text {
            case "=": return .exact(name.bytes)
            case "^~": return .prefix(name.bytes, stopsRegexSearch: true)
            case "~": return try regexMatcher(name, caseInsensitive: false, scope)
            case "~*": return try regexMatcher(name, caseInsensitive: true, scope)
            default:
                throw call.failure(found: first, expected: "\"=\", \"^~\", \"~\" or \"~*\" before the URI")
            }
        }
        // The modifier may stand directly before the URI.
        if let name = first.value(after: "=") { return .exact(name.bytes) }
        if let name = first.value(after: "^~") { return .prefix(name.bytes, stopsRegexSearch: true) }
        if let name = first.value(after: "~*") { return try regexMatcher(name, caseInsensitive: true, scope) }
        if let name = first.value(after: "~") { return try regexMatcher(name, caseInsensitive: false, scope) }
        if first.bytes.first == UInt8(ascii: "@") { return .named(first.bytes) }
        return .prefix(first.bytes, stopsRegexSearch: false)
    }

    private static func regexMatcher(
        _ word: Word, caseInsensitive: Bool, _ scope: Scope
    ) throws(ConfigDiagnostic) -> LocationMatcher {
        let (pattern, groups) = try scope.compilation.pattern(
            word, caseInsensitive: caseInsensitive, in: "location")
        return .regex(pattern, namedGroups: groups)
    }

    private static func checkNesting(
        _ inner: LocationMatcher, in outer: LocationMatcher, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) {
        let name = call.arguments[call.arguments.count - 1].text
        let outerPrefix: [UInt8]
        switch outer {
        case .server, .ifBlock, .limitExcept: return
        case .exact(let uri):
            throw call.failure(
                "found location \"\(name)\" inside the exact location \"\(String(decoding: uri, as: UTF8.self))\""
            )
        case .named(let uri):
            throw call.failure(
                "found location \"\(name)\" inside the named location \"\(String(decoding: uri, as: UTF8.self))\""
            )
        case .prefix(let uri, _): outerPrefix = uri
        case .regex(let pattern, _): outerPrefix = Array(pattern.source.utf8)
        }
        switch inner {
        case .named:
            throw call.failure("found named location \"\(name)\" inside a location, expected in server only")
        case .exact(let uri), .prefix(let uri, _):
            guard uri.starts(with: outerPrefix) else {
                throw call.failure(
                    "found location \"\(name)\" outside the location "
                        + "\"\(String(decoding: outerPrefix, as: UTF8.self))\" that it stands in")
            }
        case .server, .regex, .ifBlock, .limitExcept: break
        }
    }
}
