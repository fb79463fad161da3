internal import Config
internal import EventLoop
internal import ProxyCore

/// What `limit_rate` and `proxy_limit_rate` make of one response. Both slow down how it is read: nothing of it is kept here,
/// so that the client gets it as it is read.
struct ResponsePacing {
    let client: Pace?
    let upstream: Pace?
    /// Bytes of the response's body that were read.
    var read: Int64
    /// When it is read again; in the past, or long past, where it is not waited.
    var resumesAt = Int64.min
}

extension ExchangeDriver {
    /// The response begins, of whose body `count` bytes have come with the head.
    func setPace(_ count: Int) {
        do throws(FaultyRate) {
            let (client, upstream) = (try exchange.clientPace(), try exchange.upstreamPace())
            guard client != nil || upstream != nil else { return }
            pacing = ResponsePacing(client: client, upstream: upstream, read: Int64(count))
        } catch {
            log(.error, "invalid size \"\(String(decoding: error.text, as: UTF8.self))\"")
        }
    }

    /// How much of the response is read at once; `nil` where that has to wait, and goes on by itself.
    @inline(__always)
    func readSize(of upstream: UpstreamConnection, to downstream: DownstreamConnection) -> Int? {
        if pacing == nil, !machine.isAwaitingHead { return downstream.relaySize }
        return pacedSize(of: upstream, to: downstream)
    }

    private func pacedSize(of upstream: UpstreamConnection, to downstream: DownstreamConnection) -> Int? {
        let size = downstream.relaySize
        guard let pacing else {
            // What comes with the head goes out with it.
            return exchange.mayHavePace ? min(size, settings.values.proxyBufferSize) : size
        }
        var allowed = size
        var resumption = Int64.min
        let sent = exchange.sentHeadBytes + exchange.sentBodyBytes
        for (pace, moved) in [(pacing.client, sent), (pacing.upstream, pacing.read)] {
            guard let pace else { continue }
            allowed = min(allowed, pace.allowance(moved: moved, now: loop.now))
            if allowed == 0 { resumption = max(resumption, pace.resumption(moved: moved)) }
        }
        guard allowed == 0 else { return allowed }
        self.pacing?.resumesAt = max(resumption, loop.now + 1)
        armUpstreamDeadline()
        return nil
    }

    /// - Returns: false where it was not the pace that had the response wait.
    func resumeReading(of upstream: UpstreamConnection) -> Bool {
        guard let time = pacing?.resumesAt, time != .min, time <= loop.now else { return false }
        pacing?.resumesAt = .min
        if upstream.mayRead { upstream.scheduleRead() }
        armUpstreamDeadline()
        return true
    }
}
