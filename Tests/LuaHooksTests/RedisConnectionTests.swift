import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("Redis, as scripts speak with it")
struct RedisConnectionTests {
    /// A hook that has connected, and the server that it speaks with.
    private final class Conversation {
        let fixture: ScriptFixture
        let peer = FakeConnection()

        init(_ text: String, url: String = "redis://redis", arguments: String = "2") throws {
            fixture = try ScriptFixture(
                .request, "local r, why = sy.redis.connect('\(url)', \(arguments)) \(text)")
            guard case .waiting = fixture.run() else { throw Unexpected() }
            fixture.host.connects[0].finish(.success(peer))
            peer.sendingEnds()
        }

        var printed: [String] { fixture.host.lines.map { String($0.dropFirst(14)) } }
        /// The commands of each time that something was sent, their words one after the other.
        var asked: [String] {
            peer.sent.map { text in
                text.split(separator: "\r\n").filter { $0.first != "$" && $0.first != "*" }.joined(
                    separator: " ")
            }
        }

        /// Says a text in which `|` stands for ends of lines, and takes what is sent.
        func says(_ text: String) {
            peer.says(text.replacing("|", with: "\r\n"))
            peer.sendingEnds()
        }

        func timePasses(milliseconds: Int64) {
            fixture.host.clock.advance(
                to: Moment(
                    unix: fixture.host.clock.now.unix + milliseconds,
                    monotonic: fixture.host.clock.now.monotonic + milliseconds))
            peer.receivingEnds(.failure(.timedOut))
        }
    }

    @Test("each kind of reply is what is nearest to it in Lua")
    func replies() throws {
        let made = try Conversation(
            """
            print(r:call('SET', 'k', 1, 1.5, 'a\\0b'))
            print(math.type(r:call('INCR', 'k')))
            print(r:call('GET', 'k'))
            print(select('#', r:call('GET', 'none')))
            print(r:call('GET', 'list'))
            local t = r:call('EXEC')
            print(#t, t[1], t[2], t[3].err, t[4][1])
            print(#r:call('GET', 'empty'))
            """)
        #expect(made.fixture.host.places == ["redis:6379 2000"])
        #expect(made.peer.sent == ["*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n$3\r\n1.5\r\n$3\r\na\0b\r\n"])
        for text in [
            "+OK|", ":-7|", "$5|he\0lo|", "$-1|", "-WRONGTYPE it|", "*4|$-1|:1|-ERR no|*1|+x|", "$0||",
        ] {
            made.says(text)
        }
        #expect(
            made.printed == [
                "OK", "integer", "he\0lo", "1", "nil\tWRONGTYPE it", "4\tfalse\t1\tERR no\tx", "0",
            ])
        #expect(made.fixture.ended.count == 1)
        #expect(made.peer.wanted.allSatisfy { $0 == .available } && Set(made.peer.timeouts) == [2000])
    }

    @Test("replies may come in any pieces")
    func pieces() throws {
        let made = try Conversation("local t = r:pipeline{ {'GET', 'a'}, {'GET', 'b'} } print(t[1], t[2])")
        for piece in ["$", "2\r", "\nab\r\n*1\r\n", ":", "7\r\n"] { made.says(piece) }
        #expect(made.printed.first?.hasPrefix("ab\ttable") == true)
    }

    @Test("it logs in, and selects the database")
    func login() throws {
        let made = try Conversation("print(r ~= nil, why)", url: "redis://me:a%20b@redis:7/3")
        #expect(made.fixture.host.places == ["redis:7 2000"])
        #expect(made.asked == ["AUTH me a b SELECT 3"])
        made.says("+OK|")
        #expect(made.printed == [])
        made.says("+OK|")
        #expect(made.printed == ["true\tnil"])

        let other = try Conversation("print(r, why)", url: "redis://:wrong@redis")
        #expect(other.asked == ["AUTH wrong"])
        other.says("-WRONGPASS invalid|")
        #expect(other.printed == ["nil\tWRONGPASS invalid"])
        #expect(other.peer.isClosed && other.fixture.interpreter.openSockets == 0)

        let slow = try Conversation("print(r, why)", url: "redis://redis/1")
        slow.timePasses(milliseconds: 2000)
        #expect(slow.printed == ["nil\ttimeout"])
        #expect(slow.peer.isClosed)

        let gone = try Conversation("print(r, why)", url: "unix:/run/redis.sock")
        #expect(gone.fixture.host.places == ["unix:/run/redis.sock:0 2000"])
        #expect(gone.printed.first?.hasSuffix("nil") == true)
    }

    @Test("a hook that ends while it logs in closes the connection")
    func endsInLogin() throws {
        let made = try Conversation("print(r)", url: "redis://:p@redis")
        made.fixture.interpreter.end(made.fixture.flow)
        #expect(made.peer.isClosed && made.fixture.interpreter.openSockets == 0)
        #expect(made.printed == [])
    }

    @Test("a pipeline is sent at once, and has a reply for each command")
    func pipeline() throws {
        let made = try Conversation(
            """
            local t, why = r:pipeline{ {'INCR', 'a'}, {'NONSENSE'}, {'GET', 'none'} }
            print(#t, t[1], t[2].err, t[3], why)
            print(#r:pipeline{})
            print(r:pipeline{ {'PING'}, {'PING'} })
            """)
        #expect(made.asked == ["INCR a NONSENSE GET none"])
        made.says(":1|-ERR unknown|$-1|")
        made.says("+PONG|")
        made.peer.receivingEnds(.failure(.closed))
        #expect(made.printed == ["3\t1\tERR unknown\tfalse\tnil", "0", "nil\tclosed"])
    }

    @Test("hooks that use a connection at once have the replies to their own commands, in order")
    func shared() throws {
        let made = try Conversation(
            """
            for i = 1, 3 do sy.spawn(function() print(i, r:call('GET', i)) print(i, r:call('GET', i * 10)) end) end
            print(0, r:call('GET', 0))
            """)
        #expect(made.asked == ["GET 1", "GET 2 GET 3 GET 0"])
        made.says("+one|+two|+three|+zero|")
        made.says("+ten|")
        made.says("+twenty|+thirty|")
        #expect(
            made.printed == ["1\tone", "2\ttwo", "3\tthree", "0\tzero", "1\tten", "2\ttwenty", "3\tthirty"])
    }

    @Test("a script that is cut off leaves its reply to nobody")
    func cutOff() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            if kept then print(kept:call('GET', 'mine')) return end
            sy.spawn(function() kept = sy.redis.connect('redis://a') end)
            """)
        _ = fixture.run()
        let peer = FakeConnection()
        fixture.host.connects[0].finish(.success(peer))
        _ = fixture.run()
        peer.sendingEnds()
        fixture.interpreter.cancelCalls(of: fixture.flow)
        #expect(!peer.isClosed && fixture.interpreter.waitingCalls == 0)
        _ = fixture.run()
        peer.sendingEnds()
        peer.says("+first\r\n")
        #expect(fixture.host.lines == [])
        peer.says("+second\r\n")
        #expect(fixture.host.lines == ["[notice] lua: second"])
        #expect(fixture.interpreter.openSockets == 1)
    }

    /// A request hook, and what it uses: a connection of nobody's, `kept`, that has subscribed.
    private func subscribed(
        timeout seconds: Int, _ use: String
    ) throws -> (ScriptFixture, FakeConnection) {
        let fixture = try ScriptFixture(
            .request,
            """
            if kept then \(use) return end
            sy.spawn(function()
                kept = sy.redis.connect('redis://a', \(seconds))
                kept:call('SUBSCRIBE', 'a')
            end)
            """)
        _ = fixture.run()
        let peer = FakeConnection()
        fixture.host.connects[0].finish(.success(peer))
        peer.sendingEnds()
        peer.says("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
        return (fixture, peer)
    }

    @Test(
        "a script that is cut off while it waits for a message leaves the connection, and the message, to others"
    )
    func cutOffListener() throws {
        let (fixture, peer) = try subscribed(timeout: 2, "print(table.concat(kept:receive(60), ' '))")
        _ = fixture.run()
        // What is asked when the listener has gone is not waited for until its time is up.
        #expect(peer.timeouts.last == 2000)
        fixture.interpreter.cancelCalls(of: fixture.flow)
        #expect(!peer.isClosed && fixture.interpreter.waitingCalls == 0)
        peer.says("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n")
        _ = fixture.run()
        #expect(fixture.host.lines == ["[notice] lua: message a one"])
        #expect(fixture.interpreter.openSockets == 1)
    }

    @Test("one that listens after another was cut off does not wait for the other's time to be up")
    func shorterListener() throws {
        let (fixture, peer) = try subscribed(
            timeout: 5,
            """
            local wait = waited and 0.3 or 60
            waited = true
            print(kept:receive(wait))
            """)
        _ = fixture.run()
        fixture.interpreter.cancelCalls(of: fixture.flow)
        _ = fixture.run()
        fixture.advance(milliseconds: 300)
        #expect(fixture.host.lines == ["[notice] lua: nil\ttimeout"])
        // A message that comes then is for whoever asks next.
        peer.says("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n")
        #expect(!peer.isClosed && fixture.host.lines.count == 1)
    }

    @Test("a command without a reply in time closes the connection, for everybody")
    func timeouts() throws {
        let made = try Conversation(
            """
            sy.spawn(function() print('other', r:call('GET', 'b')) end)
            print(r.closed, r:call('GET', 'a'))
            print(r.closed, r:call('GET', 'a'))
            """)
        made.timePasses(milliseconds: 1999)
        #expect(made.printed == [])
        #expect(made.peer.timeouts.last == 1)
        made.timePasses(milliseconds: 1)
        #expect(made.printed == ["other\tnil\ttimeout", "false\tnil\ttimeout", "true\tnil\tclosed"])
        #expect(made.peer.isClosed && made.fixture.interpreter.openSockets == 0)
    }

    @Test(
        "what is no reply closes the connection, and so does one that nothing was asked for",
        arguments: [
            ("HTTP/1.1 400 Bad Request|", "Protocol error, got \"H\" as reply type byte"),
            ("$100000|", "too large"), ("*3|$40|0123456789012345678901234567890123456789|", "too large"),
            ("$50|01234567890123456789012345678901234567890123456789|", "too large"),
        ])
    func faults(text: String, message: String) throws {
        let made = try Conversation("print(r:call('GET', 'a')) print(r:call('GET', 'a'))", arguments: "2, 50")
        made.says(text)
        if message == "too large" { made.says(String(repeating: "x", count: 50)) }
        #expect(made.printed == ["nil\t\(message)", "nil\tclosed"])
        #expect(made.peer.isClosed)
    }

    @Test("a reply that nothing was asked for is taken for no other's")
    func unasked() throws {
        let made = try Conversation("print(r:call('GET', 'a')) sy.sleep(1) print(r:call('GET', 'a'))")
        made.says("+one|+two|")
        made.fixture.advance(milliseconds: 1000)
        #expect(made.printed == ["one", "nil\tclosed"])
    }

    @Test("all that a pipeline is answered has one limit")
    func pipelineLimit() throws {
        let text = "print(r:pipeline{ {'GET', 'a'}, {'GET', 'b'} })"
        let made = try Conversation(text, arguments: "2, 26")
        made.says("$10|0123456789|")
        made.says("$10|01234")
        #expect(made.printed == ["nil\ttoo large"])
        let other = try Conversation(text, arguments: "2, 34")
        other.says("$10|0123456789|$10|0123456789|")
        #expect(other.printed.first?.hasPrefix("table") == true)
    }

    @Test("messages come as they are asked for, confirmations to who subscribes")
    func subscriptions() throws {
        let made = try Conversation(
            """
            print(r:receive())
            print(table.concat(r:call('SUBSCRIBE', 'a', 'b'), ' '))
            for i = 1, 3 do print(table.concat(r:receive(), ' ')) end
            print(r:receive(0.5))
            print(table.concat(r:call('Ping'), ' '))
            print(r:call('GET', 'a'))
            print(table.concat(r:call('UNSUBSCRIBE', 'a', 'b'), ' '))
            print(table.concat(r:receive(), ' '))
            print(r:receive())
            print(r:call('GET', 'a'))
            """)
        #expect(made.asked == ["SUBSCRIBE a b"])
        made.says("*3|$9|subscribe|$1|a|:1|*3|$7|message|$1|a|$3|one|")
        made.says("*3|$9|subscribe|$1|b|:2|*3|$7|message|$1|b|$3|two|*3|$7|message")
        made.says("|$1|b|$5|three|")
        #expect(made.peer.timeouts.last == 500)
        made.timePasses(milliseconds: 500)
        made.says("*2|$4|pong|$0||")
        made.says("-ERR only in context|")
        made.says("*3|$11|unsubscribe|$1|a|:1|*3|$7|message|$1|b|$4|late|*3|$11|unsubscribe|$1|b|:0|")
        made.says("$1|v|")
        #expect(
            made.printed == [
                "nil\tnot subscribed", "subscribe b 2", "message a one", "message b two", "message b three",
                "nil\ttimeout", "pong ", "nil\tERR only in context", "unsubscribe b 0", "message b late",
                "nil\tnot subscribed", "v",
            ])
    }

    @Test("channels by pattern and by shard are counted apart")
    func kindsOfChannels() throws {
        let made = try Conversation(
            """
            print(r:call('PSUBSCRIBE', 'a*')[3], r:call('ssubscribe', 's')[3], r:call('PUNSUBSCRIBE', 'a*')[3])
            print(table.concat(r:receive(), ' '))
            print(table.concat(r:receive(), ' '))
            print(r:receive())
            """)
        made.says("*3|$10|psubscribe|$2|a*|:1|")
        made.says("*3|$10|ssubscribe|$1|s|:1|")
        made.says("*4|$8|pmessage|$2|a*|$2|ab|$1|x|*3|$12|punsubscribe|$2|a*|:0|")
        made.says("*3|$12|sunsubscribe|$1|s|:0|")
        #expect(
            made.printed == [
                "1\t1\t0", "pmessage a* ab x", "sunsubscribe s 0", "nil\tnot subscribed",
            ])
    }

    @Test("a subscription that is refused is an error like another")
    func refusedSubscription() throws {
        let made = try Conversation("print(r:call('SUBSCRIBE', 'a', 'b')) print(r:call('GET', 'a'))")
        made.says("-NOPERM no|")
        made.says("+x|")
        #expect(made.printed == ["nil\tNOPERM no", "x"])
    }

    @Test("after MONITOR lines come, and nothing can be asked")
    func monitor() throws {
        let made = try Conversation(
            "print(r:call('MONITOR')) print(r:receive()) print(r:call('GET', 'a')) print(r:pipeline{{'GET', 'a'}})"
        )
        made.says("+OK|")
        made.says("+1.5 [0 1.2.3.4:5] \"GET\"|")
        #expect(made.printed == ["OK", "1.5 [0 1.2.3.4:5] \"GET\"", "nil\tbusy", "nil\tbusy"])

        let refused = try Conversation("print(r:call('MONITOR')) print(r:call('GET', 'a'))")
        refused.says("-NOPERM no|")
        refused.says("+x|")
        #expect(refused.printed == ["nil\tNOPERM no", "x"])
    }

    @Test("messages and commands do not wait for each other")
    func busy() throws {
        let made = try Conversation(
            """
            r:call('SUBSCRIBE', 'a')
            sy.spawn(function() print(r:receive()[3]) end)
            print(r:call('PING'))
            print(r:receive())
            sy.spawn(function() sy.sleep(1) print(r:call('RESET')) end)
            """)
        made.says("*3|$9|subscribe|$1|a|:1|")
        made.says("*3|$7|message|$1|a|$2|hi|")
        #expect(made.printed == ["nil\tbusy", "nil\tbusy", "hi"])
    }

    @Test("RESET ends what was subscribed to")
    func reset() throws {
        let made = try Conversation(
            "r:call('SUBSCRIBE', 'a') print(r:call('RESET')) print(r:receive()) print(r:call('GET', 'a'))")
        made.says("*3|$9|subscribe|$1|a|:1|")
        made.says("+RESET|")
        made.says("$1|v|")
        #expect(made.printed == ["RESET", "nil\tnot subscribed", "v"])
    }

    @Test("whoever waits for a connection that is closed is told")
    func closedUnderWaiter() throws {
        let made = try Conversation(
            """
            sy.spawn(function() print('one', r:call('GET', 1)) end)
            sy.spawn(function() print('two', r:call('GET', 2)) end)
            r:close()
            print(r.closed, r:receive())
            """)
        #expect(made.peer.isClosed)
        made.fixture.advance(milliseconds: 1)
        #expect(made.printed == ["true\tnil\tclosed", "one\tnil\tclosed", "two\tnil\tclosed"])
        #expect(made.fixture.interpreter.waitingCalls == 0)
    }

    @Test("a script may close the connection while replies to others are there already")
    func closedBetweenReplies() throws {
        let made = try Conversation(
            """
            sy.spawn(function() print('one', r:call('GET', 1)) r:close() end)
            print('two', r:call('GET', 2))
            """)
        made.says("+1|+2|")
        made.fixture.advance(milliseconds: 1)
        #expect(made.printed == ["one\t1", "two\tnil\tclosed"])
    }

    @Test("a connection whose bytes are not taken fails for everybody")
    func sendingFails() throws {
        let made = try Conversation("sy.sleep(1) print(r:call('GET', 1)) print(r.closed)")
        made.fixture.advance(milliseconds: 1000)
        made.peer.sendingEnds(.system(call: "send", code: 32, reason: "Broken pipe"))
        #expect(made.printed == ["nil\tsend() failed (32: Broken pipe)", "true"])
    }

    @Test("a connection ends with its exchange, and one that nothing refers to is closed")
    func ends() throws {
        let made = try Conversation("kept = r r:call('GET', 1)")
        made.fixture.interpreter.end(made.fixture.flow)
        #expect(made.peer.isClosed)
        #expect(made.fixture.interpreter.openSockets == 0 && made.fixture.interpreter.waitingCalls == 0)
        made.says("+late|")
        #expect(made.printed == [])
    }

    @Test(
        "what is wrong with a call is said",
        arguments: [
            ("sy.redis.connect()", "url: found nothing, expected a string"),
            (
                "sy.redis.connect('http://:pw@a')",
                "connect: url: found no URL of Redis, expected redis://[[user]"
            ),
            ("sy.redis.connect('redis://a', {})", "timeout: found table, expected a number"),
            ("sy.redis.connect('redis://a', 1, 0)", "max_size: found 0, expected 1 to"),
            ("r.call('GET')", "found string, expected a connection to Redis: call it with a colon"),
            ("r:call()", "command: found nothing, expected a string"),
            ("r:call('SET', 'k', true)", "argument 2: found boolean, expected a string or a number"),
            ("r:call('SET', 'k', nil)", "argument 2: found nil, expected a string or a number"),
            ("r:call('SET', {})", "argument 1: found table, expected a string or a number"),
            ("r:call('unsubscribe')", "call: found no channels, expected at least one"),
            ("r:pipeline()", "pipeline: found nothing, expected a table"),
            ("r:pipeline{'GET'}", "pipeline: found string as command 1, expected a list of words"),
            ("r:pipeline{{'GET'}, {}}", "pipeline: found table as command 2, expected a list of words"),
            ("r:pipeline{{{}}}", "command: found table, expected a string or a number"),
            ("r:pipeline{{'GET', false}}", "argument 1: found boolean, expected a string or a number"),
            ("r:pipeline{{'SUBSCRIBE', 'a'}}", "pipeline: found SUBSCRIBE, which is for call"),
            ("r:receive({})", "timeout: found table, expected a number"),
            ("r.close({})", "found table, expected a connection to Redis"),
            ("coroutine.wrap(function() r:call('GET') end)()", "call cannot wait inside a coroutine"),
        ])
    func misuse(call: String, message: String) throws {
        let made = try Conversation("print(select(2, pcall(function() return \(call) end)))")
        #expect(try #require(made.printed.first).contains(message))
        #expect(made.peer.sent.isEmpty && made.peer.wanted.isEmpty)
    }

    struct Unexpected: Error {}
}
