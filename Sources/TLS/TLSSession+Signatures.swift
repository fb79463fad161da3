internal import COpenSSL

/// With what the two sides signed the handshake, by the names of TLS's registry of signature schemes (RFC 8446 §4.2.3).
extension TLSSession {
    /// The scheme of the server's signature, seen from the server; empty in resumed sessions, where nothing is signed, and
    /// before TLS 1.2.
    package var signatureScheme: String {
        // The certificate stays the connection's.
        unsafe withHandle { ssl in
            unsafe scheme(
                SSL_get_signature_type_nid, SSL_CTRL_GET_SIGNATURE_NID, of: ssl, by: SSL_get_certificate(ssl))
        }
    }

    /// The scheme of the client's signature, seen from the server; empty without a certificate of the client's, in
    /// resumed sessions and before TLS 1.2.
    package var peerSignatureScheme: String {
        // As above.
        unsafe withHandle { ssl in
            unsafe scheme(
                SSL_get_peer_signature_type_nid, SSL_CTRL_GET_PEER_SIGNATURE_NID, of: ssl,
                by: SSL_get0_peer_certificate(ssl))
        }
    }

    /// `kindOf` and `digestOf` are how OpenSSL is asked for the two.
    @unsafe private func scheme(
        _ kindOf: (OpaquePointer, UnsafeMutablePointer<Int32>) -> Int32, _ digestOf: Int32,
        of ssl: OpaquePointer,
        by certificate: OpaquePointer?
    ) -> String {
        var kind: Int32 = 0
        var digest: Int32 = 0
        guard unsafe kindOf(ssl, &kind) == 1, unsafe SSL_ctrl(ssl, digestOf, 0, &digest) == 1 else {
            return ""
        }
        return unsafe name(ofScheme: kind, with: digest, by: certificate)
    }

    /// OpenSSL has names for schemes only since 3.5; before, it tells the kind of signature and the digest.
    @unsafe private func name(ofScheme kind: Int32, with digest: Int32, by certificate: OpaquePointer?)
        -> String
    {
        let hash: String
        switch digest {
        case NID_sha1: hash = "sha1"
        case NID_sha224: hash = "sha224"
        case NID_sha256: hash = "sha256"
        case NID_sha384: hash = "sha384"
        case NID_sha512: hash = "sha512"
        default: hash = ""
        }
        switch kind {
        case NID_ED25519: return "ed25519"
        case NID_ED448: return "ed448"
        case _ where hash.isEmpty: return ""
        case NID_rsaEncryption: return "rsa_pkcs1_\(hash)"
        case NID_rsassaPss:
            let key = unsafe certificate.flatMap { unsafe X509_get0_pubkey($0) }
            let isForPSSOnly = unsafe key.map { unsafe EVP_PKEY_get_base_id($0) } == NID_rsassaPss
            return "rsa_pss_\(isForPSSOnly ? "pss" : "rsae")_\(hash)"
        case NID_X9_62_id_ecPublicKey:
            switch digest {
            case NID_sha256: return "ecdsa_secp256r1_sha256"
            case NID_sha384: return "ecdsa_secp384r1_sha384"
            case NID_sha512: return "ecdsa_secp521r1_sha512"
            default: return "ecdsa_\(hash)"
            }
        default: return ""
        }
    }
}
