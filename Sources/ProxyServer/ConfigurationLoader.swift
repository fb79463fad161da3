package import Config
package import EventLoop
internal import Glibc
package import ProxyCore

/// What the command line says about the configuration, and so what each reload reads again.
package struct ConfigurationSource: Sendable {
    package enum Origin: Sendable, Hashable {
        /// A file; relative paths are under the prefix.
        case file(String)
        /// A text that is in no file, with what stands for its file's name in messages.
        case text(String, name: String)
    }

    package var origin: Origin
    /// The directory under which relative paths are.
    package var prefix: String
    /// Directives of the main context from the command line.
    package var globalText: String?
    /// Where errors go without an `error_log`; `nil` means `logs/error.log` under the prefix.
    package var errorLog: ErrorLog.Destination?
    /// Which option of the command line stands behind a line of a text: it is named in place of the line, which nobody wrote.
    package var options: [Int: String] = [:]

    package init(_ origin: Origin, prefix: String) {
        self.origin = origin
        self.prefix = prefix
    }

    /// As messages name it: a file's full path.
    package var name: String {
        switch origin {
        case .file(let path): path.hasPrefix("/") ? path : prefix + (prefix.hasSuffix("/") ? "" : "/") + path
        case .text(_, let name): name
        }
    }

    /// A diagnostic as whoever gave the source understands it.
    fileprivate func explained(_ diagnostic: ConfigDiagnostic) -> ConfigDiagnostic {
        var diagnostic = diagnostic
        // A fault in a script has its own place, and says at its end who loads it.
        for (line, option) in options {
            let place = ", loaded at \(name):\(line)"
            guard diagnostic.message.hasSuffix(place) else { continue }
            diagnostic.message = diagnostic.message.dropLast(place.count) + ", loaded by \(option)"
        }
        guard let position = diagnostic.position, position.file == name, let option = options[position.line]
        else {
            return diagnostic
        }
        return ConfigDiagnostic(
            severity: diagnostic.severity, position: nil, message: "\(option): \(diagnostic.message)")
    }
}

/// Why a configuration cannot run.
package struct LoadFailure: Error, Sendable {
    /// Warnings included, in the order of the text.
    package let diagnostics: [ConfigDiagnostic]
    package let sources: [SourceFile]

    /// Whoever failed has said why.
    package static let told = LoadFailure(diagnostics: [], sources: [])
}

/// Makes configurations that are ready to run. It may block, so only the control thread uses it.
package struct ConfigurationLoader: Sendable {
    package typealias Resolve =
        @Sendable (
            _ name: String, _ port: UInt16
        ) throws(NameResolver.Failure) -> [SocketAddress]

    private let logFiles: LogFiles
    private let resolve: Resolve
    private let tls: TLSCommons
    private let machine: Machine

    /// What is asked of the machine besides names of upstream servers.
    package struct Machine: Sendable {
        /// Where configurations, and certificates and keys that they name, are read.
        package var files: ConfigurationFiles
        package var environment:
            @Sendable (_ prefix: String, _ builtins: Set<String>) -> CompilationEnvironment
        package var scripts: ScriptProbe

        package init(
            files: ConfigurationFiles = .disk,
            environment:
                @escaping @Sendable (_ prefix: String, _ builtins: Set<String>) ->
                CompilationEnvironment = { .ofThisMachine(prefix: $0, builtinVariables: $1) },
            scripts: ScriptProbe = .interpreter
        ) {
            self.files = files
            self.environment = environment
            self.scripts = scripts
        }

        package static let this = Machine()
    }

    /// - Parameters:
    ///   - logFiles: files that are open already are shared with what runs.
    ///   - tls: what of TLS outlives a configuration.
    ///   - machine: this one, unless given.
    ///   - resolve: turns the names of upstream servers into addresses; the system's resolver unless given.
    package init(
        logFiles: LogFiles = LogFiles(), tls: TLSCommons = TLSCommons(), machine: Machine = .this,
        resolve: @escaping Resolve = ConfigurationLoader.systemResolve
    ) {
        self.logFiles = logFiles
        self.resolve = resolve
        self.tls = tls
        self.machine = machine
    }

    package static let systemResolve: Resolve = { name, port throws(NameResolver.Failure) in
        try NameResolver.resolveBlocking(name, port: port, options: NameResolver.Options())
    }

    package func load(_ source: ConfigurationSource) throws(LoadFailure) -> LoadedConfiguration {
        let recipe = ConfigurationRecipe(source, machine)
        let compiled = recipe.compile()
        var diagnostics = compiled.diagnostics
        guard let configuration = compiled.configuration else {
            throw LoadFailure(diagnostics: diagnostics.map(source.explained), sources: compiled.sources)
        }
        do throws(ScriptFault) {
            try machine.scripts.trial(configuration)
        } catch {
            diagnostics.append(Self.diagnostic(error))
        }
        let addresses = resolveUpstreams(of: configuration, &diagnostics)
        let setup = TLSLoader.load(configuration, tls, TLSFiles(machine.files), logFiles, &diagnostics)
        var logPaths = LogSurvey(configuration).paths
        openLogs(logPaths, prefix: source.prefix, &diagnostics)
        logPaths.formUnion(setup.keyLogs)
        diagnostics = diagnostics.map(source.explained)
        guard !diagnostics.contains(where: { $0.severity == .error }) else {
            throw LoadFailure(diagnostics: diagnostics, sources: compiled.sources)
        }
        return LoadedConfiguration(
            configuration: configuration, addresses: addresses, tls: setup, logFiles: logFiles,
            diagnostics: diagnostics, sources: compiled.sources, logPaths: logPaths, recipe: recipe)
    }

    private func resolveUpstreams(
        of configuration: Configuration, _ diagnostics: inout [ConfigDiagnostic]
    ) -> [[[PeerAddress]]] {
        var known: [UpstreamEndpoint: [PeerAddress]] = [:]
        var result: [[[PeerAddress]]] = []
        for group in configuration.upstreams {
            var servers: [[PeerAddress]] = []
            for server in group.servers {
                if server.isFollowed {
                    servers.append([])
                    continue
                }
                if let addresses = known[server.endpoint] {
                    servers.append(addresses)
                    continue
                }
                do throws(NameResolver.Failure) {
                    let addresses = try resolved(server.endpoint)
                    known[server.endpoint] = addresses
                    servers.append(addresses)
                } catch {
                    known[server.endpoint] = []
                    var fault = Self.notFound(server, error)
                    if group.isImplicit, let near = Self.block(like: server, in: configuration) {
                        fault.message += ", did you mean the upstream \"\(near)\"?"
                    }
                    diagnostics.append(fault)
                    servers.append([])
                }
            }
            result.append(servers)
        }
        return result
    }

    /// Each of the scripts loads by itself.
    private static func diagnostic(_ fault: ScriptFault) -> ConfigDiagnostic {
        let position = fault.file.map {
            SourcePosition(file: $0, line: fault.line ?? 1, column: 0, order: .max)
        }
        return ConfigDiagnostic(
            position: position,
            message: "all scripts together, beside what runs: \(fault.message)")
    }

    private static func notFound(
        _ server: UpstreamServer, _ failure: NameResolver.Failure
    ) -> ConfigDiagnostic {
        let name =
            switch server.endpoint {
            case .host(let host, let port): "\(host):\(port)"
            case .unix(let path): "unix:\(path)"
            }
        let reason = failure == .notFound ? "" : " (\(failure.reason))"
        return ConfigDiagnostic(
            position: server.position, message: "host not found in upstream \"\(name)\"\(reason)")
    }

    /// The name of the `upstream` block that a `proxy_pass` was probably meant to name.
    private static func block(like server: UpstreamServer, in configuration: Configuration) -> String? {
        guard case .host(let host, _) = server.endpoint else { return nil }
        let blocks = configuration.upstreams.filter { !$0.isImplicit }
        return Spelling.nearest(to: host, among: blocks.map { String(decoding: $0.name, as: UTF8.self) })
    }

    private func resolved(_ endpoint: UpstreamEndpoint) throws(NameResolver.Failure) -> [PeerAddress] {
        switch endpoint {
        case .unix(let path): return [PeerAddress(.unix(path: Array(path.utf8)))]
        case .host(let host, let port):
            if let numeric = PeerAddress(numericHost: Array(host.utf8), port: port) { return [numeric] }
            return try resolve(host, port).map { PeerAddress($0) }
        }
    }

    private func openLogs(_ paths: Set<String>, prefix: String, _ diagnostics: inout [ConfigDiagnostic]) {
        // The log of a configuration that speaks of none: where there is no directory for it, it is not kept.
        let unasked = ConfigurationSource(.file("logs/access.log"), prefix: prefix).name
        for path in paths.sorted() {
            do throws(SystemError) {
                _ = try logFiles.open(path)
            } catch {
                let reason = "\(error)"
                diagnostics.append(
                    path == unasked
                        ? ConfigDiagnostic(
                            severity: .warning, position: nil, message: "no access log is kept: " + reason)
                        : ConfigDiagnostic(position: nil, message: reason))
            }
        }
    }
}

extension PeerAddress {
    package init(_ address: SocketAddress) {
        switch address {
        case .ipv4(let value, let port): self.init(Endpoint.ipv4(value, port: port))
        case .ipv6(let bytes, let port): self.init(Endpoint.ipv6(bytes, port: port))
        case .unix(let path): self.init(Endpoint.unix(path: Array(path.utf8)))
        }
    }
}

extension ProcessRegistry {
    /// For `stub_status` and its variables.
    package var connectionCounts: ConnectionCounts {
        var counts = ConnectionCounts()
        for worker in workers {
            counts.active += worker.active.value
            counts.accepted += worker.accepted.value
            counts.requests += worker.requests.value
            counts.reading += worker.reading.value
            counts.writing += worker.writing.value
        }
        let furtherStreams = workers.reduce(0) { $0 + $1.furtherStreams.value }
        // Nothing that was accepted is dropped for a limit without being handled.
        counts.handled = counts.accepted
        counts.waiting = max(0, counts.active + furtherStreams - counts.reading - counts.writing)
        return counts
    }
}

extension ConfigurationLoader {
    /// Where errors go without an `error_log`: the file, or standard error when it cannot be opened.
    ///
    /// `path` is what `-e` says, relative to the prefix, or `stderr`; `nil` stands for `logs/error.log`. `report`
    /// is told of a file that cannot be opened, but not of a missing one that nobody asked for.
    package static func usableErrorLog(
        _ path: String?, prefix: String, report: (String) -> Void
    ) -> ErrorLog.Destination {
        guard path != "stderr" else { return .standardError }
        let isAskedFor = path != nil
        let path = ConfigurationSource(.file(path ?? "logs/error.log"), prefix: prefix).name
        do throws(SystemError) {
            _ = try LogFile(path: path)
            return .file(path)
        } catch {
            if isAskedFor || error.code != ENOENT {
                report("could not open error log file: \(error)")
            }
            return .standardError
        }
    }

    /// What `-T` prints.
    package static func dump(_ sources: [SourceFile]) -> [UInt8] {
        sources.flatMap { Array("# configuration file \($0.path):\n".utf8) + $0.bytes + [UInt8(ascii: "\n")] }
    }
}
