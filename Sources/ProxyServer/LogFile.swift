internal import CSwitchyard
package import EventLoop
internal import Glibc
internal import Synchronization

/// A file that lines are appended to from any thread, each with one write.
package final class LogFile: Sendable {
    package let path: String?
    let descriptor: Int32

    /// Opens `path` for appending, creating it if need be.
    package init(path: String) throws(SystemError) {
        // The path is passed as a C string for the length of the call.
        let descriptor = unsafe sy_open_append(path)
        guard descriptor >= 0 else { throw SystemError("open") }
        self.path = path
        self.descriptor = descriptor
    }

    private init(descriptor: Int32) {
        path = nil
        self.descriptor = descriptor
    }

    deinit {
        if path != nil { close(descriptor) }
    }

    package static let standardError = LogFile(descriptor: STDERR_FILENO)
    package static let standardOutput = LogFile(descriptor: STDOUT_FILENO)

    package func write(_ bytes: [UInt8]) { write(bytes.span) }

    package func write(_ bytes: Span<UInt8>) {
        // The span is valid for the call. A disk that is full loses the line: nothing useful can be done.
        unsafe bytes.withUnsafeBytes { bytes in
            _ = unsafe Glibc.write(descriptor, bytes.baseAddress, bytes.count)
        }
    }

    /// Opens the path anew and puts the new file in the old one's place: after `logrotate` moved it.
    ///
    /// Threads that write meanwhile reach one or the other.
    func reopen() throws(SystemError) {
        guard let path else { return }
        let fresh = try LogFile(path: path)
        guard sy_replace_descriptor(fresh.descriptor, descriptor) == 0 else { throw SystemError("dup3") }
    }
}

/// The log files of the process, each open once however many places name it.
package final class LogFiles: Sendable {
    private let files = Mutex<[String: LogFile]>([:])

    package init() {}

    func open(_ path: String) throws(SystemError) -> LogFile {
        if let file = files.withLock({ $0[path] }) { return file }
        let file = try LogFile(path: path)
        files.withLock { $0[path] = file }
        return file
    }

    /// Reopens all of them; returns those that could not be, which go on with the old file.
    func reopen() -> [(path: String, error: SystemError)] {
        var failures: [(path: String, error: SystemError)] = []
        for (path, file) in files.withLock({ $0 }) {
            do throws(SystemError) { try file.reopen() } catch { failures.append((path, error)) }
        }
        return failures
    }

    /// Forgets files that nothing but this table holds.
    func closeUnused(keeping paths: Set<String>) {
        files.withLock { files in files = files.filter { paths.contains($0.key) } }
    }
}
