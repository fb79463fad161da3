internal import Config
internal import EventLoop
internal import ProxyCore
internal import TLS
internal import Wire

/// Asking responders for the status of certificates, of servers and of clients.
extension Worker {
    enum OCSPOutcome {
        case answered(OCSPAnswer, response: [UInt8])
        /// Nobody answered, or what came will not do.
        case failed(String)
    }

    /// RFC 6960 A.1: by GET where that is no longer than this, so that caches may answer it.
    private static let maxQuery = 255

    /// Seconds since 1970.
    var unixSeconds: Int { Int(loop.unixNow / 1000) }

    /// Asks a responder.
    ///
    /// - Parameters:
    ///   - query: what to ask whom.
    ///   - server: whose `resolver` finds the responder.
    ///   - generation: the server's.
    ///   - timeout: for everything from the responder's name to the last byte of its answer, in milliseconds.
    ///   - completion: called once, after this has returned, unless the request is cancelled.
    /// - Returns: what cancels the request, which goes on whether or not it is kept.
    /// - Throws: what failed at once; `completion` is not called then.
    func ask(
        _ query: OCSPQuery, for server: VirtualServer, in generation: WorkerGeneration, timeout: Int64,
        completion: @escaping (OCSPOutcome) -> Void
    ) throws(FetchFailure) -> FetchHandle {
        try scriptNetwork.fetches.start(
            Self.request(query, timeout: timeout), in: generation, settings: server.settings
        ) { result in
            switch result {
            case .failure(let failure): completion(.failed(failure.message))
            case .success(let response): completion(Self.judge(response, query))
            }
        }
    }

    private static func judge(_ response: FetchResponse, _ query: OCSPQuery) -> OCSPOutcome {
        guard response.status == 200 else {
            return .failed("responder answered with status \(response.status)")
        }
        // As nginx, which takes an answer that does not say what it is for what was asked for.
        for header in response.headers where header.name.map(ASCII.lowercased) == contentType {
            guard header.value.map(ASCII.lowercased) != responseType else { continue }
            let value = String(decoding: header.value, as: UTF8.self)
            return .failed("OCSP responder sent invalid \"Content-Type\" header: \"\(value)\"")
        }
        do throws(TLSError) {
            return .answered(try query.judge(response.body), response: response.body)
        } catch {
            return .failed(error.summary)
        }
    }

    private static let contentType = Array("content-type".utf8)
    private static let responseType = Array("application/ocsp-response".utf8)

    private static func request(_ query: OCSPQuery, timeout: Int64) -> FetchRequest {
        var encoded: [UInt8] = []
        URIEscape.appendComponent(Base64.encode(query.request).span, to: &encoded)
        var url = Array(query.responder.utf8)
        let isShort = encoded.count <= maxQuery
        if isShort {
            if url.last != UInt8(ascii: "/") { url.append(UInt8(ascii: "/")) }
            url += encoded
        }
        var request = FetchRequest(
            method: Array((isShort ? "GET" : "POST").utf8), url: url, timeoutMilliseconds: timeout,
            maxBodyBytes: OCSPQuery.maxResponse, keepalive: false)
        if !isShort {
            request.headers = [
                FetchHeader(Array("Content-Type".utf8), Array("application/ocsp-request".utf8))
            ]
            request.body = query.request
        }
        return request
    }
}
