internal import Config

/// A row of the table of balancing methods: how one of them chooses.
///
/// A method proposes peers of the group's ordinary ones; where it has none to propose, round robin chooses, from
/// which the methods differ in nothing else: weights, failures and limits are accounted for in `PeerGroup`.
struct Balancer: Sendable {
    /// What a choice goes by, besides the peers.
    struct Request {
        let tier: Range<Int>
        /// Of all peers of the tier.
        let totalWeight: Int
        /// Bytes of the request's own: of its client's address, or of a key. Never empty for a method that asks for one.
        let key: [UInt8]
        /// Where the random numbers of one choice begin.
        let random: UInt64
        let ring: HashRing?
        /// Monotonic milliseconds.
        let now: Int64
    }

    /// What a method asks of a request.
    enum Input: Sendable {
        case nothing, clientAddress, key, random

        /// It asks for something of the request's own, which `PeerGroup.appendKey` tells.
        var isKey: Bool { self == .clientAddress || self == .key }
    }

    typealias Choose = @Sendable (inout [Peer], inout PeerSelection, Request) -> Int?

    let kind: BalancingMethod.Kind
    let input: Input
    /// Whether it chooses among backups as well; else round robin does.
    let servesBackups: Bool
    /// The peer to try, its weights moved on; `nil` when round robin is to choose.
    let choose: Choose

    /// Proposals that come to nothing before round robin chooses: as in nginx, of all tries of one request.
    static let maxMisses = 20

    /// `nil` for round robin, which is not looked up.
    static func row(of kind: BalancingMethod.Kind) -> Balancer? { table.first { $0.kind == kind } }

    static let table: [Balancer] = [
        Balancer(
            kind: .leastConnections, input: .nothing, servesBackups: true, choose: LeastConnections.choose),
        Balancer(
            kind: .addressHash, input: .clientAddress, servesBackups: false, choose: AddressHash.choose),
        Balancer(kind: .keyHash, input: .key, servesBackups: false, choose: KeyHash.choose),
        Balancer(kind: .consistentHash, input: .key, servesBackups: false, choose: HashRing.choose),
        Balancer(kind: .random, input: .random, servesBackups: false, choose: RandomPeer.choose),
        Balancer(kind: .randomOfTwo, input: .random, servesBackups: false, choose: RandomPeer.chooseOfTwo),
    ]
}

/// How far the method of a group has come with one request.
struct BalancerProgress: Sendable {
    var hash: UInt32 = 0
    /// Hashes that were made.
    var rounds: UInt32 = 0
    /// Proposals that came to nothing.
    var misses: UInt8 = 0

    /// Counts a proposal that came to nothing.
    ///
    /// - Returns: whether there may be another.
    mutating func miss() -> Bool {
        misses += 1
        return misses <= Balancer.maxMisses
    }
}

extension [Peer] {
    /// The peer of `tier` at which the weights of those before it, and its own, come to more than `point`.
    func position(in tier: Range<Int>, at point: Int) -> Int {
        var rest = point
        var index = tier.lowerBound
        while rest >= self[index].weight {
            rest -= self[index].weight
            index += 1
        }
        return index
    }
}
