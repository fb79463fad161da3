internal import ArgumentParser
internal import EventLoop

struct BackendCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backend",
        abstract: "Answers every request with the same 200 bytes, and echoes WebSocket messages on any path.",
        discussion: "Prints the address that it listens on, and runs until it is killed.")

    @Option(help: "Where to listen: address:port, [IPv6]:port or unix:path. Port 0 lets the system choose.")
    var listen: Endpoint

    mutating func run() throws {
        Threads.ignoreBrokenPipes()
        ProcessLimits.raiseDescriptors()
        let loop = try EventLoop()
        // A thousand tunnels may be opened at once; a connection that finds no room is tried again after a second only.
        var options = Sockets.ListenOptions()
        options.backlog = 4096
        let descriptor = try Sockets.listen(on: listen.address, options: options)
        try BackendListener(loop: loop, descriptor: descriptor).startListening()
        Output.line("listening on \((Sockets.localAddress(descriptor) ?? listen.address).description)")
        loop.run()
    }
}

final class BackendListener: ListenerChannel {
    private let shared = BackendShared()

    override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
        Sockets.disableDelay(descriptor)
        let connection = BackendConnection(loop: loop, descriptor: descriptor, shared: shared)
        do throws(SystemError) {
            try connection.register()
        } catch {
            connection.close()
            Output.error("switchyard-bench: \(error.description)")
        }
    }

    override func acceptFailed(_ error: SystemError) {
        Output.error("switchyard-bench: \(error.description)")
    }
}
