internal import Config
internal import EventLoop
internal import HTTP2
internal import ProxyCore
internal import TLS

/// Makes the `TLSSetup` of a configuration. It reads files, so only the control thread uses it.
struct TLSLoader {
    private let configuration: Configuration
    private let commons: TLSCommons
    private let files: TLSFiles
    private let logFiles: LogFiles
    private var keyLogs: Set<String> = []
    private var zones: [(zone: any SharedZone, size: Int)] = []
    private var diagnostics: [ConfigDiagnostic] = []

    static func load(
        _ configuration: Configuration, _ commons: TLSCommons, _ files: TLSFiles, _ logFiles: LogFiles,
        _ diagnostics: inout [ConfigDiagnostic]
    ) -> TLSSetup {
        var loader = TLSLoader(
            configuration: configuration, commons: commons, files: files, logFiles: logFiles)
        let setup = loader.load()
        // Several locations may have inherited one fault.
        for diagnostic in loader.diagnostics where !diagnostics.contains(diagnostic) {
            diagnostics.append(diagnostic)
        }
        return setup
    }

    private init(
        configuration: Configuration, commons: TLSCommons, files: TLSFiles, logFiles: LogFiles
    ) {
        self.configuration = configuration
        self.commons = commons
        self.files = files
        self.logFiles = logFiles
    }

    private mutating func load() -> TLSSetup {
        var servers: [Int: TLSServer] = [:]
        var seen: Set<Int> = []
        for listener in configuration.listeners {
            for server in listener.servers where seen.insert(server.index).inserted {
                guard server.tls.isUsable else { continue }
                do throws(ConfigDiagnostic) {
                    servers[server.index] = try makeServer(server)
                } catch {
                    diagnostics.append(error)
                }
            }
        }
        let listeners = configuration.listeners.map { listener -> TLSListener? in
            guard listener.isTLS else { return nil }
            let missing = Self.serverWithoutCertificate(listener)
            if let missing {
                let message =
                    "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive"
                diagnostics.append(
                    ConfigDiagnostic(
                        position: missing.tls.listensAt ?? listener.defaultServer.tls.listensAt,
                        directive: "listen", message: message))
            }
            guard let first = servers[listener.defaultServer.index] else { return nil }
            return TLSListener(listener, defaultServer: first)
        }
        let upstreams = loadUpstreams()
        return TLSSetup(
            servers: servers, listeners: listeners, upstreams: upstreams, keyLogs: keyLogs, zones: zones)
    }

    /// As nginx: others may do with the default server's certificate, unless that has none because it rejects.
    private static func serverWithoutCertificate(_ listener: Listener) -> VirtualServer? {
        let first = listener.defaultServer
        if !first.tls.certificates.isEmpty || first.tls.asksScripts { return nil }
        guard first.tls.rejectsHandshakes else { return first }
        return listener.servers.first { !$0.tls.isUsable }
    }

    // MARK: Servers

    private mutating func makeServer(_ server: VirtualServer) throws(ConfigDiagnostic) -> TLSServer {
        let settings = server.tls
        let context = try makeContext(.server)
        context.allow(TLSVersions(settings.protocols))
        context.setRecordSize(settings.bufferSize)
        context.offer(try applicationProtocols(of: server))
        if settings.rejectsHandshakes { context.rejectHandshakes() }
        let passwords = try files.passwords(settings.passwordFile)
        let (late, identities) = try loadIdentities(settings, into: context, passwords)
        try loadAuthorities(settings, into: context)
        try loadOCSP(settings, into: context)
        try TLSFiles.apply(
            settings.ciphers ?? TLSWord(Self.defaultCiphers, directive: "ssl_ciphers", position: Self.nowhere)
        ) { list throws(TLSError) in
            try context.setCiphers(list)
        }
        if settings.prefersServerCiphers { context.preferOwnCiphers() }
        if let curves = settings.curves {
            try TLSFiles.apply(curves) { list throws(TLSError) in try context.setGroups(list) }
        }
        if let parameters = settings.dhParameters {
            try files.apply(parameters, "Diffie-Hellman parameters") { text throws(TLSError) in
                try context.setParameters(text)
            }
        }
        // A session of one server must not do for another that asks for other certificates.
        let name = try verification(of: server) + identities.flatMap(\.identity.digest)
        try loadSessions(settings, into: context, name: name)
        if settings.takesEarlyData { context.takeEarlyData(commons.earlyData) }
        if settings.stapling { try loadStaples(settings, into: context, identities) }
        try TLSFiles.apply(settings.commands, to: context)
        try logKeys(of: context, to: settings.keyLog)
        return TLSServer(server.index, context, lateIdentities: late, passwords: passwords)
    }

    private static let http1 = Array("http/1.1".utf8)

    private func applicationProtocols(of server: VirtualServer) throws(ConfigDiagnostic) -> [[UInt8]] {
        let speaksHTTP2 = speaksHTTP2(server)
        guard !server.tls.applicationProtocols.isEmpty else {
            return speaksHTTP2 ? [HTTP2Preface.applicationProtocol, Self.http1] : [Self.http1]
        }
        var protocols: [[UInt8]] = []
        for word in server.tls.applicationProtocols {
            let name = Array(word.text.utf8)
            guard speaksHTTP2 || name != HTTP2Preface.applicationProtocol else {
                throw ConfigDiagnostic(
                    position: word.position, directive: word.directive,
                    message: "found \"h2\" in a server without HTTP/2, expected \"http2 on\"")
            }
            protocols.append(name)
        }
        return protocols
    }

    private func speaksHTTP2(_ server: VirtualServer) -> Bool {
        server.connection.http2.isOn
            || configuration.listeners.contains { listener in
                listener.isHTTP2 && listener.servers.contains { $0 === server }
            }
    }

    /// What scripts fetch over. Read when it is first needed.
    static func fetchUpstream(
        trusting trusted: TLSSource?, verifies: Bool
    ) throws(ConfigDiagnostic) -> TLSUpstream {
        var settings = ProxyTLSSettings()
        settings.sendsServerName = true
        settings.verifies = verifies
        settings.protocols = [.tls1_2, .tls1_3]
        let context: TLSContext
        do throws(TLSError) {
            context = try TLSContext(.client)
            if verifies, trusted == nil { try context.trustSystem() }
        } catch {
            throw ConfigDiagnostic(position: nil, message: "\(error)")
        }
        context.allow(TLSVersions(settings.protocols))
        if verifies, let trusted {
            try TLSFiles.disk.apply(trusted, "trusted certificate") { text throws(TLSError) in
                try context.trust(text, tellsClients: false)
            }
        }
        return TLSUpstream(settings, context)
    }

    private static let defaultCiphers = "HIGH:!aNULL:!MD5"
    private static let nowhere = SourcePosition(file: "", line: 0, column: 0)

    private func makeContext(_ role: TLSContext.Role) throws(ConfigDiagnostic) -> TLSContext {
        do throws(TLSError) {
            return try TLSContext(role)
        } catch {
            throw ConfigDiagnostic(position: nil, message: "\(error)")
        }
    }

    private mutating func logKeys(of context: TLSContext, to log: TLSWord?) throws(ConfigDiagnostic) {
        guard let log else { return }
        do throws(SystemError) {
            let file = try logFiles.open(log.text, isPrivate: true)
            keyLogs.insert(log.text)
            context.logKeys { file.write($0) }
        } catch {
            throw ConfigDiagnostic(
                position: log.position, directive: log.directive, message: "\(error)")
        }
    }

    private func loadIdentities(
        _ settings: ServerTLSSettings, into context: TLSContext, _ passwords: [[UInt8]]
    ) throws(ConfigDiagnostic) -> (
        late: [LateIdentity], identities: [(source: TLSSource, identity: TLSIdentity)]
    ) {
        var late: [LateIdentity] = []
        var identities: [(source: TLSSource, identity: TLSIdentity)] = []
        for (index, certificate) in settings.certificates.enumerated() {
            guard settings.keys.indices.contains(index) else {
                throw TLSFiles.diagnostic(
                    certificate,
                    "no \"ssl_certificate_key\" is defined for certificate \"\(certificate.name)\"")
            }
            let key = settings.keys[index]
            if certificate.hasVariables || key.hasVariables {
                late.append((certificate, key))
                continue
            }
            let identity = try files.identity(certificate, key, passwords: passwords)
            identities.append((certificate, identity))
            try Self.use(identity, of: (certificate, key), in: context)
        }
        if !late.isEmpty || settings.asksScripts { context.askForIdentity() }
        return (late, identities)
    }

    private static func use(
        _ identity: TLSIdentity, of source: (certificate: TLSSource, key: TLSSource), in context: TLSContext
    ) throws(ConfigDiagnostic) {
        do throws(TLSError) {
            try context.use(identity)
        } catch {
            throw TLSFiles.mismatch(error, source)
        }
    }

    private mutating func loadStaples(
        _ settings: ServerTLSSettings, into context: TLSContext,
        _ identities: [(source: TLSSource, identity: TLSIdentity)]
    ) throws(ConfigDiagnostic) {
        if let file = settings.staplingFile {
            return try files.apply(file, "OCSP response") { bytes throws(TLSError) in
                try context.setStaple(bytes)
            }
        }
        var trusted: [[UInt8]] = []
        for file in [settings.trustedCertificate, settings.clientCertificate] {
            if let file { trusted.append(try files.read(file, "trusted certificate")) }
        }
        for (source, identity) in identities {
            do throws(TLSError) {
                let staple = try TLSStaple(
                    identity, name: source.name, responder: settings.staplingResponder?.text,
                    trusted: trusted, verifies: settings.verifiesStaple)
                if let fault = Self.fault(ofURL: staple.query.responder) {
                    throw TLSError("OCSP_parse_url", reason: fault)
                }
                context.setStaple(commons.shared(staple), for: identity)
            } catch {
                diagnostics.append(
                    ConfigDiagnostic(
                        severity: .warning, position: source.position, directive: "ssl_stapling",
                        message: "ignored, \(error.summary), for certificate \"\(source.name)\""))
            }
        }
    }

    private func loadAuthorities(
        _ settings: ServerTLSSettings, into context: TLSContext
    ) throws(ConfigDiagnostic) {
        if settings.verifyClient != .off {
            if settings.clientCertificate == nil, settings.trustedCertificate == nil,
                settings.verifyClient != .optionalWithoutAuthority
            {
                throw ConfigDiagnostic(
                    position: settings.verifyClientPosition ?? settings.listensAt,
                    directive: "ssl_verify_client", message: "no ssl_client_certificate for ssl_verify_client"
                )
            }
        }
        let mode: TLSContext.ClientVerification =
            switch settings.verifyClient {
            case .off: .off
            case .on: .required
            case .optional: .optional
            case .optionalWithoutAuthority: .optionalWithoutAuthority
            }
        context.verifyClients(mode, depth: settings.verifyDepth)
        if let file = settings.clientCertificate {
            try files.apply(file, "client certificate") { text throws(TLSError) in
                try context.trust(text, tellsClients: true)
            }
        }
        if let file = settings.trustedCertificate {
            try files.apply(file, "trusted certificate") { text throws(TLSError) in
                try context.trust(text, tellsClients: false)
            }
        }
        if let file = settings.revocationLists {
            try files.apply(file, "revocation list") { text throws(TLSError) in try context.revoke(text) }
        }
    }

    private mutating func loadOCSP(
        _ settings: ServerTLSSettings, into context: TLSContext
    ) throws(ConfigDiagnostic) {
        guard settings.ocsp != .off else { return }
        guard settings.verifyClient != .optionalWithoutAuthority else {
            throw ConfigDiagnostic(
                position: settings.ocspAt, directive: "ssl_ocsp",
                message: "is incompatible with \"ssl_verify_client optional_no_ca\"")
        }
        if let responder = settings.ocspResponder {
            guard OCSPQuery.isURL(responder.text) else {
                throw ConfigDiagnostic(
                    position: responder.position, directive: responder.directive,
                    message: OCSPQuery.prefixFault(responder.text))
            }
            if let fault = Self.fault(ofURL: responder.text) {
                throw ConfigDiagnostic(
                    position: responder.position, directive: responder.directive, message: fault)
            }
        }
        let cache = settings.ocspCache.map { commons.ocspCache(named: $0.name, size: $0.size) }
        if let cache, let size = settings.ocspCache?.size { zones.append((cache, size)) }
        context.checkStatus(
            OCSPRule(
                leafOnly: settings.ocsp == .leaf, responder: settings.ocspResponder?.text, cache: cache))
    }

    private static func fault(ofURL text: String) -> String? {
        do throws(FetchFailure) {
            _ = try FetchURL(Array(text.utf8))
            return nil
        } catch {
            return error.message.replacing(" in upstream \"", with: " in OCSP responder \"")
        }
    }

    /// What clients of the server are verified by, and its name.
    private func verification(of server: VirtualServer) throws(ConfigDiagnostic) -> [UInt8] {
        let settings = server.tls
        var name = Array("HTTP".utf8) + server.name
        name += Array("\(settings.verifyClient) \(settings.verifyDepth)".utf8)
        name += Array(" \(settings.ocsp) \(settings.ocspResponder?.text ?? "")".utf8)
        for file in [settings.clientCertificate, settings.trustedCertificate, settings.revocationLists] {
            if let file { name += try files.read(file, "certificate") }
            name.append(0)
        }
        return name
    }

    private mutating func loadSessions(
        _ settings: ServerTLSSettings, into context: TLSContext, name: [UInt8]
    ) throws(ConfigDiagnostic) {
        let caching: TLSContext.SessionCaching
        switch settings.sessionCache {
        case .off: caching = .off
        case .none: caching = .none
        case .builtin(let count): caching = .builtin(count)
        case .shared(let zone):
            let cache = commons.cache(named: zone.name, size: zone.size)
            zones.append((cache, zone.size))
            caching = .shared(cache)
        }
        // A server that gives no tickets may be the first of a listener, whose keys are those of them all.
        var keys: [[UInt8]] = []
        for file in settings.ticketKeys {
            let bytes = try files.read(file, "session ticket key")
            guard bytes.count == 48 || bytes.count == 80 else {
                throw TLSFiles.diagnostic(file, "\"\(file.name)\" must be 48 or 80 bytes")
            }
            keys.append(bytes)
        }
        context.setSessions(
            caching, timeout: settings.sessionTimeout,
            ticketKeys: TLSTicketKeys(files: keys) ?? commons.ticketKeys,
            givesTickets: settings.sessionTickets, contextName: name)
    }

    // MARK: Upstreams

    private mutating func loadUpstreams() -> [ProxyTLSSettings: TLSUpstream] {
        var wanted: Set<ProxyTLSSettings> = []
        var order: [ProxyTLSSettings] = []
        // A script may send a request of any location on over TLS.
        let hasScripts = !configuration.scripts.isEmpty
        var passwordFiles: Set<TLSSource> = []
        configuration.forEachLocation { location, _ in
            var isNeeded = hasScripts
            if case .proxy(let pass) = location.handler {
                if case .template = pass.target { isNeeded = true }
                if pass.isTLS { isNeeded = true }
            }
            let settings = location.settings.values.proxyTLS
            if isNeeded, wanted.insert(settings).inserted { order.append(settings) }
            if let file = settings.passwordFile { passwordFiles.insert(file) }
        }
        // As nginx, which reads them whether or not there is a key that needs them.
        for file in passwordFiles {
            do throws(ConfigDiagnostic) {
                _ = try files.passwords(file)
            } catch {
                diagnostics.append(error)
            }
        }
        var upstreams: [ProxyTLSSettings: TLSUpstream] = [:]
        for settings in order {
            do throws(ConfigDiagnostic) {
                upstreams[settings] = try makeUpstream(settings)
            } catch {
                diagnostics.append(error)
            }
        }
        return upstreams
    }

    private mutating func makeUpstream(_ settings: ProxyTLSSettings) throws(ConfigDiagnostic) -> TLSUpstream {
        let context = try makeContext(.client)
        context.allow(TLSVersions(settings.protocols))
        if let ciphers = settings.ciphers {
            try TLSFiles.apply(ciphers) { list throws(TLSError) in try context.setCiphers(list) }
        }
        var late: LateIdentity?
        var passwords: [[UInt8]] = []
        if let certificate = settings.certificate {
            guard let key = settings.key else {
                throw TLSFiles.diagnostic(
                    certificate,
                    "no \"proxy_ssl_certificate_key\" is defined for certificate \"\(certificate.name)\"")
            }
            passwords = try files.passwords(settings.passwordFile)
            if certificate.hasVariables || key.hasVariables {
                late = (certificate, key)
            } else {
                let identity = try files.identity(certificate, key, passwords: passwords)
                try Self.use(identity, of: (certificate, key), in: context)
            }
        }
        if settings.verifies {
            guard let trusted = settings.trustedCertificate else {
                throw ConfigDiagnostic(
                    position: settings.verifyWord?.position, directive: "proxy_ssl_verify",
                    message: "no proxy_ssl_trusted_certificate for proxy_ssl_verify")
            }
            try files.apply(trusted, "trusted certificate") { text throws(TLSError) in
                try context.trust(text, tellsClients: false)
            }
            context.setVerifyDepth(settings.verifyDepth)
            if let file = settings.revocationLists {
                try files.apply(file, "revocation list") { text throws(TLSError) in
                    try context.revoke(text)
                }
            }
        }
        try TLSFiles.apply(settings.commands, to: context)
        try logKeys(of: context, to: settings.keyLog)
        return TLSUpstream(settings, context, lateIdentity: late, passwords: passwords)
    }
}

extension Listener {
    /// Each once, the default server first.
    var servers: [VirtualServer] {
        var seen: Set<ObjectIdentifier> = []
        return ([defaultServer] + names.values).filter { seen.insert(ObjectIdentifier($0)).inserted }
    }
}
