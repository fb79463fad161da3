internal import Glibc

/// Paths of files on this machine.
package enum FilePath {
    package static func exists(_ path: String) -> Bool {
        // The path is passed as a C string for the length of the call.
        unsafe access(path, F_OK) == 0
    }

    /// A path that stays right when the directory changes.
    package static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/") else { return path }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        // The buffer is as large as the call is told, and what it writes ends with NUL.
        guard unsafe getcwd(&buffer, buffer.count) != nil else { return path }
        let directory = String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.isEmpty || path == "." ? directory : directory + "/" + path
    }
}
