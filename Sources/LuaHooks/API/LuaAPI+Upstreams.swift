internal import Config
internal import ProxyCore

/// The peers of upstreams, which scripts take out of service and back.
extension LuaAPI {
    static let upstreamFunctions: [LuaFunction] = [
        LuaFunction(
            "peers", .module("sy"), "upstream: string", returns: "Peer[]?, string?",
            """
            The peers of an `upstream` of the configuration as they are now, in the order of its servers, `backup` ones \
            last. Nil and why where there is none of that name, or a script is only being loaded.
            """
        ) { call throws(LuaError) in
            let name = try call.bytes(1, "peers")
            guard let group = call.interpreter.host.peers(ofUpstream: name) else {
                return call.noUpstream(name)
            }
            group.followMarks()
            let backups = group.peers[group.backups]
            let rows = group.peers[group.primaries].map { ($0, false) } + backups.map { ($0, true) }
            call.stack.push(list: rows) { peer, isBackup in
                call.push(peer, on: group.server(of: peer), isBackup: isBackup)
            }
            return .one
        },
        LuaFunction(
            "set_peer_down", .module("sy"), "upstream: string, name: string, down: boolean|nil",
            returns: "boolean?, string?",
            """
            Takes a peer out of service, or into it, on every worker, whatever the configuration says of it; with nil the \
            configuration decides again. Requests from then on go to others, or are answered with 502 where there is \
            none; what the peer is used for already goes on, tunnels too. Reloads keep it, for as long as the upstream has \
            a peer of this address and the configuration has scripts. Nil and why where there is no such peer.
            """
        ) { call throws(LuaError) in
            let upstream = try call.bytes(1, "set_peer_down")
            let name = try call.bytes(2, "set_peer_down")
            let isDown = call.isGiven(3) ? try call.flag(3, "set_peer_down") : nil
            guard let group = call.interpreter.host.peers(ofUpstream: upstream) else {
                return call.noUpstream(upstream)
            }
            guard let change = group.mark(name, isDown: isDown) else {
                return call.fail("upstream \(call.shown(upstream)) has no peer \(call.shown(name))")
            }
            if change != .nothing {
                call.interpreter.log(
                    .notice, "upstream \(call.shown(upstream)): peer \(call.shown(name)) is \(change)")
            }
            return call.push(true)
        },
    ]
}

extension LuaCall {
    fileprivate func noUpstream(_ name: [UInt8]) -> LuaResult {
        fail("there is no upstream \(shown(name))")
    }

    fileprivate func push(_ peer: Peer, on server: UpstreamServer, isBackup: Bool) {
        stack.pushTable(fields: 7)
        stack.push(peer.address.text)
        stack.setField("name", of: -2)
        stack.push(server.name)
        stack.setField("server", of: -2)
        stack.push(peer.weight)
        stack.setField("weight", of: -2)
        stack.push(isBackup)
        stack.setField("backup", of: -2)
        stack.push(peer.isDown)
        stack.setField("down", of: -2)
        stack.push(peer.fails)
        stack.setField("fails", of: -2)
        stack.push(peer.connections)
        stack.setField("connections", of: -2)
    }
}
