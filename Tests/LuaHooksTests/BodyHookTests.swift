import Config
import Testing

@testable import LuaHooks

/// Hooks of both bodies, one after the other.
@Suite("body hooks")
struct BodyHookTests {
    private static let stages = [HookStage.requestBody, .responseBody]

    /// What hooks make of a piece; where they wait, once they have gone on.
    private func result(
        _ fixture: ScriptFixture, _ stage: HookStage, _ piece: String, isLast: Bool
    ) -> String {
        var result = fixture.interpreter.run(
            stage, of: fixture.flow, piece: Array(piece.utf8), isLast: isLast)
        while case .waiting = result, fixture.interpreter.waitingCalls > 0 {
            fixture.advance(milliseconds: 1000)
            if let end = fixture.ended.popLast() { result = end.result }
        }
        switch result {
        case .piece(.unchanged): return "unchanged"
        case .piece(.dropped): return "dropped"
        case .piece(.replaced(let bytes)): return String(decoding: bytes, as: UTF8.self)
        default: return "\(result)"
        }
    }

    /// Hooks that print what they see, as `text` says.
    private func fixture(_ stage: HookStage, _ texts: [String], waits: Bool) throws -> ScriptFixture {
        try ScriptFixture(
            texts.enumerated().map { index, text in
                let whole = "print('\(index + 1)', chunk, last) \(waits ? "sy.sleep(1)" : "") \(text)"
                return .test(.hook(stage, ScriptText(text: Array(whole.utf8), file: "test.lua", line: 1)))
            })
    }

    private func seen(_ fixture: ScriptFixture) -> [String] {
        fixture.host.lines.map { $0.dropFirst(14).split(separator: "\t").joined(separator: " ") }
    }

    @Test(
        "what a hook adds at the end comes to those that follow before the last piece",
        arguments: [false, true])
    func tail(waits: Bool) throws {
        for stage in Self.stages {
            let fixture = try fixture(
                stage,
                [
                    "return last and 'A' or nil", "return last and 'tail' or chunk:lower()",
                    "if not last then return chunk:upper() end",
                ], waits: waits)
            #expect(result(fixture, stage, "Bc", isLast: false) == "BC")
            #expect(result(fixture, stage, "", isLast: true) == "ATAIL")
            #expect(
                seen(fixture) == [
                    "1 Bc false", "2 Bc false", "3 bc false",
                    "1 true", "2 A false", "2 true", "3 atail false", "3 true",
                ])
        }
    }

    @Test("what is added at the end may be dropped, and the end is still told", arguments: [false, true])
    func dropped(waits: Bool) throws {
        for stage in Self.stages {
            let fixture = try fixture(
                stage, ["if last then return 'A' end", "return false", "if last then return 'end' end"],
                waits: waits)
            #expect(result(fixture, stage, "Bc", isLast: false) == "dropped")
            #expect(result(fixture, stage, "", isLast: true) == "end")
            #expect(
                seen(fixture) == [
                    "1 Bc false", "2 Bc false", "1 true", "2 A false", "2 true", "3 true",
                ])
        }
    }

    @Test(
        "nothing is added where hooks let the end be, and a failure there is one", arguments: [false, true])
    func unchanged(waits: Bool) throws {
        for stage in Self.stages {
            let quiet = try fixture(stage, ["", "return nil"], waits: waits)
            #expect(result(quiet, stage, "", isLast: true) == "unchanged")
            #expect(seen(quiet) == ["1 true", "2 true"])
            let failing = try fixture(stage, ["return 'A'", "if last then error('x') end"], waits: waits)
            #expect(result(failing, stage, "", isLast: true) == "failed")
        }
    }

    @Test("a whole body goes through in one piece, which is the last", arguments: [false, true])
    func whole(waits: Bool) throws {
        let fixture = try fixture(
            .requestBody, ["return chunk .. 1", "return chunk .. 2"], waits: waits)
        #expect(result(fixture, .requestBody, "body", isLast: true) == "body12")
        #expect(seen(fixture) == ["1 body true", "2 body1 true"])
    }
}
