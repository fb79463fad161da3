internal import COpenSSL
internal import Glibc

/// The functions that OpenSSL calls, which find the session and answer for it.
extension TLSSession {
    /// A client's session that may be resumed. Returns 1 when the reference was taken over.
    func keep(_ session: OpaquePointer) -> Int32 {
        guard let resumption else { return 0 }
        unsafe resumption.keep(owned: session)
        return 1
    }

    /// Called for each step of a handshake, and for each message of one that comes when it is over. Records of data have no
    /// part in it, where a callback for messages would be told of each.
    static let stateChanges: @convention(c) (OpaquePointer?, Int32, Int32) -> Void = { ssl, place, _ in
        guard place & SSL_CB_LOOP != 0, let ssl = unsafe ssl, unsafe SSL_get_state(ssl) == TLS_ST_OK,
            let session = unsafe TLSSession.of(ssl)
        else { return }
        session.lateMessageCame()
    }

    static let helloCame: SSL_client_hello_cb_fn = { ssl, alert, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl) else {
            return SSL_CLIENT_HELLO_ERROR
        }
        return unsafe session.take(helloOf: ssl, alert)
    }

    private func take(helloOf ssl: OpaquePointer, _ alert: UnsafeMutablePointer<Int32>?) -> Int32 {
        // A second first message, after a HelloRetryRequest, changes nothing of what was decided.
        guard let policy else {
            unsafe context.setGroups(of: ssl)
            return SSL_CLIENT_HELLO_SUCCESS
        }
        self.policy = nil
        if let bytes = unsafe Self.extension(Int32(TLSEXT_TYPE_server_name), of: ssl) {
            do throws(TLSHello.Malformed) {
                hello.serverName = try TLSHello.serverName(bytes)
            } catch {
                unsafe alert?.pointee = Int32(SSL_AD_DECODE_ERROR)
                return SSL_CLIENT_HELLO_ERROR
            }
        }
        hello.protocols =
            unsafe Self.extension(Int32(TLSEXT_TYPE_application_layer_protocol_negotiation), of: ssl)
            .map(TLSHello.protocols) ?? []
        if let bytes = unsafe Self.extension(Int32(TLSEXT_TYPE_supported_versions), of: ssl) {
            hello.versions = TLSHello.versions(bytes)
        } else {
            hello.versions = [UInt16(truncatingIfNeeded: unsafe SSL_client_hello_get0_legacy_version(ssl))]
        }
        var start: UnsafePointer<UInt8>?
        // The bytes stay until the callback returns.
        let count = unsafe SSL_client_hello_get0_ciphers(ssl, &start)
        hello.ciphers = unsafe TLSHello.numbers(Array(UnsafeBufferPointer(start: start, count: count)))
        guard let next = policy.context(for: hello), !next.rejectsHandshakes else {
            rejection = .ofServer
            unsafe alert?.pointee = Int32(SSL_AD_UNRECOGNIZED_NAME)
            return SSL_CLIENT_HELLO_ERROR
        }
        if next !== context {
            unsafe next.take(ssl)
            context = next
        }
        unsafe next.bindSessions(of: ssl, to: hello.serverName)
        unsafe next.setGroups(of: ssl)
        return SSL_CLIENT_HELLO_SUCCESS
    }

    @unsafe private static func `extension`(_ type: Int32, of ssl: OpaquePointer) -> [UInt8]? {
        var start: UnsafePointer<UInt8>?
        var count = 0
        // The bytes stay until the callback returns, and are copied.
        guard unsafe SSL_client_hello_get0_ext(ssl, UInt32(type), &start, &count) == 1 else { return nil }
        return unsafe Array(UnsafeBufferPointer(start: start, count: count))
    }

    static let earlyDataOffered: SSL_allow_early_data_cb_fn = { ssl, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl),
            let register = session.context.earlyData
        else { return 0 }
        var random = [UInt8](repeating: 0, count: 32)
        // There is room for the 32 bytes of a random.
        guard unsafe SSL_get_client_random(ssl, &random, random.count) == random.count else { return 0 }
        let keysAreOlder = session.initialContext.ticketKeys?.isOwn == false
        return register.take(random, keysAreOlder: keysAreOlder, now: time(nil)) ? 1 : 0
    }

    /// Which server it is was decided by the first message; this has the client's name acknowledged.
    static let acceptName:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?
        ) -> Int32 = { ssl, _, _ in
            guard let ssl = unsafe ssl, unsafe TLSSession.of(ssl)?.hello.serverName != nil else {
                return SSL_TLSEXT_ERR_NOACK
            }
            return SSL_TLSEXT_ERR_OK
        }

    static let chooseProtocol: SSL_CTX_alpn_select_cb_func = { ssl, out, outLength, offered, length, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl), let out = unsafe out else {
            return SSL_TLSEXT_ERR_NOACK
        }
        let own = session.context.offeredProtocols
        guard !own.isEmpty else { return SSL_TLSEXT_ERR_NOACK }
        var chosen: UnsafeMutablePointer<UInt8>?
        // What is chosen points into our own list, whose storage the context keeps as it is; OpenSSL copies it when this
        // returns.
        let result = unsafe own.withUnsafeBufferPointer { own in
            unsafe SSL_select_next_proto(
                &chosen, outLength, own.baseAddress, UInt32(own.count), offered, length)
        }
        // RFC 7301 §3.2: without a protocol in common, the handshake ends.
        guard result == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        unsafe out.pointee = UnsafePointer(chosen)
        return SSL_TLSEXT_ERR_OK
    }

    static let identityWanted: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = {
        ssl, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl) else { return 0 }
        switch session.identity {
        case .unasked:
            session.identity = .wanted
            return -1
        case .wanted: return -1
        case .given: return 1
        case .rejected: return 0
        }
    }

    /// The OCSP response to send, empty for none.
    private var currentStaple: [UInt8] {
        if !context.staple.isEmpty { return context.staple }
        // The certificate is compared alone.
        guard let certificate = unsafe SSL_get_certificate(ssl),
            let staple = unsafe context.staple(for: certificate)
        else { return [] }
        let (response, isDue) = staple.current(now: time(nil))
        if isDue { stapleToRefresh = staple }
        return response ?? []
    }

    static let stapleWanted: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { ssl, _ in
        guard let ssl = unsafe ssl, let session = unsafe TLSSession.of(ssl) else {
            return SSL_TLSEXT_ERR_NOACK
        }
        let staple = session.currentStaple
        guard !staple.isEmpty, let copy = unsafe CRYPTO_malloc(staple.count, nil, 0) else {
            return SSL_TLSEXT_ERR_NOACK
        }
        // OpenSSL frees the copy, for which there is as much room as was asked for.
        unsafe copy.copyMemory(from: staple, byteCount: staple.count)
        _ = unsafe SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, staple.count, copy)
        return SSL_TLSEXT_ERR_OK
    }
}
