internal import Config
internal import EventLoop
internal import ProxyCore

/// One fetch under way, and what cancels it.
///
/// It is `resolving` until a name has addresses, `connecting` until one of them takes the connection, then
/// `exchanging`; a connection from the pool skips the first two. `FetchClient` starts it and `FetchConnection` drives
/// it; both hold it only while it is under way.
final class FetchHandle {
    private enum Stage {
        case idle
        case resolving(NameLookups.ID)
        case connecting(FetchConnection)
        case exchanging(FetchConnection)
        case ended
    }

    private let client: FetchClient
    private let generation: WorkerGeneration
    private let settings: Settings?
    private let request: FetchRequest
    private let head: FetchRequestHead
    private let target: ProxyTarget
    /// The host to speak TLS with; `nil` for plain HTTP.
    private let tlsName: String?
    private let deadline: Int64
    private var completion: FetchClient.Completion?
    private var stage = Stage.idle
    private var reader: FetchResponseReader
    /// Of the name or peer, that are still to be tried; the next one last.
    private var addresses: [PeerAddress] = []
    private var origin: [UInt8] = []
    private var peers: UpstreamPeers?
    private var selection = PeerSelection(tries: 0, peerCount: 0)
    /// A peer of the group is to be chosen; what the fetch fails with where none is left.
    private var dueFailure: FetchFailure?
    private var isTrying = false
    /// A connection of the pool turned out to be closed, so this time it is to be a new one.
    private var isRepeated = false
    private var sendError: Int32 = 0
    /// Of the clock of the loop.
    private var connectsSince: Int64 = 0
    /// What happens before `start` returns is thrown by it, rather than told to `completion`.
    private var isStarting = true
    private var earlyFailure: FetchFailure?

    init(
        _ request: FetchRequest, client: FetchClient, generation: WorkerGeneration,
        settings: Settings?,
        completion: @escaping FetchClient.Completion
    ) throws(FetchFailure) {
        let url = try FetchURL(request.url)
        head = try FetchRequestHead(request, url)
        tlsName = url.isTLS ? String(decoding: url.host, as: UTF8.self) : nil
        target = url.destination(among: generation.configuration.upstreams)
        self.request = request
        self.client = client
        self.generation = generation
        self.settings = settings
        self.completion = completion
        deadline = client.worker.loop.deadline(ofScript: request.timeoutMilliseconds)
        reader = FetchResponseReader(isHead: head.isHead, maxBody: request.maxBodyBytes)
    }

    func start() throws(FetchFailure) {
        chooseTarget()
        isStarting = false
        if let earlyFailure { throw earlyFailure }
    }

    /// Ends the fetch; its completion will not be called. Safe to call again.
    func cancel() {
        completion = nil
        end(.passedOver)
    }

    // MARK: Finding the server

    private func chooseTarget() {
        switch target {
        case .group(let index):
            let peers = generation.peers(ofGroup: index)
            self.peers = peers
            if let names = generation.awaitedNames(ofGroup: index) {
                return waitForAddress(names, of: peers)
            }
            tryFirst(of: peers)
        case .address(let address):
            origin = address.text
            addresses = [address]
            connect()
        case .resolve(let name, let port):
            origin = name + Array(":\(port)".utf8)
            if takeIdle() { return }
            resolve(name, port: port)
        case .failed(let reason):
            finish(.failure(.invalidRequest(reason)), peer: .passedOver)
        }
    }

    private func waitForAddress(_ names: GroupNames, of peers: UpstreamPeers) {
        let id = client.lookups.waitForAddress(names, in: generation, until: deadline) { result in
            self.stage = .idle
            if case .failure = result {
                self.finish(.failure(.timedOut(.resolving)), peer: .passedOver)
            } else {
                self.tryFirst(of: peers)
            }
        }
        stage = .resolving(id)
    }

    private func tryFirst(of peers: UpstreamPeers) {
        selection = peers.group.begin(maxTries: 0)
        tryNext(of: peers, orFailWith: .noLivePeers)
    }

    /// Makes a try, and those that follow where it fails at once: one after the other rather than each within the one before,
    /// since there may be thousands of them.
    private func tryNext(of peers: UpstreamPeers, orFailWith failure: FetchFailure) {
        dueFailure = failure
        guard !isTrying else { return }
        isTrying = true
        while let failure = dueFailure.take() {
            // What became of the peer before was recorded when it failed.
            if !chooseNextPeer(of: peers) { finish(.failure(failure), peer: .passedOver) }
        }
        isTrying = false
    }

    /// - Returns: false where no peer of the group is left.
    private func chooseNextPeer(of peers: UpstreamPeers) -> Bool {
        let random = peers.group.drawsRandomNumbers ? client.worker.randomNumber() : 0
        guard let position = peers.group.next(&selection, key: [], random: random, now: loop.now) else {
            return false
        }
        peers.statistics.attempts.add()
        let address = peers.group.peers[position].address
        origin = address.text
        addresses = [address]
        connect()
        return true
    }

    /// No connection came about: nothing was sent, and another peer of the group may answer.
    private func connectFailed(_ failure: FetchFailure) {
        if let peers {
            record(.failed, at: peers)
            if selection.tries > 0 { return tryNext(of: peers, orFailWith: failure) }
        }
        finish(.failure(failure), peer: .failed)
    }

    private func resolve(_ name: [UInt8], port: UInt16) {
        let id = client.lookups.resolve(name, port: port, by: settings, in: generation, until: deadline) {
            result in
            self.resolved(result)
        }
        if let id { stage = .resolving(id) }
    }

    private func resolved(_ result: Result<[PeerAddress], NameResolver.Failure>) {
        stage = .idle
        switch result {
        case .success(let addresses):
            self.addresses = addresses.reversed()
            openConnection()
        case .failure(let failure):
            finish(
                .failure(failure.isTimeout ? .timedOut(.resolving) : .unresolved(reason: failure.reason)),
                peer: .passedOver)
        }
    }

    private func connect() {
        if !takeIdle() { openConnection() }
    }

    private func takeIdle() -> Bool {
        guard request.keepalive, !isRepeated,
            // Where they cannot be had, a new connection says why.
            let demands = try? demands(),
            let connection = client.takeIdle(to: pooledOrigin, asking: demands.upstream)
        else { return false }
        peers?.statistics.connectionsReused.add()
        connection.attach(to: self)
        exchange(over: connection)
        return true
    }

    /// What connections are known by in the pool. Of those, the ones that the same was asked of may stand for each other.
    private var pooledOrigin: [UInt8] {
        guard let tlsName else { return origin }
        return Array("https \(tlsName) ".utf8) + origin
    }

    /// What is asked of the server's certificate; nothing for plain HTTP.
    private func demands() throws(FetchFailure) -> (upstream: TLSUpstream?, name: String) {
        guard let tlsName else { return (nil, "") }
        return (try generation.fetchUpstream(settings, verifies: request.verifiesCertificate), tlsName)
    }

    private func tlsTarget(_ address: PeerAddress) throws(FetchFailure) -> TLSTarget? {
        let (upstream, name) = try demands()
        return upstream.map { generation.fetchTarget($0, name: name, address: address.text) }
    }

    func handshakeFailed(_ reason: String, isPeers: Bool = true) {
        guard case .connecting(let connection) = stage else { return }
        guard isPeers else { return finish(.failure(.handshakeFailed(reason)), peer: .passedOver) }
        stage = .idle
        connection.end()
        connectFailed(.handshakeFailed(reason))
    }

    /// The connection is made: the handshake has as much time again.
    func handshakeBegan() {
        guard case .connecting(let connection) = stage else { return }
        limitConnecting(of: connection)
    }

    /// Where another peer may answer, this one has no more time than it has with the proxy.
    private func limitConnecting(of connection: FetchConnection) {
        connectsSince = loop.now
        var end = deadline
        if peers != nil, selection.tries > 1, let settings {
            end = min(end, loop.now + Int64(settings.values.proxyConnectTimeout))
        }
        connection.setDeadline(end)
    }

    private func openConnection() {
        var failure = FetchFailure.noConnections
        while let address = addresses.popLast() {
            guard client.worker.reserveConnection() else {
                return finish(.failure(.noConnections), peer: .passedOver)
            }
            let tls: TLSTarget?
            do throws(FetchFailure) {
                tls = try tlsTarget(address)
            } catch {
                client.worker.releaseConnection()
                return finish(.failure(error), peer: .passedOver)
            }
            do throws(SystemError) {
                let connection = try FetchConnection(
                    to: address, tls: tls, origin: pooledOrigin, for: self, client: client)
                peers?.statistics.connectionsOpened.add()
                stage = .connecting(connection)
                limitConnecting(of: connection)
                return
            } catch {
                client.worker.releaseConnection()
                failure = .system(error)
            }
        }
        connectFailed(failure)
    }

    // MARK: What the connection tells

    func connected(error: Int32) {
        guard case .connecting(let connection) = stage else { return }
        guard error == 0 else {
            stage = .idle
            connection.end()
            // Another address of the same name may answer.
            guard addresses.isEmpty else { return openConnection() }
            return connectFailed(.system(SystemError("connect", code: error)))
        }
        exchange(over: connection)
    }

    private func exchange(over connection: FetchConnection) {
        stage = .exchanging(connection)
        connection.setDeadline(deadline)
        let head = head.bytes
        let body = request.body ?? []
        connection.send(head.span, then: body.span, then: Span())
        peers?.statistics.bytesSent.add(head.count + body.count)
    }

    func sendFailed(_ error: Int32) { sendError = error }

    func readable() {
        guard case .exchanging(let connection) = stage else { return }
        switch connection.read() {
        case .bytes(let count):
            peers?.statistics.bytesReceived.add(count)
            let loop = loop
            proceed(loop.withReceived(count) { reader.received($0) }, connection)
            if case .exchanging = stage, connection.mayRead { connection.scheduleRead() }
        case .wouldBlock: break
        case .end: proceed(reader.connectionEnded(properly: !connection.endedImproperly), connection)
        case .failed(let error): broken(.system(SystemError("recv", code: error)), connection)
        }
    }

    private func proceed(_ progress: FetchResponseReader.Progress, _ connection: FetchConnection) {
        switch progress {
        case .needsMore: break
        case .complete(let reusable):
            let response = reader.response
            stage = .idle
            peers?.statistics.countResponse(status: response.status)
            if reusable, request.keepalive, !head.asksToClose {
                connection.leavePool()
                client.put(connection, of: generation)
            } else {
                connection.end()
            }
            finish(.success(response), peer: .succeeded)
        case .failed(.closed(let phase)): broken(.closed(phase), connection)
        case .failed(.tooLarge(let limit)): finish(.failure(.tooLarge(limit: limit)), peer: .succeeded)
        case .failed(let failure): finish(.failure(failure), peer: .failed)
        }
    }

    /// The connection ended before the response did. Where it came from the pool, the server may have closed it
    /// before the request came, and then it has done nothing for it (RFC 9112 §9.3.1).
    private func broken(_ failure: FetchFailure, _ connection: FetchConnection) {
        guard connection.isReused, !isRepeated, head.isIdempotent, !reader.hasReceived else {
            let cause = sendError == 0 ? failure : .system(SystemError("send", code: sendError))
            return finish(
                .failure(cause), peer: connection.isReused && !reader.hasReceived ? .stale : .failed)
        }
        stage = .idle
        connection.end()
        isRepeated = true
        sendError = 0
        if let peers {
            record(.stale, at: peers)
            peers.statistics.retries.add()
        }
        chooseTarget()
    }

    /// The script's time is over, or that for one peer of several. The former may be a short one, and says nothing of a peer
    /// that others wait for longer.
    func timedOut() {
        switch stage {
        case .connecting(let connection) where loop.now < deadline:
            stage = .idle
            connection.end()
            connectFailed(.timedOut(.connecting))
        case .connecting:
            let isOverdue = settings.map { loop.now - connectsSince >= Int64($0.values.proxyConnectTimeout) }
            finish(.failure(.timedOut(.connecting)), peer: isOverdue == true ? .failed : .passedOver)
        case .exchanging(let connection):
            let phase: FetchFailure.Phase =
                !connection.isDrained ? .sending : reader.isInBody ? .readingBody : .awaitingHead
            finish(.failure(.timedOut(phase)), peer: .passedOver)
        case .idle, .resolving, .ended: break
        }
    }

    // MARK: The end

    private func finish(_ result: Result<FetchResponse, FetchFailure>, peer outcome: PeerOutcome) {
        let completion = completion
        self.completion = nil
        if case .failure = result { peers?.statistics.failures.add() }
        end(outcome)
        if isStarting, case .failure(let failure) = result {
            earlyFailure = failure
        } else {
            // Last, because it runs the script, which may do as it likes.
            completion?(result)
        }
    }

    private func end(_ outcome: PeerOutcome) {
        switch stage {
        case .idle, .ended: break
        case .resolving(let id): client.lookups.cancel(id)
        case .connecting(let connection), .exchanging(let connection): connection.end()
        }
        stage = .ended
        guard let peers else { return }
        self.peers = nil
        record(outcome, at: peers)
    }

    /// How the try at the current peer came out; of one that is put aside the error log tells.
    private func record(_ outcome: PeerOutcome, at peers: UpstreamPeers) {
        guard peers.group.finish(&selection, outcome, now: loop.now) else { return }
        let peer = String(decoding: origin, as: UTF8.self)
        generation.generation.errorLogger.log(
            .warn, "upstream server temporarily disabled while fetching, upstream: \"\(peer)\"")
    }

    private var loop: EventLoop { client.worker.loop }
}

extension FetchFailure {
    fileprivate static func system(_ error: SystemError) -> FetchFailure {
        .system(call: error.call, code: error.code, reason: error.reason)
    }
}
