/// One level of the configuration while its directives are applied: what it inherited, overwritten by its own.
///
/// A block's scope starts as a copy of the level around it, so inheritance needs no merging afterwards: the
/// first `proxy_set_header` of a level empties the inherited list before it adds to it.
struct Scope {
    /// One member.
    let context: Contexts
    let compilation: Compilation

    // MARK: Inherited

    var settings = Settings.Values()
    var connection = ConnectionSettings()
    var tls = ServerTLSSettings()
    /// Lower case names of `proxy_hide_header` and `proxy_pass_header`, which inherit independently.
    var hiddenHeaders: [[UInt8]] = []
    var passedHeaders: [[UInt8]] = []
    var accessRules: [AccessRule] = []
    var realIP = RealIPDraft()
    var authentication = AuthenticationDraft()
    /// Those that run here, outer contexts first: a level adds to what it inherited.
    var scripts: [Int] = []
    /// What answers; inherited by `if` and `limit_except` only.
    var handler = ContentHandler.none
    var matcher = LocationMatcher.server

    // MARK: The level's own

    /// Names of the directives met at this level.
    var seen: Set<String> = []
    var hasHandler = false
    /// `access_log off` at this level silences the others of the level.
    var accessLogIsOff = false
    /// `proxy_cookie_…` directives that are `off` at this level.
    var cookiesOff: Set<String> = []
    /// An `allow` or `deny` was met at this level.
    var hasAccessRules = false
    var isInternal = false
    /// Where scripts of this level define variables, by slot.
    var scriptVariablesSetAt: [Int: SourcePosition] = [:]
    var rewrites: [RewriteInstruction] = []
    var limitExcept: LimitExcept?
    var locations: [LocationDraft] = []
    var server = ServerDraft()
    var upstream = UpstreamDraft()

    init(context: Contexts, compilation: Compilation) {
        self.context = context
        self.compilation = compilation
    }

    /// A block inside this level.
    func child(_ context: Contexts) -> Scope {
        var child = Scope(context: context, compilation: compilation)
        child.settings = settings
        child.connection = connection
        child.tls = tls
        child.hiddenHeaders = hiddenHeaders
        child.passedHeaders = passedHeaders
        child.accessRules = accessRules
        child.realIP = realIP
        child.authentication = authentication
        child.isInternal = isInternal
        child.scripts = scripts
        if context.isSubset(of: [.ifInServer, .ifInLocation, .limitExcept]) {
            child.handler = handler
        }
        return child
    }

    /// The prefix that the URI of a `proxy_pass` replaces; `nil` where it cannot have a URI.
    var locationPrefix: [UInt8]? {
        switch matcher {
        case .exact(let uri), .prefix(let uri, _): uri
        case .server, .regex, .named, .ifBlock, .limitExcept: nil
        }
    }

    /// Complete, with what is derived from several directives.
    func finishedSettings() -> Settings {
        var values = settings
        values.proxyHiddenHeaders = compilation.headersHiddenByDefault.union(hiddenHeaders)
            .subtracting(passedHeaders)
        values.scriptPlan = compilation.scripts.plan(of: scripts)
        compilation.scripts.note(values.scriptVariables)
        return Settings(values)
    }

    /// This level as a location, when all of its directives are applied.
    func finishedLocation(children: LocationTable, source: SourcePosition) -> Location {
        Location(
            matcher: matcher, settings: finishedSettings(), rewrites: rewrites, handler: handler,
            children: children, limitExcept: limitExcept, accessRules: accessRules, realIP: realIP.finished,
            authentication: authentication.finished(under: compilation.configurationDirectory),
            isInternal: isInternal, source: "\(source.file):\(source.line)")
    }
}
