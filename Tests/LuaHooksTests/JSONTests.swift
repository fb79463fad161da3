import Config
import Testing

@testable import LuaHooks

@Suite("sy.json")
struct JSONTests {
    /// What decoding and encoding again makes of a text.
    private func again(_ text: String) throws -> String {
        try #require(try lines("print(sy.json.encode(sy.json.decode[==[\(text)]==]))").first)
    }

    @Test("json encodes and decodes, null being a value of its own")
    func values() throws {
        #expect(
            try lines(
                """
                local v = sy.json.decode('{"a":[1,2.5,"x",null],"b":{}}')
                print(v.a[1], v.a[2], v.a[3], v.a[4] == sy.json.null, v.a[4] == nil, next(v.b))
                print(sy.json.encode({1, 'x', true, sy.json.null}), sy.json.encode({}), sy.json.encode('é\\n'))
                print(sy.json.encode(nil), sy.json.encode(false), sy.json.encode('a/"\\\\\\0\\x7f'))
                """)
                == [
                    "1\t2.5\tx\ttrue\tfalse\tnil", "[1,\"x\",true,null]\t{}\t\"é\\n\"",
                    "null\tfalse\t\"a\\/\\\"\\\\\\u0000\\u007f\"",
                ])
    }

    // MARK: Numbers

    @Test(
        "a number is the same after it was decoded and encoded",
        arguments: [
            "0", "-0", "-1", "1700000000123456", "1234567890123456789", "100000000000001",
            "9223372036854775807",
            "-9223372036854775808", "3.14159265358979312", "0.1", "-2.5e-07", "1e+300", "5e-324",
            "1.7976931348623157e+308", "0.30000000000000004", "123456789.123",
        ])
    func numbers(_ text: String) throws {
        // Digits beyond what a float can hold are none of its own.
        let expected = text == "3.14159265358979312" ? "3.141592653589793" : text
        #expect(try again("[\(text)]") == "[\(expected)]")
    }

    @Test("numbers without fraction and exponent are integers while they fit, others floats")
    func kinds() throws {
        #expect(
            try lines(
                """
                for _, text in ipairs{ '1', '-0', '9223372036854775807', '9223372036854775808', '1.0', '1e3',
                    '-9223372036854775808', '-9223372036854775809', '12345678901234567890123' } do
                  local value = sy.json.decode(text)
                  print(math.type(value), value, sy.json.encode(value))
                end
                """)
                == [
                    "integer\t1\t1", "float\t-0.0\t-0", "integer\t9223372036854775807\t9223372036854775807",
                    "float\t9.2233720368548e+18\t9.223372036854776e+18", "float\t1.0\t1",
                    "float\t1000.0\t1000", "integer\t-9223372036854775808\t-9223372036854775808",
                    "float\t-9.2233720368548e+18\t-9.223372036854776e+18",
                    "float\t1.2345678901235e+22\t1.2345678901234568e+22",
                ])
    }

    @Test("a negative zero stays one, as a float")
    func negativeZero() throws {
        #expect(
            try lines(
                """
                for _, text in ipairs{ '-0', '-0.0', '-0e5', '0', sy.json.encode(-0.0) } do
                  local value = sy.json.decode(text)
                  print(math.type(value), value, 1 / value, sy.json.encode(value))
                end
                """)
                == [
                    "float\t-0.0\t-inf\t-0", "float\t-0.0\t-inf\t-0", "float\t-0.0\t-inf\t-0",
                    "integer\t0\tinf\t0", "float\t-0.0\t-inf\t-0",
                ])
    }

    @Test("whole floats are written as integers are, while they are apart by one at most")
    func wholeFloats() throws {
        #expect(
            try lines(
                "print(sy.json.encode{1.0, -3.0, 1e15, 9007199254740991.0, 9007199254740992.0, 2^63, 1e20})")
                == [
                    "[1,-3,1000000000000000,9007199254740991,9007199254740992,9.223372036854776e+18,1e+20]"
                ])
    }

    @Test("numbers have a full stop where the process writes commas")
    func locale() throws {
        var settings = LuaSettings.patient
        settings.sandbox = false
        #expect(
            try lines(
                """
                local is_set = os.setlocale('de_DE.UTF-8') or os.setlocale('C')
                print(sy.json.encode(1.5), sy.json.decode('2.5') * 2)
                os.setlocale('C')
                """, settings: settings
            ).first?.replacing(",", with: ".") == "1.5\t5.0")
    }

    // MARK: Arrays

    @Test("an array stays one when it is empty, or becomes empty")
    func emptyArrays() throws {
        #expect(try again(#"{"a":[]}"#) == #"{"a":[]}"#)
        #expect(try again("[[],{},[[]]]") == "[[],{},[[]]]")
        #expect(
            try lines(
                """
                local v = sy.json.decode('[1]')
                table.remove(v)
                print(sy.json.encode(v), sy.json.encode(sy.json.empty_array), sy.json.encode(sy.json.array()))
                local list = {}
                print(sy.json.array(list) == list, sy.json.encode(list), sy.json.encode(sy.json.array(list)))
                list.name = 'x'
                print(sy.json.encode(list), #sy.json.array{1, 2}, sy.json.encode{ list = sy.json.array{1, 2} })
                """)
                == ["[]\t[]\t[]", "true\t[]\t[]", "{\"name\":\"x\"}\t2\t{\"list\":[1,2]}"])
    }

    @Test("a decoded array takes another metatable, and its own is nobody's to change")
    func mark() throws {
        #expect(
            try lines(
                """
                local v = sy.json.decode('[3,1,2]')
                print(getmetatable(v))
                setmetatable(v, { __index = function() return 'none' end })
                print(v[9], #v, pcall(sy.json.array, v))
                local w = sy.json.decode('[3,1,2]')
                print(setmetatable(w, nil) == w, getmetatable(w))
                table.sort(w)
                print(table.concat(w, ' '))
                """)
                == [
                    "false", "none\t3\tfalse\tarray: found a table that has a metatable", "true\tnil",
                    "1 2 3",
                ])
    }

    @Test("an array may have holes, as long as they are few")
    func holes() throws {
        #expect(try lines("print(sy.json.encode{ [1] = 1, [4] = 4 })") == ["[1,null,null,4]"])
        #expect(try lines("print(#sy.json.encode{ [10] = 1 })") == ["48"])
    }

    // MARK: Strings

    @Test("escapes become the characters that they stand for")
    func escapes() throws {
        let text = #"["\"\\\/\b\f\n\r\t","\u0041\u00e9\u20AC\uD83D\uDE00","a\u0000b"]"#
        #expect(
            try lines(
                """
                local v = sy.json.decode[==[\(text)]==]
                print(v[1] == '"\\\\/\\b\\f\\n\\r\\t', v[2] == 'Aé€😀', #v[3], v[3]:byte(2))
                """) == ["true\ttrue\t3\t0"])
    }

    @Test("long strings and deep nesting go through")
    func long() throws {
        #expect(
            try lines(
                """
                local text = ('x'):rep(100000) .. '\\n'
                print(sy.json.decode(sy.json.encode(text)) == text, #sy.json.encode{ text, text })
                local deep = ('['):rep(1000) .. (']'):rep(1000)
                print(sy.json.encode(sy.json.decode(deep)) == deep)
                """) == ["true\t200011", "true"])
    }

    // MARK: Faults

    @Test(
        "what is no JSON is an error that says where",
        arguments: [
            ("{", "found the end of the text at byte 2, expected a string as a member's name"),
            ("", "found the end of the text at byte 1, expected a value"),
            ("[NaN]", "found \"NaN\" at byte 2, expected a value"),
            ("Infinity", "found \"Infinity\" at byte 1, expected a value"),
            ("-inf", "found \"-inf\" at byte 1, expected a value"),
            ("nullx", "found \"nullx\" at byte 1, expected a value"),
            ("0x10", "found \"x10\" at byte 2, expected the end of the text"),
            ("01", "found \"1\" at byte 2, expected the end of the text"),
            ("[1.]", "found \"]\" at byte 4, expected a digit"),
            (".5", "found \".5\" at byte 1, expected a value"),
            ("1.e5", "found \"e5\" at byte 3, expected a digit"),
            ("1e", "found the end of the text at byte 3, expected a digit"),
            ("+1", "found \"+1\" at byte 1, expected a value"),
            ("-", "found \"-\" at byte 1, expected a value"),
            ("[1,1e999]", "found \"1e999\" at byte 4, expected a number of at most 1.797e308"),
            ("[1,]", "found \"]\" at byte 4, expected a value"),
            ("[1 2]", "found \"2\" at byte 4, expected \",\" or \"]\""),
            ("[1", "found the end of the text at byte 3, expected \",\" or \"]\""),
            ("{a:1}", "found \"a\" at byte 2, expected a string as a member's name"),
            ("{\"a\" 1}", "found \"1\" at byte 6, expected \":\""),
            ("{\"a\":1,}", "found \"}\" at byte 8, expected a string as a member's name"),
            ("{\"a\":1 \"b\"", "found \"\"\" at byte 8, expected \",\" or \"}\""),
            ("1 2", "found \"2\" at byte 3, expected the end of the text"),
            ("'a'", "found \"'\" at byte 1, expected a value"),
            ("\"a", "found the end of the text at byte 3, expected the end of a string"),
            ("\"a\\nb\"", "found the byte 0x0A at byte 3, expected an escape for a control character"),
            ("\"a\\0b\"", "found the byte 0x00 at byte 3, expected an escape for a control character"),
            ("\"\\xff\"", "found the byte 0xFF at byte 2, expected UTF-8"),
            ("\"\\xc0\\x80\"", "found the byte 0xC0 at byte 2, expected UTF-8"),
            ("\"\\xed\\xa0\\x80\"", "found the byte 0xED at byte 2, expected UTF-8"),
            ("\"\\xf4\\x90\\x80\\x80\"", "found the byte 0xF4 at byte 2, expected UTF-8"),
            ("\"\\xe2\\x82\"", "found the byte 0xE2 at byte 2, expected UTF-8"),
            ("\\xef\\xbb\\xbf1", "found the byte 0xEF at byte 1, expected a value"),
            ("\"\\\\x41\"", "found \"\\x\" at byte 2, expected one of the escapes"),
            ("\"\\\\u12g4\"", "found \"g4\" at byte 6, expected four hexadecimal digits"),
            ("\"\\\\ud800\"", "expected the other half of a pair of surrogates"),
            ("\"\\\\ud800\\\\u0041\"", "expected the other half of a pair of surrogates"),
            ("\"\\\\udc00\"", "found \"\\u\" at byte 2, expected the first half of a pair of surrogates"),
        ])
    func wrongTexts(_ text: String, message: String) throws {
        // Escapes are Lua's: the text has what they stand for.
        let quoted = text.replacing("'", with: "\\'")
        let found = try failure("sy.json.decode('\(quoted)')")
        #expect(found.hasPrefix("decode: ") && found.contains(message), "\(found)")
    }

    @Test(
        "what cannot be said in JSON is an error that says where it is",
        arguments: [
            ("print", "found a function, expected a table, a string, a number, a boolean or sy.json.null"),
            ("{ a = { 1, { b = print } } }", "found a function at .a[2].b, expected"),
            ("0/0", "nan, expected a finite number"),
            ("{ 1, math.huge }", "found inf at [2], expected a finite number"),
            ("{ x = -math.huge }", "found -inf at .x, expected a finite number"),
            ("'\\xff'", "found a string that is not UTF-8, expected text"),
            ("{ name = { 'ok', '\\xed\\xa0\\x80' } }", "found a string that is not UTF-8 at .name[2]"),
            ("{ ['a\\n\\xff'] = 1 }", "found a string that is not UTF-8 at .a??, expected text"),
            ("{ ['1'] = 'a', [1] = 'b' }", "found both the number and the string 1 as keys"),
            ("{ x = { [1.5] = 1, ['1.5'] = 2 } }", "found both the number and the string 1.5 as keys at .x"),
            ("{ [true] = 1 }", "found a boolean as a key, expected a string or a number"),
            ("{ [1] = 1, [1000000] = 2 }", "found an array with 2 of 1000000 values, expected fewer holes"),
            ("flow", "found a userdata, expected"),
        ])
    func wrongValues(_ value: String, message: String) throws {
        let found = try failure("sy.json.encode(\(value))")
        #expect(found.hasPrefix("encode: ") && found.contains(message), "\(found)")
    }

    @Test("nesting without end is an error, both ways")
    func nesting() throws {
        #expect(
            try failure("sy.json.decode(string.rep('[', 100000))")
                == "decode: nested more than 1000 deep at byte 1001")
        #expect(
            try failure("(function() local t = {} t.t = t return sy.json.encode(t) end)()")
                == "encode: nested more than 1000 deep, or a table that refers to itself, at ....t.t.t.t.t.t.t.t.t.t.t.t"
        )
    }

    @Test("both take one argument", arguments: ["encode", "decode"])
    func arguments(_ name: String) throws {
        #expect(try failure("sy.json.\(name)()").contains("expected 1 argument"))
        #expect(try failure("sy.json.\(name)('1', 2)").contains("expected 1 argument"))
    }

    @Test("what becomes too long for the memory limit is an error, and the interpreter goes on")
    func memory() throws {
        let found = try failure(
            "(function() local t = {} for i = 1, 40 do t = { t, t } end return sy.json.encode(t) end)()")
        #expect(found.contains("not enough memory") || found.contains("interrupted"), "\(found)")
    }

    @Test("claims of a token are as exact as what is decoded")
    func claims() throws {
        #expect(
            try lines(
                """
                local function part(text) return (sy.base64.encode_url(text)) end
                local function token(sub)
                  local text = part('{"alg":"HS256"}') .. '.' .. part('{"sub":' .. sub .. ',"roles":[]}')
                  return text .. '.' .. part(sy.hmac('secret', text))
                end
                local one = sy.jwt.verify(token('1234567890123456789'), { key = 'secret' })
                local other = sy.jwt.verify(token('1234567890123456790'), { key = 'secret' })
                print(one.sub, one.sub == other.sub, sy.json.encode(one.roles))
                """) == ["1234567890123456789\tfalse\t[]"])
    }
}
