internal import Config
internal import EventLoop
internal import ProxyCore

/// Looks a name up again and again: when its records' time is over, and sooner after a failure.
///
/// There is one lookup at a time, and at least a second between two, whatever the records say.
final class NameFollower {
    /// `addresses` are in ascending order, IPv4 first, so that what is chosen by position is the same in all workers; empty
    /// where the name has none, `nil` where nobody could say.
    typealias Reached = (_ addresses: [PeerAddress]?, _ isFirst: Bool) -> Void

    private let name: String
    private let port: UInt16
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

    init(
        _ name: String, port: UInt16, resolver: Resolver, timeout: Int, in generation: WorkerGeneration,
        reached: @escaping Reached
    ) {
        self.name = name
        self.port = port
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
            resolver.lookUp(name, port: port, timeout: Int64(timeout)) { [weak self] in self?.take($0) }
        } catch {
            take(.failure(error))
        }
    }

    private func take(_ result: Result<NameResolver.Answer, NameResolver.Failure>) {
        guard !isClosed else { return }
        // Who waited may be the last that holds it.
        let generation = generation
        let found: [PeerAddress]?
        var next = loop.now.advanced(clamping: Self.shortestWait)
        switch result {
        case .success(let answer):
            found = Self.inOrder(answer.addresses)
            next = max(next, answer.goodUntil)
        case .failure(let failure):
            generation.generation.errorLogger.log(
                .error, "\(name) could not be resolved (\(failure.reason))")
            // As in nginx, an answer that there is no address takes them away; where there is none, they stay.
            found = failure == .notFound ? [] : nil
            let wait =
                failure == .notFound
                ? settings.valid.map { Int64($0) } ?? Self.waitWithoutAddress : Int64(timeout)
            next = max(next, loop.now.advanced(clamping: wait))
        }
        alarm.setDeadline(next)
        let isFirst = !hasReached
        hasReached = true
        withExtendedLifetime(generation) { reached(found, isFirst) }
    }

    private static func inOrder(_ addresses: [SocketAddress]) -> [PeerAddress] {
        var ipv4: Set<UInt32> = []
        var ipv6: Set<[UInt8]> = []
        var port: UInt16 = 0
        for address in addresses {
            switch address {
            case .ipv4(let host, let its):
                ipv4.insert(host)
                port = its
            case .ipv6(let host, let its):
                ipv6.insert(host)
                port = its
            case .unix: break
            }
        }
        return ipv4.sorted().map { PeerAddress(PeerAddress.Endpoint.ipv4($0, port: port)) }
            + ipv6.sorted { $0.lexicographicallyPrecedes($1) }.map {
                PeerAddress(PeerAddress.Endpoint.ipv6($0, port: port))
            }
    }
}
