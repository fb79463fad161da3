internal import CSwitchyard
internal import Glibc

/// System calls on sockets, with errors that say which call failed.
package enum Sockets {
    package struct ListenOptions: Sendable {
        package var backlog: Int32 = 511
        package var reusePort = false
        package var ipv6Only = true
        package var sendBuffer: Int?
        package var receiveBuffer: Int?
        /// SO_KEEPALIVE, and its times in seconds and its count; accepted connections inherit them.
        package var keepAlive = false
        package var keepAliveIdle: Int?
        package var keepAliveInterval: Int?
        package var keepAliveCount: Int?

        package init() {}
    }

    /// A bound and listening socket. A UNIX socket's file that nothing listens on is replaced.
    package static func listen(on address: SocketAddress, options: ListenOptions) throws(SystemError) -> Int32
    {
        let descriptor = try stream(address)
        do throws(SystemError) {
            try setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
            if options.reusePort { try setOption(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            if case .ipv6 = address {
                try setOption(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, options.ipv6Only ? 1 : 0)
            }
            if let size = options.sendBuffer {
                try setOption(descriptor, SOL_SOCKET, SO_SNDBUF, Int32(clamping: size))
            }
            if let size = options.receiveBuffer {
                try setOption(descriptor, SOL_SOCKET, SO_RCVBUF, Int32(clamping: size))
            }
            try setKeepAlive(descriptor, options)
            try bind(descriptor, address)
            guard Glibc.listen(descriptor, options.backlog) == 0 else { throw SystemError("listen") }
        } catch {
            _ = close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Lets further sockets listen on the address of this one.
    package static func sharePort(_ descriptor: Int32) throws(SystemError) {
        try setOption(descriptor, SOL_SOCKET, SO_REUSEPORT, 1)
    }

    private static func setKeepAlive(_ descriptor: Int32, _ options: ListenOptions) throws(SystemError) {
        guard options.keepAlive else { return }
        try setOption(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
        let details = [
            (TCP_KEEPIDLE, options.keepAliveIdle), (TCP_KEEPINTVL, options.keepAliveInterval),
            (TCP_KEEPCNT, options.keepAliveCount),
        ]
        for case (let name, let value?) in details {
            try setOption(descriptor, Int32(IPPROTO_TCP), name, Int32(clamping: value))
        }
    }

    private static func bind(_ descriptor: Int32, _ address: SocketAddress) throws(SystemError) {
        func attempt() throws(SystemError) -> Bool {
            unsafe try address.withSockaddr(for: "bind") { unsafe Glibc.bind(descriptor, $0, $1) == 0 }
        }
        if try attempt() { return openToAll(address) }
        let error = SystemError("bind")
        guard error.code == EADDRINUSE, case .unix(let path) = address, isSocket(path), !isListening(address)
        else { throw error }
        // The path is passed as a C string for the length of the call.
        _ = unsafe unlink(path)
        guard try attempt() else { throw SystemError("bind") }
        openToAll(address)
    }

    /// nginx's mode of a UNIX socket: whoever may reach the directory may connect.
    private static func openToAll(_ address: SocketAddress) {
        guard case .unix(let path) = address else { return }
        // The path is passed as a C string for the length of the call.
        _ = unsafe chmod(path, 0o666)
    }

    /// What is no socket has not been left behind by a server that ended, and is nobody's to remove.
    private static func isSocket(_ path: String) -> Bool {
        var facts = stat()
        return unsafe lstat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFSOCK
    }

    /// Whether somebody accepts connections on a UNIX socket.
    private static func isListening(_ address: SocketAddress) -> Bool {
        guard let probe = try? stream(address) else { return true }
        defer { _ = close(probe) }
        let result = unsafe try? address.withSockaddr(for: "connect") { unsafe Glibc.connect(probe, $0, $1) }
        return result == 0 || errno != ECONNREFUSED
    }

    /// A socket whose connection to `address` has begun; it is made when the socket turns writable.
    package static func connect(to address: SocketAddress) throws(SystemError) -> Int32 {
        let descriptor = try stream(address)
        do throws(SystemError) {
            let result = unsafe try address.withSockaddr(for: "connect") {
                unsafe Glibc.connect(descriptor, $0, $1)
            }
            guard result == 0 || errno == EINPROGRESS else { throw SystemError("connect") }
        } catch {
            _ = close(descriptor)
            throw error
        }
        return descriptor
    }

    /// The outcome of a connection attempt: 0, or an `errno` value.
    package static func pendingError(_ descriptor: Int32) -> Int32 {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        // `value` is as large as `length` says.
        guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &value, &length) == 0 else { return errno }
        return value
    }

    package enum AcceptResult: Sendable {
        case connection(Int32, peer: SocketAddress)
        /// Nothing is waiting, or what was waiting has gone.
        case none
        /// The process or the system is out of descriptors or memory.
        case exhausted(SystemError)
    }

    package static func accept(_ listener: Int32) -> AcceptResult {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // `storage` is as large as `length` says and holds any address.
        let descriptor = unsafe sy_accept(listener, &storage, &length)
        guard descriptor < 0 else {
            // A UNIX client has no name, and then the kernel leaves the rest of `storage` alone.
            return .connection(descriptor, peer: length <= 2 ? .unix(path: "") : SocketAddress(storage))
        }
        switch errno {
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted(SystemError("accept4"))
        default: return .none
        }
    }

    /// The local end of a connection.
    package static func localAddress(_ descriptor: Int32) -> SocketAddress? {
        unsafe address(of: descriptor, by: getsockname)
    }

    static func peerAddress(_ descriptor: Int32) -> SocketAddress? {
        unsafe address(of: descriptor, by: getpeername)
    }

    private static func address(
        of descriptor: Int32,
        by call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // As for `accept`.
        let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe call(descriptor, $0, &length)
            }
        }
        return result == 0 ? SocketAddress(storage) : nil
    }

    package static func disableDelay(_ descriptor: Int32) { delays(descriptor, false) }

    static func delays(_ descriptor: Int32, _ delays: Bool) {
        try? setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, delays ? 0 : 1)
    }

    package static func enableKeepAlive(_ descriptor: Int32) {
        try? setOption(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
    }

    /// Closing is to send a reset rather than wait for what is unsent.
    package static func resetOnClose(_ descriptor: Int32) {
        var value = linger(l_onoff: 1, l_linger: 0)
        // `value` is as large as the length says.
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    package static func shutdownWrite(_ descriptor: Int32) {
        _ = shutdown(descriptor, Int32(SHUT_WR))
    }

    private static func stream(_ address: SocketAddress) throws(SystemError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.family, type, 0)
        guard descriptor >= 0 else { throw SystemError("socket") }
        return descriptor
    }

    private static func setOption(_ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32)
        throws(SystemError)
    {
        var value = value
        // `value` is as large as the length says.
        let result = unsafe setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
        guard result == 0 else { throw SystemError("setsockopt") }
    }
}
