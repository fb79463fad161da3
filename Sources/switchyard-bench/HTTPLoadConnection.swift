internal import EventLoop
internal import TLS
internal import Wire

/// One of a load's connections, with one request under way.
final class HTTPLoadConnection: StreamChannel {
    private let load: HTTPLoad
    private var parser = ResponseHeadParser()
    private var head = ResponseHead()
    /// Of a response whose head is whole.
    private var decoder: BodyDecoder?
    /// The start of a head that is not.
    private var partial: [UInt8] = []
    /// From when on the request under way counts; `nil` while there is none.
    private var countsFrom: Int64?
    /// An earlier request was answered, and nothing of an answer to this one has come.
    private var mayHaveCrossedClose = false
    /// While its handshake is under way.
    private var handshake: TLSSession?

    /// `countsFrom` is of the request that the connection is opened for, if it is for one.
    init(load: HTTPLoad, descriptor: Int32, countsFrom: Int64?) {
        self.load = load
        self.countsFrom = countsFrom
        super.init(loop: load.run.loop, descriptor: descriptor)
    }

    override func becameWritable() {
        let error = Sockets.pendingError(descriptor)
        guard error == 0 else {
            close()
            return load.failedToOpen(SystemError("connect", code: error).description)
        }
        load.opened()
        Sockets.disableDelay(descriptor)
        // A handshake is part of what the first request takes, connecting only where each has a connection of its own.
        if countsFrom != nil, !load.isFresh { countsFrom = BenchClock.now() }
        guard let tls = load.tls else { return isReady() }
        do throws(TLSError) {
            handshake = try tls.begin(on: self)
            stepHandshake()
        } catch {
            ended(error.description)
        }
    }

    private func stepHandshake() {
        guard let tls = load.tls, let session = handshake else { return }
        switch tls.step(session, on: self) {
        case .established:
            handshake = nil
            isReady()
        case .wantsRead: break
        case .failed(let reason): ended(reason)
        }
    }

    private func isReady() {
        if countsFrom == nil { takeRequest() } else { send(load.request) }
    }

    /// Sends the next request, if there is one.
    func takeRequest() {
        countsFrom = load.take()
        if countsFrom == nil { load.rests(self) } else { send(load.request) }
    }

    override func writeFailed(_ error: Int32) { ended(SystemError("send", code: error).description) }

    override func readable() {
        if handshake != nil { stepHandshake() }
        guard handshake == nil else { return }
        let loop = loop
        while isOpen, mayRead {
            switch read() {
            case .bytes(let count):
                loop.withReceived(count) { take($0) }
            case .wouldBlock: return
            case .end: return connectionEnded()
            case .failed(let error): return ended(SystemError("read", code: error).description)
            }
        }
    }

    private func take(_ received: Span<UInt8>) {
        mayHaveCrossedClose = false
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
        guard let started = countsFrom else { return ended("an answer that was not asked for") }
        countsFrom = nil
        load.run.succeeded(nanoseconds: BenchClock.now() - started)
        decoder = nil
        mayHaveCrossedClose = true
        guard head.wantsKeepAlive, !load.isFresh else {
            close()
            return load.open()
        }
        takeRequest()
    }

    private func connectionEnded() {
        if let decoder, decoder.endsWithConnection { return answered() }
        ended("the connection ended before the response did")
    }

    /// The connection is of no more use, and what was under way on it has failed.
    private func ended(_ reason: String) {
        guard isOpen else { return }
        close()
        load.isGone(self)
        // RFC 9112 §9.3.1: a GET may be sent again when its connection ended without an answer.
        if let countsFrom, mayHaveCrossedClose {
            load.giveBack(countsFrom)
        } else if countsFrom != nil {
            load.run.failed(reason)
        }
        load.open()
    }
}
