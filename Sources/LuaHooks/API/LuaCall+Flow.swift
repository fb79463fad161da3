internal import Config
internal import ProxyCore

extension LuaCall {
    /// What stands at `index` is not the object that a method is called on.
    func wrongObject(_ index: Int, _ expected: String) -> LuaError {
        LuaError("found \(stack.foundName(index)), expected \(expected): call it with a colon")
    }

    /// The flow of an object at `index`, alive.
    @inline(__always)
    func flow(_ index: Int = 1, _ type: LuaType) throws(LuaError) -> ScriptFlow {
        guard let handle = stack.object(index, type) else { throw wrongObject(index, type.name) }
        guard let flow = interpreter.flow(handle), flow.isOpen else {
            throw LuaError("\(type.name) cannot be used any more: its exchange is over")
        }
        return flow
    }

    @inline(__always)
    func exchange(_ type: LuaType) throws(LuaError) -> Exchange {
        try exchange(of: try flow(1, type))
    }

    @inline(__always)
    func exchange(of flow: ScriptFlow) throws(LuaError) -> Exchange {
        guard let exchange = flow.exchange else { throw LuaError("its exchange is over") }
        return exchange
    }

    /// Sees to it that the call is made in a hook of one of these stages, of the flow itself: an object of
    /// another exchange may be at hand, which is at a stage of its own.
    @inline(__always)
    func expect(_ flow: ScriptFlow, in stages: HookStages, _ name: StaticString) throws(LuaError) {
        if let stage = runningStage(of: flow), stages.contains(stage) { return }
        throw misplaced(flow, stages, name)
    }

    /// The stage of the hook that makes the call; `nil` where it is no hook of the flow itself.
    @inline(__always)
    func runningStage(of flow: ScriptFlow) -> HookStage? {
        let index = interpreter.runningIndex
        guard interpreter.calls.indices.contains(index), interpreter.calls[index].flow === flow else {
            return nil
        }
        return interpreter.calls[index].purpose.stage
    }

    private func misplaced(_ flow: ScriptFlow, _ stages: HookStages, _ name: StaticString) -> LuaError {
        let call = interpreter.currentCall
        guard call?.flow === flow || call?.flow == nil else {
            return LuaError("\(name) cannot be used by a hook of another exchange")
        }
        let place = call?.purpose.place ?? "here"
        return LuaError("\(name) can be used in \(stages.names) hooks, not \(place)")
    }
}

extension HookCall.Purpose {
    /// The stage whose hook it is.
    var stage: HookStage? {
        switch self {
        case .hook(let stage), .item(let stage): stage
        case .certificate: .certificate
        case .none, .load, .variable, .timer, .spawned, .test, .migration: nil
        }
    }

    /// As messages name the place of a call.
    var place: String {
        switch self {
        case .none: "here"
        case .load: "while a script is being loaded"
        case .hook(let stage), .item(let stage):
            "in \("aeiou".contains(stage.name.first ?? "b") ? "an" : "a") \(stage.name) hook"
        case .certificate: "in a certificate hook"
        case .variable: "while a variable is being computed"
        case .timer: "in a timer's function"
        case .spawned: "in a spawned function"
        case .test: "in a test"
        case .migration: "in a migrate function"
        }
    }
}
