/// A listening socket. Several loops may watch the same one: the kernel wakes one of them for a connection.
open class ListenerChannel: Channel {
    /// How long accepting rests after the process ran out of descriptors, in milliseconds.
    private static let restWhenExhausted: Int64 = 500
    private var isPaused = false

    package override init(loop: EventLoop, descriptor: Int32) {
        super.init(loop: loop, descriptor: descriptor)
    }

    // MARK: To be overridden

    /// Asked before each connection. One that is not accepted waits, where `pause` was called meanwhile, until `resume`.
    open func mayAccept() -> Bool { true }
    open func accepted(_ descriptor: Int32, from peer: SocketAddress) {}
    open func acceptFailed(_ error: SystemError) {}

    package final func startListening() throws(SystemError) {
        try register(levelTriggered: true)
    }

    /// Leaves new connections to the kernel's backlog, and to other loops, until `resume`.
    package final func pause() {
        clearDeadline()  // a rest that was under way no longer ends by itself
        guard !isPaused, isOpen else { return }
        isPaused = true
        suspendWatching()
    }

    package final func resume() {
        guard isPaused, isOpen else { return }
        isPaused = false
        clearDeadline()
        resumeWatching()
    }

    public final override func readable() {
        guard !isPaused, mayAccept() else { return }
        // One a turn, as nginx does: other loops get their share, and no call is spent on hearing that
        // there is no more.
        switch loop.accept(descriptor) {
        case .connection(let descriptor, let peer): accepted(descriptor, from: peer)
        case .none: break
        case .exhausted(let error):
            acceptFailed(error)
            pause()
            setDeadline(loop.now + Self.restWhenExhausted)
        }
    }

    public final override func deadlinePassed() { resume() }

    /// Accepts whatever is waiting: before a socket of this loop alone is closed, so that nobody is reset.
    package final func acceptAll() {
        while isOpen, case .connection(let descriptor, let peer) = loop.accept(descriptor) {
            accepted(descriptor, from: peer)
        }
    }
}
