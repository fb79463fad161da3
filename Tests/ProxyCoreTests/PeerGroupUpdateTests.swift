import Config
import Testing

@testable import ProxyCore

@Suite("Peers whose addresses change")
struct PeerGroupUpdateTests {
    /// Servers `a`, `b`, … of one line each, all of them followed.
    private func group(
        _ addresses: [[UInt32]], _ kind: BalancingMethod.Kind = .roundRobin,
        _ change: (Int, inout UpstreamServer) -> Void = { _, _ in }
    ) -> PeerGroup {
        let lines = addresses.indices.map { index in
            let name = String("abcdefgh"[String.Index(utf16Offset: index, in: "abcdefgh")])
            var line = UpstreamServer(endpoint: .host(name, port: 80), name: Array(name.utf8))
            line.isFollowed = true
            change(index, &line)
            return line
        }
        let method = BalancingMethod(kind, key: Template(literal: Array("key".utf8)))
        return PeerGroup(
            UpstreamGroup(name: Array("g".utf8), servers: lines, method: method),
            addresses: Self.lines(addresses))
    }

    private static func lines(_ addresses: [[UInt32]]) -> [[PeerAddress]] {
        addresses.map { line in line.map { PeerAddress(.ipv4($0, port: 80)) } }
    }

    private func update(_ group: PeerGroup, _ addresses: [[UInt32]]) {
        group.update(Self.lines(addresses).map { $0.map { FoundPeer($0) } })
    }

    private func host(_ group: PeerGroup, at index: Int?) -> UInt32? {
        guard let index, case .ipv4(let host, _) = group.peers[index].address.endpoint else { return nil }
        return host
    }

    private func hosts(_ group: PeerGroup) -> [UInt32?] { group.peers.indices.map { host(group, at: $0) } }

    private func connections(_ group: PeerGroup, of host: UInt32) -> Int? {
        group.peers.indices.first { self.host(group, at: $0) == host }.map { group.peers[$0].connections }
    }

    /// A request that is under way, as a tunnel is.
    private func begin(_ group: PeerGroup, key: [UInt8] = []) -> (host: UInt32?, selection: PeerSelection) {
        var selection = group.begin(maxTries: 0)
        let index = group.next(&selection, key: key, now: 0)
        return (host(group, at: index), selection)
    }

    /// The host that a request of its own gets, which ends at once.
    private func pick(_ group: PeerGroup, key: [UInt8] = [], _ outcome: PeerOutcome = .succeeded) -> UInt32? {
        let (host, started) = begin(group, key: key)
        var selection = started
        group.finish(&selection, outcome, now: 0)
        return host
    }

    @Test("a group may begin without peers, and have them later")
    func late() {
        let group = group([[]])
        #expect(pick(group) == nil)
        update(group, [[1, 2]])
        #expect([pick(group), pick(group), pick(group)] == [1, 2, 1])
        update(group, [[]])
        #expect(pick(group) == nil)
        #expect(group.peers.isEmpty)
    }

    @Test("peers that stay keep failures, and those that are new have none")
    func failures() {
        let group = group([[1, 2]])
        #expect(pick(group, .failed) == 1)
        update(group, [[0, 1, 2]])
        #expect(hosts(group) == [0, 1, 2])
        #expect(group.peers.map(\.fails) == [0, 1, 0])
        #expect((0..<4).map { _ in pick(group) }.contains(1) == false, "1 is put aside")
        update(group, [[2]])
        update(group, [[1, 2]])
        #expect(group.peers.map(\.fails) == [0, 0], "it went without being in use, and is another one now")
    }

    @Test("weights take their course across changes")
    func weights() {
        let group = group([[1], [2]]) { index, line in if index == 0 { line.weight = 2 } }
        #expect([pick(group), pick(group)] == [1, 2])
        update(group, [[1], [2]])
        #expect([pick(group), pick(group), pick(group), pick(group)] == [1, 1, 2, 1])
    }

    @Test("what uses a peer ends where the peer is by then")
    func ends() throws {
        let group = group([[5], [6]], .leastConnections)
        var first = begin(group)
        let second = begin(group)
        #expect([first.host, second.host] == [5, 6])
        let use = try #require(PeerInUse(second.selection))
        update(group, [[1, 2, 5], [3, 6]])
        #expect([1, 2, 5, 3, 6].map { connections(group, of: $0) } == [0, 0, 1, 0, 1])
        #expect(group.address(of: first.selection) == PeerAddress(.ipv4(5, port: 80)))
        group.finish(&first.selection, .succeeded, now: 0)
        group.finish(use, .succeeded, now: 0)
        #expect(group.peers.map(\.connections) == [0, 0, 0, 0, 0])
    }

    @Test("one line's address says nothing of the same address in another line")
    func lines() {
        let group = group([[1], []], .leastConnections)
        let held = begin(group)
        #expect(held.host == 1)
        update(group, [[], [1]])
        #expect(group.peers.map(\.connections) == [0])
        #expect(group.departedConnections == 1)
    }

    @Test("an address that comes back while it is in use is still counted")
    func flapping() throws {
        let group = group([[1, 2]], .leastConnections) { _, line in line.maxConnections = 2 }
        let held = try [begin(group), begin(group)].map { try #require(PeerInUse($0.selection)) }
        update(group, [[2]])
        #expect(group.departedConnections == 1)
        update(group, [[1, 2]])
        #expect(group.departedConnections == 0)
        #expect(group.peers.map(\.connections) == [1, 1])
        let more = [begin(group), begin(group), begin(group)]
        #expect(Set(more.prefix(2).map(\.host)) == [1, 2])
        #expect(more[2].host == nil, "both have two, which is max_conns")
        for use in held { group.finish(use, .succeeded, now: 0) }
        #expect(group.peers.map(\.connections) == [1, 1])
    }

    @Test("nothing is left of peers that have gone once nobody uses them")
    func departed() throws {
        let group = group([[0]])
        var uses: [PeerInUse] = []
        for number in 0..<100 {
            update(group, [[UInt32(number)]])
            uses.append(try #require(PeerInUse(begin(group).selection)))
        }
        #expect(group.departedConnections == 99)
        for use in uses { group.finish(use, .succeeded, now: 0) }
        #expect(group.departedConnections == 0)
        #expect(group.peers.map(\.connections) == [0])
    }

    @Test("a request goes on among the peers that are there when its try fails")
    func retry() {
        let group = group([[1, 2, 3]])
        var (host, selection) = begin(group)
        #expect(host == 1)
        update(group, [[1, 8, 9]])
        group.finish(&selection, .failed, now: 0)
        #expect(selection.tries == 2)
        #expect(group.peers.map(\.fails) == [1, 0, 0])
        #expect(self.host(group, at: group.next(&selection, now: 0)) == 8)
        group.finish(&selection, .failed, now: 0)
        #expect(self.host(group, at: group.next(&selection, now: 0)) == 9, "neither 1 nor 8 again")
        group.finish(&selection, .failed, now: 0)
        #expect(group.next(&selection, now: 0) == nil)
    }

    @Test("a failure of a peer that has gone is held against nobody")
    func failureOfDeparted() {
        let group = group([[1, 2]])
        var (_, selection) = begin(group)
        update(group, [[7]])
        #expect(group.address(of: selection) == nil)
        #expect(!group.finish(&selection, .failed, now: 0))
        #expect(group.peers.map(\.fails) == [0])
        #expect(group.departedConnections == 0)
        #expect(host(group, at: group.next(&selection, now: 0)) == 7)
    }

    @Test("one that was tried last is not tried again after a change between two tries")
    func betweenTries() {
        let group = group([[1, 2]])
        var (_, selection) = begin(group)
        group.finish(&selection, .passedOver, now: 0)
        update(group, [[0, 1]])
        #expect(host(group, at: group.next(&selection, now: 0)) == 0)
        group.finish(&selection, .passedOver, now: 0)
        #expect(group.next(&selection, now: 0) == nil)
    }

    @Test("more than 64 peers may come in the middle of a request")
    func many() {
        let group = group([[1, 2]])
        var (_, selection) = begin(group)
        update(group, [(100..<300).map { $0 }])
        group.finish(&selection, .failed, now: 0)
        var seen: Set<UInt32?> = []
        while let index = group.next(&selection, now: 0) {
            #expect(seen.insert(host(group, at: index)).inserted)
            group.finish(&selection, .failed, now: 0)
        }
        #expect(seen.count == 200)
    }

    @Test("backups take over while no ordinary server has an address")
    func backups() {
        let group = group([[], [9]]) { index, line in line.isBackup = index == 1 }
        #expect(pick(group) == 9)
        var (_, selection) = begin(group)
        update(group, [[1], [9]])
        group.finish(&selection, .failed, now: 0)
        #expect(host(group, at: group.next(&selection, now: 0)) == 1)
        #expect(pick(group) == 1)
    }

    private static let keys = (0..<300).map { Array("key\($0)".utf8) }

    @Test("on the ring, keys of other servers stay when a server's addresses change")
    func ringStays() {
        let group = group([[1], [2], [3]], .consistentHash)
        let before = Self.keys.map { pick(group, key: $0) }
        #expect(Set(before) == [1, 2, 3])
        update(group, [[1], [20, 21], [3]])
        let after = Self.keys.map { pick(group, key: $0) }
        for (old, new) in zip(before, after) {
            if old == 2 { #expect(new == 20 || new == 21) } else { #expect(new == old) }
        }
    }

    @Test("keys of a server without addresses go where they would go if it were not on the ring")
    func ringWithoutServer() {
        // Of so many points in a row that others' misses would run out.
        let group = group([[1], [], [3], []], .consistentHash) { index, line in
            if index % 2 == 1 { line.weight = 100 }
        }
        let without = self.group([[1], [3]], .consistentHash) { index, line in
            line.name = index == 0 ? Array("a".utf8) : Array("c".utf8)
        }
        let found = Self.keys.map { pick(group, key: $0) }
        #expect(found == Self.keys.map { pick(without, key: $0) })
        #expect(Set(found) == [1, 3])
        update(group, [[1], [2], [3], [4]])
        #expect(Set(Self.keys.map { pick(group, key: $0) }) == [1, 2, 3, 4])
        update(group, [[], [], [], []])
        #expect(pick(group, key: Self.keys[0]) == nil)
    }

    @Test("a copy of a ring serves changes as the first does")
    func copiedRing() {
        let servers = ["a", "b"].map { name in
            var server = UpstreamServer(endpoint: .host(name, port: 80), name: Array(name.utf8))
            server.isFollowed = true
            return server
        }
        let upstream = UpstreamGroup(
            name: [], servers: servers, method: BalancingMethod(.consistentHash, key: Template(literal: [])))
        let ring = HashRing(upstream, addresses: [[], []])
        let groups = [ring, ring.map(HashRing.init(copying:))].map {
            PeerGroup(upstream, addresses: [[], []], ring: $0)
        }
        for group in groups { update(group, [[1], [2]]) }
        let found = groups.map { group in Self.keys.map { pick(group, key: $0) } }
        #expect(found[0] == found[1])
        #expect(Set(found[0]) == [1, 2])
    }

    @Test("whatever comes and goes, each peer's count is that of what uses it", arguments: 0..<20)
    func counts(_ seed: Int) {
        var random = Numbers(state: UInt64(seed) &* 0x1234_5678_9ABC_DEF1 | 1)
        let kind = BalancingMethod.Kind.allCases[seed % BalancingMethod.Kind.allCases.count]
        let group = group([[], []], kind)
        var held: [(host: UInt32, line: Int, selection: PeerSelection)] = []
        var lines: [[UInt32]] = [[], []]
        for _ in 0..<400 {
            switch random.next(4) {
            case 0:
                lines = (0..<2).map { line in
                    (0..<6).filter { _ in random.next(2) == 0 }.map { UInt32(line * 10) + $0 }
                }
                update(group, lines)
            case 1 where !held.isEmpty:
                var one = held.remove(at: random.next(held.count))
                if random.next(2) == 0, let use = PeerInUse(one.selection) {
                    group.finish(use, .succeeded, now: 0)
                } else {
                    group.finish(&one.selection, random.next(2) == 0 ? .stale : .succeeded, now: 0)
                }
            default:
                var selection = group.begin(maxTries: 0)
                let index = group.next(
                    &selection, key: [UInt8(random.next(256))], random: UInt64(random.next(1 << 40)), now: 0)
                if let host = host(group, at: index) { held.append((host, Int(host / 10), selection)) }
            }
            let present = Set(lines.joined())
            for host in present {
                #expect(connections(group, of: host) == held.count { $0.host == host })
            }
            #expect(group.departedConnections == held.count { !present.contains($0.host) })
        }
    }

    private struct Numbers {
        var state: UInt64

        mutating func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
    }
}
