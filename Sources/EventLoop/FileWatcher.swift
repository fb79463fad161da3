internal import Glibc

/// Tells of files that were written, moved to or removed from some directories (inotify).
///
/// Directories rather than files are watched: editors write a new file and move it to the old one's place.
package final class FileWatcher: Channel {
    private let changed: (_ name: String) -> Void

    /// - Parameters:
    ///   - loop: where it is watched.
    ///   - directories: their paths.
    ///   - changed: called for each change with the file's name in its directory.
    /// - Throws: what the system says of a directory that cannot be watched.
    package init(
        loop: EventLoop, directories: [String], changed: @escaping (_ name: String) -> Void
    ) throws(SystemError) {
        let descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError("inotify_init1") }
        self.changed = changed
        super.init(loop: loop, descriptor: descriptor)
        let events = UInt32(IN_CLOSE_WRITE) | UInt32(IN_MOVED_TO) | UInt32(IN_DELETE)
        for directory in directories {
            // The path is passed as a C string for the length of the call.
            guard unsafe inotify_add_watch(descriptor, directory, events) >= 0 else {
                let error = SystemError("inotify_add_watch", on: directory)
                close()
                throw error
            }
        }
        try register()
    }

    package override func readable() {
        while case .some(let names) = readNames() {
            for name in names { changed(name) }
        }
    }

    /// Events come whole: 16 bytes, the last four of them the length of the name, which ends in zeros.
    private func readNames() -> [String]? {
        // Room for several of the longest events.
        var bytes = [UInt8](repeating: 0, count: 8192)
        // Not as sockets are read: recv(2) takes no other descriptors. The buffer and its size come from one array.
        let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
        guard count > 0 else {
            mayRead = false
            return nil
        }
        var names: [String] = []
        var offset = 0
        while offset + 16 <= count {
            var length = 0
            for index in (12..<16).reversed() { length = length << 8 | Int(bytes[offset + index]) }
            let end = min(count, offset + 16 + length)
            var name: [UInt8] = []
            for index in offset + 16..<end where bytes[index] != 0 { name.append(bytes[index]) }
            names.append(String(decoding: name, as: UTF8.self))
            offset = end
        }
        return names
    }
}
