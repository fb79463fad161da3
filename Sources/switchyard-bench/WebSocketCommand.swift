internal import ArgumentParser
internal import EventLoop

struct WebSocketCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ws",
        abstract: "Sends WebSocket messages to an echo, and expects each to come back.",
        discussion: """
            A connection sends one message for each that returns, after the first ones. With --rate, messages are \
            due at that rate whatever becomes of those before, on one connection after the other, and are timed \
            from when they were due. Prints, for example:
            {"messages":10000,"errors":0,"seconds":0.412345,"p50_us":61.0,"p99_us":142.0,"p999_us":180.0}
            """)

    @Option(help: "Where to connect: address:port, [IPv6]:port or unix:path.")
    var connect: Endpoint

    @Option(help: "The request target of the handshake.")
    var path = "/"

    @Option(help: "WebSockets, 1...65535.")
    var connections = 1

    @Flag(help: "Over HTTP/2 without TLS (RFC 8441), by prior knowledge.")
    var http2 = false

    @Option(help: "WebSockets on one connection of HTTP/2, 1...1000.")
    var streams = 1

    @Flag(help: "Messages are text, compressed by permessage-deflate.")
    var deflate = false

    @Option(help: "Messages that a connection has under way at a time, 1...10000.")
    var inFlight = 1

    @Option(help: "Bytes of a message, 0...16777216.")
    var size = 128

    @Option(help: "Messages in all.")
    var messages: Int

    @Flag(
        help: """
            Print `ready` when all WebSockets are open, and begin upon a line on standard input; print `done` when \
            all messages have returned, and close upon another.
            """)
    var stepwise = false

    @Option(help: "Messages in a second, 1...1000000; without, as many as get done.")
    var rate: Int?

    @OptionGroup var tls: TLSOptions

    @Option(help: "Seconds after which whatever is left has failed.")
    var timeout = 60.0

    mutating func validate() throws {
        try Validation.connections(connections)
        try Validation.atLeastOne(messages, "messages")
        try Validation.path(path)
        try Validation.timeout(timeout)
        try Validation.rate(rate)
        guard (1...1000).contains(streams) else { throw ValidationError("--streams is 1...1000.") }
        guard !http2 || !tls.tls else { throw ValidationError("--http2 is without --tls.") }
        guard (1...10_000).contains(inFlight) else { throw ValidationError("--in-flight is 1...10000.") }
        guard (0...1 << 24).contains(size) else { throw ValidationError("--size is 0...16777216.") }
        guard inFlight * size <= 1 << 28 else {
            throw ValidationError("--in-flight times --size is too much.")
        }
    }

    mutating func run() throws {
        let run = try BenchRun(total: messages, timeout: timeout)
        let load = WebSocketLoad(
            run: run, endpoint: connect, path: path, size: size, inFlight: inFlight,
            tls: try tls.make(), deflates: deflate)
        var carriers: [BenchHTTP2Connection] = []
        var sockets: [MessageSocket] = []
        for number in 0..<min(connections, messages) {
            if http2, number % streams == 0 { carriers.append(try BenchHTTP2Connection(load: load)) }
            sockets.append(
                try MessageSocket(load: load, over: carriers.last, startsAtOnce: rate == nil && !stepwise))
            // As with `hold`: no more at a time than proxies and backends have room for.
            guard number % Tunnels.maxOpening == Tunnels.maxOpening - 1 else { continue }
            run.turn { sockets.allSatisfy { $0.state != .opening } }
        }
        if rate != nil || stepwise { run.turn { sockets.allSatisfy { $0.state != .opening } } }
        if stepwise, run.errors == 0 {
            Output.line("ready")
            try run.turnUntilLine()
        }
        if let rate {
            try pace(sockets, run, rate)
        } else if stepwise {
            for socket in sockets { socket.start() }
        }
        run.turn { run.isComplete || sockets.allSatisfy { $0.state == .ended } }
        if stepwise, run.errors == 0 {
            Output.line("done")
            try run.turnUntilLine()
        }
        for socket in sockets { socket.closeTunnel() }
        run.turn { sockets.allSatisfy { $0.state == .ended } }
        for carrier in carriers { carrier.leave() }
        try run.report("messages")
    }

    private func pace(_ sockets: [MessageSocket], _ run: BenchRun, _ rate: Int) throws(SystemError) {
        var next = 0
        Pacer(loop: run.loop, rate: rate, total: messages) { time in
            let open = sockets.filter { $0.state == .open }
            guard run.take(1) == 1 else { return }
            guard !open.isEmpty else { return run.failed("no WebSocket is open") }
            next = (next + 1) % open.count
            open[next].sendDue(at: time)
        }.begin()
    }
}

final class MessageSocket: BenchWebSocket {
    /// When the messages under way were sent, in order: those sent with one call stand together.
    private var batches: [(count: Int, sentAt: Int64)] = []
    private var firstBatch = 0
    /// As soon as it is open; otherwise upon `start` or `sendDue`.
    private let startsAtOnce: Bool
    /// A message follows each that returns.
    private var isLoop: Bool

    /// - Throws: the system call that failed.
    init(load: WebSocketLoad, over connection: BenchHTTP2Connection? = nil, startsAtOnce: Bool = true)
        throws(SystemError)
    {
        self.startsAtOnce = startsAtOnce
        isLoop = startsAtOnce
        try super.init(load: load, over: connection)
    }

    override func opened() { if startsAtOnce { sendNext(load.inFlight) } }

    func start() {
        guard state == .open else { return }
        isLoop = true
        sendNext(load.inFlight)
    }

    /// A message that was due at this time, in nanoseconds, and has been taken from the run.
    func sendDue(at time: Int64) {
        batches.append((1, time))
        sendMessages(1)
    }

    override func returned(_ count: Int) {
        let now = BenchClock.now()
        var left = count
        while left > 0, firstBatch < batches.count {
            let taken = min(left, batches[firstBatch].count)
            load.run.succeeded(count: taken, nanoseconds: now - batches[firstBatch].sentAt)
            batches[firstBatch].count -= taken
            left -= taken
            if batches[firstBatch].count == 0 { firstBatch += 1 }
        }
        // All of the kept ones are as many as may be under way, at most.
        if firstBatch * 2 >= batches.count {
            batches.removeFirst(firstBatch)
            firstBatch = 0
        }
        if isLoop { sendNext(count) }
    }

    private func sendNext(_ count: Int) {
        let count = load.run.take(count)
        guard count > 0 else { return }
        batches.append((count, BenchClock.now()))
        sendMessages(count)
    }

    override func ended(_ failure: String?) {
        guard let failure else { return }
        load.run.failed(failure, count: underWay)
    }
}
