internal import Config
internal import EventLoop
internal import ProxyCore

/// The names of an upstream group's servers with `resolve`, as one worker follows them.
///
/// Each worker asks by itself, as it keeps all of a group's state. It goes on under a former generation too, for as long as
/// something is under way there: a tunnel's hook may fetch from the group for days.
final class GroupNames {
    private let peers: UpstreamPeers
    /// What each line of the group stands for.
    private var found: [[FoundPeer]]
    private var followers: [NameFollower] = []
    /// Names whose first lookup has not come to its end.
    private var unanswered = 0
    private var waiting: [() -> Void] = []

    /// `addresses` are those of servers whose names are not followed; `known`, what was found before of those that are.
    init(
        _ peers: UpstreamPeers, _ addresses: [[PeerAddress]], in generation: WorkerGeneration,
        known: FollowedAddresses
    ) {
        self.peers = peers
        found = addresses.map { $0.map { FoundPeer($0) } }
        let group = peers.group.group
        let http = generation.configuration.http.values
        guard let resolver = group.resolver ?? http.resolver else { return }
        let timeout = group.resolverTimeout ?? http.resolverTimeout
        var hasKnown = false
        for (line, server) in group.servers.enumerated() where server.isFollowed {
            guard case .host(let host, let port) = server.endpoint else { continue }
            found[line] = known.peers(of: server, in: group, by: resolver)
            hasKnown = hasKnown || !found[line].isEmpty
            followers.append(
                NameFollower(
                    host, port: port, service: server.service, known: found[line], resolver: resolver,
                    timeout: timeout, in: generation,
                    reached: { [unowned self] in ended($0, ofLine: line, isFirst: $1) }))
        }
        unanswered = followers.count
        if hasKnown { peers.update(found) }
    }

    func begin() {
        for follower in followers { follower.begin() }
    }

    /// Ends all lookups. Safe to call again.
    func close() {
        for follower in followers { follower.close() }
    }

    func note(in known: inout FollowedAddresses) {
        let group = peers.group.group
        for (server, found) in zip(group.servers, found) where server.isFollowed && !found.isEmpty {
            known.note(found, of: server, in: group)
        }
    }

    /// The group has no address, and some name's first lookup is still under way.
    var isAwaited: Bool { unanswered > 0 && peers.group.peers.isEmpty }

    /// Calls back once that is over, with addresses or without any.
    func whenKnown(_ completion: @escaping () -> Void) { waiting.append(completion) }

    /// A lookup has ended; `latest` is `nil` where it says nothing of the name.
    private func ended(_ latest: [FoundPeer]?, ofLine line: Int, isFirst: Bool) {
        if isFirst { unanswered -= 1 }
        if let latest, latest != found[line] {
            found[line] = latest
            peers.update(found)
        }
        guard !isAwaited, !waiting.isEmpty else { return }
        let woken = waiting
        waiting = []
        for one in woken { one() }
    }
}

/// What is known of names that are followed, as a generation knows them that is to be taken over from.
struct FollowedAddresses {
    /// Each upstream may have a resolver of its own, which knows other addresses.
    private struct Key: Hashable {
        let name: String
        let service: String?
        let group: [UInt8]

        init?(_ server: UpstreamServer, _ group: UpstreamGroup) {
            guard case .host(let name, _) = server.endpoint else { return nil }
            self.name = name.lowercased()
            service = server.service?.lowercased()
            self.group = group.name
        }
    }

    private var peers: [Key: [FoundPeer]] = [:]

    mutating func note(_ found: [FoundPeer], of server: UpstreamServer, in group: UpstreamGroup) {
        if let key = Key(server, group) { peers[key] = found }
    }

    /// What the upstream of the same name had, as far as `resolver` asks for their families; at the port of the line, unless
    /// a record says another one.
    func peers(of server: UpstreamServer, in group: UpstreamGroup, by resolver: Resolver) -> [FoundPeer] {
        guard case .host(_, let port) = server.endpoint, let key = Key(server, group) else { return [] }
        return (peers[key] ?? []).compactMap { found in
            let isAskedFor =
                switch found.address.endpoint {
                case .ipv4: resolver.ipv4
                case .ipv6: resolver.ipv6
                case .unix: false
                }
            guard isAskedFor else { return nil }
            return FoundPeer(found.address.with(port: found.record?.port ?? port), record: found.record)
        }
    }
}
