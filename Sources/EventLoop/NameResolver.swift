/// Turns names into addresses by DNS, without blocking the loop that asks.
///
/// Answers are kept for as long as their records allow. Whoever asks for a name that is being looked up already
/// shares that lookup, for as long as each of them may wait. Failures are not kept: the next to ask starts anew.
///
/// Several addresses of a family are handed out beginning with any one of them, so that those who take the first
/// spread over all.
///
/// Confined to its loop's thread.
package final class NameResolver {
    package struct Options: Sendable, Hashable {
        /// Numeric `address:port`, IPv6 in brackets, port 53 when none is given. They are asked by DNS alone,
        /// with the name exactly as it is. Empty: the system's servers, its search list and its hosts file.
        package var servers: [String] = []
        /// How long an answer is kept, in milliseconds, instead of what its records say.
        package var validity: Int64?
        /// How long a lookup may take in all, in milliseconds, where who asks does not say.
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

    package struct Answer: Equatable, Sendable {
        /// At least one, those of IPv4 first; none where services were asked for.
        package var addresses: [SocketAddress]
        /// At least one where these were asked for.
        var services: [ServiceRecord] = []
        /// A time of the loop's clock, from which on there may be another answer.
        package var goodUntil: Int64
    }

    package typealias Completion = (Result<[SocketAddress], Failure>) -> Void

    private struct Waiting {
        let port: UInt16
        let deadline: Int64
        let completion: (Result<Answer, Failure>) -> Void
    }

    /// One question that is being answered, and those who wait for it: at least one.
    private final class Lookup {
        /// Of the query under way. Another one's failure says nothing: it began earlier, for those who have given up.
        var ticket: Int
        var waiting: [Waiting] = []

        init(ticket: Int) { self.ticket = ticket }
    }

    let loop: EventLoop
    private let options: Options
    /// None on a network in memory, which knows its names itself.
    private let queries: NameQueries?
    private var lookups: [NameQuestion: Lookup] = [:]
    /// Nobody waits for less long. Whose deadline that was may have an answer by now.
    private var earliestDeadline = EventLoop.never
    /// For tests: how often all who wait were looked at.
    private(set) var sweeps = 0
    private var lastTicket = 0
    private var cache = NameCache(capacity: 1000)
    private var isClosed = false
    /// Which of so many addresses is the first.
    var chooseFirst: (Int) -> Int = { Int.random(in: 0..<$0) }

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
    /// before returning when the answer is at hand. `timeout` is in milliseconds.
    package func resolve(
        _ name: String, port: UInt16, timeout: Int64? = nil, completion: @escaping Completion
    ) {
        lookUp(name, port: port, timeout: timeout) { completion($0.map(\.addresses)) }
    }

    /// As `resolve`, for who is to ask again in time.
    package func lookUp(
        _ name: String, port: UInt16, timeout: Int64? = nil,
        completion: @escaping (Result<Answer, Failure>) -> Void
    ) {
        if let address = Self.numeric(name, port: port) {
            return completion(.success(Answer(addresses: [address], goodUntil: EventLoop.never)))
        }
        ask(.addresses(of: Self.canonical(name)), port: port, timeout: timeout, completion: completion)
    }

    /// Asks for records of type SRV. Otherwise as `lookUp`.
    func lookUpRecords(
        ofService name: String, timeout: Int64, completion: @escaping (Result<Answer, Failure>) -> Void
    ) {
        ask(.service(Self.canonical(name)), port: 0, timeout: timeout, completion: completion)
    }

    private func ask(
        _ question: NameQuestion, port: UInt16, timeout: Int64?,
        completion: @escaping (Result<Answer, Failure>) -> Void
    ) {
        guard !isClosed else { return completion(.failure(.closed)) }
        guard Self.isLookedUp(question.name) else { return completion(.failure(.notFound)) }
        guard let queries else { return completion(answerInMemory(to: question, port: port)) }
        if let answer = cache.answer(to: question, now: loop.now) {
            return completion(.success(spread(answer, port: port)))
        }
        let waiting = Waiting(
            port: port, deadline: loop.now.advanced(clamping: timeout ?? options.timeout),
            completion: completion)
        earliestDeadline = min(earliestDeadline, waiting.deadline)
        if let lookup = lookups[question] {
            lookup.waiting.append(waiting)
        } else {
            let lookup = Lookup(ticket: nextTicket())
            lookup.waiting.append(waiting)
            lookups[question] = lookup
            queries.start(question, ticket: lookup.ticket)
        }
        settle()
    }

    private func nextTicket() -> Int {
        lastTicket += 1
        return lastTicket
    }

    /// Fails what is being looked up, and frees what c-ares holds. Safe to call again.
    package func close() {
        guard !isClosed else { return }
        isClosed = true
        queries?.close()
        let unanswered = lookups.values
        lookups = [:]
        for lookup in unanswered { complete(lookup, .failure(.closed)) }
    }

    /// Hands over what was answered since the last time, gives up on what is overdue, and sees to it that the loop
    /// comes back in time.
    ///
    /// Completions run here, outside of any call of c-ares, so that they may do as they like: ask again, or close.
    private func settle() {
        guard let queries else { return }
        while true {
            let answers = queries.takeAnswers()
            if answers.isEmpty { break }
            for answer in answers { take(answer) }
        }
        giveUpOnOverdue()
        guard !isClosed else { return }
        queries.wakeUp(notAfter: earliestDeadline)
    }

    private func take(_ answer: NameQueries.Answer) {
        switch answer.outcome {
        case .success(let records):
            let found = Answer(
                addresses: records.addresses, services: records.services,
                goodUntil: loop.now.advanced(clamping: options.validity ?? records.timeToLive))
            cache.insert(found, to: answer.question, now: loop.now)
            // An answer that comes after its lookup's end still serves the next to ask.
            guard let lookup = lookups.removeValue(forKey: answer.question) else { return }
            complete(lookup, .success(found))
        case .failure(let failure):
            guard let lookup = lookups[answer.question], lookup.ticket == answer.ticket else { return }
            // Those whose time is not over have come later, or may wait for longer, than the servers were asked for.
            if failure.isTimeout, !isClosed {
                giveUp(on: lookup, of: answer.question)
                guard lookups[answer.question] === lookup else { return }
                lookup.ticket = nextTicket()
                queries?.start(answer.question, ticket: lookup.ticket)
            } else {
                lookups[answer.question] = nil
                complete(lookup, .failure(failure))
            }
        }
    }

    private func complete(_ lookup: Lookup, _ outcome: Result<Answer, Failure>) {
        let waiting = lookup.waiting
        lookup.waiting = []
        for one in waiting { one.completion(outcome.map { spread($0, port: one.port) }) }
    }

    /// Looks at all who wait only when somebody's time may be over, so that many names cost no more each than few.
    private func giveUpOnOverdue() {
        if lookups.isEmpty { earliestDeadline = EventLoop.never }
        guard earliestDeadline <= loop.now else { return }
        sweeps += 1
        // Completions may ask for more.
        earliestDeadline = EventLoop.never
        for (question, lookup) in lookups {
            giveUp(on: lookup, of: question)
            for waiting in lookup.waiting { earliestDeadline = min(earliestDeadline, waiting.deadline) }
        }
    }

    /// Fails those of a lookup whose time is over, and ends it when nobody is left.
    private func giveUp(on lookup: Lookup, of question: NameQuestion) {
        let now = loop.now
        guard lookup.waiting.contains(where: { $0.deadline <= now }) else { return }
        let overdue = lookup.waiting.filter { $0.deadline <= now }
        lookup.waiting.removeAll { $0.deadline <= now }
        if lookup.waiting.isEmpty { lookups[question] = nil }
        for one in overdue { one.completion(.failure(.timedOut)) }
    }

    /// The addresses at `port`, those of each family beginning with any one of them. Those of IPv4 stay first: the other
    /// family is what many a machine has no way out for.
    private func spread(_ answer: Answer, port: UInt16) -> Answer {
        let addresses = answer.addresses
        var split = 0
        while split < addresses.count, case .ipv4 = addresses[split] { split += 1 }
        var result: [SocketAddress] = []
        result.reserveCapacity(addresses.count)
        append(addresses, in: 0..<split, port: port, to: &result)
        append(addresses, in: split..<addresses.count, port: port, to: &result)
        return Answer(addresses: result, services: answer.services, goodUntil: answer.goodUntil)
    }

    private func append(
        _ addresses: [SocketAddress], in range: Range<Int>, port: UInt16, to result: inout [SocketAddress]
    ) {
        var index = range.lowerBound + (range.count > 1 ? chooseFirst(range.count) : 0)
        for _ in range {
            result.append(addresses[index].with(port: port))
            index += 1
            if index == range.upperBound { index = range.lowerBound }
        }
    }

    /// What a network in memory says.
    private func answerInMemory(to question: NameQuestion, port: UInt16) -> Result<Answer, Failure> {
        let name = question.name
        if loop.memory?.silentNames.contains(name) == true { return .failure(.timedOut) }
        let goodUntil = loop.now.advanced(clamping: options.validity ?? MemoryNetwork.timeToLive)
        if case .service = question {
            let services = loop.memory?.records(ofService: name) ?? []
            let answer = Answer(addresses: [], services: services, goodUntil: goodUntil)
            return services.isEmpty ? .failure(.notFound) : .success(answer)
        }
        let addresses = (loop.memory?.addresses(of: name) ?? []).filter { address in
            switch address {
            case .ipv4: options.ipv4
            case .ipv6: options.ipv6
            case .unix: false
            }
        }
        guard !addresses.isEmpty else { return .failure(.notFound) }
        return .success(Answer(addresses: addresses.map { $0.with(port: port) }, goodUntil: goodUntil))
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
        // A configuration's groups take turns themselves, in the order that they are given.
        resolver.chooseFirst = { _ in 0 }
        var outcome: Result<[SocketAddress], Failure>?
        resolver.resolve(name, port: port) { outcome = $0 }
        while true {
            if let outcome { return try outcome.get() }
            loop.turn(wait: true)
        }
    }
}
