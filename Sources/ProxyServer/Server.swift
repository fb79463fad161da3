internal import CSwitchyard
internal import Config
internal import EventLoop
internal import Glibc
internal import ProxyCore

/// The process: its configuration, its sockets, its workers, and what signals ask of it.
///
/// Lives on the main thread, which runs a loop of its own and carries no traffic.
package final class Server {
    package struct Options: Sendable {
        package var source: ConfigurationSource
        /// The quick mode: it is not run by `-s`, and what its configuration says nobody wrote.
        package var isQuick = false
        /// Files whose changes, or those of other scripts beside them, reload the configuration.
        package var watchedFiles: [String] = []
        /// Where messages go that no error log takes: standard error.
        package var console = Console()

        package init(source: ConfigurationSource) { self.source = source }
    }

    private enum Phase: Equatable {
        case running
        /// Workers end by themselves when their exchanges have.
        case draining
        case stopped
    }

    private let options: Options
    private let logFiles = LogFiles()
    private let tls = TLSCommons()
    private let listeners = ListenerSet()
    private let registry = ProcessRegistry()
    private var phase = Phase.running
    /// Nobody reads standard error.
    private var isDaemon = false
    /// What the process started with, some of which no reload changes.
    private let initialSettings: ProcessSettings
    private let fileLimits = FileLimits()
    private var pidFile: PidFile? { didSet { endingSignals?.keep(pidFile) } }
    private var generation: Generation
    /// What workers are to take over, until it is said that all have.
    private var coming: Coming?
    /// Files that `generation` writes.
    private var logPaths: Set<String>
    /// Files that the configuration writes which workers have taken over, or are still under.
    private var formerLogPaths: Set<String> = []
    private let loop: EventLoop
    /// Those that do not end the process at once.
    private static let signals = SignalSet([SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH])
    private var signalChannel: SignalChannel?
    private var endingSignals: EndingSignals?
    private var timeouts: ShutdownTimeouts?
    private var watch: ScriptWatch?
    private let heap: HeapTrimmer
    /// By index; those that ended or were told to are in `leaving`.
    private var workers: [WorkerThread] = []
    private var leaving: [WorkerThread] = []

    /// Loads the configuration, binds its sockets, and goes to the background if it says so: what is to fail
    /// fails here, and is told to the console.
    ///
    /// - Throws: a failure that has been told already.
    package init(_ options: Options) throws(StartFailure) {
        self.options = options
        let loaded = try Self.load(options, logFiles, tls)
        let process = loaded.configuration.process
        // Whoever can connect can tell it to reload.
        Self.signals.block()
        let sockets = try Self.bind(loaded.configuration, listeners, options.console)
        listeners.commit(sockets)
        listeners.settle(on: sockets)
        initialSettings = process
        let readiness: Int32?
        do throws(SystemError) {
            readiness = try Self.settle(process)
            loop = try EventLoop(scratchSize: 4096)
        } catch {
            throw options.console.failure("\(error)")
        }
        heap = HeapTrimmer(loop: loop)
        generation = loaded.generation(number: 1, registry: registry)
        logPaths = loaded.logPaths
        formerLogPaths = logPaths
        do throws(SystemError) {
            reportShortage(process)
            pidFile = try options.isQuick ? nil : Self.writePidFile(process)
            // Before the identity is given up, and before any thread starts.
            limitFiles(process)
            try Self.takeIdentity(process)
            try takeSignals()
            timeouts = ShutdownTimeouts(loop: loop)
            takeLeftovers()
            try watchScripts()
            try startWorkers(loaded, sockets)
        } catch {
            generation.errorLogger.log(.emerg, "\(error)")
            let failure = options.console.failure("\(error)")
            finish(exitStatus: 1)
            throw failure
        }
        registry.take(generation)
        registry.generationRuns(generation.number, isReload: false)
        generation.errorLogger.log(.notice, "\(Product.name)/\(Product.version)")
        generation.errorLogger.log(.notice, "start \(workers.count) worker threads")
        // Whoever started a daemon may wait for the end of its output.
        isDaemon = process.daemon
        if isDaemon { generation.errorLogger.takeOverStandardError() }
        if let readiness { sy_daemon_ready(readiness) }
    }

    /// What the process listens on, with the ports that the system chose.
    package var listening: [(name: String, port: UInt16)] {
        listeners.localAddresses.map { ($0.description, $0.port) }
    }

    /// Serves until a signal ends the process.
    package func run() {
        loop.run()
        finish(exitStatus: 0)
    }

    // MARK: Starting

    private static func load(
        _ options: Options, _ logFiles: LogFiles, _ tls: TLSCommons
    ) throws(StartFailure) -> LoadedConfiguration {
        do throws(LoadFailure) {
            let loaded = try ConfigurationLoader(logFiles: logFiles, tls: tls).load(options.source)
            options.console.show(loaded.diagnostics)
            return loaded
        } catch {
            options.console.show(error.diagnostics)
            throw StartFailure()
        }
    }

    private static func bind(
        _ configuration: Configuration, _ listeners: ListenerSet, _ console: Console
    ) throws(StartFailure) -> ListenerSet.Prepared {
        do throws(ListenerSet.Failure) {
            return try listeners.prepare(configuration, workerCount: workerCount(configuration.process)) {
                console.write(.emerg, $0.description)
            }
        } catch {
            if error.error.code == EADDRINUSE { throw console.failure("still could not bind()") }
            throw StartFailure()
        }
    }

    /// - Returns: for a daemon, what `sy_daemon_ready` takes.
    private static func settle(_ process: ProcessSettings) throws(SystemError) -> Int32? {
        Threads.ignoreBrokenPipes()
        guard process.daemon else { return nil }
        let readiness = sy_daemonize()
        guard readiness >= 0 else { throw SystemError("daemon") }
        return readiness
    }

    private static func writePidFile(_ process: ProcessSettings) throws(SystemError) -> PidFile {
        let file = PidFile(path: process.pidFile)
        try file.write()
        return file
    }

    private static func takeIdentity(_ process: ProcessSettings) throws(SystemError) {
        guard let user = process.user else { return }
        // Both are passed as C strings for the length of the call.
        guard unsafe sy_take_identity(user, process.group) == 0 else {
            throw SystemError("setuid", on: user)
        }
    }

    private func takeSignals() throws(SystemError) {
        let channel = try SignalChannel(
            loop: loop, signals: Self.signals
        ) { [unowned self] signal in received(signal) }
        try channel.register()
        signalChannel = channel
        let reference = ServerReference(self)
        let poster = loop.poster
        let ending = try EndingSignals(SignalSet([SIGTERM, SIGINT]), grace: Self.graceOfProcess) { signal in
            poster.post { reference.server?.received(signal) }
        }
        ending.keep(pidFile)
        endingSignals = ending
    }

    private func reportShortage(_ process: ProcessSettings) {
        guard !options.isQuick, let shortage = FileLimit.shortage(process, otherwise: fileLimits.initial)
        else {
            return
        }
        report(.warn, shortage)
    }

    private func limitFiles(_ process: ProcessSettings) {
        do throws(SystemError) {
            try fileLimits.set(for: process)
        } catch {
            report(.alert, "\(error), worker_rlimit_nofile \(fileLimits.wanted)")
        }
    }

    /// Says which directives are not what the process started with, of those that only count then.
    private func reportUnchangeable(_ process: ProcessSettings) {
        let former = initialSettings
        let changed = [
            ("user", process.user != former.user || process.group != former.group),
            ("daemon", process.daemon != former.daemon),
        ]
        for (name, isChanged) in changed where isChanged {
            report(.warn, "the \"\(name)\" directive has changed, which takes a restart: ignored")
        }
    }

    static func workerCount(_ process: ProcessSettings) -> Int {
        process.workerProcesses ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }

    /// Starts those that are missing, all of them at once: each makes its copy of the configuration by itself.
    private func startWorkers(
        _ loaded: LoadedConfiguration, _ sockets: ListenerSet.Prepared
    ) throws(SystemError) {
        var starting: [WorkerThread.Start] = []
        var failure: SystemError?
        let count = Self.workerCount(loaded.configuration.process)
        do throws(SystemError) {
            for index in workers.count..<max(workers.count, count) {
                starting.append(try startWorker(index, loaded, sockets))
            }
        } catch {
            failure = error
        }
        for start in starting {
            do throws(SystemError) {
                let worker = try start.wait()
                // One whose number would not be its position does without having begun.
                if failure == nil { workers.append(worker) } else { giveUp(worker) }
            } catch {
                listeners.forget(worker: start.index)
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    private func startWorker(
        _ index: Int, _ loaded: LoadedConfiguration, _ sockets: ListenerSet.Prepared
    ) throws(SystemError) -> WorkerThread.Start {
        let reference = ServerReference(self)
        let poster = loop.poster
        let generation = generation
        let assigned = try listeners.assignments(sockets, worker: index)
        do throws(SystemError) {
            return try WorkerThread.Start(
                index: index, listeners: assigned,
                generation: { index == 0 ? generation : loaded.copy(of: generation) },
                ended: { poster.post { reference.server?.workerEnded() } })
        } catch {
            listeners.forget(worker: index)
            throw error
        }
    }

    private func giveUp(_ worker: WorkerThread) {
        listeners.forget(worker: worker.index)
        leaving.append(worker)
        worker.drain(endsTunnels: true, within: nil)
    }

    // MARK: Signals

    fileprivate func received(_ signal: Int32) {
        let log = generation.errorLogger
        switch signal {
        case SIGTERM, SIGINT:
            let name = signal == SIGTERM ? "SIGTERM" : "SIGINT"
            log.log(.notice, "signal \(signal) (\(name)) received, exiting")
            stop()
        case SIGQUIT:
            log.log(.notice, "signal \(signal) (SIGQUIT) received, shutting down")
            drain()
        case SIGHUP:
            log.log(.notice, "signal \(signal) (SIGHUP) received, reconfiguring")
            if phase == .running { reload() }
        case SIGUSR1:
            log.log(.notice, "signal \(signal) (SIGUSR1) received, reopening logs")
            reopenLogs(onlyMoved: false)
        case SIGUSR2: log.log(.notice, "signal \(signal) (SIGUSR2) received, ignored")
        default: log.log(.notice, "signal \(signal) (SIGWINCH) received, ignored")
        }
    }

    private func stop() {
        guard phase != .stopped else { return }
        phase = .stopped
        for worker in workers + leaving { worker.stop() }
        loop.stop()
    }

    private func drain() {
        guard phase == .running else { return }
        phase = .draining
        generation.errorLogger.log(.notice, "gracefully shutting down")
        listeners.closeAll()
        leaving += workers
        workers = []
        let limit = generation.configuration.process.workerShutdownTimeout
        for worker in leaving { worker.drain(endsTunnels: true, within: limit) }
        if let time = limit {
            timeouts?.after(milliseconds: time) { [unowned self] in stop() }
        }
    }

    /// What workers have no use for any more is taken apart here, where nobody waits for it.
    private func takeLeftovers() {
        let reference = ServerReference(self)
        let poster = loop.poster
        registry.dismantle { leftover in
            poster.post {
                leftover.drop()
                reference.server?.heap.muchWasFreed()
            }
        }
    }

    /// Called once for each worker thread that ended.
    fileprivate func workerEnded() {
        leaving.removeAll { worker in
            guard worker.hasEnded else { return false }
            worker.join()
            heap.muchWasFreed()
            return true
        }
        if phase == .draining, leaving.isEmpty {
            phase = .stopped
            loop.stop()
        }
    }

    /// Reopens log files, or those that were moved, once the workers have written what they hold back: lines from before
    /// stay with those from before.
    private func reopenLogs(onlyMoved: Bool) {
        let reference = ServerReference(self)
        let poster = loop.poster
        let notice = LogsFlushed { poster.post { reference.server?.logsFlushed(onlyMoved: onlyMoved) } }
        for worker in workers + leaving { worker.flushLogs(notice) }
    }

    private func logsFlushed(onlyMoved: Bool) {
        let log = generation.errorLogger
        if !onlyMoved { log.log(.notice, "reopening logs") }
        fileLimits.lifted {
            for error in logFiles.reopen(onlyMoved: onlyMoved) { log.log(.emerg, "\(error)") }
        }
        if isDaemon { log.takeOverStandardError() }
    }

    // MARK: Reloading

    private func watchScripts() throws(SystemError) {
        guard !options.watchedFiles.isEmpty else { return }
        watch = try ScriptWatch(options.watchedFiles, loop: loop) { [unowned self] in
            generation.errorLogger.log(.notice, "scripts changed, reconfiguring")
            if phase == .running { reload() }
        }
    }

    /// Loads the configuration anew and has everything run under it; on any failure nothing has changed.
    private func reload() { fileLimits.lifted { takeUpConfiguration() } }

    private func takeUpConfiguration() {
        let log = generation.errorLogger
        log.log(.notice, "reconfiguring")
        let loaded: LoadedConfiguration
        let sockets: ListenerSet.Prepared
        do throws(LoadFailure) {
            let machine = ConfigurationLoader.Machine(scripts: .interpreter(besides: registry.scripts))
            loaded = try ConfigurationLoader(logFiles: logFiles, tls: tls, machine: machine)
                .load(options.source)
            report(loaded.diagnostics)
        } catch {
            report(error.diagnostics)
            if !options.watchedFiles.isEmpty { showSources(of: error.diagnostics) }
            return reloadFailed()
        }
        let process = loaded.configuration.process
        let moved: PidFile?
        do throws(SystemError) {
            moved = try movedPidFile(process)
        } catch {
            report(.emerg, error.description)
            return reloadFailed()
        }
        do throws(ListenerSet.Failure) {
            let count = Self.workerCount(process)
            sockets = try listeners.prepare(loaded.configuration, workerCount: count) { failure in
                report(.emerg, failure.description)
            }
        } catch {
            if error.error.code == EADDRINUSE { report(.emerg, "still could not bind()") }
            if let moved { try? moved.remove() }
            return reloadFailed()
        }
        if let moved { replacePidFile(by: moved) }
        listeners.commit(sockets)
        take(loaded, sockets)
    }

    /// Closes the logs that the new configuration alone has.
    private func reloadFailed() {
        closeUnusedLogs()
        registry.reloadFailed()
        heap.muchWasFreed()
    }

    private func take(_ loaded: LoadedConfiguration, _ sockets: ListenerSet.Prepared) {
        if let coming, !noteTakeover() {
            generation.errorLogger.log(.notice, "configuration \(coming.number) is given up before it runs")
        }
        generation = loaded.generation(number: generation.number + 1, registry: registry)
        let process = loaded.configuration.process
        reportUnchangeable(process)
        reportShortage(process)
        let limit = process.workerShutdownTimeout
        let count = Self.workerCount(process)
        let dropped = Array(workers.dropFirst(count))
        for worker in dropped {
            leaving.append(worker)
            worker.drain(endsTunnels: limit != nil, within: limit)
        }
        workers = Array(workers.prefix(count))
        do throws(SystemError) {
            for (worker, generation) in zip(workers, loaded.copies(of: generation, count: workers.count)) {
                worker.adopt(generation, listeners: try listeners.assignments(sockets, worker: worker.index))
            }
            try startWorkers(loaded, sockets)
        } catch {
            // The process is out of descriptors: it goes on with the workers that it has.
            generation.errorLogger.log(.alert, "\(error) while reconfiguring")
        }
        registry.take(generation)
        logPaths = loaded.logPaths
        awaitTakeover(sockets)
        closeUnusedLogs()
        reopenLogs(onlyMoved: true)
        if let time = limit {
            let number = generation.number
            timeouts?.after(milliseconds: time) { [unowned self] in
                for worker in leaving { worker.closeGenerations(before: number) }
                // Connections that have nothing under way do not hold it up.
                for worker in dropped where !worker.hasEnded { worker.stop() }
            }
        }
        // Only once its workers run, which take files of their own.
        limitFiles(process)
    }

    private func closeUnusedLogs() { logFiles.closeUnused(keeping: logPaths.union(formerLogPaths)) }

    /// A configuration that workers are to take over once its init hooks have run. Until then they go on under the former one,
    /// with its sockets and logs.
    private struct Coming {
        var number: Int
        var outcome: TakeoverNotice.Outcome
        var sockets: ListenerSet.Prepared
        var logPaths: Set<String>
    }

    /// Has workers tell when they have taken over.
    private func awaitTakeover(_ sockets: ListenerSet.Prepared) {
        let reference = ServerReference(self)
        let poster = loop.poster
        let number = generation.number
        let outcome = TakeoverNotice.Outcome()
        coming = Coming(number: number, outcome: outcome, sockets: sockets, logPaths: logPaths)
        let notice = TakeoverNotice(
            outcome, waits: { poster.post { reference.server?.takeoverWaits(number) } },
            done: { poster.post { reference.server?.tookOver(number) } })
        for worker in workers { worker.hold(notice) }
    }

    /// A worker's init hooks have not ended at once.
    private func takeoverWaits(_ number: Int) {
        guard coming?.number == number, phase == .running, !noteTakeover() else { return }
        let requests =
            registry.isServing
            ? "requests go to configuration \(registry.reloads.generation)"
            : "and so do requests, for no configuration runs yet"
        generation.errorLogger.log(.notice, "configuration \(number) waits for its init hooks, \(requests)")
    }

    private func tookOver(_ number: Int) {
        // Another has overtaken it, or the process ends, or that has been noted already.
        guard coming?.number == number, phase == .running else { return }
        _ = noteTakeover()
    }

    /// Whether the one that comes has taken over, perhaps a moment ago, its message still on the way.
    private func noteTakeover() -> Bool {
        guard let coming, coming.outcome.isDone else { return false }
        self.coming = nil
        listeners.settle(on: coming.sockets)
        formerLogPaths = coming.logPaths
        closeUnusedLogs()
        registry.generationRuns(coming.number, isReload: true)
        generation.errorLogger.log(.notice, "configuration \(coming.number) runs")
        return true
    }

    /// Writes the file of another configuration, if that has it elsewhere.
    private func movedPidFile(_ process: ProcessSettings) throws(SystemError) -> PidFile? {
        guard let pidFile, pidFile.path != process.pidFile else { return nil }
        return try Self.writePidFile(process)
    }

    private func replacePidFile(by moved: PidFile) {
        do throws(SystemError) {
            try pidFile?.remove()
        } catch {
            generation.errorLogger.log(.alert, "\(error)")
        }
        pidFile = moved
    }

    private func report(_ diagnostics: [ConfigDiagnostic]) {
        for diagnostic in diagnostics {
            report(diagnostic.severity == .error ? .emerg : .warn, diagnostic.withoutSeverity)
        }
    }

    /// The lines that are wrong, for somebody who is writing them.
    private func showSources(of diagnostics: [ConfigDiagnostic]) {
        for diagnostic in diagnostics {
            guard let position = diagnostic.position,
                case .success(let bytes) = ConfigurationFiles.disk.read(position.file)
            else { continue }
            let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            guard lines.indices.contains(position.line - 1) else { continue }
            let line = String(decoding: lines[position.line - 1], as: UTF8.self)
            options.console.line("  \(position.file):\(position.line) | \(line)")
        }
    }

    /// To the error log that runs, and to the terminal, if there is one to look at it.
    private func report(_ level: LogLevel, _ message: String) {
        generation.errorLogger.log(level, longest: LogBounds.scriptMessage, message)
        let isLoggedThere = generation.configuration.process.errorLogs.contains {
            $0.destination == .standardError && level >= $0.level
        }
        if !isDaemon, !isLoggedThere { options.console.write(level, message) }
    }

    // MARK: Ending

    /// Milliseconds that workers have to end once they were told to: one whose call to write a log does not return never will.
    /// nginx's master process ends its workers after some three seconds.
    private static let graceOfWorkers: Int64 = 2000
    /// Seconds after SIGTERM in which the process ends in any case, even one whose main thread is held up.
    private static let graceOfProcess: UInt32 = 4

    private func finish(exitStatus: Int32) {
        for worker in workers + leaving { worker.stop() }
        let deadline = EventLoop.systemTime.monotonic + Self.graceOfWorkers
        let heldUp = (workers + leaving).filter { !$0.join(by: deadline) }
        listeners.closeAll()
        do throws(SystemError) {
            try pidFile?.remove()
        } catch {
            generation.errorLogger.log(.alert, "\(error)")
        }
        pidFile = nil
        if !heldUp.isEmpty {
            generation.errorLogger.log(
                .alert, "worker threads that are held up and left behind: \(heldUp.count)")
            generation.errorLogger.log(.notice, "exit")
            // What those threads use stays as it is: nothing of it is taken apart under them.
            _exit(exitStatus)
        }
        workers = []
        leaving = []
        signalChannel?.close()
        timeouts?.close()
        watch?.close()
        heap.close()
        loop.close()
        generation.errorLogger.log(.notice, "exit")
    }
}

/// The process cannot start, and has said why.
package struct StartFailure: Error {}

/// A reference to the server for other threads, which only hand it back to the main thread.
private final class ServerReference: @unchecked Sendable {
    // Looked at on the main thread alone.
    private(set) weak var server: Server?

    init(_ server: Server) { self.server = server }
}
