import Redis
import Testing

@Suite("Redis's replies")
struct RedisReaderTests {
    private static func replies(_ text: String, inPiecesOf size: Int, limit: Int = 1 << 20) throws
        -> [RedisReply]
    {
        let reader = RedisReader(limit: limit)
        let bytes = Array(text.utf8)
        var found: [RedisReply] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            reader.feed(bytes[start..<min(start + size, bytes.count)].span)
            while let reply = try reader.next() { found.append(reply) }
        }
        return found
    }

    private static func string(_ text: String) -> RedisReply { .string(Array(text.utf8)) }

    @Test("every type of reply, in one piece and byte by byte", arguments: [1, 2, 7, 1000])
    func types(size: Int) throws {
        let text = """
            +OK\r\n-ERR unknown command\r\n:-42\r\n$5\r\nhe\r\nl\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n\
            *3\r\n$7\r\nmessage\r\n*2\r\n:1\r\n$-1\r\n+x\r\n
            """
        #expect(
            try Self.replies(text, inPiecesOf: size) == [
                .status(Array("OK".utf8)), .error(Array("ERR unknown command".utf8)), .integer(-42),
                Self.string("he\r\nl"), Self.string(""), .null, .null, .array([]),
                .array([Self.string("message"), .array([.integer(1), .null]), .status(Array("x".utf8))]),
            ])
    }

    @Test(
        "what is no reply is a fault, and nothing is read after it",
        arguments: ["HTTP/1.1 400 Bad Request\r\n", ":1x\r\n", "$abc\r\n", "*1\r\n?\r\n"])
    func faults(text: String) throws {
        let reader = RedisReader()
        reader.feed(Array(text.utf8).span)
        #expect(throws: RedisReader.Fault.self) { try reader.next() }
        reader.feed(Array("+OK\r\n".utf8).span)
        #expect(throws: RedisReader.Fault.self) { try reader.next() }
    }

    @Test("a reply may be nested, though not without end")
    func nesting() throws {
        let nested = { (depth: Int) in String(repeating: "*1\r\n", count: depth) + ":1\r\n" }
        #expect(try Self.replies(nested(5), inPiecesOf: 1000).count == 1)
        #expect(throws: RedisReader.Fault.self) { try Self.replies(nested(100), inPiecesOf: 1000) }
    }

    @Test("no more of a reply is kept than is wanted")
    func limit() throws {
        let text = "$100000\r\n" + String(repeating: "x", count: 90_000)
        #expect(throws: RedisReader.Fault("too large")) {
            try Self.replies(text, inPiecesOf: 1000, limit: 50_000)
        }
        #expect(try Self.replies(text, inPiecesOf: 1000, limit: 95_000) == [])
    }

    @Test("an array has no room made for more elements than may come")
    func arrayLimit() throws {
        #expect(throws: RedisReader.Fault("too large")) {
            try Self.replies("*1000\r\n", inPiecesOf: 100, limit: 3999)
        }
        #expect(throws: RedisReader.Fault("too large")) {
            try Self.replies("*2\r\n:1\r\n*2147483647\r\n", inPiecesOf: 100)
        }
        #expect(try Self.replies("*1000\r\n", inPiecesOf: 100, limit: 4000) == [])
    }

    @Test("commands are arrays of strings")
    func commands() {
        var output: [UInt8] = []
        RedisCommand.append([Array("SET".utf8), Array("k".utf8), [0, 13, 10]], to: &output)
        #expect(output == Array("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\0\r\n\r\n".utf8))
    }
}
