internal import Config

/// A function of a script that runs at a stage.
struct HookEntry {
    var function: LuaReference
    var script: Int
    var filter: HookFilter
}

/// The hooks of all locations, as lists of the interpreter's own: one list within another would be counted a reference to
/// with each look at it, and this is looked at for each message.
extension Interpreter {
    /// Adds the hooks of a plan, whose position is the next.
    func add(_ hooks: [HookStage: [HookEntry]]) {
        var stages = HookStages(rawValue: 0)
        for stage in HookStage.allCases {
            if let list = hooks[stage], !list.isEmpty {
                hookEntries += list
                stages.insert(HookStages(of: stage))
            }
            hookStarts.append(hookEntries.count)
        }
        planStages.append(stages)
    }

    /// Where a plan's hooks for a stage are; nowhere where there is no such plan.
    @inline(__always)
    func hookPlaces(ofPlan plan: Int, _ stage: HookStage) -> Range<Int> {
        guard plan >= 0, plan < planStages.count else { return 0..<0 }
        let first = plan &* stageCount &+ stage.rawValue
        return hookStarts[first]..<hookStarts[first &+ 1]
    }

    func hooks(ofPlan plan: Int, _ stage: HookStage) -> ArraySlice<HookEntry> {
        hookEntries[hookPlaces(ofPlan: plan, stage)]
    }
}
