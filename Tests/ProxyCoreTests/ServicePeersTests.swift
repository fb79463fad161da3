import Config
import Testing

@testable import ProxyCore

@Suite("Peers that are a service's")
struct ServicePeersTests {
    private func group(
        _ kind: BalancingMethod.Kind = .roundRobin, lines: Int = 1,
        _ change: (Int, inout UpstreamServer) -> Void = { _, _ in }
    ) -> PeerGroup {
        let servers = (0..<lines).map { index in
            var line = UpstreamServer(endpoint: .host("a.test", port: 80), name: Array("line \(index)".utf8))
            line.isFollowed = true
            line.service = "http"
            change(index, &line)
            return line
        }
        let method = BalancingMethod(kind, key: Template(literal: Array("key".utf8)))
        return PeerGroup(
            UpstreamGroup(name: Array("g".utf8), servers: servers, method: method),
            addresses: servers.map { _ in [] })
    }

    /// Of host `h1` and so on, at one address each.
    private func found(_ host: UInt32, priority: UInt16 = 1, weight: UInt16 = 1, port: UInt16 = 80)
        -> FoundPeer
    {
        FoundPeer(
            PeerAddress(.ipv4(host, port: port)),
            record: .init(priority: priority, weight: weight, target: Array("h\(host)".utf8), port: port))
    }

    private func host(_ peer: Peer) -> UInt32 {
        if case .ipv4(let host, _) = peer.address.endpoint { host } else { 0 }
    }

    private func pick(_ group: PeerGroup, key: [UInt8] = [], _ outcome: PeerOutcome = .succeeded) -> UInt32? {
        var selection = group.begin(maxTries: 0)
        let index = group.next(&selection, key: key, now: 0)
        group.finish(&selection, outcome, now: 0)
        return index.map { host(group.peers[$0]) }
    }

    @Test("those of the first priority are ordinary ones, all others backups")
    func priorities() {
        let group = group()
        group.update([
            [found(1, priority: 5), found(2, priority: 3), found(3, priority: 9), found(4, priority: 3)]
        ])
        #expect(group.peers[group.primaries].map(host) == [2, 4])
        #expect(group.peers[group.backups].map(host) == [1, 3])
        group.update([[found(1, priority: 5), found(3, priority: 9)]])
        #expect(group.peers[group.primaries].map(host) == [1])
        #expect(group.peers[group.backups].map(host) == [3])
    }

    @Test("of two peers with one address, the one that is left stays as it is when something else changes")
    func twins() {
        let group = group()
        group.update([[found(1), found(1, weight: 2), found(2)]])
        var used = group.begin(maxTries: 0)
        let first = group.next(&used, key: [], now: 0)
        // One of the two goes, though it is in use.
        group.update([[found(1), found(2)]])
        for _ in 0..<2 { _ = pick(group, .failed) }
        let fails = group.peers[0].fails
        #expect(first != nil && fails > 0)
        group.update([[found(1), found(2), found(3, priority: 2)]])
        #expect(group.peers[0].fails == fails)
        group.finish(&used, .succeeded, now: 0)
    }

    @Test("each line has a first priority, and one of backups nothing else")
    func lines() {
        let group = group(lines: 3) { index, line in if index == 2 { line.isBackup = true } }
        group.update([
            [found(1, priority: 1), found(2, priority: 2)], [found(3, priority: 7)],
            [found(4, priority: 3), found(5, priority: 4), found(6, priority: 3)],
        ])
        #expect(group.peers[group.primaries].map(host) == [1, 3])
        #expect(group.peers[group.backups].map(host) == [2, 4, 6])
    }

    @Test("weights are the records', none being one, unless the line has one of its own")
    func weights() {
        let own = group()
        own.update([[found(1, weight: 0), found(2, weight: 65535), found(3, weight: 2)]])
        #expect(own.peers.map(\.weight) == [1, 65535, 2])
        let line = group { _, line in line.weight = 7 }
        line.update([[found(1, weight: 0), found(2, weight: 65535)]])
        #expect(line.peers.map(\.weight) == [7, 7])
    }

    @Test("a peer whose weight or priority changes stays the peer that it was")
    func changes() {
        let group = group()
        group.update([[found(1), found(2)]])
        var held = group.begin(maxTries: 0)
        #expect(group.next(&held, now: 0).map { host(group.peers[$0]) } == 1)
        #expect(pick(group, .failed) == 2)
        group.update([[found(1, weight: 3), found(2, weight: 2)]])
        #expect(group.peers.map(\.connections) == [1, 0])
        #expect(group.peers.map(\.fails) == [0, 1])
        #expect(group.peers.map(\.weight) == [3, 2])
        group.update([[found(1, priority: 2, weight: 3), found(2, weight: 2)]])
        #expect(group.peers.map(host) == [2, 1])
        #expect(group.peers.map(\.connections) == [0, 1])
        group.finish(&held, .succeeded, now: 0)
        #expect(group.peers.map(\.connections) == [0, 0])
    }

    @Test("another weight counts at once")
    func newWeights() {
        let group = group()
        group.update([[found(1), found(2)]])
        _ = pick(group)
        group.update([[found(1, weight: 3), found(2)]])
        let picked = (0..<8).compactMap { _ in pick(group) }
        #expect(picked.filter { $0 == 1 }.count == 6)
    }

    @Test("a ring has the hosts of a service, whose keys stay when others come and go")
    func ring() {
        let group = group(.consistentHash, lines: 2) { index, line in
            if index == 1 { line.service = nil }
        }
        let keys = (0..<200).map { Array("key \($0)".utf8) }
        func homes() -> [UInt32?] { keys.map { pick(group, key: $0) } }
        #expect(homes().allSatisfy { $0 == nil })
        let plain = FoundPeer(PeerAddress(.ipv4(9, port: 80)))
        group.update([(1...4).map { found($0) }, [plain]])
        let before = homes()
        #expect(Set(before) == [1, 2, 3, 4, 9])
        #expect(homes() == before)
        group.update([[found(4), found(1), found(3)], [plain]])
        for (old, new) in zip(before, homes()) where old != 2 { #expect(old == new) }
        group.update([(1...4).map { found($0, weight: 60000) }, []])
        let heavy = homes()
        #expect(Set(heavy) == [1, 2, 3, 4])
        group.update([[found(1, weight: 60000), found(3, weight: 60000)], []])
        for (old, new) in zip(heavy, homes()) where old == 1 || old == 3 { #expect(old == new) }
    }

    @Test("two ports of one host are two servers of a ring, and later priorities none")
    func ringOfPorts() {
        let group = group(.consistentHash)
        group.update([[found(1, port: 80), found(1, port: 81), found(2, priority: 2)]])
        var ports: Set<[UInt8]> = []
        for number in 0..<100 {
            var selection = group.begin(maxTries: 0)
            guard let index = group.next(&selection, key: Array("key \(number)".utf8), now: 0) else {
                continue
            }
            ports.insert(group.peers[index].address.text)
            group.finish(&selection, .succeeded, now: 0)
        }
        #expect(ports == [Array("0.0.0.1:80".utf8), Array("0.0.0.1:81".utf8)])
    }
}
