internal import Config
internal import LuaHooks
internal import ProxyCore

/// How much of a tunnel is looked at.
struct TunnelForm {
    /// Scripts of its location have a say, or may.
    let isScripted: Bool
    /// It is a WebSocket whose frames are followed.
    let followsFrames: Bool

    /// Bytes go from one side to the other unread.
    var isOpaque: Bool { !isScripted && !followsFrames }

    init(
        _ exchange: Exchange, _ generation: WorkerGeneration, on worker: Worker, isWebSocket: Bool
    ) {
        let settings = exchange.location.settings
        if exchange.scripts != nil, let interpreter = generation.scripts?.interpreter {
            let stages: [HookStage] = [.open, .message, .frame, .close, .drain, .log]
            isScripted =
                exchange.scriptFlow >= 0 || stages.contains { interpreter.has($0, in: settings) }
        } else {
            isScripted = false
        }
        followsFrames =
            isWebSocket
            && (isScripted || generation.logsWebSockets || exchange.webSocketDeflate.isTerminated
                || exchange.webSocketDeflate.hasUnshared
                || generation.webSocketRules(settings, on: worker).followsFrames)
    }
}
