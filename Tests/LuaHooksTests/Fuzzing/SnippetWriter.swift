@testable import LuaHooks

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: Int) { state = UInt64(truncatingIfNeeded: seed) }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    /// Whether one of so many chances came out.
    mutating func oneIn(_ chances: Int) -> Bool { below(chances) == 0 }
    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}

/// Writes Lua that calls the API as its table says, and as it does not: what a script may hold at the time is
/// passed to whatever takes arguments, in whatever order.
///
/// The text may use `flow` and the hook's other arguments as `a` and `b`, and `KEEP`, which outlives it.
struct SnippetWriter {
    var random: SeededRandom
    private var text = ""
    /// How deep blocks and expressions are nested.
    private var depth = 0
    /// Local variables in sight are `v1` … up to this number.
    private var locals = 0
    private var statements = 0

    init(seed: Int) { random = SeededRandom(seed: seed) }

    /// Rows that a script can name.
    private static let rows = LuaAPI.functions.filter { row in
        switch row.place {
        case .hidden: false
        case .metamethod: row.name != "__gc"
        default: true
        }
    }

    /// Most of these do something at a few stages only, and are to be called there often enough.
    private static let flowMethods = rows.filter { row in
        if case .method(.flow) = row.place { true } else { false }
    }

    mutating func snippet() -> String {
        text = ""
        depth = 0
        locals = 0
        statements = 0
        block(1 + random.below(7))
        if random.oneIn(3) { text += "return \(value())\n" }
        return text
    }

    // MARK: Statements

    private mutating func block(_ count: Int) {
        let outer = locals
        for _ in 0..<count where statements < 40 { statement() }
        locals = outer
    }

    private mutating func nested(_ head: String, _ tail: String) {
        text += head + "\n"
        depth += 1
        block(1 + random.below(3))
        depth -= 1
        text += tail + "\n"
    }

    private mutating func define(_ expression: String) {
        guard locals < 30 else {
            text += "\(kept()) = \(expression)\n"
            return
        }
        text += "local v\(locals + 1) = \(expression)\n"
        locals += 1
    }

    private mutating func statement() {
        statements += 1
        let isDeep = depth > 3
        switch random.below(isDeep ? 9 : 26) {
        case 0, 1, 2: define(guarded(call()))
        case 3, 4: define(call())
        case 5: text += "\(kept()) = \(random.oneIn(2) ? receiver(.flow) : value())\n"
        case 6: assignment()
        case 7: define(value())
        case 8: define(guarded(libraryCall()))
        case 9: nested("if \(value()) then", random.oneIn(3) ? "else\n\(guarded(call()))\nend" : "end")
        case 10: nested("for i = 1, \(random.below(4)) do", "end")
        case 11: nested("for k, x in pairs(type(\(value())) == 'table' and {1, 2} or {}) do", "end")
        case 12: iteration()
        case 13: nested("pcall(function()", "end)")
        case 14: nested("xpcall(function()", "end, function(e) return \(value()) end)")
        case 15: coroutine()
        case 16: nested("sy.spawn(function()", "end)")
        case 17: nested("pcall(flow.after, flow, \(number()), function(flow)", "end)")
        case 18: nested("local function f\(depth)(flow, a, b)", "end\npcall(f\(depth), flow, \(value()))")
        case 19: nested("KEEP.f = function(flow)", "end")
        case 20: text += "if KEEP.f then pcall(KEEP.f, flow) end\n"
        case 21: metatable()
        case 22: closing()
        case 23: rare()
        case 24: text += "pcall(sy.sleep, \(random.pick(["0", "0.001", "0.02", "1", "5e-324"])))\n"
        default: nested("do", "end")
        }
    }

    private mutating func assignment() {
        let setters = Self.rows.filter { row in
            switch row.place {
            case .setter, .anySetter: true
            default: false
            }
        }
        let row = random.pick(setters)
        let value = value(settingBy: row)
        switch row.place {
        case .setter(let type):
            text += "pcall(function() \(receiver(type)).\(row.name) = \(value) end)\n"
        case .anySetter(let type):
            text += "pcall(function() \(receiver(type))[\(string("name"))] = \(value) end)\n"
        default: break
        }
    }

    private mutating func value(settingBy row: LuaFunction) -> String {
        let parameter = Parameters.list(row.parameters).last
        return argument(of: row, row.name, parameter?.type ?? "string|number")
    }

    private mutating func iteration() {
        let sequence = random.pick([
            "pairs(\(receiver(.requestHeaders)))", "flow.req.headers:each()", "pairs(flow.req.args)",
            "pairs(flow.req.cookies)", "sy.re.gmatch(\(string("subject")), \(string("regex")))",
            "flow.res.headers:each()", "pairs(\(value()))", "\(value())",
            "string.gmatch(\(string("subject")), \(string("pattern")))",
        ])
        nested(
            "pcall(function() local n = 0 for k, x in \(sequence) do n = n + 1 if n > 20 then break end",
            "end end)")
    }

    private mutating func coroutine() {
        nested("local co\(depth) = coroutine.create(function(flow, a)", "return coroutine.yield(a) end)")
        for _ in 0...random.below(3) {
            let name = random.pick(["resume", "close", "status", "resume", "isyieldable"])
            text +=
                "\(kept()) = select(2, pcall(coroutine.\(name), co\(depth), flow, \(value())))\n"
        }
        if random.oneIn(3) { text += "KEEP.co = co\(depth)\n" }
        if random.oneIn(3) { text += "pcall(coroutine.resume, KEEP.co)\n" }
    }

    private mutating func metatable() {
        let event = random.pick([
            "__index", "__newindex", "__call", "__len", "__eq", "__lt", "__concat", "__tostring", "__close",
            "__gc", "__pairs", "__name", "__mode", "__add", "__unm", "__metatable",
        ])
        let handler =
            random.oneIn(4)
            ? value() : "function(x, y, z) local flow = flow \(guarded(call())) return \(value()) end"
        define("setmetatable({\(value())}, {\(event) = \(handler)})")
        let object = "v\(locals)"
        guard locals > 0 else { return }
        text +=
            "pcall(function() return \(object).x, #\(object), \(object) .. 'x', \(object) < \(object) end)\n"
        if random.oneIn(3) { text += "pcall(print, \(object))\n" }
    }

    private mutating func closing() {
        let object = random.pick([
            receiver(.socket), receiver(.redis),
            "setmetatable({}, {__close = function() \(guarded(call())) end})", value(),
        ])
        nested("pcall(function() local c <close> = \(object)", "end)")
    }

    /// What costs time or memory, or ends the hook.
    private mutating func rare() {
        switch random.below(160) {
        case 0: text += "while true do end\n"
        case 1: text += "while true do pcall(function() return \(call()) end) end\n"
        case 2: text += "local s = 'x' while true do s = s .. s end\n"
        case 3: text += "local t = {} while true do t[#t + 1] = {} end\n"
        case 4: text += "local function r() return 1 + r() end r()\n"
        case 5: text += "string.rep('x', \(random.pick(["1 << 40", "1e7", "-1", "1 << 62"])))\n"
        case 6: text += "string.find(string.rep('a', 3000), string.rep('.-', 20) .. 'b')\n"
        case 7, 30..<40:
            text += "table.sort({3, 1, 2, 5, 4}, function(a, b) \(guarded(call())) return true end)\n"
        case 8, 40..<50: text += "local f = load('return ' .. \(string("code"))) if f then pcall(f) end\n"
        case 9, 10: text += "error(\(value()))\n"
        case 11: text += "sy.spawn(function() while true do sy.sleep(0.05) \(guarded(call())) end end)\n"
        case 100..<110:
            nested("pcall(sy.re.gsub, \(string("subject")), '[a-c]', function(m)", "return \(value()) end)")
        case 12, 50..<60:
            text += "string.gsub('abc', '.', function(c) \(guarded(call())) return \(value()) end)\n"
        case 13, 60..<70: text += "coroutine.wrap(function() return \(call()) end)()\n"
        case 14, 70..<85: text += "KEEP.flow = flow KEEP.req = flow.req KEEP.h = flow.req.headers\n"
        case 15, 85..<100:
            text += "for _, x in pairs(KEEP) do pcall(function() return x.id, x.method, x:all('a') end) end\n"
        case 16..<24: text += "collectgarbage(\(random.pick(["", "'step'", "'collect'", "'count'"])))\n"
        default:
            nested(
                "pcall(function() local h = sy.fetch({url = 'http://a/'}).headers "
                    + "pcall(function() h['name-1'] = \(value()) end) pcall(h.add, h, 'b', \(value())) "
                    + "KEEP.h = h for k, x in h:each() do",
                "end return h['name-0'], h:all('name-1'), pairs(h) end)")
        }
    }

    // MARK: Calls

    private func guarded(_ call: String) -> String {
        "select(2, pcall(function() return \(call) end))"
    }

    private mutating func call() -> String {
        let row = random.pick(random.oneIn(8) ? Self.flowMethods : Self.rows)
        switch row.place {
        case .module(let module), .library(let module):
            return "\(module).\(row.name)(\(arguments(of: row)))"
        case .libraryValue(let module): return "\(module).\(row.name)"
        case .method(let type): return "\(receiver(type)):\(row.name)(\(arguments(of: row)))"
        case .getter(let type), .part(let type, _, _), .ownTable(let type, _):
            return "\(receiver(type)).\(row.name)"
        case .anyGetter(let type): return "\(receiver(type))[\(random.oneIn(6) ? value() : string("name"))]"
        case .setter(let type):
            return "(function() \(receiver(type)).\(row.name) = \(value(settingBy: row)) end)()"
        case .anySetter(let type):
            return "(function() \(receiver(type))[\(string("name"))] = \(value(settingBy: row)) end)()"
        case .metamethod(let type):
            return row.name == "__pairs"
                ? "pairs(\(receiver(type)))"
                : "(function() local c <close> = \(receiver(type)) end)()"
        // Of the interpreters that run tests of scripts only.
        case .hidden, .global: return "nil"
        }
    }

    private mutating func arguments(of row: LuaFunction) -> String {
        // A method of another object, an argument too few or too many.
        if random.oneIn(12) { return (0..<random.below(5)).map { _ in value() }.joined(separator: ", ") }
        var list: [String] = []
        for parameter in Parameters.list(row.parameters) {
            if parameter.isOptional, random.oneIn(2) { break }
            list.append(argument(of: row, parameter.name, parameter.type))
        }
        if random.oneIn(15) { list.append(value()) }
        return list.joined(separator: ", ")
    }

    private mutating func argument(of row: LuaFunction, _ name: String, _ type: String) -> String {
        random.oneIn(8) ? value() : value(of: type, named: name)
    }

    private static let libraries = [
        "string.rep(%s, 3)", "string.format('%q %5.1f %s', %s, %n, %v)", "string.sub(%s, %n, %n)",
        "string.byte(%s, 1, -1)", "string.find(%s, %p)", "string.gsub(%s, %p, %s)", "string.match(%s, %p)",
        "string.pack('s1 i4 z', %s, %n, %s)", "string.unpack('s1 i4', %s)", "string.char(%n)",
        "string.len(%v)",
        "string.reverse(%s)", "string.upper(%s)", "string.dump(function() end)", "table.concat({%s, %s}, %s)",
        "table.insert({1, 2}, %v)", "table.remove({1, 2}, %n)", "table.unpack({%v, %v}, 1, %n)",
        "table.move({1, 2, 3}, 1, 3, %n)", "table.pack(%v, %v)", "math.tointeger(%v)", "math.random(%n)",
        "math.floor(%n)", "utf8.char(%n)", "utf8.len(%s)", "utf8.codepoint(%s, 1, -1)", "tostring(%v)",
        "tonumber(%s, %n)", "rawequal(%v, %v)", "rawget(%v, %v)", "rawset({}, %v, %v)", "rawlen(%v)",
        "next({%v}, nil)", "select(%n, %v, %v)", "type(%v)", "getmetatable(%v)", "setmetatable(%v, {})",
        "require(%s)", "os.date(%s, %n)", "os.time()", "debug.traceback(%v)", "load(%s)", "error(%v)",
        "assert(%v, %v)", "pcall(%v, %v)", "sy.json.encode({%v, %v})", "print(%v, %v)",
    ]

    private mutating func libraryCall() -> String {
        var result = ""
        let template = random.pick(Self.libraries)
        // A format string is left as it is.
        if template.hasPrefix("string.format") {
            return "string.format('%q %5.1f %s', \(string("s")), \(number()), \(value()))"
        }
        var isMark = false
        for character in template {
            if isMark {
                switch character {
                case "s": result += string("s")
                case "p": result += string("pattern")
                case "n": result += number()
                default: result += value()
                }
                isMark = false
            } else if character == "%" {
                isMark = true
            } else {
                result.append(character)
            }
        }
        return result
    }

    // MARK: Objects

    private mutating func receiver(_ type: LuaType) -> String {
        // Of an exchange that is over perhaps, or of quite another type.
        if random.oneIn(15) { return "(\(random.oneIn(2) ? kept() : value()))" }
        let path =
            switch type {
            case .flow, .request, .response, .requestHeaders, .responseHeaders, .arguments, .cookies,
                .variables,
                .client, .upstream, .offer:
                type.name
            case .timer: "flow:after(\(number()), function() end)"
            case .socket: "(KEEP.socket or connect())"
            case .redis: "(KEEP.redis or connect_redis())"
            case .dictionary: "sy.shared.\(random.pick(["small", "large"]))"
            case .counter: "sy.metrics.counter('c')"
            case .gauge: "sy.metrics.gauge('g')"
            case .histogram: "sy.metrics.histogram('h', 'help', {1, 2, 5})"
            case .message, .frame: random.oneIn(4) ? "b" : "a"
            case .remoteFlow: "sy.flows{ tag = 'far' }[1]"
            case .remoteClient: "sy.flows{ tag = 'far' }[1].client"
            case .remoteUpstream: "sy.flows{ tag = 'far' }[1].upstream"
            case .testProxy, .testClient, .testBackend, .testServer, .testRequest, .testWebSocket,
                .testSocket,
                .expectation:
                "nil"
            }
        guard random.oneIn(40), path.hasPrefix("flow."), let dot = path.firstIndex(of: ".") else {
            return path
        }
        // The other flow, which is over or waits.
        return "(KEEP.flow or flow)" + path[dot...]
    }

    // MARK: Values

    private mutating func kept() -> String { "KEEP[\(1 + random.below(8))]" }

    private mutating func value() -> String {
        switch random.below(18) {
        case 0: return "nil"
        case 1: return random.pick(["true", "false"])
        case 2, 3: return number()
        case 4, 5: return string("")
        case 6: return "{}"
        case 7: return "{\(shallow()), x = \(shallow())}"
        case 8: return "function() return \(shallow()) end"
        case 9: return "coroutine.create(function() end)"
        case 10, 11, 12: return locals > 0 ? "v\(1 + random.below(locals))" : "flow"
        case 13: return kept()
        case 14:
            return random.pick([
                "flow", "flow.req", "flow.res.headers", "sy", "print", "sy.shared.small", "a",
            ])
        case 15: return "setmetatable({}, {__tostring = function() return \(shallow()) end})"
        case 16: return "coroutine.running()"
        default: return "_ENV"
        }
    }

    private mutating func shallow() -> String {
        switch random.below(4) {
        case 0: number()
        case 1: string("")
        case 2: kept()
        default: locals > 0 ? "v\(1 + random.below(locals))" : "true"
        }
    }

    private mutating func number() -> String {
        random.pick([
            "0", "1", "2", "-1", "0.5", "1e-9", "-0.0", "0/0", "1/0", "-1/0", "1e308", "1 << 62", "-1 << 63",
            "math.mininteger", "math.maxinteger", "65535", "65536", "200", "403", "101", "1000", "4999",
            "3.7",
            "'12'", "'0x1p4'", "2^53", "1e15", "255", "10",
        ])
    }

    private static let strings: [String: [String]] = [
        "url": [
            "http://127.0.0.1:9001/x", "http://one/", "https://a/", "http://", "//", "http://a:99999/",
            "redis://a",
        ],
        "command": ["GET", "PING", "SUBSCRIBE", "unsubscribe", "SSUBSCRIBE", "MONITOR", "RESET"],
        "uri": ["/", "/a?b=c", "https://example.test/", "@other", "/%00", "/a b", "//x"],
        "target": ["one", "two", "http://127.0.0.1:9003", "@other", "/exact", "none", "http://[::1]:80"],
        "host": ["127.0.0.1", "unix:/tmp/s", "name.test", "::1", ""],
        "regex": ["(a)|(b)", "\\\\d+", "(?<n>x)", "(((", "^(a+)+$", ".*", "", "(?i)Ab", "\\\\bx"],
        "pattern": ["%a+", "(.)(.)", "%b()", "[", "%f[%w]", "^x*", "%1", ".-b", "()"],
        "subject": ["aaaaaaaaaaaaaaaaaaaaaaaa!", "a b 12 ab", "x", ""],
        "options": ["i", "jo", "u", "mxs", "aD", "q", "iiii"],
        "method": ["GET", "POST", "HEAD", "a b", "", "CONNECT"],
        "key": ["k", "k1", "k2", "k3", "secret"],
        "token": ["eyJhbGciOiJIUzI1NiJ9.e30.x", "a.b.c", "..", ""],
        "code": ["flow", "1 +", "function() end", "1 .. 2", "sy.now()", "KEEP"],
        "reason": ["bye", ""],
        "text": ["{}", "[1,2,{\\\"a\\\":null}]", "QUJD", "616263", "\\\"", "[[[["],
        "name": [
            "Accept", "Host", "X-A", "x-a", "Content-Length", "Connection", "Upgrade", "Set-Cookie", "Cookie",
            "uri", "request_id", "mine", "arg_x", "http_accept", "upstream_addr", "a b", "args", "x", "v",
        ],
        "labels": ["a"], "value": ["v", "a, b", "1"], "path": ["/new", "/a b", "new", "/%2f/../x"],
        "status": ["404", "201", "99"],
        "origin": ["https://example.test", "null"], "subprotocols": ["chat", "a b"],
    ]

    /// What may stand in any string.
    private static let odd = [
        "''", "'a'", "'\\0'", "'a\\r\\nb: c'", "'\\n'", "'\\xff\\xfe'", "'x\\0y'", "'%s%n%d'",
        "('x'):rep(5000)",
        "('\\0'):rep(300)", "('a: b\\r\\n'):rep(50)", "'../../x'", "'\\u{10ffff}'", "'=;,&'", "' '",
        "'a=1; b=2'",
        "'%00%zz%'", "('9'):rep(400)",
    ]

    private mutating func string(_ name: String) -> String {
        if let known = Self.strings[name], !random.oneIn(4) { return "'\(random.pick(known))'" }
        return random.pick(Self.odd)
    }

    /// A value of a type as the table writes it.
    private mutating func value(of type: String, named name: String) -> String {
        let type = random.pick(Parameters.parts(of: type, at: "|"))
        if type.hasSuffix("?") {
            return random.oneIn(4) ? "nil" : value(of: String(type.dropLast()), named: name)
        }
        if type.hasPrefix("("), type.hasSuffix(")") {
            return value(of: String(type.dropFirst().dropLast()), named: name)
        }
        if type.hasPrefix("fun(") {
            return "function(...) local x = ... \(guarded(call())) return \(value()) end"
        }
        if type.hasSuffix("[]") {
            let element = String(type.dropLast(2))
            let values = (0..<random.below(4)).map { _ in value(of: element, named: name) }
            return "{\(values.joined(separator: ", "))}"
        }
        if type.hasPrefix("{") {
            var fields: [String] = []
            for field in Parameters.list(String(type.dropFirst().dropLast())) {
                if field.isOptional, random.oneIn(2) { continue }
                if random.oneIn(20) { continue }
                fields.append("\(field.name) = \(value(of: field.type, named: field.name))")
            }
            if random.oneIn(12) { fields.append("x = \(shallow())") }
            return "{\(fields.joined(separator: ", "))}"
        }
        if type.hasPrefix("table<") {
            return "{[\(string("name"))] = \(shallow()), [\(string("name"))] = \(string("value"))}"
        }
        if type.hasPrefix("\"") { return type }
        switch type {
        case "string": return string(name)
        case "number": return number()
        case "integer": return random.oneIn(2) ? number() : "\(random.below(600))"
        case "boolean": return random.pick(["true", "false"])
        case "nil": return "nil"
        case "Answer":
            let status = random.oneIn(3) ? number() : "403"
            let headers = random.oneIn(2) ? "['X-A'] = 'b'" : "[\(string("name"))] = \(string("value"))"
            return
                "{status = \(status), headers = {\(headers)}, body = \(string(""))}"
        default: return value()
        }
    }
}

/// Parameters as LuaLS writes them: `seconds: number, fn?: fun(flow: Flow)`.
private enum Parameters {
    static func list(_ text: String) -> [(name: String, type: String, isOptional: Bool)] {
        parts(of: text, at: ",").compactMap { part in
            guard let colon = part.firstIndex(of: ":") else { return nil }
            var name = String(part[..<colon])
            let isOptional = name.hasSuffix("?")
            if isOptional { name.removeLast() }
            if name == "..." { name = "rest" }
            return (name, trimmed(part[part.index(after: colon)...]), isOptional)
        }
    }

    /// Parts between marks that stand outside of brackets.
    static func parts(of text: String, at mark: Character) -> [String] {
        var parts = [""]
        var depth = 0
        for character in text {
            switch character {
            case "(", "{", "<", "[": depth += 1
            case ")", "}", ">", "]": depth -= 1
            default: break
            }
            if character == mark, depth == 0 {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts.map { trimmed($0[...]) }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
