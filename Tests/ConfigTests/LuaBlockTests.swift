import Testing

@testable import Config

@Suite struct LuaBlockTests {
    private func block(_ text: String) -> LuaBlock { LuaBlock(in: Array(text.utf8), from: 0) }

    @Test(
        "only a brace that is one to Lua closes the block",
        arguments: [
            " return 1 ", " return {{}, {}} ", " -- }\n ", " --[[ } ]] ", " --[==[ } ]] ]=] } ]==] ",
            " --[=x }\n ",
            #" return "}" "#, #" return '}' "#, #" return "\"}" "#, #" return '\\' "#, #" return "'}" "#,
            "return [[ } ]]", "return [=[ ]] } ]=]", "return [==[]]==]", "return [[]", "a[b[1]]=2",
            "x = '\\\n}'",
            "x = '\\z \n }'", "x = '\\\r\n}'", "return 1 - - {}[1]", "---}\n", "a[=b", "--[", "",
        ])
    func findsTheEnd(_ text: String) {
        // A text that leaves a bracket or comment open has no end at all.
        let isOpen = ["return [[]", "--["].contains(text)
        let found = block(text + "}; rest }")
        #expect(found.isClosed == !isOpen)
        if !isOpen {
            #expect(found.end == text.utf8.count)
            #expect(found.fault == nil)
        }
    }

    @Test("what does not end is found where it begins")
    func reportsFaults() {
        #expect(
            block("a = 'x }\n}").fault
                == .init(offset: 4, message: "found a string that does not end on its line, expected \"'\""))
        #expect(block("a = 'x }\n} b").end == 9)
        #expect(
            block("[==[ ]] }").fault
                == .init(offset: 0, message: "found a long string that does not end, expected \"]==]\""))
        #expect(
            block(" --[[ }").fault
                == .init(offset: 3, message: "found a comment that does not end, expected \"]]\""))
        #expect(block("{ }").fault == nil)
        #expect(!block("{ }").isClosed)
    }

    @Test("Lua cut anywhere, or with any byte changed, never traps and stays in its bounds")
    func cutsAnywhere() {
        let text = Array(
            """
            local t = { a = '}\\'', b = "\\z  \n {", [==[x]] } ]==], --[[ } ]] c = [[\n}]] } -- }
            if t[t[1]] - -1 == 0 then return { '\\\r\n}' } end }
            """.utf8)
        #expect(LuaBlock(in: text, from: 0).end == text.count - 1)
        for end in 0...text.count {
            for start in 0...end {
                let found = LuaBlock(in: Array(text[..<end]), from: start)
                #expect(found.end >= start && found.end <= end)
                if let fault = found.fault { #expect(fault.offset >= start && fault.offset < end) }
            }
        }
        for index in text.indices {
            for byte in "\\\"'[]=-{}\n".utf8 {
                var changed = text
                changed[index] = byte
                #expect(LuaBlock(in: changed, from: 0).end <= text.count)
            }
        }
        #expect(!LuaBlock(in: [], from: 5).isClosed)
    }
}
