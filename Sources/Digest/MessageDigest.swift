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

    /// The digest of `bytes`, whose size is this function's; `nil` when the library refuses.
    func digest<let size: Int>(_ bytes: Span<UInt8>) -> InlineArray<size, UInt8>? {
        guard let function = unsafe function, unsafe EVP_MD_get_size(function) == size else { return nil }
        var digest = InlineArray<size, UInt8>(repeating: 0)
        var span = digest.mutableSpan
        // Both pointers are used only during the call; the size was checked above.
        let isDone = unsafe span.withUnsafeMutableBufferPointer { out in
            unsafe bytes.withUnsafeBufferPointer { input in
                unsafe EVP_Digest(input.baseAddress, input.count, out.baseAddress, nil, function, nil) == 1
            }
        }
        return isDone ? digest : nil
    }
}
