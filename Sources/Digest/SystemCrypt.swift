internal import CCrypt
internal import Glibc

/// Hashes of passwords by the system's crypt(3): DES, MD5, SHA-256, SHA-512, bcrypt, yescrypt and whatever else libcrypt knows.
package enum SystemCrypt {
    /// What the library says where it hashes nothing: an `errno` value.
    package struct Failure: Error, Equatable {
        package let code: Int32
    }

    /// Hashes `password`.
    ///
    /// Most take from 1 to 100 milliseconds, and as much more as `setting` asks for. Any thread may call it.
    ///
    /// - Parameters:
    ///   - password: as far as its first zero byte, as C has it.
    ///   - setting: how to hash: a hash that was made before, or its beginning. For one that the library does not know, what
    ///     comes out is no hash, and begins with `*`.
    /// - Returns: the hash, with its setting before it.
    /// - Throws: what the library says, which has no room for a password of more than 511 bytes.
    package static func hash(_ password: [UInt8], setting: [UInt8]) throws(Failure) -> [UInt8] {
        // 32 KB, too much for a thread's stack to be sure of.
        let data = UnsafeMutablePointer<crypt_data>.allocate(capacity: 1)
        unsafe memset(data, 0, MemoryLayout<crypt_data>.size)
        defer {
            // It may hold what the password can be told by.
            unsafe explicit_bzero(data, MemoryLayout<crypt_data>.size)
            unsafe data.deallocate()
        }
        let password = (password + [0]).map { CChar(bitPattern: $0) }
        let setting = (setting + [0]).map { CChar(bitPattern: $0) }
        // Both are C strings that outlive the call; the result lies within `data`, and is copied.
        guard let hash = unsafe crypt_r(password, setting, data) else { throw Failure(code: errno) }
        var bytes: [UInt8] = []
        var position = 0
        while unsafe hash[position] != 0 {
            unsafe bytes.append(UInt8(bitPattern: hash[position]))
            position += 1
        }
        return bytes
    }
}
