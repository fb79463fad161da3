internal import ArgumentParser
internal import EventLoop

struct WebSocketCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ws",
        abstract: "Sends WebSocket messages to an echo, and expects each to come back.",
        discussion: """
            A connection sends one message for each that returns, after the first ones. Prints, for example:
            {"messages":10000,"errors":0,"seconds":0.412345,"p50_us":61.0,"p99_us":142.0}
            """)

    @Option(help: "Where to connect: address:port, [IPv6]:port or unix:path.")
    var connect: Endpoint

    @Option(help: "The request target of the handshake.")
    var path = "/"

    @Option(help: "Connections, 1...65535.")
    var connections = 1

    @Option(help: "Messages that a connection has under way at a time, 1...10000.")
    var inFlight = 1

    @Option(help: "Bytes of a message, 0...16777216.")
    var size = 128

    @Option(help: "Messages in all.")
    var messages: Int

    @OptionGroup var tls: TLSOptions

    @Option(help: "Seconds after which whatever is left has failed.")
    var timeout = 60.0

    mutating func validate() throws {
        try Validation.connections(connections)
        try Validation.atLeastOne(messages, "messages")
        try Validation.path(path)
        try Validation.timeout(timeout)
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
            tls: try tls.make())
        var sockets: [MessageSocket] = []
        for _ in 0..<min(connections, messages) { sockets.append(try MessageSocket(load: load)) }
        run.turn { run.isComplete || sockets.allSatisfy { $0.state == .ended } }
        for socket in sockets { socket.closeTunnel() }
        run.turn { sockets.allSatisfy { $0.state == .ended } }
        try run.report("messages")
    }
}

final class MessageSocket: BenchWebSocket {
    /// When the messages under way were sent, in order: those sent with one call stand together.
    private var batches: [(count: Int, sentAt: Int64)] = []
    private var firstBatch = 0

    override func opened() { sendNext(load.inFlight) }

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
        sendNext(count)
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
