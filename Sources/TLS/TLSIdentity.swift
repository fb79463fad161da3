internal import COpenSSL

/// A certificate with the chain above it.
// What the handles refer to is never changed once it is made, and OpenSSL counts references atomically.
@safe package final class TLSChain: @unchecked Sendable {
    /// Owned. The chain is a stack of certificates without the first.
    let certificate: OpaquePointer
    let chain: OpaquePointer

    /// - Parameter text: PEM; the first is the certificate, the others lead up to its issuer.
    /// - Throws: what is wrong with it.
    package init(_ text: [UInt8]) throws(TLSError) {
        let list = unsafe try PEM.certificates(text)
        guard let first = unsafe list.first, let stack = unsafe OPENSSL_sk_new_null() else {
            throw TLSError("PEM_read_bio_X509", reason: "no certificate found")
        }
        unsafe certificate = first
        unsafe chain = stack
        // The stack holds the rest from now on.
        for index in unsafe list.indices.dropFirst() {
            _ = unsafe OPENSSL_sk_push(stack, UnsafeRawPointer(list[index]))
        }
    }

    deinit {
        unsafe X509_free(certificate)
        unsafe OPENSSL_sk_pop_free(chain) { unsafe X509_free(OpaquePointer($0)) }
    }
}

/// The private key of a certificate.
// As with a chain.
@safe package final class TLSPrivateKey: @unchecked Sendable {
    /// Owned.
    let handle: OpaquePointer

    /// - Parameters:
    ///   - text: PEM.
    ///   - passwords: tried in turn on an encrypted key.
    /// - Throws: what is wrong with it.
    package init(_ text: [UInt8], passwords: [[UInt8]] = []) throws(TLSError) {
        unsafe handle = try PEM.privateKey(text, passwords: passwords)
    }

    deinit { unsafe EVP_PKEY_free(handle) }
}

/// A certificate with the chain above it and its private key.
package final class TLSIdentity: Sendable {
    /// What is wrong with a certificate or a key, in nginx's order of words: `PEM_read_bio_X509() failed (…)`.
    package enum Fault: Error {
        case certificate(TLSError)
        case key(TLSError)
    }

    private let certificates: TLSChain
    private let privateKey: TLSPrivateKey

    /// Whether one belongs to the other is found when the identity is used.
    package init(_ certificates: TLSChain, _ key: TLSPrivateKey) {
        self.certificates = certificates
        privateKey = key
    }

    /// - Throws: when the key is not that of the certificate.
    package func checkKey() throws(TLSError) {
        ERR_clear_error()
        guard unsafe X509_check_private_key(certificate, key) == 1 else {
            throw TLSError(taking: "X509_check_private_key")
        }
    }

    /// - Parameters:
    ///   - certificates: PEM; the first is the identity's own, the others lead up to its issuer.
    ///   - key: PEM.
    ///   - passwords: tried in turn on an encrypted key.
    /// - Throws: what is wrong with either.
    package convenience init(
        certificates: [UInt8], key: [UInt8], passwords: [[UInt8]] = []
    ) throws(Fault) {
        let chain: TLSChain
        do throws(TLSError) {
            chain = try TLSChain(certificates)
        } catch {
            throw .certificate(error)
        }
        do throws(TLSError) {
            self.init(chain, try TLSPrivateKey(key, passwords: passwords))
        } catch {
            throw .key(error)
        }
    }

    var certificate: OpaquePointer { unsafe certificates.certificate }
    var chain: OpaquePointer { unsafe certificates.chain }
    var key: OpaquePointer { unsafe privateKey.handle }

    /// SHA-1 of the certificate, by which session contexts are told apart.
    package var digest: [UInt8] { unsafe TLSCertificate.digest(certificate) }

    /// SHA-256 of the certificate, which is equal for those whom others take for the same.
    package var fingerprint: [UInt8] { unsafe TLSCertificate.fingerprint(certificate) }
}

/// Reading PEM.
enum PEM {
    /// At least one; the caller's to free.
    @unsafe static func certificates(_ text: [UInt8]) throws(TLSError) -> [OpaquePointer] {
        ERR_clear_error()
        var found: [OpaquePointer] = unsafe []
        let isSound = unsafe withInput(text) { input -> Bool in
            // The first may be marked as trusted, with what for; the others are plain.
            guard let first = unsafe PEM_read_bio_X509_AUX(input, nil, givePassword, nil) else {
                return false
            }
            unsafe found.append(first)
            while let next = unsafe PEM_read_bio_X509(input, nil, givePassword, nil) {
                unsafe found.append(next)
            }
            return endsCleanly()
        }
        guard isSound else {
            let error = TLSError(taking: "PEM_read_bio_X509")
            for index in unsafe found.indices { unsafe X509_free(found[index]) }
            throw error
        }
        return unsafe found
    }

    /// The caller's to free.
    @unsafe static func privateKey(_ text: [UInt8], passwords: [[UInt8]]) throws(TLSError) -> OpaquePointer {
        var error = TLSError("PEM_read_bio_PrivateKey", reason: "")
        for password in passwords.isEmpty ? [[]] : passwords {
            ERR_clear_error()
            var secret = Password(bytes: password)
            // The callback is given the address of `secret`, which outlives the call.
            let key = unsafe withUnsafeMutablePointer(to: &secret) { secret in
                unsafe withInput(text) { input in
                    unsafe PEM_read_bio_PrivateKey(input, nil, givePassword, UnsafeMutableRawPointer(secret))
                }
            }
            if let key = unsafe key {
                ERR_clear_error()
                return unsafe key
            }
            error = TLSError(taking: "PEM_read_bio_PrivateKey")
        }
        throw error
    }

    /// The caller's to free.
    @unsafe static func revocationLists(_ text: [UInt8]) throws(TLSError) -> [OpaquePointer] {
        ERR_clear_error()
        var found: [OpaquePointer] = unsafe []
        let isSound = unsafe withInput(text) { input -> Bool in
            while let next = unsafe PEM_read_bio_X509_CRL(input, nil, givePassword, nil) {
                unsafe found.append(next)
            }
            return unsafe !found.isEmpty && endsCleanly()
        }
        guard isSound else {
            let error = TLSError(taking: "PEM_read_bio_X509_CRL")
            for index in unsafe found.indices { unsafe X509_CRL_free(found[index]) }
            throw error
        }
        return unsafe found
    }

    /// Diffie-Hellman parameters; the caller's to free.
    @unsafe static func parameters(_ text: [UInt8]) throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        // PEM_read_bio_Parameters takes no callback, and so would ask for a password.
        let key = unsafe withInput(text) { input -> OpaquePointer? in
            var data: UnsafeMutablePointer<UInt8>?
            var length = 0
            var name: UnsafeMutablePointer<CChar>?
            // Both texts are ours to free, and read before.
            guard
                unsafe PEM_bytes_read_bio(
                    &data, &length, &name, PEM_STRING_DHPARAMS, input, givePassword, nil) == 1
            else { return nil }
            defer {
                unsafe CRYPTO_free(data, nil, 0)
                unsafe CRYPTO_free(name, nil, 0)
            }
            guard let name = unsafe name else { return nil }
            let isX942 = unsafe strcmp(name, PEM_STRING_DHXPARAMS) == 0
            var start = unsafe UnsafePointer(data)
            return unsafe d2i_KeyParams(isX942 ? EVP_PKEY_DHX : EVP_PKEY_DH, nil, &start, length)
        }
        guard let key = unsafe key else { throw TLSError(taking: "PEM_read_bio_DHparams") }
        return unsafe key
    }

    /// Reading came to the end of the text rather than to something that is wrong.
    private static func endsCleanly() -> Bool {
        let last = ERR_peek_last_error()
        guard last != 0 else { return true }
        // The packing of ERR_GET_LIB and ERR_GET_REASON.
        let library = Int32(truncatingIfNeeded: last >> 23 & 0xFF)
        let reason = Int32(truncatingIfNeeded: last & 0x7F_FFFF)
        guard library == ERR_LIB_PEM, reason == PEM_R_NO_START_LINE else { return false }
        ERR_clear_error()
        return true
    }

    @unsafe private static func withInput<Result>(_ text: [UInt8], _ body: (OpaquePointer?) -> Result)
        -> Result
    {
        // The input is read only while the closure runs.
        unsafe text.withUnsafeBufferPointer { text in
            let input = unsafe BIO_new_mem_buf(
                text.baseAddress ?? UnsafePointer(bitPattern: 1), Int32(clamping: text.count))
            defer { unsafe BIO_free(input) }
            return unsafe body(input)
        }
    }
}

private struct Password {
    var bytes: [UInt8]
}

/// Without an answer from here, libcrypto would ask at the terminal for the password of whatever is encrypted, be it no
/// key; or wait for standard input.
private func givePassword(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _: Int32, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let buffer = unsafe buffer, let context = unsafe context else { return -1 }
    // `privateKey` passes the address of one for the length of the call.
    let password = unsafe context.assumingMemoryBound(to: Password.self).pointee.bytes
    guard !password.isEmpty, password.count <= Int(size) else { return -1 }
    for index in password.indices { unsafe buffer[index] = CChar(bitPattern: password[index]) }
    return Int32(password.count)
}
