internal import Config
internal import ProxyCore

/// Timers of an exchange. They end with it.
extension LuaAPI {
    static let timerFunctions: [LuaFunction] = [
        LuaFunction(
            "after", .method(.flow), "seconds: number, fn: fun(flow: Flow)", returns: "Timer",
            "Calls the function once this time has passed, unless the exchange has ended by then. An error in "
                + "`log` hooks, with which it ends: `sy.spawn` with `sy.sleep` goes on."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            let time = try call.milliseconds(2, "after")
            return try call.startTimer(flow, after: time, interval: 0, "after")
        },
        LuaFunction(
            "every", .method(.flow), "seconds: number, fn: fun(flow: Flow)", returns: "Timer",
            "Calls the function each time that so many seconds have passed, until the exchange ends; "
                + "at least 0.001."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            let time = try call.milliseconds(2, "every")
            guard try call.number(2, "every") >= 0.001 else {
                throw LuaError("every: found \(call.stack.text(2) ?? ""), expected at least 0.001 seconds")
            }
            return try call.startTimer(flow, after: time, interval: time, "every")
        },
        LuaFunction(
            "deadline", .method(.flow), "unix_time: number, code?: integer, reason?: string",
            returns: "Timer",
            "Ends the tunnel at this time, as `flow:close` does; at once when it has passed. A request that "
                + "has no response by then is answered with 503. A reload takes the deadline along, and its Timer "
                + "where that is in `flow.ctx`."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            let time = try call.number(2, "deadline")
            guard time >= 0, time <= 253_402_300_799 else {
                throw LuaError("deadline: found \(time), expected seconds since 1970")
            }
            let (code, reason) = try call.closing(3, "deadline")
            try call.checkTimers(of: flow, "deadline")
            let interpreter = call.interpreter
            let wait = Int64((time * 1000).rounded(.up)) - interpreter.host.clock.now.unix
            return call.push(
                interpreter.addTimer(
                    after: max(wait, 0), .close(flow, code: code, reason: reason)), of: flow)
        },
        LuaFunction(
            "cancel", .method(.timer), "", returns: "boolean",
            "Stops the timer. False when there was nothing left to stop."
        ) { call throws(LuaError) in
            guard let handle = call.stack.object(1, .timer) else {
                throw call.mismatch(1, "cancel", "a timer: call it with a colon")
            }
            let id = handle.timer
            guard let purpose = call.interpreter.cancelTimer(id) else { return call.push(false) }
            purpose.flow?.timers.removeAll { $0 == id }
            purpose.flow?.owner?.somethingEnded()
            return call.push(true)
        },
    ]
}

extension LuaCall {
    /// What one exchange may have: memory that `lua_memory_limit` does not count.
    static let maximumTimers = 1000

    func checkTimers(of flow: ScriptFlow, _ name: StaticString) throws(LuaError) {
        guard runningStage(of: flow) != .log else {
            throw LuaError(
                "flow:\(name) cannot be used in a log hook: the exchange is over, and its timers with it; use sy.spawn with "
                    + "sy.sleep")
        }
        guard flow.timers.count < Self.maximumTimers else {
            throw LuaError("\(name): the exchange has \(flow.timers.count) timers already")
        }
    }

    fileprivate func startTimer(
        _ flow: ScriptFlow, after time: Int64, interval: Int64, _ name: StaticString
    ) throws(LuaError) -> LuaResult {
        try function(3, name)
        try checkTimers(of: flow, name)
        stack.top = 3
        let purpose = ScriptTimers.Purpose.run(
            stack.keep(), flow: flow, script: interpreter.runningScript, interval: interval)
        return push(interpreter.addTimer(after: time, purpose), of: flow)
    }

    fileprivate func push(_ timer: ScriptTimers.ID, of flow: ScriptFlow) -> LuaResult {
        flow.timers.append(timer)
        stack.push(.timer, ObjectHandle(timer: timer))
        return .one
    }
}
