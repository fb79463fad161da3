internal import ArgumentParser
internal import Glibc
internal import LuaHooks
internal import ProxyServer
internal import ScriptTesting

struct TestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Runs tests of scripts, against the proxy itself on a network in memory.",
        discussion:
            "Ends with 0 when all pass, 1 when one fails, or there is none to run, 2 when a file cannot be used."
    )

    @Argument(help: ArgumentHelp("Files of tests, by custom NAME_test.lua.", valueName: "file"))
    var files: [String]

    @Option(help: ArgumentHelp("Only tests in whose \"file: name\" this is found.", valueName: "text"))
    var filter: String?

    func run() throws {
        let start = ContinuousClock.now
        var run = ScriptTestRun(filter: filter) { StandardOutput.line($0) }
        for file in files { run.run(file: file) }
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        StandardOutput.line("\(run.summary) in \(milliseconds) ms")
        if run.exitCode != 0 { throw ExitCode(run.exitCode) }
    }
}

struct LuaTypesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lua-types",
        abstract: "Writes annotations of the Lua API, by which editors complete and check scripts.")

    @Option(help: ArgumentHelp("Where to write them; standard output unless given.", valueName: "file"))
    var output: String?

    func run() throws {
        let text = LuaAPI.typesFile()
        guard let output else { return StandardOutput.write(Array(text.utf8)) }
        try OutputFile.write(text, to: output, mayReplace: true)
    }
}

struct LuaReferenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lua-reference", abstract: "Prints the reference of the Lua API, in Markdown.")

    func run() { StandardOutput.write(Array(LuaAPI.reference().utf8)) }
}

struct NewCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new", abstract: "Writes a starting point.", subcommands: [NewPluginCommand.self])
}

struct NewPluginCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin", abstract: "Writes NAME.lua, a plugin, and NAME_test.lua, its test.")

    @Argument(help: "The plugin's name, perhaps with a directory in front of it.")
    var name: String

    /// Without a directory.
    private var base: String { name.split(separator: "/").last.map(String.init) ?? "" }

    func validate() throws {
        let isPlain = base.utf8.allSatisfy { byte in
            byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || (48...57).contains(byte)
                || (97...122).contains(byte | 32)
        }
        guard !base.isEmpty, isPlain, !name.hasSuffix("/") else {
            throw ValidationError("invalid name \"\(name)\": letters, digits, - and _ make one")
        }
    }

    func run() throws {
        let files = [
            (path: name + ".lua", text: PluginTemplate.plugin(base)),
            (path: name + "_test.lua", text: PluginTemplate.test(base)),
        ]
        // Both or none.
        for file in files where FilePath.exists(file.path) { throw OutputFile.failed(file.path, EEXIST) }
        for file in files {
            try OutputFile.write(file.text, to: file.path, mayReplace: false)
            StandardOutput.line("wrote \(file.path)")
        }
        StandardOutput.line("run its test: switchyard test \(files[1].path)")
    }
}

/// A file that a command writes.
private enum OutputFile {
    static func write(_ text: String, to path: String, mayReplace: Bool) throws {
        // `x` is glibc's for O_EXCL. The stream is closed before this returns, and the text alive while it is written.
        guard let file = unsafe fopen(path, mayReplace ? "we" : "wxe") else { throw failed(path, errno) }
        let isWritten = unsafe fputs(text, file) >= 0
        guard unsafe fclose(file) == 0, isWritten else { throw failed(path, errno) }
    }

    static func failed(_ path: String, _ code: Int32) -> any Error {
        Console().line(
            "\(path): \(unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)")")
        return ExitCode(1)
    }
}
