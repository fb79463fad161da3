import Testing

@testable import ScriptTesting

/// Runs `body` as a test of a script, which is to pass.
func scriptPasses(_ body: String, _ location: SourceLocation = #_sourceLocation) {
    final class Lines { var all: [String] = [] }
    let lines = Lines()
    var run = ScriptTestRun { lines.all.append($0) }
    run.run(Array("test(\"it\", function()\n\(body)\nend)".utf8), name: "t.lua", directory: "/nowhere")
    #expect(
        run.totals == ScriptTestRun.Totals(passed: 1), "\(lines.all.joined(separator: "\n"))",
        sourceLocation: location)
}
