internal import COpenSSL
internal import Glibc
internal import Synchronization

/// The OCSP response for one certificate of a server (RFC 6960): what to ask for it, and the last answer that would do,
/// for clients that ask for it in their handshakes.
///
/// Shared by all workers, and kept across reloads. It does no I/O: whoever finds that it is due asks the responder.
package final class TLSStaple: Sendable {
    private struct State {
        var response: [UInt8] = []
        /// When the response ends being valid, in seconds since 1970, as all times here.
        var validUntil = 0
        var dueAt = 0
        /// Failed tries since the last that did not.
        var failures = 0
    }

    /// For everything from the responder's name to the last byte of its answer, in milliseconds.
    package static let timeout: Int64 = 15_000
    /// A response without an end is asked for anew, and not used any more, after this. One with an end that is far off
    /// is asked for anew as often.
    private static let maxAge = 3600
    /// Between two tries, the second after a failure.
    private static let minInterval = 10
    private static let maxInterval = 900

    /// Names the certificate, for the messages about it.
    package let name: String
    package let query: OCSPQuery
    /// Equal for staples that stand for each other.
    package let identifier: [UInt8]
    private let state = Mutex(State())

    /// - Parameters:
    ///   - identity: whose certificate is meant, with its chain.
    ///   - name: of the certificate, for messages.
    ///   - responder: in place of the one that the certificate names.
    ///   - trusted: PEM: what responses are verified against, and where the issuer may be found besides the chain.
    ///   - verifies: whether who signed a response must lead to one of `trusted`.
    /// - Throws: why there can be no response, in nginx's words.
    package init(
        _ identity: TLSIdentity, name: String, responder: String?, trusted: [[UInt8]], verifies: Bool
    ) throws(TLSError) {
        ERR_clear_error()
        guard let store = unsafe X509_STORE_new(), let issuers = unsafe OPENSSL_sk_new_null() else {
            throw TLSError(taking: "X509_STORE_new")
        }
        // The query takes references of its own.
        defer {
            unsafe X509_STORE_free(store)
            unsafe OPENSSL_sk_pop_free(issuers) { unsafe X509_free(OpaquePointer($0)) }
        }
        for index in 0..<max(0, unsafe OPENSSL_sk_num(identity.chain)) {
            // The chain is of certificates, and the position one of it; the stack here counts references of its own.
            guard let link = unsafe OPENSSL_sk_value(identity.chain, index) else { continue }
            unsafe Self.push(OpaquePointer(link), on: issuers)
        }
        for text in trusted {
            let authorities = unsafe try PEM.certificates(text)
            for index in unsafe authorities.indices {
                // The store counts a reference of its own, and the stack takes this one.
                _ = unsafe X509_STORE_add_cert(store, authorities[index])
                _ = unsafe OPENSSL_sk_push(issuers, UnsafeRawPointer(authorities[index]))
            }
        }
        guard let issuer = unsafe Self.issuer(of: identity.certificate, among: issuers) else {
            throw TLSError("X509_check_issued", reason: "issuer certificate not found")
        }
        query = unsafe try OCSPQuery(
            after: identity.certificate, of: issuer, asking: responder, known: issuers, store: store,
            verification: verifies ? .toStoreOrKnown : .none)
        self.name = name
        identifier = query.request + query.responder.utf8 + [verifies ? 1 : 0] + trusted.joined()
    }

    @unsafe private static func push(_ certificate: OpaquePointer, on stack: OpaquePointer) {
        guard unsafe X509_up_ref(certificate) == 1 else { return }
        if unsafe OPENSSL_sk_push(stack, UnsafeRawPointer(certificate)) == 0 {
            unsafe X509_free(certificate)
        }
    }

    @unsafe private static func issuer(
        of certificate: OpaquePointer, among stack: OpaquePointer
    ) -> OpaquePointer? {
        for index in 0..<max(0, unsafe OPENSSL_sk_num(stack)) {
            guard let candidate = unsafe OPENSSL_sk_value(stack, index) else { continue }
            if unsafe X509_check_issued(OpaquePointer(candidate), certificate) == X509_V_OK {
                return OpaquePointer(candidate)
            }
        }
        return nil
    }

    // MARK: Handshakes

    /// - Parameter now: seconds since 1970.
    /// - Returns: the response to send, `nil` for none; and whether a newer one is to be asked for.
    func current(now: Int) -> (response: [UInt8]?, isDue: Bool) {
        state.withLock { state in
            (state.validUntil > now ? state.response : nil, state.dueAt <= now)
        }
    }

    // MARK: Tries

    /// Begins a try, if one is due: nobody else will before it has ended, or has taken longer than it may.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: whether the caller is to ask the responder.
    package func begin(now: Int) -> Bool {
        state.withLock { state in
            guard state.dueAt <= now else { return false }
            state.dueAt = now + Int(Self.timeout / 1000) + Self.minInterval
            return true
        }
    }

    /// The try has failed: the next comes after 10 seconds, and each further one after twice as long, up to 15 minutes.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: seconds until then.
    package func failed(now: Int) -> Int {
        state.withLock { state in
            let wait = min(Self.maxInterval, Self.minInterval << min(state.failures, 10))
            state.failures += 1
            state.dueAt = now + wait
            return wait
        }
    }

    /// The responder has answered.
    ///
    /// - Parameters:
    ///   - answer: what `query` found in the response.
    ///   - response: DER, as it came.
    ///   - now: seconds since 1970.
    /// - Throws: why it will not do; that is a failed try, for `failed` to be told.
    package func answered(_ answer: OCSPAnswer, _ response: [UInt8], now: Int) throws(TLSError) {
        guard answer.status == .good else {
            // What said otherwise before is not sent any more.
            state.withLock { $0.validUntil = 0 }
            throw TLSError(
                "OCSP_resp_find_status",
                reason: "certificate status \"\(answer.status.rawValue)\" in the OCSP response")
        }
        let left = answer.secondsLeft ?? Self.maxAge
        guard left > 0 else { throw TLSError("OCSP_check_validity", reason: "the OCSP response has expired") }
        state.withLock { state in
            state.response = response
            state.validUntil = now + left
            state.failures = 0
            // Halfway, so that a responder that is down for a while is not missed.
            state.dueAt = now + min(max(left / 2, Self.minInterval), Self.maxAge)
        }
    }
}
