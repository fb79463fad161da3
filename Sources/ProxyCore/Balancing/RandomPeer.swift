/// `random`: any peer, as often as its weight says; of two, the one that carries less.
enum RandomPeer {
    static func choose(
        of peers: inout [Peer], _ selection: inout PeerSelection, _ request: Balancer.Request
    ) -> Int? {
        var numbers = Numbers(state: request.random)
        repeat {
            let index = numbers.position(in: request, of: peers)
            guard !selection.tried.contains(index), peers[index].isLive(now: request.now) else { continue }
            peers[index].chosen(now: request.now)
            return index
        } while selection.progress.miss()
        return nil
    }

    static func chooseOfTwo(
        of peers: inout [Peer], _ selection: inout PeerSelection, _ request: Balancer.Request
    ) -> Int? {
        var numbers = Numbers(state: request.random)
        var first: Int?
        while true {
            let index = numbers.position(in: request, of: peers)
            if index != first, !selection.tried.contains(index), peers[index].isLive(now: request.now) {
                guard let other = first else {
                    first = index
                    continue
                }
                let (mine, others) = peers[index].loads(against: peers[other])
                let chosen = mine > others ? other : index
                peers[chosen].chosen(now: request.now)
                return chosen
            }
            // As in nginx, one that is the only one left is found by round robin.
            guard selection.progress.miss() else { return nil }
        }
    }

    /// The numbers of one choice, from a first that nobody can foresee: SplitMix64.
    private struct Numbers {
        var state: UInt64

        mutating func position(in request: Balancer.Request, of peers: [Peer]) -> Int {
            state &+= 0x9E37_79B9_7F4A_7C15
            var number = state
            number = (number ^ number >> 30) &* 0xBF58_476D_1CE4_E5B9
            number = (number ^ number >> 27) &* 0x94D0_49BB_1331_11EB
            number ^= number >> 31
            let point = Int(number.multipliedFullWidth(by: UInt64(request.totalWeight)).high)
            return peers.position(in: request.tier, at: point)
        }
    }
}
