internal import COpenSSL

/// SHA-1, which RFC 6455 §4.2.2 asks for in `Sec-WebSocket-Accept`. Not for anything that needs secrecy.
package enum SHA1 {
    package typealias Digest = InlineArray<20, UInt8>

    /// The digest of `bytes`, or `nil` when the library's policy forbids SHA-1.
    package static func digest(_ bytes: Span<UInt8>) -> Digest? {
        var digest = Digest(repeating: 0)
        return MessageDigest.sha1.write(bytes, into: &digest) ? digest : nil
    }
}

/// SHA-256, for fingerprints and signatures.
package enum SHA256 {
    package typealias Digest = InlineArray<32, UInt8>

    package static func digest(_ bytes: Span<UInt8>) -> Digest? {
        var digest = Digest(repeating: 0)
        return MessageDigest.sha256.write(bytes, into: &digest) ? digest : nil
    }
}

/// A hash function of the library's.
@safe
private struct MessageDigest: @unchecked Sendable {
    // Fetched once and never freed, as each look-up by name costs several times what hashing a few bytes does. Nothing changes it,
    // so threads may share it.
    private let function: OpaquePointer?

    static let sha1 = MessageDigest("SHA1")
    static let sha256 = MessageDigest("SHA256")

    private init(_ name: StaticString) {
        // A static string ends in a zero byte.
        unsafe function = name.withUTF8Buffer { name in
            unsafe name.withMemoryRebound(to: CChar.self) { unsafe EVP_MD_fetch(nil, $0.baseAddress, nil) }
        }
    }

    /// Writes the digest of `bytes` to `output`, whose size is this function's digest size.
    ///
    /// - Returns: false when the library refuses.
    func write<let size: Int>(_ bytes: Span<UInt8>, into output: inout InlineArray<size, UInt8>) -> Bool {
        guard let function = unsafe function, unsafe EVP_MD_get_size(function) == size else { return false }
        var span = output.mutableSpan
        // Both pointers are used only during the call; the size was checked above.
        return unsafe span.withUnsafeMutableBufferPointer { out in
            unsafe bytes.withUnsafeBufferPointer { input in
                unsafe EVP_Digest(input.baseAddress, input.count, out.baseAddress, nil, function, nil) == 1
            }
        }
    }
}
