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
            exchange.proxyIsTLS = pass.isTLS
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
            exchange.proxyIsTLS = parts.isTLS
            if parts.uri.isEmpty {
                appendURI(replacement: nil, prefix: [], of: exchange, to: &uri)
            } else {
                appendSafe(parts.uri[...], to: &uri)
            }
            return destination(of: parts, among: exchange.runtime.configuration.upstreams)
        }
    }

    /// Where a script sends the request: the name of an upstream, or a URL without a path. The request URI stays what
    /// the location's `proxy_pass` makes of it, and is what the client sent where there is none.
    package static func resolve(
        route target: [UInt8], for exchange: Exchange, uri: inout [UInt8]
    ) -> ProxyTarget {
        if uri.isEmpty { appendURI(replacement: nil, prefix: [], of: exchange, to: &uri) }
        let configuration = exchange.runtime.configuration
        if let index = position(ofUpstream: target, in: configuration) {
            exchange.proxyHost = target
            exchange.proxyPort = Array("80".utf8)
            exchange.proxyIsTLS = false
            return .group(index)
        }
        do {
            let parts = try ProxyURL(target)
            exchange.proxyHost = parts.hostField
            exchange.proxyPort = parts.portText
            exchange.proxyIsTLS = parts.isTLS
            return destination(of: parts, among: configuration.upstreams)
        } catch {
            return .failed(reason: error.message(for: target))
        }
    }

    static func destination(of url: ProxyURL, among groups: [UpstreamGroup]) -> ProxyTarget {
        if let path = url.unixPath { return .address(PeerAddress(.unix(path: path))) }
        // A group is known by its name alone; a port makes it another host.
        if url.explicitPort == nil {
            for (index, group) in groups.enumerated() where !group.isImplicit {
                if ByteText.equal(group.name, lowercase: url.host) { return .group(index) }
            }
        }
        if let address = PeerAddress(numericHost: url.host, port: url.port) { return .address(address) }
        // As nginx, whatever another `proxy_pass` names literally needs no `resolver`.
        for (index, group) in groups.enumerated() where group.isImplicit && isServer(of: group, url) {
            return .group(index)
        }
        return .resolve(name: url.host, port: url.port)
    }

    /// The one server of an implicit group is that of the URL, its port being the scheme's own where none is given.
    private static func isServer(of group: UpstreamGroup, _ url: ProxyURL) -> Bool {
        guard case .host(let name, url.port)? = group.servers.first?.endpoint else { return false }
        guard name.utf8.count == url.host.count else { return false }
        return zip(name.utf8, url.host).allSatisfy { ASCII.lowercased($0) == $1 }
    }

    // MARK: The request URI

    /// nginx's rules: without a URI in `proxy_pass`, or with one that a rewrite has made meaningless, what the
    /// client sent or the rewritten URI goes out; otherwise `replacement` stands in for the location's prefix.
    private static func appendURI(
        replacement: [UInt8]?, prefix: [UInt8], of exchange: Exchange, to uri: inout [UInt8]
    ) {
        if replacement == nil, !exchange.uriChanged {
            // RFC 9112 §3.2.1: in the absolute form, the path of the root may be left out.
            if exchange.request.bytes[exchange.requestURI].first == ByteText.question {
                uri.append(ByteText.slash)
            }
            uri.append(contentsOf: exchange.request.bytes[exchange.requestURI])
            return
        }
        var rest = 0
        if let replacement, exchange.locationMatchesURI {
            uri.append(contentsOf: replacement)
            rest = min(prefix.count, exchange.uri.count)
        }
        if exchange.pathHadEscapes || exchange.uriChanged || exchange.isInternal {
            URIEscape.appendPath(exchange.uri[rest...], to: &uri)
        } else {
            // As the client wrote it; nothing in it was decoded.
            appendSafe(exchange.uri[rest...], to: &uri)
        }
        if uri.isEmpty { uri.append(ByteText.slash) }
        guard !exchange.arguments.isEmpty else { return }
        uri.append(ByteText.question)
        appendSafe(exchange.arguments[...], to: &uri)
    }

    /// Appends `bytes` with the characters that would end the request target escaped: variables may hold any. So is what
    /// begins a fragment, which no target has (RFC 9112 §3.2): some servers would end the path there.
    private static func appendSafe(_ bytes: ArraySlice<UInt8>, to uri: inout [UInt8]) {
        guard let firstBad = bytes.firstIndex(where: endsTarget) else { return uri.append(contentsOf: bytes) }
        uri.append(contentsOf: bytes[..<firstBad])
        for byte in bytes[firstBad...] {
            if endsTarget(byte) {
                uri.append(ByteText.percent)
                Hexadecimal.append(byte, uppercase: true, to: &uri)
            } else {
                uri.append(byte)
            }
        }
    }

    private static func endsTarget(_ byte: UInt8) -> Bool {
        byte <= 32 || byte == 127 || byte == UInt8(ascii: "#")
    }
}
