internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore

/// Two connections whose bytes go from one to the other unread, after a 101.
///
/// The exchange that led here is kept frozen: what its line in the access log needs, in one small allocation.
final class Tunnel {
    let generation: WorkerGeneration
    private let downstream: DownstreamConnection
    private let upstream: UpstreamConnection
    /// `nil` where scripts keep the whole exchange.
    private let frozen: FrozenExchange?
    let scripts: TunnelScripts?
    private let onEnd: UpstreamUse
    private let startedAt: Int64
    private var machine = TunnelStateMachine()
    private var fromClient: Int64 = 0
    private var fromUpstream: Int64 = 0
    private var isClosing = false

    /// Reads in one turn of the loop before others have theirs.
    private static let readsPerTurn = 4

    init(
        _ exchange: Exchange, downstream: DownstreamConnection, upstream: UpstreamConnection,
        use: UpstreamUse,
        generation: WorkerGeneration
    ) {
        self.generation = generation
        self.downstream = downstream
        self.upstream = upstream
        onEnd = use
        scripts = exchange.scripts.flatMap { _ in
            TunnelScripts(exchange, generation: generation, worker: downstream.worker)
        }
        frozen = scripts == nil ? exchange.freeze() : nil
        startedAt = downstream.worker.loop.now
        scripts?.tunnel = self
    }

    private var settings: Settings.Values {
        (frozen?.location ?? scripts?.exchange.location)?.settings.values ?? Settings.Values()
    }

    var sendTimeout: Int { settings.sendTimeout }

    func start() {
        let worker = downstream.worker
        worker.statistics.upgrades.add()
        worker.statistics.tunnels.add()
        upstream.attach(to: self)
        let early = downstream.enter(self)
        if !early.isEmpty { relay(early.span, from: .client) }
        touch()
        if downstream.hasEnded { readEnd(of: .client) }
        if downstream.mayRead { downstream.scheduleRead() }
        if upstream.mayRead { upstream.scheduleRead() }
    }

    // MARK: Bytes

    func readable(_ side: TunnelStateMachine.Side) {
        switch side {
        case .client: pump(from: downstream, to: upstream, side)
        case .upstream: pump(from: upstream, to: downstream, side)
        }
    }

    private func pump(from source: StreamChannel, to target: StreamChannel, _ side: TunnelStateMachine.Side) {
        guard machine.accepts(from: side) else { return }
        let loop = downstream.worker.loop
        var reads = 0
        // What the target has not taken yet is waited for: nothing queues up beyond one read.
        while source.mayRead, target.isDrained, !isClosing {
            if reads == Self.readsPerTurn {
                source.scheduleRead()
                break
            }
            reads += 1
            switch source.read() {
            case .bytes(let count): relay(loop.received(count), from: side)
            case .wouldBlock: break
            case .end: return readEnd(of: side)
            case .failed: return failed(side)
            }
        }
        if reads > 0 && !isClosing { touch() }
    }

    /// Sends what `side` sent on to the other.
    func relay(_ bytes: Span<UInt8>, from side: TunnelStateMachine.Side) {
        var bytes = bytes
        if let scripts {
            bytes = bytes.extracting(first: scripts.relay(bytes, from: side))
            scripts.noteCloses()
        }
        switch side {
        case .client: upstream.send(bytes)
        case .upstream: downstream.send(bytes)
        }
        counted(bytes.count, from: side)
        if scripts != nil { closeByScript() }
    }

    private func counted(_ count: Int, from side: TunnelStateMachine.Side) {
        switch side {
        case .client:
            fromClient += Int64(count)
            downstream.worker.statistics.tunnelBytesIn.add(count)
        case .upstream:
            fromUpstream += Int64(count)
            downstream.worker.statistics.tunnelBytesOut.add(count)
            if !downstream.isDrained { downstream.armSendDeadline(after: sendTimeout) }
        }
    }

    /// Data in either direction puts the timeout off, as in nginx.
    private func touch() {
        upstream.setDeadline(
            downstream.worker.loop.now + Int64(settings.proxyReadTimeout))
    }

    func drained(_ side: TunnelStateMachine.Side) {
        if isClosing {
            if downstream.isDrained && upstream.isDrained { finish() }
            return
        }
        readable(side.other)
    }

    // MARK: The end

    private func readEnd(of side: TunnelStateMachine.Side) { perform(machine.ended(side)) }

    func failed(_ side: TunnelStateMachine.Side) { perform(machine.failed(side), atOnce: side) }

    private func perform(
        _ action: TunnelStateMachine.EndAction, atOnce broken: TunnelStateMachine.Side? = nil
    ) {
        switch action {
        case .ignore: break
        case .shutdown(.client): downstream.shutdownWhenSent()
        case .shutdown(.upstream): upstream.shutdownWhenSent()
        case .close:
            isClosing = true
            // What the other side is still owed goes out first, for as long as the timeout allows.
            let clientDone = broken == .client || downstream.isDrained
            let upstreamDone = broken == .upstream || upstream.isDrained
            if clientDone && upstreamDone { finish() }
        }
    }

    func timedOut(_ side: TunnelStateMachine.Side) {
        if side == .client, !isClosing, let scripts, scripts.isDraining, downstream.isDrained {
            return scripts.graceEnded()
        }
        let logger = generation.generation.errorLogger
        if !isClosing {
            logger.log(.info, "tunnel timed out, \(side == .client ? "client" : "upstream") leg")
        }
        finish()
    }

    func cutOff() { finish() }

    // MARK: Scripts

    func send(_ frame: [UInt8], to side: TunnelStateMachine.Side) {
        switch side {
        case .client: downstream.send(frame)
        case .upstream: upstream.send(frame)
        }
    }

    /// A script ends the tunnel: each side is told where its frames allow it, and both are closed once they know.
    func closeByScript() {
        guard let scripts, !isClosing, scripts.sendCloseFrames(to: self) else { return }
        isClosing = true
        machine.didClose()
        downstream.shutdownWhenSent()
        upstream.shutdownWhenSent()
        upstream.setDeadline(downstream.worker.loop.now + TunnelScripts.closeTimeout)
        if downstream.isDrained && upstream.isDrained { finish() }
    }

    /// The worker or its generation is to end.
    func drain() { scripts?.drain() }

    /// Ends the tunnel when its time of grace is over.
    func end(after milliseconds: Int64) { downstream.setReadDeadline(after: Int(milliseconds)) }

    func facts(of leg: FlowLeg, _ exchange: Exchange) -> LegFacts {
        var facts = LegFacts()
        switch leg {
        case .client:
            facts.address = exchange.client.address
            facts.port = exchange.client.port
            facts.bytesIn = exchange.receivedHeadBytes + exchange.receivedBodyBytes + fromClient
            facts.bytesOut = exchange.sentHeadBytes + exchange.sentBodyBytes + fromUpstream
            facts.read(from: downstream)
        case .upstream:
            facts.take(upstream.address)
            facts.bytesIn = (exchange.attempts.last?.bytesReceived ?? 0) + fromUpstream
            facts.bytesOut = (exchange.attempts.last?.bytesSent ?? 0) + fromClient
            facts.read(from: upstream)
        }
        return facts
    }

    private func finish() {
        isClosing = true
        machine.didClose()
        upstream.end()
        let worker = downstream.worker
        worker.tick()
        let seconds = worker.loop.now - startedAt
        worker.statistics.tunnels.add(-1)
        worker.statistics.tunnelSeconds.observe(milliseconds: Int(seconds))
        let exchange: Exchange
        if let scripts {
            exchange = scripts.exchange
        } else {
            exchange = worker.takeExchange()
            frozen?.thaw(into: exchange)
        }
        exchange.sentBodyBytes += fromUpstream
        exchange.receivedBodyBytes += fromClient
        exchange.isComplete = true
        if let last = exchange.attempts.indices.last {
            exchange.attempts[last].bytesSent += fromClient
            exchange.attempts[last].bytesReceived += fromUpstream
            exchange.attempts[last].responseLength += fromUpstream
            exchange.attempts[last].responseTime = Int(
                worker.loop.now - exchange.attempts[last].startedAt.monotonic)
        }
        onEnd.end(.succeeded, now: worker.loop.now)
        if let scripts {
            downstream.finish()
            return scripts.tunnelEnded(first: machine.firstToEnd)
        }
        generation.log(exchange, worker: worker)
        worker.giveBack(exchange)
        downstream.finish()
    }
}

/// A peer that is in use by an exchange or a tunnel, until `end` is called.
struct UpstreamUse {
    let peers: UpstreamPeers
    let selection: PeerSelection

    func end(_ outcome: PeerOutcome, now: Int64) {
        var selection = selection
        peers.group.finish(&selection, outcome, now: now)
    }
}
