package import Config
package import ProxyCore
internal import Wire

/// Which messages, or frames, a hook is to see.
struct HookFilter {
    /// `nil` for both sides.
    var side: TunnelSide?
    var interest: WebSocketInterest

    /// All of them.
    init(_ stage: HookStage) {
        interest = WebSocketInterest(stage.opcodes)
    }

    @inline(__always)
    func matches(_ item: WebSocketItem) -> Bool {
        (side == nil || side == item.side) && interest.includes(item.opcode, size: item.data.count)
    }
}

extension Interpreter {
    /// Reads the fields of the table on top that a hook is given as.
    func takeFilter(
        _ stack: LuaStack, _ stage: HookStage, _ text: ScriptText
    ) throws(ScriptFault) -> HookFilter {
        var filter = HookFilter(stage)
        var types: [WebSocketOpcode]?
        var maxSize = Int.max
        func wrong(_ found: String, _ expected: String) -> ScriptFault {
            ScriptFault(message: "\(stage.name): found \(found), expected \(expected)", file: text.file)
        }
        let table = stack.top
        stack.pushNil()
        while stack.next(inTable: table) {
            let key = stack.kind(-2) == .string ? stack.text(-2) ?? "" : stack.typeName(-2)
            let value = stack.text(-1) ?? stack.typeName(-1)
            switch key {
            case "run": break
            case "from" where stage.hasFilter:
                switch value {
                case "client": filter.side = .client
                case "upstream": filter.side = .upstream
                case "both": filter.side = nil
                default: throw wrong("from = \"\(value)\"", "\"client\", \"upstream\" or \"both\"")
                }
            case "type" where stage.hasFilter:
                let known = stage.opcodes
                guard let type = known.first(where: { $0.scriptName == value }) else {
                    throw wrong(
                        "type = \"\(value)\"", "one of " + known.map(\.scriptName).joined(separator: ", "))
                }
                types = [type]
            case "max_size" where stage.hasFilter:
                guard let size = stack.integer(-1), size >= 0 else {
                    throw wrong("max_size = \(value)", "a number of bytes")
                }
                maxSize = Int(size)
            default:
                throw wrong("\"\(key)\"", stage.hasFilter ? "run, from, type or max_size" : "run")
            }
            stack.pop()
        }
        if types != nil || maxSize != .max {
            filter.interest = WebSocketInterest(types ?? stage.opcodes, maxSize: maxSize)
        }
        return filter
    }

    /// Which messages, or frames, from a side some hook of a location is to see.
    package func interest(
        _ stage: HookStage, from side: TunnelSide, in settings: Settings
    ) -> WebSocketInterest {
        var interest = WebSocketInterest.none
        for entry in hooks(ofPlan: settings.values.scriptPlan, stage)
        where entry.filter.side == nil || entry.filter.side == side {
            interest.add(entry.filter.interest)
        }
        return interest
    }
}

extension HookStage {
    fileprivate var hasFilter: Bool { self == .message || self == .frame }

    /// All that hooks of this stage may be shown: messages are of two kinds.
    var opcodes: [WebSocketOpcode] { self == .frame ? WebSocketOpcode.allCases : [.text, .binary] }
}

extension WebSocketOpcode {
    /// As scripts call it.
    var scriptName: String {
        switch self {
        case .continuation: "continuation"
        case .text: "text"
        case .binary: "binary"
        case .close: "close"
        case .ping: "ping"
        case .pong: "pong"
        }
    }
}
