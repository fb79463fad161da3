/// Collects which variables a configuration mentions and defines, and at the end finds each one's source.
///
/// A variable may be used before the `map` or `set` that defines it is read, so a use only reserves a
/// position; `resolve` then reports those that nothing defines.
struct VariableRegistry {
    private struct Use {
        var name: String
        var position: SourcePosition
        var directive: String
    }

    private let builtins: Set<String>
    private var positions: [String: Int] = [:]
    private var names: [String] = []
    private var uses: [Use] = []
    private var definitions: [String: VariableSource] = [:]
    /// Unknown ones that are not to be reported.
    private var excused: Set<String> = []
    private(set) var slotCount = 0
    private(set) var scriptSlotCount = 0
    /// Those of scripts that only `map_by_lua_block` defines, so that a `map` may take their place.
    private var mappedByScript: Set<String> = []

    init(builtins: Set<String>) { self.builtins = builtins }

    /// Where the variable of this name (without the `$`, in any case) will be found.
    mutating func reference(_ name: String, at position: SourcePosition, in directive: String) -> VariableID {
        let name = name.lowercased()
        uses.append(Use(name: name, position: position, directive: directive))
        if let known = positions[name] { return VariableID(index: known) }
        positions[name] = names.count
        names.append(name)
        return VariableID(index: names.count - 1)
    }

    enum Conflict: Error {
        case builtin, foreign, map, script
    }

    /// The slot of a variable that `set` or a named group assigns; the same one for each that assigns it.
    mutating func slot(assigning name: String) throws(Conflict) -> Int {
        let name = name.lowercased()
        guard !builtins.contains(name) else { throw .builtin }
        if ForeignVariables.contains(name) { throw .foreign }
        switch definitions[name] {
        case .assigned(let slot), .assignedOverMap(_, let slot): return slot
        case .map(let index): definitions[name] = .assignedOverMap(index, slot: slotCount)
        case .script(_, let slot?): return slot
        case .script(let script, nil): definitions[name] = .script(slot: script, assigned: slotCount)
        case .builtin, .family, nil: definitions[name] = .assigned(slot: slotCount)
        }
        slotCount += 1
        return slotCount - 1
    }

    /// A second `map` of a name replaces the first, as in nginx; yields the slot of a `map_by_lua_block` that it
    /// replaces.
    mutating func define(map index: Int, as name: String) throws(Conflict) -> Int? {
        let name = name.lowercased()
        guard !builtins.contains(name) else { throw .builtin }
        if ForeignVariables.contains(name) { throw .foreign }
        switch definitions[name] {
        case .assigned(let slot), .assignedOverMap(_, let slot):
            definitions[name] = .assignedOverMap(index, slot: slot)
        case .script(let script, let assigned):
            guard mappedByScript.remove(name) != nil else { throw .script }
            definitions[name] = assigned.map { .assignedOverMap(index, slot: $0) } ?? .map(index)
            return script
        case .builtin, .family, .map, nil: definitions[name] = .map(index)
        }
        return nil
    }

    /// The slot of a variable that scripts of some levels compute; the same one for each of them.
    mutating func scriptSlot(of name: String) throws(Conflict) -> Int {
        let name = name.lowercased()
        if definitions[name]?.map != nil { throw .map }
        mappedByScript.remove(name)
        return try scriptSlot(defining: name)
    }

    /// The slot of a `map_by_lua_block`, which replaces a `map` of that name.
    mutating func scriptSlot(mapping name: String) throws(Conflict) -> Int {
        let name = name.lowercased()
        let slot = scriptSlotCount
        let result = try scriptSlot(defining: name)
        if result == slot { mappedByScript.insert(name) }
        return result
    }

    private mutating func scriptSlot(defining name: String) throws(Conflict) -> Int {
        guard !builtins.contains(name) else { throw .builtin }
        var assigned: Int?
        switch definitions[name] {
        case .script(let slot, _): return slot
        case .assigned(let slot), .assignedOverMap(_, let slot): assigned = slot
        case .builtin, .family, .map, nil: break
        }
        definitions[name] = .script(slot: scriptSlotCount, assigned: assigned)
        scriptSlotCount += 1
        return scriptSlotCount - 1
    }

    /// Takes the variable that `text` stands for, with its `$`, as known though nothing defines it.
    mutating func excuse(_ text: String) {
        guard text.hasPrefix("$") else { return }
        excused.insert(text.dropFirst().lowercased())
    }

    /// The nearest name takes a look at all of them: it is looked for as often as somebody may read it.
    private static let maxHints = 20

    private func hints(for unknown: [String]) -> [String: String] {
        guard !unknown.isEmpty else { return [:] }
        let known = builtins.union(definitions.keys).sorted()
        var hints: [String: String] = [:]
        for (index, name) in unknown.enumerated() {
            if let remedy = ForeignVariables.remedy(for: name) {
                hints[name] = ": \(remedy)"
            } else if index < Self.maxHints {
                hints[name] = Spelling.hint(for: name, among: known)
            }
        }
        return hints
    }

    /// Every variable mentioned, by its position, and a diagnostic for each use of an unknown one. Behind them come
    /// those that are defined and not mentioned: a script may name them.
    func resolve() -> (variables: [VariableDefinition], diagnostics: [ConfigDiagnostic]) {
        let unmentioned = definitions.keys.filter { positions[$0] == nil }.sorted()
        let names = names + unmentioned
        let sources = names.map { source(of: $0) }
        let variables = zip(names, sources).map { VariableDefinition(name: $0, source: $1 ?? .builtin) }
        let unknown = Set(zip(names, sources).filter { $0.1 == nil }.map(\.0)).subtracting(excused)
        let hints = hints(for: names.filter { unknown.contains($0) })
        let diagnostics = uses.filter { unknown.contains($0.name) }.map { use in
            ConfigDiagnostic(
                position: use.position, directive: use.directive,
                message: "unknown \"\(use.name)\" variable" + (hints[use.name] ?? ""))
        }
        return (variables, diagnostics)
    }

    private func source(of name: String) -> VariableSource? {
        if let defined = definitions[name] { return defined }
        if builtins.contains(name) { return .builtin }
        for family in VariableFamily.allCases {
            let prefix = family.rawValue
            // As in nginx, `$arg_` and such are there, whatever they may be for.
            if name.hasPrefix(prefix) {
                return .family(family, suffix: Array(name.utf8.dropFirst(prefix.utf8.count)))
            }
        }
        return nil
    }
}
