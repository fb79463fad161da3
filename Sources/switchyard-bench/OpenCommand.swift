internal import ArgumentParser
internal import EventLoop

struct OpenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open",
        abstract: "Opens WebSockets and closes each at once, as often as it is told.",
        discussion: """
            Prints, for example:
            {"handshakes":10000,"errors":0,"seconds":0.412345,"p50_us":61.0,"p99_us":142.0,"p999_us":180.0}
            """)

    @Option(help: "Where to connect: address:port, [IPv6]:port or unix:path.")
    var connect: Endpoint

    @Option(help: "The request target of the handshake.")
    var path = "/"

    @Option(help: "Connections at a time, 1...65535.")
    var connections = 1

    @Option(help: "Handshakes in all.")
    var handshakes: Int

    @OptionGroup var tls: TLSOptions

    @Option(help: "Seconds after which whatever is left has failed.")
    var timeout = 60.0

    mutating func validate() throws {
        try Validation.connections(connections)
        try Validation.atLeastOne(handshakes, "handshakes")
        try Validation.path(path)
        try Validation.timeout(timeout)
    }

    mutating func run() throws {
        let run = try BenchRun(total: handshakes, timeout: timeout)
        let load = WebSocketLoad(
            run: run, endpoint: connect, path: path, size: 0, inFlight: 1, tls: try tls.make())
        for _ in 0..<min(connections, handshakes) { BriefSocket.open(load) }
        run.turn { run.isComplete }
        try run.report("handshakes")
    }
}

/// A WebSocket that is closed as soon as it is open; another follows it.
final class BriefSocket: BenchWebSocket {
    private let startedAt = BenchClock.now()
    private var openedAt: Int64?

    /// Opens one, unless all have been.
    static func open(_ load: WebSocketLoad) {
        while load.run.take(1) == 1 {
            do throws(SystemError) {
                _ = try BriefSocket(load: load)
                return
            } catch {
                load.run.failed(error.description)
            }
        }
    }

    override func opened() {
        openedAt = BenchClock.now()
        closeTunnel()
    }

    override func ended(_ failure: String?) {
        if let openedAt, failure == nil {
            load.run.succeeded(nanoseconds: openedAt - startedAt)
        } else {
            load.run.failed(failure ?? "the WebSocket was not opened")
        }
        Self.open(load)
    }
}
