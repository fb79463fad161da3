/// Where Redis is: `redis://[[user]:password@]host[:port][/database]`, or `unix:/path`.
package struct RedisURL: Sendable, Hashable {
    /// A name, a numeric address without brackets, or `unix:` and a path.
    package var host: String
    /// 0 for a path.
    package var port: UInt16 = 6379
    package var user = ""
    /// Empty for none.
    package var password = ""
    package var database = 0

    /// What is expected where something else was found.
    package static let expected = "redis://[[user]:password@]host[:port][/database] or unix:/path"

    /// - Returns: `nil` for what is no such URL.
    package init?(_ text: String) {
        if text.hasPrefix("unix:/") {
            host = text
            port = 0
            return
        }
        let scheme = "redis://"
        guard text.hasPrefix(scheme) else { return nil }
        var rest = text.dropFirst(scheme.count)
        if let at = rest.lastIndex(of: "@") {
            let login = rest[..<at]
            rest = rest[rest.index(after: at)...]
            guard let colon = login.firstIndex(of: ":"),
                let user = Self.decoded(login[..<colon]),
                let password = Self.decoded(login[login.index(after: colon)...]), !password.isEmpty
            else { return nil }
            (self.user, self.password) = (user, password)
        }
        if let slash = rest.firstIndex(of: "/") {
            let digits = rest[rest.index(after: slash)...]
            rest = rest[..<slash]
            if !digits.isEmpty {
                guard let number = ConfigValue.number(Array(digits.utf8)), number < 1 << 16 else {
                    return nil
                }
                database = number
            }
        }
        var name = rest
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            name = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
            guard name.contains(":") else { return nil }
        } else if let colon = rest.lastIndex(of: ":") {
            (name, rest) = (rest[..<colon], rest[colon...])
            guard !name.contains(":") else { return nil }
        } else {
            rest = rest[rest.endIndex...]
        }
        if !rest.isEmpty {
            guard rest.first == ":", let number = ConfigValue.number(Array(rest.dropFirst().utf8)),
                let port = UInt16(exactly: number), port > 0
            else { return nil }
            self.port = port
        }
        guard !name.isEmpty, name.allSatisfy({ $0.isASCII && !$0.isWhitespace }) else { return nil }
        host = String(name)
    }

    /// The commands with which a connection begins.
    package var login: [[[UInt8]]] {
        var commands: [[String]] = []
        if !password.isEmpty { commands.append(["AUTH"] + (user.isEmpty ? [] : [user]) + [password]) }
        if database > 0 { commands.append(["SELECT", String(database)]) }
        return commands.map { $0.map { Array($0.utf8) } }
    }

    /// With `%XX` for what would not be itself there.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
