internal import CSwitchyard
internal import Glibc
internal import Synchronization

/// Threads of the process.
package enum Threads {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// A started thread, to be joined once.
    @safe
    package struct Handle: Sendable {
        // An opaque number to us.
        fileprivate let thread: pthread_t

        /// Nobody joins it: what the system keeps for that goes when it ends.
        package func detach() { pthread_detach(thread) }

        /// Waits until the thread has ended.
        package func join() { pthread_join(thread, nil) }

        /// Waits until the thread has ended or the monotonic clock, in milliseconds, has come to `deadline`.
        ///
        /// - Returns: whether it has ended.
        package func join(by deadline: Int64) -> Bool { sy_join(thread, deadline) }
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

    /// A value that one thread waits for until another has it. Given once, and waited for once.
    package final class Promise<Value: Sendable>: Sendable {
        private let value = Mutex<Value?>(nil)
        private let isKept = Semaphore()

        package init() {}

        package func keep(_ value: Value) {
            self.value.withLock { $0 = value }
            isKept.signal()
        }

        package func wait() -> Value {
            isKept.wait()
            guard let value = value.withLock({ $0.take() }) else {
                preconditionFailure("a promise is waited for once")
            }
            return value
        }
    }

    @safe
    private final class Semaphore: @unchecked Sendable {
        // Set up and torn down with the object, which whoever uses it holds; in between, any thread may.
        private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

        init() { unsafe sem_init(semaphore, 0, 0) }

        deinit {
            unsafe sem_destroy(semaphore)
            unsafe semaphore.deallocate()
        }

        func signal() { unsafe sem_post(semaphore) }

        func wait() {
            // It fails where a signal interrupts it.
            while unsafe sem_wait(semaphore) != 0 {}
        }
    }

    /// Writing to a closed connection is to be an error, not the end of the process.
    package static func ignoreBrokenPipes() {
        signal(SIGPIPE, SIG_IGN)
    }
}
