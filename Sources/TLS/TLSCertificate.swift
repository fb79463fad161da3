internal import COpenSSL

/// Reading certificates and what comes with them.
enum TLSCertificate {
    static func digest(_ certificate: OpaquePointer) -> [UInt8] {
        unsafe digest(of: certificate, with: EVP_sha1())
    }

    static func fingerprint(_ certificate: OpaquePointer) -> [UInt8] {
        unsafe digest(of: certificate, with: EVP_sha256())
    }

    @unsafe private static func digest(of certificate: OpaquePointer, with kind: OpaquePointer?) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        // There is room for the longest digest.
        guard unsafe X509_digest(certificate, kind, &bytes, &length) == 1 else { return [] }
        return Array(bytes[..<Int(length)])
    }

    static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: 32)
        // There is room for the 32 bytes of this digest.
        guard unsafe EVP_Digest(bytes, bytes.count, &result, nil, EVP_sha256(), nil) == 1 else { return [] }
        return result
    }

    static func pem(_ certificate: OpaquePointer) -> [UInt8] {
        unsafe written { unsafe PEM_write_bio_X509($0, certificate) == 1 }
    }

    /// RFC 2253, or the form that OpenSSL had before.
    static func subject(_ certificate: OpaquePointer, legacy: Bool) -> [UInt8] {
        unsafe text(of: X509_get_subject_name(certificate), legacy: legacy)
    }

    static func issuer(_ certificate: OpaquePointer, legacy: Bool) -> [UInt8] {
        unsafe text(of: X509_get_issuer_name(certificate), legacy: legacy)
    }

    @unsafe private static func text(of name: OpaquePointer?, legacy: Bool) -> [UInt8] {
        guard let name = unsafe name else { return [] }
        guard legacy else {
            return unsafe written {
                unsafe X509_NAME_print_ex($0, name, 0, sy_name_rfc2253) >= 0
            }
        }
        // The text is ours to free.
        guard let line = unsafe X509_NAME_oneline(name, nil, 0) else { return [] }
        defer { unsafe CRYPTO_free(line, nil, 0) }
        return unsafe Array(String(cString: line).utf8)
    }

    /// Hexadecimal, upper case.
    static func serial(_ certificate: OpaquePointer) -> [UInt8] {
        unsafe written { unsafe i2a_ASN1_INTEGER($0, X509_get0_serialNumber(certificate)) >= 0 }
    }

    static func start(_ certificate: OpaquePointer) -> [UInt8] {
        unsafe written { unsafe ASN1_TIME_print($0, X509_get0_notBefore(certificate)) == 1 }
    }

    static func end(_ certificate: OpaquePointer) -> [UInt8] {
        unsafe written { unsafe ASN1_TIME_print($0, X509_get0_notAfter(certificate)) == 1 }
    }

    /// Days until it is no longer valid; 0 once it is not.
    static func remainingDays(_ certificate: OpaquePointer) -> Int {
        var days: Int32 = 0
        var seconds: Int32 = 0
        // From now on, with `nil`; the results go to variables that outlive the call.
        guard unsafe ASN1_TIME_diff(&days, &seconds, nil, X509_get0_notAfter(certificate)) == 1 else {
            return 0
        }
        return days < 0 || seconds < 0 ? 0 : Int(days)
    }

    /// What `write` puts into the BIO that it is given.
    @unsafe private static func written(_ write: (OpaquePointer?) -> Bool) -> [UInt8] {
        guard let output = unsafe BIO_new(BIO_s_mem()) else { return [] }
        defer { unsafe BIO_free(output) }
        guard unsafe write(output) else {
            ERR_clear_error()
            return []
        }
        var bytes = [UInt8](repeating: 0, count: Int(unsafe BIO_ctrl_pending(output)))
        guard !bytes.isEmpty else { return [] }
        // There is room for as many as are pending.
        let count = unsafe BIO_read(output, &bytes, Int32(clamping: bytes.count))
        return Array(bytes.prefix(max(0, Int(count))))
    }

    static func isSuccessfulOCSPResponse(_ bytes: [UInt8]) -> Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        // The bytes are alive during the call, which moves `start`, not what it points to.
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            var start = buffer.baseAddress
            guard let response = unsafe d2i_OCSP_RESPONSE(nil, &start, buffer.count) else { return false }
            defer { unsafe OCSP_RESPONSE_free(response) }
            return unsafe OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL
        }
    }
}
