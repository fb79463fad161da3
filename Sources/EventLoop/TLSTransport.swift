internal import Glibc
package import TLS

/// TLS between a channel and its socket. The handshake is driven by the channel's owner, before the first read.
///
/// Edge-triggered events are not lost: a session never waits for the socket to turn writable in order to read, since
/// what it has to send besides is kept and sent from `roomCame`; nor does it wait for the socket to turn readable in
/// order to write, once the handshake is over, as renegotiation is off.
package final class TLSTransport: StreamTransport {
    package let session: TLSSession
    // The channel holds it, and passes it on with `move` to the one that takes its place.
    private unowned var channel: StreamChannel
    private var endsWhenSent = false
    /// The peer ended the connection without the alert that says so.
    private var wasCutOff = false

    /// - Parameters:
    ///   - session: over the channel's descriptor.
    ///   - channel: whose `transport` this becomes.
    package init(_ session: TLSSession, on channel: StreamChannel) {
        self.session = session
        self.channel = channel
    }

    package override func move(to channel: StreamChannel) { self.channel = channel }

    package override func read(into buffer: inout MutableSpan<UInt8>) -> Int {
        switch session.read(into: &buffer, mayHaveEnded: channel.sawHangup) {
        case .bytes(let count): return count
        case .wouldBlock: return -Int(EAGAIN)
        case .end(let isProper):
            wasCutOff = !isProper
            return 0
        case .failed(let error): return -Int(error)
        }
    }

    package override var endedImproperly: Bool { wasCutOff }

    package override var isAtEnd: Bool { channel.sawHangup && session.endIsNext() }

    package override var mayHoldMore: Bool { session.mayHoldMore }

    package override func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int {
        let count = session.write(first, second, third)
        return count == 0 ? -Int(EAGAIN) : count
    }

    package override var awaitsRoom: Bool { session.hasUnsent }

    package override func roomCame() {
        guard session.flush(), !session.hasUnsent, endsWhenSent else { return }
        endsWhenSent = false
        channel.shutdownSocket()
    }

    /// The alert `close_notify`, and then the end of the TCP connection's sending side.
    package override func shutdownWrite() {
        session.sendEnd()
        if session.hasUnsent { endsWhenSent = true } else { channel.shutdownSocket() }
    }

    package override func close(withReset: Bool) {
        if !withReset { session.sendEnd() }
    }
}
