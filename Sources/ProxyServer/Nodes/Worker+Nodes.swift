internal import Config
internal import EventLoop
internal import LuaHooks

extension Worker {
    /// Takes the node's connection to others upon itself, where the configuration wants one and no other worker has it, and
    /// lets go of one that is not wanted any more.
    func joinNodes() {
        let registry = current.generation.registry
        let wanted = current.configuration.lua.sharedState
        if let nodeLink, nodeLink.settings != wanted { leaveNodes() }
        // In tests of scripts there is no other node, and nobody has subscribed.
        guard let wanted, nodeLink == nil, subscription != 0 else { return }
        let (poster, desk) = (loop.poster, tunnelDesk)
        let holder = ProcessRegistry.NodesHolder(
            id: subscription, settings: wanted,
            publish: { tag, message in poster.post { desk.worker?.nodeLink?.publish(tag, message) } },
            release: { poster.post { desk.worker?.closeNodeLink() } })
        guard registry.takeNodes(holder, isLeaving: isDraining) else { return }
        nodeLink = NodeLink(wanted, node: registry.node, worker: self)
    }

    /// Another worker may take it.
    func leaveNodes() {
        guard nodeLink != nil else { return }
        closeNodeLink()
        current.generation.registry.leaveNodes(subscription)
    }

    private func closeNodeLink() {
        nodeLink?.close()
        nodeLink = nil
    }

    /// Hands a message to the workers of other nodes.
    func publishToNodes(_ tag: [UInt8], _ message: ScriptMessage) {
        // At once where it is this worker's, which may be about to end.
        if nodeLink == nil, current.generation.registry.publishToNodes(tag, message) { return }
        // Whoever had the connection may have ended a moment ago.
        joinNodes()
        nodeLink?.publish(tag, message)
    }

    /// The worker has nothing left to do but to send what others have handed it for other nodes: from here on they find
    /// somebody else.
    ///
    /// - Returns: whether there may be such messages, which the next turn of the loop has.
    func stopsServingNodes() -> Bool {
        guard let nodeLink, !nodeLink.isDeaf else { return false }
        nodeLink.deafen()
        current.generation.registry.leaveNodes(subscription)
        return true
    }
}
