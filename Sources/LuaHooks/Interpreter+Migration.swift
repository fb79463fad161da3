package import Config
package import ProxyCore

/// Open tunnels that go on with the scripts of a new configuration.
extension Interpreter {
    /// Where a tunnel of an older configuration goes on.
    package struct Destination {
        package let server: VirtualServer
        package let location: Location
        /// By the numbers of the old scripts.
        fileprivate let successors: [Int: Int]
    }

    /// The place in this configuration for a tunnel of `old`: the location of the same name, of the server that its
    /// host has here, where each of its scripts is still there. `nil` where there is none.
    package func destination(
        of exchange: Exchange, in runtime: RuntimeConfiguration, from old: Interpreter, _ settings: Settings
    ) -> Destination? {
        switch exchange.location.matcher {
        case .ifBlock, .limitExcept: return nil
        case .server, .exact, .prefix, .regex, .named: break
        }
        let name = LocationName.text(of: exchange.location, in: exchange.server)
        guard let server = runtime.server(likeThatOf: exchange),
            let location = LocationName.location(name, in: server),
            old.set.plans.indices.contains(settings.values.scriptPlan),
            set.plans.indices.contains(location.settings.values.scriptPlan)
        else { return nil }
        var heirs = keyed(set.plans[location.settings.values.scriptPlan])
        var successors: [Int: Int] = [:]
        for (key, script) in old.keyed(old.set.plans[settings.values.scriptPlan]) {
            guard let heir = heirs.removeValue(forKey: key) else { return nil }
            successors[script] = heir
        }
        return Destination(server: server, location: location, successors: successors)
    }

    /// Scripts by what makes them the same across reloads: a plugin's file; the stage of a block, and which of those in
    /// the location it is.
    private func keyed(_ plan: [Int]) -> [String: Int] {
        var keys: [String: Int] = [:]
        for script in plan where set.scripts.indices.contains(script) {
            let key =
                switch set.scripts[script].body {
                case .plugin(let text, _): "plugin \(text.file)"
                case .hook(let stage, _): "hook \(stage.name)"
                case .variable(let text): "variable \(text.file):\(text.line)"
                }
            var number = 0
            while keys["\(key) \(number)"] != nil { number += 1 }
            keys["\(key) \(number)"] = script
        }
        return keys
    }

    /// What a tunnel takes along: its contexts, which are in this interpreter already, and its deadlines.
    package struct Estate {
        fileprivate let destination: Destination
        fileprivate let contexts: [(script: Int, copy: LuaReference?)]
        fileprivate let deadlines: [Deadline]
    }

    fileprivate struct Deadline {
        let time: Int64
        let code: UInt16
        let reason: [UInt8]
        /// What its timer is in the old interpreter, and is going to be here.
        let timer: (former: ScriptTimers.ID, now: ScriptTimers.ID)
    }

    /// Whether a tunnel can move.
    package enum Readiness {
        /// At once: `takeOver`, and then `giveContexts`, take it.
        case ready(Estate)
        /// As soon as hooks that wait have come to their ends.
        case waits
        /// Functions of the old scripts are to run later, or have connections open: these cannot move, and may last as long
        /// as the tunnel.
        case isBound
        /// Not at all: its contexts are too large, which is logged.
        case isTooLarge
    }

    /// Looks whether a tunnel of an older configuration can come here now. Timers do not bind a script that has `migrate`
    /// here, and so sees to them.
    package func readiness(
        of flow: ScriptFlow, from old: Interpreter, for destination: Destination
    ) -> Readiness {
        guard flow.waiting.isEmpty else { return .waits }
        guard !old.hasOpenSockets(flow) else { return .isBound }
        var deadlines: [Deadline] = []
        for timer in flow.timers {
            guard let (time, purpose) = old.timers.entry(timer) else { continue }
            switch purpose {
            case .close(_, let code, let reason):
                deadlines.append(
                    Deadline(time: time, code: code, reason: reason, timer: (timer, timers.nextID())))
            case .run(_, _, let script, _):
                guard let heir = destination.successors[script], scripts[heir].migration != nil else {
                    return .isBound
                }
            case .wake, .fail, .answer, .read: return .isBound
            }
        }
        guard let contexts = contexts(of: flow, in: old, for: destination, deadlines.map(\.timer)) else {
            return .isTooLarge
        }
        return .ready(Estate(destination: destination, contexts: contexts, deadlines: deadlines))
    }

    /// Takes a tunnel over, whose `exchange` is one of this configuration by now, with its tags and deadlines; the flow that
    /// it had ends. Its contexts are still to be given to it.
    ///
    /// - Returns: the flow here.
    package func takeOver(
        _ flow: ScriptFlow, of exchange: Exchange, from old: Interpreter, with estate: Estate
    ) -> ScriptFlow {
        exchange.scriptFlow = -1
        let new = self.flow(of: exchange)
        new.settings = estate.destination.location.settings
        new.owner = flow.owner
        moveListing(of: flow, to: new)
        for tag in flow.tags { self.tag(new, tag) }
        for deadline in estate.deadlines {
            let time = max(deadline.time, host.clock.now.monotonic)
            timers.renew(
                deadline.timer.now, at: time, .close(new, code: deadline.code, reason: deadline.reason))
            host.setAlarm(at: time)
            new.timers.append(deadline.timer.now)
        }
        let slot = exchange.scriptFlow
        old.end(flow)
        exchange.scriptFlow = slot
        return new
    }

    /// Gives a flow that was taken over its `ctx` tables, through `migrate` where a script has that.
    package func giveContexts(of estate: Estate, to flow: ScriptFlow) {
        for (heir, context) in estate.contexts { migrate(flow, heir, context) }
    }

    /// Copies of the tables of the flow's old scripts, by the scripts that they are for; `nil` when one is too large,
    /// which is logged.
    private func contexts(
        of flow: ScriptFlow, in old: Interpreter, for destination: Destination,
        _ timers: [(former: ScriptTimers.ID, now: ScriptTimers.ID)]
    ) -> [(script: Int, copy: LuaReference?)]? {
        let theirs = old.mainStack
        let top = theirs.top
        defer { theirs.top = top }
        if flow.hasObject { theirs.push(flow.objectPlace) }
        var contexts: [(script: Int, copy: LuaReference?)] = []
        for (script, heir) in destination.successors {
            guard flow.hasObject else {
                contexts.append((heir, nil))
                continue
            }
            theirs.pushOwnTable(of: top + 1, part: LuaType.contextPart, script: script)
            defer { theirs.pop() }
            guard theirs.kind(-1) == .table else {
                contexts.append((heir, nil))
                continue
            }
            guard theirs.copyPlain(-1, to: mainStack, timers: timers) else {
                for context in contexts { context.copy.map(release) }
                migrationFailed(
                    "\"ctx\" is too large to be copied, the tunnel stays with the older scripts", flow, heir)
                return nil
            }
            contexts.append((heir, mainStack.keep()))
        }
        return contexts
    }

    /// The context, if there is one, is `copy`, which is released; what `migrate` makes of it is the new one.
    private func migrate(_ flow: ScriptFlow, _ script: Int, _ copy: LuaReference?) {
        let ours = mainStack
        let top = ours.top
        defer { ours.top = top }
        if let function = scripts[script].migration {
            let context = copy ?? emptyTable()
            defer { release(context) }
            let outcome = call(function, .migration, of: flow, script: script) { stack in
                stack.push(context)
                push(flow, on: stack)
                return 2
            }
            switch outcome {
            case .waiting(let call):
                cancel(call)
                migrationFailed("found a function that waits, expected a table", flow, script)
            case .failed(let message): migrationFailed(message, flow, script)
            case .returned(let call, let results):
                defer { giveBack(call) }
                let stack = stack(of: call)
                let kind = results > 0 ? stack.kind(-results) : .nil
                if kind == .table {
                    stack.pushCopy(-results)
                    stack.move(1, to: ours)
                    return setContext(of: flow, script)
                }
                if kind != .nil {
                    migrationFailed("found \(stack.typeName(-results)), expected a table", flow, script)
                }
            }
            // As it was, or as it was changed in place.
            ours.push(context)
            setContext(of: flow, script)
        } else if let copy {
            ours.push(copy)
            release(copy)
            setContext(of: flow, script)
        }
    }

    private func emptyTable() -> LuaReference {
        mainStack.pushTable()
        return mainStack.keep()
    }

    private func migrationFailed(_ message: String, _ flow: ScriptFlow, _ script: Int) {
        report(message, "migrate", script: script, of: flow)
    }

    /// Takes the topmost value.
    private func setContext(of flow: ScriptFlow, _ script: Int) {
        let ours = mainStack
        push(flow, on: ours)
        ours.insert(-2)
        ours.setOwnTable(of: -2, part: LuaType.contextPart, script: script)
    }
}
