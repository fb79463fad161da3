internal import EventLoop
internal import HTTP2

/// A connection that sends what its streams have to send at the end of the loop's turn.
protocol HTTP2Flushing: AnyObject {
    var worker: Worker { get }
    /// There may be something to send: from `flushSoon` on until `flush` begins.
    var isDirty: Bool { get set }
    func flush()
}

extension HTTP2Flushing where Self: StreamChannel {
    /// Bytes that go out with one call, and that may wait before the peer is not listened to any more.
    static var outputSize: Int { 64 * 1024 }
    /// Reads in one turn of the loop before others have theirs.
    static var readsPerTurn: Int { 4 }

    /// Has what streams have to send go out at the end of this turn.
    func flushSoon() {
        guard !isDirty, isOpen else { return }
        isDirty = true
        worker.flushLater(self)
    }

    /// Sends what the session has to send, as long as the socket takes all of it.
    ///
    /// - Returns: false where the session cannot go on.
    func sendFrames(of session: HTTP2Session) -> Bool {
        while isDrained, session.wantsToSend {
            var output = worker.takeBuffer()
            let isWell = session.send(to: &output, limit: Self.outputSize)
            let isEmpty = output.isEmpty
            send(output.span)
            worker.giveBack(consume output)
            guard isWell else { return false }
            if isEmpty { break }
        }
        return true
    }
}
