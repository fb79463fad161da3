package import Config
package import Wire

/// What permessage-deflate means for one direction of a WebSocket: how its messages come, and how they are to go.
package final class WebSocketCodec {
    /// Of messages that come compressed.
    let inflater: WebSocketInflater?
    /// The proxy is an end of the extension on a leg at least: every message is put together, and written anew.
    let isTerminated: Bool
    private var deflater: WebSocketDeflater?
    /// The peers agreed with each other, and a message they could refer to was changed: from here on, whatever comes
    /// compressed is compressed anew.
    private(set) var hasTakenOver = false
    /// How to compress once that is the case.
    private let takeOver: (() -> WebSocketDeflater?)?
    private let minimumSize: Int
    /// A message went by that others may refer to, so that none that is compressed can be inflated any more.
    private(set) var hasLostTrack = false

    /// For peers that compress from end to end, by `parameters`.
    package init(
        passing parameters: PermessageDeflate.Parameters, from sender: WebSocketRole, pool: DeflatePool
    ) {
        let (windowBits, keepsContext) = parameters.direction(from: sender)
        inflater = WebSocketInflater(windowBits: windowBits, keepsContext: keepsContext, pool: pool)
        isTerminated = false
        minimumSize = 0
        takeOver = {
            WebSocketDeflater(windowBits: windowBits, keepsContext: keepsContext, level: 6, pool: pool)
        }
        dropsNeedTakeover = keepsContext
    }

    /// Whether a message that is left out changes what the ones behind it refer to.
    private let dropsNeedTakeover: Bool

    /// Where the proxy is an end of the extension: `source` and `target` are what was agreed on with those peers.
    package init(
        source: PermessageDeflate.Parameters?, sender: WebSocketRole, target: PermessageDeflate.Parameters?,
        receiver: WebSocketRole, options: WebSocketDeflateOptions, pool: DeflatePool
    ) {
        inflater = source.map { parameters in
            let (windowBits, keepsContext) = parameters.direction(from: sender)
            return WebSocketInflater(windowBits: windowBits, keepsContext: keepsContext, pool: pool)
        }
        isTerminated = true
        minimumSize = options.minimumSize
        takeOver = nil
        dropsNeedTakeover = false
        deflater = target.flatMap { parameters in
            // What we send has the role that the receiver is not.
            let (windowBits, keepsContext) = parameters.direction(
                from: receiver == .server ? .client : .server)
            return WebSocketDeflater(
                windowBits: min(windowBits, options.windowBits),
                keepsContext: keepsContext && options.contextTakeover, level: options.level,
                memoryLevel: Self.memoryLevel(options.windowBits), pool: pool)
        }
    }

    /// A small window says that memory is to be spared.
    private static func memoryLevel(_ windowBits: Int) -> Int { max(1, min(8, windowBits - 7)) }

    /// Bytes that zlib holds at the moment.
    package var memory: Int { (inflater?.memory ?? 0) + (deflater?.memory ?? 0) }

    /// A compressed message does not go on as it came.
    func noteChange(isDrop: Bool) {
        guard !isTerminated, !hasTakenOver, !isDrop || dropsNeedTakeover else { return }
        hasTakenOver = true
        deflater = takeOver?()
    }

    /// Whether a message goes on as it came, when nothing changes it.
    func passesVerbatim(isCompressed: Bool) -> Bool {
        !isTerminated && !(isCompressed && hasTakenOver)
    }

    /// A compressed message is to go by that cannot be inflated, since another extension has changed it.
    ///
    /// - Returns: whether it can.
    func passesUnseen() -> Bool {
        // What comes compressed is not compressed that way any more where it goes to.
        guard !isTerminated, !hasTakenOver else { return false }
        if dropsNeedTakeover { hasLostTrack = true }
        return true
    }

    /// Appends the frame of a whole message. `wasCompressed` is of the message that it stands for, and counts where the
    /// peers agreed with each other.
    func append(
        _ opcode: WebSocketOpcode, _ payload: Span<UInt8>, wasCompressed: Bool, maskKey: WebSocketMaskKey?,
        to output: inout [UInt8]
    ) {
        guard let deflater, isTerminated || wasCompressed, payload.count >= minimumSize else {
            return WebSocketFraming.append(opcode, payload, maskKey: maskKey, to: &output)
        }
        var deflated: [UInt8] = []
        deflater.append(message: payload, to: &deflated)
        WebSocketFraming.append(
            opcode, deflated.span, reserved: WebSocketFrameHeader.reserved1, maskKey: maskKey, to: &output)
    }
}

/// Both directions.
package final class WebSocketCodecs {
    private let fromClient: WebSocketCodec
    private let fromUpstream: WebSocketCodec

    package init(fromClient: WebSocketCodec, fromUpstream: WebSocketCodec) {
        self.fromClient = fromClient
        self.fromUpstream = fromUpstream
    }

    subscript(side: TunnelSide) -> WebSocketCodec { side == .client ? fromClient : fromUpstream }

    func reservedBits(from side: TunnelSide) -> UInt8 {
        self[side].inflater == nil ? 0 : WebSocketFrameHeader.reserved1
    }

    var memory: Int { fromClient.memory + fromUpstream.memory }
}

/// Frames of our own.
package enum WebSocketFraming {
    package static func append(
        _ opcode: WebSocketOpcode, _ payload: Span<UInt8>, isFinal: Bool = true, reserved: UInt8 = 0,
        maskKey: WebSocketMaskKey?, to output: inout [UInt8]
    ) {
        let header = WebSocketFrameHeader(
            opcode, payloadLength: Int64(payload.count), isFinal: isFinal, reserved: reserved,
            maskKey: maskKey)
        header.append(to: &output)
        if let maskKey {
            maskKey.append(masking: payload, to: &output)
        } else {
            output.append(copying: payload, payload.indices)
        }
    }
}
