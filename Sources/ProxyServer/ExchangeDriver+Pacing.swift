internal import Bytes
internal import Config
internal import EventLoop
internal import ProxyCore

/// What `limit_rate` and `proxy_limit_rate` make of one response. Both slow down how it is read, so that an upstream's goes on
/// to the client as it comes. What is there without being read has to wait here: our own answers, what hooks have gathered, and what
/// came with the head.
///
/// A class, so that to see that there is none takes those that are not slowed down no more than a comparison.
final class ResponsePacing {
    let client: Pace?
    let upstream: Pace?
    /// Bytes of the response's body that were read.
    var read: Int64
    /// When it is read again; in the past, or long past, where it is not waited.
    var resumesAt = Int64.min
    /// Bytes for the client.
    fileprivate var held: [UInt8] = []
    /// Where those begin that are still to be sent.
    fileprivate var heldStart = 0
    /// Rings when more of them may be sent.
    fileprivate var alarm: Alarm?

    var heldBytes: Int { held.count - heldStart }

    init(client: Pace?, upstream: Pace?, read: Int64) {
        self.client = client
        self.upstream = upstream
        self.read = read
    }

    /// The first bytes of those that are held have been sent. Each is moved once, on average, at most.
    fileprivate func drop(_ count: Int) {
        heldStart += count
        guard heldStart > held.count / 2 else { return }
        // Not in its place, which would keep the room of all that there was.
        held = Array(held[heldStart...])
        heldStart = 0
    }
}

extension ExchangeDriver {
    /// A response begins, of whose body `count` bytes have come with the upstream's head; `nil` for one of our own.
    func setPace(_ count: Int?) {
        do throws(FaultyRate) {
            let client = try exchange.clientPace()
            let upstream = count == nil ? nil : try exchange.upstreamPace()
            guard client != nil || upstream != nil else { return }
            pacing = ResponsePacing(client: client, upstream: upstream, read: Int64(count ?? 0))
        } catch {
            log(.error, "invalid size \"\(String(decoding: error.text, as: UTF8.self))\"")
        }
    }

    // MARK: To the client

    /// Sends part of the response, when its pace lets it go. What is sent counts already as sent.
    @inline(__always)
    func send(
        _ first: Span<UInt8>, then second: Span<UInt8> = Span(), then third: Span<UInt8> = Span(),
        to downstream: DownstreamConnection
    ) {
        guard let pacing else { return downstream.send(response: first, then: second, then: third) }
        sendPaced(first, second, third, by: pacing, to: downstream)
    }

    private func sendPaced(
        _ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>, by pacing: ResponsePacing,
        to downstream: DownstreamConnection
    ) {
        let count = first.count + second.count + third.count
        guard pacing.heldBytes == 0, allowance(of: count, by: pacing) == count else {
            pacing.held.append(first)
            pacing.held.append(second)
            pacing.held.append(third)
            return sendHeld(by: pacing, to: downstream)
        }
        downstream.send(response: first, then: second, then: third)
    }

    /// Bytes that would go into a packet of their own for no more than what makes a chunk of the others.
    private static let remnant = 32

    /// How many of the last `count` bytes that count as sent may go out now.
    private func allowance(of count: Int, by pacing: ResponsePacing) -> Int {
        guard let pace = pacing.client else { return count }
        let moved = sentBytes - Int64(count)
        // A head is not cut: over HTTP/2 it is one frame.
        let head = Int(max(0, exchange.sentHeadBytes - moved))
        let allowed = max(head, pace.allowance(moved: moved, of: count, now: loop.now))
        return allowed > 0 && allowed + Self.remnant >= count ? count : allowed
    }

    private var sentBytes: Int64 { exchange.sentHeadBytes + exchange.sentBodyBytes }

    /// Some of the response waits for its pace.
    var holdsBytes: Bool { pacing != nil && heldBytes > 0 }
    var heldBytes: Int { pacing?.heldBytes ?? 0 }

    private func sendHeld(by pacing: ResponsePacing, to downstream: DownstreamConnection) {
        let count = allowance(of: pacing.heldBytes, by: pacing)
        if count > 0 {
            let (start, held) = (pacing.heldStart, pacing.held)
            pacing.drop(count)
            downstream.send(response: held.span.extracting(start..<start + count))
        }
        let rest = pacing.heldBytes
        guard !hasEnded, rest > 0, let pace = pacing.client else { return }
        let alarm = pacing.alarm ?? Alarm(loop: loop) { [weak self] in self?.paceCame() }
        pacing.alarm = alarm
        alarm.setDeadline(max(pace.resumption(moved: sentBytes - Int64(rest), of: rest), loop.now + 1))
    }

    private func paceCame() {
        guard let downstream, let pacing else { return }
        worker.tick()
        sendHeld(by: pacing, to: downstream)
        if !hasEnded, !holdsBytes, downstream.isDrained { clientDrained() }
    }

    /// The exchange is over.
    func endPacing() {
        pacing?.alarm?.close()
        pacing = nil
    }

    // MARK: From the upstream

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
        for (pace, moved) in [(pacing.client, sentBytes), (pacing.upstream, pacing.read)] {
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
