/// Compares two values of a snapshot part by part.
///
/// Two tables that are met again are taken for the same: what is different in them is found where they are compared first.
/// Nothing here calls itself for tables within tables, which may be many.
struct LuaComparison {
    private let snapshot: LuaSnapshot
    private let maxLines: Int
    /// How many keys, each within the one before, are being compared.
    private let depth: Int
    /// Differences so far.
    private(set) var count = 0
    /// A line for each of the first.
    private(set) var lines: [String] = []
    private var compared: Set<Pair> = []
    /// The tables on the way to the parts, each with the one that it is in.
    private var ways: [(from: Int, key: LuaValue)] = []

    private struct Pair: Hashable {
        var expected: Int
        var found: Int
    }

    private struct Part {
        var expected: LuaValue
        var found: LuaValue
        /// Where the table is that it is in; -1 for the outermost.
        var way: Int
        var key: LuaValue
    }

    /// Tables that are keys are compared by what is in them too, but only so many within one another.
    private static let maxDepth = 3

    init(_ snapshot: LuaSnapshot, _ expected: LuaValue, _ found: LuaValue, maxLines: Int = 0) {
        self.init(snapshot, maxLines: maxLines, depth: 0, compared: [])
        compare(expected, found)
    }

    private init(_ snapshot: LuaSnapshot, maxLines: Int, depth: Int, compared: Set<Pair>) {
        self.snapshot = snapshot
        self.maxLines = maxLines
        self.depth = depth
        self.compared = compared
    }

    private mutating func compare(_ expected: LuaValue, _ found: LuaValue) {
        // The next at the end.
        var parts = [Part(expected: expected, found: found, way: -1, key: .nil)]
        while let part = parts.popLast() {
            guard case .table(let one) = part.expected, case .table(let another) = part.found else {
                if !part.expected.equals(part.found) { add(part) }
                if count > 0, maxLines == 0 { return }
                continue
            }
            guard one != another, compared.insert(Pair(expected: one, found: another)).inserted else {
                continue
            }
            ways.append((part.way, part.key))
            parts += inner(one, another, way: ways.count - 1).reversed()
        }
    }

    private func inner(_ expected: Int, _ found: Int, way: Int) -> [Part] {
        var parts: [Part] = []
        for entry in snapshot.tables[expected] {
            let value = snapshot.value(entry.key, of: found) { isSameKey($1, $0) }
            parts.append(Part(expected: entry.value, found: value, way: way, key: entry.key))
        }
        for entry in snapshot.tables[found] {
            let value = snapshot.value(entry.key, of: expected) { isSameKey($0, $1) }
            guard case .nil = value else { continue }
            parts.append(Part(expected: .nil, found: entry.value, way: way, key: entry.key))
        }
        return parts
    }

    private func isSameKey(_ expected: LuaValue, _ found: LuaValue) -> Bool {
        guard case .table = expected, case .table = found, depth < Self.maxDepth else {
            return expected.equals(found)
        }
        var inner = LuaComparison(snapshot, maxLines: 0, depth: depth + 1, compared: compared)
        inner.compare(expected, found)
        return inner.count == 0
    }

    // MARK: Telling

    private mutating func add(_ part: Part) {
        count += 1
        guard lines.count < maxLines else { return }
        let (expected, found) = (snapshot.shown(part.expected), snapshot.shown(part.found))
        lines.append("\(path(to: part)): expected \(expected), found \(found)")
    }

    /// Its end, where it is long.
    private func path(to part: Part) -> String {
        var steps: [String] = []
        var (way, key) = (part.way, part.key)
        var length = 0
        while way >= 0 {
            guard length < LuaValue.maxShown else {
                steps.append("…")
                break
            }
            steps.append(snapshot.step(key))
            length += steps[steps.count - 1].utf8.count
            (way, key) = ways[way]
        }
        return steps.reversed().joined()
    }
}
