internal import CHiredis

/// Takes Redis's replies apart as their bytes come: the reader of hiredis behind a safe interface.
@safe package final class RedisReader {
    package struct Fault: Error, Equatable, Sendable {
        package let message: String

        package init(_ message: String) { self.message = message }
    }

    /// Bytes of a reply that is not whole yet.
    private let limit: Int
    private let reader: UnsafeMutablePointer<redisReader>
    private var fault: Fault?

    /// - Parameter limit: bytes of a reply, as it comes, that are kept.
    package init(limit: Int = 64 << 20) {
        self.limit = limit
        guard let made = unsafe redisReaderCreate() else { fatalError("out of memory") }
        unsafe reader = made
    }

    deinit { unsafe redisReaderFree(reader) }

    /// Takes what has come.
    package func feed(_ bytes: Span<UInt8>) {
        guard fault == nil else { return }
        // Holds because: the bytes are copied during the call.
        let status = unsafe bytes.withUnsafeBytes { memory in
            unsafe redisReaderFeed(
                reader, memory.baseAddress?.assumingMemoryBound(to: CChar.self), memory.count)
        }
        if status != REDIS_OK { fault = failure }
    }

    /// The next reply; `nil` while it is not whole.
    ///
    /// - Throws: what came is no reply, or a longer one than is kept. Nothing more can be read then.
    package func next() throws(Fault) -> RedisReply? {
        if let fault { throw fault }
        var object: UnsafeMutableRawPointer?
        guard unsafe redisReaderGetReply(reader, &object) == REDIS_OK else { throw note(failure) }
        guard let object = unsafe object else {
            if unsafe reader.pointee.len > limit { throw note(Fault("too large")) }
            return nil
        }
        defer { unsafe freeReplyObject(object) }
        // Holds because: the reader has the functions of hiredis, which make objects of this type.
        return unsafe Self.reply(object.assumingMemoryBound(to: redisReply.self).pointee)
    }

    private func note(_ found: Fault) -> Fault {
        fault = found
        return found
    }

    private var failure: Fault {
        // Holds because: hiredis ends the text with a NUL, within the array.
        Fault(
            unsafe withUnsafeBytes(of: &reader.pointee.errstr) { text in
                unsafe String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
            })
    }

    private static func reply(_ object: redisReply) -> RedisReply {
        switch unsafe object.type {
        case REDIS_REPLY_STATUS: unsafe .status(text(object))
        case REDIS_REPLY_ERROR: unsafe .error(text(object))
        case REDIS_REPLY_STRING: unsafe .string(text(object))
        case REDIS_REPLY_INTEGER: .integer(unsafe object.integer)
        case REDIS_REPLY_ARRAY:
            // Holds because: there are as many elements as `elements` says, each an object.
            .array(
                unsafe (0..<object.elements).map { index in
                    unsafe object.element[index].map { unsafe reply($0.pointee) } ?? .null
                })
        default: .null
        }
    }

    private static func text(_ object: redisReply) -> [UInt8] {
        guard let start = unsafe object.str else { return [] }
        // Holds because: `len` bytes begin there.
        return unsafe Array(UnsafeRawBufferPointer(start: start, count: object.len))
    }
}
