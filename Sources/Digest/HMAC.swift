/// Keyed hashes (RFC 2104) over SHA-256 and SHA-1.
///
/// Made of two digests, which is all there is to it: libcrypto's `HMAC` looks its algorithms up by their names for every
/// message.
package enum HMAC {
    /// Of both functions.
    private static let blockSize = 64

    package static func sha256(key: Span<UInt8>, _ message: Span<UInt8>) -> SHA256.Digest? {
        code(key: key, message) { SHA256.digest($0) }
    }

    /// `nil` when the library's policy forbids SHA-1.
    package static func sha1(key: Span<UInt8>, _ message: Span<UInt8>) -> SHA1.Digest? {
        code(key: key, message) { SHA1.digest($0) }
    }

    private static func code<let size: Int>(
        key: Span<UInt8>, _ message: Span<UInt8>, by hash: (Span<UInt8>) -> InlineArray<size, UInt8>?
    ) -> InlineArray<size, UInt8>? {
        var block = [UInt8](repeating: 0, count: blockSize)
        if key.count > blockSize {
            guard let digest = hash(key) else { return nil }
            for index in 0..<size { block[index] = digest[index] }
        } else {
            for index in 0..<key.count { block[index] = key[index] }
        }
        var inner = block.map { $0 ^ 0x36 }
        inner.reserveCapacity(blockSize + message.count)
        for index in 0..<message.count { inner.append(message[index]) }
        guard let innerDigest = hash(inner.span) else { return nil }
        var outer = block.map { $0 ^ 0x5C }
        for index in 0..<size { outer.append(innerDigest[index]) }
        return hash(outer.span)
    }
}
