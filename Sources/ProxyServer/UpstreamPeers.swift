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
            connection.requests < keepalive.keepaliveRequests,
            now - connection.openedAt < Int64(keepalive.keepaliveTime)
        else { return connection.end() }
        if idle.count >= keepalive.keepalive {
            idle.removeFirst().end()
            statistics.idle.add(-1)
        }
        idle.append(connection)
        statistics.idle.add()
        connection.enterPool(self, until: now + Int64(keepalive.keepaliveTimeout))
    }

    /// An idle connection ended, or is no longer wanted.
    func drop(_ connection: UpstreamConnection) {
        guard let index = idle.firstIndex(where: { $0 === connection }) else { return }
        idle.remove(at: index)
        statistics.idle.add(-1)
        connection.end()
    }

    func closeIdle() {
        for connection in idle {
            statistics.idle.add(-1)
            connection.end()
        }
        idle = []
    }
}
