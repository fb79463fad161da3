/// Hashes of passwords as Apache's htpasswd makes them by default: those of crypt(3) by MD5, `$1$`, under another name.
package enum APR1 {
    private static let name = Array("$apr1$".utf8)
    private static let maxSalt = 8
    private static let rounds = 1000
    private static let digits = Array("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

    package static func isSetting(_ text: [UInt8]) -> Bool { text.starts(with: name) }

    /// The hash of `password` as it would be stored: `$apr1$`, the salt, `$` and 22 characters.
    ///
    /// - Parameters:
    ///   - password: of any length, for which it takes so much longer.
    ///   - setting: `$apr1$` and the salt, which ends at its eighth character or before a `$`.
    /// - Returns: `nil` where `setting` begins otherwise, or the library's policy forbids MD5.
    package static func hash(_ password: [UInt8], setting: [UInt8]) -> [UInt8]? {
        guard isSetting(setting) else { return nil }
        let salt = Array(setting[name.count...].prefix(maxSalt).prefix { $0 != UInt8(ascii: "$") })
        guard let digest = digest(of: password, salt: salt) else { return nil }
        var hash = name + salt + [UInt8(ascii: "$")]
        for (first, second, third) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
            let bits = Int(digest[first]) << 16 | Int(digest[second]) << 8 | Int(digest[third])
            append(bits, characters: 4, to: &hash)
        }
        append(Int(digest[11]), characters: 2, to: &hash)
        return hash
    }

    private static func digest(of password: [UInt8], salt: [UInt8]) -> MD5.Digest? {
        guard let inner = md5(password + salt + password) else { return nil }
        var text = password + name + salt
        for index in 0..<password.count { text.append(inner[index % 16]) }
        var bits = password.count
        while bits > 0 {
            // What it began with: by one bit nothing, by the other the password's first byte.
            text.append(bits & 1 == 1 ? 0 : password[0])
            bits >>= 1
        }
        guard var digest = md5(text) else { return nil }
        for round in 0..<rounds {
            text.removeAll(keepingCapacity: true)
            if round & 1 == 1 { text += password } else { append(digest, to: &text) }
            if round % 3 != 0 { text += salt }
            if round % 7 != 0 { text += password }
            if round & 1 == 1 { append(digest, to: &text) } else { text += password }
            guard let next = md5(text) else { return nil }
            digest = next
        }
        return digest
    }

    private static func md5(_ bytes: [UInt8]) -> MD5.Digest? { MD5.digest(bytes.span) }

    private static func append(_ digest: MD5.Digest, to text: inout [UInt8]) {
        for index in 0..<16 { text.append(digest[index]) }
    }

    /// Six bits for each character, the lowest first.
    private static func append(_ bits: Int, characters: Int, to hash: inout [UInt8]) {
        for position in 0..<characters { hash.append(digits[bits >> (6 * position) & 63]) }
    }
}
