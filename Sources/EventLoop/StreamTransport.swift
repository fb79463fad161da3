/// What carries a stream's bytes in place of its socket: TLS over that socket, or one stream of a connection that
/// carries many.
///
/// Its calls answer as those of a non-blocking socket do, so that a `StreamChannel` need not know of it: a count of
/// bytes, 0 for the end, or an `errno` value below zero, where -EAGAIN means that the channel will be told. It tells
/// the channel by `Channel.becomes(readable:writable:)`, or leaves that to the loop where it reads the channel's own
/// descriptor.
///
/// Open, and so public, because only an open class can be subclassed in another module.
open class StreamTransport {
    package init() {}

    /// Another channel takes the connection over from the one that this was made for.
    open func move(to channel: StreamChannel) {}

    /// Reads what there is into the start of `buffer`. Fewer bytes than asked for do not mean that there are no more.
    open func read(into buffer: inout MutableSpan<UInt8>) -> Int { 0 }

    /// Takes bytes from the three pieces in their order, as many as there is room for.
    open func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int { 0 }

    /// How many bytes are worth being read at once of what is to be written here, at most: what the peer does not take is
    /// held meanwhile.
    open var relaySize: Int { .max }

    /// Another read may find bytes before the socket turns readable again.
    open var mayHoldMore: Bool { true }

    /// The channel is to tell when its socket takes bytes again: there is something to send that is no part of what
    /// was written.
    open var awaitsRoom: Bool { false }

    /// The socket takes bytes again.
    open func roomCame() {}

    /// The peer's end came without whatever announces one: what ends with it may be cut off.
    open var endedImproperly: Bool { false }

    /// The peer has ended its side, whatever there is to read before that. What the socket says of it counts besides.
    open var isEnding: Bool { false }
    /// The peer's end is what the next read would find.
    open var isAtEnd: Bool { false }

    /// Ends the sending side, after all that was written.
    open func shutdownWrite() {}

    /// The channel closes; with `withReset`, what was sent is not to look whole. The descriptor is the channel's to close.
    open func close(withReset: Bool) {}
}
