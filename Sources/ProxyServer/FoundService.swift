internal import EventLoop
internal import ProxyCore

/// What an answer for a service comes to.
struct FoundService {
    /// In the order of priorities, names and ports, and of addresses then: name servers answer in any. `nil` where nobody could
    /// say an address.
    let peers: [FoundPeer]?

    /// - Parameters:
    ///   - answer: where the service is to be had.
    ///   - known: what was found before. Of a host of which nobody could say where it is, addresses stay, as they do of a name.
    init(_ answer: NameResolver.Service, known: [FoundPeer]) {
        var places: [FoundPeer.Record: Set<PeerAddress>] = [:]
        for place in answer.places {
            places[Self.record(place.record), default: []].formUnion(place.addresses.map { PeerAddress($0) })
        }
        var isUnknown = false
        for loss in answer.losses where loss.failure != .notFound {
            isUnknown = true
            let record = Self.record(loss.record)
            for peer in known where peer.record?.target == record.target {
                places[record, default: []].insert(peer.address.with(port: record.port))
            }
        }
        guard !places.isEmpty || !isUnknown else {
            peers = nil
            return
        }
        peers = places.sorted { Self.goesBefore($0.key, $1.key) }.flatMap { record, addresses in
            PeerAddress.inOrder(addresses).map { FoundPeer($0, record: record) }
        }
    }

    private static func record(_ record: ServiceRecord) -> FoundPeer.Record {
        FoundPeer.Record(
            priority: record.priority, weight: record.weight, target: Array(record.target.utf8),
            port: record.port)
    }

    private static func goesBefore(_ one: FoundPeer.Record, _ other: FoundPeer.Record) -> Bool {
        if one.priority != other.priority { return one.priority < other.priority }
        if one.target != other.target { return one.target.lexicographicallyPrecedes(other.target) }
        return (one.port, one.weight) < (other.port, other.weight)
    }
}

extension PeerAddress {
    /// Those of one port, in ascending order, IPv4 first.
    static func inOrder(_ addresses: Set<PeerAddress>) -> [PeerAddress] {
        addresses.sorted { one, other in
            switch (one.endpoint, other.endpoint) {
            case (.ipv4(let host, _), .ipv4(let otherHost, _)): host < otherHost
            case (.ipv6(let host, _), .ipv6(let otherHost, _)): host.lexicographicallyPrecedes(otherHost)
            case (.ipv4, _): true
            default: false
            }
        }
    }

    func with(port: UInt16) -> PeerAddress {
        switch endpoint {
        case .ipv4(let host, _): PeerAddress(PeerAddress.Endpoint.ipv4(host, port: port))
        case .ipv6(let host, _): PeerAddress(PeerAddress.Endpoint.ipv6(host, port: port))
        case .unix: self
        }
    }
}
