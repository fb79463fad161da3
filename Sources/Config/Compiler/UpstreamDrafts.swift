/// An `upstream` block while its directives are applied.
struct UpstreamDraft {
    var servers: [UpstreamServer] = []
    var method = BalancingMethod.roundRobin
    /// The directive that says so.
    var methodUse: DirectiveUse?
    /// Whether servers may be backups from here on.
    var allowsBackups = true
    var keepalive = 0
    var keepalivePosition: SourcePosition?
    var keepaliveRequests = 1000
    /// Milliseconds.
    var keepaliveTimeout = 60_000
    var keepaliveTime = 3_600_000
    var resolver: Resolver?
    /// Milliseconds.
    var resolverTimeout: Int?
    /// The first `resolve` behind a name.
    var resolvePosition: SourcePosition?

    func finished(name: [UInt8]) -> UpstreamGroup {
        UpstreamGroup(
            name: name, servers: servers, method: method, keepalive: keepalive,
            keepaliveRequests: keepaliveRequests,
            keepaliveTimeout: keepaliveTimeout, keepaliveTime: keepaliveTime,
            resolver: resolver, resolverTimeout: resolverTimeout)
    }
}

/// The groups known so far. All `upstream` blocks are entered before the first `proxy_pass` looks for one.
struct UpstreamDrafts {
    private(set) var groups: [UpstreamGroup] = []
    /// Names that the `http` block's resolver is to be asked for: the first of each group.
    var needingResolver: [(group: UpstreamGroup, position: SourcePosition)] = []
    /// Lower case name, with the port for implicit groups → position.
    private var positions: [[UInt8]: Int] = [:]

    /// Whether the name was free.
    mutating func define(_ group: UpstreamGroup) -> Bool {
        let key = group.name.lowercased()
        guard positions[key] == nil else { return false }
        positions[key] = groups.count
        groups.append(group)
        return true
    }

    /// The `upstream` block of this name.
    func position(ofBlock name: [UInt8]) -> Int? {
        guard let position = positions[name.lowercased()], !groups[position].isImplicit else { return nil }
        return position
    }

    /// The group that stands for one server written in a `proxy_pass`.
    mutating func implicit(
        _ endpoint: UpstreamEndpoint, name: [UInt8], at position: SourcePosition
    ) -> Int {
        let key = name.lowercased()
        if let known = positions[key] { return known }
        positions[key] = groups.count
        groups.append(
            UpstreamGroup(
                name: name, servers: [UpstreamServer(endpoint: endpoint, position: position)],
                isImplicit: true))
        return groups.count - 1
    }
}
