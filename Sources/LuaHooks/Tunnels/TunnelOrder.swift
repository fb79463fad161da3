internal import ProxyCore

/// What a script asks of a tunnel of another interpreter, on its way there.
package struct TunnelOrder: Sendable {
    package enum Action: Sendable {
        case send([UInt8], isText: Bool, to: FlowLeg)
        /// Ends the tunnel, with this for both peers.
        case close(code: UInt16, reason: [UInt8])
        /// Ends it, with this for the one peer.
        case closeLeg(FlowLeg, code: UInt16, reason: [UInt8])
        /// The list has the tag already.
        case tag([UInt8])
    }

    let tunnel: RemoteTunnel
    let action: Action
    /// Whose hooks do not see what it sends, nor do those before; `nil` for a script of no file.
    let sender: Sender?
    /// How many hooks for what other hooks have sent led to it.
    let depth: Int

    /// A script by what names it in another configuration too.
    struct Sender: Sendable {
        enum Source: Sendable, Equatable {
            case plugin(file: String)
            case block(file: String, line: Int)
        }

        /// In its own configuration.
        var number: Int
        var source: Source
    }

    /// What it counts for among what is under way.
    var bytes: Int {
        // The order itself takes room too, so that empty messages do not pile up without end.
        guard case .send(let payload, _, _) = action else { return 0 }
        return payload.count + WebSocketPlane.roomOfMessage
    }
}
