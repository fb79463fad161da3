internal import ProxyCore

/// The open tunnels of a worker whose exchanges are whole: those that scripts have asked for lately. Others are frozen.
///
/// Scripts may ask any time for anything of the exchange that a tunnel began with, and most never do. So each tunnel
/// begins with its exchange whole, and where that makes more than a few, the turn of the loop ends with freezing
/// those that were not used since they were last looked at. Hooks never see it: none is running then, and
/// a tunnel that one waits in, or that has a socket open, is passed over.
final class WholeExchanges {
    /// As many are left whole while there is much to do.
    static let limit = 32
    private var tunnels: [TunnelScripts] = []
    /// The next to be looked at.
    private var hand = 0

    func add(_ tunnel: TunnelScripts) { tunnels.append(tunnel) }

    func remove(_ tunnel: TunnelScripts) {
        if let index = tunnels.firstIndex(where: { $0 === tunnel }) { remove(at: index) }
    }

    private func remove(at index: Int) {
        tunnels.swapAt(index, tunnels.count - 1)
        tunnels.removeLast()
    }

    /// Freezes all that can be frozen, used or not.
    func freezeAll() {
        let all = tunnels
        tunnels = []
        hand = 0
        for tunnel in all {
            if tunnel.isIdle { tunnel.freeze() } else { tunnels.append(tunnel) }
        }
    }

    /// Freezes what has become too many. It looks at a few only, so that a turn does not take long.
    ///
    /// - Returns: whether it may have more to do, once others have had their turn.
    func freezeUnused() -> Bool {
        var looks = Self.limit
        var makesProgress = false
        while tunnels.count > Self.limit, looks > 0 {
            looks -= 1
            if hand >= tunnels.count { hand = 0 }
            let tunnel = tunnels[hand]
            if tunnel.takeUse() {
                makesProgress = true
            } else if tunnel.isIdle {
                remove(at: hand)
                tunnel.freeze()
                makesProgress = true
                continue
            }
            hand += 1
        }
        return makesProgress && tunnels.count > Self.limit
    }
}
