internal import Glibc

/// Calls on the sockets of a loop: the kernel's or, in tests, those of its network in memory.
extension EventLoop {
    /// A socket whose connection to `address` has begun; it is made when the socket turns writable.
    package func connect(to address: SocketAddress) throws(SystemError) -> Int32 {
        if let memory { return try memory.beginConnection(to: address) }
        return try Sockets.connect(to: address)
    }

    func accept(_ listener: Int32) -> Sockets.AcceptResult {
        if let memory { return memory.accept(listener) }
        return Sockets.accept(listener)
    }

    func shutdownWrite(_ descriptor: Int32) {
        if let memory { return memory.shutdownWrite(descriptor) }
        Sockets.shutdownWrite(descriptor)
    }

    /// Closes a connection that no channel was made for.
    package func abandon(_ descriptor: Int32) { closeSocket(descriptor) }

    func closeSocket(_ descriptor: Int32) {
        if let memory { return memory.close(descriptor) }
        _ = Glibc.close(descriptor)
    }
}

/// What the socket of a channel says of itself, and what it may be told.
extension Channel {
    /// The local end of a connection, or where a socket listens.
    package final var localAddress: SocketAddress? {
        if let memory = loop.memory { return memory.localAddress(descriptor) }
        return Sockets.localAddress(descriptor)
    }

    /// The other end of a connection; `nil` where that was reset, and in memory.
    package final var peerAddress: SocketAddress? {
        loop.memory == nil && !keepsTimeOnly ? Sockets.peerAddress(descriptor) : nil
    }

    /// The outcome of a connection attempt, once the socket can be written: 0, or an `errno` value.
    package final var pendingError: Int32 {
        // What has no socket fails by its peer, which alone can reset it.
        if keepsTimeOnly { return sawFailure ? ECONNRESET : 0 }
        if let memory = loop.memory { return memory.takeError(descriptor) }
        // An attempt that failed is reported as broken; of another the kernel need not be asked.
        guard sawFailure else { return 0 }
        return Sockets.pendingError(descriptor)
    }

    /// TCP alone; a network in memory delays nothing.
    ///
    /// - Parameter delays: small packets wait for what was sent before to be acknowledged, as in a new socket.
    package final func delays(_ delays: Bool) {
        if loop.memory == nil { Sockets.delays(descriptor, delays) }
    }

    /// A network in memory forgets no connection, so there it means nothing.
    package final func enableKeepAlive() {
        if loop.memory == nil { Sockets.enableKeepAlive(descriptor) }
    }

    /// Closing is to send a reset rather than wait for what is unsent.
    final func resetSocketOnClose() {
        if keepsTimeOnly { return }
        if let memory = loop.memory { return memory.resetOnClose(descriptor) }
        Sockets.resetOnClose(descriptor)
    }
}
