internal import COpenSSL

/// Without this, libcrypto would ask at the terminal for the password of an encrypted block.
private func noPassword(
    _: UnsafeMutablePointer<CChar>?, _: Int32, _: Int32, _: UnsafeMutableRawPointer?
) -> Int32 { -1 }

/// A key that signatures are checked with. What kind it is decides which algorithms it serves, never the message: a
/// public key is not taken for a shared secret.
// The key behind the handle is never changed once it is made, and libcrypto counts its references atomically.
@safe package final class VerificationKey: @unchecked Sendable {
    private enum Kind {
        case secret([UInt8])
        case rsa
        case p256
    }

    private let kind: Kind
    /// Of public keys; owned.
    private let handle: OpaquePointer?

    /// A secret shared with the signer, for HS256.
    package init(secret: [UInt8]) {
        kind = .secret(secret)
        unsafe handle = nil
    }

    /// A public key or a certificate in PEM: RSA of 2048 bits or more (RFC 7518 §3.3), or P-256. `nil` for anything
    /// else. Whether a certificate is valid is not looked at: it is only a wrapping of the key.
    package init?(pem: [UInt8]) {
        guard let key = unsafe Self.read(pem) else {
            ERR_clear_error()
            return nil
        }
        if unsafe EVP_PKEY_is_a(key, "RSA") == 1, unsafe EVP_PKEY_get_bits(key) >= 2048 {
            kind = .rsa
        } else if unsafe EVP_PKEY_is_a(key, "EC") == 1, unsafe Self.group(of: key) == "prime256v1" {
            kind = .p256
        } else {
            unsafe EVP_PKEY_free(key)
            return nil
        }
        unsafe handle = key
    }

    deinit { unsafe EVP_PKEY_free(handle) }

    /// The only algorithm that the key serves.
    package var algorithm: SignatureAlgorithm {
        switch kind {
        case .secret: .hs256
        case .rsa: .rs256
        case .p256: .es256
        }
    }

    /// Whether `signature` is the key's, of `message`.
    package func verifies(_ message: Span<UInt8>, _ signature: Span<UInt8>) -> Bool {
        switch kind {
        case .secret(let secret):
            guard let digest = HMAC.sha256(key: secret.span, message) else { return false }
            return ConstantTime.equal(digest.span, signature)
        case .rsa: return check(message, signature)
        case .p256:
            // RFC 7518 §3.4
            guard signature.count == 64 else { return false }
            return check(message, Self.distinguished(signature).span)
        }
    }

    private func check(_ message: Span<UInt8>, _ signature: Span<UInt8>) -> Bool {
        guard let context = unsafe EVP_MD_CTX_new() else { return false }
        defer {
            unsafe EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        guard unsafe EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, handle) == 1 else { return false }
        // The pointers are used only during the call.
        return unsafe message.withUnsafeBufferPointer { message in
            unsafe signature.withUnsafeBufferPointer { signature in
                unsafe EVP_DigestVerify(
                    context, signature.baseAddress, signature.count, message.baseAddress, message.count) == 1
            }
        }
    }

    /// r and s as libcrypto takes them: a SEQUENCE of two INTEGERs in DER, at most 70 bytes.
    private static func distinguished(_ signature: Span<UInt8>) -> [UInt8] {
        var numbers: [UInt8] = []
        for half in [0, 32] {
            var start = half
            while start < half + 31, signature[start] == 0 { start += 1 }
            // A first bit that is set would make the number negative.
            let isHigh = signature[start] >= 0x80
            numbers += [0x02, UInt8(half + 32 - start) + (isHigh ? 1 : 0)]
            if isHigh { numbers.append(0) }
            for index in start..<half + 32 { numbers.append(signature[index]) }
        }
        return [0x30, UInt8(numbers.count)] + numbers
    }

    // MARK: Reading

    /// The key in `pem`, the caller's to free.
    private static func read(_ pem: [UInt8]) -> OpaquePointer? {
        guard let length = Int32(exactly: pem.count) else { return nil }
        return unsafe pem.withUnsafeBufferPointer { text -> OpaquePointer? in
            // The input is read only while the closure runs.
            if let input = unsafe BIO_new_mem_buf(text.baseAddress, length) {
                defer { unsafe BIO_free(input) }
                if let key = unsafe PEM_read_bio_PUBKEY(input, nil, noPassword, nil) { return unsafe key }
            }
            guard let input = unsafe BIO_new_mem_buf(text.baseAddress, length) else { return nil }
            defer { unsafe BIO_free(input) }
            guard let certificate = unsafe PEM_read_bio_X509(input, nil, noPassword, nil) else { return nil }
            defer { unsafe X509_free(certificate) }
            return unsafe X509_get_pubkey(certificate)
        }
    }

    private static func group(of key: OpaquePointer) -> String? {
        var name = [CChar](repeating: 0, count: 64)
        var length = 0
        let isKnown = unsafe name.withUnsafeMutableBufferPointer { buffer in
            unsafe EVP_PKEY_get_utf8_string_param(key, "group", buffer.baseAddress, buffer.count, &length)
                == 1
        }
        guard isKnown else { return nil }
        return String(decoding: name.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
