extension DirectiveTable {
    /// What concerns responses to the client.
    static let responses: [Directive] = [
        Directive(
            "server_tokens", "on | off | build", in: .levels, takes: .one, default: "on",
            "Whether Server and built-in pages tell the version."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.serverTokens = try call.choice(
                call.arguments[0], ignoringCase: true, ["on": ServerTokens.on, "off": .off, "build": .build])
        },
        .flag(
            "server_name_in_redirect", \.serverNameInRedirect, default: "off",
            "Redirects name the first server_name rather than the request's host."),
        .flag("port_in_redirect", \.portInRedirect, default: "on", "Redirects name the listener's port."),
        .flag("absolute_redirect", \.absoluteRedirect, default: "on", "Redirects name scheme and host."),
        .flag(
            "chunked_transfer_encoding", \.chunkedTransferEncoding, default: "on",
            "Sends HTTP/1.1 clients bodies of unknown length in chunks."),
        Directive(
            "error_page", "code … [=[response]] uri", in: .levelsAndIf, takes: .atLeast(2),
            "What to answer instead of the built-in page of a status. Another status behind `=` has three digits at most (RFC 9112 §4), where nginx takes more.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let pages = try errorPages(call, scope.compilation)
            if call.isFirst { scope.settings.errorPages = [] }
            scope.settings.errorPages += pages
        },
        .flag(
            "recursive_error_pages", \.recursiveErrorPages, default: "off",
            "An error page may lead to another."),
        Directive(
            "add_header", "name value [always]", in: .levelsAndIf, takes: .between(2, 3),
            "Adds a field to responses of success and redirection, or to all.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let header = try addedHeader(call, scope.compilation)
            if call.isFirst { scope.settings.addHeaders = [] }
            scope.settings.addHeaders.append(header)
        },
        Directive(
            "add_trailer", "name value [always]", in: .levelsAndIf, takes: .between(2, 3),
            "Adds a field behind the body of responses sent in chunks.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let trailer = try addedHeader(call, scope.compilation)
            if call.isFirst { scope.settings.addTrailers = [] }
            scope.settings.addTrailers.append(trailer)
        },
        .sizeTemplate(
            "limit_rate", \.limitRate, in: .levelsAndIf,
            "Bytes in a second that a client is sent of a response; may have variables. `set $limit_rate` goes before it, and X-Accel-Limit-Rate of the upstream before both."
        ),
        .sizeTemplate(
            "limit_rate_after", \.limitRateAfter, in: .levelsAndIf,
            "Bytes that a client is sent before limit_rate begins; may have variables."),
        Directive(
            "expires", "[modified] time | @daytime | epoch | max | off", in: .levelsAndIf,
            takes: .between(1, 2),
            default: "off", "Adds Expires and Cache-Control to responses of success and redirection."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.expires = try expires(call, scope.compilation)
        },
        Directive(
            "default_type", "type", in: .levels, takes: .one, default: "text/plain",
            "The type of responses of our own whose file name tells none."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.defaultType = call.arguments[0].bytes
        },
        Directive(
            "types", "{ type extension …; … }", in: .levels, takes: .none,
            "Types by file name extension.", form: .block, repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.settings.types = [:] }
            for entry in call.body {
                guard case .none = entry.body else {
                    throw ConfigDiagnostic(
                        position: entry.position, directive: "types", message: "found \"{\", expected \";\"")
                }
                for suffix in entry.arguments {
                    scope.settings.types[suffix.bytes.lowercased()] = entry.name.bytes
                }
            }
        },
    ]

    // MARK: error_page

    private static func errorPages(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> [ErrorPage] {
        let arguments = call.arguments
        var codes = arguments.dropLast()
        var response = ErrorPage.ResponseStatus.unchanged
        if let word = codes.last, let status = word.value(after: "=") {
            response = status.bytes.isEmpty ? .fromPage : .fixed(try call.number(status, in: 0...999))
            codes = codes.dropLast()
        }
        guard !codes.isEmpty else {
            throw call.failure(found: arguments[0], expected: "a status from 300 to 599 first")
        }
        let target = try compilation.template(arguments[arguments.count - 1], in: call.name)
        var pages: [ErrorPage] = []
        for word in codes {
            let status = try call.number(word, in: 300...599)
            // nginx writes 499 to its log for clients that went away: there is nobody to answer.
            guard status != 499 else { throw call.failure(found: word, expected: "another status than 499") }
            let answersBadRequest = response == .unchanged && (495...497).contains(status)
            pages.append(
                ErrorPage(
                    status: status, response: answersBadRequest ? .fixed(400) : response, target: target))
        }
        return pages
    }

    // MARK: add_header, expires

    private static func addedHeader(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> AddedHeader {
        let always = call.arguments.count == 3
        if always, call.arguments[2].text != "always" {
            throw call.failure(found: call.arguments[2], expected: "\"always\"")
        }
        let value = try compilation.template(call.arguments[1], in: call.name)
        return AddedHeader(name: call.arguments[0].bytes, value: value, always: always)
    }

    private static func expires(_ call: DirectiveUse, _ compilation: Compilation) throws(ConfigDiagnostic)
        -> Expires
    {
        let isModified = call.arguments.count == 2
        if isModified, call.arguments[0].text != "modified" {
            throw call.failure(found: call.arguments[0], expected: "\"modified\" or a single argument")
        }
        let word = call.arguments[call.arguments.count - 1]
        if TemplateParser.hasVariables(word.bytes) {
            let value = try compilation.template(word, in: call.name)
            return isModified ? .computedModified(value) : .computed(value)
        }
        guard let expires = Expires(word.bytes, isModified: isModified) else {
            throw call.failure(
                found: word,
                expected: isModified
                    ? "a time" : "a time, \"@\" and a time of day, \"epoch\", \"max\" or \"off\"")
        }
        return expires
    }
}

extension Expires {
    /// Reads the notation of `expires`; also for values that variables yield at run time.
    ///
    /// - Returns: `nil` for what is not in it.
    package init?(_ bytes: [UInt8], isModified: Bool = false) {
        switch String(decoding: bytes, as: UTF8.self) {
        case "off" where !isModified: self = .off
        case "epoch" where !isModified: self = .epoch
        case "max" where !isModified: self = .max
        default:
            let isDaily = bytes.first == UInt8(ascii: "@")
            let isNegative = bytes.first == UInt8(ascii: "-")
            let digits =
                isDaily || isNegative || bytes.first == UInt8(ascii: "+") ? bytes.dropFirst() : bytes[...]
            guard let seconds = ConfigValue.seconds(Array(digits)) else { return nil }
            if isDaily {
                guard !isModified, seconds <= 86_400 else { return nil }
                self = .daily(seconds)
            } else {
                let signed = isNegative ? -seconds : seconds
                self = isModified ? .modifiedPlus(signed) : .after(signed)
            }
        }
    }
}
