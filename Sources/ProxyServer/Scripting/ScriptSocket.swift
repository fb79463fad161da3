internal import Config
internal import EventLoop
internal import ProxyCore

/// A stream socket of a script.
///
/// It is `resolving`, then `connecting`, then `open` until it is closed; one `send` and one `receive` may be under
/// way at a time. Bytes are read only while a `receive` waits for them, so what a script does not ask for stays
/// with the peer.
///
/// Whoever connects holds it: when it is let go, it is cancelled.
final class ScriptSocket {
    typealias Completion<Value> = (Result<Value, SocketFailure>) -> Void

    private enum Stage {
        case idle
        case resolving(NameLookups.ID)
        case connecting(ScriptSocketChannel)
        case open(ScriptSocketChannel)
        case closed
    }

    private struct PendingSend {
        let deadline: Int64
        let completion: Completion<Void>
    }

    private struct PendingReceive {
        let pattern: ReceivePattern
        let deadline: Int64
        let completion: Completion<[UInt8]>
    }

    /// More than this waits for the peer before a `send` is done.
    static let maxUnsent = 64 * 1024

    let worker: Worker
    private let lookups: NameLookups
    private var stage = Stage.idle
    /// Of the host, that are still to be tried; the next one last.
    private var addresses: [PeerAddress] = []
    private let connectDeadline: Int64
    private var connecting: Completion<Void>?
    /// What happens before `connect` returns is thrown by it, rather than told to its completion.
    private var isStarting = true
    private var earlyFailure: SocketFailure?
    private var sending: PendingSend?
    private var receiving: PendingReceive?
    private var received = ReceiveBuffer()
    private var sawEnd = false
    private var readError: SystemError?

    private init(worker: Worker, deadline: Int64, completion: @escaping Completion<Void>) {
        self.worker = worker
        lookups = worker.scriptNetwork.lookups
        connectDeadline = deadline
        connecting = completion
    }

    deinit { cancel() }

    // MARK: Connecting

    /// Begins to connect.
    ///
    /// `completion` is called once, after this has returned, unless the socket is cancelled or let go.
    ///
    /// - Parameters:
    ///   - host: a name, a numeric address (IPv6 with or without brackets), or `unix:/path`.
    ///   - port: 1...65535; of no meaning for a UNIX socket.
    ///   - timeoutMilliseconds: for the lookup and the connection together; at least 1.
    ///   - worker: on whose loop the socket is.
    ///   - generation: its resolvers are used.
    ///   - settings: the location's, for its `resolver`; without one the system's is used.
    ///   - completion: is told whether the socket is open.
    /// - Returns: the socket, which is of use once `completion` has been called.
    /// - Throws: what failed at once; `completion` is not called then.
    static func connect(
        to host: [UInt8], port: Int, timeoutMilliseconds: Int64, worker: Worker, generation: WorkerGeneration,
        settings: Settings?, completion: @escaping Completion<Void>
    ) throws(SocketFailure) -> ScriptSocket {
        let socket = ScriptSocket(
            worker: worker, deadline: worker.loop.deadline(ofScript: timeoutMilliseconds),
            completion: completion)
        try socket.start(host, port: port, in: generation, settings)
        return socket
    }

    private func start(
        _ host: [UInt8], port: Int, in generation: WorkerGeneration, _ settings: Settings?
    ) throws(SocketFailure) {
        let unix = Array("unix:".utf8)
        if host.starts(with: unix) {
            let path = Array(host.dropFirst(unix.count))
            guard !path.isEmpty, !path.contains(0) else { throw .invalidArgument("invalid socket path") }
            addresses = [PeerAddress(.unix(path: path))]
            openConnection()
        } else {
            guard let port = UInt16(exactly: port), port > 0 else { throw .invalidArgument("invalid port") }
            if let address = PeerAddress(numericHost: host, port: port) {
                addresses = [address]
                openConnection()
            } else {
                let id = lookups.resolve(
                    host, port: port, by: settings, in: generation, until: connectDeadline
                ) { [weak self] in self?.resolved($0) }
                if let id { stage = .resolving(id) }
            }
        }
        isStarting = false
        if let earlyFailure { throw earlyFailure }
    }

    private func resolved(_ result: Result<[PeerAddress], NameResolver.Failure>) {
        stage = .idle
        switch result {
        case .success(let addresses):
            self.addresses = addresses.reversed()
            openConnection()
        case .failure(let failure):
            connectFailed(failure.isTimeout ? .timedOut : .unresolved(reason: failure.reason))
        }
    }

    private func openConnection() {
        var failure = SocketFailure.noConnections
        while let address = addresses.popLast() {
            guard worker.reserveConnection() else { return connectFailed(.noConnections) }
            do throws(SystemError) {
                let channel = try ScriptSocketChannel(to: address, worker: worker)
                channel.socket = self
                channel.setDeadline(connectDeadline)
                stage = .connecting(channel)
                return
            } catch {
                worker.releaseConnection()
                failure = SocketFailure(error)
            }
        }
        connectFailed(failure)
    }

    fileprivate func connected(error: Int32) {
        guard case .connecting(let channel) = stage else { return }
        guard error == 0 else {
            stage = .idle
            channel.end()
            // Another address of the same name may answer.
            guard addresses.isEmpty else { return openConnection() }
            return connectFailed(SocketFailure(SystemError("connect", code: error)))
        }
        channel.clearDeadline()
        stage = .open(channel)
        let completion = connecting
        connecting = nil
        completion?(.success(()))
    }

    private func connectFailed(_ failure: SocketFailure) {
        let completion = connecting
        connecting = nil
        end()
        if isStarting { earlyFailure = failure } else { completion?(.failure(failure)) }
    }

    // MARK: Sending

    /// Sends all of `bytes`.
    ///
    /// - Returns: whether that is done, so far as no more than `maxUnsent` bytes wait for the peer. Otherwise
    ///   `completion` is called once they do not, or have not in time: then the socket is closed, since nobody can
    ///   tell how much of them has gone out.
    /// - Throws: what failed at once; `completion` is not called then.
    func send(
        _ bytes: [UInt8], timeoutMilliseconds: Int64, completion: @escaping Completion<Void>
    ) throws(SocketFailure) -> Bool {
        guard case .open(let channel) = stage else { throw .closed }
        guard sending == nil else { throw .busy }
        channel.send(bytes)
        guard channel.writeError == 0 else {
            throw SocketFailure(SystemError("send", code: channel.writeError))
        }
        guard channel.unsentBytes > Self.maxUnsent else { return true }
        sending = PendingSend(
            deadline: worker.loop.deadline(ofScript: timeoutMilliseconds), completion: completion)
        armDeadline()
        return false
    }

    fileprivate func sentSome() {
        guard case .open(let channel) = stage, channel.unsentBytes <= Self.maxUnsent else { return }
        endSend(.success(()))
    }

    fileprivate func sendFailed(_ error: Int32) {
        endSend(.failure(SocketFailure(SystemError("send", code: error))))
    }

    private func endSend(_ result: Result<Void, SocketFailure>) {
        guard let pending = sending else { return }
        sending = nil
        armDeadline()
        pending.completion(result)
    }

    // MARK: Receiving

    /// Receives what `pattern` says.
    ///
    /// A failure takes nothing of what has come: another pattern can still have it.
    ///
    /// - Returns: the bytes, where they are there already. Otherwise `completion` is called with them, or with why
    ///   there are none; after `timedOut` the socket is as good as before.
    /// - Throws: what failed at once; `completion` is not called then.
    func receive(
        _ pattern: ReceivePattern, timeoutMilliseconds: Int64, completion: @escaping Completion<[UInt8]>
    ) throws(SocketFailure) -> [UInt8]? {
        guard case .open(let channel) = stage else { throw .closed }
        guard receiving == nil else { throw .busy }
        switch take(pattern) {
        case .bytes(let bytes): return bytes
        case .failed(let failure): throw failure
        case .needsMore: break
        }
        receiving = PendingReceive(
            pattern: pattern, deadline: worker.loop.deadline(ofScript: timeoutMilliseconds),
            completion: completion
        )
        armDeadline()
        if channel.mayRead { channel.scheduleRead() }
        return nil
    }

    private func take(_ pattern: ReceivePattern) -> ReceiveBuffer.Taken {
        let taken = received.take(pattern)
        guard case .needsMore = taken else { return taken }
        if let readError { return .failed(SocketFailure(readError)) }
        return sawEnd ? received.takeAtEnd(pattern) : taken
    }

    fileprivate func readable() {
        guard case .open(let channel) = stage, let pending = receiving else { return }
        guard case .needsMore(let limit) = take(pending.pattern) else { return settleReceive() }
        switch channel.read(limit: limit) {
        case .bytes(let count):
            worker.loop.withReceived(count) { received.append($0) }
        case .wouldBlock: return
        case .end: sawEnd = true
        case .failed(let error): readError = SystemError("recv", code: error)
        }
        settleReceive()
    }

    /// Ends the receive that is under way, if what it waits for has come, and reads on otherwise.
    private func settleReceive() {
        guard let pending = receiving else { return }
        switch take(pending.pattern) {
        case .bytes(let bytes): endReceive(.success(bytes))
        case .failed(let failure): endReceive(.failure(failure))
        case .needsMore:
            if case .open(let channel) = stage, channel.mayRead { channel.scheduleRead() }
        }
    }

    private func endReceive(_ result: Result<[UInt8], SocketFailure>) {
        guard let pending = receiving else { return }
        receiving = nil
        armDeadline()
        pending.completion(result)
    }

    // MARK: Deadlines

    private func armDeadline() {
        guard case .open(let channel) = stage else { return }
        let next = min(sending?.deadline ?? EventLoop.never, receiving?.deadline ?? EventLoop.never)
        if next == EventLoop.never { channel.clearDeadline() } else { channel.setDeadline(next) }
    }

    fileprivate func deadlinePassed() {
        if case .connecting = stage { return connectFailed(.timedOut) }
        let now = worker.loop.now
        if let sending, sending.deadline <= now {
            let receiving = receiving
            end()
            sending.completion(.failure(.timedOut))
            receiving?.completion(.failure(.closed))
            return
        }
        if let receiving, receiving.deadline <= now { return endReceive(.failure(.timedOut)) }
        armDeadline()
    }

    // MARK: The end

    /// Nobody on this side waits for anything any more.
    private(set) var isAbandoned = false

    /// Closes, once what was sent has gone out; no completion will be called. Safe to call again.
    func close() {
        guard case .open(let channel) = stage else { return cancel() }
        stage = .closed
        channel.closeWhenSent()
        cancel()
    }

    /// Ends everything at once; no completion will be called. Safe to call again.
    func cancel() {
        isAbandoned = true
        end()
    }

    private func end() {
        let ended = stage
        stage = .closed
        connecting = nil
        sending = nil
        receiving = nil
        received = ReceiveBuffer()
        switch ended {
        case .idle, .closed: break
        case .resolving(let id): lookups.cancel(id)
        case .connecting(let channel), .open(let channel): channel.end()
        }
    }
}

extension SocketFailure {
    fileprivate init(_ error: SystemError) {
        self = .system(call: error.call, code: error.code, reason: error.reason)
    }
}

/// The connection of a `ScriptSocket`; it outlives that one while bytes that were sent still wait for the peer.
final class ScriptSocketChannel: StreamChannel {
    fileprivate weak var socket: ScriptSocket?
    private let worker: Worker

    /// Milliseconds in which a closed socket's peer must take what was sent.
    private static let lingerTimeout: Int64 = 10_000

    /// Begins to connect. The caller has reserved the connection, and releases it if this throws.
    ///
    /// - Throws: the call that failed at once.
    fileprivate init(to address: PeerAddress, worker: Worker) throws(SystemError) {
        self.worker = worker
        let descriptor = try worker.loop.connect(to: SocketAddress(address))
        super.init(loop: worker.loop, descriptor: descriptor)
        try beginConnecting(to: address)
    }

    func end() {
        socket = nil
        guard isOpen else { return }
        close()
        worker.releaseConnection()
    }

    fileprivate func closeWhenSent() {
        socket = nil
        guard !isDrained, isOpen else { return end() }
        setDeadline(loop.now + Self.lingerTimeout)
    }

    override func becameWritable() { socket?.connected(error: pendingError) }

    override func readable() { socket?.readable() }

    override func sentSome() { socket?.sentSome() }

    override func drained() {
        guard let socket else { return end() }
        socket.sentSome()
    }

    override func writeFailed(_ error: Int32) {
        guard let socket else { return end() }
        socket.sendFailed(error)
    }

    override func deadlinePassed() {
        guard let socket else { return end() }
        socket.deadlinePassed()
    }
}
