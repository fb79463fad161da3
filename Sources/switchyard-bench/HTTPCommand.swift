internal import ArgumentParser
internal import EventLoop

struct HTTPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "http",
        abstract: "Sends GET requests on connections that are kept alive, and expects a 200 to each.",
        discussion: """
            Each connection has one request under way. With --rate, requests are due at that rate whatever becomes \
            of those before, wait for a connection that is free, and are timed from when they were due. One that the server closes after a response is opened \
            again; a request that crossed such a close on its way is sent once more, and counted as retried. \
            Prints, for example:
            {"requests":10000,"errors":0,"seconds":0.412345,"p50_us":61.0,"p99_us":142.0,"p999_us":180.0,"retried":0}
            """)

    @Option(help: "Where to connect: address:port, [IPv6]:port or unix:path.")
    var connect: Endpoint

    @Option(help: "The request target.")
    var path = "/"

    @Option(help: "Connections, 1...65535.")
    var connections = 1

    @Option(help: "Requests in all.")
    var requests: Int

    @Option(help: "Header fields of a request, Host among them, 1...100.")
    var headers = 10

    @Flag(help: "Each request has a connection of its own, and with --tls a handshake.")
    var fresh = false

    @Flag(help: "With --fresh and --tls, sessions are resumed.")
    var resume = false

    @Option(help: "Requests in a second, 1...1000000; without, as many as get done.")
    var rate: Int?

    @OptionGroup var tls: TLSOptions

    @Option(help: "Seconds after which whatever is left has failed.")
    var timeout = 60.0

    mutating func validate() throws {
        try Validation.connections(connections)
        try Validation.atLeastOne(requests, "requests")
        try Validation.path(path)
        try Validation.rate(rate)
        try Validation.timeout(timeout)
        guard (1...100).contains(headers) else { throw ValidationError("--headers is 1...100.") }
    }

    mutating func run() throws {
        let run = try BenchRun(total: requests, timeout: timeout)
        let request = HTTPLoad.request(path: path, host: connect.host, headers: headers)
        let load = HTTPLoad(
            run: run, address: connect.address, request: request, isFresh: fresh,
            tls: try tls.make(resumes: resume), isOpenLoop: rate != nil)
        for _ in 0..<min(connections, requests) { load.open() }
        if let rate { Pacer(loop: run.loop, rate: rate, total: requests, due: load.due).begin() }
        run.turn { run.isComplete }
        // Those that are under way with the first have nothing to resume, nor some whose predecessor ended early.
        let allowed = connections + max(50, requests / 10)
        if resume, let resumed = load.tls?.resumed, resumed + allowed < requests {
            run.failed("only \(resumed) of \(requests) sessions were resumed", count: 0)
        }
        try run.report("requests", andRetries: true)
    }
}

enum Validation {
    static func connections(_ number: Int) throws {
        guard (1...65_535).contains(number) else { throw ValidationError("--connections is 1...65535.") }
    }

    static func atLeastOne(_ number: Int, _ option: String) throws {
        guard number >= 1 else { throw ValidationError("--\(option) is at least 1.") }
    }

    static func path(_ path: String) throws {
        guard path.hasPrefix("/"), path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValidationError("--path starts with a slash and has no spaces.")
        }
    }

    static func rate(_ rate: Int?) throws {
        guard (1...1_000_000).contains(rate ?? 1) else { throw ValidationError("--rate is 1...1000000.") }
    }

    static func timeout(_ seconds: Double) throws {
        guard seconds > 0, seconds <= 86_400 else {
            throw ValidationError("--timeout is above 0, and a day at most.")
        }
    }
}
