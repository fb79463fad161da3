/// Makes a `Configuration` of nginx-syntax text.
package struct ConfigurationCompiler {
    /// The configuration, unless there are errors; diagnostics in source order; and every file that was read.
    package struct Result: Sendable {
        package var configuration: Configuration?
        package var diagnostics: [ConfigDiagnostic]
        package var sources: [SourceFile]

        /// What `-T` prints: each file under a heading with its path.
        package var dump: [UInt8] {
            sources.flatMap { source in
                Array("# configuration file \(source.path):\n".utf8) + source.bytes + [UInt8(ascii: "\n")]
            }
        }
    }

    /// Compiles the file at `rootPath` with what it includes.
    ///
    /// Relative paths of `include` are under the file's directory. `globalText` holds directives of the main
    /// context given on the command line (`-g`).
    package static func compile(
        rootPath: String, globalText: String? = nil, environment: CompilationEnvironment,
        files: ConfigurationFiles = .disk
    ) -> Result {
        var parser = Parser(files: files, configurationDirectory: Paths.directory(of: rootPath))
        var tree: [DirectiveNode] = []
        if let globalText { tree += parser.parse(text: Array(globalText.utf8), name: "command line") }
        tree += parser.parse(path: rootPath)
        return compile(tree, parser, environment, needsEvents: true)
    }

    /// Compiles text that is in no file, such as that of the quick mode; `name` stands for the file's name in
    /// messages.
    package static func compile(
        text: String, name: String, environment: CompilationEnvironment, files: ConfigurationFiles = .disk
    ) -> Result {
        var parser = Parser(files: files, configurationDirectory: environment.prefix)
        let tree = parser.parse(text: Array(text.utf8), name: name)
        return compile(tree, parser, environment)
    }

    private static func compile(
        _ tree: [DirectiveNode], _ parser: Parser, _ environment: CompilationEnvironment,
        needsEvents: Bool = false
    ) -> Result {
        let compilation = Compilation(
            environment: environment, files: parser.files,
            configurationDirectory: parser.configurationDirectory)
        var main = Scope(context: .main, compilation: compilation)
        let defaultLog = ErrorLog(
            destination: environment.defaultErrorLog
                ?? .file(Paths.path("logs/error.log", under: environment.prefix)))
        main.settings.errorLogs = [defaultLog]
        main.settings.types = defaultTypes
        DirectiveCompiler.apply(tree, to: &main)
        if compilation.process.errorLogs.isEmpty { compilation.process.errorLogs = [defaultLog] }
        if needsEvents, !compilation.hasEvents, parser.diagnostics.isEmpty {
            // As nginx: a file that was found empty, or half written, does not take everything away.
            compilation.diagnostics.append(
                ConfigDiagnostic(position: nil, message: "no \"events\" section in configuration"))
        }

        if compilation.http.resolver == nil {
            compilation.diagnostics += compilation.upstreams.needingResolver.map(lackingResolver)
        }
        let listeners = ListenerAssembly.listeners(of: compilation)
        let (variables, unknown) = compilation.variables.resolve()
        compilation.finishScripts(variables)
        let diagnostics = ConfigDiagnostic.sorted(parser.diagnostics + compilation.diagnostics + unknown)
        let isUsable = !diagnostics.contains { $0.severity == .error }
        let configuration = Configuration(
            process: compilation.process, http: Settings(compilation.http), listeners: listeners,
            servers: compilation.servers.map(\.server), upstreams: compilation.upstreams.groups,
            maps: compilation.maps, variables: variables,
            assignedSlots: compilation.variables.slotCount,
            scripts: compilation.scripts.scripts, scriptPlans: compilation.scripts.plans,
            scriptSlots: compilation.variables.scriptSlotCount, lua: compilation.lua,
            logBuffers: compilation.logBuffers, limitZones: compilation.limitZones)
        return Result(
            configuration: isUsable ? configuration : nil, diagnostics: diagnostics, sources: parser.sources)
    }

    private static func lackingResolver(
        _ need: (group: UpstreamGroup, position: SourcePosition)
    ) -> ConfigDiagnostic {
        let name = String(decoding: need.group.name, as: UTF8.self)
        return ConfigDiagnostic(
            position: need.position, directive: "server",
            message:
                "found \"resolve\", but no resolver defined to resolve names at run time in upstream \"\(name)\", "
                + "expected \"resolver\" in it or in http")
    }

    /// What nginx knows without a `types` block.
    // Made anew, so that configurations share nothing that requests count references to.
    private static var defaultTypes: [[UInt8]: [UInt8]] {
        [
            Array("html".utf8): Array("text/html".utf8),
            Array("gif".utf8): Array("image/gif".utf8),
            Array("jpg".utf8): Array("image/jpeg".utf8),
        ]
    }
}

extension Configuration {
    /// Compiles a text by itself, for tests: no files, relative paths under `/prefix`.
    package static func parse(
        _ text: String, builtinVariables: Set<String>
    ) -> (configuration: Configuration?, diagnostics: [ConfigDiagnostic]) {
        let noFiles = ConfigurationFiles(
            read: { _ in .failure(FileFailure(reason: "no such file")) }, glob: { _ in .success([]) })
        let result = ConfigurationCompiler.compile(
            text: text, name: "test.conf",
            environment: CompilationEnvironment(prefix: "/prefix", builtinVariables: builtinVariables),
            files: noFiles)
        return (result.configuration, result.diagnostics)
    }
}
