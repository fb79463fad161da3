internal import Glibc

extension ConfigurationFiles {
    /// The machine's own files.
    package static let disk = ConfigurationFiles(read: { readFile($0) }, glob: expand, stamp: stampOfFile)

    /// Those whose contents are there at once: for a worker, which would wait for whoever writes into a pipe.
    package static let regularFiles = ConfigurationFiles(
        read: { readFile($0, waits: false) }, glob: expand, stamp: stampOfFile)

    private static func readFile(_ path: String, waits: Bool = true) -> Result<[UInt8], FileFailure> {
        // Holds because: the path is passed as text ended by NUL, alive during the call.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | (waits ? 0 : O_NONBLOCK))
        guard descriptor >= 0 else { return .failure(lastFailure()) }
        defer { close(descriptor) }
        guard waits || isRegularFile(descriptor) else {
            return .failure(FileFailure(reason: "not a regular file"))
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            // Holds because: the buffer and its size come from one array, alive during the call.
            let count = unsafe Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return .success(bytes) }
            if count > 0 {
                bytes += chunk[..<count]
            } else if errno != EINTR {
                return .failure(lastFailure())
            }
        }
    }

    private static func isRegularFile(_ descriptor: Int32) -> Bool {
        var information = stat()
        // Holds because: what is filled outlives the call.
        return unsafe fstat(descriptor, &information) == 0 && information.st_mode & S_IFMT == S_IFREG
    }

    private static func stampOfFile(_ path: String) -> FileStamp? {
        var information = stat()
        // Holds because: the path is passed as text ended by NUL, and what is filled outlives the call.
        guard unsafe stat(path, &information) == 0 else { return nil }
        return FileStamp(
            device: UInt64(information.st_dev), inode: UInt64(information.st_ino),
            seconds: Int64(information.st_mtim.tv_sec), nanoseconds: Int64(information.st_mtim.tv_nsec))
    }

    private static func expand(_ pattern: String) -> Result<[String], FileFailure> {
        var found = unsafe glob_t()
        // Holds because: `glob` fills what `globfree` releases, and the paths are copied in between.
        let result = unsafe Glibc.glob(pattern, 0, nil, &found)
        defer { unsafe globfree(&found) }
        switch result {
        case 0:
            // Holds because: on success there are `gl_pathc` paths, each ended by NUL.
            return .success(
                (0..<Int(unsafe found.gl_pathc)).compactMap { index in
                    guard let path = unsafe found.gl_pathv[index] else { return nil }
                    return unsafe String(cString: path)
                })
        case GLOB_NOMATCH: return .success([])
        case GLOB_NOSPACE: return .failure(FileFailure(reason: "out of memory"))
        default: return .failure(lastFailure())
        }
    }

    private static func lastFailure() -> FileFailure {
        // Holds because: `strerror` returns text that lives until this thread's next call of it.
        guard let text = unsafe strerror(errno) else { return FileFailure(reason: "error \(errno)") }
        return FileFailure(reason: unsafe String(cString: text))
    }
}
