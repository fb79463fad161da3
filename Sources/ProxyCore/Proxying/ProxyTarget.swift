package import Config
internal import Wire

/// Where a request goes: what `proxy_pass` comes to for it.
package enum ProxyTarget {
    /// A position in `Configuration.upstreams`.
    case group(Int)
    /// An address that a `proxy_pass` with variables gave as it is.
    case address(PeerAddress)
    /// A name that is to be looked up through the location's `resolver`.
    case resolve(name: [UInt8], port: UInt16)
    /// 500, with a line for the error log.
    case failed(reason: String)

    /// Finds the target of `pass`, appends the request URI to send to `uri`, and sets the exchange's
    /// `proxyHost` and `proxyPort`.
    package static func resolve(
        _ pass: ProxyPass, for exchange: Exchange, uri: inout [UInt8]
    ) -> ProxyTarget {
        switch pass.target {
        case .upstream(let index):
            exchange.proxyHost = pass.host
            exchange.proxyPort = pass.port
            appendURI(replacement: pass.uri, prefix: pass.locationPrefix, of: exchange, to: &uri)
            return .group(index)
        case .template(let template):
            var url: [UInt8] = []
            exchange.render(template, into: &url)
            let parts: ProxyURL
            do {
                parts = try ProxyURL(url)
            } catch {
                return .failed(reason: error.message(for: url))
            }
            exchange.proxyHost = parts.hostField
            exchange.proxyPort = parts.portText
            if parts.uri.isEmpty {
                appendURI(replacement: nil, prefix: [], of: exchange, to: &uri)
            } else {
                appendSafe(parts.uri, to: &uri)
            }
            return destination(of: parts, among: exchange.runtime.configuration.upstreams)
        }
    }

    private static func destination(of url: ProxyURL, among groups: [UpstreamGroup]) -> ProxyTarget {
        if let path = url.unixPath { return .address(PeerAddress(.unix(path: path))) }
        // A group is known by its name alone; a port makes it another host.
        if url.explicitPort == nil {
            for (index, group) in groups.enumerated() where !group.isImplicit {
                if Octets.equal(group.name, lowercase: url.host) { return .group(index) }
            }
        }
        if let address = PeerAddress(numericHost: url.host, port: url.port) { return .address(address) }
        return .resolve(name: url.host, port: url.port)
    }

    // MARK: The request URI

    /// nginx's rules: without a URI in `proxy_pass`, or with one that a rewrite has made meaningless, what the
    /// client sent or the rewritten URI goes out; otherwise `replacement` stands in for the location's prefix.
    private static func appendURI(
        replacement: [UInt8]?, prefix: [UInt8], of exchange: Exchange, to uri: inout [UInt8]
    ) {
        if replacement == nil, !exchange.uriChanged {
            uri.append(contentsOf: exchange.request.bytes[exchange.requestURI])
            return
        }
        var rest = 0
        if let replacement, exchange.locationMatchesURI {
            uri.append(contentsOf: replacement)
            rest = min(prefix.count, exchange.uri.count)
        }
        if exchange.pathHadEscapes || exchange.isInternal {
            URIEscaping.append(path: exchange.uri, from: rest, to: &uri)
        } else {
            appendSafe(exchange.uri, from: rest, to: &uri)
        }
        if uri.isEmpty { uri.append(47) }
        guard !exchange.arguments.isEmpty else { return }
        uri.append(63)
        appendSafe(exchange.arguments, to: &uri)
    }

    /// Appends `bytes` with the characters that would end the request target escaped: variables may hold any.
    private static func appendSafe(_ bytes: [UInt8], from start: Int = 0, to uri: inout [UInt8]) {
        guard let firstBad = bytes[start...].firstIndex(where: URIEscaping.endsTarget) else {
            uri.append(contentsOf: start == 0 ? bytes[...] : bytes[start...])
            return
        }
        uri.append(contentsOf: bytes[start..<firstBad])
        for byte in bytes[firstBad...] {
            if URIEscaping.endsTarget(byte) { URIEscaping.append(escaped: byte, to: &uri) } else { uri.append(byte) }
        }
    }
}

/// The percent-encoding that nginx applies to a decoded path.
enum URIEscaping {
    /// Escapes what cannot stand in a path: controls, space, `"#%<>?\^`{|}`, DEL and everything above ASCII.
    static func append(path: [UInt8], from start: Int, to output: inout [UInt8]) {
        var clean = start
        for index in start..<path.count where needsEscape(path[index]) {
            output.append(contentsOf: path[clean..<index])
            append(escaped: path[index], to: &output)
            clean = index + 1
        }
        output.append(contentsOf: path[clean...])
    }

    static func append(escaped byte: UInt8, to output: inout [UInt8]) {
        output.append(37)
        output.append(hexDigits[Int(byte >> 4)])
        output.append(hexDigits[Int(byte & 15)])
    }

    @inline(__always)
    static func endsTarget(_ byte: UInt8) -> Bool { byte <= 32 || byte == 127 }

    @inline(__always)
    private static func needsEscape(_ byte: UInt8) -> Bool {
        if byte >= 128 { return true }
        return (byte < 64 ? escapedLow >> byte : escapedHigh >> (byte - 64)) & 1 == 1
    }

    private static let hexDigits = Array("0123456789ABCDEF".utf8)
    private static let escapedLow = mask(Array("\"#%<>?".utf8), from: 0) | (1 << 33) - 1
    private static let escapedHigh = mask(Array("\\^`{|}\u{7F}".utf8), from: 64)

    private static func mask(_ characters: [UInt8], from base: UInt8) -> UInt64 {
        characters.reduce(0) { $0 | 1 << UInt64($1 - base) }
    }
}
