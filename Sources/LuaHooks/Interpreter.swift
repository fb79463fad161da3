internal import CSwitchyard
package import Config
internal import Digest
internal import Glibc
package import ProxyCore

/// One worker's Lua for one configuration: its scripts, their hooks, and the calls that are under way.
///
/// Confined to its worker's thread. It does no I/O: whatever a script wants of the world goes through `ScriptHost`, and
/// comes back through `resume`.
@safe
package final class Interpreter: ScriptEngine {
    package let set: ScriptSet
    // The host holds the interpreter, and nothing else runs its scripts.
    package unowned let host: any ScriptHost
    package let shared: ScriptCommons
    /// Tells it from the interpreters of other workers and configurations.
    package let number: UInt32
    // The interpreter's own from `init` to `deinit`, and used by its thread alone.
    private let vm: OpaquePointer
    private let main: LuaStack
    private let bodies: [LuaFunction.BoxedBody]
    /// Behind those of `LuaAPI.functions`.
    private let testRows: [LuaFunction]

    var scripts: [LoadedScript] = []
    /// The hooks of all plans, by the positions of `set.plans`: for each its stages' one after the other, each in the order in
    /// which they run.
    var hookEntries: [HookEntry] = []
    /// Where the hooks of each plan and stage begin, and behind them where the last end.
    var hookStarts = [0]
    /// The stages for which each plan has hooks.
    var planStages: [HookStages] = []
    let stageCount = HookStage.allCases.count
    /// By the numbers of their coroutines.
    var calls: [HookCall] = []
    package private(set) var waitingCalls = 0
    var timers = ScriptTimers()
    /// The call that reads a variable, and the slot of one that has to come first: while one is being read.
    var variableAsker: Int?
    var pendingVariable: Int?
    var patterns = PatternCache()
    /// Where a search's groups are noted: of use to one call at a time.
    var captures: [Int32] = []
    var sockets = SocketTable()
    /// By the positions of `lua_shared_dict` directives, which are the slots of their objects.
    let dictionaries: [SharedDictionary]
    let metricDefinitions: ScriptMetrics.Definitions
    /// By the slots of their objects.
    var metrics: [ScriptMetrics.Metric] = []
    /// Keys that `jwt.verify` has used, by their texts.
    var verificationKeys: [[UInt8]: VerificationKey] = [:]
    /// The metatable of headers that scripts hold whole, once there was need of it.
    var receivedHeaders: LuaReference?
    /// Where the scripts are tests.
    weak var tests: TestScript?
    /// The messages and frames that its scripts look at: of its worker.
    package var items = WebSocketItemPool()
    /// How many hooks for messages that scripts have sent are on the stack.
    var injectionDepth = 0
    /// Open tunnels by their tags.
    var tagged = TagTable<ObjectHandle>()
    var cleaning = Cleaning()
    private var flows: [ScriptFlow] = []
    private var idleFlows: [ScriptFlow] = []
    package var openFlows: Int { flows.count - idleFlows.count }
    var openFlowList: [ScriptFlow] { flows.filter(\.isOpen) }

    /// Loads every script of the set.
    package convenience init(
        _ set: ScriptSet, host: any ScriptHost, shared: ScriptCommons
    ) throws(ScriptFault) {
        try self.init(set, host: host, shared: shared, bodies: LuaAPI.functions.map(\.boxedBody))
    }

    /// With other bodies for the functions of the API: a test sees what becomes of a script where one does nothing.
    /// `tests` are functions for tests of scripts, which come after the others.
    init(
        _ set: ScriptSet, host: any ScriptHost, shared: ScriptCommons, bodies: [LuaFunction.BoxedBody],
        tests: [LuaFunction] = []
    ) throws(ScriptFault) {
        self.set = set
        self.host = host
        self.shared = shared
        number = shared.numberOfInterpreter()
        dictionaries = set.settings.sharedDictionaries.map { row in
            set.dictionaries[row.name] ?? SharedDictionary(name: row.name, capacity: row.bytes)
        }
        metricDefinitions = set.metrics ?? shared.metrics.current
        self.bodies = bodies + tests.map(\.boxedBody)
        testRows = tests
        var options = sy_vm_options()
        options.memory_limit = set.settings.memoryLimit
        let timeout = min(set.settings.hookTimeout, Int(Int32.max))
        options.hook_timeout = Int32(clamping: timeout)
        options.patience = tests.isEmpty ? Self.patience : 1
        options.prints_places = tests.isEmpty
        options.sandboxed = set.settings.sandbox
        unsafe options.dispatch = { context, function, lua in
            // The context is the interpreter, which outlives its virtual machine.
            guard let context = unsafe context, let lua = unsafe lua else { return Int32(SY_LUA_RAISE) }
            return unsafe Unmanaged<Interpreter>.fromOpaque(context)._withUnsafeGuaranteedRef {
                unsafe $0.dispatch(Int(function), LuaStack(lua))
            }
        }
        unsafe options.printer = { context, text, length in
            guard let context = unsafe context, let text = unsafe text else { return }
            let bytes = unsafe UnsafeRawBufferPointer(start: text, count: length)
            let line = unsafe String(decoding: bytes, as: UTF8.self)
            unsafe Unmanaged<Interpreter>.fromOpaque(context).takeUnretainedValue().log(.notice, line)
        }
        unsafe options.clock = { context, isMonotonic in
            // As above.
            guard let context = unsafe context else { return 0 }
            let clock = unsafe Unmanaged<Interpreter>.fromOpaque(context).takeUnretainedValue().host.clock.now
            return Double(isMonotonic ? clock.monotonic : clock.unix) / 1000
        }
        options.has_clock = host.hasFakeClock
        options.seed = host.seed
        guard let vm = unsafe sy_vm_create(&options) else {
            throw ScriptFault(message: "lua_memory_limit is too small for an interpreter")
        }
        unsafe self.vm = vm
        main = unsafe LuaStack(sy_vm_main(vm))
        unsafe sy_vm_set_context(vm, Unmanaged.passUnretained(self).toOpaque())
        unsafe sy_vm_set_path(vm, set.settings.packagePath)
        unsafe LuaAPI.define(in: vm, tests: tests)
        defineSharedDictionaries()
        try load()
        unsafe sy_vm_set_hook_timeout(vm, Int32(clamping: timeout), 1)
    }

    /// How many times the time of a hook scripts may take to load, each of the two steps of a plugin by itself: nobody waits
    /// for that, and on a busy machine the same work takes longer now and then.
    private static let patience: Int32 = 10

    deinit { unsafe sy_vm_destroy(vm) }

    // MARK: What it holds

    /// Bytes of Lua's memory.
    package var memory: Int { unsafe sy_vm_memory(vm) }
    package var coroutines: Int { Int(unsafe sy_vm_coroutines(vm)) }
    package func collectGarbage() { unsafe sy_vm_collect(vm) }
    /// A small step; returns whether it was the last of a round.
    func collectSome() -> Bool { unsafe sy_vm_collect_some(vm) }
    /// In tests: bytes that are kept for Lua though it holds none of them.
    var spareMemory: Int { unsafe sy_vm_spare_memory(vm) }
    func trimMemory() { unsafe sy_vm_trim(vm) }
    package var timerCount: Int { timers.count }

    /// Watches the calling thread, on which this and other interpreters run, so that no hook runs for too long.
    ///
    /// - Returns: an `errno` value, or 0.
    package static func watchThread() -> Int32 { sy_lua_watch_thread() }
    package static var isThreadWatched: Bool { sy_lua_is_thread_watched() }
    package static func unwatchThread() { sy_lua_unwatch_thread() }

    // MARK: From Lua

    private func dispatch(_ function: Int, _ stack: LuaStack) -> Int32 {
        let call = LuaCall(interpreter: self, stack: stack)
        do throws(LuaError) {
            return try bodies[function].run(call).code
        } catch {
            stack.pushWhere()
            let place = stack.text(-1) ?? ""
            stack.pop()
            stack.push(place + row(function).naming(error.message))
            return Int32(SY_LUA_RAISE)
        }
    }

    /// The row of an API function.
    private func row(_ function: Int) -> LuaFunction {
        let rows = LuaAPI.functions
        return function < rows.count ? rows[function] : testRows[function - rows.count]
    }

    /// What the running call goes by on the network, and whose error log it writes; `nil` where it is of no server.
    var networkSettings: Settings? {
        guard let call = currentCall else { return nil }
        guard let flow = call.flow else { return call.settings }
        // Those of a tunnel are at hand though its exchange be frozen.
        return flow.settings ?? flow.exchange?.location.settings
    }

    /// The call that is running: a hook, a timer or a variable's function.
    var currentCall: HookCall? {
        let index = runningIndex
        return calls.indices.contains(index) ? calls[index] : nil
    }

    /// The call that is running has used up its time, and ends when it goes on.
    var isInterrupted: Bool { unsafe sy_vm_is_interrupted(vm) }
    var runningIndex: Int { Int(unsafe sy_vm_running(vm)) }
    var runningScript: Int { Int(unsafe sy_vm_script(vm)) }

    // MARK: Flows

    /// The flow of the exchange, which begins with the first look at it.
    package func flow(of exchange: Exchange) -> ScriptFlow {
        if flows.indices.contains(exchange.scriptFlow) { return flows[exchange.scriptFlow] }
        let flow = idleFlows.popLast() ?? ScriptFlow(slot: flows.count)
        if flow.slot == flows.count { flows.append(flow) }
        exchange.scriptFlow = flow.slot
        flow.begin(exchange, variables: set.slots)
        return flow
    }

    /// Ends the flow of an exchange: what waits is cancelled, timers end, and objects of it refer to nothing.
    package func end(_ flow: ScriptFlow) {
        guard flow.isOpen else { return }
        cancelCalls(of: flow)
        for timer in flow.timers { cancelTimer(timer) }
        closeSockets(of: flow)
        takeOffList(flow)
        if flow.hasObject {
            main.forget(flow.objectPlace)
            flow.hasObject = false
        }
        let tags = flow.tags
        flow.end()
        idleFlows.append(flow)
        if !tags.isEmpty { tagged.noteEnd(of: tags) { self.flow($0) != nil } }
    }

    /// Ends the flow of an exchange, where there is one.
    package func endFlow(of exchange: Exchange) {
        guard flows.indices.contains(exchange.scriptFlow) else { return }
        end(flows[exchange.scriptFlow])
    }

    /// In tests: ends every flow. Exchanges and their interpreter refer to each other until then.
    package func endAllFlows() {
        for flow in flows where flow.isOpen { end(flow) }
    }

    func flow(_ handle: ObjectHandle) -> ScriptFlow? {
        let slot = Int(handle.slot)
        guard flows.indices.contains(slot), flows[slot].generation == handle.generation else { return nil }
        return flows[slot]
    }

    func flow(atSlot slot: Int) -> ScriptFlow? { flows.indices.contains(slot) ? flows[slot] : nil }

    /// Pushes the `flow` object.
    func push(_ flow: ScriptFlow, on stack: LuaStack) {
        if flow.hasObject { return stack.push(flow.objectPlace) }
        stack.push(LuaType.flow, flow.handle)
        stack.pushCopy(-1)
        if flow.objectPlace == .none {
            flow.objectPlace = stack.keep()
        } else {
            stack.keep(at: flow.objectPlace)
        }
        flow.hasObject = true
    }

    func release(_ reference: LuaReference) { main.release(reference) }

    // MARK: Calls

    /// How a call came out. Results are on top of the coroutine's stack.
    enum CallOutcome {
        case returned(call: Int, results: Int)
        case failed(String)
        case waiting(call: Int)
    }

    /// The payload of what a hook looks at, where it lies for the time of the call.
    @safe
    struct ShownPayload {
        static var none: ShownPayload { unsafe ShownPayload(nil) }
        fileprivate let pointer: UnsafeMutablePointer<sy_payload>?

        /// The pointer has to be good until the call has returned or waits.
        @unsafe
        init(_ pointer: UnsafeMutablePointer<sy_payload>?) { unsafe self.pointer = pointer }
    }

    /// Calls a function that Lua keeps; `arguments` pushes its arguments and says how many. While it runs it is shown
    /// `payload`.
    func call(
        _ function: LuaReference, _ purpose: HookCall.Purpose, of flow: ScriptFlow?, script: Int,
        under settings: Settings? = nil, showing payload: ShownPayload = .none,
        arguments: (LuaStack) -> Int
    ) -> CallOutcome {
        let index = Int(unsafe sy_vm_take(vm))
        while calls.count <= index { calls.append(HookCall()) }
        calls[index].purpose = purpose
        calls[index].begin(for: flow)
        calls[index].script = script
        if let settings { calls[index].settings = settings }
        let stack = stack(of: index)
        stack.push(function)
        return resume(index, arguments(stack), showing: payload)
    }

    /// As above, for a function that is on top of the main stack, whence it is taken.
    func callTop(_ purpose: HookCall.Purpose, script: Int, arguments: (LuaStack) -> Int) -> CallOutcome {
        let function = main.keep()
        defer { main.release(function) }
        return call(function, purpose, of: nil, script: script, arguments: arguments)
    }

    /// Scripts that are shown the object's payload are to ask for it from now on.
    func hidePayload(_ type: LuaType, _ handle: ObjectHandle) {
        unsafe sy_vm_hide_payload(vm, Int32(type.rawValue), handle.slot, handle.generation)
    }

    func stack(of call: Int) -> LuaStack { unsafe LuaStack(sy_vm_state(vm, Int32(call))) }
    var mainStack: LuaStack { main }

    private func resume(_ index: Int, _ arguments: Int, showing payload: ShownPayload = .none) -> CallOutcome
    {
        noteUse()
        var results: Int32 = 0
        let status = unsafe sy_vm_resume(
            vm, Int32(index), Int32(arguments), Int32(calls[index].script), payload.pointer, &results)
        switch Int(status) {
        case SY_CALL_RETURNED: return .returned(call: index, results: Int(results))
        case SY_CALL_WAITS:
            calls[index].wait.suspend()
            return .waiting(call: index)
        default:
            let message = stack(of: index).text(-1) ?? "unknown error"
            giveBack(index)
            return .failed(message)
        }
    }

    /// The results of a call have been read.
    func giveBack(_ index: Int) {
        calls[index].leaveFlow()
        calls[index].purpose = .none
        if calls[index].continuation != nil { calls[index].continuation = nil }
        if calls[index].closing != nil { calls[index].closing = nil }
        if calls[index].settings != nil { calls[index].settings = nil }
        unsafe sy_vm_give_back(vm, Int32(index))
    }

    // MARK: Waiting

    /// Suspends the running call once its API function returns `.waits`. What it waits for is resumed by `resume(_:_:)`,
    /// and given up through `operation` when the call is cancelled.
    func wait(_ call: borrowing LuaCall, for what: StaticString) throws(LuaError) -> Waiter {
        try mayWait(call, for: what)
        let index = runningIndex
        calls[index].generation &+= 1
        calls[index].wait = .begun(nil)
        waitingCalls += 1
        calls[index].flow?.waiting.append(index)
        return Waiter(call: index, generation: calls[index].generation)
    }

    /// Whether `wait` would succeed: to be asked before anything is begun that would have to be taken back.
    func mayWait(_ call: borrowing LuaCall, for what: StaticString) throws(LuaError) {
        let index = runningIndex
        guard calls.indices.contains(index) else { throw LuaError("\(what) cannot wait here") }
        guard call.stack.mayWait else {
            throw LuaError(
                call.stack.isOwnCoroutine
                    ? "\(what) cannot wait inside a coroutine that the script made"
                    : "\(what) cannot wait inside a callback of a library function")
        }
        if let reason = calls[index].purpose.whyItCannotWait {
            throw LuaError("\(what) cannot wait \(reason)")
        }
        guard !calls[index].outlivesExchange else {
            throw LuaError("\(what) cannot wait: its exchange is over")
        }
        guard waitingCalls < set.settings.maxWaiting else {
            throw LuaError(
                "\(what) cannot wait: \(waitingCalls) hooks wait already, lua_max_waiting allows no more")
        }
    }

    func setOperation(_ operation: any ScriptOperation, of waiter: Waiter) {
        guard isWaiting(waiter) else { return operation.cancel() }
        calls[waiter.call].wait.operation = operation
    }

    func isWaiting(_ waiter: Waiter) -> Bool {
        calls[waiter.call].isWaiting && calls[waiter.call].generation == waiter.generation
    }

    /// Goes on with a call that waits; `results` pushes what the wait came to. One that is over is left alone.
    func resume(_ waiter: Waiter, _ results: (LuaStack) -> Int) {
        guard isWaiting(waiter), maySettle(waiter.call) else { return }
        stopWaiting(waiter.call)
        let call = calls[waiter.call]
        let count = results(stack(of: waiter.call))
        settle(call, resume(waiter.call, count))
        call.flow?.owner?.somethingEnded()
    }

    private func maySettle(_ index: Int) -> Bool {
        assert(calls[index].wait.isSuspended, "a call that runs is to be gone on with or ended")
        return calls[index].wait.isSuspended
    }

    /// Gives up whatever is under way, for an interpreter that is not used any more: nothing of it is called afterwards.
    package func shutDown() {
        for index in calls.indices { cancel(index) }
        for flow in flows { end(flow) }
        while let id = timers.first { cancelTimer(id) }
        closeAllSockets()
    }

    private func stopWaiting(_ index: Int) {
        calls[index].wait = .none
        waitingCalls -= 1
        if let flow = calls[index].flow, let place = flow.waiting.firstIndex(of: index) {
            flow.waiting.swapAt(place, flow.waiting.count - 1)
            flow.waiting.removeLast()
        }
    }

    /// Cancels what waits on behalf of a flow: the client has gone, or the exchange is over.
    package func cancelCalls(of flow: ScriptFlow) {
        while let index = flow.waiting.last(where: { calls[$0].wait.isSuspended }) { cancel(index) }
        if !flow.bodyWaiters.isEmpty { flow.bodyWaiters = [] }
    }

    func cancel(_ index: Int) {
        guard calls[index].isWaiting, maySettle(index) else { return }
        let operation = calls[index].wait.operation
        let continuation = calls[index].continuation
        let flow = calls[index].flow
        stopWaiting(index)
        calls[index].purpose = .none
        calls[index].continuation = nil
        operation?.cancel()
        let script = calls[index].script
        // Handlers of <close> run in it, whose place the call still has.
        let message = unsafe sy_vm_cancel(vm, Int32(index), Int32(script))
        let settings = calls[index].settings
        calls[index].leaveFlow()
        calls[index].settings = nil
        // The text is ours.
        if let message = unsafe message {
            report(
                unsafe String(cString: message), "<close> of a cancelled call", script: script, of: flow,
                under: settings)
            unsafe free(message)
        }
        if case .variable(let variable)? = continuation { abandonVariable(variable.slot, of: flow) }
    }

    // MARK: Time

    /// Runs what was to run by now.
    package func timePassed() {
        let now = host.clock.now.monotonic
        if now >= cleaning.time { clean(now) }
        // Bounded by what is due now: a timer of 0 that renews itself does not keep the loop.
        var left = timers.count
        while left > 0, let (id, purpose) = timers.pop(now: now) {
            left -= 1
            switch purpose {
            case .wake(let waiter): resume(waiter) { _ in 0 }
            case .fail(let waiter, let message): resume(waiter, failed: message)
            case .answer(let waiter, let number):
                resume(waiter) { stack in
                    stack.push(number)
                    return 1
                }
            case .read(let waiter, let flow, let generation): answer(waiter, of: flow, generation)
            case .run(let function, let flow, let script, let interval):
                runTimer(id, function, flow, script, interval, now)
            case .close(let flow, let code, let reason):
                flow.timers.removeAll { $0 == id }
                flow.owner?.close(code: code, reason: reason)
            }
        }
        if let next = timers.next { host.setAlarm(at: max(next, now + 1)) }
        if cleaning.time != .max { host.setAlarm(at: cleaning.time) }
    }

    func addTimer(after milliseconds: Int64, _ purpose: ScriptTimers.Purpose) -> ScriptTimers.ID {
        let time = host.clock.now.monotonic + milliseconds
        let id = timers.add(at: time, purpose)
        host.setAlarm(at: time)
        return id
    }

    /// - Returns: what the timer was for, `nil` when it was over.
    @discardableResult
    func cancelTimer(_ id: ScriptTimers.ID) -> ScriptTimers.Purpose? {
        let purpose = timers.cancel(id)
        if case .run(let function, _, _, _)? = purpose { main.release(function) }
        return purpose
    }

    private func runTimer(
        _ id: ScriptTimers.ID, _ function: LuaReference, _ flow: ScriptFlow?, _ script: Int,
        _ interval: Int64,
        _ now: Int64
    ) {
        if interval > 0 {
            timers.renew(
                id, at: now + interval, .run(function, flow: flow, script: script, interval: interval))
        } else {
            flow?.timers.removeAll { $0 == id }
        }
        let generation = flow?.generation
        let outcome = call(function, .timer, of: flow, script: script) { stack in
            guard let flow else { return 0 }
            push(flow, on: stack)
            return 1
        }
        if interval == 0 { main.release(function) }
        // It may have ended the exchange.
        let flow = flow?.generation == generation ? flow : nil
        settleBackground(outcome, script: script, of: flow)
        flow?.owner?.somethingEnded()
    }

    /// A call that nobody waits for: of a timer, or spawned.
    func settleBackground(
        _ outcome: CallOutcome, script: Int, of flow: ScriptFlow?, under settings: Settings? = nil
    ) {
        switch outcome {
        case .returned(let call, _): giveBack(call)
        case .waiting: break
        case .failed(let message):
            report(message, "function", script: script, of: flow, under: settings)
        }
    }

    // MARK: Faults

    /// Counts what went wrong with a script, and writes it to the error log; that of `settings` where it is of no flow.
    func report(
        _ message: String, _ what: String, script: Int, of flow: ScriptFlow?, under settings: Settings? = nil
    ) {
        shared.countFailure()
        let name = scripts.indices.contains(script) ? " of \(scripts[script].name)" : ""
        var text = "lua: \(what)\(name) failed: \(message)"
        if let exchange = flow?.exchange { text += ", exchange \(exchange.requestIDText)" }
        host.log(.error, text, of: flow?.exchange, under: settings ?? flow?.settings)
    }

    /// What a hook came to is not what it may: says so with where the hook stands, which is all that is known by then.
    func misfit(_ message: String, _ stage: HookStage, script: Int) -> String {
        guard scripts.indices.contains(script), let hook = scripts[script].hooks[stage] else {
            return message
        }
        let stack = mainStack
        let top = stack.top
        defer { stack.top = top }
        stack.push(hook)
        stack.pushPlace(ofFunction: -1)
        guard let place = stack.text(-1)?.dropLast(2), !place.isEmpty else { return message }
        return "\(message), from the function at \(place)"
    }
}
