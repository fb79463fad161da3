/// Where a word stands in the configuration.
package struct SourcePosition: Sendable, Hashable {
    /// As it was opened, or `command line` for the text of `-g`.
    package var file: String
    /// Both count from 1; a column is a byte, and 0 where it is not known, as in what Lua says of a script.
    package var line: Int
    package var column: Int
    /// Words are numbered as they are read, across included files, so that messages can be put in order.
    package var order: Int

    package init(file: String, line: Int, column: Int, order: Int = 0) {
        self.file = file
        self.line = line
        self.column = column
        self.order = order
    }
}

/// A word of a configuration: its quotes are gone and its escapes replaced.
package struct Word: Sendable, Hashable {
    package var bytes: [UInt8]
    package var position: SourcePosition

    package init(bytes: [UInt8], position: SourcePosition) {
        self.bytes = bytes
        self.position = position
    }

    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The same place, other bytes: for a part of a word, such as what follows `if=`.
    func replacing(_ bytes: [UInt8]) -> Word { Word(bytes: bytes, position: position) }

    /// What follows `prefix`, or `nil` when the word does not begin with it.
    func value(after prefix: StaticString) -> Word? {
        let prefix = Array(prefix.description.utf8)
        guard bytes.starts(with: prefix) else { return nil }
        return replacing(Array(bytes[prefix.count...]))
    }
}

/// A file of the configuration as it was read, for `-T`.
package struct SourceFile: Sendable, Equatable {
    package var path: String
    package var bytes: [UInt8]

    package init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
    }
}

/// What tells that a file is another one, or was written anew.
package struct FileStamp: Sendable, Equatable {
    package var device: UInt64
    package var inode: UInt64
    /// Since 1970.
    package var seconds: Int64
    package var nanoseconds: Int64

    package init(device: UInt64, inode: UInt64, seconds: Int64, nanoseconds: Int64) {
        self.device = device
        self.inode = inode
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// How the parser gets at files: the disk in the product (`ConfigurationFiles.disk`), a table in tests.
package struct ConfigurationFiles: Sendable {
    /// The whole file, or why it cannot be read.
    package var read: @Sendable (_ path: String) -> Result<[UInt8], FileFailure>
    /// The paths that match, sorted; none is no failure.
    package var glob: @Sendable (_ pattern: String) -> Result<[String], FileFailure>
    /// `nil` where there is no such file.
    package var stamp: @Sendable (_ path: String) -> FileStamp?

    package init(
        read: @escaping @Sendable (_ path: String) -> Result<[UInt8], FileFailure>,
        glob: @escaping @Sendable (_ pattern: String) -> Result<[String], FileFailure>,
        stamp: @escaping @Sendable (_ path: String) -> FileStamp? = { _ in nil }
    ) {
        self.read = read
        self.glob = glob
        self.stamp = stamp
    }
}

/// Why a file cannot be read, in the system's words.
package struct FileFailure: Error, Sendable, Equatable {
    package var reason: String

    package init(reason: String) { self.reason = reason }
}

package enum Paths {
    /// `path` itself when it is absolute, else `path` under `directory`.
    package static func path(_ path: String, under directory: String) -> String {
        guard !path.hasPrefix("/"), !directory.isEmpty else { return path }
        return directory.hasSuffix("/") ? directory + path : directory + "/" + path
    }

    /// What comes before the last `/`; `.` for a bare file name.
    package static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
