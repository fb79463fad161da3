internal import Synchronization

/// What scripts have said of the peers of one upstream: that they are out of service, or in it, whatever the configuration
/// says. Every worker goes by it from its next request on; what a peer is used for already goes on.
package final class PeerMarks: Sendable {
    private let marks = Mutex<[PeerAddress.Endpoint: Bool]>([:])
    private let changes = Atomic<Int>(0)

    package init() {}

    /// How often something has changed.
    var version: Int { changes.load(ordering: .acquiring) }

    /// True where a script says that a peer is down.
    var downByPeer: [PeerAddress.Endpoint: Bool] { marks.withLock { $0 } }

    /// Says that a peer is down, or is not; with `nil`, that the configuration decides.
    func set(_ peer: PeerAddress.Endpoint, isDown: Bool?) { change { $0[peer] = isDown } }

    /// Forgets what was said of these.
    func forget(_ peers: Set<PeerAddress.Endpoint>) {
        if !peers.isEmpty { change { $0 = $0.filter { !peers.contains($0.key) } } }
    }

    /// Forgets what was said of all but these.
    package func keep(only peers: Set<PeerAddress.Endpoint>) {
        change { $0 = $0.filter { peers.contains($0.key) } }
    }

    private func change(_ body: (inout [PeerAddress.Endpoint: Bool]) -> Void) {
        let hasChanged = marks.withLock { marks in
            let former = marks
            body(&marks)
            return marks != former
        }
        if hasChanged { changes.add(1, ordering: .releasing) }
    }
}

/// The marks of all upstreams, by their names. Reloads keep them.
package final class PeerMarkTable: Sendable {
    private let table = Mutex<[[UInt8]: PeerMarks]>([:])

    package init() {}

    package func marks(ofUpstream name: [UInt8]) -> PeerMarks {
        table.withLock { table in
            if let known = table[name] { return known }
            let marks = PeerMarks()
            table[name] = marks
            return marks
        }
    }

    /// Forgets upstreams that there are no more.
    package func keep(only names: Set<[UInt8]>) {
        table.withLock { $0 = $0.filter { names.contains($0.key) } }
    }
}
