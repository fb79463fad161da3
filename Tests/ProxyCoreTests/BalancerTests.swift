import Config
import ProxyCore
import Testing

@Suite("Balancing")
struct BalancerTests {
    /// A group whose servers have one address each, `.1`, `.2`, …
    private func group(_ servers: [(inout UpstreamServer) -> Void]) -> PeerGroup {
        var lines: [UpstreamServer] = []
        for change in servers {
            var line = UpstreamServer(endpoint: .host("name", port: 80))
            change(&line)
            lines.append(line)
        }
        let addresses = lines.indices.map { [PeerAddress(.ipv4(0x0A00_0001 + UInt32($0), port: 80))] }
        return PeerGroup(UpstreamGroup(name: Array("g".utf8), servers: lines), addresses: addresses)
    }

    /// The peer that a request of its own gets, which succeeds.
    private func pick(_ group: PeerGroup, now: Int64 = 0, _ outcome: PeerOutcome = .succeeded) -> Int? {
        var selection = group.begin(maxTries: 0)
        let peer = group.next(&selection, now: now)
        group.finish(&selection, outcome, now: now)
        return peer
    }

    private func picks(_ group: PeerGroup, _ count: Int, now: Int64 = 0) -> [Int?] {
        (0..<count).map { _ in pick(group, now: now) }
    }

    @Test("weights 5, 1, 1 are spread as a a b a c a a")
    func smoothWeights() {
        let group = group([{ $0.weight = 5 }, { _ in }, { _ in }])
        #expect(picks(group, 14) == [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0])
    }

    @Test("equal weights take turns")
    func turns() { #expect(picks(group([{ _ in }, { _ in }, { _ in }]), 6) == [0, 1, 2, 0, 1, 2]) }

    @Test("a server with several addresses counts once for each")
    func severalAddresses() {
        let lines = [
            UpstreamServer(endpoint: .host("a", port: 80)), UpstreamServer(endpoint: .host("b", port: 80)),
        ]
        let addresses = [
            [PeerAddress(.ipv4(1, port: 80)), PeerAddress(.ipv4(2, port: 80))],
            [PeerAddress(.unix(path: [47]))],
        ]
        let group = PeerGroup(UpstreamGroup(name: [], servers: lines), addresses: addresses)
        #expect(group.peers.map(\.address.text.text) == ["0.0.0.1:80", "0.0.0.2:80", "unix:/"])
        #expect(picks(group, 3) == [0, 1, 2])
    }

    @Test("a retry goes on with the peers that were not tried")
    func retry() {
        let group = group([{ _ in }, { _ in }, { _ in }])
        var selection = group.begin(maxTries: 0)
        #expect(selection.tries == 3)
        var tried: [Int?] = []
        for left in [2, 1, 0] {
            tried.append(group.next(&selection, now: 0))
            group.finish(&selection, .failed, now: 0)
            #expect(selection.tries == left)
        }
        #expect(tried == [0, 1, 2])
        #expect(group.next(&selection, now: 0) == nil)
    }

    @Test(
        "tries are limited to peers in service and to proxy_next_upstream_tries",
        arguments: [(0, 2), (1, 1), (9, 2)])
    func tries(_ limit: Int, _ tries: Int) {
        let group = group([{ _ in }, { $0.isDown = true }, { $0.isBackup = true }])
        #expect(group.begin(maxTries: limit).tries == tries)
    }

    @Test("a failed peer is left alone for fail_timeout, then probed by one request")
    func failTimeout() {
        let group = group([{ $0.failTimeout = 1000 }, { _ in }])
        #expect(pick(group, now: 0, .failed) == 0)
        #expect(picks(group, 3, now: 1000) == [1, 1, 1])
        // At 1001 the time is over. The probe fails, so that another second begins.
        var probe = group.begin(maxTries: 0)
        var seen: [Int?] = []
        while probe.current == nil {
            let peer = group.next(&probe, now: 1001)
            seen.append(peer)
            if peer == 0 { break }
            group.finish(&probe, .succeeded, now: 1001)
            probe = group.begin(maxTries: 0)
        }
        #expect(seen.last == 0)
        // While it is under way nobody else is sent there.
        #expect(picks(group, 3, now: 1002) == [1, 1, 1])
        group.finish(&probe, .failed, now: 1003)
        #expect(picks(group, 3, now: 2003) == [1, 1, 1])
        #expect(picks(group, 4, now: 2004).contains(0))
        #expect(group.peers[0].fails == 0)
    }

    @Test("max_fails counts failures, 0 counts none")
    func maxFails() {
        let patient = group([{ $0.maxFails = 2 }, { $0.isDown = true }])
        #expect(pick(patient, .failed) == 0)
        #expect(pick(patient, .failed) == 0)
        #expect(pick(patient) == nil)
        let endless = group([{ $0.maxFails = 0 }, { $0.isDown = true }])
        for _ in 0..<5 { #expect(pick(endless, .failed) == 0) }
    }

    @Test("the failure that puts a peer aside is told, and each that leaves it there")
    func putAside() {
        let group = group([{ $0.maxFails = 2 }, { _ in }])
        func fail(now: Int64) -> Bool? {
            var selection = group.begin(maxTries: 0)
            while group.next(&selection, now: now) == 1 { group.finish(&selection, .passedOver, now: now) }
            guard selection.current == 0 else { return nil }
            return group.finish(&selection, .failed, now: now)
        }
        #expect([fail(now: 0), fail(now: 0), fail(now: 0)] == [false, true, nil])
        // The one request that finds out whether the peer is back.
        #expect([fail(now: 20_000), fail(now: 20_000)] == [true, nil])
    }

    @Test("a single peer is never put aside, and is tried once")
    func single() {
        let group = group([{ _ in }])
        for _ in 0..<3 {
            var selection = group.begin(maxTries: 0)
            #expect(group.next(&selection, now: 0) == 0)
            #expect(!group.finish(&selection, .failed, now: 0))
            #expect(selection.tries == 0)
        }
    }

    @Test("backups serve when no ordinary peer does")
    func backups() {
        let group = group([{ _ in }, { $0.isBackup = true }, { _ in }, { $0.isBackup = true }])
        #expect(picks(group, 4) == [0, 1, 0, 1])
        #expect(group.peers[2].address.text.text == "10.0.0.2:80")
        var selection = group.begin(maxTries: 0)
        var order: [Int?] = []
        for _ in 0..<5 {
            order.append(group.next(&selection, now: 0))
            group.finish(&selection, .failed, now: 0)
        }
        #expect(order == [0, 1, 2, 3, nil])
        // Both ordinary ones are put aside now.
        #expect(pick(group, now: 1) == nil)
    }

    @Test("down and full peers are passed over")
    func downAndFull() {
        let group = group([{ $0.isDown = true }, { $0.maxConnections = 1 }])
        var first = group.begin(maxTries: 0)
        #expect(group.next(&first, now: 0) == 1)
        #expect(group.peers[1].connections == 1)
        var second = group.begin(maxTries: 0)
        #expect(group.next(&second, now: 0) == nil)
        group.finish(&second, .failed, now: 0)
        #expect(group.peers[1].connections == 1)
        group.finish(&first, .succeeded, now: 0)
        #expect(group.peers[1].connections == 0)
        #expect(pick(group) == 1)
    }

    @Test("a pooled connection that went stale costs neither a try nor the peer's health")
    func stale() {
        for group in [group([{ _ in }]), group([{ _ in }, { _ in }])] {
            var selection = group.begin(maxTries: 0)
            let tries = selection.tries
            #expect(group.next(&selection, now: 0) == 0)
            group.finish(&selection, .stale, now: 0)
            #expect(selection.tries == tries)
            #expect(group.peers[0].fails == 0)
            #expect(group.next(&selection, now: 0) == (group.isSingle ? 0 : 1))
        }
    }

    @Test("peers that all refused once are asked again")
    func staleAll() {
        for count in [2, 3, 70] {
            let group = group(Array(repeating: { _ in }, count: count))
            var selection = group.begin(maxTries: 0)
            var asked: Set<Int?> = []
            for _ in 0..<count {
                asked.insert(group.next(&selection, now: 0))
                group.finish(&selection, .stale, now: 0)
            }
            #expect(asked == Set(0..<count))
            #expect(group.next(&selection, now: 0) != nil)
            group.finish(&selection, .failed, now: 0)
            #expect(selection.tries == count - 1)
        }
    }

    @Test("a failing peer's weight sinks and recovers")
    func effectiveWeight() {
        let group = group([
            {
                $0.weight = 4
                $0.maxFails = 4
            }, { $0.weight = 4 },
        ])
        #expect(pick(group, .failed) == 0)
        // 3 against 4 at first, which brings one more choice of the other; then the two take turns again.
        #expect(picks(group, 5) == [1, 1, 0, 1, 0])
        for _ in 0..<3 {
            var selection = group.begin(maxTries: 0)
            while group.next(&selection, now: 0) == 1 { group.finish(&selection, .passedOver, now: 0) }
            group.finish(&selection, .failed, now: 0)
        }
        #expect(group.peers[0].fails == 4)
        #expect(picks(group, 3) == [1, 1, 1])
    }

    @Test("weights of any size do not overflow")
    func hugeWeights() {
        let group = group([{ $0.weight = .max }, { $0.weight = .max }, { $0.weight = -1 }])
        #expect(picks(group, 4).allSatisfy { $0 != nil })
    }

    @Test("more than 64 peers are each tried once")
    func manyPeers() {
        let group = group([(inout UpstreamServer) -> Void](repeating: { _ in }, count: 130))
        var selection = group.begin(maxTries: 0)
        var seen: Set<Int> = []
        while let peer = group.next(&selection, now: 0) {
            #expect(seen.insert(peer).inserted)
            group.finish(&selection, .failed, now: 0)
        }
        #expect(seen.count == 130)
    }

    @Test("without peers nothing is chosen")
    func empty() { #expect(pick(PeerGroup(UpstreamGroup(name: [], servers: []), addresses: [])) == nil) }
}

@Suite("Addresses of peers")
struct PeerAddressTests {
    @Test(
        "numeric addresses are read and printed as nginx prints them",
        arguments: [
            ("127.0.0.1", "127.0.0.1:80"), ("0.0.0.0", "0.0.0.0:80"),
            ("255.255.255.255", "255.255.255.255:80"),
            ("::", "[::]:80"), ("::1", "[::1]:80"), ("[::1]", "[::1]:80"), ("1::", "[1::]:80"),
            ("2001:DB8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:80"), ("1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:80"),
            ("1:0:3:4:5:6:7:8", "[1:0:3:4:5:6:7:8]:80"), ("::ffff:1.2.3.4", "[::ffff:102:304]:80"),
            ("1:2:3:4:5:6:1.2.3.4", "[1:2:3:4:5:6:102:304]:80"),
        ])
    func valid(_ text: String, _ printed: String) {
        #expect(PeerAddress(numericHost: Array(text.utf8), port: 80)?.text.text == printed)
    }

    @Test(
        "other text is no address",
        arguments: [
            "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1..2.3", "1.2.3.4 ", "a.b.c.d",
            "localhost", ":",
            ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7:1.2.3.4",
            "[::1",
            "::1]", "1:", ":1", "[]", "::1.2.3", "1:2:3:4:5:6:7:8::", "::1%lo",
        ])
    func invalid(_ text: String) {
        #expect(PeerAddress(numericHost: Array(text.utf8), port: 80) == nil)
    }
}
