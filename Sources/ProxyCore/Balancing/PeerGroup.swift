package import Config

/// The peers of one upstream group as one worker sees them, and what became of the tries at them.
///
/// Every worker has its own, as in nginx without `zone`, so nothing here is locked. The choice among the
/// peers is the method's (`RoundRobin`, or a row of `Balancer.table`); the accounting of failures is the same for
/// every method.
///
/// Where names are followed, `update` has other peers take the place of these. Whatever uses one goes on with it, and its
/// end is counted where the peer is then: in `peers`, perhaps at another position, or in `departed`.
package final class PeerGroup {
    package let group: UpstreamGroup
    package private(set) var peers: [Peer] = []
    /// Positions in `peers`: ordinary ones come first, then backups.
    package private(set) var primaries = 0..<0
    package private(set) var backups = 0..<0
    /// Those that have gone while they were in use, until they no longer are: their addresses may come back before.
    private var departed: [Peer] = []
    /// How often the peers have changed. Positions in `peers` are those of one version.
    package private(set) var version: UInt32 = 0
    private var nextID: UInt32 = 0
    /// There is nothing to choose, so failures do not count against the peer.
    package var isSingle: Bool { peers.count == 1 }
    /// `nil` for round robin, which is chosen by without a call through a table.
    private let balancer: Balancer?
    private var ring: HashRing?
    /// What scripts say of the peers; `nil` where there are none.
    private let marks: PeerMarks?
    private var marksVersion = 0
    private var primaryWeight = 0
    private var backupWeight = 0
    package var isRoundRobin: Bool { balancer == nil }
    package let drawsRandomNumbers: Bool

    /// `addresses` holds what each of the group's servers resolved to, in their order. A server without addresses
    /// contributes no peer. `ring` is the group's, which is made here when there is none yet.
    package init(
        _ group: UpstreamGroup, addresses: [[PeerAddress]], ring: HashRing? = nil, marks: PeerMarks? = nil
    ) {
        self.group = group
        self.marks = marks
        balancer = Balancer.row(of: group.method.kind)
        self.ring = ring ?? HashRing(group, addresses: addresses)
        drawsRandomNumbers = balancer?.input == .random
        arrange(addresses.map { $0.map { FoundPeer($0) } })
    }

    /// Has the group go on with other addresses, those of each line. Peers whose line and address are the same keep their
    /// failures, weights and counts.
    package func update(_ found: [[FoundPeer]]) {
        version &+= 1
        if group.servers.contains(where: { $0.service != nil }) {
            ring = HashRing(group, found)
        } else {
            ring?.place(group, found)
        }
        let former = peers
        arrange(found)
        // One whose address comes back is another server. Of those that this worker has yet to hear of, others may know.
        if let marks {
            marks.forget(Set(former.map(\.address.endpoint)).subtracting(peers.map(\.address.endpoint)))
        }
    }

    /// Says that a peer is out of service, or is not, on all workers.
    ///
    /// - Parameters:
    ///   - name: the peer's address, as nginx prints it.
    ///   - isDown: `nil` has the configuration decide again.
    /// - Returns: what that makes of the peer; `nil` where there is none of this name.
    package func mark(_ name: [UInt8], isDown: Bool?) -> Change? {
        guard let marks, let index = peers.firstIndex(where: { $0.address.text == name }) else { return nil }
        followMarks()
        let wasDown = peers[index].isDown
        marks.set(peers[index].address.endpoint, isDown: isDown)
        followMarks()
        let isDown = peers[index].isDown
        return isDown == wasDown ? .nothing : isDown ? .down : .up
    }

    package enum Change { case nothing, down, up }

    /// Has what scripts said meanwhile take effect.
    package func followMarks() {
        guard let marks, marks.version != marksVersion else { return }
        marksVersion = marks.version
        let downByPeer = marks.downByPeer
        for index in peers.indices { peers[index].take(downByPeer[peers[index].address.endpoint]) }
    }

    private func arrange(_ found: [[FoundPeer]]) {
        var former: [PeerKey: [Peer]] = [:]
        // From the back: one that has gone comes back only where no other has its address.
        for peer in departed { former[peer.key, default: []].append(peer) }
        for peer in peers.reversed() { former[peer.key, default: []].append(peer) }
        var primary: [Peer] = []
        var backup: [Peer] = []
        func peer(_ found: FoundPeer, _ line: Int) -> Peer {
            let key = PeerKey(line: Int32(line), endpoint: found.address.endpoint)
            let server = group.servers[line]
            var peer = former[key]?.popLast() ?? newPeer(found.address, server, line)
            peer.take(weight: found.weight(of: server))
            return peer
        }
        for (line, found) in found.enumerated() {
            let tiers = FoundPeer.tiers(found, of: group.servers[line])
            for found in tiers.primary { primary.append(peer(found, line)) }
            for found in tiers.backup { backup.append(peer(found, line)) }
        }
        departed = former.values.joined().filter { $0.connections > 0 }
        peers = primary + backup
        primaries = 0..<primary.count
        backups = primary.count..<primary.count + backup.count
        primaryWeight = primary.reduce(0) { $0 + $1.weight }
        backupWeight = backup.reduce(0) { $0 + $1.weight }
        marksVersion = 0
        followMarks()
    }

    private func newPeer(_ address: PeerAddress, _ server: UpstreamServer, _ line: Int) -> Peer {
        defer { nextID &+= 1 }
        return Peer(address: address, server: server, line: Int32(line), id: nextID)
    }

    /// Exchanges and tunnels that use peers which have gone.
    package var departedConnections: Int { departed.reduce(0) { $0 + $1.connections } }

    /// The line of the configuration that a peer is of.
    package func server(of peer: Peer) -> UpstreamServer { group.servers[Int(peer.line)] }

    package func has(_ address: PeerAddress) -> Bool {
        peers.contains { $0.address.endpoint == address.endpoint }
    }

    /// For a host that a `proxy_pass` with variables names: a group of its addresses, made for one exchange.
    package convenience init(host: [UInt8], addresses: [PeerAddress]) {
        let placeholder = UpstreamServer(endpoint: .host(String(decoding: host, as: UTF8.self), port: 0))
        self.init(
            UpstreamGroup(name: host, servers: [placeholder], isImplicit: true), addresses: [addresses])
    }

    /// The opening of one request's series of tries, with as many of them as there are peers in service, though
    /// not more than `proxy_next_upstream_tries`, `maxTries`, which without a limit is 0.
    package func begin(maxTries: Int) -> PeerSelection {
        followMarks()
        var tries = 0
        for peer in peers where !peer.isDown { tries += 1 }
        return PeerSelection(
            tries: maxTries > 0 ? min(tries, maxTries) : tries, peerCount: peers.count, version: version)
    }

    /// Whether groups of this method choose by something of the request, which `appendKey` tells.
    package static func asksForKey(_ method: BalancingMethod) -> Bool {
        Balancer.row(of: method.kind)?.input.isKey ?? false
    }

    /// Appends what the group's method chooses by of the request; nothing for the other methods.
    package func appendKey(of exchange: Exchange, to key: inout [UInt8]) {
        switch balancer?.input {
        case .clientAddress: AddressHash.appendKey(ofAddress: exchange.client.binaryAddress, to: &key)
        case .key: if let template = group.method.key { exchange.render(template, into: &key) }
        case .nothing, .random, nil: break
        }
    }

    /// The next peer to try, as a position in `peers`; it counts as in use until `finish` is called. `nil` when no peer is
    /// live that has not been tried. `now` is in monotonic milliseconds.
    ///
    /// `key` is what `appendKey` gave; where it is empty, round robin takes the place of a method that asks for one.
    /// `random` is a number that nobody can foresee, where `drawsRandomNumbers` is set.
    package func next(
        _ selection: inout PeerSelection, key: [UInt8] = [], random: UInt64 = 0, now: Int64
    ) -> Int? {
        if selection.version != version { follow(&selection) }
        if !selection.usesBackups {
            if let chosen = choose(in: primaries, &selection, key: key, random: random, now: now) {
                return chosen
            }
            guard !backups.isEmpty else { return nil }
            selection.usesBackups = true
        }
        return choose(in: backups, &selection, key: key, random: random, now: now)
    }

    private func choose(
        in tier: Range<Int>, _ selection: inout PeerSelection, key: [UInt8], random: UInt64, now: Int64
    ) -> Int? {
        let chosen: Int?
        if isSingle {
            chosen = tier.first { !peers[$0].isDown && !peers[$0].isFull }
        } else {
            chosen =
                propose(in: tier, &selection, key: key, random: random, now: now)
                ?? RoundRobin.choose(in: tier, of: &peers, tried: selection.tried, now: now)
        }
        guard let chosen else { return nil }
        selection.tried.insert(chosen)
        selection.current = chosen
        selection.id = peers[chosen].id
        peers[chosen].connections += 1
        return chosen
    }

    /// The peers have changed since `selection` was made: whatever is there now may be tried, but for the one tried last.
    private func follow(_ selection: inout PeerSelection) {
        let position = position(of: selection.id)
        selection.version = version
        selection.usesBackups = false
        selection.tried = PeerSet(count: peers.count)
        if let position { selection.tried.insert(position) }
        selection.current = selection.current == nil ? nil : position
    }

    private func position(of id: UInt32) -> Int? {
        let guess = Int(id)
        if guess < peers.count, peers[guess].id == id { return guess }
        return peers.firstIndex { $0.id == id }
    }

    /// Where the selection's peer in use is reached; `nil` without one, or where it has gone meanwhile.
    package func address(of selection: PeerSelection) -> PeerAddress? {
        guard let current = selection.current else { return nil }
        if selection.version == version { return peers[current].address }
        return position(of: selection.id).map { peers[$0].address }
    }

    /// What the group's method makes of it; `nil` where round robin is to choose.
    private func propose(
        in tier: Range<Int>, _ selection: inout PeerSelection, key: [UInt8], random: UInt64, now: Int64
    ) -> Int? {
        guard let balancer, balancer.servesBackups || !selection.usesBackups else { return nil }
        if tier.isEmpty || selection.progress.misses > Balancer.maxMisses { return nil }
        if balancer.input.isKey, key.isEmpty { return nil }
        selection.progressBefore = selection.progress
        let request = Balancer.Request(
            tier: tier, totalWeight: selection.usesBackups ? backupWeight : primaryWeight, key: key,
            random: random, ring: ring, now: now)
        return balancer.choose(&peers, &selection, request)
    }

    /// Records how the try at the selection's current peer ended. Without a current peer nothing happens.
    ///
    /// - Returns: whether the failure puts the peer aside for its `fail_timeout`, or leaves it there, which is worth a
    ///   line in the log; only after `.failed`.
    @discardableResult
    package func finish(_ selection: inout PeerSelection, _ outcome: PeerOutcome, now: Int64) -> Bool {
        guard selection.current != nil else { return false }
        if selection.version != version { follow(&selection) }
        let index = selection.current
        selection.current = nil
        if let index { peers[index].connections -= 1 } else { leaveDeparted(selection.id) }
        if outcome == .stale {
            // It may be asked again: on its part nothing has been tried.
            if let index { selection.tried.remove(index) }
            selection.progress = selection.progressBefore
            return false
        }
        if isSingle {
            selection.tries = 0
            return false
        }
        if selection.tries > 0 { selection.tries -= 1 }
        guard let index else { return false }
        return peers[index].record(outcome, now: now)
    }

    private func leaveDeparted(_ id: UInt32) {
        guard let index = departed.firstIndex(where: { $0.id == id }) else { return }
        departed[index].connections -= 1
        if departed[index].connections == 0 { departed.remove(at: index) }
    }
}

extension PeerGroup {
    /// As `finish`, for a peer that is used without further tries.
    package func finish(_ use: PeerInUse, _ outcome: PeerOutcome, now: Int64) {
        guard let index = position(of: use.id) else { return leaveDeparted(use.id) }
        peers[index].connections -= 1
        if !isSingle { _ = peers[index].record(outcome, now: now) }
    }
}

/// How a try at a peer ended, as far as its health is concerned.
package enum PeerOutcome: Sendable {
    case succeeded
    /// It answered, though not in the way that was wanted (403, 404): the next one is tried, nothing is held
    /// against it.
    case passedOver
    /// The peer had closed the pooled connection before it was used again, or refused the stream: the try does not count,
    /// and the peer may be chosen again. Whoever repeats it sees to an end of that: of pooled connections there are only
    /// so many, streams are counted.
    case stale
    case failed
}

/// What a peer is known by when a group's addresses change.
private struct PeerKey: Hashable {
    let line: Int32
    let endpoint: PeerAddress.Endpoint
}

/// One address of one `server` line.
package struct Peer: Sendable {
    package let address: PeerAddress
    /// The line's position in the group.
    fileprivate let line: Int32
    /// Of this one among all that the group has ever had. Most of those from the start have their position for it.
    fileprivate let id: UInt32
    package private(set) var weight: Int
    package let maxFails: Int
    /// Milliseconds.
    package let failTimeout: Int64
    package let maxConnections: Int
    /// Out of service, as the configuration says or else a script.
    package private(set) var isDown: Bool
    private let isDownAtFirst: Bool
    /// Exchanges that use the peer now.
    package internal(set) var connections = 0
    package internal(set) var fails = 0

    /// Sinks below `weight` when the peer fails and recovers by one at each choice.
    var effectiveWeight: Int
    var currentWeight = 0
    /// Monotonic milliseconds; far in the past until something happens.
    private var accessedAt: Int64 = Self.never
    private var checkedAt: Int64 = Self.never
    private static let never = Int64.min / 2

    init(address: PeerAddress, server: UpstreamServer, line: Int32, id: UInt32) {
        self.address = address
        self.line = line
        self.id = id
        weight = Self.clamped(server.weight)
        maxFails = max(server.maxFails, 0)
        failTimeout = Int64(max(server.failTimeout, 0))
        maxConnections = max(server.maxConnections, 0)
        isDown = server.isDown
        isDownAtFirst = server.isDown
        effectiveWeight = weight
    }

    /// The sum over a group must not overflow, however large a weight the configuration gives.
    private static func clamped(_ weight: Int) -> Int { min(max(weight, 1), 1 << 32) }

    /// Another weight is taken up as a new peer's: what the former one came to says nothing of it.
    fileprivate mutating func take(weight new: Int) {
        let new = Self.clamped(new)
        guard new != weight else { return }
        weight = new
        effectiveWeight = new
        currentWeight = 0
    }

    fileprivate var key: PeerKey { PeerKey(line: line, endpoint: address.endpoint) }

    /// - Parameter mark: whether it is down, as a script says; `nil` where none says anything.
    fileprivate mutating func take(_ mark: Bool?) { isDown = mark ?? isDownAtFirst }

    var isFull: Bool { maxConnections > 0 && connections >= maxConnections }

    func isLive(now: Int64) -> Bool {
        if isDown || isFull { return false }
        return maxFails == 0 || fails < maxFails || now - checkedAt > failTimeout
    }

    /// After `fail_timeout` one request at a time finds out whether the peer is back.
    mutating func chosen(now: Int64) {
        if now - checkedAt > failTimeout { checkedAt = now }
    }

    /// Takes part in a choice by round robin.
    ///
    /// - Returns: the weight with which it does.
    mutating func moveWeightOn() -> Int {
        let share = effectiveWeight
        currentWeight += share
        if share < weight { effectiveWeight += 1 }
        return share
    }

    mutating func record(_ outcome: PeerOutcome, now: Int64) -> Bool {
        guard outcome == .failed else {
            // The try that found out: the peer answers again.
            if accessedAt < checkedAt { fails = 0 }
            return false
        }
        fails += 1
        accessedAt = now
        checkedAt = now
        guard maxFails > 0 else { return false }
        effectiveWeight = max(effectiveWeight - weight / maxFails, 0)
        return fails >= maxFails
    }
}

/// The peers that one request has tried, and how many tries it has left.
package struct PeerSelection: Sendable {
    /// Tries left, the current one included. A retry needs more than 1 while a try runs, more than 0 after it.
    package var tries: Int
    /// The position in `PeerGroup.peers`, of the selection's version, of the peer in use.
    package fileprivate(set) var current: Int?
    /// Of the peer that was chosen last.
    fileprivate var id = UInt32.max
    /// Of the group, when positions were last brought up to it.
    fileprivate var version: UInt32
    fileprivate var usesBackups = false
    fileprivate(set) var tried: PeerSet
    var progress = BalancerProgress()
    /// Before the peer in use was chosen: a try that does not count leaves nothing behind.
    fileprivate var progressBefore = BalancerProgress()

    package init(tries: Int, peerCount: Int, version: UInt32 = 0) {
        self.tries = tries
        self.version = version
        tried = PeerSet(count: peerCount)
    }
}

/// A peer in use when there will be no other try. A tunnel has one for as long as it lives.
package struct PeerInUse: Sendable {
    fileprivate let id: UInt32

    /// Takes over what `selection` has in use.
    package init?(_ selection: consuming PeerSelection) {
        guard selection.current != nil else { return nil }
        id = selection.id
    }
}

/// A set of peers by position; up to 64 of them take no allocation.
struct PeerSet: Sendable {
    private var low: UInt64 = 0
    private var high: [UInt64]

    init(count: Int) { high = count > 64 ? [UInt64](repeating: 0, count: (count - 1) / 64) : [] }

    func contains(_ index: Int) -> Bool {
        index < 64 ? low >> index & 1 == 1 : high[index / 64 - 1] >> (index % 64) & 1 == 1
    }

    mutating func insert(_ index: Int) {
        if index < 64 { low |= 1 << index } else { high[index / 64 - 1] |= 1 << (index % 64) }
    }

    mutating func remove(_ index: Int) {
        if index < 64 { low &= ~(1 << index) } else { high[index / 64 - 1] &= ~(1 << (index % 64)) }
    }
}
