package import Config
package import ProxyCore

/// Stages: the hooks of a location, one after the other, until one decides otherwise.
extension Interpreter {
    /// Whether a location has hooks for the stage.
    package func has(_ stage: HookStage, in settings: Settings) -> Bool {
        stages(in: settings).contains(stage)
    }

    /// The stages for which a location has hooks.
    package func stages(in settings: Settings) -> HookStages {
        let plan = settings.values.scriptPlan
        return plan >= 0 && plan < planStages.count ? planStages[plan] : []
    }

    package func hasRequestHooks(in settings: Settings) -> Bool { has(.request, in: settings) }

    /// Runs a stage's hooks for an exchange.
    ///
    /// - Returns: `.waiting` where the flow's owner is told later.
    package func run(_ stage: HookStage, of flow: ScriptFlow) -> StageResult {
        advance(stage, of: flow, from: 0, BodyState())
    }

    /// Runs `requestBody` or `responseBody` for a piece; `isLast` comes once, with an empty piece or the whole body.
    package func run(
        _ stage: HookStage, of flow: ScriptFlow, piece: [UInt8], isLast: Bool
    ) -> StageResult {
        advance(stage, of: flow, from: 0, BodyState(bytes: piece, isLast: isLast))
    }

    /// How a tunnel ended, for the close hooks.
    package struct CloseInfo: Sendable {
        package var code: UInt16
        package var reason: [UInt8]
        package var by: TunnelParty
        /// Both sides had said goodbye by close frames.
        package var isClean: Bool

        package init(code: UInt16, reason: [UInt8] = [], by: TunnelParty, isClean: Bool) {
            self.code = code
            self.reason = reason
            self.by = by
            self.isClean = isClean
        }
    }

    package func runClose(of flow: ScriptFlow, _ info: CloseInfo) -> StageResult {
        flow.closeInfo = info
        return run(.close, of: flow)
    }

    /// Runs the `init` hooks of all scripts, each once. They have no exchange, and nobody waits for those that wait.
    package func runInitHooks() {
        for (index, script) in scripts.enumerated() {
            guard let function = script.hooks[.initialise] else { continue }
            settleInitHook(
                call(function, .hook(.initialise), of: nil, script: index) { _ in 0 }, script: index)
        }
    }

    private func settleInitHook(_ outcome: CallOutcome, script: Int) {
        switch outcome {
        case .returned(let call, _): giveBack(call)
        case .waiting: break
        case .failed(let message): report(message, "init hook", script: script, of: nil)
        }
    }

    /// Whether init hooks have come to their ends.
    package var isInitialised: Bool {
        !calls.contains { call in
            if case .hook(.initialise) = call.purpose { call.isWaiting } else { false }
        }
    }

    // MARK: One after the other

    private func advance(
        _ stage: HookStage, of flow: ScriptFlow, from first: Int, _ state: BodyState
    ) -> StageResult {
        let places = hookPlaces(ofPlan: plan(of: flow), stage)
        var state = state
        var position = first
        while position < places.count {
            let entry = hookEntries[places.lowerBound + position]
            let outcome = call(entry.function, .hook(stage), of: flow, script: entry.script) {
                push(arguments: stage, flow, state, on: $0)
            }
            if case .waiting(let call) = outcome {
                calls[call].continuation = .hook(stage, position: position, state)
                return .waiting
            }
            if let result = goOn(from: &position, outcome, stage, of: flow, script: entry.script, &state) {
                return result
            }
        }
        return conclusion(stage, state)
    }

    /// Takes what the hook at `position` came to, which becomes that of the one that is called next.
    ///
    /// - Returns: what the stage comes to, where that is not for others to say.
    private func goOn(
        from position: inout Int, _ outcome: CallOutcome, _ stage: HookStage, of flow: ScriptFlow,
        script: Int, _ state: inout BodyState
    ) -> StageResult? {
        let comesBeforeLast = state.comesBeforeLast
        if let result = take(outcome, stage, of: flow, script: script, &state) { return result }
        if state.goOn(comesBeforeLast) { position += 1 }
        return nil
    }

    /// The position of the hooks of the location that the flow is in.
    private func plan(of flow: ScriptFlow) -> Int {
        flow.settings == nil ? flow.exchange?.location.settings.values.scriptPlan ?? -1 : Int(flow.plan)
    }

    /// What a stage comes to where every hook lets it go on.
    private func conclusion(_ stage: HookStage, _ state: BodyState) -> StageResult {
        switch stage {
        case .requestBody, .responseBody: .piece(state.isChanged ? .replaced(state.bytes) : .unchanged)
        case .drain: state.grace.map { .grace($0) } ?? .proceed
        default: .proceed
        }
    }

    private func push(
        arguments stage: HookStage, _ flow: ScriptFlow, _ state: BodyState, on stack: LuaStack
    ) -> Int {
        push(flow, on: stack)
        switch stage {
        case .requestBody, .responseBody:
            stack.push(state.bytes)
            stack.push(state.isLast && !state.comesBeforeLast)
            return 3
        case .close:
            pushCloseInfo(flow.closeInfo, on: stack)
            return 2
        case .initialise, .certificate, .request, .upgrade, .response, .open, .message, .frame, .drain, .log:
            return 1
        }
    }

    private func pushCloseInfo(_ info: CloseInfo?, on stack: LuaStack) {
        stack.pushTable(fields: 4)
        guard let info else { return }
        stack.push(Int(info.code))
        stack.setField("code", of: -2)
        stack.push(info.reason)
        stack.setField("reason", of: -2)
        stack.push(info.by.rawValue)
        stack.setField("by", of: -2)
        stack.push(info.isClean)
        stack.setField("clean", of: -2)
    }

    /// Reads what a hook came to.
    ///
    /// - Returns: the stage's result where it ends here, else `nil`: the next hook is to run.
    private func take(
        _ outcome: CallOutcome, _ stage: HookStage, of flow: ScriptFlow, script: Int, _ state: inout BodyState
    ) -> StageResult? {
        switch outcome {
        case .waiting: return .waiting
        case .failed(let message): return fault(message, stage, of: flow, script: script)
        case .returned(let call, let results):
            let stack = stack(of: call)
            defer { giveBack(call) }
            if let answer = flow.answer {
                flow.answer = nil
                return .answered(answer)
            }
            guard results > 0 else { return nil }
            let first = -results
            switch stage {
            case .requestBody, .responseBody: return takePiece(stack, first, stage, flow, script, &state)
            // Nothing is decided there.
            case .initialise, .certificate, .message, .frame, .close, .log: return nil
            case .drain:
                if let seconds = stack.number(first), seconds >= 0, seconds < 1e9 {
                    // Whoever needs the most time gets it.
                    state.grace = max(state.grace ?? 0, Int64(seconds * 1000))
                    return nil
                }
            // What `flow.client:send` and its like give is no refusal.
            case .open where stack.kind(first) == .boolean && stack.boolean(first): return nil
            case .request, .upgrade, .response, .open: break
            }
            guard stack.kind(first) != .nil else { return nil }
            return fault(
                misfit(unexpected(stack, first, stage), stage, script: script), stage, of: flow,
                script: script)
        }
    }

    /// Says what is wrong with the result at `index`. A value that is ignored would let pass what a script means to
    /// refuse: `return 403`, `return false`.
    private func unexpected(_ stack: LuaStack, _ index: Int, _ stage: HookStage) -> String {
        let expected =
            switch stage {
            case .request, .upgrade:
                "nothing, or the result of flow:respond, flow:redirect or flow:internal_redirect"
            case .response: "nothing, or the result of flow:respond or flow:redirect"
            case .open: "nothing, or the result of flow:close"
            default: "nothing, or seconds of grace"
            }
        return "found \(stack.shown(index)), expected \(expected)"
    }

    private func takePiece(
        _ stack: LuaStack, _ index: Int, _ stage: HookStage, _ flow: ScriptFlow, _ script: Int,
        _ state: inout BodyState
    ) -> StageResult? {
        switch stack.kind(index) {
        case .nil: return nil
        case .boolean where !stack.boolean(index):
            state.bytes = []
            state.isChanged = true
            return state.isLast ? nil : .piece(.dropped)
        case .string, .number:
            state.bytes = stack.bytes(index) ?? []
            state.isChanged = true
            return nil
        default:
            let message = "found \(stack.shown(index)), expected a string, false or nothing"
            return fault(misfit(message, stage, script: script), stage, of: flow, script: script)
        }
    }

    private func fault(_ message: String, _ stage: HookStage, of flow: ScriptFlow, script: Int)
        -> StageResult?
    {
        report(message, "\(stage.name) hook", script: script, of: flow)
        flow.answer = nil
        guard let settings = flow.settings ?? flow.exchange?.location.settings else { return .failed }
        switch stage {
        case .close, .log: return nil
        default: return settings.values.luaFailure == .open ? nil : .failed
        }
    }

    // MARK: After a wait

    /// A call that waited has gone on: to its end, or to the next wait. `call` is what it was before.
    func settle(_ call: HookCall, _ outcome: CallOutcome) {
        if case .waiting = outcome { return }
        switch call.continuation {
        case .hook(let stage, var position, var state):
            guard let flow = call.flow else { return settleBackground(outcome, script: call.script, of: nil) }
            let result =
                goOn(from: &position, outcome, stage, of: flow, script: call.script, &state)
                ?? advance(stage, of: flow, from: position, state)
            if case .waiting = result { return }
            flow.owner?.stageEnded(stage, result)
        case .certificate(let position, let request):
            settleCertificate(request, position: position, outcome, script: call.script)
        case .variable(let variable): settleVariable(variable, of: call.flow, outcome)
        case .item(let stage, let position, let item): settleItem(stage, position, item, call, outcome)
        case nil:
            guard case .hook(.initialise) = call.purpose else {
                return settleBackground(
                    outcome, script: call.script, of: call.flow, under: call.settings)
            }
            settleInitHook(outcome, script: call.script)
            if isInitialised { host.scriptsAreInitialised() }
        }
    }
}
