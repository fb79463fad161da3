/// MD5 (RFC 1321), for protocols that ask for it. Not for anything that needs secrecy.
package enum MD5 {
    package typealias Digest = InlineArray<16, UInt8>

    /// The digest of `bytes`, or `nil` when the library's policy forbids MD5.
    package static func digest(_ bytes: Span<UInt8>) -> Digest? { MessageDigest.md5.digest(bytes) }
}
