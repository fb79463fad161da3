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
        let address: HostAndPort
        do throws(HostAndPort.Fault) { address = try HostAndPort(Array(rest.utf8)) } catch { return nil }
        guard address.host.allSatisfy({ $0 > UInt8(ascii: " ") && $0 < 0x7f }) else { return nil }
        host = String(decoding: address.host, as: UTF8.self)
        if let port = address.port { self.port = port }
        if address.rest.count > 1 {
            guard address.rest.first == UInt8(ascii: "/"),
                let number = ConfigValue.number(address.rest.dropFirst()), number < 1 << 16
            else { return nil }
            database = number
        }
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
