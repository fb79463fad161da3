/// `ip_hash`: clients of one address go to one peer, those of IPv4 by the first three of its numbers.
enum AddressHash {
    static func choose(
        of peers: inout [Peer], _ selection: inout PeerSelection, _ request: Balancer.Request
    ) -> Int? {
        var hash = selection.progress.rounds == 0 ? 89 : selection.progress.hash
        repeat {
            for byte in request.key { hash = (hash * 113 + UInt32(byte)) % 6271 }
            let index = peers.position(in: request.tier, at: Int(hash) % request.totalWeight)
            guard !selection.tried.contains(index), peers[index].isLive(now: request.now) else { continue }
            selection.progress.hash = hash
            selection.progress.rounds &+= 1
            peers[index].chosen(now: request.now)
            return index
        } while selection.progress.miss()
        return nil
    }

    /// Of an address as `$binary_remote_addr` has it. Clients on a UNIX socket all count as one.
    static func appendKey(ofAddress address: [UInt8], to key: inout [UInt8]) {
        switch address.count {
        case 4: key.append(contentsOf: address.prefix(3))
        case 16: key.append(contentsOf: address)
        default: key.append(contentsOf: repeatElement(0, count: 3))
        }
    }
}
