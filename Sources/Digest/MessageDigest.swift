internal import COpenSSL

/// A hash function of the library's.
@safe
struct MessageDigest: @unchecked Sendable {
    // Fetched once and never freed, as each look-up by name costs several times what hashing a few bytes does. Nothing changes it,
    // so threads may share it.
    private let function: OpaquePointer?

    static let md5 = MessageDigest("MD5")
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
