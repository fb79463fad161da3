/// Open tunnels by the names that scripts give them.
extension Interpreter {
    func tag(_ flow: ScriptFlow, _ tag: [UInt8]) {
        flow.tags.append(tag)
        tagged.append(flow.handle, to: tag)
        if flow.listing != TunnelList.nowhere { host.tunnels?.tag(flow.listing, tag) }
    }

    /// All of them, or those with this tag, in the order in which they were given it.
    func openTunnels(tagged tag: [UInt8]?) -> [ScriptFlow] {
        guard let tag else { return openFlowList.filter { $0.owner?.isOpenTunnel == true } }
        return tagged.all(tag) { flow($0) }.filter { $0.owner?.isOpenTunnel == true }
    }

    /// Sends to the clients of the tunnels with this tag.
    package func deliver(_ message: ScriptMessage, tagged tag: [UInt8]) {
        var message = message
        for flow in openTunnels(tagged: tag) {
            (message.firstMessageHook, message.firstFrameHook) = hooks(after: message.sender, of: flow)
            _ = flow.owner?.send(message, to: .client)
        }
    }
}
