internal import Config
internal import EventLoop
internal import ProxyCore
internal import TLS

/// Keeping OCSP responses for handshakes. None waits for one: it goes on with the response that there is, or without
/// any.
extension Worker {
    /// Asks for a newer response, unless some worker already does, or it is too early after a failure.
    ///
    /// - Parameters:
    ///   - staple: that is due.
    ///   - server: whose `resolver` finds the responder.
    func refresh(_ staple: TLSStaple, for server: VirtualServer) {
        guard staple.begin(now: unixSeconds) else { return }
        let generation = current
        do throws(FetchFailure) {
            // The request goes on by itself.
            _ = try ask(staple.query, for: server, in: generation, timeout: TLSStaple.timeout) {
                [unowned self] outcome in
                switch outcome {
                case .answered(let answer, let response):
                    do throws(TLSError) {
                        try staple.answered(answer, response, now: unixSeconds)
                    } catch {
                        failed(error.summary, staple, generation)
                    }
                case .failed(let reason): failed(reason, staple, generation)
                }
            }
        } catch {
            failed(error.message, staple, generation)
        }
    }

    private func failed(_ reason: String, _ staple: TLSStaple, _ generation: WorkerGeneration) {
        let wait = staple.failed(now: unixSeconds)
        generation.generation.errorLogger.log(
            .error,
            "\(reason) while requesting certificate status, responder: \(staple.query.responder), "
                + "certificate: \"\(staple.name)\", next try after \(wait) s")
    }
}
