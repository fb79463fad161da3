import Config
import Testing

@testable import ProxyCore

@Suite("Peers that scripts take out of service")
struct PeerMarksTests {
    private static func addresses(_ hosts: [UInt32]) -> [[PeerAddress]] {
        hosts.map { [PeerAddress(.ipv4($0, port: 80))] }
    }

    private func found(_ addresses: [[PeerAddress]]) -> [[FoundPeer]] {
        addresses.map { $0.map { FoundPeer($0) } }
    }

    /// One worker's view of peers 0.0.0.1, 0.0.0.2, …, of which the configuration says `down` of the last.
    private static func group(_ marks: PeerMarks?, kind: BalancingMethod.Kind = .roundRobin) -> PeerGroup {
        let hosts: [UInt32] = [1, 2, 3]
        let lines = hosts.map { host in
            var line = UpstreamServer(endpoint: .host("0.0.0.\(host)", port: 80))
            line.isDown = host == 3
            return line
        }
        return PeerGroup(
            UpstreamGroup(
                name: Array("g".utf8), servers: lines,
                method: BalancingMethod(kind, key: Template(literal: Array("key".utf8)))),
            addresses: addresses(hosts), marks: marks)
    }

    private static func name(_ host: Int) -> [UInt8] { Array("0.0.0.\(host):80".utf8) }

    /// The positions of the peers that get requests.
    private static func chosen(by group: PeerGroup) -> Set<Int> {
        var found: Set<Int> = []
        for number in 0..<12 {
            var selection = group.begin(maxTries: 0)
            guard let index = group.next(&selection, key: [UInt8(number)], random: UInt64(number), now: 0)
            else { continue }
            found.insert(index)
            group.finish(&selection, .succeeded, now: 0)
        }
        return found
    }

    @Test(
        "all workers go by what a script says, and by the configuration where it says nothing",
        arguments: [BalancingMethod.Kind.roundRobin, .keyHash, .consistentHash, .leastConnections, .random])
    func allWorkers(kind: BalancingMethod.Kind) {
        let marks = PeerMarks()
        let (here, there) = (Self.group(marks, kind: kind), Self.group(marks, kind: kind))
        #expect(Self.chosen(by: there) == [0, 1])
        #expect(here.mark(Self.name(1), isDown: true) == .down)
        #expect(here.mark(Self.name(1), isDown: true) == .nothing)
        #expect(Self.chosen(by: here) == [1] && Self.chosen(by: there) == [1])
        #expect(here.mark(Self.name(3), isDown: false) == .up)
        #expect(Self.chosen(by: there) == [1, 2])
        #expect(there.mark(Self.name(3), isDown: nil) == .down)
        #expect(there.mark(Self.name(1), isDown: nil) == .up)
        #expect(Self.chosen(by: here) == [0, 1])
    }

    @Test("a request has as many tries as peers are in service, and none where none is")
    func tries() {
        let group = Self.group(PeerMarks())
        #expect(group.begin(maxTries: 0).tries == 2)
        _ = group.mark(Self.name(1), isDown: true)
        #expect(group.begin(maxTries: 0).tries == 1)
        _ = group.mark(Self.name(2), isDown: true)
        var selection = group.begin(maxTries: 0)
        #expect(group.next(&selection, now: 0) == nil)
    }

    @Test("only peers that are there can be marked, and only for scripts")
    func unknownPeers() {
        #expect(Self.group(PeerMarks()).mark(Self.name(9), isDown: true) == nil)
        #expect(Self.group(nil).mark(Self.name(1), isDown: true) == nil)
    }

    @Test("another configuration begins with what was said, and an address that comes back does not")
    func laterGroups() {
        let table = PeerMarkTable()
        let name = Array("g".utf8)
        _ = Self.group(table.marks(ofUpstream: name)).mark(Self.name(1), isDown: true)
        let later = Self.group(table.marks(ofUpstream: name))
        #expect(later.peers.map(\.isDown) == [true, false, true])
        later.update(found(Self.addresses([4, 2, 3])))
        #expect(later.peers.map(\.isDown) == [false, false, true])
        later.update(found(Self.addresses([1, 2, 3])))
        #expect(later.peers.map(\.isDown) == [false, false, true])
        // A worker that has yet to hear of an address does not know that it has gone.
        let other = Self.group(table.marks(ofUpstream: name))
        other.update(found([[], [], []]))
        _ = later.mark(Self.name(2), isDown: true)
        other.update(found(Self.addresses([3])))
        other.update(found(Self.addresses([3, 2])))
        #expect(other.peers.map(\.isDown) == [false, true])
        later.update(found(Self.addresses([1, 3])))
        other.followMarks()
        #expect(other.peers.map(\.isDown) == [false, false])
        _ = later.mark(Self.name(1), isDown: true)
        table.keep(only: [])
        #expect(Self.group(table.marks(ofUpstream: name)).peers.map(\.isDown) == [false, false, true])
    }
}
