internal import Config
internal import EventLoop
internal import ProxyCore

/// The peers of an upstream group in one worker, with the idle connections that are kept to them.
final class UpstreamPeers {
    let group: PeerGroup
    let statistics: UpstreamStatistics
    private let keepalive: UpstreamGroup?
    /// Least recently used first.
    private var idle: [UpstreamConnection] = []

    /// Those that speak HTTP/2, which exchanges share.
    private var carriers: [HTTP2UpstreamConnection] = []
    /// Those of them without streams. Least recently used first.
    private var idleCarriers: [HTTP2UpstreamConnection] = []
    private var isRetired = false
    /// Streams at a time on one connection, as a peer last said.
    var knownStreamLimit: Int?

    /// `keepalive` says how connections are kept; `nil` for not at all.
    init(_ group: PeerGroup, keepalive: UpstreamGroup?, statistics: UpstreamStatistics) {
        self.group = group
        self.keepalive = keepalive
        self.statistics = statistics
    }

    /// A connection that waits for a request, the one used last before others.
    func takeIdle(to address: PeerAddress, tls: TLSTarget?) -> UpstreamConnection? {
        guard let index = idle.lastIndex(where: { $0.address == address && $0.tls == tls }) else {
            return nil
        }
        let connection = idle.remove(at: index)
        statistics.idle.add(-1)
        connection.leavePool()
        return connection
    }

    /// Keeps a connection whose response has ended, or closes it.
    func put(_ connection: UpstreamConnection, now: Int64) {
        guard let keepalive, keepalive.keepalive > 0, connection.isOpen, connection.isDrained,
            !connection.sawHangup,
            !isUsedUp(requests: Int(connection.requests), openedAt: connection.openedAt, now: now),
            group.version == 0 || group.has(connection.address)
        else { return connection.end() }
        makeRoom(in: keepalive)
        idle.append(connection)
        statistics.idle.add()
        connection.enterPool(self, until: now + Int64(keepalive.keepaliveTimeout))
    }

    /// For another idle connection.
    private func makeRoom(in keepalive: UpstreamGroup) {
        guard idle.count + idleCarriers.count >= keepalive.keepalive else { return }
        if idle.isEmpty { return idleCarriers[0].leave() }
        idle.removeFirst().end()
        statistics.idle.add(-1)
    }

    /// Whether a connection has carried as many requests, or is as old, as one may: `keepalive_requests` and
    /// `keepalive_time`.
    func isUsedUp(requests: Int, openedAt: Int64, now: Int64) -> Bool {
        requests >= keepalive?.keepaliveRequests ?? .max
            || now - openedAt >= Int64(keepalive?.keepaliveTime ?? Self.defaultKeepaliveTime)
    }

    /// Milliseconds, as nginx's default.
    private static let defaultKeepaliveTime = 3_600_000

    /// An idle connection ended, or is no longer wanted.
    func drop(_ connection: UpstreamConnection) {
        guard let index = idle.firstIndex(where: { $0 === connection }) else { return }
        idle.remove(at: index)
        statistics.idle.add(-1)
        connection.end()
    }

    /// Goes on with other addresses. Connections to those that have gone are closed, or as soon as they are not in use.
    func update(_ found: [[FoundPeer]]) {
        group.update(found)
        let known = Set(group.peers.map(\.address.endpoint))
        for connection in idle where !known.contains(connection.address.endpoint) { drop(connection) }
        for carrier in carriers where !known.contains(carrier.address.endpoint) {
            if carrier.isIdle { carrier.leave() } else { forget(carrier) }
        }
    }

    // MARK: HTTP/2

    /// A connection that takes another stream.
    func carrier(to address: PeerAddress, tls: TLSTarget?) -> HTTP2UpstreamConnection? {
        carriers.first { $0.address == address && $0.tls == tls && $0.takesStream(of: self) }
    }

    /// Makes a connection for streams.
    ///
    /// - Returns: `nil` where the worker has no room for one.
    func makeCarrier(
        to address: PeerAddress, tls: TLSTarget?, worker: Worker, socketKeepalive: Bool
    ) throws(SystemError) -> HTTP2UpstreamConnection? {
        guard worker.reserveConnection() else { return nil }
        do throws(SystemError) {
            let made = try HTTP2UpstreamConnection(
                to: address, tls: tls, of: self, worker: worker, socketKeepalive: socketKeepalive)
            statistics.connectionsOpened.add()
            carriers.append(made)
            return made
        } catch {
            worker.releaseConnection()
            throw error
        }
    }

    /// A connection has no streams any more.
    ///
    /// - Returns: milliseconds for which it is kept; `nil` when it is not.
    func rest(_ carrier: HTTP2UpstreamConnection) -> Int64? {
        guard !isRetired, let keepalive, keepalive.keepalive > 0, !carrier.isUsedUp(of: self),
            carriers.contains(where: { $0 === carrier })
        else { return nil }
        makeRoom(in: keepalive)
        idleCarriers.append(carrier)
        statistics.idle.add()
        return Int64(keepalive.keepaliveTimeout)
    }

    /// A connection has a stream again.
    func wake(_ carrier: HTTP2UpstreamConnection) {
        guard let index = idleCarriers.firstIndex(where: { $0 === carrier }) else { return }
        idleCarriers.remove(at: index)
        statistics.idle.add(-1)
    }

    /// No stream is begun on it any more.
    func forget(_ carrier: HTTP2UpstreamConnection) {
        wake(carrier)
        carriers.removeAll { $0 === carrier }
    }

    func closeIdle() {
        isRetired = true
        for carrier in carriers where carrier.isIdle { carrier.leave() }
        for connection in idle {
            statistics.idle.add(-1)
            connection.end()
        }
        idle = []
    }
}
