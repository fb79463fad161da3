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
        unsafe reader.pointee.fn = Self.functions
        // An element has four bytes at least.
        unsafe reader.pointee.privdata = UnsafeMutableRawPointer(bitPattern: max(1, limit / 4))
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
            if unsafe reader.pointee.len - reader.pointee.pos > limit { throw note(Fault("too large")) }
            return nil
        }
        defer { unsafe freeReplyObject(object) }
        // Holds because: the reader has the functions of hiredis, which make objects of this type.
        return unsafe Self.reply(object.assumingMemoryBound(to: redisReply.self).pointee)
    }

    /// The functions of hiredis, but for that which makes an array of as many elements as somebody says there are, before
    /// any has come.
    ///
    /// Made once, and only read from then on.
    private nonisolated(unsafe) static let functions = {
        guard let reader = unsafe redisReaderCreate() else { fatalError("out of memory") }
        let functions = UnsafeMutablePointer<redisReplyObjectFunctions>.allocate(capacity: 1)
        unsafe functions.initialize(to: reader.pointee.fn.pointee)
        unsafe redisReaderFree(reader)
        unsafe functions.pointee.createArray = { task, count in
            let most = unsafe UInt(bitPattern: task?.pointee.privdata)
            return count <= most ? unsafe RedisReader.createArray?(task, count) : nil
        }
        return unsafe functions
    }()

    private static let createArray = {
        guard let reader = unsafe redisReaderCreate() else { fatalError("out of memory") }
        defer { unsafe redisReaderFree(reader) }
        return unsafe reader.pointee.fn.pointee.createArray
    }()

    private func note(_ found: Fault) -> Fault {
        fault = found
        return found
    }

    private var failure: Fault {
        // Of memory there is always enough, but an array may say that it has more elements than it may.
        if unsafe reader.pointee.err == REDIS_ERR_OOM { return Fault("too large") }
        // Holds because: hiredis ends the text with a NUL, within the array.
        return Fault(
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
