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
        var chosen = first
        if isTied {
            var total = 0
            for index in first..<tier.upperBound
            where !selection.tried.contains(index) && peers[index].isLive(now: request.now) {
                let (mine, other) = peers[index].loads(against: peers[chosen])
                if mine != other { continue }
                total += peers[index].moveWeightOn()
                if peers[index].currentWeight > peers[chosen].currentWeight { chosen = index }
            }
            peers[chosen].currentWeight -= total
        }
        peers[chosen].chosen(now: request.now)
        return chosen
    }
}

extension Peer {
    /// What this one and `other` carry, each for its weight, without the fractions.
    func loads(against other: Peer) -> (mine: Int, other: Int) {
        (connections * other.weight, other.connections * weight)
    }
}
