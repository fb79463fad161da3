internal import Config
internal import Wire

/// Rewrites cookies that an upstream sets as `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags` say.
struct ProxyCookieRewriter: Sendable {
    private let domains: [CookieRewrite]
    private let paths: [CookieRewrite]
    private let flags: [CookieFlags]
    private let isEmpty: Bool

    init(_ settings: Settings.Values) {
        domains = settings.proxyCookieDomains
        paths = settings.proxyCookiePaths
        flags = settings.proxyCookieFlags
        isEmpty = domains.isEmpty && paths.isEmpty && flags.isEmpty
    }

    /// What becomes of the value `bytes[range]` of a `Set-Cookie`; `nil` when it stays as it is, white space included.
    func rewritten(_ bytes: [UInt8], _ range: Range<Int>, of exchange: Exchange) -> [UInt8]? {
        if isEmpty { return nil }
        var attributes = Self.parsed(bytes[range])
        guard let cookie = attributes.first, cookie.value != nil else { return nil }
        var isChanged = false
        for index in attributes.indices.dropFirst() {
            guard let value = attributes[index].value else { continue }
            let changed =
                if !domains.isEmpty, attributes[index].isNamed(Text.domain) {
                    domain(value, exchange)
                } else if !paths.isEmpty, attributes[index].isNamed(Text.path) {
                    path(value, exchange)
                } else {
                    nil as [UInt8]?
                }
            guard let changed else { continue }
            attributes[index].value = changed
            isChanged = true
        }
        if !flags.isEmpty, let given = given(to: cookie.name, exchange) {
            Self.edit(&attributes, given)
            isChanged = true
        }
        return isChanged ? Self.written(attributes) : nil
    }

    // MARK: Domains and paths

    private func domain(_ value: [UInt8], _ exchange: Exchange) -> [UInt8]? {
        // A dot before it stays.
        let name = (value.first == ByteText.dot ? 1 : 0)..<value.count
        return rewritten(value, by: domains, exchange) { from in
            ASCII.equalIgnoringCase(from, Array(value[name])) ? name : nil
        }
    }

    private func path(_ value: [UInt8], _ exchange: Exchange) -> [UInt8]? {
        rewritten(value, by: paths, exchange) { from in
            ByteText.hasPrefix(value, from) ? 0..<from.count : nil
        }
    }

    /// What the first rule for the value makes of it; `nil` where there is none. `place` says what of the value gives way to
    /// a rule that is no pattern.
    private func rewritten(
        _ value: [UInt8], by rules: [CookieRewrite], _ exchange: Exchange, place: ([UInt8]) -> Range<Int>?
    ) -> [UInt8]? {
        for rule in rules {
            var output: [UInt8] = []
            switch rule {
            case .literal(let from, let to):
                guard let place = place(exchange.value(of: from)) else { continue }
                output.append(contentsOf: value[..<place.lowerBound])
                exchange.render(to, into: &output)
                output.append(contentsOf: value[place.upperBound...])
            case .regex(let pattern, let to):
                guard exchange.render(to, into: &output, ifMatches: pattern, value) else { continue }
            }
            return output
        }
        return nil
    }

    // MARK: Flags

    private func applies(_ rule: CookieFlags, to name: [UInt8], _ exchange: Exchange) -> Bool {
        switch rule.cookie {
        case .literal(let template): return ASCII.equalIgnoringCase(exchange.value(of: template), name)
        case .regex(let pattern):
            return exchange.match(pattern.pattern, name, namedGroups: pattern.namedGroups) == true
        }
    }

    /// What the first rule for the cookie says; a flag may have groups of its name.
    private func given(to name: [UInt8], _ exchange: Exchange) -> Set<CookieFlag>? {
        let outer = (exchange.captures, exchange.captureSubject)
        defer { (exchange.captures, exchange.captureSubject) = outer }
        guard let rule = flags.first(where: { applies($0, to: name, exchange) }) else { return nil }
        var given: Set<CookieFlag> = []
        for template in rule.flags {
            let name = exchange.value(of: template)
            if name.isEmpty { continue }
            if let flag = CookieFlag(name) {
                given.insert(flag)
            } else {
                let text = String(decoding: name, as: UTF8.self)
                exchange.note(fault: "invalid proxy_cookie_flags flag \"\(text)\"", level: .info)
            }
        }
        return given
    }

    /// A flag is given once: further attributes of its name are left to the flags that take it away.
    private static func edit(_ attributes: inout [Attribute], _ given: Set<CookieFlag>) {
        var given = given
        for index in attributes.indices.dropFirst() {
            if attributes[index].isNamed(Text.secure) {
                if given.remove(.secure) == nil, given.contains(.nosecure) {
                    attributes[index].isDropped = true
                }
            } else if attributes[index].isNamed(Text.httpOnly) {
                if given.remove(.httponly) == nil, given.contains(.nohttponly) {
                    attributes[index].isDropped = true
                }
            } else if attributes[index].isNamed(Text.sameSite) {
                if let policy = sameSite.first(where: { given.remove($0.flag) != nil }) {
                    attributes[index] = policy.attribute
                } else if given.contains(.nosamesite) {
                    attributes[index].isDropped = true
                }
            }
        }
        if given.contains(.secure) { attributes.append(Attribute(name: Array("Secure".utf8), value: nil)) }
        if given.contains(.httponly) {
            attributes.append(Attribute(name: Array("HttpOnly".utf8), value: nil))
        }
        if let policy = sameSite.first(where: { given.contains($0.flag) }) {
            attributes.append(policy.attribute)
        }
    }

    private static let sameSite: [(flag: CookieFlag, attribute: Attribute)] = [
        (.strict, Attribute(name: Array("SameSite".utf8), value: Array("Strict".utf8))),
        (.lax, Attribute(name: Array("SameSite".utf8), value: Array("Lax".utf8))),
        (.none, Attribute(name: Array("SameSite".utf8), value: Array("None".utf8))),
    ]

    // MARK: Attributes

    /// The cookie itself, which comes first, or an attribute.
    private struct Attribute: Sendable {
        var name: [UInt8]
        /// `nil` without an equals sign.
        var value: [UInt8]?
        var isDropped = false

        /// `lowercase` is in lower case.
        func isNamed(_ lowercase: [UInt8]) -> Bool { ByteText.equal(name, lowercase: lowercase) }
    }

    private static func parsed(_ text: ArraySlice<UInt8>) -> [Attribute] {
        text.split(separator: ByteText.semicolon, omittingEmptySubsequences: false).map { part in
            let end = part.firstIndex(of: ByteText.equals)
            return Attribute(
                name: trimmed(part[..<(end ?? part.endIndex)]), value: end.map { trimmed(part[($0 + 1)...]) })
        }
    }

    /// Without spaces around it.
    private static func trimmed(_ text: ArraySlice<UInt8>) -> [UInt8] {
        let text = text.drop { $0 == ByteText.space }
        let end = text.lastIndex { $0 != ByteText.space } ?? text.startIndex - 1
        return Array(text[..<(end + 1)])
    }

    private static func written(_ attributes: [Attribute]) -> [UInt8] {
        var output: [UInt8] = []
        for (index, attribute) in attributes.enumerated() where !attribute.isDropped {
            if index > 0 {
                output.append(ByteText.semicolon)
                output.append(ByteText.space)
            }
            output.append(contentsOf: attribute.name)
            guard let value = attribute.value else { continue }
            output.append(ByteText.equals)
            output.append(contentsOf: value)
        }
        return output
    }

    private enum Text {
        static let domain = Array("domain".utf8)
        static let path = Array("path".utf8)
        static let secure = Array("secure".utf8)
        static let httpOnly = Array("httponly".utf8)
        static let sameSite = Array("samesite".utf8)
    }
}
