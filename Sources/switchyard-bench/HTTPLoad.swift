internal import EventLoop

/// Requests over a number of connections, one at a time on each.
final class HTTPLoad {
    let run: BenchRun
    let request: [UInt8]
    private let address: SocketAddress
    /// Connections are not used again.
    let isFresh: Bool
    let tls: BenchTLS?
    /// Attempts in a row that did not end in a connection.
    private var refusals = 0

    init(run: BenchRun, address: SocketAddress, request: [UInt8], isFresh: Bool = false, tls: BenchTLS? = nil)
    {
        self.isFresh = isFresh
        self.tls = tls
        self.run = run
        self.address = address
        self.request = request
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

    /// Opens a connection, unless there is nothing left to ask for.
    func open() {
        guard run.take(1) == 1 else { return }
        do throws(SystemError) {
            let connection = HTTPLoadConnection(load: self, descriptor: try Sockets.connect(to: address))
            try connection.register()
        } catch {
            failedToOpen(error.description)
        }
    }

    /// A request could not even be sent. After a few of those in a row the rest is not tried.
    func failedToOpen(_ reason: String) {
        refusals += 1
        if refusals > 10 {
            let rest = run.take(.max)
            run.failed(reason, count: 1 + rest)
        } else {
            run.failed(reason)
            open()
        }
    }

    func opened() { refusals = 0 }
}
