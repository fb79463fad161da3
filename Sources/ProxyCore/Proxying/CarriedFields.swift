internal import Config
package import Wire

extension Exchange {
    /// Keeps what of the upstream's response goes with the one that its `X-Accel-Redirect` leads to.
    package func carryDescription(_ plan: ProxyPlan) {
        var carried = carried
        carried.takeDescription(of: self, plan)
        self.carried = carried
    }
}

/// Fields of an upstream's response that does not reach the client, which go with the one in its place.
///
/// They go with every response from then on, as in nginx: beside fields of the same names that it has itself.
package struct CarriedFields {
    /// For a response without a type of its own.
    private(set) var contentType: [UInt8]?
    private var lines: [(id: FieldID, name: [UInt8], value: [UInt8])] = []

    var isEmpty: Bool { contentType == nil && lines.isEmpty }

    /// How to log in, of a 401 that an `error_page` takes the place of.
    package mutating func takeChallenges(of response: borrowing ResponseHead) {
        for field in response.fields where field.id == .other {
            let name = response.bytes.span.extracting(field.name)
            if ASCII.equalIgnoringCase(name, Self.challenge.span) { take(field, of: response.bytes) }
        }
    }

    /// How to log in where `auth_basic` asks for it (RFC 7617 §2).
    mutating func challenge(realm: [UInt8]) {
        var value = Array("Basic realm=\"".utf8)
        value.append(contentsOf: realm)
        value.append(ByteText.quote)
        ByteText.neutraliseLineEnds(in: &value, from: 0)
        lines.append((.other, Array("WWW-Authenticate".utf8), value))
    }

    /// How to log in, as another response says.
    mutating func takeChallenges(of others: CarriedFields) {
        lines += others.lines.filter { Self.isChallenge($0.name) }
    }

    /// Nobody has to log in any more.
    mutating func dropChallenges() { lines.removeAll { Self.isChallenge($0.name) } }

    private static func isChallenge(_ name: [UInt8]) -> Bool {
        ASCII.equalIgnoringCase(name.span, challenge.span)
    }

    /// What nginx has go with the response that `X-Accel-Redirect` leads to. Whether the client may see these fields
    /// of the upstream, `proxy_hide_header`, has no say in it; its cookies are rewritten as in the location that it came to.
    mutating func takeDescription(of exchange: Exchange, _ plan: ProxyPlan) {
        let response = exchange.response
        for field in response.fields {
            switch field.id {
            case .contentType: contentType = Array(response.bytes[field.value])
            case .setCookie:
                let value = plan.cookies.rewritten(response.bytes, field.value, of: exchange)
                take(field, of: response.bytes, value: value)
            case .cacheControl, .expires, .acceptRanges: take(field, of: response.bytes)
            case .other:
                let name = response.bytes.span.extracting(field.name)
                if ASCII.equalIgnoringCase(name, Self.disposition.span) { take(field, of: response.bytes) }
            default: break
            }
        }
        if contentType?.isEmpty ?? false { contentType = nil }
    }

    /// Takes the field with `value`, or with its own.
    private mutating func take(_ field: FieldLine, of bytes: [UInt8], value: [UInt8]? = nil) {
        lines.append((field.id, Array(bytes[field.name]), value ?? Array(bytes[field.value])))
    }

    /// Appends the lines; without those that `expires` writes itself, if it does.
    func append(besides expires: ExpiresPolicy?, to output: inout [UInt8]) {
        for line in lines {
            if expires != nil, line.id == .expires || line.id == .cacheControl { continue }
            ResponseHeadWriter.append(line.name, line.value, to: &output)
        }
    }

    private static let challenge = Array("www-authenticate".utf8)
    private static let disposition = Array("content-disposition".utf8)
}
