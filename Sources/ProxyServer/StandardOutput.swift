package import EventLoop
internal import Glibc
internal import Synchronization

/// What commands answer with.
package enum StandardOutput {
    private static let errorCode = Atomic<Int32>(0)

    /// What the first write that failed came to, such as a full disk.
    package static var failure: SystemError? {
        let code = errorCode.load(ordering: .relaxed)
        return code == 0 ? nil : SystemError("write", on: "standard output", code: code)
    }

    package static func write(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            // The bytes are valid for the call.
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                errorCode.store(errno, ordering: .relaxed)
                return
            }
            rest = rest.dropFirst(count)
        }
    }

    package static func line(_ text: String) { write(Array((text + "\n").utf8)) }
}
