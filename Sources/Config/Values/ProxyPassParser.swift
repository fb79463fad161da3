/// Reads the URL of a `proxy_pass`.
enum ProxyPassParser {
    static func proxyPass(_ call: DirectiveUse, in scope: Scope) throws(ConfigDiagnostic) -> ProxyPass {
        let word = call.arguments[0]
        let prefix = scope.locationPrefix
        if TemplateParser.hasVariables(word.bytes) {
            let target = try scope.compilation.template(word, in: call.name)
            return ProxyPass(
                target: .template(target), host: [], port: [], uri: nil, locationPrefix: prefix ?? [])
        }
        let url = word.bytes
        let isTLS = url.lowercased().starts(with: "https://".utf8)
        guard isTLS || url.lowercased().starts(with: "http://".utf8) else {
            throw call.failure(found: word, expected: "a URL that begins with \"http://\" or \"https://\"")
        }
        let target = try target(
            of: Array(url.dropFirst(isTLS ? 8 : 7)), defaultPort: isTLS ? 443 : 80, word, call,
            scope.compilation)
        if target.uri != nil, prefix == nil {
            throw call.failure(
                "found \"\(word.text)\" with a URI, expected none in a location given by a regular expression, "
                    + "in a named location, in \"if\" and in \"limit_except\"",
                at: word)
        }
        return ProxyPass(
            target: .upstream(target.group), host: target.host, port: target.port, uri: target.uri,
            locationPrefix: prefix ?? [], isTLS: isTLS)
    }

    private struct Target {
        var group: Int
        var host: [UInt8]
        var port: [UInt8]
        var uri: [UInt8]?
    }

    private static func target(
        of text: [UInt8], defaultPort: UInt16, _ word: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> Target {
        if text.lowercased().starts(with: "unix:".utf8) {
            return try unixTarget(of: Array(text.dropFirst(5)), word, call, compilation)
        }
        let address: HostAndPort
        do {
            address = try HostAndPort(text)
        } catch {
            throw call.failure("\(error.rawValue) in upstream \"\(word.text)\"", at: word)
        }
        let uri = address.rest.isEmpty ? nil : address.rest
        if let group = compilation.upstreams.position(ofBlock: address.host) {
            guard address.port == nil else {
                throw call.failure(
                    "found a port in \"\(word.text)\", but upstream "
                        + "\"\(String(decoding: address.host, as: UTF8.self))\" may not have one",
                    at: word)
            }
            return Target(group: group, host: address.host, port: Array(String(defaultPort).utf8), uri: uri)
        }
        let port = address.port ?? defaultPort
        let portText = Array(String(port).utf8)
        let written = address.urlHost + [UInt8(ascii: ":")] + portText
        let endpoint = UpstreamEndpoint.host(String(decoding: address.host, as: UTF8.self), port: port)
        let group = compilation.upstreams.implicit(endpoint, name: written, at: word.position)
        return Target(
            group: group, host: port == defaultPort ? address.urlHost : written, port: portText, uri: uri)
    }

    /// `path[:uri]`
    private static func unixTarget(
        of text: [UInt8], _ word: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> Target {
        let path = text.prefix { $0 != UInt8(ascii: ":") }
        let uri = text.dropFirst(path.count + 1)
        guard ConfigValue.isSocketPath(path) else {
            throw call.failure(
                found: word, expected: "\"http://unix:\", a path of 1 to 107 bytes, and \":/uri\"")
        }
        let endpoint = UpstreamEndpoint.unix(path: String(decoding: path, as: UTF8.self))
        let group = compilation.upstreams.implicit(
            endpoint, name: Array("unix:".utf8) + path, at: word.position)
        return Target(
            group: group, host: Array("localhost".utf8), port: [], uri: uri.isEmpty ? nil : Array(uri))
    }
}
