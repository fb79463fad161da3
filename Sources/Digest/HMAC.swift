/// Keyed hashes (RFC 2104) over SHA-256.
///
/// Made of two digests, which is all there is to it: libcrypto's `HMAC` looks its algorithms up by their names for every
/// message.
package enum HMAC {
    private static let blockSize = 64

    package static func sha256(key: Span<UInt8>, _ message: Span<UInt8>) -> SHA256.Digest? {
        var block = [UInt8](repeating: 0, count: blockSize)
        if key.count > blockSize {
            guard let digest = SHA256.digest(key) else { return nil }
            for index in 0..<32 { block[index] = digest[index] }
        } else {
            for index in 0..<key.count { block[index] = key[index] }
        }
        var inner = block.map { $0 ^ 0x36 }
        inner.reserveCapacity(blockSize + message.count)
        for index in 0..<message.count { inner.append(message[index]) }
        guard let innerDigest = SHA256.digest(inner.span) else { return nil }
        var outer = block.map { $0 ^ 0x5C }
        for index in 0..<32 { outer.append(innerDigest[index]) }
        return SHA256.digest(outer.span)
    }
}
