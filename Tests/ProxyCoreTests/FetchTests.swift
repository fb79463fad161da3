import Config
import Testing

@testable import ProxyCore

@Suite("Fetching, without I/O")
struct FetchTests {
    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private func url(_ text: String) throws(FetchFailure) -> FetchURL { try FetchURL(Array(text.utf8)) }

    @Test("a URL gives the target and the Host that are sent")
    func urls() throws {
        let cases = [
            ("http://a", "/", "a"), ("HTTP://Host.Test:80/x", "/x", "Host.Test"),
            ("http://a:8080?q=1", "/?q=1", "a:8080"), ("http://a/x?y#z", "/x?y", "a"),
            ("http://a#z", "/", "a"),
            ("http://[::1]:81/x", "/x", "[::1]:81"), ("http://unix:/s.sock:/x?y", "/x?y", "localhost"),
            ("http://unix:/s.sock", "/", "localhost"), ("http://a/%2e%0a", "/%2e%0a", "a"),
        ]
        for (written, target, host) in cases {
            let url = try url(written)
            #expect(text(url.target) == target, "\(written)")
            #expect(text(url.hostField) == host, "\(written)")
        }
    }

    @Test(
        "a URL that is none is refused",
        arguments: [
            "", "a", "http:/a", "http://", "http:///x", "http://a:0/", "http://a:65536/", "http://a:x/",
            "http://u:p@a/", "http://a b/", "http://a/ b", "http://a/\n", "http://a\r\nX: y/", "http://[::1/",
            "http://unix:", "http://unix:/a\u{0}b", "http://a/\u{7f}", "http://a\"b/", "https://",
        ])
    func invalidURLs(written: String) {
        #expect(throws: FetchFailure.self) { try url(written) }
    }

    @Test("a URL leads to an upstream of its name without a port, to an address, or to a name")
    func destinations() throws {
        let group = UpstreamGroup(name: Array("pool".utf8), servers: [])
        func destination(_ written: String) throws -> String {
            switch try url(written).destination(among: [group]) {
            case .group(let index): "group \(index)"
            case .address(let address): "address \(text(address.text))"
            case .resolve(let name, let port): "name \(text(name)) \(port)"
            case .failed(let reason): reason
            }
        }
        #expect(try destination("http://POOL/x") == "group 0")
        #expect(try destination("http://pool:80/x") == "name pool 80")
        #expect(try destination("http://127.0.0.1/") == "address 127.0.0.1:80")
        #expect(try destination("http://[::1]:9/") == "address [::1]:9")
        #expect(try destination("http://unix:/a/b:/") == "address unix:/a/b")
    }

    private func head(_ request: FetchRequest) throws -> String {
        text(try FetchRequestHead(request, FetchURL(request.url)).bytes)
    }

    @Test("a head has the script's Host and Connection in place of ours, and a length where there is a body")
    func heads() throws {
        var request = FetchRequest(url: Array("http://a/".utf8))
        #expect(try head(request) == "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        request.body = []
        request.keepalive = false
        #expect(
            try head(request) == "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        request.body = nil
        request.method = Array("POST".utf8)
        request.headers = [
            FetchHeader(Array("host".utf8), Array("b".utf8)),
            FetchHeader(Array("Connection".utf8), Array("x".utf8)),
        ]
        #expect(
            try head(request) == "POST / HTTP/1.1\r\nhost: b\r\nConnection: x\r\nContent-Length: 0\r\n\r\n")
        request.headers.append(request.headers[0])
        #expect(throws: FetchFailure.self) { try head(request) }
        request.headers = []
        for method in ["", "G T", "CONNECT", "GET\r\n"] {
            request.method = Array(method.utf8)
            #expect(throws: FetchFailure.self) { try head(request) }
        }
    }

    @Test("a response is the same wherever it is cut")
    func cuts() {
        let wire = Array(
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n").utf8)
        for cut in 0...wire.count {
            var reader = FetchResponseReader(isHead: false, maxBody: 5)
            var progress = reader.received(wire.span.extracting(..<cut))
            if cut < wire.count {
                #expect(progress == .needsMore)
                progress = reader.received(wire.span.extracting(cut...))
            }
            #expect(progress == .complete(reusable: true))
            #expect(reader.response.status == 200 && text(reader.response.body) == "abcde")
            #expect(reader.response.headers.count == 2)
        }
    }

    @Test("a line is found wherever the stream is cut, and the buffer empties")
    func lines() {
        let wire = Array("one\r\n\ntwo\rx\r\n".utf8)
        for cut in 0...wire.count {
            var buffer = ReceiveBuffer()
            var lines: [String] = []
            for piece in [wire[..<cut], wire[cut...]] {
                buffer.append(piece.span)
                while case .bytes(let line) = buffer.take(.line) { lines.append(text(line)) }
            }
            #expect(lines == ["one", "", "two\rx"])
            #expect(buffer.count == 0)
        }
    }

    @Test("a line may be as long as the bound, its end not counted")
    func longestLine() {
        for (length, fits) in [(ReceiveBuffer.maxLine, true), (ReceiveBuffer.maxLine + 1, false)] {
            var buffer = ReceiveBuffer()
            let line = [UInt8](repeating: 65, count: length)
            buffer.append((line + [13]).span)
            _ = buffer.take(.line)
            let end: [UInt8] = [10]
            buffer.append(end.span)
            #expect(buffer.take(.line) == (fits ? .bytes(line) : .failed(.tooLarge)))
        }
    }
}
