internal import EventLoop

/// Lines on their way to a file.
final class LogBuffer {
    private let file: LogFile
    /// Is told when the file cannot be written.
    private let logger: ErrorLogger
    private var size: Int
    private let interval: Int64
    private var lines: [UInt8] = []

    init(file: LogFile, logger: ErrorLogger, size: Int, interval: Int64) {
        self.file = file
        self.logger = logger
        self.size = size
        self.interval = interval
    }

    func append(_ line: [UInt8], worker: Worker) {
        guard size > 0 else { return file.write(line, logger) }
        if lines.count + line.count > size { flush() }
        if line.count > size { return file.write(line, logger) }
        if lines.isEmpty && interval > 0 { worker.flushLogs(by: worker.loop.now + interval) }
        lines += line
    }

    /// Whatever comes from now on is written at once.
    func end() {
        flush()
        size = 0
    }

    func flush() {
        guard !lines.isEmpty else { return }
        file.write(lines, logger)
        lines.removeAll(keepingCapacity: true)
    }
}
