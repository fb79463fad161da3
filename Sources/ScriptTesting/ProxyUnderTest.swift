internal import Config
package import EventLoop
internal import ProxyCore
package import ProxyServer

/// A whole proxy, as one worker runs it, on a network in memory and a clock that moves when it is told to.
///
/// Nothing in it is a stand-in but the network, the clocks and the logs: a test is the clients and the backends, and
/// what it sees is what they would. Nothing happens but in `run` and `advance`, and a run is the same each time.
///
/// Confined to the thread that made it.
package final class ProxyUnderTest {
    package struct Options: Sendable {
        /// Stands for the configuration's file in messages.
        package var name = "nginx.conf"
        /// The directory under which relative paths of the configuration are.
        package var prefix = "/"
        /// How many bytes a connection takes from the proxy while its peer does not read.
        package var bufferSize = 64 * 1024
        /// What names mean, to the configuration and to its `resolver`.
        package var names: [String: [SocketAddress]] = [:]
        /// What names mean that are not among `names`; nothing unless given.
        package var otherNames: (@Sendable (String) -> [SocketAddress])?
        /// Milliseconds since 1970 at the start; a time in 2023 unless given.
        package var unixTime: Int64?
        /// What chance begins with.
        package var seed: UInt64 = 1
        /// What loading the configuration asks the machine.
        package var machine = ConfigurationLoader.Machine.this

        package init() {}
    }

    package let network: MemoryNetwork
    package let clock: FakeClock
    package let loop: EventLoop
    private let options: Options
    let worker: Worker
    private let registry = ProcessRegistry()
    private let logFiles = LogFiles(inMemory: ())
    private var generation: Generation
    /// What the worker listens on, by the socket's key.
    private var bound: Set<String> = []
    /// In `run` or `advance`.
    private(set) var isRunning = false

    /// Loads the configuration in `text` and listens where it says.
    ///
    /// - Throws: `LoadFailure`, with what is wrong with the configuration.
    package convenience init(_ text: String, options: Options = Options()) throws {
        try self.init(
            Self.load(.text(text, name: options.name), options, LogFiles(inMemory: ())), options: options)
        begin()
    }

    /// For what `load` has made, perhaps not for the first time. Nothing runs before `begin`.
    init(_ loaded: LoadedConfiguration, options: Options = Options()) throws {
        self.options = options
        network = MemoryNetwork(bufferSize: options.bufferSize)
        network.names = options.names
        network.otherNames = options.otherNames
        clock = options.unixTime.map { FakeClock(unix: $0) } ?? FakeClock()
        loop = EventLoop(network: network, clock: clock)
        generation = loaded.with(logFiles: logFiles).generation(number: 1, registry: registry)
        worker = Worker(
            generation: generation, statistics: registry.addWorker(), loop: loop,
            seed: options.seed)
        registry.take(generation)
        registry.generationRuns(generation.number, isReload: false)
        try listen()
    }

    /// Runs `init` hooks, and accepts connections. Once.
    func begin() {
        happen {
            worker.begin()
            return loop.runUntilIdle()
        }
    }

    deinit { end() }

    /// Loads a configuration, for any number of proxies.
    static func load(
        _ origin: ConfigurationSource.Origin, _ options: Options, _ logFiles: LogFiles
    ) throws(LoadFailure) -> LoadedConfiguration {
        let names = options.names
        let otherNames = options.otherNames
        let loader = ConfigurationLoader(logFiles: logFiles, machine: options.machine) {
            name, port throws(NameResolver.Failure) in
            let name = name.lowercased()
            guard let addresses = names[name] ?? otherNames?(name) else { throw .notFound }
            return addresses.map { $0.with(port: port) }
        }
        var source = ConfigurationSource(origin, prefix: options.prefix)
        source.errorLog = .standardError
        return try loader.load(source)
    }

    private func listen() throws {
        let sockets = ListenPlan(generation.configuration.listeners).sockets
        // As a process does: those that stay are kept, and those that go are closed by the worker.
        let assigned = try sockets.map { socket in
            AssignedListener(
                key: socket.name,
                descriptor: bound.contains(socket.name) ? nil : try network.listen(on: socket.address),
                isOwn: false, targets: socket.targets)
        }
        bound = Set(sockets.map(\.name))
        try worker.adopt(generation, listeners: assigned)
    }

    // MARK: What a process is asked for

    /// Runs under another configuration from now on, as after SIGHUP. On a failure nothing has changed.
    ///
    /// - Throws: `LoadFailure`.
    package func reload(_ text: String) throws {
        do {
            generation = try Self.load(.text(text, name: options.name), options, logFiles)
                .generation(number: generation.number + 1, registry: registry)
        } catch {
            registry.reloadFailed()
            throw error
        }
        try listen()
        registry.take(generation)
        registry.generationRuns(generation.number, isReload: true)
        run()
    }

    /// Stops listening and lets what is under way come to its end, as after SIGQUIT.
    package func drain() {
        let limit = generation.configuration.process.workerShutdownTimeout
        worker.drain(endsTunnels: true, within: limit)
        run()
    }

    /// Closes everything, and has peers hear of it. Safe to call again.
    package func end() {
        worker.end()
        loop.forEachChannel { $0.close() }
        run()
    }

    // MARK: Peers

    /// Answers what scripts fetch, or leaves it to the network with `nil`.
    var fetchAnswer: ((FetchRequest) -> Result<FetchResponse, FetchFailure>?)? {
        get { worker.fetchAnswer }
        set { worker.fetchAnswer = newValue }
    }

    /// What the TLS of a client has come to, by its address; without, listeners with `ssl` speak plain HTTP.
    var clientTLS: ((SocketAddress) -> (any ClientTLS)?)? {
        get { worker.clientTLS }
        set { worker.clientTLS = newValue }
    }

    /// A client that has connected to a port of 127.0.0.1.
    ///
    /// - Throws: `SystemError` where the proxy does not listen.
    package func connect(port: UInt16 = 80) throws -> MemoryPeer {
        try connect(to: .ipv4(0x7F00_0001, port: port))
    }

    package func connect(to address: SocketAddress, from client: SocketAddress? = nil) throws -> MemoryPeer {
        let peer = try network.connect(to: address, from: client)
        run()
        return peer
    }

    /// Takes connections of the proxy to `address`; to wherever nobody else is when it is `nil`.
    package func backend(at address: SocketAddress? = nil) -> MemoryBackend { network.backend(at: address) }

    // MARK: Time

    /// Lets everything happen that can without time passing; false when there is no end to it.
    /// Does nothing where it is called from within itself: what was begun there happens in the run that is on its way.
    @discardableResult
    package func run() -> Bool {
        guard !isRunning else { return true }
        return happen { loop.runUntilIdle() }
    }

    @discardableResult
    private func happen(_ body: () -> Bool) -> Bool {
        isRunning = true
        defer { isRunning = false }
        return body()
    }

    /// Lets time pass: what comes due on the way happens in order, each at its own time. Not to be called from within a
    /// run.
    ///
    /// - Parameters:
    ///   - milliseconds: how much passes.
    ///   - isOver: asked before each thing that comes due; no more does once it says so.
    /// - Returns: false where there is no end to what happens at one time.
    @discardableResult
    package func advance(byMilliseconds milliseconds: Int64, until isOver: () -> Bool = { false }) -> Bool {
        precondition(!isRunning, "no time passes within a moment")
        return happen { loop.advance(by: milliseconds, until: isOver) }
    }

    // MARK: Logs

    /// Lines of the error log since the last call, whichever file the configuration has them go to.
    package func takeErrors() -> [ErrorLine] {
        var errors: [ErrorLine] = []
        for text in Self.lines(logFiles.standardError) {
            let line = ErrorLine(text)
            // A message of several lines, such as a traceback.
            if line.level.isEmpty, let last = errors.popLast() {
                errors.append(last.continued(by: text))
            } else {
                errors.append(line)
            }
        }
        return errors
    }

    /// Lines written to the log at `path` since the last call; of standard output without a path.
    package func takeLog(_ path: String? = nil) -> [String] {
        worker.flushLogs()
        guard let path else { return Self.lines(logFiles.standardOutput) }
        return (try? logFiles.open(path)).map(Self.lines) ?? []
    }

    private static func lines(_ file: LogFile) -> [String] {
        file.takeContents().split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// A line of the error log, without the time and the numbers of process and thread, which differ each time.
package struct ErrorLine: Equatable, Sendable, CustomStringConvertible {
    /// As `error_log` names it; empty for a line that is not of the usual form.
    package let level: String
    /// The serial number of the connection it speaks of, if any, is left out too.
    package let message: String

    /// From a whole line: `2026/11/23 21:59:44 [error] 812#814: *3 message`. What goes on with the message of the line
    /// before is indented, whatever it looks like.
    package init(_ line: String) {
        let parts = line.split(separator: " ", maxSplits: 4)
        guard !line.hasPrefix("\t"), parts.count == 5, parts[2].hasPrefix("["), parts[2].hasSuffix("]"),
            parts[3].hasSuffix(":")
        else {
            level = ""
            message = line
            return
        }
        level = String(parts[2].dropFirst().dropLast())
        let rest = parts[4]
        let isOfConnection = rest.hasPrefix("*")
        message = String(isOfConnection ? rest.drop { $0 != " " }.dropFirst() : rest)
    }

    private init(level: String, message: String) {
        self.level = level
        self.message = message
    }

    func continued(by text: String) -> ErrorLine {
        ErrorLine(level: level, message: message + "\n" + text)
    }

    package var description: String { "[\(level)] \(message)" }
}
