internal import CAres
internal import CSwitchyard
internal import Glibc

/// Queries for names that are under way, by c-ares.
///
/// Servers are asked by questions of our own, for each family on its own: what c-ares makes of two answers hides the
/// failure of one, does not follow an alias without an address, and asks nobody for `localhost`. The system is asked
/// as c-ares does it, since that knows of the search list and the hosts file.
@safe
final class NameQueries {
    struct Records: Equatable, Sendable {
        /// At least one, those of IPv4 first, their port being 0; or none, where services were asked for.
        var addresses: [SocketAddress]
        var services: [ServiceRecord] = []
        /// Milliseconds; the shortest of the records', those of aliases on the way included.
        var timeToLive: Int64

        var isEmpty: Bool { addresses.isEmpty && services.isEmpty }
    }

    struct Answer: Sendable {
        var question: NameQuestion
        /// What `start` was given.
        var ticket: Int
        var outcome: Result<Records, NameResolver.Failure>
    }

    /// Answers are collected rather than handed over: this says that there may be some.
    var progressed: () -> Void = {} {
        didSet {
            datagrams.progressed = progressed
            streams?.progressed = progressed
        }
    }

    private let loop: EventLoop
    private let types: [DNSMessage.RecordType]
    private let family: Int32
    private let settings: AresChannel.Settings
    private let timeout: Int64
    private let datagrams: AresChannel
    /// For answers that were cut. c-ares would try once more over TCP by itself, but give that the time of a datagram
    /// only.
    private var streams: AresChannel?
    private var answers: [Answer] = []

    init(loop: EventLoop, options: NameResolver.Options) throws(NameResolver.Failure) {
        self.loop = loop
        family = options.ipv4 && options.ipv6 ? AF_UNSPEC : options.ipv4 ? AF_INET : AF_INET6
        types = (options.ipv4 ? [.ipv4] : []) + (options.ipv6 ? [.ipv6] : [])
        timeout = options.timeout
        // Three attempts with each server, each waiting twice as long as the one before, fill the time.
        let attempt = options.timeout / 7 / Int64(max(1, options.servers.count))
        var settings = AresChannel.Settings(timeout: attempt, tries: 3)
        settings.servers = try Self.servers(options.servers)
        settings.system = options.systemServers
        if !settings.servers.isEmpty {
            settings.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_IGNTC
            // A server's refusal makes c-ares try the next one; the only server's is the answer.
            if settings.servers.count == 1 { settings.flags |= ARES_FLAG_NOCHECKRESP }
        }
        self.settings = settings
        datagrams = try AresChannel(loop: loop, settings)
    }

    private static func servers(_ texts: [String]) throws(NameResolver.Failure) -> [SocketAddress] {
        var servers: [SocketAddress] = []
        for text in texts {
            guard let address = SocketAddress(numericServer: text) else {
                throw NameResolver.Failure(reason: "invalid name server \"\(text)\"")
            }
            servers.append(address)
        }
        return servers
    }

    /// Asks. The answer may be there at once, without `progressed` being called for it.
    func start(_ question: NameQuestion, ticket: Int) {
        if settings.servers.isEmpty {
            askSystem(question, ticket: ticket)
        } else {
            askServers(question, ticket: ticket)
        }
    }

    /// What was answered since the last call. To be called after `start`, and outside of any call of c-ares.
    func takeAnswers() -> [Answer] {
        datagrams.giveUpOnFailedSockets()
        streams?.giveUpOnFailedSockets()
        guard !answers.isEmpty else { return [] }
        defer { answers = [] }
        return answers
    }

    /// Ends all queries, each with an answer that nobody needs to take.
    func close() {
        datagrams.close()
        streams?.close()
    }

    /// Has the loop come back when c-ares needs it for a timeout, or earlier.
    func wakeUp(notAfter time: Int64) {
        datagrams.wakeUp(notAfter: time)
        streams?.wakeUp(notAfter: time)
    }

    private func failure(_ status: Int32, on channel: AresChannel) -> NameResolver.Failure {
        if let error = channel.socketError, status == Int32(ARES_ECANCELLED) {
            return NameResolver.Failure(reason: error.description)
        }
        return NameResolver.Failure(aresStatus: status)
    }

    // MARK: Servers

    /// What servers are asked, until the search for each type of records has ended.
    private final class Lookup {
        let question: NameQuestion
        let ticket: Int
        var outcomes: [AddressSearch.Outcome?]

        init(question: NameQuestion, ticket: Int, types: Int) {
            self.question = question
            self.ticket = ticket
            outcomes = Array(repeating: nil, count: types)
        }
    }

    /// What one question is about, while c-ares holds it.
    private final class Question {
        unowned let queries: NameQueries
        let lookup: Lookup
        /// The type's position among the wanted ones.
        let index: Int
        var search: AddressSearch
        var overStream = false

        init(queries: NameQueries, lookup: Lookup, index: Int, search: AddressSearch) {
            self.queries = queries
            self.lookup = lookup
            self.index = index
            self.search = search
        }
    }

    private func askServers(_ question: NameQuestion, ticket: Int) {
        guard let wireName = DNSMessage.name(question.name) else {
            return answers.append(Answer(question: question, ticket: ticket, outcome: .failure(.notFound)))
        }
        let types =
            switch question {
            case .addresses: types
            case .service: [DNSMessage.RecordType.service]
            }
        let lookup = Lookup(question: question, ticket: ticket, types: types.count)
        for (index, type) in types.enumerated() {
            let search = AddressSearch(type: type, name: wireName)
            ask(Question(queries: self, lookup: lookup, index: index, search: search))
        }
    }

    private func ask(_ question: Question) {
        let channel: AresChannel
        do throws(NameResolver.Failure) {
            channel = question.overStream ? try openStreams() : datagrams
        } catch {
            return end(question, .failed(error))
        }
        guard let handle = unsafe channel.handle else { return }
        let message = DNSMessage.query(
            id: .random(in: 0 ... .max), name: question.search.name, type: question.search.type)
        // c-ares calls back exactly once for each query, at the latest in `ares_destroy`: that call takes the
        // reference back. The message is copied.
        let context = unsafe Unmanaged.passRetained(question)
        unsafe ares_send(
            handle, message, Int32(message.count),
            { context, status, _, bytes, count in
                guard let context = unsafe context else { return }
                let question = unsafe Unmanaged<Question>.fromOpaque(context).takeRetainedValue()
                // As many bytes as is said, for the length of the call; none after a failure.
                let message = unsafe Array(
                    UnsafeBufferPointer(start: bytes, count: bytes == nil ? 0 : Int(count)))
                question.queries.answered(question, status: status, message)
            }, context.toOpaque())
    }

    private func answered(_ question: Question, status: Int32, _ message: [UInt8]) {
        guard status == 0 else {
            let channel = question.overStream ? streams : datagrams
            return end(question, .failed(failure(status, on: channel ?? datagrams)))
        }
        let response = DNSMessage.Response(message)
        switch question.search.answered(response, overStream: question.overStream) {
        case .ask:
            question.overStream = false
            ask(question)
        case .askOverStream:
            question.overStream = true
            ask(question)
        case .end(let outcome): end(question, outcome)
        }
    }

    private func end(_ question: Question, _ outcome: AddressSearch.Outcome) {
        let lookup = question.lookup
        lookup.outcomes[question.index] = outcome
        let outcomes = lookup.outcomes.compactMap { $0 }
        guard outcomes.count == lookup.outcomes.count else { return }
        answers.append(
            Answer(
                question: lookup.question, ticket: lookup.ticket, outcome: AddressSearch.combined(outcomes)))
    }

    private func openStreams() throws(NameResolver.Failure) -> AresChannel {
        if let streams { return streams }
        var settings = settings
        settings.flags |= ARES_FLAG_USEVC
        // Over a connection nothing gets lost, so that one attempt may take all the time that there is.
        settings.timeout = timeout / Int64(settings.servers.count)
        settings.tries = 1
        let channel = try AresChannel(loop: loop, settings)
        channel.progressed = progressed
        streams = channel
        return channel
    }

    // MARK: The system

    /// What one query is about, while c-ares holds it.
    private final class SystemQuery {
        unowned let queries: NameQueries
        let name: String
        let ticket: Int
        let isSecondTry: Bool

        init(queries: NameQueries, name: String, ticket: Int, isSecondTry: Bool) {
            self.queries = queries
            self.name = name
            self.ticket = ticket
            self.isSecondTry = isSecondTry
        }
    }

    private func askSystem(_ question: NameQuestion, ticket: Int) {
        switch question {
        case .addresses(of: let name):
            askSystem(SystemQuery(queries: self, name: name, ticket: ticket, isSecondTry: false))
        // Neither its search list nor its hosts file has any, and a configuration names servers for them.
        case .service:
            answers.append(Answer(question: question, ticket: ticket, outcome: .failure(.notFound)))
        }
    }

    private func askSystem(_ query: SystemQuery) {
        guard let handle = unsafe datagrams.handle else { return }
        var hints = ares_addrinfo_hints(
            ai_flags: Int32(ARES_AI_NOSORT), ai_family: family, ai_socktype: Int32(SOCK_STREAM.rawValue),
            ai_protocol: 0)
        // c-ares calls back exactly once for each query, at the latest in `ares_destroy`: that call takes the
        // reference back. The name and the hints are copied.
        let context = unsafe Unmanaged.passRetained(query)
        unsafe ares_getaddrinfo(
            handle, query.isSecondTry ? query.name + "." : query.name, nil, &hints,
            { context, status, _, found in
                guard let context = unsafe context else { return }
                let query = unsafe Unmanaged<SystemQuery>.fromOpaque(context).takeRetainedValue()
                unsafe query.queries.systemAnswered(query, status: status, found: found)
            }, context.toOpaque())
    }

    private func systemAnswered(
        _ query: SystemQuery, status: Int32, found: UnsafeMutablePointer<ares_addrinfo>?
    ) {
        defer { if let found = unsafe found { unsafe ares_freeaddrinfo(found) } }
        // c-ares 1.18 takes `search .` of resolv.conf, which systemd writes, for a faulty domain and fails before
        // it has tried the name alone. A final dot has it try that first.
        if status == Int32(ARES_EBADNAME), !query.isSecondTry, !query.name.hasSuffix(".") {
            return askSystem(
                SystemQuery(queries: self, name: query.name, ticket: query.ticket, isSecondTry: true))
        }
        var outcome: Result<Records, NameResolver.Failure> = .failure(failure(status, on: datagrams))
        if status == 0 {
            outcome = .failure(.notFound)
            if let found = unsafe found, let records = unsafe Self.records(found) {
                outcome = .success(records)
            }
        }
        answers.append(Answer(question: .addresses(of: query.name), ticket: query.ticket, outcome: outcome))
    }
}

extension NameQueries {
    fileprivate static func records(_ found: UnsafeMutablePointer<ares_addrinfo>) -> Records? {
        var ipv4: [SocketAddress] = []
        var ipv6: [SocketAddress] = []
        var timeToLive = Int64(Int32.max)
        // The list is c-ares's, whole and ours until `ares_freeaddrinfo`; each node's address has `ai_addrlen` bytes.
        var next = unsafe found.pointee.nodes
        while let node = unsafe next {
            unsafe next = node.pointee.ai_next
            guard let address = unsafe node.pointee.ai_addr else { continue }
            var storage = sockaddr_storage()
            let length = unsafe min(Int(node.pointee.ai_addrlen), MemoryLayout<sockaddr_storage>.size)
            unsafe withUnsafeMutableBytes(of: &storage) {
                unsafe $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: length))
            }
            switch SocketAddress(storage) {
            case .ipv4(let address, _): ipv4.append(.ipv4(address, port: 0))
            case .ipv6(let address, _): ipv6.append(.ipv6(address, port: 0))
            case .unix: continue
            }
            unsafe timeToLive = min(timeToLive, Int64(max(0, node.pointee.ai_ttl)))
        }
        var alias = unsafe found.pointee.cnames
        while let node = unsafe alias {
            unsafe alias = node.pointee.next
            unsafe timeToLive = min(timeToLive, Int64(max(0, node.pointee.ttl)))
        }
        let addresses = ipv4 + ipv6
        return addresses.isEmpty ? nil : Records(addresses: addresses, timeToLive: timeToLive * 1000)
    }
}

extension SocketAddress {
    /// From `address`, `address:port`, `[address]` or `[address]:port`, the brackets being IPv6's.
    fileprivate init?(numericServer text: String) {
        var host = Substring(text)
        var port: UInt16 = 53
        let colon = text.lastIndex(of: ":")
        let isBracketed = text.hasPrefix("[")
        if let colon, isBracketed ? text[..<colon].hasSuffix("]") : text.firstIndex(of: ":") == colon {
            guard let number = UInt16(text[text.index(after: colon)...]), number > 0 else { return nil }
            host = text[..<colon]
            port = number
        }
        if isBracketed {
            guard host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
        }
        self.init(numericHost: String(host), port: port)
    }
}
