internal import Wire

/// A message that comes in more than one frame or read, or that is inflated.
struct WebSocketAssembly {
    let opcode: WebSocketOpcode
    let isCompressed: Bool
    /// Hooks are to see it.
    var isWanted: Bool
    /// Its frames as they came.
    var raw: [UInt8]
    let keepsRaw: Bool
    let item: WebSocketItem
    var utf8 = UTF8Validator()
    /// Of the current frame.
    var maskKey: WebSocketMaskKey?
    var position = 0
    var isLastFrame = false

    struct Breach {
        var code: UInt16
        var reason: String

        static let tooBig = Breach(code: WebSocketCloseCode.messageTooBig, reason: "message too big")
        static let noRoom = Breach(
            code: WebSocketCloseCode.tryAgainLater, reason: "too much is held of messages")
        static let notUTF8 = Breach(code: WebSocketCloseCode.invalidPayload, reason: "text is not UTF-8")
        static let corrupt = Breach(
            code: WebSocketCloseCode.invalidPayload, reason: "compressed data is corrupt")
    }

    /// Adds the next piece of the current frame's payload.
    mutating func take(_ payload: Span<UInt8>, _ codec: WebSocketCodec?, _ rules: WebSocketRules) -> Breach? {
        let limit = rules.assembledLimit
        let allowance = rules.allowance(of: item)
        let before = item.data.count
        if keepsRaw {
            guard payload.count <= rules.heldLimit &- raw.count else { return .tooBig }
            guard payload.count <= allowance &- raw.count &- before else { return .noRoom }
            raw.append(copying: payload, payload.indices)
        }
        // What there is room for.
        let most = min(limit, allowance &- raw.count)
        guard before <= most else { return .noRoom }
        if isCompressed {
            var plain = rules.commons.takeBuffer()
            defer { rules.commons.giveBack(&plain) }
            plain.append(unmasking: payload, with: maskKey, position: position)
            switch codec?.inflater?.append(plain.span, to: &item.data, limit: most) ?? .corrupt {
            case .ok: break
            case .tooLarge: return most < limit ? .noRoom : .tooBig
            case .corrupt: return .corrupt
            }
        } else {
            guard payload.count <= limit &- before else { return .tooBig }
            guard payload.count <= most &- before else { return .noRoom }
            item.data.append(unmasking: payload, with: maskKey, position: position)
        }
        position &+= payload.count
        rules.commons.items.hold(raw.count &+ item.data.count, by: item)
        return validate(from: before)
    }

    /// The last frame has come.
    mutating func finish(_ codec: WebSocketCodec?, limit: Int) -> Breach? {
        if isCompressed {
            let before = item.data.count
            switch codec?.inflater?.endMessage(to: &item.data, limit: limit) ?? .corrupt {
            case .ok: break
            case .tooLarge: return .tooBig
            case .corrupt: return .corrupt
            }
            if let breach = validate(from: before) { return breach }
        }
        return opcode == .text && !utf8.isAtBoundary ? .notUTF8 : nil
    }

    private mutating func validate(from start: Int) -> Breach? {
        guard opcode == .text, start < item.data.count else { return nil }
        let data = item.data
        return utf8.validate(data.span.extracting(start...)) ? nil : .notUTF8
    }
}
