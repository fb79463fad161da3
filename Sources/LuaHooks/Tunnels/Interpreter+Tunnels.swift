internal import Config
package import ProxyCore

/// Open tunnels as other interpreters see them, and what scripts of those ask of them.
extension Interpreter {
    /// The flow's tunnel has opened.
    package func list(_ flow: ScriptFlow, _ exchange: Exchange) {
        guard flow.listing == TunnelList.nowhere, let tunnels = host.tunnels else { return }
        let id = TunnelID(first: exchange.randomBytes.0, second: exchange.randomBytes.1)
        flow.listing = tunnels.add(id, exchange.client, tags: flow.tags, at: place(of: flow))
    }

    /// The flow's tunnel begins to end.
    package func takeOffList(_ flow: ScriptFlow) {
        guard flow.listing != TunnelList.nowhere else { return }
        host.tunnels?.remove(flow.listing)
        flow.listing = TunnelList.nowhere
    }

    /// A tunnel moves here: it stays what it was to those who know of it.
    func moveListing(of old: ScriptFlow, to new: ScriptFlow) {
        guard old.listing != TunnelList.nowhere else { return }
        new.listing = old.listing
        old.listing = TunnelList.nowhere
        host.tunnels?.move(new.listing, to: place(of: new))
    }

    private func place(of flow: ScriptFlow) -> TunnelList.Place {
        TunnelList.Place(interpreter: number, flow: flow.slot)
    }

    /// Carries out what a script of another interpreter asks of a tunnel here. A message that cannot be sent is dropped.
    package func perform(_ order: TunnelOrder, onFlowAt slot: Int) {
        guard let flow = flow(atSlot: slot), let owner = flow.owner, owner.isOpenTunnel else { return }
        switch order.action {
        case .send(let payload, let isText, let leg):
            let hooks = hooks(after: order.sender, of: flow)
            let depth = injectionDepth
            injectionDepth = order.depth
            defer { injectionDepth = depth }
            let message = ScriptMessage(
                isText: isText, payload: payload, firstMessageHook: hooks.message,
                firstFrameHook: hooks.frame)
            _ = owner.send(message, to: leg)
        case .close(let code, let reason): owner.close(code: code, reason: reason)
        case .closeLeg(let leg, let code, let reason): owner.close(leg, code: code, reason: reason)
        case .tag(let tag):
            guard !flow.tags.contains(tag), flow.tags.count < ScriptFlow.maxTags else { return }
            self.tag(flow, tag)
        }
    }

    /// As `hooksAfterRunningScript`, for a script of another interpreter.
    func hooks(
        after sender: TunnelOrder.Sender?, of flow: ScriptFlow
    ) -> (message: Int, frame: Int) {
        let plan = Int(flow.plan)
        guard let sender, set.plans.indices.contains(plan) else { return (0, 0) }
        // Of several with one source, the very one, unless this is another configuration.
        let heirs = set.plans[plan].filter { source(ofScript: $0) == sender.source }
        guard let heir = heirs.contains(sender.number) ? sender.number : heirs.last else { return (0, 0) }
        return hooks(afterScript: heir, of: flow)
    }

    /// The running script as the sender of an order.
    var sender: TunnelOrder.Sender? {
        let script = runningScript
        return source(ofScript: script).map { TunnelOrder.Sender(number: script, source: $0) }
    }

    private func source(ofScript script: Int) -> TunnelOrder.Sender.Source? {
        guard set.scripts.indices.contains(script) else { return nil }
        return switch set.scripts[script].body {
        case .plugin(let text, _): .plugin(file: text.file)
        case .hook(_, let text), .variable(let text): .block(file: text.file, line: text.line)
        }
    }
}
