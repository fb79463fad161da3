package import Config
internal import Wire

extension VariableFamily {
    /// One line of documentation.
    package var summary: String {
        switch self {
        case .requestHeader: "field of the request's head, `-` written `_`; several joined by `, `"
        case .sentHeader: "field of the response's head as sent to the client"
        case .sentTrailer: "field of the response's trailer section as sent to the client"
        case .upstreamHeader: "field of the upstream's response head"
        case .upstreamTrailer: "field of the upstream's trailer section"
        case .upstreamCookie: "cookie that the upstream's `Set-Cookie` sets"
        case .argument: "argument of the request, as it is escaped"
        case .cookie: "cookie of the request"
        case .proxyProtocolValue:
            "what the PROXY protocol's version 2 carries: `alpn`, `authority`, `unique_id`, `netns`, `ssl`, `ssl_verify`, `ssl_version`, `ssl_cn`, `ssl_cipher`, `ssl_sig_alg`, `ssl_key_alg`, or a type in hexadecimal, `0xea`, `ssl_0x23`"
        }
    }

    func append(_ suffix: [UInt8], of exchange: Exchange, to out: inout [UInt8]) -> Bool {
        switch self {
        case .requestHeader:
            let isCookie = suffix == Self.cookieName
            return RequestFields.append(
                suffix, of: exchange, separator: isCookie ? ByteText.semicolon : ByteText.comma,
                to: &out)
        case .sentHeader: return WrittenFields.append(suffix, of: exchange.sentHead, to: &out)
        case .sentTrailer: return WrittenFields.append(suffix, of: exchange.sentTrailers, to: &out)
        case .upstreamHeader:
            return RequestFields.append(
                suffix, fields: exchange.response.fields, of: exchange.response.bytes, within: .odd,
                separator: ByteText.comma, to: &out)
        case .upstreamTrailer:
            guard let trailers = exchange.responseTrailers else { return false }
            return RequestFields.append(
                suffix, fields: trailers.fields, of: trailers.bytes, within: .odd,
                separator: ByteText.comma, to: &out)
        case .upstreamCookie: return Self.appendUpstreamCookie(suffix, exchange.response, to: &out)
        case .argument: return ArgumentText.append(suffix, in: exchange.arguments, to: &out)
        case .cookie: return Self.appendCookie(suffix, exchange.request, to: &out)
        case .proxyProtocolValue: return Self.appendProxyProtocolValue(suffix, exchange, to: &out)
        }
    }

    private static func appendProxyProtocolValue(
        _ name: [UInt8], _ exchange: Exchange, to out: inout [UInt8]
    ) -> Bool {
        guard let header = exchange.client.proxied else { return false }
        do throws(ProxyProtocolHeader.MissingValue) {
            out.append(contentsOf: try header.value(named: name))
            return true
        } catch {
            if case .misnamed(let fault) = error { exchange.note(fault: fault) }
            return false
        }
    }

    private static let cookieName = Array("cookie".utf8)

    private static func appendCookie(_ name: [UInt8], _ request: RequestHead, to out: inout [UInt8]) -> Bool {
        for field in request.fields where field.id == .cookie {
            let start = Int(field.valueStart)
            let text = request.bytes[start..<start + Int(field.valueLength)]
            if CookieText.append(name, in: text, firstOnly: false, to: &out) { return true }
        }
        return false
    }

    private static func appendUpstreamCookie(
        _ name: [UInt8], _ response: ResponseHead, to out: inout [UInt8]
    ) -> Bool {
        for field in response.fields where field.id == .setCookie {
            let start = Int(field.valueStart)
            let text = response.bytes[start..<start + Int(field.valueLength)]
            if CookieText.append(name, in: text, firstOnly: true, to: &out) { return true }
        }
        return false
    }
}
