package import EventLoop
internal import Glibc

/// The demo's server on a thread of its own.
package final class DemoBackendThread {
    /// What only the thread touches once it runs.
    private final class Confined: @unchecked Sendable {
        // The thread's own after `start`; before that, of whoever made it.
        let loop: EventLoop
        let server: DemoServer

        init(loop: EventLoop, server: DemoServer) {
            self.loop = loop
            self.server = server
        }
    }

    private let confined: Confined
    private let poster: EventLoopPoster
    private var thread: Threads.Handle?
    package let port: UInt16

    /// Listens; connections wait until `start`.
    ///
    /// `host` is numeric.
    ///
    /// - Throws: the system call that failed.
    package init(host: String, port: UInt16) throws(SystemError) {
        confined = try Self.make(host: host, port: port)
        poster = confined.loop.poster
        self.port = confined.server.port
    }

    /// Whether `init` takes the host.
    package static func isAddress(_ host: String) -> Bool { SocketAddress(numericHost: host, port: 0) != nil }

    private static func make(host: String, port: UInt16) throws(SystemError) -> Confined {
        guard let address = SocketAddress(numericHost: host, port: port) else {
            throw SystemError("inet_pton", on: host, code: EINVAL)
        }
        Threads.ignoreBrokenPipes()
        let loop = try EventLoop()
        return Confined(loop: loop, server: try DemoServer(loop: loop, address: address))
    }

    package func start() {
        let confined = confined
        thread = try? Threads.start(name: "demo backend") { confined.loop.run() }
    }

    /// Closes all connections and waits for the thread.
    package func stop() {
        let confined = confined
        poster.post {
            confined.server.close()
            confined.loop.stop()
        }
        thread?.join()
        thread = nil
    }

    /// Serves on this thread until SIGINT, SIGTERM or SIGQUIT.
    ///
    /// `started` gets the address that is listened on.
    ///
    /// - Throws: the system call that failed.
    package static func runUntilSignalled(
        host: String, port: UInt16, started: (String) -> Void
    ) throws(SystemError) {
        let confined = try make(host: host, port: port)
        let signals = try SignalChannel(loop: confined.loop, signals: SignalSet([SIGINT, SIGTERM, SIGQUIT])) {
            _ in
            confined.server.close()
            confined.loop.stop()
        }
        try signals.register()
        started(confined.server.address.description)
        confined.loop.run()
        signals.close()
        confined.loop.close()
    }
}
