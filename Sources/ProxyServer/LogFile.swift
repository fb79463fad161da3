internal import Bytes
internal import CSwitchyard
internal import Config
package import EventLoop
internal import Glibc
internal import Synchronization

/// A file that lines are appended to from any thread, each with one write.
package final class LogFile: Sendable {
    package let path: String?
    let descriptor: Int32
    /// Nobody but the owner may read it.
    private let isPrivate: Bool
    /// In place of a descriptor, in tests: what has been written.
    private let memory: Mutex<[UInt8]>?
    private let failures = LogFailureGate()

    /// Opens `path` for appending, creating it if need be, for all to read unless `isPrivate`.
    package init(path: String, isPrivate: Bool = false) throws(SystemError) {
        // The path is passed as a C string for the length of the call.
        let descriptor = unsafe sy_open_append(path, isPrivate ? 0o600 : 0o644)
        guard descriptor >= 0 else { throw SystemError("open", on: path) }
        self.isPrivate = isPrivate
        self.path = path
        self.descriptor = descriptor
        memory = nil
    }

    /// Keeps what is written in memory, for `takeContents`.
    fileprivate init(inMemory path: String?) {
        self.path = path
        descriptor = -1
        isPrivate = false
        memory = Mutex([])
    }

    private init(descriptor: Int32) {
        path = nil
        self.descriptor = descriptor
        isPrivate = false
        memory = nil
    }

    deinit {
        if path != nil, descriptor >= 0 { close(descriptor) }
    }

    package static let standardError = LogFile(descriptor: STDERR_FILENO)
    package static let standardOutput = LogFile(descriptor: STDOUT_FILENO)

    package func write(_ bytes: [UInt8]) { write(bytes.span) }

    package func write(_ bytes: Span<UInt8>) { _ = attempt(bytes) }

    /// Writes lines of an access log. A disk that is full loses them, which `logger` is told: once in a minute, as nginx
    /// does. Failures of its own files it does not tell anybody.
    func write(_ lines: [UInt8], tellingOf failures: LogFailureGate? = nil, _ logger: ErrorLogger) {
        let written = attempt(lines.span)
        guard written != lines.count else { return }
        // Before anything else can change the code.
        let error = SystemError("write")
        guard (failures ?? self.failures).opens() else { return }
        logger.log(
            .alert,
            written < 0
                ? "write() to \"\(name)\" failed (\(error.code): \(error.reason))"
                : "write() to \"\(name)\" was incomplete: \(written) of \(lines.count)")
    }

    private var name: String {
        path ?? (descriptor == STDOUT_FILENO ? "/dev/stdout" : "/dev/stderr")
    }

    /// As write(2).
    private func attempt(_ bytes: Span<UInt8>) -> Int {
        guard memory == nil else {
            keep(bytes)
            return bytes.count
        }
        // The span is valid for the call.
        return unsafe bytes.withUnsafeBytes { bytes in
            unsafe Glibc.write(descriptor, bytes.baseAddress, bytes.count)
        }
    }

    private func keep(_ bytes: Span<UInt8>) { memory?.withLock { $0.append(bytes) } }

    /// What has been written since the last call, to a log in memory.
    package func takeContents() -> [UInt8] {
        memory?.withLock { contents in
            defer { contents = [] }
            return contents
        } ?? []
    }

    /// Opens the path anew and puts the new file in the old one's place: after `logrotate` moved it.
    ///
    /// Threads that write meanwhile reach one or the other.
    func reopen() throws(SystemError) {
        guard let path, memory == nil else { return }
        let fresh = try LogFile(path: path, isPrivate: isPrivate)
        guard sy_replace_descriptor(fresh.descriptor, descriptor) == 0 else {
            throw SystemError("dup3", on: path)
        }
        failures.reset()
    }

    /// Another file stands at the path, or none.
    fileprivate var hasMoved: Bool {
        guard let path, memory == nil else { return false }
        // The path is passed as a C string for the length of the call.
        return unsafe !sy_is_at(descriptor, path)
    }
}

/// Lets through one message in a minute, of a log that cannot be written.
final class LogFailureGate: Sendable {
    /// In seconds.
    private let last = Atomic(0)

    func opens() -> Bool {
        let now = time(nil)
        let last = last.load(ordering: .relaxed)
        guard now - last > 59 else { return false }
        return self.last.compareExchange(expected: last, desired: now, ordering: .relaxed).exchanged
    }

    func reset() { last.store(0, ordering: .relaxed) }
}

/// The log files of the process, each open once however many places name it.
package final class LogFiles: Sendable {
    package let standardError: LogFile
    package let standardOutput: LogFile
    private let isInMemory: Bool
    private let files = Mutex<[String: LogFile]>([:])

    package init() {
        isInMemory = false
        standardError = .standardError
        standardOutput = .standardOutput
    }

    /// No file is opened and the standard streams are left alone, in tests: each log keeps its lines, and error logs
    /// are all one with standard error.
    package init(inMemory: Void) {
        isInMemory = true
        standardError = LogFile(inMemory: nil)
        standardOutput = LogFile(inMemory: nil)
    }

    /// - Parameters:
    ///   - path: a file's.
    ///   - isPrivate: nobody but its owner may read it, if it is made now.
    /// - Returns: the same each time.
    /// - Throws: why it cannot be opened.
    package func open(_ path: String, isPrivate: Bool = false) throws(SystemError) -> LogFile {
        if let file = files.withLock({ $0[path] }) { return file }
        let file = try isInMemory ? LogFile(inMemory: path) : LogFile(path: path, isPrivate: isPrivate)
        files.withLock { $0[path] = file }
        return file
    }

    /// What lines of error logs go to; in memory that is one, which has each line once, in the order of all of them.
    func outputs(of logs: [ErrorLog]) -> [ErrorLogger.Output] {
        if isInMemory {
            return logs.map(\.level).min().map { [ErrorLogger.Output(file: standardError, level: $0)] } ?? []
        }
        return logs.compactMap { log in
            switch log.destination {
            case .standardError: ErrorLogger.Output(file: standardError, level: log.level)
            case .file(let path):
                (try? open(path)).map { ErrorLogger.Output(file: $0, level: log.level) }
            }
        }
    }

    /// A file for a line or two, which this table does not keep.
    func openOnce(_ path: String) throws(SystemError) -> LogFile {
        try isInMemory ? open(path) : LogFile(path: path)
    }

    /// Reopens all of them, or those in whose place another file is, or none. Returns why some could not be, which go on
    /// with the old file.
    func reopen(onlyMoved: Bool) -> [SystemError] {
        var failures: [SystemError] = []
        for file in files.withLock({ $0 }).values where !onlyMoved || file.hasMoved {
            do throws(SystemError) { try file.reopen() } catch { failures.append(error) }
        }
        return failures
    }

    /// Forgets files that nothing but this table holds.
    func closeUnused(keeping paths: Set<String>) {
        files.withLock { files in files = files.filter { paths.contains($0.key) } }
    }
}
