/// Turns names into addresses by DNS, without blocking the loop that asks.
///
/// Answers are kept for as long as their records allow. Whoever asks for a name that is being looked up already
/// shares that lookup, its time limit included. Failures are not kept: the next to ask starts anew.
///
/// Confined to its loop's thread.
package final class NameResolver {
    package struct Options: Sendable, Hashable {
        /// Numeric `address:port`, IPv6 in brackets, port 53 when none is given. They are asked by DNS alone,
        /// with the name exactly as it is. Empty: the system's servers, its search list and its hosts file.
        package var servers: [String] = []
        /// How long an answer is kept, in milliseconds, instead of what its records say.
        package var validity: Int64?
        /// How long a lookup may take in all, in milliseconds.
        package var timeout: Int64 = 30_000
        package var ipv4 = true
        package var ipv6 = true
        /// For tests: stands for /etc/resolv.conf, with this port of the servers that it names.
        var systemServers: (path: String, port: UInt16)? {
            get { systemPath.map { ($0, systemPort) } }
            set {
                systemPath = newValue?.path
                systemPort = newValue?.port ?? 53
            }
        }
        private var systemPath: String?
        private var systemPort: UInt16 = 53

        package init() {}
    }

    package struct Failure: Error, Equatable, Sendable {
        /// As nginx writes it: `3: Host not found`.
        package let reason: String
        package let isTimeout: Bool

        package init(reason: String, isTimeout: Bool = false) {
            self.reason = reason
            self.isTimeout = isTimeout
        }

        package static let notFound = Failure(reason: "3: Host not found")
        package static let timedOut = Failure(reason: "110: Operation timed out", isTimeout: true)
        package static let closed = Failure(reason: "the resolver was closed")
    }

    package typealias Completion = (Result<[SocketAddress], Failure>) -> Void

    /// One name that is being looked up, and those who wait for it.
    private final class Lookup {
        let deadline: Int64
        var waiting: [(port: UInt16, completion: Completion)] = []

        init(deadline: Int64) { self.deadline = deadline }

        func complete(_ outcome: Result<[SocketAddress], Failure>) {
            let waiting = waiting
            self.waiting = []
            for (port, completion) in waiting {
                completion(outcome.map { addresses in addresses.map { $0.with(port: port) } })
            }
        }
    }

    private let loop: EventLoop
    private let options: Options
    /// None on a network in memory, which knows its names itself.
    private let queries: NameQueries?
    private var lookups: [String: Lookup] = [:]
    private var cache = NameCache(capacity: 1000)
    private var isClosed = false

    /// - Throws: what is wrong with the options, or what the system refused.
    package init(loop: EventLoop, options: Options) throws(Failure) {
        guard options.ipv4 || options.ipv6 else {
            throw Failure(reason: "neither IPv4 nor IPv6 addresses are wanted")
        }
        self.loop = loop
        self.options = options
        queries = loop.memory == nil ? try NameQueries(loop: loop, options: options) : nil
        queries?.progressed = { [unowned self] in settle() }
    }

    deinit { close() }

    /// Looks up `name`: a host name in any case, or a numeric address, IPv6 with or without brackets.
    ///
    /// Calls `completion` once, with at least one address at `port`, those of IPv4 first, or with a failure;
    /// before returning when the answer is at hand.
    package func resolve(_ name: String, port: UInt16, completion: @escaping Completion) {
        if let address = Self.numeric(name, port: port) { return completion(.success([address])) }
        let name = Self.canonical(name)
        guard !isClosed else { return completion(.failure(.closed)) }
        guard Self.isLookedUp(name) else { return completion(.failure(.notFound)) }
        guard let queries else { return completion(named(name, port: port)) }
        if let addresses = cache.addresses(of: name, now: loop.now) {
            return completion(.success(addresses.map { $0.with(port: port) }))
        }
        if let lookup = lookups[name] {
            lookup.waiting.append((port, completion))
            return
        }
        let lookup = Lookup(deadline: loop.now.advanced(clamping: options.timeout))
        lookup.waiting.append((port, completion))
        lookups[name] = lookup
        queries.start(name)
        settle()
    }

    /// Fails what is being looked up, and frees what c-ares holds. Safe to call again.
    package func close() {
        guard !isClosed else { return }
        isClosed = true
        queries?.close()
        let unanswered = lookups.values
        lookups = [:]
        for lookup in unanswered { lookup.complete(.failure(.closed)) }
    }

    /// Hands over what c-ares has answered since the last time, gives up on what is overdue, and sees to it
    /// that the loop comes back in time.
    ///
    /// Completions run here, outside of any call of c-ares, so that they may do as they like: ask again, or close.
    private func settle() {
        guard let queries else { return }
        for answer in queries.takeAnswers() {
            if case .success(let records) = answer.outcome {
                let validity = options.validity ?? records.timeToLive
                cache.insert(
                    records.addresses, of: answer.name, now: loop.now,
                    until: loop.now.advanced(clamping: validity))
            }
            // An answer that comes after its lookup's deadline still serves the next to ask.
            guard let lookup = lookups.removeValue(forKey: answer.name) else { continue }
            lookup.complete(answer.outcome.map(\.addresses))
        }
        let now = loop.now
        for (name, lookup) in lookups where lookup.deadline <= now {
            lookups[name] = nil
            lookup.complete(.failure(.timedOut))
        }
        guard !isClosed else { return }
        queries.wakeUp(notAfter: lookups.values.reduce(EventLoop.never) { min($0, $1.deadline) })
    }

    /// What a network in memory says.
    private func named(_ name: String, port: UInt16) -> Result<[SocketAddress], Failure> {
        let addresses = (loop.memory?.addresses(of: name) ?? []).filter { address in
            switch address {
            case .ipv4: options.ipv4
            case .ipv6: options.ipv6
            case .unix: false
            }
        }
        return addresses.isEmpty ? .failure(.notFound) : .success(addresses.map { $0.with(port: port) })
    }

    private static func numeric(_ name: String, port: UInt16) -> SocketAddress? {
        guard name.hasPrefix("["), name.hasSuffix("]") else {
            return SocketAddress(numericHost: name, port: port)
        }
        guard name.utf8.contains(UInt8(ascii: ":")) else { return nil }
        return SocketAddress(numericHost: String(name.dropFirst().dropLast()), port: port)
    }

    /// Names are compared without case (RFC 4343), so they are kept in lower case.
    private static func canonical(_ name: String) -> String {
        name.utf8.contains { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) } ? name.lowercased() : name
    }

    /// RFC 1035 §2.3.4: at most 255 octets. Anything that cannot stand in a C string or a host name is no name.
    private static func isLookedUp(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 255 && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }
}

extension NameResolver {
    /// Looks up `name` and waits for it, on a loop of its own: while a configuration is read.
    package static func resolveBlocking(
        _ name: String, port: UInt16, options: Options
    ) throws(Failure) -> [SocketAddress] {
        if let address = numeric(name, port: port) { return [address] }
        let loop: EventLoop
        do throws(SystemError) {
            loop = try EventLoop(scratchSize: 4096)
        } catch {
            throw Failure(reason: error.description)
        }
        defer { loop.close() }
        let resolver = try NameResolver(loop: loop, options: options)
        defer { resolver.close() }
        var outcome: Result<[SocketAddress], Failure>?
        resolver.resolve(name, port: port) { outcome = $0 }
        while true {
            if let outcome { return try outcome.get() }
            loop.turn(wait: true)
        }
    }
}
