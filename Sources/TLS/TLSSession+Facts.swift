internal import COpenSSL

/// What there is to say of a session, for variables, logs and scripts. Of the handshake's outcome unless it says
/// otherwise; nothing of it is kept, but asked for anew.
extension TLSSession {
    /// `TLSv1.3`
    package var version: String {
        // The text is static.
        unsafe withHandle { unsafe Self.text(SSL_get_version($0)) }
    }

    /// The cipher suite's name.
    package var cipher: String {
        // As above.
        unsafe withHandle { unsafe Self.text(SSL_CIPHER_get_name(SSL_get_current_cipher($0))) }
    }

    /// What the client offers, joined by colons: names, and numbers such as `0xeaea` for those without.
    package var offeredCiphers: String {
        unsafe withHandle { ssl in
            var bytes: UnsafeMutablePointer<UInt8>?
            // The list stays the connection's; the first call says how long an entry is, the second how long all are.
            let width = unsafe SSL_ctrl(ssl, SSL_CTRL_GET_RAW_CIPHERLIST, 0, nil)
            let length = unsafe SSL_ctrl(ssl, SSL_CTRL_GET_RAW_CIPHERLIST, 0, &bytes)
            guard width == 2, length > 1, let start = unsafe bytes else { return "" }
            var names: [String] = []
            for offset in stride(from: 0, to: length - 1, by: width) {
                let cipher = unsafe SSL_CIPHER_find(ssl, start + offset)
                let name = unsafe cipher.map { unsafe Self.text(SSL_CIPHER_get_name($0)) } ?? ""
                let number = unsafe UInt16(start[offset]) << 8 | UInt16(start[offset + 1])
                names.append(name.isEmpty ? hexadecimal(number) : name)
            }
            return names.joined(separator: ":")
        }
    }

    /// The group of the key exchange; empty where there was none, as in a resumed session of TLS 1.2.
    package var group: String {
        unsafe withHandle { ssl in
            let id = unsafe SSL_ctrl(ssl, SSL_CTRL_GET_NEGOTIATED_GROUP, 0, nil)
            return id == 0 ? "" : groupName(Int32(truncatingIfNeeded: id))
        }
    }

    /// What the client offers, joined by colons.
    package var offeredGroups: String {
        unsafe withHandle { ssl in
            let count = unsafe SSL_ctrl(ssl, SSL_CTRL_GET_GROUPS, 0, nil)
            guard count > 0 else { return "" }
            var ids = [Int32](repeating: 0, count: count)
            // There is room for as many as were counted just now.
            let filled = unsafe ids.withUnsafeMutableBufferPointer {
                unsafe SSL_ctrl(ssl, SSL_CTRL_GET_GROUPS, 0, $0.baseAddress)
            }
            return ids.prefix(max(0, filled)).map(groupName).joined(separator: ":")
        }
    }

    /// The protocol that ALPN chose; empty for none.
    package var applicationProtocol: [UInt8] {
        unsafe withHandle { ssl in
            var start: UnsafePointer<UInt8>?
            var count: UInt32 = 0
            // The text stays the connection's, and is copied.
            unsafe SSL_get0_alpn_selected(ssl, &start, &count)
            return unsafe Array(UnsafeBufferPointer(start: start, count: Int(count)))
        }
    }

    /// The name that a client asked for; empty for none.
    package var serverName: [UInt8] {
        // The text stays the session's, and is copied.
        unsafe withHandle { unsafe Array(Self.text(SSL_get_servername($0, TLSEXT_NAMETYPE_host_name)).utf8) }
    }

    package var isResumed: Bool { unsafe withHandle { unsafe SSL_session_reused($0) == 1 } }

    /// Hexadecimal is for whoever shows it.
    package var sessionID: [UInt8] {
        unsafe withHandle { ssl in
            guard let session = unsafe SSL_get_session(ssl) else { return [] }
            var count: UInt32 = 0
            // The identifier stays the session's, and is copied.
            guard let id = unsafe SSL_SESSION_get_id(session, &count) else { return [] }
            return unsafe Array(UnsafeBufferPointer(start: id, count: Int(count)))
        }
    }

    private func groupName(_ id: Int32) -> String {
        // TLSEXT_nid_unknown
        if id & 0x100_0000 != 0 { return hexadecimal(UInt16(truncatingIfNeeded: id)) }
        // The text is static.
        return unsafe Self.text(OBJ_nid2sn(id))
    }

    private func hexadecimal(_ number: UInt16) -> String {
        let digits = String(number, radix: 16)
        return "0x" + String(repeating: "0", count: 4 - digits.count) + digits
    }

    @unsafe private static func text(_ pointer: UnsafePointer<CChar>?) -> String {
        guard let pointer = unsafe pointer else { return "" }
        return unsafe String(cString: pointer)
    }
}

/// The peer's certificate.
extension TLSSession {
    package enum Verification: Sendable, Equatable {
        case none
        case passed
        /// OpenSSL's number and words for what is wrong.
        case failed(code: Int, reason: String)
        /// As `failed`, but only for want of an authority that is known.
        case unknownAuthority(code: Int, reason: String)
    }

    package var hasPeerCertificate: Bool { unsafe withPeerCertificate { _ in true } ?? false }

    package var verification: Verification {
        guard hasPeerCertificate else { return .none }
        return Self.verification(unsafe withHandle { unsafe SSL_get_verify_result($0) })
    }

    /// What `verification` is when the peer's certificate is verified anew under `next`, whose authorities and lists
    /// may be others.
    ///
    /// - Returns: `nil` where that cannot be said: a client was not asked for a certificate, and would be.
    package func verification(under next: TLSContext) -> Verification? {
        guard next.clientVerification == .off || context.clientVerification != .off else { return nil }
        guard hasPeerCertificate else { return Verification.none }
        guard let attempt = unsafe X509_STORE_CTX_new() else { return nil }
        defer { unsafe X509_STORE_CTX_free(attempt) }
        let store = unsafe SSL_CTX_get_cert_store(next.handle)
        return unsafe withHandle { ssl in
            // The attempt is over before the certificate and the chain, which is the connection's, go.
            guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { return nil }
            defer { unsafe X509_free(certificate) }
            guard
                unsafe X509_STORE_CTX_init(attempt, store, certificate, SSL_get_peer_cert_chain(ssl)) == 1,
                let terms = unsafe X509_STORE_CTX_get0_param(attempt)
            else { return nil }
            // As OpenSSL does in a handshake.
            unsafe X509_VERIFY_PARAM_set_auth_level(terms, SSL_CTX_get_security_level(next.handle))
            _ = unsafe X509_STORE_CTX_set_default(attempt, isServer ? "ssl_client" : "ssl_server")
            _ = unsafe X509_VERIFY_PARAM_set1(terms, SSL_CTX_get0_param(next.handle))
            unsafe X509_STORE_CTX_set_verify_cb(attempt) { _, _ in 1 }
            ERR_clear_error()
            guard unsafe X509_verify_cert(attempt) == 1 else { return nil }
            return Self.verification(Int(unsafe X509_STORE_CTX_get_error(attempt)))
        }
    }

    private static func verification(_ code: Int) -> Verification {
        guard code != Int(X509_V_OK) else { return .passed }
        // The text is static.
        let reason = unsafe Self.text(X509_verify_cert_error_string(code))
        let lacksAuthority: Set<Int32> = [
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_CERT_UNTRUSTED,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        ]
        return lacksAuthority.contains(Int32(truncatingIfNeeded: code))
            ? .unknownAuthority(code: code, reason: reason) : .failed(code: code, reason: reason)
    }

    /// Whether the peer's certificate is one for `name`: a host's, or a numeric address.
    package func peerCertificateIs(for name: String) -> Bool {
        unsafe withPeerCertificate { certificate in
            // The name is a C string for the length of the call; 0 stands for its own length.
            let isHost = unsafe X509_check_host(certificate, name, 0, 0, nil) == 1
            return unsafe isHost || X509_check_ip_asc(certificate, name, 0) == 1
        } ?? false
    }

    package enum CertificateFact: Sendable {
        case pem, subject, issuer, legacySubject, legacyIssuer, serial, fingerprint, start, end, remainingDays
    }

    /// `nil` where the peer showed no certificate.
    package func peerCertificate(_ fact: CertificateFact) -> [UInt8]? {
        unsafe withPeerCertificate { certificate in
            switch fact {
            case .pem: unsafe TLSCertificate.pem(certificate)
            case .subject: unsafe TLSCertificate.subject(certificate, legacy: false)
            case .issuer: unsafe TLSCertificate.issuer(certificate, legacy: false)
            case .legacySubject: unsafe TLSCertificate.subject(certificate, legacy: true)
            case .legacyIssuer: unsafe TLSCertificate.issuer(certificate, legacy: true)
            case .serial: unsafe TLSCertificate.serial(certificate)
            case .fingerprint: unsafe Array(TLSCertificate.digest(certificate).flatMap(Self.hexadecimal))
            case .start: unsafe TLSCertificate.start(certificate)
            case .end: unsafe TLSCertificate.end(certificate)
            case .remainingDays: unsafe Array(String(TLSCertificate.remainingDays(certificate)).utf8)
            }
        }
    }

    private static func hexadecimal(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }

    @unsafe private func withPeerCertificate<Result>(_ body: (OpaquePointer) -> Result) -> Result? {
        unsafe withHandle { ssl in
            guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { return nil }
            defer { unsafe X509_free(certificate) }
            return unsafe body(certificate)
        }
    }
}
