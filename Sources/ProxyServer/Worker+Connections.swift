internal import Config
internal import EventLoop

/// What a worker knows of its connections, those to upstreams and of scripts included.
struct ConnectionCount {
    fileprivate(set) var open = 0
    /// Streams of HTTP/2 connections whose exchanges go on, some for longer than the connection.
    fileprivate(set) var streams = 0
    /// A client has come that there was no room for: the listeners are paused.
    fileprivate var turnsAway = false
    /// While room is short: the connections at rest, those first that have been longest, some twice, and some of which are
    /// not at rest any more.
    fileprivate var atRest: ArraySlice<Channel>?
    /// The loop's time of the last word in the log about each of the two shortages.
    fileprivate var saidReusing = Int64.min
    fileprivate var saidFull = Int64.min
}

/// `worker_connections`. As in nginx, those that have nothing to do give way to others, from the last sixteenth of the room
/// on. Where there is none of them, connections to upstreams fail, and clients wait in the kernel's backlog for room rather
/// than being turned away.
extension Worker {
    /// How many connections at rest give way at once, where as many are there.
    private static let mostAtOnce = 32
    /// Milliseconds between two lines of the log about the same shortage.
    private static let logInterval: Int64 = 1000
    /// Milliseconds after which there may be room though nothing has happened: clients that say nothing are at rest then.
    private static let patience = DownstreamConnection.silence

    var openConnections: Int { connections.open }
    var connectionLimit: Int { current.configuration.process.workerConnections }

    /// Takes room for a connection; false when there is none.
    func reserveConnection() -> Bool {
        guard hasRoom() else { return false }
        connections.open += 1
        return true
    }

    func releaseConnection() {
        connections.open -= 1
        // The list has connections that are no more, and their memory.
        if connections.atRest != nil, hasMuchRoom { forgetConnectionsAtRest() }
        heap.connectionEnded()
        letClientsIn()
        stopIfDrained()
    }

    func streamBegan() { connections.streams += 1 }

    func streamEnded() {
        connections.streams -= 1
        stopIfDrained()
    }

    /// A connection has nothing to do for now.
    @inline(__always)
    func connectionRests(_ channel: Channel) {
        if connections.atRest != nil { noteRest(of: channel) }
        letClientsIn()
    }

    private func noteRest(of channel: Channel) {
        connections.atRest?.append(channel)
        let count = connections.atRest?.count ?? 0
        if count > 2 * connections.open + Self.mostAtOnce { connections.atRest = connectionsAtRest() }
    }

    /// Clients that have said nothing for a while are at rest without having come to it.
    func lookForRoom() {
        forgetConnectionsAtRest()
        letClientsIn()
    }

    func forgetConnectionsAtRest() { connections.atRest = nil }

    /// Whether there is room for a client that has come. If not, the listeners are paused until there may be.
    func hasRoomForClient() -> Bool {
        if hasRoom() { return true }
        for listener in listeners.values { listener.pause() }
        connections.turnsAway = true
        roomTimer.setDeadline(loop.now + Self.patience)
        if isTime(toSay: \.saidFull) {
            current.generation.errorLogger.log(.alert, "\(connectionLimit) worker_connections are not enough")
        }
        return false
    }

    /// There may be room now.
    @inline(__always)
    func letClientsIn() { if connections.turnsAway { resumeListeners() } }

    private func resumeListeners() {
        connections.turnsAway = false
        for listener in listeners.values { listener.resume() }
    }

    private func hasRoom() -> Bool {
        let limit = connectionLimit
        let room = limit - connections.open
        guard room <= limit / 16 else {
            if connections.atRest != nil, hasMuchRoom { forgetConnectionsAtRest() }
            return true
        }
        endSomeAtRest(limit)
        return connections.open < limit
    }

    /// So much that none is short soon.
    private var hasMuchRoom: Bool { connectionLimit - connections.open > connectionLimit / 8 }

    private func connectionsAtRest() -> ArraySlice<Channel> {
        var found: [Channel] = []
        loop.forEachChannel { if $0.isAtRest { found.append($0) } }
        found.sort { $0.deadline < $1.deadline }
        return found[...]
    }

    /// Ends an eighth of the connections at rest, those whose time would be over first: one at least, and as many as a
    /// reload has left too many.
    private func endSomeAtRest(_ limit: Int) {
        if connections.atRest == nil { connections.atRest = connectionsAtRest() }
        let known = connections.atRest?.count ?? 0
        guard known > 0 else { return }
        if isTime(toSay: \.saidReusing) {
            current.generation.errorLogger.log(
                .warn, "\(connectionLimit) worker_connections are not enough, reusing connections")
        }
        var count = max(min(Self.mostAtOnce, known / 8), connections.open - limit + 1, 1)
        while count > 0, let channel = connections.atRest?.popFirst() {
            guard channel.isOpen, channel.isAtRest else { continue }
            channel.endRest()
            count -= 1
        }
    }

    private func isTime(toSay line: WritableKeyPath<ConnectionCount, Int64>) -> Bool {
        let last = connections[keyPath: line]
        guard last == .min || loop.now - last >= Self.logInterval else { return false }
        connections[keyPath: line] = loop.now
        return true
    }
}
