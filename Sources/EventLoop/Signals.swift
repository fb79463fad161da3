internal import CSwitchyard
internal import Glibc

/// Signals as events of a loop.
package final class SignalChannel: Channel {
    private let received: (Int32) -> Void

    /// Takes `signals` over for the whole process: to be made before any other thread starts, since threads
    /// inherit the mask that keeps the default actions away.
    package init(loop: EventLoop, signals: [Int32], received: @escaping (Int32) -> Void) throws(SystemError) {
        var set = sigset_t()
        // The set is a local value that outlives each call.
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        let descriptor = unsafe signalfd(-1, &set, Int32(SFD_NONBLOCK | SFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError("signalfd") }
        self.received = received
        super.init(loop: loop, descriptor: descriptor)
    }

    package override func readable() {
        var information = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        // One record of that size is read at a time into the local value.
        while unsafe Glibc.read(descriptor, &information, size) == size {
            received(Int32(information.ssi_signo))
        }
        mayRead = false
    }
}

/// Calls back once the loop's clock has reached a time.
package final class Alarm: Channel {
    private let rang: () -> Void

    package init(loop: EventLoop, rang: @escaping () -> Void) throws(SystemError) {
        self.rang = rang
        super.init(timerOn: loop)
        try register()
    }

    package override func deadlinePassed() { rang() }
}

/// Threads of the process.
package enum Threads {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// A started thread, to be joined once.
    @safe
    package struct Handle: Sendable {
        // An opaque number to us; only `join` uses it.
        fileprivate let thread: pthread_t

        /// Waits until the thread has ended.
        package func join() { pthread_join(thread, nil) }
    }

    /// Starts a thread that runs `run` once. Of `name`, tools show the first 15 bytes.
    package static func start(name: String, _ run: @escaping @Sendable () -> Void) throws(SystemError)
        -> Handle
    {
        var thread = pthread_t()
        // The body is retained here and released by the thread, which runs exactly once.
        let body = unsafe Unmanaged.passRetained(Body(run))
        let result = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, body.toOpaque())
        guard result == 0 else {
            unsafe body.release()
            throw SystemError("pthread_create", code: result)
        }
        unsafe sy_name_thread(thread, name)
        return Handle(thread: thread)
    }

    /// Writing to a closed connection is to be an error, not the end of the process.
    package static func ignoreBrokenPipes() {
        signal(SIGPIPE, SIG_IGN)
    }
}
