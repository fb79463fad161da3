/// Services, which are looked up in two steps: where they are to be had (RFC 2782), and the addresses of these hosts.
extension NameResolver {
    package struct Service: Equatable, Sendable {
        /// One of the service's records with the addresses of its target, at its port: at least one.
        package struct Place: Equatable, Sendable {
            package var record: ServiceRecord
            package var addresses: [SocketAddress]
        }

        /// One of the service's records whose target has no address, or none that is known.
        package struct Loss: Equatable, Sendable {
            package var record: ServiceRecord
            package var failure: Failure
        }

        package var places: [Place] = []
        package var losses: [Loss] = []
        /// A time of the loop's clock, from which on there may be another answer to one of the questions.
        package var goodUntil: Int64
    }

    /// The name of a service's records. One without a dot is a protocol's over TCP, as in nginx; another one stands in front
    /// of the host as it is.
    package static func name(ofService service: String, at host: String) -> String {
        service.contains(".") ? "\(service).\(host)" : "_\(service)._tcp.\(host)"
    }

    /// Looks up the records of `name`, and the addresses of their targets.
    ///
    /// Calls `completion` once, with at least one place or loss, or with a failure; before returning when all answers are
    /// at hand. `timeout` is in milliseconds, for both steps.
    package func lookUpService(
        _ name: String, timeout: Int64, completion: @escaping (Result<Service, Failure>) -> Void
    ) {
        let end = loop.now.advanced(clamping: timeout)
        lookUpRecords(ofService: name, timeout: timeout) { [weak self] result in
            switch result {
            case .failure(let failure): completion(.failure(failure))
            case .success(let answer):
                // An empty target says that there is no such service.
                let records = answer.services.filter { !$0.target.isEmpty }
                guard let self, !records.isEmpty else { return completion(.failure(.notFound)) }
                ServiceGathering(records, by: self, until: end, goodUntil: answer.goodUntil, completion).ask()
            }
        }
    }
}

/// Asks for the addresses of a service's targets, and puts together what is answered.
private final class ServiceGathering {
    /// Questions under way: a name server's socket has room for so many, and one answer that is lost holds all up.
    private static let questionsAtOnce = 64

    private let records: [ServiceRecord]
    private unowned let resolver: NameResolver
    /// A time of the loop's clock.
    private let end: Int64
    private var service: NameResolver.Service
    /// Targets that are to be asked for.
    private var unasked: [String]
    private var underWay = 0
    private var isAsking = false
    private let completion: (Result<NameResolver.Service, NameResolver.Failure>) -> Void

    init(
        _ records: [ServiceRecord], by resolver: NameResolver, until end: Int64, goodUntil: Int64,
        _ completion: @escaping (Result<NameResolver.Service, NameResolver.Failure>) -> Void
    ) {
        self.records = records
        self.resolver = resolver
        self.end = end
        self.completion = completion
        service = NameResolver.Service(goodUntil: goodUntil)
        unasked = Set(records.map(\.target)).sorted(by: >)
    }

    /// Asks for more, as far as there is more to ask for and fewer questions are under way; once all are answered, that is it.
    func ask() {
        // Answers that are at hand come before `lookUp` returns.
        guard !isAsking else { return }
        isAsking = true
        while underWay < Self.questionsAtOnce, let target = unasked.popLast() {
            underWay += 1
            resolver.lookUp(target, port: 0, timeout: max(1, end - resolver.loop.now)) { [self] in
                take($0, of: target)
            }
        }
        isAsking = false
        if underWay == 0 { completion(.success(service)) }
    }

    private func take(_ result: Result<NameResolver.Answer, NameResolver.Failure>, of target: String) {
        for record in records where record.target == target {
            switch result {
            case .success(let answer):
                let addresses = answer.addresses.map { $0.with(port: record.port) }
                service.places.append(.init(record: record, addresses: addresses))
                service.goodUntil = min(service.goodUntil, answer.goodUntil)
            case .failure(let failure): service.losses.append(.init(record: record, failure: failure))
            }
        }
        underWay -= 1
        ask()
    }
}
