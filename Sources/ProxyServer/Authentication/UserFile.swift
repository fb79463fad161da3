internal import EventLoop
internal import Glibc
internal import ProxyCore

/// The files of `auth_basic_user_file`, which are read for each request, so that changes count at once.
enum UserFile {
    private static let pieceSize = 16 << 10

    /// What the file at `path` has for the user's password; `nil` where it does not have the user.
    ///
    /// - Throws: what the system says of a file that cannot be read.
    static func password(of user: [UInt8], in path: String) throws(SystemError) -> StoredPassword? {
        // A pipe that nobody writes to is not waited for. The path is a C string for all of the call.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw SystemError("open", on: path) }
        defer { Glibc.close(descriptor) }
        var reader = UserFileReader(user: user)
        var piece = [UInt8](repeating: 0, count: pieceSize)
        var offset = 0
        while !reader.isDone {
            // The array has room for as much, and is there for all of the call.
            let count = unsafe pread(descriptor, &piece, piece.count, offset)
            guard count >= 0 else {
                if errno == EINTR { continue }
                throw SystemError("pread", on: path)
            }
            if count == 0 { break }
            reader.read(piece.span.extracting(..<count))
            offset += count
        }
        return reader.finish()
    }
}
