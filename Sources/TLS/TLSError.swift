internal import COpenSSL

/// A call of OpenSSL that failed, with what its queue of errors said.
package struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// As messages name it: `SSL_do_handshake`, or with its arguments.
    package let call: String
    /// Each error as OpenSSL writes it: `error:0A000086:SSL routines::certificate verify failed`. Empty where the
    /// queue was.
    package let details: String
    /// The last error's reason alone: `certificate verify failed`.
    package let reason: String

    package init(_ call: String, details: String, reason: String) {
        self.call = call
        self.details = details
        self.reason = reason
    }

    /// A failure that is not OpenSSL's.
    package init(_ call: String, reason: String) { self.init(call, details: "", reason: reason) }

    /// As nginx writes it: `SSL_do_handshake() failed (SSL: error:…)`.
    package var description: String {
        let call = call.hasSuffix(")") ? call : call + "()"
        if !details.isEmpty { return "\(call) failed (SSL: \(details))" }
        return reason.isEmpty ? "\(call) failed" : "\(call) failed (\(reason))"
    }

    /// The reason alone where no call of OpenSSL's failed.
    package var summary: String { details.isEmpty ? reason : description }

    /// Takes all errors from this thread's queue.
    init(taking call: String) {
        var texts: [String] = []
        var reason = ""
        while true {
            var data: UnsafePointer<CChar>?
            var flags: Int32 = 0
            // The pointers are to variables that outlive the call; `data` is text of the queue's, which stays until
            // that entry is used again.
            let code = unsafe ERR_get_error_all(nil, nil, nil, &data, &flags)
            guard code != 0 else { break }
            var text = Self.text(code)
            if flags & ERR_TXT_STRING != 0, let data = unsafe data {
                let more = unsafe String(cString: data)
                if !more.isEmpty { text += ":" + more }
            }
            texts.append(text)
            // The texts are static.
            if let name = unsafe ERR_reason_error_string(code) { reason = unsafe String(cString: name) }
        }
        self.init(call, details: texts.joined(separator: " "), reason: reason)
    }

    private static func text(_ code: UInt) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        // The buffer is as long as it is said to be; the text is cut to fit, and ends with NUL.
        unsafe buffer.withUnsafeMutableBufferPointer {
            unsafe ERR_error_string_n(code, $0.baseAddress, $0.count)
        }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
