internal import Config
internal import EventLoop
internal import LuaHooks

extension Worker {
    /// Takes the node's connection to others upon itself, where the configuration wants one and no other worker has it, and
    /// lets go of one that is not wanted any more.
    func joinNodes() {
        let registry = current.generation.registry
        let wanted = isDraining ? nil : current.configuration.lua.sharedState
        if let nodeLink, nodeLink.settings != wanted { leaveNodes() }
        // In tests of scripts there is no other node, and nobody has subscribed.
        guard let wanted, nodeLink == nil, subscription != 0 else { return }
        let (poster, desk) = (loop.poster, tunnelDesk)
        guard
            registry.takeNodes(
                subscription,
                publish: { tag, message in
                    poster.post { desk.worker?.nodeLink?.publish(tag, message) }
                })
        else { return }
        nodeLink = NodeLink(wanted, node: registry.node, worker: self)
    }

    /// Another worker may take it.
    func leaveNodes() {
        guard let nodeLink else { return }
        nodeLink.close()
        self.nodeLink = nil
        current.generation.registry.leaveNodes(subscription)
    }
}
