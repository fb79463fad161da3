internal import CAres
internal import CSwitchyard
internal import Glibc

/// A channel of c-ares: what its queries have in common, and its sockets as channels of a loop.
///
/// Answers come as c-ares calls back. It may not be closed from inside one of its calls, so that whoever is called
/// back notes the answer, and hands it over when `progressed` says that there may be some.
@safe
final class AresChannel {
    struct Settings {
        var flags: Int32 = 0
        /// How long the first attempt with a server waits, in milliseconds. Later ones wait twice as long as the one
        /// before.
        var timeout: Int64
        /// With each server.
        var tries: Int32
        /// Asked by DNS alone, for names as they are. Empty: what the system says.
        var servers: [SocketAddress] = []
        /// Stands for the system's own.
        var system: (path: String, port: UInt16)?
    }

    var progressed: () -> Void = {}

    /// Made by `init`, ended by `close`, and used in between on the loop's thread only.
    private(set) var handle: ares_channel?
    private let loop: EventLoop
    private var sockets: [Int32: NameQuerySocket] = [:]
    /// A socket of c-ares could not be watched, so what is under way would never end by itself.
    private(set) var socketError: SystemError?

    init(loop: EventLoop, _ settings: Settings) throws(NameResolver.Failure) {
        self.loop = loop
        try open(settings)
    }

    deinit { close() }

    private func open(_ settings: Settings) throws(NameResolver.Failure) {
        let usesSystem = settings.servers.isEmpty
        var options = unsafe ares_options()
        var mask =
            ARES_OPT_FLAGS | ARES_OPT_LOOKUPS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB
        unsafe options.flags = settings.flags
        unsafe options.timeout = Int32(clamping: max(50, settings.timeout))
        unsafe options.tries = settings.tries
        // c-ares calls back with this object only between here and `ares_destroy`, which `close` calls
        // at the latest when the object goes.
        unsafe options.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
        unsafe options.sock_state_cb = { context, descriptor, reads, writes in
            guard let context = unsafe context else { return }
            let channel = unsafe Unmanaged<AresChannel>.fromOpaque(context)
            unsafe channel._withUnsafeGuaranteedRef {
                $0.socketChanged(descriptor, reads: reads != 0, writes: writes != 0)
            }
        }
        if !usesSystem {
            // With no domains there is nothing to search.
            mask |= ARES_OPT_DOMAINS
        } else if let system = settings.system {
            unsafe options.udp_port = system.port
            unsafe options.tcp_port = system.port
            mask |= ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT
        }
        // The texts are copied by c-ares, and stay where they are for the length of the calls.
        var status = unsafe Self.withMutableCString(usesSystem ? "fb" : "b") { lookups in
            unsafe options.lookups = lookups
            guard usesSystem, let system = settings.system else {
                return unsafe ares_init_options(&handle, &options, mask)
            }
            return unsafe Self.withMutableCString(system.path) { path in
                unsafe options.resolvconf_path = path
                return unsafe ares_init_options(&handle, &options, mask | ARES_OPT_RESOLVCONF)
            }
        }
        if status == 0, !usesSystem {
            let list = settings.servers.map(\.description).joined(separator: ",")
            status = unsafe ares_set_servers_ports_csv(handle, list)
            unsafe ares_set_socket_functions(handle, AresSockets.functions, nil)
        }
        guard status == 0 else { throw NameResolver.Failure(aresStatus: status) }
    }

    private static func withMutableCString<R>(
        _ text: String, _ body: (UnsafeMutablePointer<CChar>?) -> R
    ) -> R {
        var characters = text.utf8.map { CChar(bitPattern: $0) } + [0]
        return unsafe characters.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress) }
    }

    /// Ends all queries, each with a call back.
    func close() {
        guard let handle = unsafe handle else { return }
        unsafe self.handle = nil
        unsafe ares_destroy(handle)
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
        let socket = NameQuerySocket(owner: self, loop: loop, descriptor: descriptor)
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
        while let handle = unsafe handle, sockets[descriptor] === socket {
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
            unsafe ares_process_fd(handle, reads ? descriptor : -1, writes ? descriptor : -1)
        }
        giveUpOnFailedSockets()
        progressed()
    }

    fileprivate func timePassed() {
        if let handle = unsafe handle { unsafe ares_process_fd(handle, -1, -1) }
        giveUpOnFailedSockets()
        progressed()
    }

    /// Ends what is under way when a socket for it cannot be watched; to be called once a query was started.
    func giveUpOnFailedSockets() {
        guard socketError != nil, let handle = unsafe handle else { return }
        unsafe ares_cancel(handle)
        socketError = nil
    }

    /// Has the loop come back when c-ares needs it for a timeout, or earlier.
    ///
    /// Every query under way has a socket, so the sockets carry the deadline.
    func wakeUp(notAfter time: Int64) {
        guard let handle = unsafe handle, !sockets.isEmpty else { return }
        var next = time
        var left = timeval()
        // c-ares writes into `left` and returns its address, or nothing when it waits for nothing.
        if unsafe ares_timeout(handle, nil, &left) != nil {
            let milliseconds = Int64(left.tv_sec) * 1000 + Int64(left.tv_usec) / 1000
            next = min(next, loop.now + milliseconds + 1)
        }
        for socket in sockets.values { socket.setDeadline(next) }
    }
}

/// A socket that belongs to c-ares.
private final class NameQuerySocket: Channel {
    var wantsWrite = false
    private unowned let owner: AresChannel

    init(owner: AresChannel, loop: EventLoop, descriptor: Int32) {
        self.owner = owner
        super.init(loop: loop, descriptor: descriptor)
    }

    override func readable() { owner.process(self) }
    override func writable() { if wantsWrite { owner.process(self) } }
    override func deadlinePassed() { owner.timePassed() }

    /// What is wanted has changed, and might have been there for long.
    func lookAgain() {
        mayRead = true
        scheduleRead()
    }
}

/// The system calls that c-ares makes for servers that are asked by DNS alone.
///
/// They are the usual ones, but for datagrams: one that is no response, or malformed, is passed over here, since for
/// c-ares it would end the query that it looks like the answer of.
private enum AresSockets {
    /// Made once and never written to again; c-ares keeps the address.
    nonisolated(unsafe) static let functions: UnsafePointer<ares_socket_functions> = {
        let functions = UnsafeMutablePointer<ares_socket_functions>.allocate(capacity: 1)
        unsafe functions.initialize(
            to: ares_socket_functions(
                asocket: { family, type, `protocol`, _ in
                    let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
                    let descriptor = socket(family, type | flags, `protocol`)
                    if descriptor >= 0, type == Int32(SOCK_STREAM.rawValue) {
                        var on: Int32 = 1
                        // One Int32 is read.
                        _ = unsafe setsockopt(
                            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on,
                            socklen_t(MemoryLayout<Int32>.size))
                    }
                    return descriptor
                },
                aclose: { descriptor, _ in close(descriptor) },
                aconnect: { descriptor, address, length, _ in unsafe connect(descriptor, address, length) },
                arecvfrom: { descriptor, data, size, flags, sender, length, _ in
                    unsafe receive(descriptor, data, size, flags, sender, length)
                },
                asendv: { descriptor, parts, count, _ in unsafe writev(descriptor, parts, count) }))
        return unsafe UnsafePointer(functions)
    }()

    /// The pointers are c-ares's, good for the sizes that it gives; without a sender for a connection.
    private static func receive(
        _ descriptor: Int32, _ data: UnsafeMutableRawPointer?, _ size: Int, _ flags: Int32,
        _ sender: UnsafeMutablePointer<sockaddr>?, _ length: UnsafeMutablePointer<socklen_t>?
    ) -> Int {
        let room = unsafe length?.pointee ?? 0
        while true {
            unsafe length?.pointee = room
            let count = unsafe recvfrom(descriptor, data, size, flags, sender, length)
            guard count >= 0, unsafe sender != nil else { return count }
            // What is as long as fits may have been longer: c-ares asks for it anew.
            let message = unsafe Array(UnsafeRawBufferPointer(start: data, count: count))
            if count == size || DNSMessage.Response(message) != nil { return count }
        }
    }
}

extension NameResolver.Failure {
    /// nginx's numbers and words where it has some, c-ares's own for the rest.
    init(aresStatus status: Int32) {
        switch Int(status) {
        case Int(ARES_EFORMERR): self.init(code: 1)
        case Int(ARES_ESERVFAIL): self.init(code: 2)
        case Int(ARES_ENODATA), Int(ARES_ENOTFOUND), Int(ARES_ENONAME), Int(ARES_EBADNAME): self = .notFound
        case Int(ARES_ENOTIMP): self.init(code: 4)
        case Int(ARES_EREFUSED): self.init(code: 5)
        case Int(ARES_ETIMEOUT): self = .timedOut
        case Int(ARES_ECANCELLED), Int(ARES_EDESTRUCTION): self = .closed
        // A static text.
        default: unsafe self.init(reason: String(cString: ares_strerror(status)))
        }
    }
}
