internal import Config
internal import EventLoop
internal import Glibc

/// What `-s` asks of the process that runs.
package enum ProcessSignal: String, Sendable, CaseIterable {
    case stop, quit, reopen, reload

    private var number: Int32 {
        switch self {
        case .stop: SIGTERM
        case .quit: SIGQUIT
        case .reopen: SIGUSR1
        case .reload: SIGHUP
        }
    }

    /// Signals the process that a pid file names. Says on the console why it could not, and then returns false.
    package func send(toProcessOf pidFile: String, _ console: Console) -> Bool {
        let pid: Int32
        do throws(PidFile.ReadFailure) {
            pid = try PidFile(path: pidFile).read()
        } catch {
            switch error {
            case .unreadable(let error): console.write(.error, "\(error)")
            case .invalid(let text):
                console.write(.error, "invalid PID number \"\(text)\" in \"\(pidFile)\"")
            }
            return false
        }
        guard kill(pid, number) == 0 else {
            let error = SystemError("kill")
            console.write(.alert, "kill(\(pid), \(number)) failed (\(error.code): \(error.reason))")
            return false
        }
        return true
    }
}
