internal import CSwitchyard
package import Config
internal import EventLoop
internal import Glibc
package import ProxyCore
internal import Synchronization

/// A configuration that is ready to run: compiled, its upstreams resolved, its logs open.
package struct LoadedConfiguration: Sendable {
    package let configuration: Configuration
    /// As `Generation.addresses`.
    package let addresses: [[[PeerAddress]]]
    package let tls: TLSSetup
    package let logFiles: LogFiles
    /// Warnings.
    package let diagnostics: [ConfigDiagnostic]
    package let sources: [SourceFile]
    let logPaths: Set<String>
    /// As the configuration was compiled, with what was read then.
    let recipe: ConfigurationRecipe

    /// The same with logs of its own, which are opened when they are written to.
    package func with(logFiles: LogFiles) -> LoadedConfiguration {
        LoadedConfiguration(
            configuration: configuration, addresses: addresses, tls: tls, logFiles: logFiles,
            diagnostics: diagnostics, sources: sources, logPaths: logPaths, recipe: recipe)
    }

    /// The generation that runs it, as the first worker does. To be made in the process that will, since it holds that one's
    /// id.
    package func generation(number: Int, registry: ProcessRegistry) -> Generation {
        Generation(
            number: number,
            runtime: runtime(
                configuration, registry, registry.limitZones.prepare(configuration.limitZones)),
            addresses: addresses, tls: tls,
            logFiles: logFiles, registry: registry)
    }

    /// `generation` as another worker is to run it, on a configuration that is compiled again from what was read the first
    /// time. It takes as long as the first time, so a worker at work leaves it to another thread.
    package func copy(of generation: Generation) -> Generation {
        // The same text under the same answers is as good as it was; one copy for two workers would do, too.
        let configuration = recipe.compile().configuration ?? generation.configuration
        return generation.copy(
            running: runtime(configuration, generation.registry, generation.runtime.limitZones))
    }

    /// `generation` for workers that run already: itself for the first, and a copy for each other.
    ///
    /// Each copy is made on a thread of its own, none of which ends before the others are done. malloc(3) has each allocate
    /// in an arena of its own then, where one after another would fill holes in the same one: counts of several workers
    /// would be in one line of the processor's cache, which is as slow as if they were one.
    func copies(of generation: Generation, count: Int) -> [Generation] {
        let threads = (1..<max(1, count)).map { _ in CopyThread(self, of: generation) }
        let copies = threads.map { $0.wait() }
        for thread in threads { thread.end() }
        return [generation] + copies
    }

    private func runtime(
        _ configuration: Configuration, _ registry: ProcessRegistry, _ limitZones: [LimitZone]
    ) -> RuntimeConfiguration {
        var environment = Environment(
            hostname: CompilationEnvironment.ofThisMachine(prefix: "", builtinVariables: []).hostname,
            pid: getpid(), connectionCounts: { registry.connectionCounts })
        environment.version = Array(Product.version.utf8)
        environment.fileTest = Self.fileTest
        return RuntimeConfiguration(
            configuration, environment: environment, limitZones: limitZones)
    }

    private static let fileTest: @Sendable (Condition.FileTest, [UInt8]) -> Bool = { test, path in
        let kind =
            switch test {
            case .isFile: SY_FILE_REGULAR
            case .isDirectory: SY_FILE_DIRECTORY
            case .exists: SY_FILE_ANY
            case .isExecutable: SY_FILE_EXECUTABLE
            }
        // The path is passed as a C string for the length of the call.
        return unsafe sy_file_is(String(decoding: path, as: UTF8.self), kind)
    }
}

/// A thread that makes a copy of a generation.
private final class CopyThread: Sendable {
    private let copy = Threads.Promise<Generation>()
    private let mayEnd = Threads.Promise<Void>()
    private let handle = Mutex<Threads.Handle?>(nil)

    init(_ loaded: LoadedConfiguration, of generation: Generation) {
        do throws(SystemError) {
            let thread = try Threads.start(name: "configuration") {
                self.copy.keep(loaded.copy(of: generation))
                self.mayEnd.wait()
            }
            handle.withLock { $0 = thread }
        } catch {
            // As many threads as there may be: this one makes it.
            copy.keep(loaded.copy(of: generation))
        }
    }

    func wait() -> Generation { copy.wait() }

    func end() {
        mayEnd.keep(())
        handle.withLock { $0?.join() }
    }
}

/// How a configuration is compiled, the first time and again.
struct ConfigurationRecipe: Sendable {
    private let source: ConfigurationSource
    private let environment: CompilationEnvironment
    private let files: ConfigurationFiles

    init(_ source: ConfigurationSource, _ machine: ConfigurationLoader.Machine) {
        let record = CompilationRecord()
        var environment = machine.environment(source.prefix, VariableTable.names)
        environment.defaultErrorLog = source.errorLog
        environment.scripts = machine.scripts
        self.source = source
        self.environment = record.environment(environment)
        files = record.files(machine.files)
    }

    func compile() -> ConfigurationCompiler.Result {
        switch source.origin {
        case .file:
            ConfigurationCompiler.compile(
                rootPath: source.name, globalText: source.globalText, environment: environment,
                files: files)
        case .text(let text, let name):
            ConfigurationCompiler.compile(text: text, name: name, environment: environment, files: files)
        }
    }
}
