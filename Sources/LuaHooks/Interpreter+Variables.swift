internal import Config
package import ProxyCore

/// Variables that scripts define: computed when they are first asked for, and once in an exchange.
extension Interpreter {
    package func append(_ slot: Int, of exchange: Exchange, to out: inout [UInt8]) -> Bool {
        guard let variable = definition(slot, for: exchange) else { return false }
        let flow = flow(of: exchange)
        guard flow.variables.indices.contains(slot) else { return false }
        forgetAnotherScripts(variable, flow)
        switch flow.variables[slot] {
        case .known(let value, _): out.append(contentsOf: value)
        case .evaluating: reportCycle(variable, flow, to: &out)
        case .pending: pend(variable, flow, to: &out)
        case .unknown:
            evaluate(variable, flow)
            switch flow.variables[slot] {
            case .known(let value, _): out.append(contentsOf: value)
            case .pending: pend(variable, flow, to: &out)
            case .unknown, .evaluating: out.append(contentsOf: variable.fallback)
            }
        }
        return true
    }

    /// What the level that the exchange is in says of the variable.
    private func definition(_ slot: Int, for exchange: Exchange) -> ScriptVariable? {
        exchange.location.settings.values.scriptVariables.first { $0.slot == slot }
    }

    /// Where the request was sent to, a variable of the same name may be another script's.
    private func forgetAnotherScripts(_ variable: ScriptVariable, _ flow: ScriptFlow) {
        switch flow.variables[variable.slot] {
        case .known(_, let script) where script != variable.script: flow.variables[variable.slot] = .unknown
        case .pending(let call, let script, _) where script != variable.script:
            giveUp(call, for: variable.slot, flow)
        case .known, .pending, .evaluating, .unknown: break
        }
    }

    private func reportCycle(_ variable: ScriptVariable, _ flow: ScriptFlow, to out: inout [UInt8]) {
        report(
            "its value depends on itself", variableName(variable), script: variable.script, of: flow)
        out.append(contentsOf: variable.fallback)
    }

    /// The value is not there yet: what is being rendered is to be rendered again, or goes without it.
    private func pend(_ variable: ScriptVariable, _ flow: ScriptFlow, to out: inout [UInt8]) {
        guard let exchange = flow.exchange, case .pending(let call, _, _) = flow.variables[variable.slot]
        else {
            return
        }
        if exchange.scriptsMayWait {
            if let asker = variableAsker, waits(variable.slot, for: asker, flow) {
                return reportCycle(variable, flow, to: &out)
            }
            exchange.scriptIsPending = true
            pendingVariable = variable.slot
            return
        }
        report(
            "it waits, and where it is used that cannot be waited for", variableName(variable),
            script: variable.script, of: flow)
        giveUp(call, for: variable.slot, flow)
        flow.variables[variable.slot] = .known(variable.fallback, script: variable.script)
        out.append(contentsOf: variable.fallback)
    }

    private func giveUp(_ call: Int, for slot: Int, _ flow: ScriptFlow) {
        cancel(call)
        // One that runs, since it asks for the variable itself, is not cancelled.
        abandonVariable(slot, of: flow)
    }

    /// Whether the value cannot come before that call has gone on: its function waits for a variable whose function waits,
    /// and so on, and the last of these is the call.
    private func waits(_ slot: Int, for asker: Int, _ flow: ScriptFlow) -> Bool {
        var slot = slot
        // A chain has each variable once.
        for _ in flow.variables {
            guard case .pending(let call, _, _) = flow.variables[slot] else { return false }
            if call == asker { return true }
            let next = flow.variables.firstIndex { state in
                guard case .pending(_, _, let waiters) = state else { return false }
                return waiters.contains { $0.waiter.call == call && isWaiting($0.waiter) }
            }
            guard let next else { return false }
            slot = next
        }
        return false
    }

    private func evaluate(_ variable: ScriptVariable, _ flow: ScriptFlow) {
        guard let function = scripts[variable.script].function(of: variable) else { return }
        flow.variables[variable.slot] = .evaluating
        var key: [UInt8]?
        if let keyParts = variable.key, let exchange = flow.exchange {
            let wasPending = exchange.scriptIsPending
            exchange.scriptIsPending = false
            key = exchange.value(of: keyParts)
            if exchange.scriptIsPending {
                // What it maps has to come first.
                flow.variables[variable.slot] = .unknown
                return
            }
            exchange.scriptIsPending = wasPending
        }
        let outcome = call(function, .variable, of: flow, script: variable.script) { stack in
            guard variable.name.isEmpty else {
                push(flow, on: stack)
                return 1
            }
            if let key { stack.push(key) } else { stack.pushNil() }
            push(flow, on: stack)
            return 2
        }
        if case .waiting(let call) = outcome {
            calls[call].continuation = .variable(variable)
            flow.variables[variable.slot] = .pending(call: call, script: variable.script, waiters: [])
            return
        }
        store(variable, flow, outcome)
    }

    private func store(_ variable: ScriptVariable, _ flow: ScriptFlow, _ outcome: CallOutcome) {
        var value = variable.fallback
        switch outcome {
        case .waiting: return
        case .failed(let message):
            report(message, variableName(variable), script: variable.script, of: flow)
        case .returned(let call, let results):
            let stack = stack(of: call)
            if results > 0 {
                switch stack.kind(-results) {
                case .nil, .none: break
                case .boolean: value = Array((stack.boolean(-results) ? "1" : "").utf8)
                case .string, .number: value = stack.bytes(-results) ?? []
                default:
                    let found = stack.typeName(-results)
                    report(
                        "found \(found), expected a string, a number, a boolean or nothing",
                        variableName(variable), script: variable.script, of: flow)
                }
            }
            giveBack(call)
        }
        flow.variables[variable.slot] = .known(value, script: variable.script)
    }

    private func variableName(_ variable: ScriptVariable) -> String {
        "variable \"\(String(decoding: variable.label, as: UTF8.self))\""
    }

    // MARK: After a wait

    func settleVariable(_ variable: ScriptVariable, of flow: ScriptFlow?, _ outcome: CallOutcome) {
        guard let flow, flow.variables.indices.contains(variable.slot),
            case .pending(_, variable.script, let waiters) = flow.variables[variable.slot]
        else { return settleBackground(outcome, script: variable.script, of: flow) }
        store(variable, flow, outcome)
        let generation = flow.generation
        for waiter in waiters { answer(waiter, of: flow, generation) }
        guard flow.generation == generation, let exchange = flow.exchange, exchange.scriptIsPending else {
            return
        }
        exchange.scriptIsPending = false
        flow.owner?.variableIsReady()
    }

    /// The call that computed it was cancelled: whoever waits for it asks again, once nothing of the exchange is under way.
    func abandonVariable(_ slot: Int, of flow: ScriptFlow?) {
        guard let flow, flow.variables.indices.contains(slot),
            case .pending(_, _, let waiters) = flow.variables[slot]
        else { return }
        flow.variables[slot] = .unknown
        for waiter in waiters where isWaiting(waiter.waiter) {
            _ = addTimer(after: 0, .read(waiter, flow, generation: flow.generation))
        }
    }

    /// Reads any variable of the configuration for a script: pushes it, or has the script's call wait for it.
    func pushVariable(_ variable: NamedVariable, of flow: ScriptFlow, _ call: borrowing LuaCall)
        throws(LuaError)
        -> LuaResult
    {
        switch read(variable, of: flow, for: runningIndex, mayWait: call.stack.mayWait) {
        case .value(let value):
            guard let value else {
                call.stack.pushNil()
                return .one
            }
            return call.push(value)
        case .pending(let slot):
            join(VariableWaiter(waiter: try wait(call, for: "flow.var"), variable: variable), slot, flow)
            return .waits
        }
    }

    /// What a call waited for has come, which may stand on more that has not.
    func answer(_ waiter: VariableWaiter, of flow: ScriptFlow, _ generation: UInt32) {
        guard isWaiting(waiter.waiter) else { return }
        var value: [UInt8]?
        // Of an exchange that is over there is none.
        if flow.generation == generation, flow.exchange != nil {
            switch read(waiter.variable, of: flow, for: waiter.waiter.call, mayWait: true) {
            case .value(let found): value = found
            case .pending(let slot): return join(waiter, slot, flow)
            }
        }
        resume(waiter.waiter) { stack in
            if let value { stack.push(value) } else { stack.pushNil() }
            return 1
        }
    }

    private enum Reading {
        case value([UInt8]?)
        /// The variable in this slot has to come first.
        case pending(Int)
    }

    /// Reads the variable for `asker`, a call, which may wait for it or not.
    private func read(
        _ variable: NamedVariable, of flow: ScriptFlow, for asker: Int, mayWait: Bool
    ) -> Reading {
        guard let exchange = flow.exchange else { return .value(nil) }
        var value: [UInt8] = []
        let before = (exchange.scriptsMayWait, exchange.scriptIsPending, variableAsker, pendingVariable)
        exchange.scriptsMayWait = mayWait
        exchange.scriptIsPending = false
        variableAsker = asker
        let isFound = exchange.append(variable, to: &value)
        let slot = exchange.scriptIsPending ? pendingVariable : nil
        (exchange.scriptsMayWait, exchange.scriptIsPending, variableAsker, pendingVariable) = before
        if let slot { return .pending(slot) }
        return .value(isFound ? value : nil)
    }

    private func join(_ waiter: VariableWaiter, _ slot: Int, _ flow: ScriptFlow) {
        guard case .pending(let call, let script, let waiters) = flow.variables[slot] else { return }
        flow.variables[slot] = .pending(call: call, script: script, waiters: waiters + [waiter])
    }
}
