internal import COpenSSL
internal import Glibc

/// What a responder says of a certificate (RFC 6960 §2.2).
package enum OCSPStatus: String, Sendable { case good, revoked, unknown }

/// What a response says that will do.
package struct OCSPAnswer: Sendable, Equatable {
    package var status: OCSPStatus
    /// Seconds from now for which it holds; `nil` where there is no end to it. Not above 0 where clocks are a little apart.
    package var secondsLeft: Int?

    package init(status: OCSPStatus, secondsLeft: Int?) {
        self.status = status
        self.secondsLeft = secondsLeft
    }
}

/// The question after one certificate's status (RFC 6960): what to ask whom, and whether an answer will do.
///
/// It does no I/O: whoever has it asks the responder.
// What the handles refer to is not changed once it is made, and OpenSSL locks what it caches in it.
@safe package final class OCSPQuery: @unchecked Sendable {
    package enum Verification: Sendable {
        /// Who signed a response need lead to nobody.
        case none
        /// Who signed a response must lead to an authority of the store.
        case toStore
        /// As `toStore`, or be among the certificates at hand.
        case toStoreOrKnown
    }

    /// The most that a response may be, in bytes.
    package static let maxResponse = 64 * 1024
    /// How far clocks may be apart, in seconds.
    private static let maxSkew = 300

    /// `http://…`
    package let responder: String
    /// DER. Equal for equal certificates, whoever is asked.
    package let request: [UInt8]
    private let verification: Verification
    /// Owned, all of them.
    private let certificateID: OpaquePointer
    private let known: OpaquePointer
    private let store: OpaquePointer

    /// All handles stay the caller's.
    ///
    /// - Parameters:
    ///   - certificate: that is asked after.
    ///   - issuer: its own.
    ///   - responder: in place of the one that the certificate names.
    ///   - known: certificates among which who signed a response may be found.
    ///   - store: authorities.
    ///   - verification: of who signed a response.
    /// - Throws: why there is nobody to ask, in nginx's words.
    init(
        after certificate: OpaquePointer, of issuer: OpaquePointer, asking responder: String?,
        known: OpaquePointer, store: OpaquePointer, verification: Verification
    ) throws(TLSError) {
        ERR_clear_error()
        guard let url = unsafe responder ?? Self.responder(namedBy: certificate) else {
            throw TLSError("X509_get1_ocsp", reason: "no OCSP responder URL in the certificate")
        }
        guard Self.isURL(url) else {
            throw TLSError("X509_get1_ocsp", reason: Self.prefixFault(url))
        }
        guard let id = unsafe OCSP_cert_to_id(nil, certificate, issuer) else {
            throw TLSError(taking: "OCSP_cert_to_id")
        }
        guard let request = unsafe Self.request(for: id) else {
            unsafe OCSP_CERTID_free(id)
            throw TLSError(taking: "i2d_OCSP_REQUEST")
        }
        // A stack of its own, with a reference to each of the certificates.
        guard let stack = unsafe X509_chain_up_ref(known) else {
            unsafe OCSP_CERTID_free(id)
            throw TLSError(taking: "X509_chain_up_ref")
        }
        unsafe X509_STORE_up_ref(store)
        self.responder = url
        self.request = request
        self.verification = verification
        unsafe certificateID = id
        unsafe self.known = stack
        unsafe self.store = store
    }

    deinit {
        unsafe OCSP_CERTID_free(certificateID)
        unsafe OPENSSL_sk_pop_free(known) { unsafe X509_free(OpaquePointer($0)) }
        unsafe X509_STORE_free(store)
    }

    /// Whether `text` can be a responder's address.
    package static func isURL(_ text: String) -> Bool { text.lowercased().hasPrefix("http://") }

    /// What is said of one that cannot.
    package static func prefixFault(_ text: String) -> String {
        "invalid URL prefix in OCSP responder \"\(text)\", expected http://"
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

    // MARK: Answers

    /// - Parameter response: DER, as it came.
    /// - Returns: what it says.
    /// - Throws: why it will not do.
    package func judge(_ response: [UInt8]) throws(TLSError) -> OCSPAnswer {
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
        let flags: Int32 =
            switch verification {
            case .none: OCSP_NOVERIFY
            case .toStore: 0
            case .toStoreOrKnown: OCSP_TRUSTOTHER
            }
        guard unsafe OCSP_basic_verify(basic, known, store, UInt(flags)) == 1 else {
            throw TLSError(taking: "OCSP_basic_verify")
        }
        return unsafe try answer(in: basic)
    }

    @unsafe private func answer(in basic: OpaquePointer) throws(TLSError) -> OCSPAnswer {
        var code: Int32 = 0
        var thisUpdate: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        var nextUpdate: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        // The times stay those of the response; all results go to variables that outlive the call.
        let found = unsafe OCSP_resp_find_status(
            basic, certificateID, &code, nil, nil, &thisUpdate, &nextUpdate)
        guard found == 1 else {
            throw TLSError(
                "OCSP_resp_find_status", reason: "certificate status not found in the OCSP response")
        }
        guard unsafe OCSP_check_validity(thisUpdate, nextUpdate, Self.maxSkew, -1) == 1 else {
            throw TLSError(taking: "OCSP_check_validity")
        }
        let status: OCSPStatus =
            switch code {
            case V_OCSP_CERTSTATUS_GOOD: .good
            case V_OCSP_CERTSTATUS_REVOKED: .revoked
            default: .unknown
            }
        guard let nextUpdate = unsafe nextUpdate else { return OCSPAnswer(status: status, secondsLeft: nil) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        // From now on, with `nil`.
        guard unsafe ASN1_TIME_diff(&days, &seconds, nil, nextUpdate) == 1 else {
            throw TLSError(taking: "ASN1_TIME_diff")
        }
        return OCSPAnswer(status: status, secondsLeft: Int(days) * 86_400 + Int(seconds))
    }
}
