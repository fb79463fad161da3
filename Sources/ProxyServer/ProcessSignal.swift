internal import Config
package import EventLoop
internal import Glibc
internal import Synchronization

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

/// The process's own output.
/// What commands answer with.
package enum StandardOutput {
    private static let errorCode = Atomic<Int32>(0)

    /// What the first write that failed came to, such as a full disk.
    package static var failure: SystemError? {
        let code = errorCode.load(ordering: .relaxed)
        return code == 0 ? nil : SystemError("write", on: "standard output", code: code)
    }

    package static func write(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            // The bytes are valid for the call.
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                errorCode.store(errno, ordering: .relaxed)
                return
            }
            rest = rest.dropFirst(count)
        }
    }

    package static func line(_ text: String) { write(Array((text + "\n").utf8)) }
}

package enum FilePath {
    package static func exists(_ path: String) -> Bool {
        // The path is passed as a C string for the length of the call.
        unsafe access(path, F_OK) == 0
    }

    /// A path that stays right when the directory changes.
    package static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/") else { return path }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        // The buffer is as large as the call is told, and what it writes ends with NUL.
        guard unsafe getcwd(&buffer, buffer.count) != nil else { return path }
        let directory = String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.isEmpty || path == "." ? directory : directory + "/" + path
    }
}
