internal import CAres
internal import CSwitchyard
internal import Glibc

/// The c-ares side of name resolution: queries under way, and their sockets as channels of a loop.
///
/// Answers are collected rather than handed over, because c-ares may not be closed from inside one of its calls:
/// `progressed` says that there may be some.
@safe
final class NameQueries {
    struct Records: Sendable {
        /// At least one, those of IPv4 first; their port is 0.
        var addresses: [SocketAddress]
        /// Milliseconds; the shortest of the records'.
        var timeToLive: Int64
    }

    struct Answer: Sendable {
        var name: String
        var outcome: Result<Records, NameResolver.Failure>
    }

    var progressed: () -> Void = {}

    private let loop: EventLoop
    private let family: Int32
    private let usesSystem: Bool
    /// Made by `init`, ended by `close`, and used in between on the loop's thread only.
    private var channel: ares_channel?
    private var sockets: [Int32: NameQuerySocket] = [:]
    private var answers: [Answer] = []
    /// A socket of c-ares could not be watched, so what is under way would never end by itself.
    private var socketError: SystemError?

    init(loop: EventLoop, options: NameResolver.Options) throws(NameResolver.Failure) {
        self.loop = loop
        family = options.ipv4 && options.ipv6 ? AF_UNSPEC : options.ipv4 ? AF_INET : AF_INET6
        usesSystem = options.servers.isEmpty
        try open(options)
    }

    deinit { close() }

    private func open(_ options: NameResolver.Options) throws(NameResolver.Failure) {
        let servers = try Self.serverList(options.servers)
        var settings = unsafe ares_options()
        var mask =
            ARES_OPT_FLAGS | ARES_OPT_LOOKUPS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB
        // Three attempts with each server, each waiting twice as long as the one before, fill the time.
        let attempt = options.timeout / 7 / Int64(max(1, options.servers.count))
        unsafe settings.timeout = Int32(clamping: max(50, attempt))
        unsafe settings.tries = 3
        // c-ares calls back with this object only between here and `ares_destroy`, which `close` calls
        // at the latest when the object goes.
        unsafe settings.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
        unsafe settings.sock_state_cb = { context, descriptor, reads, writes in
            guard let context = unsafe context else { return }
            let queries = unsafe Unmanaged<NameQueries>.fromOpaque(context)
            unsafe queries._withUnsafeGuaranteedRef {
                $0.socketChanged(descriptor, reads: reads != 0, writes: writes != 0)
            }
        }
        if !usesSystem {
            // The name is to be taken as it is: with no domains there is nothing to search.
            unsafe settings.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES
            // A server's refusal makes c-ares try the next one; the only server's is the answer.
            if options.servers.count == 1 { unsafe settings.flags |= ARES_FLAG_NOCHECKRESP }
            mask |= ARES_OPT_DOMAINS
        } else if let system = options.systemServers {
            unsafe settings.udp_port = system.port
            unsafe settings.tcp_port = system.port
            mask |= ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT
        }
        // The texts are copied by c-ares, and stay where they are for the length of the calls.
        var status = unsafe Self.withMutableCString(usesSystem ? "fb" : "b") { lookups in
            unsafe settings.lookups = lookups
            guard usesSystem, let system = options.systemServers else {
                return unsafe ares_init_options(&channel, &settings, mask)
            }
            return unsafe Self.withMutableCString(system.path) { path in
                unsafe settings.resolvconf_path = path
                return unsafe ares_init_options(&channel, &settings, mask | ARES_OPT_RESOLVCONF)
            }
        }
        if status == 0, !usesSystem { status = unsafe ares_set_servers_ports_csv(channel, servers) }
        guard status == 0 else { throw Self.failure(status) }
    }

    /// The servers as c-ares reads them, once they are known to be numeric.
    private static func serverList(_ servers: [String]) throws(NameResolver.Failure) -> String {
        var list: [String] = []
        for server in servers {
            guard let address = SocketAddress(numericServer: server) else {
                throw NameResolver.Failure(reason: "invalid name server \"\(server)\"")
            }
            list.append(address.description)
        }
        return list.joined(separator: ",")
    }

    private static func withMutableCString<R>(
        _ text: String, _ body: (UnsafeMutablePointer<CChar>?) -> R
    ) -> R {
        var characters = text.utf8.map { CChar(bitPattern: $0) } + [0]
        return unsafe characters.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress) }
    }

    // MARK: Queries

    /// What one query is about, while c-ares holds it.
    private final class Query {
        unowned let queries: NameQueries
        let name: String
        let isSecondTry: Bool

        init(queries: NameQueries, name: String, isSecondTry: Bool) {
            self.queries = queries
            self.name = name
            self.isSecondTry = isSecondTry
        }
    }

    /// Asks for `name`. Its answer may be there at once, without `progressed` being called for it.
    func start(_ name: String) {
        start(name, isSecondTry: false)
        giveUpOnFailedSockets()
    }

    private func start(_ name: String, isSecondTry: Bool) {
        guard let channel = unsafe channel else { return }
        var hints = ares_addrinfo_hints(
            ai_flags: Int32(ARES_AI_NOSORT), ai_family: family, ai_socktype: Int32(SOCK_STREAM.rawValue),
            ai_protocol: 0)
        let query = Query(queries: self, name: name, isSecondTry: isSecondTry)
        // c-ares calls back exactly once for each query, at the latest in `ares_destroy`: that call takes the
        // reference back. The name and the hints are copied.
        let context = unsafe Unmanaged.passRetained(query)
        unsafe ares_getaddrinfo(
            channel, isSecondTry ? name + "." : name, nil, &hints,
            { context, status, _, found in
                guard let context = unsafe context else { return }
                let query = unsafe Unmanaged<Query>.fromOpaque(context).takeRetainedValue()
                unsafe query.queries.answered(query, status: status, found: found)
            }, context.toOpaque())
    }

    private func answered(_ query: Query, status: Int32, found: UnsafeMutablePointer<ares_addrinfo>?) {
        defer { if let found = unsafe found { unsafe ares_freeaddrinfo(found) } }
        // c-ares 1.18 takes `search .` of resolv.conf, which systemd writes, for a faulty domain and fails before
        // it has tried the name alone. A final dot has it try that first.
        if status == Int32(ARES_EBADNAME), usesSystem, !query.isSecondTry, !query.name.hasSuffix(".") {
            return start(query.name, isSecondTry: true)
        }
        var outcome: Result<Records, NameResolver.Failure> = .failure(Self.failure(status))
        if status == 0 {
            outcome = .failure(.notFound)
            if let found = unsafe found, let records = unsafe Self.records(found) {
                outcome = .success(records)
            }
        } else if let socketError, status == Int32(ARES_ECANCELLED) {
            outcome = .failure(NameResolver.Failure(reason: socketError.description))
        }
        answers.append(Answer(name: query.name, outcome: outcome))
    }

    /// What was answered since the last call.
    func takeAnswers() -> [Answer] {
        guard !answers.isEmpty else { return [] }
        defer { answers = [] }
        return answers
    }

    /// Ends all queries, each with an answer that nobody needs to take.
    func close() {
        guard let channel = unsafe channel else { return }
        unsafe self.channel = nil
        unsafe ares_destroy(channel)
    }

    // MARK: Sockets

    /// c-ares opened a socket, closes one, or wants to hear of other things.
    private func socketChanged(_ descriptor: Int32, reads: Bool, writes: Bool) {
        guard reads || writes else {
            // c-ares closes it itself, right after this.
            _ = sockets.removeValue(forKey: descriptor)?.detach()
            return
        }
        if let socket = sockets[descriptor] {
            socket.wantsWrite = writes
            socket.lookAgain()
            return
        }
        let socket = NameQuerySocket(queries: self, loop: loop, descriptor: descriptor)
        socket.wantsWrite = writes
        do throws(SystemError) {
            try socket.register()
            sockets[descriptor] = socket
        } catch {
            socketError = error
        }
    }

    /// Lets c-ares read and write until a socket has nothing more for it: the loop reports changes only.
    fileprivate func process(_ socket: NameQuerySocket) {
        let descriptor = socket.descriptor
        var turns = 0
        while let channel = unsafe channel, sockets[descriptor] === socket {
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if socket.wantsWrite { ready.events |= Int16(POLLOUT) }
            // One entry is passed, and counted.
            guard unsafe poll(&ready, 1, 0) > 0 else {
                socket.mayRead = false
                break
            }
            guard turns < 32 else {
                socket.scheduleRead()
                break
            }
            turns += 1
            // An error is for c-ares to find, by reading.
            let reads = ready.revents & ~Int16(POLLOUT) != 0
            let writes = ready.revents & Int16(POLLOUT) != 0
            unsafe ares_process_fd(channel, reads ? descriptor : -1, writes ? descriptor : -1)
        }
        giveUpOnFailedSockets()
        progressed()
    }

    fileprivate func timePassed() {
        if let channel = unsafe channel { unsafe ares_process_fd(channel, -1, -1) }
        giveUpOnFailedSockets()
        progressed()
    }

    private func giveUpOnFailedSockets() {
        guard socketError != nil, let channel = unsafe channel else { return }
        unsafe ares_cancel(channel)
        socketError = nil
    }

    /// Has the loop come back when c-ares needs it for a timeout, or earlier.
    ///
    /// Every query under way has a socket, so the sockets carry the deadline.
    func wakeUp(notAfter time: Int64) {
        guard let channel = unsafe channel, !sockets.isEmpty else { return }
        var next = time
        var left = timeval()
        // c-ares writes into `left` and returns its address, or nothing when it waits for nothing.
        if unsafe ares_timeout(channel, nil, &left) != nil {
            let milliseconds = Int64(left.tv_sec) * 1000 + Int64(left.tv_usec) / 1000
            next = min(next, loop.now + milliseconds + 1)
        }
        for socket in sockets.values { socket.setDeadline(next) }
    }
}

/// A socket that belongs to c-ares.
private final class NameQuerySocket: Channel {
    var wantsWrite = false
    private unowned let queries: NameQueries

    init(queries: NameQueries, loop: EventLoop, descriptor: Int32) {
        self.queries = queries
        super.init(loop: loop, descriptor: descriptor)
    }

    override func readable() { queries.process(self) }
    override func writable() { if wantsWrite { queries.process(self) } }
    override func deadlinePassed() { queries.timePassed() }

    /// What is wanted has changed, and might have been there for long.
    func lookAgain() {
        mayRead = true
        scheduleRead()
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
        let addresses = ipv4 + ipv6
        return addresses.isEmpty ? nil : Records(addresses: addresses, timeToLive: timeToLive * 1000)
    }

    /// nginx's numbers and words for DNS's answers, c-ares's own words for the rest.
    fileprivate static func failure(_ status: Int32) -> NameResolver.Failure {
        switch Int(status) {
        case Int(ARES_EFORMERR): return NameResolver.Failure(reason: "1: Format error")
        case Int(ARES_ESERVFAIL): return NameResolver.Failure(reason: "2: Server failure")
        case Int(ARES_ENODATA), Int(ARES_ENOTFOUND), Int(ARES_ENONAME), Int(ARES_EBADNAME): return .notFound
        case Int(ARES_ENOTIMP): return NameResolver.Failure(reason: "4: Unimplemented")
        case Int(ARES_EREFUSED): return NameResolver.Failure(reason: "5: Operation refused")
        case Int(ARES_ETIMEOUT): return .timedOut
        case Int(ARES_ECANCELLED), Int(ARES_EDESTRUCTION): return .closed
        default:
            // A static text.
            return unsafe NameResolver.Failure(reason: String(cString: ares_strerror(status)))
        }
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
