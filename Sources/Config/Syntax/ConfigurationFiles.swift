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

/// Why a file cannot be read, in the system's words.
package struct FileFailure: Error, Sendable, Equatable {
    package var reason: String

    package init(reason: String) { self.reason = reason }
}
