/// The scripts met so far, and what is known of them.
struct ScriptDrafts {
    private struct Entry {
        var script: Script
        /// The directive's name, for messages.
        var directive: String
        /// `nil` until it was asked for.
        var outline: Result<ScriptOutline, ScriptFault>?
    }

    private var entries: [Entry] = []
    private(set) var plans: [[Int]] = []
    private var planNumbers: [[Int]: Int] = [:]
    /// Every set of variables that some level has, each once.
    private(set) var variableTables: [[ScriptVariable]] = []
    private var knownTables: Set<[ScriptVariable]> = []

    var scripts: [Script] { entries.map(\.script) }
    var indices: Range<Int> { entries.indices }

    mutating func add(_ body: Script.Body, by call: DirectiveUse) -> Int {
        let script = Script(body: body, position: call.position)
        entries.append(Entry(script: script, directive: call.name))
        return entries.count - 1
    }

    /// The number of the plan that runs these; -1 when there are none.
    mutating func plan(of scripts: [Int]) -> Int {
        guard !scripts.isEmpty else { return -1 }
        if let known = planNumbers[scripts] { return known }
        planNumbers[scripts] = plans.count
        plans.append(scripts)
        return plans.count - 1
    }

    /// Remembers the variables of a level, among which cycles are looked for.
    mutating func note(_ variables: [ScriptVariable]) {
        guard !variables.isEmpty, knownTables.insert(variables).inserted else { return }
        variableTables.append(variables)
    }

    /// What the probe finds in a script. It is asked once for each.
    mutating func outline(
        of index: Int, by probe: ScriptProbe, _ settings: LuaSettings
    ) throws(ConfigDiagnostic) -> ScriptOutline {
        let result = entries[index].outline ?? probe.outline(entries[index].script, settings)
        entries[index].outline = result
        switch result {
        case .success(let outline): return outline
        case .failure(let fault): throw diagnostic(fault, of: index)
        }
    }

    func isUntouched(_ index: Int) -> Bool { entries[index].outline == nil }

    /// Whether a script has a hook of the stage, as far as is known of it.
    func hasHook(_ stage: HookStage, in index: Int) -> Bool {
        if case .hook(stage, _) = entries[index].script.body { return true }
        return knownOutline(of: index)?.hooks.contains(stage) == true
    }

    /// What is known of a script without asking.
    func knownOutline(of index: Int) -> ScriptOutline? { try? entries[index].outline?.get() }

    /// A message about a script, where its directive stands.
    func diagnostic(_ message: String, of index: Int) -> ConfigDiagnostic {
        ConfigDiagnostic(
            position: entries[index].script.position, directive: entries[index].directive, message: message)
    }

    /// The fault's own place when there is one; the directive's then follows the message. Of what is wrong with a file
    /// as a whole, the message says which it is.
    private func diagnostic(_ fault: ScriptFault, of index: Int) -> ConfigDiagnostic {
        var result = diagnostic(fault.message, of: index)
        guard let place = result.position else { return result }
        let file = fault.file ?? entries[index].script.text.file
        guard let line = fault.line else {
            if file != place.file { result.message += ", in \(file)" }
            return result
        }
        result.position = SourcePosition(file: file, line: line, column: 0, order: place.order)
        if file != place.file { result.message += ", loaded at \(place.file):\(place.line)" }
        return result
    }
}

extension Compilation {
    func outline(ofScript index: Int) throws(ConfigDiagnostic) -> ScriptOutline {
        try scripts.outline(of: index, by: environment.scripts, lua)
    }

    /// Loads the scripts that nothing has asked about yet, and looks for cycles.
    func finishScripts(_ variables: [VariableDefinition]) {
        for index in scripts.indices where scripts.isUntouched(index) {
            do throws(ConfigDiagnostic) {
                _ = try outline(ofScript: index)
            } catch {
                report(error)
            }
        }
        let search = ScriptCycles(variables: variables, maps: maps, scripts: scripts)
        for diagnostic in search.diagnostics { report(diagnostic) }
    }
}
