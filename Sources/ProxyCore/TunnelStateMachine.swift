/// The two directions of an upgraded connection, which end one by one.
///
/// An end of one sending side is passed on once everything before it has been; the other direction goes on until
/// it ends too. Driven by `Tunnel`.
package struct TunnelStateMachine: Sendable {
    private enum Direction: Sendable {
        case open
        /// Its source has ended.
        case ended
    }

    private var fromClient = Direction.open
    private var fromUpstream = Direction.open
    private var closed = false
    /// Who ended first.
    package private(set) var firstToEnd: TunnelSide?

    package init() {}

    package enum EndAction: Sendable, Equatable {
        /// Shut down the sending side of this peer once what is waiting for it has been sent.
        case shutdown(TunnelSide)
        /// Both directions have ended: close both when what is waiting has been sent.
        case close
        case ignore
    }

    /// A side said that it sends no more.
    package mutating func ended(_ side: TunnelSide) -> EndAction {
        guard !closed else { return .ignore }
        switch side {
        case .client:
            guard fromClient == .open else { return .ignore }
            fromClient = .ended
        case .upstream:
            guard fromUpstream == .open else { return .ignore }
            fromUpstream = .ended
        }
        if firstToEnd == nil { firstToEnd = side }
        if fromClient == .ended && fromUpstream == .ended { return .close }
        return .shutdown(side.other)
    }

    /// A side's connection broke: nothing can reach it any more.
    package mutating func failed(_ side: TunnelSide) -> EndAction {
        guard !closed else { return .ignore }
        if firstToEnd == nil { firstToEnd = side }
        return .close
    }

    package mutating func didClose() { closed = true }

    /// Bytes that a side sends are to be passed on.
    package func accepts(from side: TunnelSide) -> Bool {
        !closed && (side == .client ? fromClient : fromUpstream) == .open
    }
}
