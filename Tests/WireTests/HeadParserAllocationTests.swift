import Testing
import Wire

/// A steady state allocates nothing: a head that is used again keeps its storage.
@Suite("A head that is used again")
struct HeadParserAllocationTests {
    /// Where an array's elements lie and how many fit there.
    private struct Storage: Equatable {
        var address: UInt
        var capacity: Int

        init<Element>(_ array: [Element]) {
            // Only the number is kept, and nothing is read through it.
            address = unsafe array.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
            capacity = array.capacity
        }
    }

    @Test("for a request of the same size keeps its storage")
    func request() {
        let text = [UInt8](
            "GET /some/path?query=1 HTTP/1.1\r\nHost: a.org\r\nConnection: keep-alive, X-A\r\nX-A: 1\r\n"
                + (0..<20).map { "X-Field-\($0): value \($0)\r\n" }.joined() + "\r\n")
        var parser = RequestHeadParser()
        var head = RequestHead()
        _ = parser.parse(text.rawSpan, limits: .init(), into: &head)
        let (bytes, fields) = (Storage(head.bytes), Storage(head.fields))
        for _ in 0..<3 {
            parser.reset()
            #expect(parser.parse(text.rawSpan, limits: .init(), into: &head) == .complete(length: text.count))
            #expect(Storage(head.bytes) == bytes)
            #expect(Storage(head.fields) == fields)
            #expect(head.fields.count == 23)
        }
        head.removeAll()
        #expect(Storage(head.bytes) == bytes)
        #expect(Storage(head.fields) == fields)
    }

    @Test("for a shorter request keeps its storage, too, and shows nothing of the longer one")
    func shorterRequest() {
        let long = [UInt8]("POST /long HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nContent-Length: 3\r\n\r\n")
        let short = [UInt8]("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        var parser = RequestHeadParser()
        var head = RequestHead()
        _ = parser.parse(long.rawSpan, limits: .init(), into: &head)
        let (bytes, fields) = (Storage(head.bytes), Storage(head.fields))
        parser.reset()
        _ = parser.parse(short.rawSpan, limits: .init(), into: &head)
        #expect(Storage(head.bytes) == bytes)
        #expect(Storage(head.fields) == fields)
        #expect(head.bytes == short)
        #expect(head.fields.count == 1)
    }

    @Test("for a response keeps its storage")
    func response() {
        let text = [UInt8]("HTTP/1.1 200 OK\r\nServer: x\r\nDate: y\r\nContent-Length: 5\r\n\r\n")
        var parser = ResponseHeadParser()
        var head = ResponseHead()
        _ = parser.parse(text.rawSpan, isHead: false, maxHead: 4096, into: &head)
        let (bytes, fields) = (Storage(head.bytes), Storage(head.fields))
        for _ in 0..<3 {
            parser.reset()
            let outcome = parser.parse(text.rawSpan, isHead: false, maxHead: 4096, into: &head)
            #expect(outcome == .complete(length: text.count))
            #expect(Storage(head.bytes) == bytes)
            #expect(Storage(head.fields) == fields)
        }
    }

    @Test("in a body decoder costs no storage without trailers")
    func body() {
        var decoder = BodyDecoder(.chunked)
        let text = [UInt8]("5\r\nhello\r\n0\r\n\r\n")
        #expect(decoder.next(text.rawSpan, from: 0) == .payload(3..<8))
        #expect(decoder.next(text.rawSpan, from: 8) == .end(consumed: text.count))
        #expect(decoder.trailers?.bytes == nil)
    }
}
