internal import Config
internal import EventLoop
internal import HTTP2
internal import LuaHooks
internal import ProxyCore
internal import TLS
internal import Wire

/// A generation as one worker runs it: peers with their health, connections that are kept, resolvers, logs.
final class WorkerGeneration {
    let generation: Generation
    let plans: ProxyPlanCache
    let loop: EventLoop
    private let statistics: WorkerStatistics
    private var groups: [UpstreamPeers?]
    /// Of groups whose names are followed, by the group's position.
    private var names: [Int: GroupNames] = [:]
    private var resolvers: [Resolver: NameResolver] = [:]
    private var accessLogs: [ObjectIdentifier: [AccessLogWriter]] = [:]
    private var logBuffers: [AccessLog.Destination: LogBuffer] = [:]
    private let headRules: [HeadRules]
    /// Of the configuration's zones. Made with it, so that those which limit nobody are told of as well.
    let limits: [LimitStatistics]
    /// `nil` where the configuration has no scripts.
    private(set) var scripts: WorkerScripts?
    /// `$request_body` is used somewhere, so bodies that are not too long are kept for it.
    let keepsRequestBody: Bool
    /// Some upstream chooses its servers by something of the request.
    let hasKeyedUpstreams: Bool
    private var webSocketRules: [ObjectIdentifier: WebSocketRules] = [:]
    private var headRulesOfServers: [ObjectIdentifier: HeadRules] = [:]
    /// Some access log has variables in it that are found out by following frames.
    let logsWebSockets: Bool
    /// A later generation took over: connections are not kept any more.
    private(set) var isRetired = false

    /// `former` is what this one is to take over from: names that are followed begin with the addresses that they have there.
    init(
        _ generation: Generation, loop: EventLoop, statistics: WorkerStatistics,
        former: WorkerGeneration? = nil
    ) {
        self.generation = generation
        self.loop = loop
        self.statistics = statistics
        plans = ProxyPlanCache(generation.configuration)
        keepsRequestBody = generation.configuration.variables.contains { $0.name == "request_body" }
        hasKeyedUpstreams = generation.configuration.upstreams.contains {
            PeerGroup.asksForKey($0.method)
        }
        logsWebSockets = generation.runtime.loggedVariables.contains { variable in
            VariableTable.isOfWebSockets(generation.configuration.variables[variable.index].name)
        }
        headRules = generation.configuration.listeners.map { HeadRules($0) }
        limits = generation.configuration.limitZones.map { zone in
            let isOfRequests = if case .requests = zone.kind { true } else { false }
            return statistics.limits(of: .init(limitsRequests: isOfRequests, name: zone.name))
        }
        groups = Array(repeating: nil, count: generation.configuration.upstreams.count)
        var known = FollowedAddresses()
        for names in former?.names.values ?? [:].values { names.note(in: &known) }
        for (index, group) in configuration.upstreams.enumerated()
        where group.servers.contains(where: \.isFollowed) {
            let addresses = generation.addresses[index]
            names[index] = GroupNames(peers(ofGroup: index), addresses, in: self, known: known)
        }
    }

    /// Begins to look up names that are followed. Once.
    func followNames() {
        for names in names.values { names.begin() }
    }

    /// `nil` for a group of which no name is followed.
    func names(ofGroup index: Int) -> GroupNames? { names[index] }

    /// The names that a group waits for which has no address yet; `nil` where there is nothing to wait for.
    func awaitedNames(ofGroup index: Int) -> GroupNames? {
        // Most configurations follow none, and cost no look at the table.
        guard !names.isEmpty, let names = names(ofGroup: index), names.isAwaited else { return nil }
        return names
    }

    /// Loads the configuration's scripts, if it has any.
    func loadScripts(on worker: Worker) {
        guard !configuration.scripts.isEmpty else { return }
        do throws(ScriptFault) {
            let scripts = try WorkerScripts(generation, worker: worker)
            scripts.owner = self
            self.scripts = scripts
        } catch {
            // They were loaded before, when the configuration was; what has changed since is not theirs to say.
            let place = error.file.map { "\($0):\(error.line ?? 1): " } ?? ""
            generation.errorLogger.log(
                .alert,
                "scripts could not be loaded, requests are answered with 500: \(place)\(error.message)")
        }
    }

    /// The configuration's scripts could not be loaded: without what they decide, nothing is let through.
    var lacksScripts: Bool { scripts == nil && !configuration.scripts.isEmpty }

    /// The last exchange has ended, so nobody waits for a name any more.
    deinit {
        for names in names.values { names.close() }
        scripts?.shutDown()
        for resolver in resolvers.values { resolver.close() }
        // In a later turn of the loop, when nothing of this object holds parts of it.
        guard let dismantler = generation.registry.dismantler else { return }
        let leftover = Leftover(generation)
        loop.poster.post { dismantler(leftover) }
    }

    var configuration: Configuration { generation.configuration }

    func peers(ofGroup index: Int) -> UpstreamPeers {
        if let known = groups[index] { return known }
        let group = configuration.upstreams[index]
        let peers = UpstreamPeers(
            PeerGroup(
                group, addresses: generation.addresses[index], ring: generation.rings[index],
                marks: configuration.scripts.isEmpty || group.isImplicit
                    ? nil : generation.registry.scripts.peerMarks.marks(ofUpstream: group.name)),
            keepalive: group,
            statistics: statistics.upstream(String(decoding: group.name, as: UTF8.self)))
        groups[index] = peers
        // A hook may have held a request back until another generation had taken over.
        if isRetired { peers.closeIdle() }
        return peers
    }

    /// Peers of a host that a `proxy_pass` with variables named. Nothing of them outlives the exchange; what is counted of
    /// them is under a name that is no host's.
    func peers(ofHost host: [UInt8], _ addresses: [PeerAddress]) -> UpstreamPeers {
        UpstreamPeers(
            PeerGroup(host: host, addresses: addresses), keepalive: nil,
            statistics: statistics.upstream("(variable)"))
    }

    // MARK: TLS

    /// By settings. Those of equal settings have the same one.
    private var tlsUpstreams: [ObjectIdentifier: TLSUpstream] = [:]
    /// By the one that all workers share, to which each request would count references.
    private var ownTLSUpstreams: [ObjectIdentifier: TLSUpstream] = [:]
    private var resumptions: [ResumptionKey: TLSResumption] = [:]

    private struct ResumptionKey: Hashable {
        var upstream: ObjectIdentifier
        var address: [UInt8]
        var name: String
        /// A session stands for whom the server knows by this certificate.
        var fingerprint: [UInt8]?
    }

    /// More servers than this, and sessions with all of them begin anew.
    private static let maxResumptions = 1024

    private var certificateCaches: [CertificateCaching: CertificateCache] = [:]

    /// The certificate and key of `pair`, whose names have no variables any more; from the cache that `caching` stands for,
    /// or read.
    ///
    /// - Throws: what is wrong with the files.
    func identity(
        _ pair: LateIdentity, passwords: [[UInt8]], caching: CertificateCaching?
    ) throws(ConfigDiagnostic) -> TLSIdentity {
        guard let caching else {
            return try TLSFiles.whileServing.identity(pair.certificate, pair.key, passwords: passwords)
        }
        let cache: CertificateCache
        if let known = certificateCaches[caching] {
            cache = known
        } else {
            cache = CertificateCache(caching)
            certificateCaches[caching] = cache
        }
        return try cache.identity(pair.certificate, pair.key, passwords: passwords, now: loop.now)
    }

    /// Whom to speak TLS with; `nil` for settings that were not known to be used for that. `identified` adds what a new
    /// connection needs.
    func tlsTarget(_ settings: Settings, name: String, rendering: (Template) -> [UInt8]) -> TLSTarget? {
        let upstream: TLSUpstream
        if let known = tlsUpstreams[ObjectIdentifier(settings)] {
            upstream = known
        } else {
            guard let found = generation.tls.upstream(settings.values.proxyTLS) else { return nil }
            // The configuration holds the settings, and the generation what is shared, so the identifiers stay theirs.
            let own = ownTLSUpstreams[ObjectIdentifier(found)] ?? TLSUpstream(copying: found)
            ownTLSUpstreams[ObjectIdentifier(found)] = own
            tlsUpstreams[ObjectIdentifier(settings)] = own
            upstream = own
        }
        var target = TLSTarget(upstream: upstream, name: name)
        if let late = upstream.lateIdentity {
            let certificate = late.certificate.rendered(by: rendering)
            if !certificate.isEmpty { target.shows = (certificate, late.key.rendered(by: rendering)) }
        }
        return target
    }

    /// `target` with the certificate that it is to be shown, and the last session with it at `address`.
    ///
    /// - Throws: what is wrong with the certificate.
    func identified(_ target: TLSTarget, address: [UInt8]) throws(ConfigDiagnostic) -> TLSTarget {
        var target = target
        if target.sendsName, target.name.utf8.count > TLSTarget.maxNameLength {
            throw ConfigDiagnostic(
                position: nil, directive: "proxy_ssl_name",
                message: "found a server name of \(target.name.utf8.count) bytes, expected up to "
                    + "\(TLSTarget.maxNameLength): \"\(target.name.prefix(64))...\"")
        }
        if let shows = target.shows {
            let identity = try identity(
                shows, passwords: target.upstream.passwords,
                caching: target.upstream.settings.certificateCache)
            do throws(TLSError) {
                try identity.checkKey()
            } catch {
                throw TLSFiles.mismatch(error, shows)
            }
            target.identity = identity
        }
        target.resumption = resumption(with: target, address)
        return target
    }

    private struct FetchKey: Hashable {
        var trusted: TLSSource?
        var verifies: Bool
    }

    private var fetchUpstreams: [FetchKey: TLSUpstream] = [:]

    /// What a script's fetch asks of a server's certificate: to be of one of the system's authorities, or of the location's
    /// `proxy_ssl_trusted_certificate`. The same object for the same demands.
    func fetchUpstream(_ settings: Settings?, verifies: Bool) throws(FetchFailure) -> TLSUpstream {
        let key = FetchKey(trusted: settings?.values.proxyTLS.trustedCertificate, verifies: verifies)
        if let known = fetchUpstreams[key] { return known }
        do throws(ConfigDiagnostic) {
            let made = try TLSLoader.fetchUpstream(trusting: key.trusted, verifies: verifies)
            fetchUpstreams[key] = made
            return made
        } catch {
            throw .handshakeFailed(error.message)
        }
    }

    /// Whom a script's fetch speaks TLS with.
    func fetchTarget(_ upstream: TLSUpstream, name: String, address: [UInt8]) -> TLSTarget {
        var target = TLSTarget(upstream: upstream, name: name)
        target.resumption = resumption(with: target, address)
        return target
    }

    private func resumption(with target: TLSTarget, _ address: [UInt8]) -> TLSResumption? {
        guard target.upstream.settings.reusesSessions else { return nil }
        let key = ResumptionKey(
            upstream: ObjectIdentifier(target.upstream), address: address, name: target.name,
            fingerprint: target.identity?.fingerprint)
        if let known = resumptions[key] { return known }
        if resumptions.count >= Self.maxResumptions { resumptions = [:] }
        let resumption = TLSResumption()
        resumptions[key] = resumption
        return resumption
    }

    /// - Throws: what is wrong with the resolver's servers.
    func resolver(_ settings: Resolver, timeout: Int) throws(NameResolver.Failure) -> NameResolver {
        if let known = resolvers[settings] { return known }
        var options = NameResolver.Options()
        options.servers = settings.servers
        options.validity = settings.valid.map { Int64($0) }
        options.timeout = Int64(timeout)
        options.ipv4 = settings.ipv4
        options.ipv6 = settings.ipv6
        let resolver = try NameResolver(loop: loop, options: options)
        resolvers[settings] = resolver
        return resolver
    }

    /// Closes what was kept for later requests. Exchanges under way go on, and write their lines at once, as nobody asks
    /// for those of a former generation.
    func retire() {
        isRetired = true
        for buffer in logBuffers.values { buffer.end() }
        for group in groups { group?.closeIdle() }
    }

    /// How heads are read on a listener, by its position in the configuration. One that could not be taken over in a reload
    /// may keep a position of the configuration before; nginx's defaults serve it then.
    func headRules(forListener index: Int) -> HeadRules {
        headRules.indices.contains(index)
            ? headRules[index] : HeadRules(ConnectionSettings(), Settings.Values())
    }

    /// What bounds a head behind the name of its host, on a listener.
    func headLimits(
        forHost text: Span<UInt8>, onListener index: Int, _ rules: HeadRules
    ) -> RequestHeadParser.Limits {
        var name: [UInt8] = []
        guard HostName.append(text, to: &name), configuration.listeners.indices.contains(index),
            let server = configuration.listeners[index].names.server(forName: name)
        else { return rules.limits(of: nil) }
        return rules.limits(of: server)
    }

    /// How heads are read from a client that has named the server in its handshake.
    func headRules(of server: VirtualServer) -> HeadRules {
        if let known = headRulesOfServers[ObjectIdentifier(server)] { return known }
        let servers = configuration.listeners.flatMap(\.servers)
        let rules = HeadRules(server, among: servers)
        // The configuration holds the server, so the identifier stays its own.
        headRulesOfServers[ObjectIdentifier(server)] = rules
        return rules
    }

    /// What the WebSockets of a location have in common.
    func webSocketRules(_ settings: Settings, on worker: Worker) -> WebSocketRules {
        if let known = webSocketRules[ObjectIdentifier(settings)] { return known }
        let interpreter = scripts?.interpreter
        let rules = WebSocketRules(
            settings.values, commons: worker.webSockets,
            messages: { interpreter?.interest(.message, from: $0, in: settings) ?? .none },
            frames: { interpreter?.interest(.frame, from: $0, in: settings) ?? .none })
        // The configuration holds the settings, so the identifier stays theirs.
        webSocketRules[ObjectIdentifier(settings)] = rules
        return rules
    }

    // MARK: Access logs

    /// Writes the exchange's lines.
    func log(_ exchange: Exchange, worker: Worker) {
        let settings = exchange.location.settings
        guard !settings.values.accessLogs.isEmpty else { return }
        for writer in writers(for: settings) {
            writer.log(exchange, worker: worker, generation)
        }
    }

    private func writers(for settings: Settings) -> [AccessLogWriter] {
        if let known = accessLogs[ObjectIdentifier(settings)] { return known }
        // The configuration holds the settings, so the identifier stays theirs.
        let writers = settings.values.accessLogs.compactMap { log -> AccessLogWriter? in
            if log.pathTemplate != nil { return AccessLogWriter(log, buffer: nil) }
            guard let buffer = buffer(for: log) else { return nil }
            return AccessLogWriter(log, buffer: buffer)
        }
        accessLogs[ObjectIdentifier(settings)] = writers
        return writers
    }

    private func buffer(for log: AccessLog) -> LogBuffer? {
        if let known = logBuffers[log.destination] { return known }
        let file: LogFile
        switch log.destination {
        case .standardOutput: file = generation.logFiles.standardOutput
        case .standardError: file = generation.logFiles.standardError
        case .file(let path):
            do throws(SystemError) {
                file = try generation.logFiles.open(path)
            } catch {
                generation.errorLogger.log(.crit, "\(error)")
                return nil
            }
        }
        let buffering = configuration.logBuffers[log.destination] ?? LogBuffering()
        let buffer = LogBuffer(
            file: file, logger: generation.errorLogger, size: isRetired ? 0 : buffering.size,
            interval: Int64(buffering.flushInterval))
        logBuffers[log.destination] = buffer
        return buffer
    }

    func flushLogs() { for buffer in logBuffers.values { buffer.flush() } }
}

/// One `access_log` of a location.
private struct AccessLogWriter {
    let log: AccessLog
    /// `nil` when the path has variables in it.
    let buffer: LogBuffer?
    /// Of all the files that such a path may name.
    let failures: LogFailureGate?

    init(_ log: AccessLog, buffer: LogBuffer?) {
        self.log = log
        self.buffer = buffer
        failures = buffer == nil ? LogFailureGate() : nil
    }

    func log(_ exchange: Exchange, worker: Worker, _ generation: Generation) {
        var line = worker.takeBuffer()
        if AccessLogRenderer.append(log, exchange, to: &line) { write(line, exchange, worker, generation) }
        worker.giveBack(consume line)
    }

    private func write(
        _ line: [UInt8], _ exchange: Exchange, _ worker: Worker, _ generation: Generation
    ) {
        if let buffer { return buffer.append(line, worker: worker) }
        guard let path = AccessLogRenderer.path(log, exchange) else { return }
        let logger = generation.errorLogger(for: exchange.location.settings.values.errorLogs)
        do throws(SystemError) {
            // Files named by variables may be as many as there are values: each is open for its line only.
            let file = try generation.logFiles.openOnce(String(decoding: path, as: UTF8.self))
            file.write(line, tellingOf: failures, logger)
        } catch {
            guard failures?.opens() != false else { return }
            logger.log(.crit, of: exchange, "\(error) while logging request")
        }
    }
}
