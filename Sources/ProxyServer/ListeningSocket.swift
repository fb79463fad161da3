internal import CSwitchyard
internal import Config
internal import EventLoop
internal import ProxyCore

/// A socket that the worker accepts on.
final class ListeningSocket: ListenerChannel {
    // Set by the initialiser; with the ones inherited, the compiler (6.3.1) takes a class that adds stored
    // properties without defaults to this hierarchy for a recursion.
    private var worker: Worker?
    private var isOwn = false
    var targets = ListenerTargets(own: 0)
    /// The one that it ended with: later ones know nothing of it.
    private var lastGeneration: WorkerGeneration?
    /// Of the last connection.
    private var localEnd: (address: SocketAddress, text: [UInt8])?
    /// All connections have the same local end.
    private var hasOneAddress = false

    convenience init(worker: Worker, descriptor: Int32, isOwn: Bool, targets: ListenerTargets) {
        self.init(loop: worker.loop, descriptor: descriptor)
        self.worker = worker
        self.isOwn = isOwn
        self.targets = targets
    }

    var hasEnded: Bool { lastGeneration != nil }

    /// Under which requests of its connections are answered.
    func serving(on worker: Worker) -> WorkerGeneration { lastGeneration ?? worker.current }

    /// Stops listening. What waits on a socket of this worker alone is still taken.
    func end(with generation: WorkerGeneration) {
        lastGeneration = generation
        if isOwn { acceptAll() }
        close()
    }

    override func mayAccept() -> Bool { worker?.hasRoomForClient() ?? false }

    override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
        guard let worker, worker.reserveConnection() else {
            // Only where the socket is about to be closed, and nobody can wait there any longer.
            return loop.abandon(descriptor)
        }
        let connection = DownstreamConnection(
            worker: worker, listener: self, descriptor: descriptor, peer: peer)
        connection.start()
    }

    /// The local end of a connection that came here, for `$server_addr` and `$server_port`. The kernel is asked once where
    /// the socket is bound to one address.
    func localEnd(of connection: DownstreamConnection) -> (text: [UInt8], port: UInt16)? {
        if let localEnd, hasOneAddress { return (localEnd.text, localEnd.address.port) }
        guard let address = connection.localAddress else { return nil }
        if let localEnd, localEnd.address == address { return (localEnd.text, address.port) }
        hasOneAddress = localAddress.map { $0 == address && !$0.isWildcard } ?? false
        let text = address.hostText
        localEnd = (address, text)
        return (text, address.port)
    }

    override func acceptFailed(_ error: SystemError) {
        worker?.current.generation.errorLogger.log(.crit, "\(error)")
    }

    /// The listener of the configuration whose connection this is.
    func target(local: SocketAddress?) -> Int {
        guard !targets.byAddress.isEmpty, let local else { return targets.own }
        return targets.byAddress[local.binary] ?? targets.own
    }
}
