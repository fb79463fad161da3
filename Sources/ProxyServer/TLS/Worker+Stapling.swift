internal import Config
internal import EventLoop
internal import ProxyCore
internal import TLS
internal import Wire

/// Asking responders for OCSP responses. No handshake waits for one: it goes on with the response that there is, or
/// without any.
extension Worker {
    /// RFC 6960 A.1: by GET where that is no longer than this, so that caches may answer it.
    private static let maxQuery = 255

    /// Asks for a newer response, unless some worker already does, or it is too early after a failure.
    ///
    /// - Parameters:
    ///   - staple: that is due.
    ///   - server: whose `resolver` finds the responder.
    func refresh(_ staple: TLSStaple, for server: VirtualServer) {
        guard staple.begin(now: unixSeconds) else { return }
        let generation = current
        do throws(FetchFailure) {
            // The fetch goes on by itself.
            _ = try scriptNetwork.fetches.start(
                Self.query(staple), in: generation, settings: server.settings
            ) { [unowned self] result in
                answered(result, staple, generation)
            }
        } catch {
            failed(error.message, staple, generation)
        }
    }

    private var unixSeconds: Int { Int(loop.unixNow / 1000) }

    private static func query(_ staple: TLSStaple) -> FetchRequest {
        var encoded: [UInt8] = []
        URIEscape.appendComponent(Base64.encode(staple.request).span, to: &encoded)
        var url = Array(staple.responder.utf8)
        let isShort = encoded.count <= maxQuery
        if isShort {
            if url.last != UInt8(ascii: "/") { url.append(UInt8(ascii: "/")) }
            url += encoded
        }
        var request = FetchRequest(
            method: Array((isShort ? "GET" : "POST").utf8), url: url,
            timeoutMilliseconds: TLSStaple.timeout, maxBodyBytes: TLSStaple.maxResponse, keepalive: false)
        if !isShort {
            request.headers = [
                FetchHeader(Array("Content-Type".utf8), Array("application/ocsp-request".utf8))
            ]
            request.body = staple.request
        }
        return request
    }

    private func answered(
        _ result: Result<FetchResponse, FetchFailure>, _ staple: TLSStaple, _ generation: WorkerGeneration
    ) {
        switch result {
        case .failure(let failure): failed(failure.message, staple, generation)
        case .success(let response):
            guard response.status == 200 else {
                return failed("responder answered with status \(response.status)", staple, generation)
            }
            let kind = response.headers.first { $0.name.map(ASCII.lowercased) == Array("content-type".utf8) }
            guard kind?.value.map(ASCII.lowercased) == Array("application/ocsp-response".utf8) else {
                return failed("responder sent invalid \"Content-Type\" header", staple, generation)
            }
            do throws(TLSError) {
                try staple.answered(response.body, now: unixSeconds)
            } catch {
                failed(error.summary, staple, generation)
            }
        }
    }

    private func failed(_ reason: String, _ staple: TLSStaple, _ generation: WorkerGeneration) {
        let wait = staple.failed(now: unixSeconds)
        generation.generation.errorLogger.log(
            .error,
            "\(reason) while requesting certificate status, responder: \(staple.responder), "
                + "certificate: \"\(staple.name)\", next try after \(wait) s")
    }
}
