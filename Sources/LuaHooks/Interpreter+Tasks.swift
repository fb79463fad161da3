internal import Config

/// What scripts do beside exchanges.
extension Interpreter {
    /// Calls the function that is the call's first argument, as a call of no exchange.
    func spawn(_ call: borrowing LuaCall) throws(LuaError) {
        if case .load? = currentCall?.purpose {
            throw LuaError(
                "spawn cannot be called while its script is being loaded: call it in the init hook")
        }
        let script = runningScript
        call.stack.pushCopy(1)
        let function = call.stack.keep()
        let settings = networkSettings
        let outcome = self.call(function, .spawned, of: nil, script: script, under: settings) { _ in 0 }
        release(function)
        settleBackground(outcome, script: script, of: nil, under: settings)
    }

    /// Defines `sy.shared` with a field for each dictionary.
    func defineSharedDictionaries() {
        let stack = mainStack
        let top = stack.top
        defer { stack.top = top }
        stack.pushGlobal("sy")
        stack.pushTable(fields: dictionaries.count)
        for (slot, dictionary) in dictionaries.enumerated() {
            stack.push(.dictionary, ObjectHandle(slot: UInt32(slot), generation: 0))
            stack.setField(dictionary.name, of: -2)
        }
        stack.pushTable(fields: 1)
        stack.push(closure: LuaAPI.unknownDictionary, binding: 0)
        stack.setField("__index", of: -2)
        stack.setMetatable(of: -2)
        stack.setField("shared", of: -2)
    }

    /// Writes a script's line to the error log.
    func log(_ level: LogLevel, _ text: String) {
        host.log(level, "lua: " + text, of: currentCall?.flow?.exchange, under: networkSettings)
    }
}
