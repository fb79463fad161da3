import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("Sockets of scripts")
struct SocketTests {
    /// A hook that has connected, and waits for what comes next.
    private func connected(_ text: String) throws -> (ScriptFixture, FakeConnection) {
        let fixture = try ScriptFixture(.request, "local s, err = sy.tcp.connect('redis', 6379, 2) \(text)")
        guard case .waiting = fixture.run() else { throw Unexpected() }
        let connection = FakeConnection()
        fixture.host.connects[0].finish(.success(connection))
        return (fixture, connection)
    }

    @Test("a script connects, sends and receives")
    func talks() throws {
        let (fixture, peer) = try connected(
            """
            print(s:send('PING\\r\\n'))
            print(s:receive())
            print(s:receive('*l', 0.5), s:receive(3), s:receive('*any'), s:receive('*a'))
            s:close()
            print(s:send('x'))
            """)
        #expect(fixture.host.places == ["redis:6379 2000"])
        #expect(peer.sent == ["PING\r\n"])
        peer.sendingEnds()
        for text in ["+PONG", "line", "abc", "some", "rest"] { peer.says(text) }
        #expect(peer.wanted == [.line, .line, .exactly(3), .available, .untilClosed])
        #expect(peer.timeouts == [2000, 2000, 500, 2000, 2000, 2000])
        #expect(
            fixture.host.lines.map { $0.dropFirst(14) }
                == ["6", "+PONG", "line\tabc\tsome\trest", "nil\tclosed"])
        #expect(peer.isClosed && fixture.interpreter.openSockets == 0)
        #expect(fixture.ended.count == 1)
    }

    @Test("what fails is nil and why")
    func fails() throws {
        let fixture = try ScriptFixture(.request, "print(sy.tcp.connect('unix:/tmp/s'))")
        _ = fixture.run()
        #expect(fixture.host.places == ["unix:/tmp/s:0 10000"])
        fixture.host.connects[0].finish(.failure(.unresolved(reason: "no such host")))
        #expect(fixture.host.lines == ["[notice] lua: nil\tname could not be resolved (no such host)"])

        let (other, peer) = try connected("print(s:send('x')) print(s:receive())")
        peer.sendingEnds(.closed)
        peer.receivingEnds(.failure(.timedOut))
        #expect(other.host.lines.map { $0.dropFirst(14) } == ["nil\tclosed", "nil\ttimeout"])
    }

    @Test(
        "what is wrong with a call is said",
        arguments: [
            ("sy.tcp.connect()", "host: found nothing, expected a string"),
            ("sy.tcp.connect('a')", "port: found nothing, expected an integer"),
            ("sy.tcp.connect('a', 0)", "port: found 0, expected 1 to 65535"),
            ("sy.tcp.connect('a', 65536)", "port: found 65536, expected 1 to 65535"),
            ("sy.tcp.connect('a', 1, {})", "timeout: found table, expected a number"),
            ("s.send()", "found nothing, expected a socket: call it with a colon"),
            ("s.send(flow, 'x')", "found flow, expected a socket: call it with a colon"),
            ("s:send()", "data: found nothing, expected a string"),
            ("s:send({})", "data: found table, expected a string"),
            ("s:send('x', -1)", "timeout: found -1.0, expected"),
            ("s.receive('x')", "found string, expected a socket"),
            ("s:receive({})", "pattern: found table, expected a number of bytes, *l, *a or *any"),
            ("s:receive('*x')", "pattern: found \"*x\", expected a number of bytes, *l, *a or *any"),
            ("s:receive(-1)", "pattern: found -1, expected 0 bytes or more"),
            ("s:receive(1.5)", "pattern: found number, expected an integer"),
            ("s.close({})", "found table, expected a socket"),
            ("coroutine.wrap(function() s:receive() end)()", "receive cannot wait inside a coroutine"),
            ("table.sort({1, 2}, function() s:send('x') end)", "send cannot wait inside a callback"),
        ])
    func faults(call: String, message: String) throws {
        let (fixture, peer) = try connected("print(select(2, pcall(function() return \(call) end)))")
        #expect(try #require(fixture.host.lines.first).contains(message))
        #expect(peer.sent.isEmpty && peer.wanted.isEmpty)
    }

    @Test("sockets of an exchange end with it, whatever is under way")
    func endsWithExchange() throws {
        let (fixture, peer) = try connected("kept = s s:receive()")
        fixture.interpreter.end(fixture.flow)
        #expect(peer.isClosed)
        #expect(fixture.interpreter.openSockets == 0 && fixture.interpreter.waitingCalls == 0)
        peer.says("late")
        #expect(fixture.host.lines.isEmpty)

        let (second, idle) = try connected("kept = s")
        #expect(!idle.isClosed)
        second.interpreter.end(second.flow)
        #expect(idle.isClosed)
    }

    @Test("a connection that comes too late is closed")
    func comesTooLate() throws {
        let fixture = try ScriptFixture(.request, "sy.tcp.connect('a', 1)")
        _ = fixture.run()
        let done = fixture.host.connects[0]
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.host.cancelled == 1)
        done.finish(.success(FakeConnection()))
        #expect(fixture.interpreter.openSockets == 0)
        let peer = FakeConnection()
        fixture.interpreter.connected(peer, timeout: 1, Waiter(call: 0, generation: 0))
        #expect(peer.isClosed)
    }

    @Test("a socket that nothing refers to is closed, one of a spawned function lives until then")
    func collected() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            if kept then kept = nil return end
            sy.spawn(function() kept = sy.tcp.connect('a', 1) sy.tcp.connect('b', 1) end)
            """)
        _ = fixture.run()
        let kept = FakeConnection()
        let dropped = FakeConnection()
        fixture.host.connects[0].finish(.success(kept))
        fixture.host.connects[1].finish(.success(dropped))
        fixture.interpreter.end(fixture.flow)
        fixture.interpreter.collectGarbage()
        #expect(!kept.isClosed && dropped.isClosed)
        #expect(fixture.interpreter.openSockets == 1)
        _ = fixture.run()
        fixture.interpreter.collectGarbage()
        #expect(kept.isClosed && fixture.interpreter.openSockets == 0)
    }

    @Test("a block's end closes a socket that is declared so, by an error too")
    func closes() throws {
        let (_, peer) = try connected("do local c <close> = s error('no') end")
        #expect(peer.isClosed)
    }

    @Test("whoever waits for a socket that is closed is told, and one that is busy says so")
    func closedUnderWaiter() throws {
        let (fixture, peer) = try connected(
            """
            sy.spawn(function() print('one', s:receive()) end)
            print('two', s:receive())
            s:close()
            print('three')
            """)
        #expect(peer.isClosed)
        fixture.advance(milliseconds: 1)
        #expect(
            fixture.host.lines.map { $0.dropFirst(14) } == [
                "two\tnil\tsocket busy", "three", "one\tnil\tclosed",
            ])
        #expect(fixture.interpreter.waitingCalls == 0)
    }

    @Test("an interpreter that ends closes its sockets")
    func interpreterEnds() throws {
        let peer = FakeConnection()
        do {
            let fixture = try ScriptFixture(
                .request, "sy.spawn(function() kept = sy.tcp.connect('a', 1) end)")
            _ = fixture.run()
            fixture.host.connects[0].finish(.success(peer))
            fixture.interpreter.end(fixture.flow)
            #expect(!peer.isClosed)
        }
        #expect(peer.isClosed)
    }

    @Test("a socket's object is of no use once its slot has another")
    func reused() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            local a = sy.tcp.connect('a', 1)
            a:close()
            local b = sy.tcp.connect('b', 1)
            print(a:send('x'))
            a:close()
            b:send('y')
            """)
        _ = fixture.run()
        fixture.host.connects[0].finish(.success(FakeConnection()))
        let second = FakeConnection()
        fixture.host.connects[1].finish(.success(second))
        #expect(fixture.host.lines == ["[notice] lua: nil\tclosed"])
        #expect(!second.isClosed && second.sent == ["y"])
    }

    struct Unexpected: Error {}
}
