internal import CSwitchyard
internal import Glibc

/// A system call that failed.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    package let call: String
    /// The file or name that the call was about, where that is to be told.
    package let subject: String?
    package let code: Int32

    /// Takes the code from `errno`.
    package init(_ call: String, on subject: String? = nil) {
        // Before anything else can change it.
        code = errno
        self.call = call
        self.subject = subject
    }

    package init(_ call: String, on subject: String? = nil, code: Int32) {
        self.call = call
        self.subject = subject
        self.code = code
    }

    /// As nginx writes it: `bind() failed (98: Address already in use)`, `open() "/a.pid" failed (…)`.
    public var description: String {
        let subject = subject.map { " \"\($0)\"" } ?? ""
        return "\(call)()\(subject) failed (\(code): \(reason))"
    }

    package var isMissingFile: Bool { code == ENOENT }

    package var reason: String { Self.reason(code) }

    package static func reason(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        // The text stands in the buffer or is static, and is copied before the buffer goes.
        return unsafe buffer.withUnsafeMutableBufferPointer { buffer in
            guard let memory = buffer.baseAddress, let text = unsafe sy_error_text(code, memory, buffer.count)
            else {
                return "error \(code)"
            }
            return unsafe String(cString: text)
        }
    }
}
