/// `hash key`: the peer whose share of the weights the key's hash falls into, compatible with Cache::Memcached. When
/// peers come or go, most keys change theirs.
enum KeyHash {
    static func choose(
        of peers: inout [Peer], _ selection: inout PeerSelection, _ request: Balancer.Request
    ) -> Int? {
        repeat {
            var crc = CRC32()
            // The next peers of the same key are found by hashing it with a number before it.
            if selection.progress.rounds > 0 { crc.update(decimal: selection.progress.rounds) }
            crc.update(request.key)
            selection.progress.hash &+= crc.value >> 16 & 0x7FFF
            selection.progress.rounds &+= 1
            let point = Int(selection.progress.hash) % request.totalWeight
            let index = peers.position(in: request.tier, at: point)
            guard !selection.tried.contains(index), peers[index].isLive(now: request.now) else { continue }
            peers[index].chosen(now: request.now)
            return index
        } while selection.progress.miss()
        return nil
    }
}
