internal import Config
internal import EventLoop
internal import ProxyCore

/// The names of an upstream group's servers with `resolve`, as one worker follows them.
///
/// Each worker asks by itself, as it keeps all of a group's state. It goes on under a former generation too, for as long as
/// something is under way there: a tunnel's hook may fetch from the group for days.
final class GroupNames {
    private let peers: UpstreamPeers
    /// Of each line of the group.
    private var addresses: [[PeerAddress]]
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
        self.addresses = addresses
        let group = peers.group.group
        let http = generation.configuration.http.values
        guard let resolver = group.resolver ?? http.resolver else { return }
        let timeout = group.resolverTimeout ?? http.resolverTimeout
        var hasKnown = false
        for (line, server) in group.servers.enumerated() where server.isFollowed {
            guard case .host(let host, let port) = server.endpoint else { continue }
            self.addresses[line] = known.addresses(of: host, port: port, in: group, by: resolver)
            hasKnown = hasKnown || !self.addresses[line].isEmpty
            followers.append(
                NameFollower(
                    host, port: port, resolver: resolver, timeout: timeout, in: generation,
                    reached: { [unowned self] in ended($0, ofLine: line, isFirst: $1) }))
        }
        unanswered = followers.count
        if hasKnown { peers.update(addresses: self.addresses) }
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
        for (server, found) in zip(group.servers, addresses) where server.isFollowed && !found.isEmpty {
            known.note(found, of: server.endpoint, in: group)
        }
    }

    /// The group has no address, and some name's first lookup is still under way.
    var isAwaited: Bool { unanswered > 0 && peers.group.peers.isEmpty }

    /// Calls back once that is over, with addresses or without any.
    func whenKnown(_ completion: @escaping () -> Void) { waiting.append(completion) }

    /// A lookup has ended; `found` is `nil` where it says nothing of the name.
    private func ended(_ found: [PeerAddress]?, ofLine line: Int, isFirst: Bool) {
        if isFirst { unanswered -= 1 }
        if let found, found != addresses[line] {
            addresses[line] = found
            peers.update(addresses: addresses)
        }
        guard !isAwaited, !waiting.isEmpty else { return }
        let woken = waiting
        waiting = []
        for one in woken { one() }
    }
}

/// Addresses of names that are followed, as a generation knows them that is to be taken over from.
struct FollowedAddresses {
    /// Each upstream may have a resolver of its own, which knows other addresses.
    private struct Key: Hashable {
        let name: String
        let group: [UInt8]

        init(_ name: String, _ group: UpstreamGroup) {
            self.name = name.lowercased()
            self.group = group.name
        }
    }

    private var addresses: [Key: [PeerAddress]] = [:]

    mutating func note(_ found: [PeerAddress], of endpoint: UpstreamEndpoint, in group: UpstreamGroup) {
        guard case .host(let name, _) = endpoint else { return }
        addresses[Key(name, group)] = found
    }

    /// What the upstream of the same name had, as far as `resolver` asks for their families.
    func addresses(
        of name: String, port: UInt16, in group: UpstreamGroup, by resolver: Resolver
    ) -> [PeerAddress] {
        (addresses[Key(name, group)] ?? []).compactMap { address in
            switch address.endpoint {
            case .ipv4(let host, _):
                resolver.ipv4 ? PeerAddress(PeerAddress.Endpoint.ipv4(host, port: port)) : nil
            case .ipv6(let host, _):
                resolver.ipv6 ? PeerAddress(PeerAddress.Endpoint.ipv6(host, port: port)) : nil
            case .unix: nil
            }
        }
    }
}
