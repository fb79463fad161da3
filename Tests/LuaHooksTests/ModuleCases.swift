import ProxyCore

@testable import LuaHooks

/// What every function of the module `switchyard`, and of the objects that it makes, does.
enum ModuleCases {
    static let all: [ModuleCase] =
        module + digests + patterns + fetches + sockets + redis + dictionaries + metrics + remoteFlows

    /// The row as scripts call it; hidden ones have names of their own.
    static func name(of function: LuaFunction) -> String {
        switch function.place {
        case .module(let module), .library(let module), .libraryValue(let module):
            "\(module).\(function.name)"
        case .hidden: function.name
        default: "\(function.place.type?.name ?? "?"):\(function.name)"
        }
    }

    private static let module: [ModuleCase] = [
        ModuleCase("sy.sleep", "sy.sleep(0.01) print('woke')", ["waiting", "woke"]) { fixture in
            fixture.advance(milliseconds: 10)
            return []
        },
        ModuleCase("sy.now", "print(sy.now())", ["1704067200.0"]),
        ModuleCase("sy.monotonic", "print(sy.monotonic())", ["1000.0"]),
        ModuleCase("sy.spawn", "sy.spawn(function() print('ran') end)", ["ran"]),
        ModuleCase(
            "sy.flows",
            """
            print(#sy.flows(), #sy.flows{ tag = 'a' }) flow:tag('a')
            print(#sy.flows{ tag = 'a' }, sy.flows{ tag = 'a' }[1] == flow, #sy.flows{ tag = 'b' }, #sy.flows{})
            for _, one in ipairs(sy.flows()) do print(one == flow, one.is_remote, one.id:sub(-2)) end
            """,
            [
                "5\t0", "1\ttrue\t0\t5", "true\tfalse\t02", "false\ttrue\t07", "false\ttrue\t08",
                "false\ttrue\t09", "false\ttrue\t0a",
            ]),
        ModuleCase(
            "sy.publish", "sy.publish('room', 'hi') print(pcall(sy.publish, 'room', '\\xff'))",
            [
                "published room hi", "false\tpublish: the text is not UTF-8",
            ]
        ) { fixture in
            fixture.host.published.map {
                "published \(String(decoding: $0.tag, as: UTF8.self)) "
                    + String(decoding: $0.message.payload, as: UTF8.self)
            }
        },
        ModuleCase(
            "sy.peers",
            """
            for _, peer in ipairs(sy.peers('app')) do
                print(peer.name, peer.server, peer.weight, peer.backup, peer.down, peer.fails, peer.connections)
            end
            print(sy.peers('nobody'))
            """,
            [
                "10.0.0.1:80\ta.test\t3\tfalse\tfalse\t0\t0", "unix:/s\tunix:/s\t1\ttrue\ttrue\t0\t0",
                "nil\tthere is no upstream \"nobody\"",
            ]),
        ModuleCase(
            "sy.set_peer_down",
            """
            local function show(...) print(sy.peers('app')[1].down, sy.peers('app')[2].down, ...) end
            show(sy.set_peer_down('app', '10.0.0.1:80', true))
            show(sy.set_peer_down('app', '10.0.0.1:80', true))
            show(sy.set_peer_down('app', 'unix:/s', false))
            show(sy.set_peer_down('app', 'unix:/s', nil))
            print(sy.set_peer_down('app', '10.0.0.2:80', true))
            print(sy.set_peer_down('nobody', '10.0.0.1:80', true))
            print(pcall(sy.set_peer_down, 'app', 'unix:/s', 'yes'))
            """,
            [
                "upstream \"app\": peer \"10.0.0.1:80\" is down", "true\ttrue\ttrue", "true\ttrue\ttrue",
                "upstream \"app\": peer \"unix:/s\" is up", "true\tfalse\ttrue",
                "upstream \"app\": peer \"unix:/s\" is down", "true\ttrue\ttrue",
                "nil\tupstream \"app\" has no peer \"10.0.0.2:80\"",
                "nil\tthere is no upstream \"nobody\"",
                "false\tset_peer_down: found string, expected a boolean",
            ]),
        ModuleCase("sy.random", "print(#sy.random(300), sy.random(5):byte(1, -1))", ["300\t0\t1\t2\t3\t4"]),
        ModuleCase("sy.uuid", "print(sy.uuid())", ["00010203-0405-4607-8809-0a0b0c0d0e0f"]),
        ModuleCase("sy.log.debug", "sy.log.debug('a', 1)", ["[debug] lua: case.lua:1: a\t1"]),
        ModuleCase("sy.log.info", "sy.log.info('a', 1)", ["[info] lua: case.lua:1: a\t1"]),
        ModuleCase("sy.log.warn", "sy.log.warn('a', 1)", ["[warn] lua: case.lua:1: a\t1"]),
        ModuleCase("sy.log.error", "sy.log.error('a', 1)", ["[error] lua: case.lua:1: a\t1"]),
        ModuleCase("sy.json.encode", "print(sy.json.encode({1, 'a', true}))", ["[1,\"a\",true]"]),
        ModuleCase("sy.json.decode", "print(sy.json.decode('{\"a\": [2]}').a[1])", ["2"]),
        ModuleCase(
            "sy.json.array", "print(sy.json.encode(sy.json.array()), sy.json.encode(sy.json.array{2}))",
            ["[]\t[2]"]),
        ModuleCase("sy.json.null", "print(sy.json.encode({sy.json.null}))", ["[null]"]),
        ModuleCase("sy.json.empty_array", "print(sy.json.encode({sy.json.empty_array}))", ["[[]]"]),
        ModuleCase(
            "unknown_field",
            """
            print(pcall(function() return flow.req.hoders end))
            print(pcall(function() return flow[1] end))
            """,
            [
                "false\tcase.lua:1: flow.req has no field \"hoders\", did you mean \"headers\"?",
                "false\tcase.lua:2: flow has no field 1",
            ]),
        ModuleCase(
            "next_pair", "for name, value in pairs(flow.req.headers) do print(name, value) end",
            ["Host\texample.test"]),
    ]

    private static let digests: [ModuleCase] = [
        ModuleCase("sy.base64.encode", "print(sy.base64.encode('\\255a'))", ["/2E="]),
        ModuleCase("sy.base64.decode", "print(#sy.base64.decode('/2E='), sy.base64.decode('*'))", ["2\tnil"]),
        ModuleCase("sy.base64.encode_url", "print(sy.base64.encode_url('\\255a'))", ["_2E"]),
        ModuleCase("sy.base64.decode_url", "print(#sy.base64.decode_url('_2E'))", ["2"]),
        ModuleCase("sy.hex.encode", "print(sy.hex.encode('\\1\\255'))", ["01ff"]),
        ModuleCase("sy.hex.decode", "print(sy.hex.decode('4142'), sy.hex.decode('4'))", ["AB\tnil"]),
        ModuleCase("sy.uri.escape", "print(sy.uri.escape('a b&c'))", ["a%20b%26c"]),
        ModuleCase("sy.uri.unescape", "print(sy.uri.unescape('a+b%26c'))", ["a b&c"]),
        // RFC 1321's.
        ModuleCase("sy.md5", "print(sy.hex.encode(sy.md5('abc')))", ["900150983cd24fb0d6963f7d28e17f72"]),
        // FIPS 180-4's examples for "abc".
        ModuleCase(
            "sy.sha1", "print(sy.hex.encode(sy.sha1('abc')))", ["a9993e364706816aba3e25717850c26c9cd0d89d"]),
        ModuleCase(
            "sy.sha256", "print(sy.hex.encode(sy.sha256('abc')))",
            ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]),
        // RFC 4231 §4.3.
        ModuleCase(
            "sy.hmac", "print(sy.hex.encode(sy.hmac('Jefe', 'what do ya want for nothing?')))",
            ["5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"]),
        // RFC 2202 §3.
        ModuleCase(
            "sy.hmac_sha1", "print(sy.hex.encode(sy.hmac_sha1('Jefe', 'what do ya want for nothing?')))",
            ["effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"]),
        ModuleCase(
            "sy.jwt.verify",
            """
            local function part(text) return sy.base64.encode(text):gsub('[+/=]', {['+'] = '-', ['/'] = '_', ['='] = ''}) end
            local key = ('k'):rep(32)
            local text = part('{"alg":"HS256"}') .. '.' .. part('{"sub":"me"}')
            print(sy.jwt.verify(text .. '.' .. part(sy.hmac(key, text)), {key = key}).sub)
            """, ["me"]),
    ]

    private static let patterns: [ModuleCase] = [
        ModuleCase("sy.re.match", "print(sy.re.match('a12', '(\\\\d)(\\\\d)')[2])", ["2"]),
        ModuleCase("sy.re.gmatch", "for m in sy.re.gmatch('a1b2', '\\\\d') do print(m[0]) end", ["1", "2"]),
        ModuleCase("re.gmatch", "print(sy.re.gmatch('a1b2', '\\\\d')()[0])", ["1"]),
        ModuleCase("sy.re.gsub", "print(sy.re.gsub('a1b2', '\\\\d', 'x'))", ["axbx\t2"]),
        ModuleCase(
            "re.gsub", "print(sy.re.gsub('a1b2', '\\\\d', function(m) return m[0] + 1 end))", ["a2b3\t2"]),
    ]

    /// Answers a fetch.
    @Sendable private static func answer(_ fixture: ScriptFixture) -> [String] {
        var response = FetchResponse()
        response.status = 201
        response.body = Array("body".utf8)
        response.headers = [
            FetchHeader(Array("A".utf8), Array("1".utf8)), FetchHeader(Array("a".utf8), Array("2".utf8)),
        ]
        let urls = fixture.host.requests.map { String(decoding: $0.url, as: UTF8.self) }
        for fetch in fixture.host.fetches { fetch.finish(.success(response)) }
        return urls
    }

    private static let fetch = "local res = sy.fetch({url = 'http://one/'}) "

    private static let fetches: [ModuleCase] = [
        ModuleCase(
            "sy.fetch", fetch + "print(res.status, res.body)", ["waiting", "http://one/", "201\tbody"],
            world: answer),
        ModuleCase(
            "received.get", fetch + "print(res.headers.A, res.headers.b)",
            ["waiting", "http://one/", "1\tnil"], world: answer),
        ModuleCase(
            "received.all", fetch + "print(table.concat(res.headers:all('A'), ' '))",
            ["waiting", "http://one/", "1 2"], world: answer),
        ModuleCase(
            "received.each", fetch + "for name, value in pairs(res.headers) do print(name, value) end",
            ["waiting", "http://one/", "A\t1", "a\t2"], world: answer),
        ModuleCase(
            "received.set", fetch + "res.headers.a = 3 print(table.concat(res.headers:all('A'), ' '))",
            ["waiting", "http://one/", "3"], world: answer),
        ModuleCase(
            "received.add", fetch + "res.headers:add('a', 3) print(table.concat(res.headers:all('A'), ' '))",
            ["waiting", "http://one/", "1 2 3"], world: answer),
    ]

    /// Connects, lets what is sent be sent, and says a line.
    @Sendable private static func peer(_ fixture: ScriptFixture) -> [String] {
        let connection = FakeConnection()
        for attempt in fixture.host.connects { attempt.finish(.success(connection)) }
        connection.sendingEnds()
        connection.says("line")
        fixture.advance(milliseconds: 1)
        return fixture.host.places + connection.sent + (connection.isClosed ? ["closed"] : [])
    }

    private static let connect = "local s = sy.tcp.connect('127.0.0.1', 9) "

    private static let sockets: [ModuleCase] = [
        ModuleCase(
            "sy.tcp.connect", connect + "print(s ~= nil)",
            ["waiting", "127.0.0.1:9 10000", "true", "sockets: 1"], world: peer),
        ModuleCase(
            "socket:send", connect + "print(s:send('hello'))",
            ["waiting", "127.0.0.1:9 10000", "hello", "5", "sockets: 1"], world: peer),
        ModuleCase(
            "socket:receive", connect + "print(s:receive())",
            ["waiting", "127.0.0.1:9 10000", "line", "sockets: 1"], world: peer),
        ModuleCase(
            "socket:close", connect + "s:close() print(s:send('hello'))",
            ["waiting", "127.0.0.1:9 10000", "closed", "nil\tclosed"], world: peer),
        ModuleCase(
            "socket:__close", connect + "do local open <close> = s end print(s:receive())",
            ["waiting", "127.0.0.1:9 10000", "closed", "nil\tclosed"], world: peer),
        ModuleCase(
            "socket:__gc", connect + "s = nil", ["waiting", "127.0.0.1:9 10000", "collected"]
        ) { fixture in
            let seen = peer(fixture)
            fixture.interpreter.collectGarbage()
            return seen + (fixture.interpreter.openSockets == 0 ? ["collected"] : [])
        },
    ]

    /// Connects, and says a reply.
    @Sendable private static func redisServer(_ fixture: ScriptFixture) -> [String] {
        let connection = FakeConnection()
        for attempt in fixture.host.connects { attempt.finish(.success(connection)) }
        connection.sendingEnds()
        connection.says("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
        connection.says("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n")
        fixture.advance(milliseconds: 1)
        let sent = connection.sent.map { $0.replacing("\r\n", with: " ") }
        return fixture.host.places + sent + (connection.isClosed ? ["closed"] : [])
    }

    private static let connectRedis = "local r = sy.redis.connect('redis://127.0.0.1:9') "

    private static let redis: [ModuleCase] = [
        ModuleCase(
            "sy.redis.connect", connectRedis + "print(r ~= nil)",
            ["waiting", "127.0.0.1:9 10000", "true", "sockets: 1"], world: redisServer),
        ModuleCase(
            "redis:call", connectRedis + "print(#r:call('GET', 1))",
            ["waiting", "127.0.0.1:9 10000", "*2 $3 GET $1 1 ", "3", "sockets: 1"], world: redisServer),
        ModuleCase(
            "redis:pipeline", connectRedis + "print(#r:pipeline{ {'GET', 'k'} }[1])",
            ["waiting", "127.0.0.1:9 10000", "*2 $3 GET $1 k ", "3", "sockets: 1"], world: redisServer),
        ModuleCase(
            "redis:receive", connectRedis + "r:call('SUBSCRIBE', 'a') print(r:receive()[3])",
            ["waiting", "127.0.0.1:9 10000", "*2 $9 SUBSCRIBE $1 a ", "hi", "sockets: 1"], world: redisServer),
        ModuleCase(
            "redis:closed", connectRedis + "print(r.closed) r:close() print(r.closed)",
            ["waiting", "127.0.0.1:9 10000", "closed", "false", "true"], world: redisServer),
        ModuleCase(
            "redis:close", connectRedis + "r:close() print(r:call('PING'))",
            ["waiting", "127.0.0.1:9 10000", "closed", "nil\tclosed"], world: redisServer),
        ModuleCase(
            "redis:__close", connectRedis + "do local open <close> = r end print(r:receive())",
            ["waiting", "127.0.0.1:9 10000", "closed", "nil\tclosed"], world: redisServer),
        ModuleCase(
            "redis:__gc", connectRedis + "r = nil", ["waiting", "127.0.0.1:9 10000", "collected"]
        ) { fixture in
            let seen = redisServer(fixture)
            fixture.interpreter.collectGarbage()
            return seen + (fixture.interpreter.openSockets == 0 ? ["collected"] : [])
        },
    ]

    private static let dictionaries: [ModuleCase] = [
        ModuleCase("sy.shared", "print(sy.shared.d ~= nil, rawget(sy.shared, 'other'))", ["true\tnil"]),
        ModuleCase(
            "unknown_dictionary", "print(pcall(function() return sy.shared.other end))",
            ["false\tcase.lua:1: there is no lua_shared_dict \"other\""]),
        ModuleCase("sy.shared.NAME:get", "local d = sy.shared.d d:set('k', 1.5) print(d:get('k'))", ["1.5"]),
        ModuleCase(
            "sy.shared.NAME:set", "local d = sy.shared.d print(d:set('k', 'v'), d:get('k'))", ["true\tv"]),
        ModuleCase(
            "sy.shared.NAME:add", "local d = sy.shared.d print(d:add('k', 1)) print(d:add('k', 2))",
            ["true", "false\texists"]),
        ModuleCase(
            "sy.shared.NAME:incr", "local d = sy.shared.d print(d:incr('k', 2, 40), d:get('k'))", ["42\t42"]),
        ModuleCase(
            "sy.shared.NAME:cas", "local d = sy.shared.d print(d:cas('k', nil, 'a'), d:get('k'))", ["true\ta"]
        ),
        ModuleCase(
            "sy.shared.NAME:delete", "local d = sy.shared.d d:set('k', 1) print(d:delete('k'), d:get('k'))",
            ["true\tnil"]),
        ModuleCase("sy.shared.NAME:ttl", "local d = sy.shared.d d:set('k', 1, 5) print(d:ttl('k'))", ["5.0"]),
        ModuleCase("sy.shared.NAME:keys", "local d = sy.shared.d d:set('k', 1) print(d:keys()[1])", ["k"]),
        ModuleCase("sy.shared.NAME:size", "print(select(2, sy.shared.d:size()))", ["10000"]),
    ]

    private static let metrics: [ModuleCase] = [
        ModuleCase(
            "sy.metrics.counter", "sy.metrics.counter('c', 'Help.'):inc()",
            ["# HELP c Help.", "# TYPE c counter", "c 1"]),
        ModuleCase(
            "sy.metrics.gauge", "sy.metrics.gauge('g'):set(1)", ["# HELP g ", "# TYPE g gauge", "g 1"]),
        ModuleCase(
            "sy.metrics.histogram", "sy.metrics.histogram('h', nil, {1}):observe(2)",
            [
                "# HELP h ", "# TYPE h histogram", "h_bucket{le=\"1\"} 0", "h_bucket{le=\"+Inf\"} 1",
                "h_sum 2",
                "h_count 1",
            ]),
        ModuleCase(
            "counter:inc", "sy.metrics.counter('c'):inc(2, {a = 'b'})",
            ["# HELP c ", "# TYPE c counter", "c{a=\"b\"} 2"]),
        ModuleCase("gauge:inc", "sy.metrics.gauge('g'):inc(2)", ["# HELP g ", "# TYPE g gauge", "g 2"]),
        ModuleCase("gauge:dec", "sy.metrics.gauge('g'):dec(2)", ["# HELP g ", "# TYPE g gauge", "g -2"]),
        ModuleCase("gauge:set", "sy.metrics.gauge('g'):set(7)", ["# HELP g ", "# TYPE g gauge", "g 7"]),
        ModuleCase(
            "histogram:observe", "sy.metrics.histogram('h', nil, {1}):observe(0.5)",
            [
                "# HELP h ", "# TYPE h histogram", "h_bucket{le=\"1\"} 1", "h_bucket{le=\"+Inf\"} 1",
                "h_sum 0.5",
                "h_count 1",
            ]),
    ]
}
