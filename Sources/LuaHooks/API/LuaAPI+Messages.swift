internal import Config
internal import ProxyCore
internal import Wire

/// What hooks for messages and frames are given.
extension LuaAPI {
    static let itemFunctions: [LuaFunction] = itemRows(.message) + itemRows(.frame) + frameRows

    private static func itemRows(_ type: LuaType) -> [LuaFunction] {
        [
            LuaFunction(
                "from", .getter(type), "", returns: "\"client\"|\"upstream\"", "The side that it came from."
            ) { call throws(LuaError) in
                call.push(try call.item().side == .client ? "client" : "upstream")
            },
            LuaFunction(
                "type", .getter(type), "",
                returns: type == .message
                    ? "\"text\"|\"binary\""
                    : "\"text\"|\"binary\"|\"continuation\"|\"ping\"|\"pong\"|\"close\"",
                "What it holds."
            ) { call throws(LuaError) in
                call.push(try call.item().opcode.scriptName)
            },
            LuaFunction(
                "data", .getter(type), "", returns: "string",
                type == .message
                    ? "The message, whole and inflated. The string is made when it is asked for."
                    : "The payload as on the wire, without its mask."
            ) { call throws(LuaError) in
                let item = try call.item()
                if let replacement = item.replacement { return call.push(replacement) }
                return call.push(item.data)
            },
            LuaFunction(
                "data", .setter(type), "value: string",
                "What is sent instead, as if the hook had returned it."
            ) { call throws(LuaError) in
                let item = try call.item()
                let bytes = try call.bytes(3, "data")
                if let problem = item.problem(with: bytes.span) { throw LuaError("data: \(problem)") }
                item.replacement = bytes
                call.interpreter.hidePayload(item.luaType, item.handle)
                return .none
            },
            LuaFunction("size", .getter(type), "", returns: "integer", "The length of `data` in bytes.") {
                call throws(LuaError) in
                let item = try call.item()
                return call.push(item.replacement?.count ?? item.data.count)
            },
            LuaFunction("injected", .getter(type), "", returns: "boolean", "Whether a script has sent it.") {
                call throws(LuaError) in
                call.push(try call.item().isInjected)
            },
        ]
    }

    private static let frameRows: [LuaFunction] = [
        LuaFunction(
            "fin", .getter(.frame), "", returns: "boolean", "Whether it is the last frame of its message."
        ) { call throws(LuaError) in
            call.push(try call.item().isFinal)
        },
        LuaFunction("code", .getter(.frame), "", returns: "integer?", "Of a close frame that has one.") {
            call throws(LuaError) in
            guard let close = try call.closePayload() else { return call.push(nil as [UInt8]?) }
            return call.push(Int(close.code))
        },
        LuaFunction("reason", .getter(.frame), "", returns: "string?", "Of a close frame that has a code.") {
            call throws(LuaError) in
            call.push(try call.closePayload()?.reason)
        },
    ]
}

extension WebSocketItem {
    /// What scripts have for it.
    var luaType: LuaType { if case .message = kind { .message } else { .frame } }
    var handle: ObjectHandle { ObjectHandle(slot: UInt32(slot), generation: generation) }
}

extension LuaCall {
    /// The message or frame at 1, while its hooks run.
    ///
    /// Which of the two it is goes without saying, and a body that is told would be a closure with a reference to be counted.
    @inline(__always)
    func item() throws(LuaError) -> WebSocketItem {
        guard let handle = stack.object(1, .message) ?? stack.object(1, .frame) else {
            throw LuaError("found \(stack.foundName(1)), expected msg or frame")
        }
        guard let item = interpreter.items.item(Int(handle.slot), generation: handle.generation) else {
            throw LuaError("\(stack.typeName(1)) cannot be used any more: its hook has ended")
        }
        return item
    }

    fileprivate func closePayload() throws(LuaError) -> (code: UInt16, reason: [UInt8])? {
        let item = try item()
        guard item.opcode == .close, item.data.count >= 2 else { return nil }
        return (UInt16(item.data[0]) << 8 | UInt16(item.data[1]), Array(item.data[2...]))
    }
}
