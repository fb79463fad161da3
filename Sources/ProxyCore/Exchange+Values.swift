package import Config
internal import Wire

/// Evaluating variables and templates. Each appends to the caller's buffer, which must not be a property of the
/// exchange.
extension Exchange {
    /// Appends a variable's value.
    ///
    /// - Returns: false when there is no such value, which a log shows as `-`; nothing is appended then.
    @discardableResult
    package func append(_ variable: VariableID, to out: inout [UInt8]) -> Bool {
        let evaluators = runtime.evaluators
        guard evaluators.indices.contains(variable.index) else { return false }
        if let thawed, let place = thawed.place(of: variable) { return thawed.append(place, to: &out) }
        return append(evaluators[variable.index], to: &out)
    }

    /// Appends the value of a variable that a script named.
    package func append(_ variable: NamedVariable, to out: inout [UInt8]) -> Bool {
        append(variable.evaluator, to: &out)
    }

    private func append(_ evaluator: VariableEvaluator, to out: inout [UInt8]) -> Bool {
        switch evaluator {
        case .row(let evaluate, _): return evaluate(self, &out)
        case .family(let family, let suffix): return family.append(suffix, of: self, to: &out)
        case .map(let map): return appendMap(map, to: &out)
        case .assigned(let slot):
            if assigned.append(slot, to: &out) { return true }
            return runtime.slotsOfSet.indices.contains(slot) && runtime.slotsOfSet[slot]
        case .assignedOverMap(let map, let slot):
            return assigned.append(slot, to: &out) || appendMap(map, to: &out)
        case .script(let slot, let assignedSlot):
            if let assignedSlot, assigned.append(assignedSlot, to: &out) { return true }
            return scripts?.append(slot, of: self, to: &out) ?? false
        case .unknown: return false
        }
    }

    /// Appends what the template comes to; a variable without a value adds nothing.
    package func render(_ template: Template, into out: inout [UInt8]) {
        for part in template.parts { append(part, escapingGroups: false, to: &out) }
    }

    func render(_ template: Template, escapingGroups: Bool, into out: inout [UInt8]) {
        for part in template.parts { append(part, escapingGroups: escapingGroups, to: &out) }
    }

    /// Where `escapingGroups` is set, a group goes where it must be escaped again, which nginx does only for a
    /// request whose path came with an escape or a plus sign.
    func append(_ part: Template.Part, escapingGroups: Bool, to out: inout [UInt8]) {
        switch part {
        case .literal(let bytes): out.append(copying: bytes)
        case .variable(let variable): append(variable, to: &out)
        case .capture(let group):
            guard let range = captureRange(group) else { return }
            if escapingGroups, pathHadEscapes || pathHadPlus {
                URIEscape.appendArgument(captureSubject[range], to: &out)
            } else {
                out.append(contentsOf: captureSubject[range])
            }
        }
    }

    /// What the template comes to, as an array of its own. Where one at hand can be appended to, `render` is
    /// cheaper.
    package func value(of template: Template) -> [UInt8] {
        if let constant = template.constant { return constant }
        var out: [UInt8] = []
        render(template, into: &out)
        return out
    }

    package func value(of variable: VariableID) -> [UInt8]? {
        var out: [UInt8] = []
        return append(variable, to: &out) ? out : nil
    }

    /// True unless the template comes out empty or as `0`: nginx's notion of truth.
    package func isTrue(_ template: Template) -> Bool {
        var value = takeBuffer()
        render(template, into: &value)
        let isFalse = value.isEmpty || (value.count == 1 && value[0] == ByteText.zero)
        giveBack(value)
        return !isFalse
    }

    // MARK: Regular expressions

    /// The range in `captureSubject` of a group of the last match; `nil` when there is none or it took no part.
    func captureRange(_ group: Int) -> Range<Int>? {
        guard group >= 0, captures.count / 2 > group else { return nil }
        let start = Int(captures[2 * group])
        let end = Int(captures[2 * group + 1])
        guard start >= 0, end >= start, end <= captureSubject.count else { return nil }
        return start..<end
    }

    func appendCapture(_ group: Int, to out: inout [UInt8]) {
        if let range = captureRange(group) { out.append(contentsOf: captureSubject[range]) }
    }

    /// A group of the last match, as `$1` has it; `nil` when there is none or it took no part.
    package func capture(_ group: Int) -> [UInt8]? { captureRange(group).map { Array(captureSubject[$0]) } }
}
