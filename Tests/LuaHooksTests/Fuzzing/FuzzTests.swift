import Foundation
import Testing

@testable import LuaHooks

/// `SWITCHYARD_FUZZ` says how many snippets are made, `SWITCHYARD_FUZZ_SEED` from which number on, and
/// `SWITCHYARD_FUZZ_FILE` where the one that runs is written to: after a crash it holds what crashed.
@Suite("Generated scripts")
struct FuzzTests {
    private static func setting(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }

    /// Snippets of one interpreter.
    private static let round = 500

    @Test("whatever a script does with the API, it gets a value or an error, and leaves nothing behind")
    func snippets() throws {
        let count = Self.setting("SWITCHYARD_FUZZ").flatMap { Int($0) } ?? 20_000
        let first = Self.setting("SWITCHYARD_FUZZ_SEED").flatMap { Int($0) } ?? 1
        let file = Self.setting("SWITCHYARD_FUZZ_FILE")
        _ = Interpreter.watchThread()
        defer { Interpreter.unwatchThread() }
        let coverage = ScriptFuzzer.Coverage()
        var outcomes = (ended: 0, failed: 0, waited: 0)
        var invalid: [String] = []
        for seed in first..<first + max(1, count / Self.round) {
            let fuzzer = try ScriptFuzzer(seed: seed, coverage: coverage)
            for number in 0..<Self.round {
                fuzzer.step { snippet in
                    guard let file else { return }
                    try? "-- seed \(seed), number \(number)\n\(snippet)".write(
                        toFile: file, atomically: false, encoding: .utf8)
                }
            }
            fuzzer.finish()
            outcomes.ended += fuzzer.outcomes.ended
            outcomes.failed += fuzzer.outcomes.failed
            outcomes.waited += fuzzer.outcomes.waited
            invalid += fuzzer.invalid
        }
        #expect(invalid.count * 50 < count, "\(invalid.prefix(5))")
        // The generator is to reach what it is about, given the time.
        guard count >= 5000 else { return }
        #expect(outcomes.ended * 4 > count)
        #expect(outcomes.waited * 20 > count)
        let unreached = coverage.missing { $0.returned == 0 }.filter { number in
            switch LuaAPI.functions[number].place {
            // Read in C while a hook runs: the functions are called behind a wait or an assignment alone.
            case .getter(.message), .getter(.frame):
                !["data", "size"].contains(LuaAPI.functions[number].name)
            case .library, .libraryValue, .part, .ownTable: false
            // An error always, as those of `unknownFieldFunctions` are.
            case .anyGetter(.remoteFlow), .anyGetter(.remoteClient), .anyGetter(.remoteUpstream): false
            default:
                number > 0
                    && !LuaAPI.unknownFieldFunctions.map(\.name).contains(LuaAPI.functions[number].name)
            }
        }
        #expect(
            unreached.isEmpty,
            "\(unreached.map { "\(LuaAPI.functions[$0].name) at \(LuaAPI.functions[$0].place)" })")
    }
}
