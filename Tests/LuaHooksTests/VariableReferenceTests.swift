import Testing

@testable import LuaHooks

@Suite("What variables of scripts need")
struct VariableReferenceTests {
    private func names(_ text: String, _ lines: ClosedRange<Int>) -> [String] {
        VariableReferences.names(in: Array(text.utf8), ofFunctionOn: lines)
    }

    @Test("a function needs what it mentions on its lines, each once")
    func lines() {
        let text = """
            return {
                message = function(flow, msg) return flow.var.other end,
                variables = {
                    one = function(flow) return flow.var.a .. flow.var["b"] .. flow.var['c'] .. flow.var.a end,
                    two = function(flow)
                        local function nested() return flow.var.d end
                        return nested() .. flow.var[name]
                    end,
                },
            }
            """
        #expect(names(text, 4...4) == ["a", "b", "c"])
        #expect(names(text, 5...8) == ["d"])
        #expect(names(text, 1...99) == [])
    }

    @Test(
        "what stands on a line with another function is not known to be its own",
        arguments: [
            ("message = function() return flow.var.plug end, variables = { plug = function() end }", 1),
            ("message = function()\nreturn flow.var.plug end, variables = { plug = function() end }", 2),
        ])
    func sharedLine(_ text: String, _ line: Int) {
        #expect(names(text, line...line) == [])
    }

    @Test("nor what stands where one begins or ends")
    func sharedEdges() {
        let begins = "message = function(flow) return flow.var.x end, plug = function(flow)\nreturn 1\nend"
        #expect(names(begins, 1...3) == [])
        let ends = "plug = function(flow)\nreturn 1\nend, message = function(flow) return flow.var.x end"
        #expect(names(ends, 1...3) == [])
        let follows = "message = function(flow)\nreturn flow.var.x end, plug = function(flow)\nend"
        #expect(names(follows, 2...3) == [])
    }
}
