internal import COpenSSL

/// What the sessions of one server, or towards one kind of upstream, have in common.
///
/// Built by one thread, setting by setting, and not changed any more once a session was made from it.
// OpenSSL locks what sessions of several threads change in a context; everything else is set before it is shared.
@safe package final class TLSContext: @unchecked Sendable {
    package enum Role: Sendable { case server, client }

    /// What is asked of a client's certificate.
    package enum ClientVerification: Sendable {
        case off, required, optional
        /// As `optional`, and a certificate of an authority that is not known will do.
        case optionalWithoutAuthority
    }

    package enum SessionCaching: Sendable {
        case off
        /// Clients are told that sessions may be resumed, and none is kept.
        case none
        /// OpenSSL's own, of this many sessions; `nil` for its default.
        case builtin(Int?)
        case shared(TLSSessionCache)
    }

    let handle: OpaquePointer
    package let role: Role
    /// For sessions that began under this context, whichever they go on under. `nil` leaves tickets to OpenSSL.
    private(set) var ticketKeys: TLSTicketKeys?
    private(set) var sessionCache: TLSSessionCache?
    /// Neither a ticket nor a cache has sessions that go on under this context.
    private var forgetsSessions = false
    /// What its sessions are told from those of others by.
    private var sessionsID: [UInt8] = []
    /// As ALPN has them: each with its length before it.
    private(set) var offeredProtocols: [UInt8] = []
    /// The certificate is asked for in each handshake, which then waits for `TLSSession.use`.
    private(set) var asksForIdentity = false
    /// Bytes of plaintext in one record at most.
    private(set) var recordSize = TLSScratch.recordSize
    /// OCSP response, in DER, for clients that ask for it.
    private(set) var staple: [UInt8] = []
    /// Those that are asked for, by the certificate's address, which stays its own as the context holds it.
    private var staples: [UInt: TLSStaple] = [:]
    /// Handshakes end with the alert `unrecognized_name`.
    package private(set) var rejectsHandshakes = false
    private(set) var clientVerification = ClientVerification.off
    /// `nil` where clients' certificates are not checked by OCSP.
    private(set) var ocspRule: OCSPRule?
    /// `nil` where no early data is taken.
    private(set) var earlyData: EarlyDataRegister?
    /// As a C string. A server's are those of a session that goes on under it, and not of its handle, whose sessions may
    /// go on under another.
    private var groups: [CChar]?
    private var keyLog: (@Sendable ([UInt8]) -> Void)?

    package init(_ role: Role) throws(TLSError) {
        ERR_clear_error()
        guard let handle = unsafe SSL_CTX_new(role == .server ? TLS_server_method() : TLS_client_method())
        else {
            throw TLSError(taking: "SSL_CTX_new")
        }
        unsafe self.handle = handle
        self.role = role
        // The handle's reference back: `of` uses it only while a session, and so this object, is alive.
        _ = unsafe SSL_CTX_set_ex_data(handle, 0, Unmanaged.passUnretained(self).toOpaque())
        let modes =
            SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
            | SSL_MODE_NO_AUTO_CHAIN
        unsafe control(SSL_CTRL_MODE, Int(modes))
        // An end without close_notify is no error, which would strike the session from the cache; `TLSSession` tells
        // it from a proper one.
        _ = unsafe SSL_CTX_set_options(
            handle,
            sy_op_all | sy_op_no_compression | sy_op_no_renegotiation | sy_op_single_dh | sy_op_ignore_end
                | sy_op_no_anti_replay)
        unsafe sy_read_ahead(handle)
        unsafe SSL_CTX_set_info_callback(handle, TLSSession.stateChanges)
        unsafe control(SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_3_VERSION))
        switch role {
        case .server:
            unsafe SSL_CTX_set_client_hello_cb(handle, TLSSession.helloCame, nil)
            setServerNameCallback()
            unsafe SSL_CTX_set_alpn_select_cb(handle, TLSSession.chooseProtocol, nil)
            unsafe SSL_CTX_sess_set_new_cb(handle, ExternalCache.added)
            unsafe SSL_CTX_sess_set_get_cb(handle, ExternalCache.wanted)
            unsafe SSL_CTX_sess_set_remove_cb(handle, ExternalCache.removed)
        case .client:
            unsafe control(
                SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
            unsafe SSL_CTX_sess_set_new_cb(handle, ExternalCache.added)
        }
    }

    deinit {
        // OpenSSL tells of sessions that it drops; there is nobody to be told any more.
        _ = unsafe SSL_CTX_set_ex_data(handle, 0, nil)
        unsafe SSL_CTX_free(handle)
    }

    static func of(_ handle: OpaquePointer) -> TLSContext? {
        guard let pointer = unsafe SSL_CTX_get_ex_data(handle, 0) else { return nil }
        // Set by `init`; whoever has the handle has a session, which holds the context.
        return unsafe Unmanaged<TLSContext>.fromOpaque(pointer).takeUnretainedValue()
    }

    @discardableResult
    private func control(_ command: Int32, _ value: Int, _ pointer: UnsafeMutableRawPointer? = nil) -> Int {
        unsafe SSL_CTX_ctrl(handle, command, value, pointer)
    }

    // MARK: Versions and ciphers

    package func allow(_ versions: TLSVersions) {
        for (index, version) in TLSVersions.inOrder.enumerated() {
            let option = sy_op_no_version(Int32(index))
            if versions.contains(version) {
                _ = unsafe SSL_CTX_clear_options(handle, option)
            } else {
                _ = unsafe SSL_CTX_set_options(handle, option)
            }
        }
        unsafe control(SSL_CTRL_SET_MIN_PROTO_VERSION, 0)
        unsafe control(SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_3_VERSION))
    }

    /// Of TLS 1.2 and before, in OpenSSL's notation.
    package func setCiphers(_ list: String) throws(TLSError) {
        ERR_clear_error()
        // The list is a C string for the length of the call, as in all calls below.
        guard unsafe SSL_CTX_set_cipher_list(handle, list) == 1 else {
            throw TLSError(taking: "SSL_CTX_set_cipher_list")
        }
    }

    /// The server's order decides, rather than the client's.
    package func preferOwnCiphers() { _ = unsafe SSL_CTX_set_options(handle, sy_op_prefer_server) }

    /// `X25519:prime256v1`
    package func setGroups(_ list: String) throws(TLSError) {
        ERR_clear_error()
        var text = Array(list.utf8CString)
        let call = "SSL_CTX_set1_curves_list"
        if role == .client {
            // The array ends with NUL and outlives the call.
            let result = unsafe text.withUnsafeMutableBufferPointer {
                unsafe control(SSL_CTRL_SET_GROUPS_LIST, 0, $0.baseAddress)
            }
            guard result == 1 else { throw TLSError(taking: call) }
        } else {
            guard let ssl = unsafe SSL_new(handle) else { throw TLSError(taking: "SSL_new") }
            defer { unsafe SSL_free(ssl) }
            guard unsafe Self.setGroups(text, of: ssl) else { throw TLSError(taking: call) }
            groups = text
        }
    }

    @unsafe private static func setGroups(_ list: [CChar], of ssl: OpaquePointer) -> Bool {
        // The list ends with NUL, outlives the call and is only read.
        unsafe list.withUnsafeBufferPointer {
            unsafe SSL_ctrl(
                ssl, SSL_CTRL_SET_GROUPS_LIST, 0, UnsafeMutableRawPointer(mutating: $0.baseAddress)) == 1
        }
    }

    /// - Parameter text: PEM.
    /// - Throws: what is wrong with it.
    package func setParameters(_ text: [UInt8]) throws(TLSError) {
        let parameters = unsafe try PEM.parameters(text)
        guard unsafe SSL_CTX_set0_tmp_dh_pkey(handle, parameters) == 1 else {
            let error = TLSError(taking: "SSL_CTX_set0_tmp_dh_pkey")
            unsafe EVP_PKEY_free(parameters)
            throw error
        }
    }

    /// A command of OpenSSL's configuration files.
    package func apply(command: String, _ value: String) throws(TLSError) {
        if role == .server, Self.groupCommands.contains(command.lowercased()) {
            // As OpenSSL, which chooses by itself in any case.
            if ["automatic", "+automatic"].contains(value.lowercased()) { return }
            do throws(TLSError) {
                return try setGroups(value)
            } catch {
                throw TLSError(
                    Self.call(of: command, value), details: error.details, reason: error.reason)
            }
        }
        ERR_clear_error()
        guard let configuration = unsafe SSL_CONF_CTX_new() else {
            throw TLSError(taking: "SSL_CONF_CTX_new")
        }
        defer { unsafe SSL_CONF_CTX_free(configuration) }
        var flags = UInt32(SSL_CONF_FLAG_FILE | SSL_CONF_FLAG_SHOW_ERRORS | SSL_CONF_FLAG_CERTIFICATE)
        flags |= UInt32(role == .server ? SSL_CONF_FLAG_SERVER : SSL_CONF_FLAG_CLIENT)
        _ = unsafe SSL_CONF_CTX_set_flags(configuration, flags)
        unsafe SSL_CONF_CTX_set_ssl_ctx(configuration, handle)
        guard unsafe SSL_CONF_cmd(configuration, command, value) > 0 else {
            throw TLSError(taking: Self.call(of: command, value))
        }
        guard unsafe SSL_CONF_CTX_finish(configuration) == 1 else {
            throw TLSError(taking: "SSL_CONF_CTX_finish")
        }
    }

    /// The names that one command has, in lower case, which OpenSSL does not tell from upper case here.
    private static let groupCommands = ["groups", "curves", "ecdhparameters"]

    private static func call(of command: String, _ value: String) -> String {
        "SSL_CONF_cmd(\"\(command)\", \"\(value)\")"
    }

    /// Has the secrets of sessions be written down.
    ///
    /// - Parameter log: is given a whole line of NSS's key log format at a time, with its end, by any thread.
    package func logKeys(to log: @escaping @Sendable ([UInt8]) -> Void) {
        keyLog = log
        unsafe SSL_CTX_set_keylog_callback(handle) { ssl, line in
            guard let ssl = unsafe ssl, let line = unsafe line, let handle = unsafe SSL_get_SSL_CTX(ssl),
                let context = unsafe TLSContext.of(handle)
            else { return }
            // The line is a C string for the length of the call.
            context.keyLog?(unsafe Array(String(cString: line).utf8) + [UInt8(ascii: "\n")])
        }
    }

    /// What goes into one record at most: 512 bytes at least, and no more than the 16 KB that TLS allows.
    package func setRecordSize(_ size: Int) { recordSize = min(max(size, 512), TLSScratch.recordSize) }

    // MARK: Certificates

    /// One for each kind of key: the latest of a kind replaces one before it.
    package func use(_ identity: TLSIdentity) throws(TLSError) {
        ERR_clear_error()
        // The context takes references of its own.
        let result = unsafe SSL_CTX_use_cert_and_key(
            handle, identity.certificate, identity.key, identity.chain, 1)
        guard result == 1 else { throw TLSError(taking: "SSL_CTX_use_PrivateKey") }
    }

    /// Handshakes wait until their session has been told which certificate to use.
    package func askForIdentity() {
        asksForIdentity = true
        unsafe SSL_CTX_set_cert_cb(handle, TLSSession.identityWanted, nil)
    }

    package func rejectHandshakes() { rejectsHandshakes = true }

    /// Sends an OCSP response to clients that ask for it.
    ///
    /// - Parameter response: DER, as `ssl_stapling_file` has it.
    /// - Throws: when it is none, or not one of success.
    package func setStaple(_ response: [UInt8]) throws(TLSError) {
        guard TLSCertificate.isSuccessfulOCSPResponse(response) else {
            throw TLSError("d2i_OCSP_RESPONSE", reason: "not an OCSP response of success")
        }
        staple = response
        setStapleCallback()
    }

    /// Sends the responses that `staple` has to clients that ask for one and are shown the certificate of `identity`.
    package func setStaple(_ staple: TLSStaple, for identity: TLSIdentity) {
        unsafe staples[UInt(bitPattern: identity.certificate)] = staple
        setStapleCallback()
    }

    func staple(for certificate: OpaquePointer) -> TLSStaple? {
        staples[UInt(bitPattern: certificate)]
    }

    private func setStapleCallback() {
        setCallback(SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB) {
            unsafe unsafeBitCast(TLSSession.stapleWanted, to: (@convention(c) () -> Void).self)
        }
    }

    private func setServerNameCallback() {
        setCallback(SSL_CTRL_SET_TLSEXT_SERVERNAME_CB) {
            unsafe unsafeBitCast(TLSSession.acceptName, to: (@convention(c) () -> Void).self)
        }
    }

    private func setCallback(_ command: Int32, _ callback: () -> (@convention(c) () -> Void)) {
        // OpenSSL casts the function back to the type that the command is for.
        _ = unsafe SSL_CTX_callback_ctrl(handle, command, callback())
    }

    // MARK: Verification

    /// Authorities that certificates of peers are accepted from.
    ///
    /// - Parameters:
    ///   - text: PEM, of one certificate or several.
    ///   - tellsClients: clients are told that certificates of these are asked for.
    /// - Throws: what is wrong with the text.
    package func trust(_ text: [UInt8], tellsClients: Bool) throws(TLSError) {
        let authorities = unsafe try PEM.certificates(text)
        defer { for index in unsafe authorities.indices { unsafe X509_free(authorities[index]) } }
        guard let store = unsafe SSL_CTX_get_cert_store(handle) else { return }
        for index in unsafe authorities.indices {
            // Store and list copy what they need, or count a reference of their own.
            guard unsafe X509_STORE_add_cert(store, authorities[index]) == 1 else {
                throw TLSError(taking: "X509_STORE_add_cert")
            }
            if tellsClients, unsafe SSL_CTX_add_client_CA(handle, authorities[index]) != 1 {
                throw TLSError(taking: "SSL_CTX_add_client_CA")
            }
        }
    }

    /// The system's own authorities.
    package func trustSystem() throws(TLSError) {
        ERR_clear_error()
        guard unsafe SSL_CTX_set_default_verify_paths(handle) == 1 else {
            throw TLSError(taking: "SSL_CTX_set_default_verify_paths")
        }
    }

    /// - Parameter text: PEM, of one list or several.
    /// - Throws: what is wrong with it.
    package func revoke(_ text: [UInt8]) throws(TLSError) {
        let lists = unsafe try PEM.revocationLists(text)
        defer { for index in unsafe lists.indices { unsafe X509_CRL_free(lists[index]) } }
        guard let store = unsafe SSL_CTX_get_cert_store(handle) else { return }
        for index in unsafe lists.indices {
            guard unsafe X509_STORE_add_crl(store, lists[index]) == 1 else {
                throw TLSError(taking: "X509_STORE_add_crl")
            }
        }
        _ = unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL))
    }

    /// Asks clients for a certificate, unless it is `off`. Whether one will do is for `TLSSession.verification` to say: the
    /// handshake goes on in any case, so that the client can be told over HTTP; also where one of OpenSSL's commands
    /// is what asks for it.
    package func verifyClients(_ verification: ClientVerification, depth: Int) {
        clientVerification = verification
        unsafe SSL_CTX_set_verify(handle, verification == .off ? SSL_VERIFY_NONE : SSL_VERIFY_PEER) { _, _ in
            1
        }
        unsafe SSL_CTX_set_verify_depth(handle, Int32(clamping: depth))
    }

    /// Has clients' certificates be checked by OCSP, once their handshakes are over.
    package func checkStatus(_ rule: OCSPRule) { ocspRule = rule }

    /// How long a chain of an upstream may be.
    package func setVerifyDepth(_ depth: Int) {
        unsafe SSL_CTX_set_verify_depth(handle, Int32(clamping: depth))
    }

    // MARK: Sessions

    /// - Parameters:
    ///   - caching: where sessions are kept that are not in a ticket.
    ///   - timeout: seconds for which they may be resumed.
    ///   - ticketKeys: those of all tickets where this is a listener's first context; `nil` leaves them to OpenSSL.
    ///   - givesTickets: sessions of this context are resumed by tickets.
    ///   - name: what sessions of this context are told from those of others by: only under an equal context is one
    ///     resumed.
    package func setSessions(
        _ caching: SessionCaching, timeout: Int, ticketKeys: TLSTicketKeys?, givesTickets: Bool = true,
        contextName name: [UInt8]
    ) {
        let id = TLSCertificate.sha256(name)
        sessionsID = id
        // 32 bytes, which is what a context's name may have.
        _ = unsafe SSL_CTX_set_session_id_context(handle, id, UInt32(id.count))
        _ = unsafe SSL_CTX_set_timeout(handle, timeout)
        switch caching {
        case .off, .none: forgetsSessions = !givesTickets
        case .builtin, .shared: break
        }
        switch caching {
        case .off: unsafe control(SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF))
        case .none:
            unsafe control(
                SSL_CTRL_SET_SESS_CACHE_MODE,
                Int(SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR | SSL_SESS_CACHE_NO_INTERNAL_STORE))
        case .builtin(let count):
            unsafe control(SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_SERVER))
            if let count { unsafe control(SSL_CTRL_SET_SESS_CACHE_SIZE, count) }
        case .shared(let cache):
            sessionCache = cache
            unsafe control(
                SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL))
        }
        if let ticketKeys {
            self.ticketKeys = ticketKeys
            _ = unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(handle, chooseTicketKey)
        }
        if !givesTickets { _ = unsafe SSL_CTX_set_options(handle, sy_op_no_ticket) }
    }

    /// Has requests be taken that clients send with their first message, when they resume a session of TLS 1.3.
    ///
    /// OpenSSL's own protection from replays, which is off, would keep each session in a cache rather than in a ticket.
    ///
    /// - Parameter register: what keeps them from being taken twice.
    package func takeEarlyData(_ register: EarlyDataRegister) {
        earlyData = register
        _ = unsafe SSL_CTX_set_max_early_data(handle, Self.maxEarlyData)
    }

    /// Bytes that a client may send before its handshake is over.
    private static let maxEarlyData: UInt32 = 16 * 1024

    // MARK: Protocols

    /// Application protocols: a server's in the order of its preference, of which it takes the first that the client
    /// offers too; a client's are those that it offers. With none, ALPN is not used.
    package func offer(_ protocols: [[UInt8]]) {
        offeredProtocols = protocols.filter { (1...255).contains($0.count) }.flatMap {
            [UInt8($0.count)] + $0
        }
        guard role == .client else { return }
        // Copied by the call.
        _ = unsafe SSL_CTX_set_alpn_protos(handle, offeredProtocols, UInt32(offeredProtocols.count))
    }

    // MARK: For sessions

    /// Makes `ssl`, which another context made and which has read no more than the client's first message, one of this
    /// context's.
    func take(_ ssl: OpaquePointer) {
        // The session holds both contexts; what is set below is copied.
        _ = unsafe SSL_set_SSL_CTX(ssl, handle)
        unsafe SSL_set_verify(ssl, SSL_CTX_get_verify_mode(handle), SSL_CTX_get_verify_callback(handle))
        unsafe SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(handle))
        let options = unsafe SSL_CTX_get_options(handle)
        _ = unsafe SSL_clear_options(ssl, SSL_get_options(ssl) & ~options)
        _ = unsafe SSL_set_options(ssl, options)
        for (get, set) in [
            (SSL_CTRL_GET_MIN_PROTO_VERSION, SSL_CTRL_SET_MIN_PROTO_VERSION),
            (SSL_CTRL_GET_MAX_PROTO_VERSION, SSL_CTRL_SET_MAX_PROTO_VERSION),
        ] {
            _ = unsafe SSL_ctrl(ssl, set, SSL_CTX_ctrl(handle, get, 0, nil), nil)
        }
        _ = unsafe SSL_set_max_early_data(ssl, earlyData == nil ? 0 : Self.maxEarlyData)
        _ = unsafe SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(handle))
        // OpenSSL asks the cache of the context that the handshake began under.
        if forgetsSessions { _ = unsafe SSL_set_num_tickets(ssl, 0) }
    }

    /// Has `ssl`, a server's that has read no more than the client's first message, resume sessions of the same name alone
    /// where the name decides about identities: that was asked for each handshake but those that resume.
    ///
    /// - Parameters:
    ///   - ssl: that goes on under this context.
    ///   - name: as the client wrote it, which is what scripts are told; `nil` for none.
    func bindSessions(of ssl: OpaquePointer, to name: [UInt8]?) {
        guard asksForIdentity, let name else { return }
        // RFC 6066 §3
        let id = TLSCertificate.sha256(sessionsID + name)
        // 32 bytes, as in `setSessions`.
        _ = unsafe SSL_set_session_id_context(ssl, id, UInt32(id.count))
    }

    /// Has `ssl`, a server's that has read no more than the client's first message, use the groups of this context.
    func setGroups(of ssl: OpaquePointer) {
        // They were tried when they were set.
        if let groups { _ = unsafe Self.setGroups(groups, of: ssl) }
    }
}
