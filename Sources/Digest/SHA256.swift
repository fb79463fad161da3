/// SHA-256, for fingerprints and signatures.
package enum SHA256 {
    package typealias Digest = InlineArray<32, UInt8>

    package static func digest(_ bytes: Span<UInt8>) -> Digest? {
        var digest = Digest(repeating: 0)
        return MessageDigest.sha256.write(bytes, into: &digest) ? digest : nil
    }
}
