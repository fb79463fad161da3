internal import EventLoop
internal import Glibc
internal import Synchronization

/// Waits for the signals that end the process at once, on a thread of its own: these are to work while the main thread
/// and the workers are held up, each in a call that writes to a log nobody reads, or opens one.
final class EndingSignals: Sendable {
    /// The file that is removed where the main thread does not come to that.
    private let pidFile = Mutex<PidFile?>(nil)

    /// Takes `signals` over for the whole process: to be made before any other thread starts, since threads inherit the mask that
    /// keeps the default actions away.
    ///
    /// - Parameters:
    ///   - signals: of which the first that comes counts.
    ///   - grace: how many seconds after that the process ends where it has not by itself.
    ///   - received: called on the thread with the signal.
    /// - Throws: no thread could be started.
    init(
        _ signals: SignalSet, grace: UInt32, received: @escaping @Sendable (Int32) -> Void
    ) throws(SystemError) {
        signals.block()
        _ = try Threads.start(name: "signals") {
            received(signals.wait())
            var rest = grace
            while rest > 0 { rest = sleep(rest) }
            self.end()
        }
    }

    /// What stands for the process on disk, `nil` for nothing.
    func keep(_ file: PidFile?) { pidFile.withLock { $0 = file } }

    private func end() -> Never {
        // There is no log that this could be told in: that is what the others wait for.
        try? pidFile.withLock { $0 }?.remove()
        _exit(0)
    }
}
