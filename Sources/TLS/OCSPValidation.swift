internal import COpenSSL

/// Which certificates of clients' chains are checked by OCSP, and how: nginx's `ssl_ocsp`.
package struct OCSPRule: Sendable {
    /// The client's own alone, rather than those above it as well.
    package var leafOnly: Bool
    /// In place of those that certificates name.
    package var responder: String?
    package var cache: OCSPCache?

    package init(leafOnly: Bool, responder: String?, cache: OCSPCache?) {
        self.leafOnly = leafOnly
        self.responder = responder
        self.cache = cache
    }
}

/// The check of one client's chain by OCSP, certificate by certificate from the client's own up. Its root is taken for
/// good.
///
/// Between certificates; `next` goes on to one that has to be asked after, or to the end, and `answered` on from there.
/// It does no I/O and reads no clock: whoever has it asks the responder.
@safe package final class OCSPValidation {
    package enum Step {
        /// `answered` is to be told what the responder says.
        case ask(OCSPQuery)
        /// The first status that is not good, or good.
        case ended(OCSPStatus)
        /// Nobody can be asked.
        case failed(TLSError)
    }

    private let rule: OCSPRule
    /// Owned. From the client's own certificate up to an authority.
    private let chain: OpaquePointer
    /// Held, so that its store stays.
    private let context: TLSContext
    private var position: Int32 = 0

    /// - Parameters:
    ///   - chain: becomes this object's.
    ///   - context: under whose authorities it was verified.
    ///   - rule: what to check.
    @unsafe fileprivate init(_ chain: OpaquePointer, _ context: TLSContext, _ rule: OCSPRule) {
        unsafe self.chain = chain
        self.context = context
        self.rule = rule
    }

    deinit { unsafe OPENSSL_sk_pop_free(chain) { unsafe X509_free(OpaquePointer($0)) } }

    /// - Parameter now: seconds since 1970.
    /// - Returns: whom to ask for what, or the end.
    package func next(now: Int) -> Step {
        // The chain is of certificates, and the positions are in it.
        while !(rule.leafOnly && position == 1),
            let certificate = unsafe OPENSSL_sk_value(chain, position),
            let issuer = unsafe OPENSSL_sk_value(chain, position + 1),
            let store = unsafe SSL_CTX_get_cert_store(context.handle)
        {
            position += 1
            let query: OCSPQuery
            do throws(TLSError) {
                query = unsafe try OCSPQuery(
                    after: OpaquePointer(certificate), of: OpaquePointer(issuer), asking: rule.responder,
                    known: chain, store: store, verification: .toStore)
            } catch {
                return .failed(error)
            }
            guard let status = rule.cache?.status(query, now: now) else { return .ask(query) }
            guard status == .good else { return .ended(status) }
        }
        return .ended(.good)
    }

    /// - Parameters:
    ///   - answer: the responder's.
    ///   - query: that `next` gave.
    ///   - now: seconds since 1970.
    /// - Returns: what comes then.
    package func answered(_ answer: OCSPAnswer, to query: OCSPQuery, now: Int) -> Step {
        rule.cache?.put(answer, to: query, now: now)
        return answer.status == .good ? next(now: now) : .ended(answer.status)
    }
}

extension TLSSession {
    /// The check of the client's certificate by OCSP; `nil` where none is asked for, and where there is no certificate
    /// that is good so far.
    ///
    /// - Throws: when the chain of a session that was resumed cannot be put together again.
    package func ocspValidation() throws(TLSError) -> OCSPValidation? {
        guard let rule = context.ocspRule, verification == .passed else { return nil }
        guard let chain = unsafe withHandle({ unsafe verifiedChain($0) }) else {
            throw TLSError(taking: "X509_verify_cert")
        }
        return unsafe OCSPValidation(chain, context, rule)
    }

    /// The caller's to free.
    @unsafe private func verifiedChain(_ ssl: OpaquePointer) -> OpaquePointer? {
        ERR_clear_error()
        if let chain = unsafe SSL_get0_verified_chain(ssl) { return unsafe X509_chain_up_ref(chain) }
        // Sessions keep the client's certificate, and not the chain that was made of it.
        guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { return nil }
        defer { unsafe X509_free(certificate) }
        guard let verification = unsafe X509_STORE_CTX_new() else { return nil }
        defer { unsafe X509_STORE_CTX_free(verification) }
        let store = unsafe SSL_CTX_get_cert_store(context.handle)
        guard
            unsafe X509_STORE_CTX_init(verification, store, certificate, SSL_get_peer_cert_chain(ssl)) == 1,
            unsafe X509_verify_cert(verification) == 1
        else { return nil }
        return unsafe X509_STORE_CTX_get1_chain(verification)
    }

    /// Has the session not be resumed from a cache of the server's.
    package func forgetSession() {
        unsafe withHandle { ssl in
            // The session stays the connection's.
            guard let session = unsafe SSL_get_session(ssl) else { return }
            _ = unsafe SSL_CTX_remove_session(initialContext.handle, session)
        }
    }
}
