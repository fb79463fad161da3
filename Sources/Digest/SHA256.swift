/// SHA-256, for fingerprints and signatures.
package enum SHA256 {
    package typealias Digest = InlineArray<32, UInt8>

    package static func digest(_ bytes: Span<UInt8>) -> Digest? { MessageDigest.sha256.digest(bytes) }
}
