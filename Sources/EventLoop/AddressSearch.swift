/// The search for a name's addresses of one family, or for its services: what is to be asked next, after what was answered.
///
/// A server that resolves recursively answers with the whole chain of aliases and, at its end, the addresses. Where
/// the chain is cut short, it is followed from there with a question of its own, as nginx does.
///
/// Driven by `NameQueries`, which asks for `name`.
struct AddressSearch {
    enum Outcome: Equatable, Sendable {
        case found(NameQueries.Records)
        /// The name exists, or not: there is no address of this family.
        case nothing
        case failed(NameResolver.Failure)
    }

    enum Action: Equatable, Sendable {
        /// Over a datagram, as at first.
        case ask
        /// The same again, over a connection.
        case askOverStream
        case end(Outcome)
    }

    let type: DNSMessage.RecordType
    private(set) var name: [UInt8]
    private var aliases = 0
    private var timeToLive = UInt32(Int32.max)

    /// Questions for an alias's target after which there is none, and aliases that are followed within one answer.
    static let maxAliases = 16

    init(type: DNSMessage.RecordType, name: [UInt8]) {
        self.type = type
        self.name = name
    }

    /// Takes what was answered to the question for `name`: `nil` for what is malformed, which over a datagram is for
    /// being cut.
    mutating func answered(_ response: DNSMessage.Response?, overStream: Bool) -> Action {
        guard let response, !response.isTruncated || overStream else {
            return overStream ? .end(.failed(.misformatted)) : .askOverStream
        }
        guard response.code == 0 else {
            return .end(response.code == 3 ? .nothing : .failed(NameResolver.Failure(code: response.code)))
        }
        let asked = name
        // Each step looks at all records: their number is not for the server to choose, nor do all circles end.
        for _ in 0...Self.maxAliases {
            if let found = found(in: response.records) { return .end(.found(found)) }
            if !followAlias(in: response.records) { return name == asked ? .end(.nothing) : askAgain() }
        }
        return .end(.nothing)
    }

    private mutating func askAgain() -> Action {
        guard aliases < Self.maxAliases else { return .end(.nothing) }
        aliases += 1
        return .ask
    }

    private mutating func found(in records: [DNSMessage.Response.Record]) -> NameQueries.Records? {
        var found = NameQueries.Records(addresses: [], timeToLive: 0)
        for record in records where record.owner == name {
            switch record.data {
            case .address(let address) where type == (address.isIPv4 ? .ipv4 : .ipv6):
                found.addresses.append(address)
            case .service(let service) where type == .service: found.services.append(service)
            case .address, .service, .alias: continue
            }
            timeToLive = min(timeToLive, record.timeToLive)
        }
        found.timeToLive = Int64(timeToLive) * 1000
        return found.isEmpty ? nil : found
    }

    private mutating func followAlias(in records: [DNSMessage.Response.Record]) -> Bool {
        for record in records where record.owner == name {
            guard case .alias(let target) = record.data else { continue }
            timeToLive = min(timeToLive, record.timeToLive)
            name = target
            return true
        }
        return false
    }

    /// What the searches for a name's addresses of each family, or the one for its services, come to: what was found; where nothing was, the first
    /// failure that says more than that.
    static func combined(_ outcomes: [Outcome]) -> Result<NameQueries.Records, NameResolver.Failure> {
        var records = NameQueries.Records(addresses: [], timeToLive: .max)
        var failure: NameResolver.Failure?
        for outcome in outcomes {
            switch outcome {
            case .found(let found):
                records.addresses += found.addresses
                records.services += found.services
                records.timeToLive = min(records.timeToLive, found.timeToLive)
            case .nothing: continue
            case .failed(let reason): failure = failure ?? reason
            }
        }
        return records.isEmpty ? .failure(failure ?? .notFound) : .success(records)
    }
}

extension SocketAddress {
    fileprivate var isIPv4: Bool { if case .ipv4 = self { true } else { false } }
}

extension NameResolver.Failure {
    static let misformatted = NameResolver.Failure(reason: "Misformatted DNS reply")

    /// nginx's numbers and words for DNS's answers.
    init(code: UInt8) {
        let words =
            switch code {
            case 1: "Format error"
            case 2: "Server failure"
            case 3: "Host not found"
            case 4: "Unimplemented"
            case 5: "Operation refused"
            default: "Unknown error"
            }
        self.init(reason: "\(code): \(words)")
    }
}
