internal import Config
package import ProxyCore

/// Variables that scripts define: computed when they are first asked for, and once in an exchange.
extension Interpreter {
    package func append(_ slot: Int, of exchange: Exchange, to out: inout [UInt8]) -> Bool {
        guard let variable = definition(slot, for: exchange) else { return false }
        let flow = flow(of: exchange)
        guard flow.variables.indices.contains(slot) else { return false }
        // Where the request was sent to, a variable of the same name may be another script's.
        if case .known(_, let script) = flow.variables[slot], script != variable.script {
            flow.variables[slot] = .unknown
        }
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

    private func reportCycle(_ variable: ScriptVariable, _ flow: ScriptFlow, to out: inout [UInt8]) {
        report(
            "its value depends on itself", "variable", script: variable.script, of: flow)
        out.append(contentsOf: variable.fallback)
    }

    /// The value is not there yet: what is being rendered is to be rendered again, or goes without it.
    private func pend(_ variable: ScriptVariable, _ flow: ScriptFlow, to out: inout [UInt8]) {
        guard let exchange = flow.exchange else { return }
        if exchange.scriptsMayWait {
            exchange.scriptIsPending = true
            return
        }
        guard case .pending(let call, _) = flow.variables[variable.slot] else { return }
        report(
            "it waits, and where it is used that cannot be waited for", "variable", script: variable.script,
            of: flow)
        flow.variables[variable.slot] = .known(variable.fallback, script: variable.script)
        cancel(call)
        out.append(contentsOf: variable.fallback)
    }

    private func evaluate(_ variable: ScriptVariable, _ flow: ScriptFlow) {
        guard let function = scripts[variable.script].function(of: variable) else { return }
        flow.variables[variable.slot] = .evaluating
        let outcome = call(function, .variable, of: flow, script: variable.script) { stack in
            guard variable.name.isEmpty else {
                push(flow, on: stack)
                return 1
            }
            if let key = variable.key, let exchange = flow.exchange {
                stack.push(exchange.value(of: key))
            } else {
                stack.pushNil()
            }
            push(flow, on: stack)
            return 2
        }
        if case .waiting(let call) = outcome {
            calls[call].continuation = .variable(variable)
            flow.variables[variable.slot] = .pending(call: call, waiters: [])
            return
        }
        store(variable, flow, outcome)
    }

    private func store(_ variable: ScriptVariable, _ flow: ScriptFlow, _ outcome: CallOutcome) {
        var value = variable.fallback
        switch outcome {
        case .waiting: return
        case .failed(let message):
            shared.countFailure()
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
        variable.name.isEmpty ? "variable" : "variable \"\(String(decoding: variable.name, as: UTF8.self))\""
    }

    // MARK: After a wait

    func settleVariable(_ variable: ScriptVariable, of flow: ScriptFlow?, _ outcome: CallOutcome) {
        guard let flow, case .pending(_, let waiters) = flow.variables[variable.slot] else {
            return settleBackground(outcome, script: variable.script, of: flow)
        }
        store(variable, flow, outcome)
        guard case .known(let value, _) = flow.variables[variable.slot] else { return }
        let generation = flow.generation
        for waiter in waiters {
            resume(waiter) { stack in
                stack.push(value)
                return 1
            }
        }
        guard flow.generation == generation, let exchange = flow.exchange, exchange.scriptIsPending else {
            return
        }
        exchange.scriptIsPending = false
        flow.owner?.variableIsReady()
    }

    /// The call that computed it was cancelled.
    func abandonVariable(_ slot: Int, of flow: ScriptFlow?) {
        guard let flow, flow.variables.indices.contains(slot), case .pending = flow.variables[slot] else {
            return
        }
        flow.variables[slot] = .unknown
    }

    /// Reads any variable of the configuration for a script: pushes it, or has the script's call wait for it.
    func pushVariable(_ variable: NamedVariable, of flow: ScriptFlow, _ call: borrowing LuaCall)
        throws(LuaError)
        -> LuaResult
    {
        guard let exchange = flow.exchange else { return .none }
        var value: [UInt8] = []
        let mayWait = exchange.scriptsMayWait
        let wasPending = exchange.scriptIsPending
        exchange.scriptsMayWait = call.stack.mayWait
        exchange.scriptIsPending = false
        let isFound = exchange.append(variable, to: &value)
        let isPending = exchange.scriptIsPending
        exchange.scriptsMayWait = mayWait
        exchange.scriptIsPending = wasPending
        guard isPending else {
            guard isFound else {
                call.stack.pushNil()
                return .one
            }
            return call.push(value)
        }
        let waiter = try wait(call, for: "flow.var")
        for slot in flow.variables.indices {
            guard case .pending(let pending, var waiters) = flow.variables[slot] else { continue }
            // Of a map that stands on several, one has to be waited for at a time; which does not matter.
            waiters.append(waiter)
            flow.variables[slot] = .pending(call: pending, waiters: waiters)
            break
        }
        return .waits
    }
}
