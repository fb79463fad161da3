internal import Synchronization

/// The open tunnels of the node that scripts may act on: a list for each worker.
package final class TunnelRegistry: Sendable {
    private struct State {
        var lists: [TunnelList] = []
        var lastNumber: UInt32 = 0
    }

    private let state = Mutex(State())

    init() {}

    /// A worker takes part. `deliver` is called on any thread, with what others ask of its tunnels.
    package func addList(deliver: @escaping @Sendable (TunnelOrder) -> Void) -> TunnelList {
        state.withLock { state in
            state.lastNumber &+= 1
            let list = TunnelList(number: state.lastNumber, deliver: deliver)
            state.lists.append(list)
            return list
        }
    }

    /// The worker has ended.
    package func remove(_ list: TunnelList) { state.withLock { $0.lists.removeAll { $0 === list } } }

    /// The tunnels, or those with a tag, that are not of the interpreter of this number.
    func tunnels(tagged tag: [UInt8]?, besides interpreter: UInt32) -> [RemoteTunnel] {
        var found: [RemoteTunnel] = []
        for list in state.withLock({ $0.lists }) {
            list.append(to: &found, tagged: tag, besides: interpreter)
        }
        return found
    }

    /// `nil` once its worker has ended.
    func list(of tunnel: RemoteTunnel) -> TunnelList? {
        state.withLock { state in state.lists.first { $0.number == tunnel.list } }
    }
}
