internal import COpenSSL
internal import Glibc
internal import Synchronization

/// The OCSP response for one certificate (RFC 6960): what to ask for it, whether an answer will do, and the last that
/// did, for clients that ask for it in their handshakes.
///
/// Shared by all workers, and kept across reloads. It does no I/O: whoever finds that it is due asks the responder.
// What the handles refer to is not changed once it is made, and OpenSSL locks what it caches in it.
@safe package final class TLSStaple: @unchecked Sendable {
    private struct State {
        var response: [UInt8] = []
        /// When the response ends being valid, in seconds since 1970, as all times here.
        var validUntil = 0
        var dueAt = 0
        /// Failed tries since the last that did not.
        var failures = 0
    }

    /// The most that a response may be, in bytes.
    package static let maxResponse = 64 * 1024
    /// For everything from the responder's name to the last byte of its answer, in milliseconds.
    package static let timeout: Int64 = 15_000
    /// How far clocks may be apart.
    private static let maxSkew = 300
    /// A response without an end is asked for anew, and not used any more, after this. One with an end that is far off
    /// is asked for anew as often.
    private static let maxAge = 3600
    /// Between two tries, the second after a failure.
    private static let minInterval = 10
    private static let maxInterval = 900

    /// Names the certificate, for the messages about it.
    package let name: String
    /// `http://…`
    package let responder: String
    /// DER.
    package let request: [UInt8]
    /// Equal for staples that stand for each other.
    package let identifier: [UInt8]
    private let verifies: Bool
    /// Owned, all of them.
    private let certificateID: OpaquePointer
    private let issuers: OpaquePointer
    private let store: OpaquePointer
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
        var isWhole = false
        defer {
            if !isWhole {
                unsafe X509_STORE_free(store)
                unsafe OPENSSL_sk_pop_free(issuers) { unsafe X509_free(OpaquePointer($0)) }
            }
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
        guard let url = unsafe responder ?? Self.responder(namedBy: identity.certificate) else {
            throw TLSError("X509_get1_ocsp", reason: "no OCSP responder URL in the certificate")
        }
        guard url.lowercased().hasPrefix("http://") else {
            throw TLSError("X509_get1_ocsp", reason: "invalid URL prefix in OCSP responder \"\(url)\"")
        }
        guard let id = unsafe OCSP_cert_to_id(nil, identity.certificate, issuer) else {
            throw TLSError(taking: "OCSP_cert_to_id")
        }
        guard let request = unsafe Self.request(for: id) else {
            unsafe OCSP_CERTID_free(id)
            throw TLSError(taking: "i2d_OCSP_REQUEST")
        }
        isWhole = true
        self.name = name
        self.responder = url
        self.request = request
        self.verifies = verifies
        unsafe certificateID = id
        unsafe self.issuers = issuers
        unsafe self.store = store
        identifier = request + url.utf8 + [verifies ? 1 : 0] + trusted.joined()
    }

    deinit {
        unsafe OCSP_CERTID_free(certificateID)
        unsafe OPENSSL_sk_pop_free(issuers) { unsafe X509_free(OpaquePointer($0)) }
        unsafe X509_STORE_free(store)
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

    @unsafe private static func responder(namedBy certificate: OpaquePointer) -> String? {
        guard let urls = unsafe X509_get1_ocsp(certificate) else { return nil }
        defer { unsafe X509_email_free(urls) }
        // The first of a list of C strings, which lives until the end of this function.
        guard let first = unsafe OPENSSL_sk_value(urls, 0) else { return nil }
        return unsafe String(cString: first.assumingMemoryBound(to: CChar.self))
    }

    @unsafe private static func request(for id: OpaquePointer) -> [UInt8]? {
        guard let request = unsafe OCSP_REQUEST_new() else { return nil }
        defer { unsafe OCSP_REQUEST_free(request) }
        guard let copy = unsafe OCSP_CERTID_dup(id) else { return nil }
        // The request takes the copy over, unless it fails.
        guard unsafe OCSP_request_add0_id(request, copy) != nil else {
            unsafe OCSP_CERTID_free(copy)
            return nil
        }
        let length = unsafe i2d_OCSP_REQUEST(request, nil)
        guard length > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(length))
        // There is room for the length that was asked for just now.
        let written = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            var start = buffer.baseAddress
            return unsafe i2d_OCSP_REQUEST(request, &start)
        }
        return written == length ? bytes : nil
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
    ///   - response: DER, as it came.
    ///   - now: seconds since 1970.
    /// - Throws: why it will not do; that is a failed try, for `failed` to be told.
    package func answered(_ response: [UInt8], now: Int) throws(TLSError) {
        ERR_clear_error()
        defer { ERR_clear_error() }
        // The bytes are alive during the call, which moves `start`, not what it points to.
        let parsed = unsafe response.withUnsafeBufferPointer { buffer in
            var start = buffer.baseAddress
            return unsafe d2i_OCSP_RESPONSE(nil, &start, buffer.count)
        }
        guard let parsed = unsafe parsed else { throw TLSError(taking: "d2i_OCSP_RESPONSE") }
        defer { unsafe OCSP_RESPONSE_free(parsed) }
        let status = unsafe OCSP_response_status(parsed)
        guard status == OCSP_RESPONSE_STATUS_SUCCESSFUL else {
            // The text is static.
            let text = unsafe String(cString: OCSP_response_status_str(Int(status)))
            throw TLSError(
                "OCSP_response_status", reason: "OCSP response not successful (\(status): \(text))")
        }
        guard let basic = unsafe OCSP_response_get1_basic(parsed) else {
            throw TLSError(taking: "OCSP_response_get1_basic")
        }
        defer { unsafe OCSP_BASICRESP_free(basic) }
        let flags = verifies ? OCSP_TRUSTOTHER : OCSP_NOVERIFY
        guard unsafe OCSP_basic_verify(basic, issuers, store, UInt(flags)) == 1 else {
            throw TLSError(taking: "OCSP_basic_verify")
        }
        let validUntil = unsafe try validity(saidBy: basic, now: now)
        state.withLock { state in
            state.response = response
            state.validUntil = validUntil
            state.failures = 0
            // Halfway, so that a responder that is down for a while is not missed.
            let half = min(max((validUntil - now) / 2, Self.minInterval), Self.maxAge)
            state.dueAt = now + half
        }
    }

    /// - Returns: when the response ends being valid.
    @unsafe private func validity(saidBy basic: OpaquePointer, now: Int) throws(TLSError) -> Int {
        var status: Int32 = 0
        var thisUpdate: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        var nextUpdate: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        // The times stay those of the response; all results go to variables that outlive the call.
        let found = unsafe OCSP_resp_find_status(
            basic, certificateID, &status, nil, nil, &thisUpdate, &nextUpdate)
        guard found == 1 else {
            throw TLSError(
                "OCSP_resp_find_status", reason: "certificate status not found in the OCSP response")
        }
        guard status == V_OCSP_CERTSTATUS_GOOD else {
            // What said otherwise before is not sent any more.
            state.withLock { $0.validUntil = 0 }
            // The text is static.
            let text = unsafe String(cString: OCSP_cert_status_str(Int(status)))
            throw TLSError(
                "OCSP_resp_find_status", reason: "certificate status \"\(text)\" in the OCSP response")
        }
        guard unsafe OCSP_check_validity(thisUpdate, nextUpdate, Self.maxSkew, -1) == 1 else {
            throw TLSError(taking: "OCSP_check_validity")
        }
        guard let nextUpdate = unsafe nextUpdate else { return now + Self.maxAge }
        var days: Int32 = 0
        var seconds: Int32 = 0
        // From now on, with `nil`.
        guard unsafe ASN1_TIME_diff(&days, &seconds, nil, nextUpdate) == 1 else {
            throw TLSError(taking: "ASN1_TIME_diff")
        }
        let left = Int(days) * 86_400 + Int(seconds)
        guard left > 0 else { throw TLSError("OCSP_check_validity", reason: "the OCSP response has expired") }
        return now + left
    }
}
