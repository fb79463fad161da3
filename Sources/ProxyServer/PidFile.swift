internal import CSwitchyard
package import EventLoop
internal import Glibc

/// The file that says which process runs, so that `-s` finds it.
package struct PidFile: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    /// Writes this process's id.
    package func write() throws(SystemError) {
        // The path is passed as a C string for the length of the call.
        let descriptor = unsafe sy_open_truncate(path)
        guard descriptor >= 0 else { throw SystemError("open", on: path) }
        defer { close(descriptor) }
        let text = Array("\(getpid())\n".utf8)
        // The array holds as many bytes as are written.
        guard unsafe Glibc.write(descriptor, text, text.count) == text.count else {
            throw SystemError("write", on: path)
        }
    }

    /// Whether `write` could do its work, as `-t` asks. Nothing is changed.
    ///
    /// - Throws: without diagnostics, since `failed` was told.
    package func test(failed: (SystemError) -> Void) throws(LoadFailure) {
        // As above.
        if unsafe sy_test_write(path) == 0 { return }
        failed(SystemError("open", on: path))
        throw LoadFailure.told
    }

    package func remove() throws(SystemError) {
        // As above.
        guard unsafe unlink(path) == 0 else { throw SystemError("unlink", on: path) }
    }

    package enum ReadFailure: Error, Equatable {
        case unreadable(SystemError)
        case invalid(String)
    }

    /// The process id in the file.
    package func read() throws(ReadFailure) -> Int32 {
        // As above.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unreadable(SystemError("open", on: path)) }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 64)
        // The buffer is as large as the call is told.
        let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
        guard count >= 0 else { throw .unreadable(SystemError("read", on: path)) }
        let text = String(decoding: buffer.prefix(count).prefix { $0 > 32 }, as: UTF8.self)
        guard let pid = Int32(text), pid > 0 else { throw .invalid(text) }
        return pid
    }
}
