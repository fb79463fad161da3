package import Config

/// `hash key consistent`: a ring of 160 points for each unit of weight, compatible with Cache::Memcached::Fast. A key
/// belongs to the server of the point that comes next, so that with a server only its own keys come and go.
package struct HashRing: Sendable {
    /// In ascending order, none of them twice.
    private let points: [UInt32]
    /// For each point, the position of its server among the servers of different names.
    private let owners: [UInt32]
    /// For each of the group's lines, the position of its server; what it says for backups counts for nothing.
    private let serversOfLines: [UInt32]
    /// Positions of servers.
    private let serverCount: Int
    /// For each of the group's ordinary peers, the position of its server.
    private var servers: [UInt32] = []
    /// For each position, whether the server has an address; empty where all have.
    private var isServed: [Bool] = []

    /// `addresses` are as for `PeerGroup`.
    package init?(_ group: UpstreamGroup, addresses: [[PeerAddress]]) {
        self.init(group, addresses.map { $0.map { FoundPeer($0) } })
    }

    /// `nil` for a group of another method. `found` is what each line stands for.
    ///
    /// Servers whose addresses are followed are on the ring from the start, since it takes long to make one of great weights,
    /// and are passed over while they have no address. So their keys go where they would go without them. Those of a service
    /// are not known before, and a ring is made each time that they change.
    init?(_ group: UpstreamGroup, _ found: [[FoundPeer]]) {
        guard group.method.kind == .consistentHash else { return nil }
        // Servers are told apart by how they are written, and stand on the ring once however many addresses they have.
        var positions: [[UInt8]: Int] = [:]
        var names: [(name: [UInt8], weight: Int)] = []
        func position(of name: [UInt8], weight: Int) -> UInt32 {
            let position = positions[name, default: names.count]
            if position == names.count {
                positions[name] = position
                names.append((name, weight))
            } else {
                names[position].weight = max(names[position].weight, weight)
            }
            return UInt32(position)
        }
        var lines: [UInt32] = []
        var hasServices = false
        for (server, found) in zip(group.servers, found) {
            if server.service != nil {
                hasServices = true
                for one in FoundPeer.tiers(found, of: server).primary {
                    if let name = one.record?.name { _ = position(of: name, weight: one.weight(of: server)) }
                }
                lines.append(0)
            } else if server.isBackup || (found.isEmpty && !server.isFollowed) {
                lines.append(0)
            } else {
                lines.append(position(of: server.name, weight: server.weight))
            }
        }
        if hasServices { Self.lessen(&names) }
        // A point and its owner as one number, which sorts by the point and then by the servers' order.
        var pairs: [UInt64] = []
        for (position, entry) in names.enumerated() {
            let start = Self.start(of: entry.name)
            var previous: UInt32 = 0
            for _ in 0..<entry.weight * Self.pointsPerWeight {
                var crc = start
                crc.update(littleEndian: previous)
                previous = crc.value
                pairs.append(UInt64(previous) << 32 | UInt64(position))
            }
        }
        pairs.sort()
        var points: [UInt32] = []
        var owners: [UInt32] = []
        for pair in pairs {
            let point = UInt32(pair >> 32)
            if points.last == point { continue }
            points.append(point)
            owners.append(UInt32(truncatingIfNeeded: pair))
        }
        self.points = points
        self.owners = owners
        serversOfLines = lines
        serverCount = names.count
        place(group, found, positions)
    }

    /// Whoever writes records may give weights up to 65 535, which a worker makes points of between two requests.
    private static let maxServiceWeight = 64
    private static let maxServiceWeights = 4096

    /// Halves weights until none of them, nor all together, are more than that. Where the largest stays as it is, servers
    /// come and go without a change for others.
    private static func lessen(_ names: inout [(name: [UInt8], weight: Int)]) {
        var largest = names.reduce(0) { max($0, $1.weight) }
        while largest > 1,
            largest > maxServiceWeight || names.reduce(0, { $0 + $1.weight }) > maxServiceWeights
        {
            for index in names.indices { names[index].weight = max(1, names[index].weight / 2) }
            largest /= 2
        }
    }

    /// Has the servers stand for these addresses, in the order that `PeerGroup` gives its ordinary peers; for a group
    /// without services.
    mutating func place(_ group: UpstreamGroup, _ found: [[FoundPeer]]) { place(group, found, [:]) }

    /// `positions` are those of a service's servers, by their names.
    private mutating func place(
        _ group: UpstreamGroup, _ found: [[FoundPeer]], _ positions: [[UInt8]: Int]
    ) {
        servers = []
        for (line, found) in found.enumerated() {
            for one in FoundPeer.tiers(found, of: group.servers[line]).primary {
                let named = one.record.flatMap { positions[$0.name] }
                servers.append(named.map { UInt32($0) } ?? serversOfLines[line])
            }
        }
        isServed = Array(repeating: false, count: serverCount)
        for server in servers { isServed[Int(server)] = true }
        if isServed.allSatisfy(\.self) { isServed = [] }
    }

    /// The same with points of its own, which another thread may count references to.
    package init(copying other: HashRing) {
        points = other.points.map { $0 }
        owners = other.owners.map { $0 }
        serversOfLines = other.serversOfLines.map { $0 }
        serverCount = other.serverCount
        servers = other.servers.map { $0 }
        isServed = other.isServed.map { $0 }
    }

    private static let pointsPerWeight = 160

    /// The state of the hash of `host`, a zero and `port`, with which each point of a server begins.
    private static func start(of name: [UInt8]) -> CRC32 {
        var host = name[...]
        var port: ArraySlice<UInt8> = []
        if name.starts(with: "unix:".utf8) {
            host = name.dropFirst(5)
        } else if let colon = name.lastIndex(of: ByteText.colon),
            name[(colon + 1)...].allSatisfy({ (0x30...0x39).contains($0) })
        {
            host = name[..<colon]
            port = name[(colon + 1)...]
        }
        var crc = CRC32()
        crc.update(host)
        crc.update([0])
        crc.update(port)
        return crc
    }

    /// The position of the first point that is not below `hash`; behind the last one, the number of points.
    private func position(of hash: UInt32) -> Int {
        var low = 0
        var high = points.count
        while low < high {
            let middle = (low + high) / 2
            if points[middle] < hash { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The position of the next point of a server that has an address, `start` included.
    private func served(from start: UInt32) -> UInt32? {
        let start = Int(start) % points.count
        for position in start..<start + points.count where isServed[Int(owners[position % points.count])] {
            return UInt32(position % points.count)
        }
        return nil
    }

    static func choose(
        of peers: inout [Peer], _ selection: inout PeerSelection, _ request: Balancer.Request
    ) -> Int? {
        guard let ring = request.ring, !ring.points.isEmpty else { return nil }
        if selection.progress.rounds == 0 {
            selection.progress.rounds = 1
            var crc = CRC32()
            crc.update(request.key)
            selection.progress.hash = UInt32(ring.position(of: crc.value))
        }
        repeat {
            if !ring.isServed.isEmpty {
                guard let position = ring.served(from: selection.progress.hash) else { return nil }
                selection.progress.hash = position
            }
            let owner = ring.owners[Int(selection.progress.hash) % ring.points.count]
            let chosen = RoundRobin.choose(
                in: request.tier, of: &peers, tried: selection.tried, now: request.now
            ) { index, _ in
                ring.servers[index] == owner
            }
            if let chosen { return chosen }
            selection.progress.hash &+= 1
        } while selection.progress.miss()
        return nil
    }
}
