internal import EventLoop

/// By when a client has to have sent something, and by when to have taken some of what waits for it: milliseconds of the
/// loop's clock, `EventLoop.never` where neither is waited for.
struct LegDeadlines {
    var read = EventLoop.never
    var send = EventLoop.never

    /// The connection's own.
    var next: Int64 { min(read, send) }
}
