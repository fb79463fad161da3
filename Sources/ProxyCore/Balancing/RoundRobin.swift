/// Smooth weighted round robin, nginx's default method.
///
/// Each choice raises every candidate's current weight by its effective weight, takes the highest and lowers
/// that one by the sum: peers of weight 5, 1 and 1 come up as a a b a c a a rather than five times in a row.
enum RoundRobin {
    /// The best live peer of `tier` that `fits` and is not in `tried`, its weights moved on; `nil` when there is none.
    ///
    /// Inlined, so that `fits`, which is asked about each by its position, costs no call.
    @inline(__always)
    static func choose(
        in tier: Range<Int>, of peers: inout [Peer], tried: PeerSet, now: Int64,
        where fits: (Int, Peer) -> Bool = { _, _ in true }
    ) -> Int? {
        var best: Int?
        var total = 0
        for index in tier
        where fits(index, peers[index]) && !tried.contains(index) && peers[index].isLive(now: now) {
            total += peers[index].moveWeightOn()
            if let leader = best, peers[index].currentWeight <= peers[leader].currentWeight { continue }
            best = index
        }
        guard let best else { return nil }
        peers[best].currentWeight -= total
        peers[best].chosen(now: now)
        return best
    }
}
