/// Looks for variables that need themselves by way of a script.
///
/// What a variable needs depends on the level, since an inner one may compute it in another way: each level's set of
/// variables is searched by itself. A circle of maps alone is left to run time, as in nginx: which of its values
/// a map needs depends on the request.
struct ScriptCycles {
    private let names: [String]
    private let sources: [String: VariableSource]
    private let maps: [MapTable]
    private let scripts: ScriptDrafts

    init(variables: [VariableDefinition], maps: [MapTable], scripts: ScriptDrafts) {
        names = variables.map(\.name)
        sources = Dictionary(variables.map { ($0.name, $0.source) }, uniquingKeysWith: { first, _ in first })
        self.maps = maps
        self.scripts = scripts
    }

    /// One for each circle.
    var diagnostics: [ConfigDiagnostic] {
        var known: Set<Set<String>> = []
        var result: [ConfigDiagnostic] = []
        for table in scripts.variableTables {
            let level = Dictionary(table.map { ($0.slot, $0) }, uniquingKeysWith: { $1 })
            for name in names {
                guard script(of: name, level) != nil, let circle = circle(from: name, level),
                    known.insert(Set(circle)).inserted,
                    // The one met last has closed the circle.
                    let last = circle.compactMap({ script(of: $0, level) }).max()
                else { continue }
                let steps = zip(circle, circle.dropFirst() + [name]).map { "$\($0) needs $\($1)" }
                result.append(
                    scripts.diagnostic(
                        "found a variable that needs itself: " + steps.joined(separator: ", "),
                        of: last))
            }
        }
        return result
    }

    private func script(of name: String, _ level: [Int: ScriptVariable]) -> Int? {
        guard case .script(let slot, _) = sources[name] else { return nil }
        return level[slot]?.script
    }

    /// The shortest way from a variable back to it, without its return.
    private func circle(from start: String, _ level: [Int: ScriptVariable]) -> [String]? {
        var cameFrom: [String: String] = [:]
        var queue = [start]
        var position = 0
        while position < queue.count {
            let name = queue[position]
            position += 1
            for needed in needs(of: name, level) {
                if needed == start { return path(to: name, from: start, cameFrom) }
                guard cameFrom[needed] == nil else { continue }
                cameFrom[needed] = name
                queue.append(needed)
            }
        }
        return nil
    }

    private func path(to end: String, from start: String, _ cameFrom: [String: String]) -> [String] {
        var path = [end]
        var name = end
        while name != start, let former = cameFrom[name] {
            path.append(former)
            name = former
        }
        return path.reversed()
    }

    /// The names of the variables that the value of one may depend on.
    private func needs(of name: String, _ level: [Int: ScriptVariable]) -> [String] {
        switch sources[name] {
        case .map(let index), .assignedOverMap(let index, _):
            return Set(maps[index].templates.flatMap { variables(in: $0) }).sorted()
        case .script(let slot, _):
            guard let variable = level[slot] else { return [] }
            let outline = scripts.knownOutline(of: variable.script)
            let references = outline?.references[String(decoding: variable.name, as: UTF8.self)] ?? []
            return (variable.key.map { variables(in: $0) } ?? []) + references.map { $0.lowercased() }
        // The value of a `set` is made when the `set` is met, not when the variable is read.
        case .assigned, .builtin, .family, nil: return []
        }
    }

    private func variables(in template: Template) -> [String] {
        template.parts.compactMap { part in
            guard case .variable(let id) = part, names.indices.contains(id.index) else { return nil }
            return names[id.index]
        }
    }
}
