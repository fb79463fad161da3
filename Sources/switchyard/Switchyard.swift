internal import ArgumentParser
internal import Config
internal import ProxyCore
internal import ProxyServer

/// The command itself, with nginx's options; quick modes and references are subcommands.
@main
struct Switchyard: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: Product.name,
        abstract: "A reverse proxy for upgraded connections that reads nginx's configuration.",
        usage: """
            switchyard [-c file] [-p prefix] [-e file] [-g directives] [-t | -T] [-q]
            switchyard [-c file] [-p prefix] -s stop|quit|reopen|reload
            switchyard proxy --listen [address:]port --to URL
            switchyard demo [--listen [address:]port]
            switchyard test FILE… [--filter TEXT]
            switchyard new plugin NAME
            """,
        subcommands: [
            ProxyCommand.self, DemoCommand.self, EchoCommand.self, DirectivesCommand.self,
            VariablesCommand.self, TestCommand.self, NewCommand.self, LuaTypesCommand.self,
            LuaReferenceCommand.self,
        ])

    @OptionGroup var options: RunOptions

    mutating func run() throws { try options.run() }

    /// Wrong use ends with status 1, as nginx's.
    static func main() {
        StandardStreams.fill()
        do {
            var command = try parseAsRoot(NginxArguments.separated(CommandLine.arguments.dropFirst()))
            try command.run()
            if let failure = StandardOutput.failure {
                Console().line("\(Product.name): \(failure)")
                exit(withError: ExitCode(1))
            }
        } catch {
            let code = exitCode(for: error)
            guard !code.isSuccess, !(error is ExitCode) else { exit(withError: error) }
            Console().line(fullMessage(for: error))
            exit(withError: ExitCode(1))
        }
    }
}
