internal import Config
internal import EventLoop
internal import Glibc

/// Tells when scripts have changed, and files that are watched besides.
final class ScriptWatch {
    private let watcher: FileWatcher
    private let alarm: Alarm

    /// Milliseconds for which files are left alone before a reload, since one save is often several changes.
    private static let settlingTime: Int64 = 50

    /// - Parameters:
    ///   - files: these, and every `.lua` file beside them.
    ///   - loop: where it is watched.
    ///   - changed: called once for changes that come together.
    /// - Throws: what the system says of a directory that cannot be watched.
    init(_ files: [String], loop: EventLoop, changed: @escaping () -> Void) throws(SystemError) {
        let alarm = Alarm(loop: loop, rang: changed)
        self.alarm = alarm
        // What a symbolic link leads to may be saved where it is.
        let targets = files.compactMap(Self.target(of:))
        let directories = Set((files + targets).map { Paths.directory(of: $0) })
        let names = Set(targets.map { $0.split(separator: "/").last.map(String.init) ?? $0 })
        watcher = try FileWatcher(loop: loop, directories: directories.sorted()) { name in
            guard name.hasSuffix(".lua") || names.contains(name) else { return }
            alarm.setDeadline(loop.now + Self.settlingTime)
        }
    }

    func close() {
        watcher.close()
        alarm.close()
    }

    /// The path without symbolic links.
    private static func target(of path: String) -> String? {
        // realpath(3) gives a C string of its own, which is copied and given back.
        guard let found = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(found) }
        return unsafe String(cString: found)
    }
}
