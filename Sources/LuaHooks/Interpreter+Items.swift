internal import CSwitchyard
internal import Config
package import ProxyCore
internal import Wire

/// Hooks for messages and frames.
extension Interpreter {
    /// Runs the hooks that are to see a message or frame, from the one at `first` on.
    ///
    /// - Returns: `.waiting` where the flow's owner is told later, by `itemJudged`.
    package func run(_ item: WebSocketItem, of flow: ScriptFlow, from first: Int) -> WebSocketVerdict {
        guard item.isInjected else { return advance(item, of: flow, from: first) }
        injectionDepth += 1
        defer { injectionDepth -= 1 }
        return advance(item, of: flow, from: first)
    }

    private func advance(_ item: WebSocketItem, of flow: ScriptFlow, from first: Int) -> WebSocketVerdict {
        let stage: HookStage = if case .message = item.kind { .message } else { .frame }
        let places = hookPlaces(ofPlan: Int(flow.plan), stage)
        var position = first
        while position < places.count {
            let entry = hookEntries[places.lowerBound + position]
            guard entry.filter.matches(item) else {
                position += 1
                continue
            }
            let outcome = call(entry, for: item, of: flow, stage)
            if case .waiting(let call) = outcome {
                calls[call].continuation = .item(stage, position: position, item)
                return .waiting
            }
            if let verdict = take(outcome, stage, position, item, of: flow, script: entry.script) {
                return verdict
            }
            position += 1
        }
        return item.isChanged ? .rewritten : .pass
    }

    private func call(
        _ entry: HookEntry, for item: WebSocketItem, of flow: ScriptFlow, _ stage: HookStage
    ) -> CallOutcome {
        // Held here, whatever becomes of the item meanwhile.
        let data = item.data
        return unsafe data.withUnsafeBytes { bytes in
            var payload = unsafe sy_payload(
                type: Int32(item.luaType.rawValue), slot: item.handle.slot,
                generation: item.handle.generation,
                bytes: bytes.baseAddress, size: bytes.count, around: nil)
            return unsafe withUnsafeMutablePointer(to: &payload) { payload in
                call(
                    entry.function, .item(stage), of: flow, script: entry.script,
                    showing: unsafe ShownPayload(payload)
                ) { stack in
                    push(flow, on: stack)
                    stack.push(item.luaType, item.handle)
                    return 2
                }
            }
        }
    }

    /// Reads what a hook came to.
    ///
    /// - Returns: what becomes of the item, or `nil`: the next hook is to see it.
    private func take(
        _ outcome: CallOutcome, _ stage: HookStage, _ position: Int, _ item: WebSocketItem,
        of flow: ScriptFlow, script: Int
    ) -> WebSocketVerdict? {
        switch outcome {
        case .waiting: return .waiting
        case .failed(let message):
            item.replacement = nil
            return fault(message, stage, of: flow, script: script)
        case .returned(let call, let results):
            let stack = stack(of: call)
            let closing = calls[call].closing
            defer { giveBack(call) }
            // What a hook has assigned counts if it comes to a proper end, and nothing else takes its place.
            let assigned = item.replacement.take()
            if let closing { return .close(code: closing.code, reason: closing.reason) }
            switch results > 0 ? stack.kind(-results) : .nil {
            case .boolean where !stack.boolean(-results): return .drop
            case .nil, .boolean:
                if let assigned {
                    item.data = assigned
                    item.isChanged = true
                }
                return nil
            case .string, .number:
                guard let bytes = stack.span(-results) else { return nil }
                if let problem = item.problem(with: bytes) {
                    return misfit(problem, stage, of: flow, script: script)
                }
                item.rewrite(bytes)
                return nil
            case .table: return takePieces(stack, -results, stage, position, item, of: flow, script: script)
            default:
                let found = stack.typeName(-results)
                return misfit(
                    "found \(found), expected a string, a list of strings, false or nothing", stage, of: flow,
                    script: script)
            }
        }
    }

    /// Several that take the place of one; hooks further on see each of them.
    private func takePieces(
        _ stack: LuaStack, _ index: Int, _ stage: HookStage, _ position: Int, _ item: WebSocketItem,
        of flow: ScriptFlow, script: Int
    ) -> WebSocketVerdict? {
        var pieces: [[UInt8]] = []
        let length = stack.length(ofTable: index)
        if let key = stack.keyBeyondList(index, length) {
            return misfit(
                "found \(key) in the table, expected a list of strings", stage, of: flow, script: script)
        }
        for element in stride(from: 1, through: length, by: 1) {
            stack.pushElement(element, of: index)
            defer { stack.pop() }
            guard let bytes = stack.bytes(-1) else {
                let found = stack.typeName(-1)
                return misfit("found \(found) in the list, expected strings", stage, of: flow, script: script)
            }
            // Those of a frame are frames of one message, whose characters may be cut.
            if stage == .message || item.opcode.isControl, let problem = item.problem(with: bytes.span) {
                return misfit(problem, stage, of: flow, script: script)
            }
            pieces.append(bytes)
        }
        guard !pieces.isEmpty else { return .drop }
        if stage == .frame, item.opcode == .text {
            let text = pieces.reduce(into: []) { $0.append(copying: $1) }
            if let problem = item.problem(with: text.span) {
                return misfit(problem, stage, of: flow, script: script)
            }
        }
        return stage == .message ? .split(pieces, position: position + 1) : .replace(pieces)
    }

    /// The hook's result is not what it may be.
    private func misfit(
        _ message: String, _ stage: HookStage, of flow: ScriptFlow, script: Int
    ) -> WebSocketVerdict? {
        fault(misfit(message, stage, script: script), stage, of: flow, script: script)
    }

    private func fault(
        _ message: String, _ stage: HookStage, of flow: ScriptFlow, script: Int
    ) -> WebSocketVerdict? {
        report(message, "\(stage.name) hook", script: script, of: flow)
        guard flow.settings?.values.luaFailure != .open else { return nil }
        return .close(code: WebSocketCloseCode.internalError, reason: [])
    }

    /// A hook that waited has gone on.
    func settleItem(
        _ stage: HookStage, _ position: Int, _ item: WebSocketItem, _ call: HookCall, _ outcome: CallOutcome
    ) {
        guard let flow = call.flow else { return settleBackground(outcome, script: call.script, of: nil) }
        let verdict =
            take(outcome, stage, position, item, of: flow, script: call.script)
            ?? advance(item, of: flow, from: position + 1)
        if case .waiting = verdict { return }
        flow.owner?.itemJudged(item, verdict)
    }

    /// Gives up the hook that waits with this item.
    package func cancel(_ item: WebSocketItem, of flow: ScriptFlow) {
        let waiting = flow.waiting.first { index in
            if case .item(_, _, let other)? = calls[index].continuation { other === item } else { false }
        }
        if let waiting { cancel(waiting) }
    }

    /// What the running hook was called for, once it has waited.
    var waitingItem: ObjectIdentifier? {
        let index = runningIndex
        guard calls.indices.contains(index), case .item(_, _, let item)? = calls[index].continuation else {
            return nil
        }
        return ObjectIdentifier(item)
    }

    /// Where the hooks begin that see what the running script sends on this flow: behind its own, and all of them
    /// where it has none there.
    func hooksAfterRunningScript(of flow: ScriptFlow) -> (message: Int, frame: Int) {
        hooks(afterScript: runningScript, of: flow)
    }

    /// As above, for a script by its number.
    func hooks(afterScript script: Int, of flow: ScriptFlow) -> (message: Int, frame: Int) {
        let plan = Int(flow.plan)
        guard set.plans.indices.contains(plan) else { return (0, 0) }
        func position(_ stage: HookStage) -> Int {
            let list = set.plans[plan]
            guard let place = list.lastIndex(of: script) else { return 0 }
            let before = Set(list[...place])
            let hooks = hooks(ofPlan: plan, stage)
            return hooks.lastIndex { before.contains($0.script) }.map { $0 - hooks.startIndex + 1 } ?? 0
        }
        return (position(.message), position(.frame))
    }
}

extension WebSocketItem {
    /// Why this cannot take the place of its payload.
    func problem(with bytes: Span<UInt8>) -> String? {
        if opcode == .text, !isCoded {
            var validator = UTF8Validator()
            // The last character of a frame that is not the last may be cut.
            guard validator.validate(bytes), validator.isAtBoundary || !isFinal else {
                return "the text is not UTF-8"
            }
        }
        if opcode.isControl, bytes.count > Int(WebSocketFrameHeader.maxControlPayload) {
            return "found \(bytes.count) bytes for a control frame, expected at most 125"
        }
        if opcode == .close, case .failure(let violation) = WebSocketClosePayload.parse(bytes) {
            return "found what no close frame may say: \(violation.rawValue)"
        }
        return nil
    }
}
