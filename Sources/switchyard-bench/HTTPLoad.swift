internal import EventLoop

/// Requests over a number of connections, one at a time on each.
///
/// In a closed loop a connection sends its next request when it has the answer to the last. In an open one
/// requests are due at a fixed rate, wait for a connection that is free, and count from when they were due.
final class HTTPLoad {
    let run: BenchRun
    let request: [UInt8]
    private let address: SocketAddress
    /// Connections are not used again.
    let isFresh: Bool
    let tls: BenchTLS?
    /// Attempts in a row that did not end in a connection.
    private var refusals = 0
    private let isOpenLoop: Bool
    /// When requests were due that no connection has taken, in nanoseconds; the first ones stand at the end.
    private var waiting: [Int64] = []
    private var idle: [HTTPLoadConnection] = []
    private var hasGivenUp = false

    init(
        run: BenchRun, address: SocketAddress, request: [UInt8], isFresh: Bool = false, tls: BenchTLS? = nil,
        isOpenLoop: Bool = false
    ) {
        self.isFresh = isFresh
        self.tls = tls
        self.run = run
        self.address = address
        self.request = request
        self.isOpenLoop = isOpenLoop
    }

    /// A GET with fields such as browsers send, and numbered ones after those.
    static func request(path: String, host: String, headers: Int) -> [UInt8] {
        let common = [
            "Host: \(host)", "User-Agent: switchyard-bench/1.0",
            "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
            "Accept-Language: en-GB,en;q=0.7", "Accept-Encoding: gzip, deflate",
            "Referer: http://\(host)/start",
            "Cookie: session=4f3c2a1b; theme=dark", "Cache-Control: max-age=0", "DNT: 1", "Priority: u=0, i",
        ]
        let fields = (0..<headers).map { $0 < common.count ? common[$0] : "X-Field-\($0): value-\($0)" }
        return Array("GET \(path) HTTP/1.1\r\n\(fields.map { $0 + "\r\n" }.joined())\r\n".utf8)
    }

    // MARK: Requests

    /// Begins a request, if there is one to be made.
    ///
    /// - Returns: when it begins to count, in nanoseconds.
    func take() -> Int64? {
        if isOpenLoop { return waiting.popLast() }
        return run.take(1) == 1 ? BenchClock.now() : nil
    }

    /// Has a request made as soon as a connection is free. Only in an open loop.
    func due(at time: Int64) {
        guard run.take(1) == 1 else { return }
        guard !hasGivenUp else { return run.failed("no connection could be made") }
        waiting.insert(time, at: 0)
        if let connection = idle.popLast() { connection.takeRequest() }
    }

    /// A request that crossed the end of its connection is made again.
    func giveBack(_ time: Int64) {
        run.giveBack()
        if isOpenLoop, run.take(1) == 1 { waiting.append(time) }
    }

    // MARK: Connections

    /// Opens a connection. In a closed loop, only with a request that is to be made on it.
    func open() {
        guard !run.isComplete else { return }
        let first = isOpenLoop ? nil : take()
        guard isOpenLoop || first != nil else { return }
        do throws(SystemError) {
            let connection = HTTPLoadConnection(
                load: self, descriptor: try Sockets.connect(to: address), countsFrom: first)
            try connection.register()
        } catch {
            failedToOpen(error.description)
        }
    }

    /// A connection could not be made, and so a request not be sent. After a few of those in a row the rest is not
    /// tried.
    func failedToOpen(_ reason: String) {
        refusals += 1
        if refusals > 10 {
            let rest = run.take(.max) + waiting.count
            waiting = []
            hasGivenUp = true
            run.failed(reason, count: (isOpenLoop ? 0 : 1) + rest)
        } else {
            // Nothing of an open loop's is lost with a connection that had none.
            if !isOpenLoop { run.failed(reason) }
            open()
        }
    }

    func opened() { refusals = 0 }

    /// There is no request to be made on it now.
    func rests(_ connection: HTTPLoadConnection) {
        if isOpenLoop { idle.append(connection) } else { connection.close() }
    }

    func isGone(_ connection: HTTPLoadConnection) { idle.removeAll { $0 === connection } }
}
