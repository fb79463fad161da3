internal import ArgumentParser
internal import Config
internal import ProxyCore
internal import ProxyServer

/// nginx's command line.
struct RunOptions: ParsableArguments {
    /// Where things are unless the command line says otherwise.
    enum Defaults {
        static let prefix = "/etc/switchyard"
        /// Under the prefix.
        static let configuration = "switchyard.conf"
    }

    @Flag(name: [.customShort("?")], help: "Show help information.")
    var questionMark = false

    @Flag(name: .customShort("v"), help: "Show the version.")
    var version = false

    @Flag(name: .customShort("V"), help: "Show the version and the defaults.")
    var details = false

    @Flag(name: .customShort("t"), help: "Test the configuration.")
    var test = false

    @Flag(name: .customShort("T"), help: "Test the configuration and print it.")
    var dump = false

    @Flag(name: .customShort("q"), help: "Suppress messages that are not errors while testing.")
    var quiet = false

    @Option(
        name: .customShort("s"),
        help: ArgumentHelp(
            "Send a signal to the process that runs: stop, quit, reopen, reload.", valueName: "signal"))
    var signal: ProcessSignal?

    @Option(
        name: .customShort("p"),
        help: ArgumentHelp("The directory under which relative paths are.", valueName: "prefix"))
    var prefix: String?

    @Option(
        name: .customShort("e"), help: ArgumentHelp("The default error log, or stderr.", valueName: "file"))
    var errorLog: String?

    @Option(name: .customShort("c"), help: ArgumentHelp("The configuration file.", valueName: "file"))
    var file: String?

    @Option(
        name: .customShort("g"),
        help: ArgumentHelp("Directives in front of the configuration file's.", valueName: "directives"))
    var directives: String?

    func run() throws {
        if questionMark { throw CleanExit.helpRequest(Switchyard.self) }
        if version || details { return showVersion() }
        var console = Console()
        console.isQuiet = quiet
        let source = source(console)
        if let signal { return try send(signal, source, console) }
        if test || dump { return try testConfiguration(source, console) }
        var options = Server.Options(source: source)
        options.console = console
        try Self.serve(options)
    }

    /// Runs a server until a signal ends it.
    static func serve(_ options: Server.Options, started: (Server) -> Void = { _ in }) throws {
        do throws(StartFailure) {
            let server = try Server(options)
            started(server)
            server.run()
        } catch {
            throw ExitCode(1)
        }
    }

    private func showVersion() {
        let console = Console()
        console.line("\(Product.name) version: \(Product.name)/\(Product.version)")
        guard details else { return }
        console.line("prefix: \(Defaults.prefix)")
        console.line("configuration file: \(Defaults.prefix)/\(Defaults.configuration)")
        console.line("error log: \(Defaults.prefix)/logs/error.log")
        console.line("pid file: \(ProcessSettings().pidFile)")
    }

    private func source(_ console: Console) -> ConfigurationSource {
        let prefix = FilePath.absolute(prefix ?? Defaults.prefix)
        var source = ConfigurationSource(.file(file ?? Defaults.configuration), prefix: prefix)
        // nginx looks under the prefix alone, which without -p is rarely what whoever types a path means.
        if let file, self.prefix == nil, !FilePath.exists(source.name) {
            source.origin = .file(FilePath.absolute(file))
        }
        source.globalText = directives
        source.errorLog = ConfigurationLoader.usableErrorLog(errorLog, prefix: prefix) {
            console.write(.alert, $0)
        }
        return source
    }

    private func testConfiguration(_ source: ConfigurationSource, _ console: Console) throws {
        do throws(LoadFailure) {
            let loaded = try ConfigurationLoader().load(source)
            console.show(loaded.diagnostics)
            if !quiet { console.line("\(Product.name): the configuration file \(source.name) syntax is ok") }
            if let shortage = FileLimit.shortage(
                loaded.configuration.process, otherwise: FileLimit.current)
            {
                console.write(.warn, shortage)
            }
            let pidFile = PidFile(path: loaded.configuration.process.pidFile)
            try pidFile.test { console.write(.emerg, "\($0)") }
            try ListenerSet.test(loaded.configuration) { console.write(.emerg, $0.description) }
            if !quiet {
                console.line("\(Product.name): configuration file \(source.name) test is successful")
            }
            if dump { StandardOutput.write(ConfigurationLoader.dump(loaded.sources)) }
        } catch {
            console.show(error.diagnostics)
            console.line("\(Product.name): configuration file \(source.name) test failed")
            throw ExitCode(1)
        }
    }

    /// The configuration has to be one that could run, for any signal, as nginx wants it: certificates and the names of upstream
    /// servers count, but logs, which are the process's own affair, are not opened.
    private func send(_ signal: ProcessSignal, _ source: ConfigurationSource, _ console: Console) throws {
        do throws(LoadFailure) {
            let loaded = try ConfigurationLoader(logFiles: LogFiles(inMemory: ())).load(source)
            console.show(loaded.diagnostics)
            if signal.send(toProcessOf: loaded.configuration.process.pidFile, console) { return }
            throw LoadFailure.told
        } catch {
            console.show(error.diagnostics)
            throw ExitCode(1)
        }
    }
}

extension ProcessSignal: ExpressibleByArgument {}
