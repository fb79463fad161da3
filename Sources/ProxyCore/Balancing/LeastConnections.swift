/// `least_conn`: the peer with the fewest exchanges and tunnels for its weight, round robin among several.
enum LeastConnections {
    static func choose(
        of peers: inout [Peer], _ selection: inout PeerSelection, _ request: Balancer.Request
    ) -> Int? {
        let tier = request.tier
        var best: Int?
        var isTied = false
        for index in tier where !selection.tried.contains(index) && peers[index].isLive(now: request.now) {
            guard let leader = best else {
                best = index
                continue
            }
            let (mine, other) = peers[index].loads(against: peers[leader])
            if mine < other {
                best = index
                isTied = false
            } else if mine == other {
                isTied = true
            }
        }
        guard let first = best else { return nil }
        guard isTied else {
            peers[first].chosen(now: request.now)
            return first
        }
        let leader = peers[first]
        return RoundRobin.choose(
            in: first..<tier.upperBound, of: &peers, tried: selection.tried, now: request.now
        ) { _, peer in
            let (mine, other) = peer.loads(against: leader)
            return mine == other
        }
    }
}

extension Peer {
    /// What this one and `other` carry, each for its weight, without the fractions.
    func loads(against other: Peer) -> (mine: Int, other: Int) {
        (connections * other.weight, other.connections * weight)
    }
}
