internal import Config
internal import EventLoop
internal import ProxyCore

/// Looks a name up, or a service at it, again and again: when its records' time is over, and sooner after a failure.
///
/// There is one lookup at a time, and at least a second between two, whatever the records say.
final class NameFollower {
    /// `found` is in ascending order, IPv4 first, so that what is chosen by position is the same in all workers; empty
    /// where the name has no address, `nil` where nobody could say.
    typealias Reached = (_ found: [FoundPeer]?, _ isFirst: Bool) -> Void

    private let name: String
    private let port: UInt16
    private let service: String?
    /// Of a service, what was found last.
    private var known: [FoundPeer]
    private let settings: Resolver
    /// Milliseconds.
    private let timeout: Int
    /// Whose this is. It lives until `close`.
    private unowned let generation: WorkerGeneration
    private let reached: Reached
    private let loop: EventLoop
    private let alarm: Alarm
    private var hasReached = false
    private var isClosed = false

    /// Milliseconds.
    static let shortestWait: Int64 = 1000
    /// As nginx has it, where nobody says how long there is no such name.
    static let waitWithoutAddress: Int64 = 10_000
    /// Hosts of a service that are named in the log, of those without an address.
    private static let shownLosses = 10

    init(
        _ name: String, port: UInt16, service: String?, known: [FoundPeer], resolver: Resolver,
        timeout: Int, in generation: WorkerGeneration, reached: @escaping Reached
    ) {
        self.name = name
        self.port = port
        self.service = service
        self.known = known
        self.timeout = timeout
        self.generation = generation
        self.reached = reached
        settings = resolver
        loop = generation.loop
        alarm = Alarm(loop: generation.loop)
        alarm.rang = { [unowned self] in lookUp() }
    }

    deinit { close() }

    func begin() { lookUp() }

    /// Nothing is looked up or reached any more. Safe to call again.
    func close() {
        isClosed = true
        alarm.close()
    }

    private func lookUp() {
        guard !isClosed else { return }
        alarm.clearDeadline()
        do throws(NameResolver.Failure) {
            let resolver = try generation.resolver(settings, timeout: timeout)
            if let service {
                let records = NameResolver.name(ofService: service, at: name)
                resolver.lookUpService(records, timeout: Int64(timeout)) { [weak self] in
                    self?.take($0, of: service)
                }
            } else {
                resolver.lookUp(name, port: port, timeout: Int64(timeout)) { [weak self] in self?.take($0) }
            }
        } catch {
            failed(error)
        }
    }

    private func take(_ result: Result<NameResolver.Answer, NameResolver.Failure>) {
        guard !isClosed else { return }
        switch result {
        case .success(let answer):
            let addresses = PeerAddress.inOrder(Set(answer.addresses.map { PeerAddress($0) }))
            ended(addresses.map { FoundPeer($0) }, goodUntil: answer.goodUntil)
        case .failure(let failure): failed(failure)
        }
    }

    private func take(
        _ result: Result<NameResolver.Service, NameResolver.Failure>, of service: String
    ) {
        guard !isClosed else { return }
        switch result {
        case .success(let answer):
            var goodUntil = answer.goodUntil
            for (index, loss) in answer.losses.enumerated() {
                if index < Self.shownLosses {
                    log(loss.record.target, loss.failure, " while resolving service \(service) of \(name)")
                }
                goodUntil = min(goodUntil, loop.now.advanced(clamping: wait(after: loss.failure)))
            }
            let more = answer.losses.count - Self.shownLosses
            if more > 0 {
                generation.generation.errorLogger.log(
                    .error, "\(more) more hosts of service \(service) of \(name) could not be resolved")
            }
            let found = FoundService(answer, known: known)
            if let peers = found.peers { known = peers }
            ended(found.peers, goodUntil: goodUntil)
        case .failure(let failure):
            if failure == .notFound { known = [] }
            failed(failure)
        }
    }

    private func failed(_ failure: NameResolver.Failure) {
        guard !isClosed else { return }
        log(service.map { "service \($0) of \(name)" } ?? name, failure)
        // As in nginx, an answer that there is no address takes them away; where there is none, they stay.
        ended(
            failure == .notFound ? [] : nil, goodUntil: loop.now.advanced(clamping: wait(after: failure)))
    }

    private func log(_ subject: String, _ failure: NameResolver.Failure, _ doing: String = "") {
        generation.generation.errorLogger.log(
            .error, "\(subject) could not be resolved (\(failure.reason))\(doing)")
    }

    /// Milliseconds.
    private func wait(after failure: NameResolver.Failure) -> Int64 {
        guard failure == .notFound else { return Int64(timeout) }
        return settings.valid.map { Int64($0) } ?? Self.waitWithoutAddress
    }

    private func ended(_ found: [FoundPeer]?, goodUntil: Int64) {
        // Who waited may be the last that holds it.
        let generation = generation
        alarm.setDeadline(max(loop.now.advanced(clamping: Self.shortestWait), goodUntil))
        let isFirst = !hasReached
        hasReached = true
        withExtendedLifetime(generation) { reached(found, isFirst) }
    }
}
