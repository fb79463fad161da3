import Config
import ProxyCore
import Testing

@Suite("Balancing methods")
struct BalancingMethodTests {
    private static let template = Template(literal: Array("key".utf8))

    /// Servers `127.0.0.1:25611` and on.
    private func group(
        _ kind: BalancingMethod.Kind, _ servers: [(inout UpstreamServer) -> Void]
    ) -> PeerGroup {
        var lines: [UpstreamServer] = []
        var addresses: [[PeerAddress]] = []
        for (index, change) in servers.enumerated() {
            let port = UInt16(25611 + index)
            var line = UpstreamServer(
                endpoint: .host("127.0.0.1", port: port), name: Array("127.0.0.1:\(port)".utf8))
            change(&line)
            lines.append(line)
            addresses.append([PeerAddress(.ipv4(0x7F00_0001, port: port))])
        }
        let method = BalancingMethod(kind, key: Self.template)
        return PeerGroup(
            UpstreamGroup(name: Array("g".utf8), servers: lines, method: method), addresses: addresses)
    }

    /// Weights 1, 2 and 3, and a server that is down, for which the answers of nginx 1.22.1 are written here.
    private func weighted(_ kind: BalancingMethod.Kind) -> PeerGroup {
        group(kind, [{ _ in }, { $0.weight = 2 }, { $0.weight = 3 }, { $0.isDown = true }])
    }

    /// The peer of a request of its own, which ends at once.
    private func pick(
        _ group: PeerGroup, _ key: [UInt8] = [], random: UInt64 = 0, now: Int64 = 0,
        _ outcome: PeerOutcome = .succeeded
    ) -> Int? {
        var selection = group.begin(maxTries: 0)
        let peer = group.next(&selection, key: key, random: random, now: now)
        group.finish(&selection, outcome, now: now)
        return peer
    }

    /// The peers that one request tries, all of which fail.
    private func tries(_ group: PeerGroup, _ key: [UInt8] = [], random: UInt64 = 0) -> [Int] {
        var selection = group.begin(maxTries: 0)
        var order: [Int] = []
        while let peer = group.next(&selection, key: key, random: random, now: 0) {
            order.append(peer)
            group.finish(&selection, .passedOver, now: 0)
        }
        return order
    }

    /// Requests that stay under way, as tunnels do.
    private func hold(_ group: PeerGroup, _ count: Int) -> (order: [Int?], held: [PeerSelection]) {
        var order: [Int?] = []
        var held: [PeerSelection] = []
        for _ in 0..<count {
            var selection = group.begin(maxTries: 0)
            order.append(group.next(&selection, key: [], random: 0, now: 0))
            held.append(selection)
        }
        return (order, held)
    }

    private func key(_ number: Int) -> [UInt8] { Array("key\(number)".utf8) }

    /// What some requests get, a digit for each.
    private func digits(_ peers: some Sequence<Int?>) -> String {
        peers.map { $0.map(String.init) ?? "-" }.joined()
    }

    private static let hashed: [BalancingMethod.Kind] = [.addressHash, .keyHash, .consistentHash]
    private static let others = BalancingMethod.Kind.allCases.filter { $0 != .roundRobin }

    @Test("only round robin goes without a row, and is told apart")
    func rows() {
        for kind in BalancingMethod.Kind.allCases {
            #expect(group(kind, [{ _ in }]).isRoundRobin == (kind == .roundRobin))
        }
    }

    // MARK: Hashes

    @Test("keys go where nginx sends them: hash")
    func keyHash() {
        let group = weighted(.keyHash)
        #expect(digits((0..<40).map { pick(group, key($0)) }) == "0122122202022212202201202112120120222212")
    }

    @Test("keys go where nginx sends them: hash … consistent")
    func consistentHash() {
        let group = weighted(.consistentHash)
        #expect(digits((0..<40).map { pick(group, key($0)) }) == "1120221010201022221112221222212220220002")
    }

    @Test("clients go where nginx sends them: ip_hash")
    func addressHash() throws {
        let group = weighted(.addressHash)
        let bench = try RoutingBench("server { listen 80; }")
        let exchange = try bench.exchange("/")
        func pick(_ address: [UInt8]) -> Int? {
            bench.client.binaryAddress = address
            var key: [UInt8] = []
            group.appendKey(of: exchange, to: &key)
            return self.pick(group, key)
        }
        #expect(
            digits((1...36).map { pick([127, UInt8($0), UInt8($0 * 7), 9]) })
                == "122220112222011222011222201122220112")
        // ::1, and a client on a UNIX socket.
        #expect(pick([UInt8](repeating: 0, count: 15) + [1]) == 1)
        #expect(pick(Array("unix:".utf8)) == 1)
        // The last number of an IPv4 address makes no difference.
        #expect(Set((0...255).map { pick([127, 1, 7, $0]) }) == [1])
    }

    @Test("a key is what its template comes to, and others of the methods ask for none")
    func keys() throws {
        let bench = try RoutingBench("server { listen 80; }")
        let exchange = try bench.exchange("/")
        for kind in BalancingMethod.Kind.allCases {
            var key: [UInt8] = []
            let group = group(kind, [{ _ in }])
            group.appendKey(of: exchange, to: &key)
            switch kind {
            case .addressHash: #expect(key == Array(bench.client.binaryAddress.prefix(3)))
            case .keyHash, .consistentHash: #expect(key == Array("key".utf8))
            case .roundRobin, .leastConnections, .random, .randomOfTwo: #expect(key.isEmpty)
            }
            #expect(PeerGroup.asksForKey(group.group.method) == !key.isEmpty)
        }
    }

    @Test("weights are shares of the keys", arguments: [BalancingMethod.Kind.keyHash, .consistentHash])
    func shares(_ kind: BalancingMethod.Kind) {
        let group = weighted(kind)
        var counts = [0, 0, 0, 0]
        for number in 0..<6000 { if let peer = pick(group, key(number)) { counts[peer] += 1 } }
        for (count, share) in zip(counts, [1000, 2000, 3000]) { #expect(abs(count - share) < share / 3) }
        #expect(counts[3] == 0)
    }

    @Test("without a key, round robin chooses", arguments: hashed)
    func emptyKey(_ kind: BalancingMethod.Kind) {
        let group = group(kind, [{ _ in }, { _ in }, { _ in }])
        #expect((0..<6).map { _ in pick(group) } == [0, 1, 2, 0, 1, 2])
    }

    @Test("a request tries each peer once, in an order of its key", arguments: hashed)
    func retries(_ kind: BalancingMethod.Kind) {
        let group = group(kind, Array(repeating: { $0.maxFails = 0 }, count: 5))
        for number in 0..<50 {
            let order = tries(group, key(number))
            #expect(order.sorted() == [0, 1, 2, 3, 4])
            #expect(pick(group, key(number)) == order.first)
        }
    }

    @Test("after twenty proposals in vain round robin finds the one that is left", arguments: hashed)
    func lastResort(_ kind: BalancingMethod.Kind) {
        var servers = [(inout UpstreamServer) -> Void](repeating: { $0.isDown = true }, count: 200)
        servers[150] = { _ in }
        let group = group(kind, servers)
        for number in 0..<20 { #expect(pick(group, key(number)) == 150) }
    }

    @Test("a server that goes takes its own keys along only, with consistent")
    func consistency() {
        let all: [(inout UpstreamServer) -> Void] = Array(repeating: { _ in }, count: 5)
        var fewer = all
        fewer[2] = { $0.isDown = true }
        let before = group(.consistentHash, all)
        let after = group(.consistentHash, fewer)
        let gone = group(.consistentHash, Array(all.prefix(4)))
        for number in 0..<500 {
            let peer = pick(before, key(number))
            if peer != 2 { #expect(pick(after, key(number)) == peer) }
            if peer != 4 { #expect(pick(gone, key(number)) == peer) }
        }
    }

    @Test("a server that has failed too often gets its keys back after fail_timeout", arguments: hashed)
    func failures(_ kind: BalancingMethod.Kind) {
        let group = group(kind, Array(repeating: { $0.failTimeout = 1000 }, count: 3))
        let home = pick(group, key(1))
        #expect(pick(group, key(1), .failed) == home)
        #expect(pick(group, key(1), now: 1000) != home)
        #expect(pick(group, key(1), now: 1001) == home)
    }

    @Test("a try that does not count goes to the same server again", arguments: hashed)
    func stale(_ kind: BalancingMethod.Kind) {
        let group = group(kind, Array(repeating: { $0.maxFails = 0 }, count: 4))
        for number in 0..<20 {
            let order = tries(group, key(number))
            var selection = group.begin(maxTries: 0)
            // Round robin may have found the last ones.
            for peer in order.prefix(2) {
                for outcome in [PeerOutcome.stale, .failed] {
                    #expect(group.next(&selection, key: key(number), random: 0, now: 0) == peer)
                    group.finish(&selection, outcome, now: 0)
                }
            }
        }
    }

    @Test("a full server is passed over", arguments: others)
    func full(_ kind: BalancingMethod.Kind) {
        let group = group(kind, [{ $0.maxConnections = 1 }, { $0.maxConnections = 1 }])
        var seen: Set<Int?> = []
        for _ in 0..<3 {
            var selection = group.begin(maxTries: 0)
            seen.insert(group.next(&selection, key: key(1), random: 7, now: 0))
        }
        #expect(seen == [0, 1, nil])
    }

    @Test("addresses of one name take turns, and are one server on the ring")
    func namesOnTheRing() {
        let lines = ["a:80", "b:80"].map {
            UpstreamServer(endpoint: .host($0, port: 80), name: Array($0.utf8))
        }
        let method = BalancingMethod(.consistentHash, key: Self.template)
        let addresses = [
            [PeerAddress(.ipv4(1, port: 80)), PeerAddress(.ipv4(2, port: 80))],
            [PeerAddress(.ipv4(3, port: 80))],
        ]
        let group = PeerGroup(UpstreamGroup(name: [], servers: lines, method: method), addresses: addresses)
        for number in 0..<20 {
            let first = pick(group, key(number))
            let second = pick(group, key(number))
            #expect(first == 2 ? second == 2 : Set([first, second]) == [0, 1])
        }
    }

    @Test("backups serve when no other can, by round robin", arguments: hashed + [.random, .randomOfTwo])
    func backups(_ kind: BalancingMethod.Kind) {
        let group = group(
            kind,
            [{ $0.isDown = true }, { $0.isDown = true }, { $0.isBackup = true }, { $0.isBackup = true }])
        #expect((0..<4).map { _ in pick(group, key(1), random: 1) } == [2, 3, 2, 3])
    }

    // MARK: Loads

    @Test("the peer with the fewest under way is chosen, for its weight")
    func leastConnections() {
        let group = group(.leastConnections, [{ _ in }, { $0.weight = 3 }, { _ in }])
        let (order, requests) = hold(group, 10)
        var held = requests
        #expect(order.prefix(5).compactMap { $0 }.sorted() == [0, 1, 1, 1, 2])
        #expect(group.peers.map(\.connections) == [2, 6, 2])
        // Those of one server end, and it gets the next ones.
        for index in order.indices where order[index] == 0 {
            group.finish(&held[index], .succeeded, now: 0)
        }
        #expect(hold(group, 2).order == [0, 0])
    }

    @Test("among several with as few, round robin chooses")
    func ties() {
        let group = group(.leastConnections, [{ $0.weight = 5 }, { _ in }, { _ in }])
        #expect((0..<7).map { _ in pick(group) } == [0, 0, 1, 0, 2, 0, 0])
    }

    @Test("a tunnel counts until it ends")
    func tunnels() throws {
        let group = group(.leastConnections, [{ _ in }, { _ in }])
        let (order, held) = hold(group, 4)
        let tunnels = try held.map { try #require(PeerInUse($0)) }
        #expect(group.peers.map(\.connections) == [2, 2])
        for (peer, tunnel) in zip(order, tunnels) where peer == 0 {
            group.finish(tunnel, .succeeded, now: 0)
        }
        #expect(group.peers.map(\.connections) == [0, 2])
        #expect(hold(group, 2).order == [0, 0])
    }

    @Test("backups of least_conn are chosen by what they carry")
    func leastConnectionsOfBackups() {
        let group = group(
            .leastConnections, [{ $0.isDown = true }, { $0.isBackup = true }, { $0.isBackup = true }])
        let (order, _) = hold(group, 4)
        #expect(order == [1, 2, 2, 1])
        #expect(tries(group).sorted() == [1, 2])
    }

    @Test("random choices are shares of the weights, and other tries go to other peers")
    func random() {
        for kind in [BalancingMethod.Kind.random, .randomOfTwo] {
            let group = weighted(kind)
            var counts = [0, 0, 0, 0]
            for number in 0..<6000 {
                if let peer = pick(group, random: UInt64(number) &* 0x1234_5678_9ABC_DEF1) {
                    counts[peer] += 1
                }
            }
            #expect(counts[3] == 0 && counts[0] > 500)
            if kind == .random {
                for (count, share) in zip(counts, [1000, 2000, 3000]) {
                    #expect(abs(count - share) < share / 5)
                }
            }
            for number in 0..<50 { #expect(tries(group, random: UInt64(number)).sorted() == [0, 1, 2]) }
        }
    }

    @Test("of two random peers, the one with less under way is chosen")
    func randomOfTwo() {
        let group = group(.randomOfTwo, [{ _ in }, { _ in }])
        var held: [PeerSelection] = []
        for number in 0..<100 {
            var selection = group.begin(maxTries: 0)
            _ = group.next(&selection, key: [], random: UInt64(number), now: 0)
            held.append(selection)
        }
        // Only now and then are the same two drawn so often that round robin chooses.
        #expect(abs(group.peers[0].connections - group.peers[1].connections) <= 4)
    }

    @Test("a single peer is asked whatever its method", arguments: others)
    func single(_ kind: BalancingMethod.Kind) {
        let group = group(kind, [{ _ in }])
        for _ in 0..<3 { #expect(pick(group, key(1), .failed) == 0) }
    }

    @Test("without peers nothing is chosen", arguments: others)
    func empty(_ kind: BalancingMethod.Kind) { #expect(pick(group(kind, []), key(1)) == nil) }
}
