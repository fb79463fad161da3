internal import CSwitchyard
package import Config
internal import Glibc
internal import ProxyCore

/// Writes lines of the error log, in nginx's form.
package struct ErrorLogger: Sendable {
    package struct Output: Sendable {
        package var file: LogFile
        package var level: LogLevel

        package init(file: LogFile, level: LogLevel) {
            self.file = file
            self.level = level
        }
    }

    private let outputs: [Output]
    private let lowest: LogLevel

    package init(_ outputs: [Output]) {
        self.outputs = outputs
        lowest = outputs.map(\.level).min() ?? .emerg
    }

    /// Writes to what `logs` name. A file that cannot be opened is left out.
    init(_ logs: [ErrorLog], in files: LogFiles) { self.init(files.outputs(of: logs)) }

    /// Sends what else this process writes to standard error, such as the last words of the runtime, to the first
    /// log; nothing where one of the logs is standard error itself.
    func takeOverStandardError() {
        guard let first = outputs.first, !outputs.contains(where: { $0.file === LogFile.standardError })
        else {
            return
        }
        _ = sy_replace_descriptor(first.file.descriptor, STDERR_FILENO)
    }

    /// Whether a line of `level` would be written anywhere: ask before making one that costs something.
    package func takes(_ level: LogLevel) -> Bool { level >= lowest && !outputs.isEmpty }

    /// Writes a line where its level is wanted; further lines of a message begin with a tab. `connection` is the connection's
    /// serial number, 0 for none. Of the message there are `longest` bytes at most.
    package func log(
        _ level: LogLevel, connection: UInt64 = 0, longest: Int = LogBounds.message,
        _ message: @autoclosure () -> String
    ) {
        guard takes(level) else { return }
        write(level, connection: connection, LogText.lines(message(), upTo: longest))
    }

    private func write(_ level: LogLevel, connection: UInt64, _ text: String) {
        var line = Self.timestamp()
        line += " [\(level.name)] \(getpid())#\(sy_thread_id()): "
        if connection != 0 { line += "*\(connection) " }
        line += text
        line += "\n"
        let bytes = Array(line.utf8)
        for output in outputs where level >= output.level { output.file.write(bytes) }
    }

    /// The same of an exchange: what `LogContext` says of it follows the message.
    func log(
        _ level: LogLevel, of exchange: Exchange, peer: PeerAddress? = nil, uri: [UInt8] = [],
        longest: Int = LogBounds.message, _ message: @autoclosure () -> String
    ) {
        guard takes(level) else { return }
        var context: [UInt8] = []
        LogContext.append(exchange, peer: peer, uri: uri, to: &context)
        write(
            level, connection: exchange.client.serial,
            LogText.lines(message(), upTo: longest) + String(decoding: context, as: UTF8.self))
    }

    /// `2026/11/23 21:59:44`, local time.
    private static func timestamp() -> String {
        // Both values outlive the calls, and the member that is a pointer is not looked at.
        var now = time(nil)
        var parts = unsafe tm()
        _ = unsafe localtime_r(&now, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return unsafe "\(parts.tm_year + 1900)/\(two(parts.tm_mon + 1))/\(two(parts.tm_mday)) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
