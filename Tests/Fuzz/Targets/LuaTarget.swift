import Config
import EventLoop
import ScriptTesting
import Wire

/// Whatever a script does at every stage of requests and of a WebSocket, it ends, and the client gets responses and frames
/// of a valid form.
///
/// The input is the body of a function of `stage`, `flow`, `a` and `b`, which is every hook; `KEEP` is a table that
/// outlives its calls.
enum LuaTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        var choices = Choices(input)
        guard let world = World(input) else { return }
        world.request(
            "GET /a/b?x=1&y=%20&x=2 HTTP/1.1\r\nHost: a.test\r\nCookie: a=1; b\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
        world.request(
            "POST /form HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n"
                + "Content-Type: application/json\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n")
        world.webSocket()
        if choices.oneIn(2) { world.reload() }
        world.pass(milliseconds: 50)
        world.finish()
    }

    private final class World {
        private let proxy: ProxyUnderTest
        private var peers: [MemoryPeer] = []

        private static let head = """
            local KEEP, environment = {}, _ENV
            local function hook(stage, flow, a, b)

            """
        private static let tail = """

            end
            local function at(stage) return function(flow, a, b) return hook(stage, flow, a, b) end end
            return {
                variables = {v = at("variable")}, request = at("request"), upgrade = at("upgrade"),
                response = at("response"), open = at("open"), close = at("close"), drain = at("drain"),
                log = at("log"), request_body = at("request_body"), response_body = at("response_body"),
                message = at("message"), frame = at("frame"), migrate = at("migrate"),
            }
            """

        private static let configuration = """
            events {}
            http {
                lua_hook_timeout 10ms; lua_memory_limit 4m; lua_shared_dict small 8k; lua_shared_dict large 256k;
                lua_max_waiting 40;
                map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
                access_log off;
                upstream app { server 127.0.0.1:9000; keepalive 2; }
                server {
                    listen 80;
                    plugin fuzz.lua;
                    add_header X-V $v;
                    proxy_http_version 1.1;
                    proxy_connect_timeout 1s; proxy_read_timeout 1s; proxy_send_timeout 1s; send_timeout 1s;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    error_page 500 @other;
                    location / { proxy_pass http://app; }
                    location @other { proxy_pass http://app; }
                }
            }
            """

        init?(_ script: [UInt8]) {
            var options = ProxyUnderTest.Options()
            options.machine = SealedMachine.with(
                files: ["fuzz.lua": [UInt8](Self.head) + script + [UInt8](Self.tail)])
            do {
                proxy = try ProxyUnderTest(Self.configuration, options: options)
            } catch {
                check(!script.isEmpty, "no script can be loaded: \(error)")
                return nil
            }
            for backend in [proxy.backend(at: .ipv4(0x7f00_0001, port: 9000)), proxy.backend()] {
                backend.onConnect = { [unowned self] peer in
                    peers.append(peer)
                    peer.onActivity(Self.answer)
                }
            }
        }

        /// What every backend says.
        private static func answer(_ peer: MemoryPeer) {
            let text = peer.receive().text
            if text.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") {
                peer.send(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                peer.send([0x81, 2, 0x68, 0x69, 0x89, 1, 0x70, 0x02, 1, 0x61, 0x80, 1, 0x62])
            } else if text.contains("\r\n\r\n") {
                peer.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nSet-Cookie: a=1\r\nContent-Type: application/json\r\n"
                        + "\r\n{\"b\":2}")
            }
            if peer.sawEnd { peer.end() }
        }

        private func client() -> MemoryPeer? {
            guard let peer = try? proxy.connect() else { return nil }
            peers.append(peer)
            return peer
        }

        /// Lets things happen that take no time; scripts may go on and on.
        func settle() { _ = proxy.loop.runUntilIdle(turns: 500) }

        func pass(milliseconds: Int64) { proxy.advance(byMilliseconds: milliseconds) }

        func request(_ text: String) {
            guard let client = client() else { return }
            client.send(text)
            settle()
            pass(milliseconds: 20)
            responses(client.receive())
        }

        /// Heads with their bodies, one after the other; the last may be cut.
        @discardableResult
        private func responses(_ bytes: [UInt8]) -> (status: Int, rest: [UInt8]) {
            var rest = bytes
            while !rest.isEmpty {
                let (progress, head) = Heads.parseResponse(rest, isHead: false)
                if progress == .incomplete { return (0, rest) }
                guard case .complete(let length) = progress else {
                    check(false, "the client is sent \(progress): \(bytes.text)")
                    return (0, [])
                }
                rest.removeFirst(length)
                if head.status == 101 { return (101, rest) }
                guard head.status >= 200 else { continue }
                var decoder = BodyDecoder(head.framing)
                var position = 0
                body: while true {
                    switch decoder.next(rest.rawSpan, from: position) {
                    case .needsMore: break body
                    case .payload(let range): position = range.upperBound
                    case .end(let end):
                        position = end
                        break body
                    case .invalid(let violation):
                        check(false, "a body is \(violation): \(bytes.text)")
                        return (0, [])
                    }
                }
                rest.removeFirst(position)
                check(rest.isEmpty, "something behind a response: \(bytes.text)")
                return (head.status, rest)
            }
            return (0, rest)
        }

        func webSocket() {
            guard let client = client() else { return }
            client.send(
                "GET /chat?x HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    + "Sec-WebSocket-Protocol: chat, superchat\r\n\r\n")
            settle()
            pass(milliseconds: 5)
            let (status, rest) = responses(client.receive())
            guard status == 101 else { return }
            var received = rest
            for frame: [UInt8] in [
                [0x81, 0x83, 0, 0, 0, 0, 0x61, 0x62, 0x63],
                [0x02, 0x81, 1, 1, 1, 1, 0x60, 0x80, 0x80, 0, 0, 0, 0],
                [0x89, 0x80, 0, 0, 0, 0], [0x8a, 0x81, 0, 0, 0, 0, 0x70], [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8],
            ] {
                client.send(frame)
                settle()
                received += client.receive()
            }
            pass(milliseconds: 100)
            received += client.receive()
            guard let frames = WebSocketReader.frames(received, isMasked: false) else {
                return check(false, "the client is sent no frames: \(received)")
            }
            check(
                WebSocketReader.areInOrder(frames, allowedReserved: 0),
                "the client is sent frames in no order: \(frames)")
        }

        func reload() {
            try? proxy.reload(Self.configuration)
            settle()
        }

        func finish() {
            proxy.drain()
            pass(milliseconds: 1200)
            for peer in peers { peer.close() }
            proxy.end()
            settle()
            // Hooks that ran at the end may have connected anew, and a peer with something to do holds itself.
            for peer in peers { peer.close() }
            settle()
            _ = proxy.takeErrors()
            check(proxy.network.openDescriptors == 0, "\(proxy.network.openDescriptors) descriptors are left")
        }
    }
}
