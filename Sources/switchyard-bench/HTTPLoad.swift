internal import EventLoop
internal import Wire

/// Requests over a number of connections, one at a time on each.
final class HTTPLoad {
    fileprivate let run: BenchRun
    fileprivate let request: [UInt8]
    private let address: SocketAddress
    /// Attempts in a row that did not end in a connection.
    private var refusals = 0

    init(run: BenchRun, address: SocketAddress, request: [UInt8]) {
        self.run = run
        self.address = address
        self.request = request
    }

    /// A GET with fields such as browsers send, and numbered ones after those.
    static func request(path: String, host: String, headers: Int) -> [UInt8] {
        let common = [
            "Host: \(host)", "User-Agent: switchyard-bench/1.0", "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
            "Accept-Language: en-GB,en;q=0.7", "Accept-Encoding: gzip, deflate", "Referer: http://\(host)/start",
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
    fileprivate func failedToOpen(_ reason: String) {
        refusals += 1
        if refusals > 10 {
            let rest = run.take(.max)
            run.failed(reason, count: 1 + rest)
        } else {
            run.failed(reason)
            open()
        }
    }

    fileprivate func opened() { refusals = 0 }
}

private final class HTTPLoadConnection: StreamChannel {
    private let load: HTTPLoad
    private var parser = ResponseHeadParser()
    private var head = ResponseHead()
    /// Of a response whose head is whole.
    private var decoder: BodyDecoder?
    /// The start of a head that is not.
    private var partial: [UInt8] = []
    private var sentAt: Int64 = 0
    /// A request of the run is under way, sent or not.
    private var isBusy = true
    private var wasAnswered = false

    init(load: HTTPLoad, descriptor: Int32) {
        self.load = load
        super.init(loop: load.run.loop, descriptor: descriptor)
    }

    override func becameWritable() {
        let error = Sockets.pendingError(descriptor)
        guard error == 0 else {
            close()
            return load.failedToOpen(SystemError("connect", code: error).description)
        }
        load.opened()
        if load.request.count > 0 { Sockets.disableDelay(descriptor) }
        sendRequest()
    }

    private func sendRequest() {
        sentAt = BenchClock.now()
        send(load.request)
    }

    override func writeFailed(_ error: Int32) { ended(SystemError("send", code: error).description) }

    override func readable() {
        let loop = loop
        while isOpen, mayRead {
            switch read() {
            case .bytes(let count):
                let received = loop.received(count)
                take(received)
            case .wouldBlock: return
            case .end: return connectionEnded()
            case .failed(let error): return ended(SystemError("read", code: error).description)
            }
        }
    }

    private func take(_ received: Span<UInt8>) {
        guard isBusy else { return ended("bytes that were not asked for") }
        guard !partial.isEmpty else {
            let taken = process(received)
            if isOpen, taken < received.count { partial.append(copying: received, taken..<received.count) }
            return
        }
        var bytes: [UInt8] = []
        swap(&bytes, &partial)
        bytes.append(copying: received, 0..<received.count)
        let taken = process(bytes.span)
        if isOpen, taken < bytes.count { partial = Array(bytes[taken...]) }
    }

    /// Goes through `bytes`, and returns where the head starts that they do not hold whole.
    private func process(_ bytes: Span<UInt8>) -> Int {
        var position = 0
        while isOpen {
            if var body = decoder {
                switch body.next(RawSpan(_elements: bytes), from: position) {
                case .payload(let range): position = range.upperBound
                case .needsMore:
                    decoder = body
                    return bytes.count
                case .end(let consumed): position = consumed
                case .invalid(let violation):
                    ended("a broken body: \(violation.rawValue)")
                    return bytes.count
                }
                decoder = body
                if body.isComplete {
                    guard position == bytes.count else {
                        ended("bytes that were not asked for")
                        return bytes.count
                    }
                    answered()
                    return position
                }
                continue
            }
            guard position < bytes.count else { return position }
            let rest = RawSpan(_elements: bytes.extracting(position...))
            switch parser.parse(rest, isHead: false, maxHead: 65_536, into: &head) {
            case .incomplete: return position
            case .invalid(let violation): ended("a broken response: \(violation.rawValue)")
            case .complete(let length):
                position += length
                parser.reset()
                // An interim answer; the one that counts follows.
                if (100..<200).contains(head.status), head.status != 101 { continue }
                guard head.status == 200 else {
                    ended("status \(head.status)")
                    return bytes.count
                }
                decoder = BodyDecoder(head.framing)
            }
        }
        return bytes.count
    }

    private func answered() {
        let run = load.run
        run.succeeded(nanoseconds: BenchClock.now() - sentAt)
        decoder = nil
        wasAnswered = true
        guard head.wantsKeepAlive else {
            isBusy = false
            close()
            return load.open()
        }
        isBusy = run.take(1) == 1
        if isBusy { sendRequest() } else { close() }
    }

    private func connectionEnded() {
        if let decoder, decoder.endsWithConnection { return answered() }
        ended("the connection ended before the response did")
    }

    /// The connection is of no more use, and what was under way on it has failed.
    private func ended(_ reason: String) {
        guard isOpen else { return }
        close()
        if isBusy { load.run.failed(reason) }
        isBusy = false
        load.open()
    }
}
