internal import Digest
internal import Wire

/// A password as a user file has it: hashed, in any of the forms that nginx takes.
package struct StoredPassword: Sendable, Hashable {
    package enum Verdict: Sendable, Equatable {
        case matches
        case differs
        /// The library hashes nothing for it: an `errno` value.
        case failed(Int32)
    }

    /// As it stands in the file.
    package let text: [UInt8]

    package init(_ text: [UInt8]) { self.text = text }

    private static let plain = Array("{PLAIN}".utf8)
    private static let sha = Array("{SHA}".utf8)
    private static let saltedSHA = Array("{SSHA}".utf8)
    private static let digestSize = 20

    /// Comparing takes no more than some microseconds; otherwise it may take as long as whoever made the hash wanted.
    package var isQuick: Bool {
        [Self.plain, Self.sha, Self.saltedSHA].contains { text.starts(with: $0) }
    }

    /// Compares it with a client's password. Any thread may do so.
    package func verdict(on password: [UInt8]) -> Verdict {
        // nginx hands both on as C strings.
        let password = Array(password.prefix { $0 != 0 })
        let hash: [UInt8]
        do throws(SystemCrypt.Failure) {
            hash = try self.hash(of: password)
        } catch {
            return .failed(error.code)
        }
        return ConstantTime.equal(hash.span, text.span) ? .matches : .differs
    }

    /// The client's password as it would be stored, if it were this one.
    private func hash(of password: [UInt8]) throws(SystemCrypt.Failure) -> [UInt8] {
        if text.starts(with: Self.plain) { return Self.plain + password }
        if text.starts(with: Self.sha) { return Self.sha + Base64.encode(Self.sha1(password)) }
        if text.starts(with: Self.saltedSHA) {
            let salt = salt
            return Self.saltedSHA + Base64.encode(Self.sha1(password + salt) + salt)
        }
        if APR1.isSetting(text) { return APR1.hash(password, setting: text) ?? [] }
        return try SystemCrypt.hash(password, setting: text)
    }

    /// What follows the digest in `{SSHA}`.
    private var salt: [UInt8] {
        var decoded: [UInt8] = []
        let encoded = text.span.extracting(Self.saltedSHA.count...)
        guard Base64.appendLeniently(encoded, to: &decoded), decoded.count > Self.digestSize else {
            return []
        }
        return Array(decoded[Self.digestSize...])
    }

    /// Nothing where the library's policy forbids it, which then is no digest of any password.
    private static func sha1(_ bytes: [UInt8]) -> [UInt8] {
        guard let digest = SHA1.digest(bytes.span) else { return [] }
        return (0..<digestSize).map { digest[$0] }
    }
}
