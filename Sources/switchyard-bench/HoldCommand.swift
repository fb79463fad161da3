internal import ArgumentParser
internal import EventLoop

struct HoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold",
        abstract: "Opens WebSockets and keeps them open, idle, until a line comes on standard input.",
        discussion: """
            Prints `ready` when all are open and their first round trips are done, and after the line (or the end \
            of the input) closes them. With --messages-then, the line first has that many more made, and `done` printed; \
            another has them closed. Prints at last, for example:
            {"tunnels":2000,"errors":0,"seconds":3.120000,"p50_us":0.0,"p99_us":0.0,"p999_us":0.0}
            """)

    @Option(help: "Where to connect: address:port, [IPv6]:port or unix:path.")
    var connect: Endpoint

    @Option(help: "The request target of the handshake.")
    var path = "/"

    @Option(help: "Connections, 1...65535.")
    var connections = 2000

    @Option(help: "Round trips on each connection before it is left idle.")
    var messagesFirst = 0

    @Option(help: "Round trips on each connection after it was left idle.")
    var messagesThen = 0

    @Option(help: "Bytes of such a message, 0...16777216.")
    var size = 128

    @OptionGroup var tls: TLSOptions

    @Option(help: "Seconds after which everything ends, with a failure if it was not done.")
    var timeout = 600.0

    mutating func validate() throws {
        try Validation.connections(connections)
        try Validation.path(path)
        try Validation.timeout(timeout)
        guard messagesFirst >= 0 else { throw ValidationError("--messages-first is not negative.") }
        guard messagesThen >= 0 else { throw ValidationError("--messages-then is not negative.") }
        guard (0...1 << 24).contains(size) else { throw ValidationError("--size is 0...16777216.") }
    }

    mutating func run() throws {
        let run = try BenchRun(total: connections, timeout: timeout)
        let load = WebSocketLoad(
            run: run, endpoint: connect, path: path, size: size, inFlight: 1, tls: try tls.make())
        let tunnels = Tunnels(load: load, total: connections, roundTrips: messagesFirst)
        tunnels.openMore()
        run.turn { tunnels.settled == connections }
        if run.errors == 0, tunnels.settled == connections {
            Output.line("ready")
            try run.turnUntilLine()
        }
        if messagesThen > 0, run.errors == 0 {
            tunnels.makeRoundTrips(messagesThen)
            run.turn { tunnels.settled == connections || run.errors > 0 }
            Output.line("done")
            try run.turnUntilLine()
        }
        tunnels.close()
        run.turn { run.isComplete }
        try run.report("tunnels")
    }
}

/// The tunnels of a run, opened a number at a time.
final class Tunnels {
    /// Handshakes at a time: no more than a listener's backlog has room for.
    static let maxOpening = 128

    let load: WebSocketLoad
    private(set) var roundTrips: Int
    private let total: Int
    /// Of those that are to go on after they were idle.
    private var resumed: IndexingIterator<[IdleSocket]>?
    private var sockets: [IdleSocket] = []
    private var started = 0
    /// Those that are open and idle, or have failed.
    private(set) var settled = 0

    init(load: WebSocketLoad, total: Int, roundTrips: Int) {
        self.load = load
        self.total = total
        self.roundTrips = roundTrips
    }

    /// Has every tunnel make so many, a number of tunnels at a time.
    func makeRoundTrips(_ number: Int) {
        resumed = sockets.makeIterator()
        roundTrips = number
        settled = 0
        for _ in 0..<Self.maxOpening { resumeOne() }
    }

    private func resumeOne() {
        guard let socket = resumed?.next() else { return }
        socket.goOn(roundTrips)
    }

    func openMore() {
        while started < total, started - settled < Self.maxOpening {
            started += 1
            do throws(SystemError) {
                sockets.append(try IdleSocket(tunnels: self))
            } catch {
                load.run.failed(error.description)
                settled += 1
            }
        }
    }

    fileprivate func oneSettled() {
        settled += 1
        if resumed == nil { openMore() } else { resumeOne() }
    }

    func close() {
        for socket in sockets { socket.closeTunnel() }
    }
}

private final class IdleSocket: BenchWebSocket {
    private let tunnels: Tunnels
    private var isSettled = false
    private var left: Int

    init(tunnels: Tunnels) throws(SystemError) {
        self.tunnels = tunnels
        left = tunnels.roundTrips
        try super.init(load: tunnels.load)
    }

    func goOn(_ roundTrips: Int) {
        isSettled = false
        left = roundTrips
        if state == .open { goOn() } else { settle() }
    }

    override func opened() { goOn() }
    override func returned(_ count: Int) { goOn() }

    private func goOn() {
        guard left > 0 else { return settle() }
        left -= 1
        sendMessages(1)
    }

    private func settle() {
        guard !isSettled else { return }
        isSettled = true
        tunnels.oneSettled()
    }

    override func ended(_ failure: String?) {
        settle()
        if let failure { load.run.failed(failure) } else { load.run.succeeded(nanoseconds: 0) }
    }
}
