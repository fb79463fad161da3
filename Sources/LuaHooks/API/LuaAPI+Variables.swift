internal import Config
internal import ProxyCore

extension LuaAPI {
    static let variableFunctions: [LuaFunction] = [
        LuaFunction(
            "[name]", .anyGetter(.variables), "name: string|integer", returns: "string?", waits: true,
            "The value of the configuration's variable, which may have to be waited for; nil where "
                + "it has none, or the exchange ends meanwhile. An error for a name that no variable has. "
                + "`flow.var[1]` to `[9]` are the groups of the last regular expression of the configuration that "
                + "matched."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .variables)
            if let group = call.group(2) {
                return call.push(try call.exchange(of: flow).capture(group))
            }
            let (variable, _) = try call.variable(2, of: try call.exchange(of: flow))
            return try call.interpreter.pushVariable(variable, of: flow, call)
        },
        LuaFunction(
            "[name]", .anySetter(.variables), "name: string, value: string|number",
            "Sets a variable that `set` assigns somewhere in the configuration, or `args`."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .variables)
            let exchange = try call.exchange(of: flow)
            if let group = call.group(2) { throw LuaError("flow.var: $\(group) cannot be set") }
            let (variable, name) = try call.variable(2, of: exchange)
            guard call.isGiven(3), let value = call.stack.bytes(3) else {
                throw call.mismatch(3, "flow.var", "a string or a number")
            }
            if name == Array("args".utf8) {
                try call.expect(flow, in: [.request, .upgrade], "flow.var.args")
                try call.setArguments(try call.query(3), of: exchange)
                return .none
            }
            guard let slot = variable.assignedSlot else {
                let shown = String(decoding: name.prefix(64), as: UTF8.self)
                throw LuaError(
                    "flow.var: $\(shown) cannot be set: only what `set` assigns can, and $args")
            }
            try call.checkLength(value.count, "flow.var")
            exchange.assigned.set(slot, to: value)
            return .none
        },
    ]
}

extension LuaCall {
    /// The number of a regular expression's group, where the name at `index` is one: `1` to `9`.
    fileprivate func group(_ index: Int) -> Int? {
        guard let name = stack.span(index), name.count == 1, name[0] &- UInt8(ascii: "1") < 9 else {
            return nil
        }
        return Int(name[0] - UInt8(ascii: "0"))
    }

    /// The variable whose name is at `index`, and the name in lower case.
    func variable(_ index: Int, of exchange: Exchange) throws(LuaError) -> (NamedVariable, name: [UInt8]) {
        var name = try bytes(index, "flow.var")
        ByteText.lowercase(&name)
        guard let variable = exchange.runtime.variable(named: name) else {
            let shown = String(decoding: name.prefix(64), as: UTF8.self)
            throw LuaError("flow.var: there is no variable $\(shown)")
        }
        return (variable, name)
    }
}
