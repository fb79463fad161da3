package import Config
internal import Patterns

/// Rewrites `Location` and `Refresh` of a response as `proxy_redirect` says.
package struct ProxyRedirectRewriter: Sendable {
    private enum Rule: Sendable {
        /// The response's URL begins with the first; the second takes its place.
        case prefix([UInt8], [UInt8])
        case template(from: Template, to: Template)
        case regex(GroupedPattern, to: Template)
    }

    private let rules: [Rule]

    package init(_ redirects: [ProxyRedirect], pass: ProxyPass) {
        rules = redirects.compactMap { redirect in
            switch redirect {
            case .off: nil
            case .default: Self.defaultRule(for: pass)
            case .literal(let from, let to):
                if let from = from.constant, let to = to.constant {
                    .prefix(from, to)
                } else {
                    .template(from: from, to: to)
                }
            case .regex(let pattern, let to): .regex(pattern, to: to)
            }
        }
    }

    package var isEmpty: Bool { rules.isEmpty }

    /// From the URL of `proxy_pass` to the location's prefix; none where the URL has variables.
    private static func defaultRule(for pass: ProxyPass) -> Rule? {
        guard case .upstream = pass.target else { return nil }
        var url = Array(pass.isTLS ? "https://".utf8 : "http://".utf8)
        url += pass.host
        guard let uri = pass.uri else { return .prefix(url + [47], [47]) }
        return .prefix(url + uri, pass.locationPrefix)
    }

    /// Appends what becomes of the value `bytes[range]` of a `Location`.
    ///
    /// - Returns: false when no rule applies; then nothing is appended.
    func append(
        location bytes: [UInt8], _ range: Range<Int>, of exchange: Exchange, to output: inout [UInt8]
    ) -> Bool {
        for rule in rules where apply(rule, bytes, range, of: exchange, to: &output) { return true }
        return false
    }

    /// Appends what becomes of the value of a `Refresh`, such as `5; url=http://…`: the URL is as a `Location`.
    func append(
        refresh bytes: [UInt8], _ range: Range<Int>, of exchange: Exchange, to output: inout [UInt8]
    ) -> Bool {
        guard let url = urlStart(bytes, range) else { return false }
        let start = output.count
        output.append(contentsOf: bytes[range.lowerBound..<url])
        if append(location: bytes, url..<range.upperBound, of: exchange, to: &output) { return true }
        output.removeLast(output.count - start)
        return false
    }

    private func urlStart(_ bytes: [UInt8], _ range: Range<Int>) -> Int? {
        var index = range.lowerBound
        while index + 4 <= range.upperBound {
            if ByteText.equal(bytes, index..<index + 4, lowercase: Self.urlKey) { return index + 4 }
            index += 1
        }
        return nil
    }

    private func apply(
        _ rule: Rule, _ bytes: [UInt8], _ range: Range<Int>, of exchange: Exchange, to output: inout [UInt8]
    ) -> Bool {
        switch rule {
        case .prefix(let from, let to):
            guard begins(bytes, range, with: from) else { return false }
            output.append(contentsOf: to)
            output.append(contentsOf: bytes[range.lowerBound + from.count..<range.upperBound])
        case .template(let from, let to):
            var prefix: [UInt8] = []
            exchange.render(from, into: &prefix)
            guard begins(bytes, range, with: prefix) else { return false }
            exchange.render(to, into: &output)
            output.append(contentsOf: bytes[range.lowerBound + prefix.count..<range.upperBound])
        case .regex(let redirect, let to):
            // nginx puts the replacement in the place of the whole URL.
            return exchange.render(to, into: &output, ifMatches: redirect, Array(bytes[range]))
        }
        return true
    }

    private func begins(_ bytes: [UInt8], _ range: Range<Int>, with prefix: [UInt8]) -> Bool {
        prefix.count <= range.count
            && ByteText.matches(bytes, at: range.lowerBound, prefix)
    }

    private static let urlKey = Array("url=".utf8)
}
