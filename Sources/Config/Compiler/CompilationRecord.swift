internal import Synchronization

/// What the machine answered while a configuration was compiled, so that it can be compiled again to the same.
///
/// What is asked for the first time goes to the machine. From then on that answer stands: a file that has changed since,
/// a name that means another address, do not get into a second copy. Threads may ask at the same time.
package final class CompilationRecord: Sendable {
    private struct Answers {
        var files: [String: Result<[UInt8], FileFailure>] = [:]
        var patterns: [String: Result<[String], FileFailure>] = [:]
        var hosts: [String: [String]] = [:]
        var users: [String: Bool] = [:]
        var groups: [String: Bool] = [:]
        /// By where the script's directive stands, as there is one script to a directive.
        var outlines: [SourcePosition: Result<ScriptOutline, ScriptFault>] = [:]
    }

    private let answers = Mutex(Answers())

    package init() {}

    /// The same files, each read once.
    package func files(_ files: ConfigurationFiles) -> ConfigurationFiles {
        ConfigurationFiles(
            read: { path in self.answer(path, in: \.files) { files.read(path) } },
            glob: { pattern in self.answer(pattern, in: \.patterns) { files.glob(pattern) } },
            stamp: files.stamp)
    }

    /// The same environment, asked for each thing once: scripts are loaded for the first copy alone.
    package func environment(_ environment: CompilationEnvironment) -> CompilationEnvironment {
        var result = environment
        result.addressesOfHost = { name in
            self.answer(name, in: \.hosts) { environment.addressesOfHost(name) }
        }
        result.hasUser = { name in self.answer(name, in: \.users) { environment.hasUser(name) } }
        result.hasGroup = { name in self.answer(name, in: \.groups) { environment.hasGroup(name) } }
        result.scripts.outline = { script, settings in
            self.answer(script.position, in: \.outlines) { environment.scripts.outline(script, settings) }
        }
        return result
    }

    /// The machine is asked without the lock, as loading a script runs it.
    private func answer<Question: Hashable, Answer: Sendable>(
        _ question: Question, in table: WritableKeyPath<Answers, [Question: Answer]> & Sendable,
        asking ask: () -> Answer
    ) -> Answer {
        if let known = answers.withLock({ $0[keyPath: table][question] }) { return known }
        let answer = ask()
        return answers.withLock { answers in
            // Of two that ask for the first time, the first to have its answer is the one who counts.
            if let known = answers[keyPath: table][question] { return known }
            answers[keyPath: table][question] = answer
            return answer
        }
    }
}
