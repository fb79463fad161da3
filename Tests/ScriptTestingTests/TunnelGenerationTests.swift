import EventLoop
import Foundation
import Testing

@testable import ProxyServer
@testable import ScriptTesting

/// Which configuration an open WebSocket goes on under, and when it is asked to end.
@Suite("Tunnels across reloads and shutdowns", .timeLimit(.minutes(1)))
struct TunnelGenerationTests {
    /// A proxy whose one location has plugins, a backend, and a WebSocket between.
    private final class Scene {
        let directory: URL
        let plugins: [String]
        let main: String
        let location: String
        let proxy: ProxyUnderTest
        let backend: MemoryBackend
        private(set) var client: MemoryPeer
        private(set) var server: MemoryPeer?

        /// `opens` false leaves the client's handshake without its answer.
        init(
            _ scripts: [String: String], main: String = "", location: String = "", opens: Bool = true
        ) throws {
            self.main = main
            self.location = location
            directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            plugins = scripts.keys.sorted()
            for (name, text) in scripts { try Self.write(text, name, directory) }
            var options = ProxyUnderTest.Options()
            options.names = ["app.test": [.ipv4(0x0A00_0001, port: 0)]]
            proxy = try ProxyUnderTest(
                Self.configuration(plugins, directory, main, location), options: options)
            backend = proxy.backend()
            client = try proxy.connect()
            client.send(
                "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            proxy.run()
            server = backend.accept()
            if opens { try open() }
        }

        deinit { try? FileManager.default.removeItem(at: directory) }

        private static func configuration(
            _ plugins: [String], _ directory: URL, _ main: String, _ location: String
        ) -> String {
            let lines = plugins.map { "plugin \(directory.path)/\($0).lua;" }.joined(separator: " ")
            return """
                \(main) events {} http { server {
                    listen 80;
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                    location / { \(lines) \(location) proxy_pass http://app.test:9000; }
                } }
                """
        }

        private static func write(_ text: String, _ name: String, _ directory: URL) throws {
            try text.write(
                to: directory.appendingPathComponent("\(name).lua"), atomically: true, encoding: .utf8)
        }

        /// The backend accepts the WebSocket.
        func open() throws {
            try #require(server).send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            proxy.run()
            #expect(String(decoding: client.receive(), as: UTF8.self).hasPrefix("HTTP/1.1 101 "))
        }

        func reload(_ scripts: [String: String] = [:], without removed: String? = nil) throws {
            for (name, text) in scripts { try Self.write(text, name, directory) }
            let plugins = plugins.filter { $0 != removed }
            try proxy.reload(Self.configuration(plugins, directory, main, location))
        }

        /// The backend sends a message, or a frame of one that begins with another byte.
        func say(_ text: String, start: UInt8 = 0x81) {
            server?.send([start, UInt8(text.utf8.count)] + Array(text.utf8))
            proxy.run()
        }

        /// What the client was sent since: payloads as text, close frames by their codes.
        func heard() -> [String] {
            var bytes = client.receive()[...]
            var messages: [String] = []
            while let start = bytes.popFirst(), let length = bytes.popFirst() {
                let payload = Array(bytes.prefix(Int(length)))
                bytes = bytes.dropFirst(Int(length))
                if start == 0x88 {
                    messages.append(
                        "close \(payload.count < 2 ? 1005 : Int(payload[0]) << 8 | Int(payload[1]))")
                } else {
                    messages.append(String(decoding: payload, as: UTF8.self))
                }
            }
            return messages
        }

        /// What the client hears when the backend says this.
        func hears(_ text: String) -> [String] {
            say(text)
            return heard()
        }

        /// What scripts have logged since.
        func logged() -> [String] {
            proxy.takeErrors().map(\.message).filter { $0.contains("lua: ") }.map { message in
                let text = message.split(separator: ", client:")[0]
                return text.split(separator: ".lua:1: ").last.map(String.init) ?? String(text)
            }
        }
    }

    /// A plugin that says its version behind each message, and has a say in the end.
    private static func versioned(_ version: String, _ more: String = "") -> String {
        "return { message = { from = 'upstream', run = function(flow, msg) "
            + "if msg.data == 'slow' then sy.sleep(1) end "
            + "if msg.data == 'later' then sy.sleep(1) flow:after(60, function() end) end "
            + "return msg.data .. ' \(version)' end }, "
            + "drain = function() sy.log.error('drain \(version)') end, \(more) }"
    }

    private static let limit = "worker_shutdown_timeout 4s;"

    // MARK: Moving

    @Test("a timer keeps a tunnel with its scripts; once it has run the tunnel moves, though nothing is said")
    func timer() throws {
        let timer = "open = function(flow) flow:after(1, function() sy.log.error('timer') end) end"
        let scene = try Scene(["a": Self.versioned("1", timer)])
        try scene.reload(["a": Self.versioned("2")])
        #expect(scene.hears("x") == ["x 1"])
        scene.proxy.advance(byMilliseconds: 1000)
        #expect(scene.logged() == ["timer"])
        #expect(scene.hears("y") == ["y 2"])
    }

    @Test("a timer that is cancelled keeps it no longer")
    func cancelledTimer() throws {
        let timer = """
            open = function(flow) flow.ctx.timer = flow:every(60, function() end) end,
            frame = function(flow, frame) if frame.data == "stop" then flow.ctx.timer:cancel() end end
            """
        let scene = try Scene(["a": Self.versioned("1", timer)])
        try scene.reload(["a": Self.versioned("2")])
        #expect(scene.hears("x") == ["x 1"])
        #expect(scene.hears("stop") == ["stop 1"])
        #expect(scene.hears("y") == ["y 2"])
    }

    @Test("a function of a timer that waits holds the move up until its end, and no byte has to come then")
    func waitingTimer() throws {
        let timer = "open = function(flow) flow:after(0.1, function() sy.sleep(2) end) end"
        let scene = try Scene(["a": Self.versioned("1", timer)], main: Self.limit)
        scene.proxy.advance(byMilliseconds: 500)
        try scene.reload(["a": Self.versioned("2")])
        scene.proxy.advance(byMilliseconds: 10_000)
        #expect(scene.logged() == [])
        #expect(scene.hears("x") == ["x 2"])
    }

    @Test("a connection that was closed again does not keep a tunnel")
    func closedConnection() throws {
        let socket = """
            open = function(flow)
                local socket = assert(sy.tcp.connect("10.0.0.2", 7))
                flow:after(1, function() socket:close() end)
            end
            """
        let scene = try Scene(["a": Self.versioned("1", socket)])
        scene.proxy.advance(byMilliseconds: 500)
        try scene.reload(["a": Self.versioned("2")])
        #expect(scene.hears("x") == ["x 1"])
        scene.proxy.advance(byMilliseconds: 1000)
        #expect(scene.hears("y") == ["y 2"])
    }

    @Test("a reload overtakes another that a tunnel has not followed yet")
    func overtaken() throws {
        let scene = try Scene(["a": Self.versioned("1")])
        scene.say("slow")
        try scene.reload(["a": Self.versioned("2", "migrate = function() sy.log.error('moved to 2') end")])
        try scene.reload(["a": Self.versioned("3")])
        scene.proxy.advance(byMilliseconds: 1000)
        #expect(scene.heard() == ["slow 1"])
        #expect(scene.hears("x") == ["x 3"])
        #expect(scene.logged() == [])
    }

    @Test("nor does a tunnel move to what was overtaken by a configuration without its scripts")
    func overtakenByNone() throws {
        let scene = try Scene(["a": Self.versioned("1")])
        scene.say("slow")
        try scene.reload(["a": Self.versioned("2")])
        try scene.reload(without: "a")
        scene.proxy.advance(byMilliseconds: 1000)
        #expect(scene.heard() == ["slow 1"])
        #expect(scene.hears("x") == ["x 1"])
        try scene.reload(["a": Self.versioned("4")])
        #expect(scene.hears("y") == ["y 4"])
    }

    @Test("hooks for frames that come with a reload see no message from its middle on")
    func withinMessage() throws {
        let scene = try Scene(["a": "return { open = function() end }"])
        scene.say("one ", start: 1)
        try scene.reload(["a": "return { frame = function(flow, frame) return frame.data .. '!' end }"])
        scene.say("two ", start: 0)
        scene.say("three", start: 0x80)
        #expect(scene.heard() == ["one ", "two ", "three"])
        #expect(scene.hears("four") == ["four!"])
    }

    // MARK: Sending in migrate

    @Test(
        "a deadline that has moved is cancelled by what stands for it in the context, nested and twice over")
    func deadlinesMove() throws {
        let text = """
            return {
                open = function(flow)
                    local timer = flow:deadline(sy.now() + 5, 4001)
                    flow.ctx.limit = flow:deadline(sy.now() + 20, 4002)
                    flow.ctx.kept = { timer = timer }
                    flow.ctx.lost = flow.client
                end,
                message = function(flow, msg)
                    if msg.data ~= "renew" then return msg.data .. tostring(flow.ctx.lost) end
                    local cancelled = flow.ctx.kept.timer:cancel()
                    flow.ctx.kept.timer = flow:deadline(sy.now() + 8, 4003)
                    return tostring(cancelled)
                end,
            }
            """
        let scene = try Scene(["a": text])
        try scene.reload()
        #expect(scene.hears("x") == ["xnil"])
        try scene.reload()
        #expect(scene.hears("renew") == ["true"])
        try scene.reload()
        scene.proxy.advance(byMilliseconds: 6000)
        #expect(scene.heard() == [])
        #expect(scene.hears("renew") == ["true"])
        try scene.reload()
        scene.proxy.advance(byMilliseconds: 7500)
        #expect(scene.hears("renew") == ["true"])
        scene.proxy.advance(byMilliseconds: 6600)
        #expect(scene.heard() == ["close 4002"])
    }

    @Test("what migrate sends meets the new hooks, of scripts that have all moved, and they may wait with it")
    func migrateSends() throws {
        func first(_ more: String) -> String {
            "return { open = function(flow) flow.ctx.n = 1 end, \(more) }"
        }
        func second(_ version: String, _ more: String) -> String {
            "return { open = function(flow) flow.ctx.old = 'b' end, message = function(flow, msg) "
                + "sy.sleep(0.3) return msg.data .. ' \(version) ' .. tostring(flow.ctx.new) end, \(more) }"
        }
        let scene = try Scene(["a": first(""), "b": second("1", "")])
        try scene.reload([
            "a": first(
                "migrate = function(ctx, flow) assert(flow.client:send('moved ' .. ctx.n)) return ctx end"),
            "b": second("2", "migrate = function(ctx) return { new = ctx.old .. '!' } end"),
        ])
        #expect(scene.heard() == [])
        scene.proxy.advance(byMilliseconds: 300)
        #expect(scene.heard() == ["moved 1 2 b!"])
        scene.say("x")
        scene.proxy.advance(byMilliseconds: 300)
        #expect(scene.heard() == ["x 2 b!"])
        scene.server?.send([0x88, 2, 0x03, 0xE8])
        scene.proxy.run()
        #expect(scene.heard() == ["close 1000"])
    }

    @Test("migrate may end the tunnel, behind what it has sent")
    func migrateCloses() throws {
        let scene = try Scene(["a": Self.versioned("1")])
        try scene.reload([
            "a": Self.versioned(
                "2", "migrate = function(ctx, flow) flow.client:send('bye') flow.client:close(4001) end")
        ])
        #expect(scene.heard() == ["bye", "close 4001"])
    }

    // MARK: Ending

    @Test("what cannot move is asked to end at once where it would be cut off")
    func boundAtReload() throws {
        let timer = "open = function(flow) flow:after(60, function() end) end"
        let scene = try Scene(["a": Self.versioned("1", timer)], main: Self.limit)
        try scene.reload(["a": Self.versioned("2")])
        #expect(scene.logged() == ["drain 1"])
        #expect(scene.heard() == ["close 1001"])
    }

    @Test("so is what turns out not to move when a hook that held it up has come to its end")
    func boundLater() throws {
        let scene = try Scene(["a": Self.versioned("1")], main: Self.limit)
        scene.say("later")
        try scene.reload(["a": Self.versioned("2")])
        #expect(scene.logged() == [])
        scene.proxy.advance(byMilliseconds: 1000)
        #expect(scene.logged() == ["drain 1"])
        #expect(scene.heard() == ["later 1", "close 1001"])
    }

    @Test("a tunnel that opens while its worker drains is asked to end", arguments: ["", limit])
    func opensLate(_ main: String) throws {
        let scene = try Scene(["a": Self.versioned("1")], main: main, opens: false)
        scene.proxy.drain()
        try scene.open()
        #expect(scene.logged() == ["drain 1"])
        // The head was followed by it at once.
        #expect(scene.server?.receive().suffix(8).first == 0x88)
    }

    @Test("one that opens under a former configuration moves to the current one")
    func opensAfterReload() throws {
        let scene = try Scene(["a": Self.versioned("1")], opens: false)
        try scene.reload(["a": Self.versioned("2")])
        try scene.open()
        #expect(scene.hears("x") == ["x 2"])
    }

    @Test("or is asked to end where that has no place for it, and it would be cut off")
    func opensAfterReloadWithoutPlace() throws {
        let scene = try Scene(["a": Self.versioned("1")], main: Self.limit, opens: false)
        try scene.reload(without: "a")
        try scene.open()
        #expect(scene.logged() == ["drain 1"])
    }

    @Test("an open hook that waits over a shutdown is followed by the end", arguments: [false, true])
    func opensInHook(_ reloads: Bool) throws {
        let scene = try Scene(
            ["a": Self.versioned("1", "open = function() sy.sleep(1) end")], opens: false)
        scene.server?.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        scene.proxy.run()
        if reloads { try scene.reload(["a": Self.versioned("2")]) } else { scene.proxy.drain() }
        scene.proxy.advance(byMilliseconds: 1000)
        if reloads {
            _ = scene.client.receive()
            #expect(scene.hears("x") == ["x 2"])
        } else {
            #expect(scene.logged() == ["drain 1"])
        }
    }

    @Test("a drain hook that fails ends the tunnel with 1011, unless errors are let pass")
    func failingDrainHook() throws {
        for (location, code) in [("", 1011), ("lua_on_error open;", 1001)] {
            let scene = try Scene(["a": "return { drain = function() error('no') end }"], location: location)
            scene.proxy.drain()
            #expect(scene.heard() == ["close \(code)"])
        }
    }
}
