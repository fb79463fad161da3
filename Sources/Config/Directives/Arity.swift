/// How many arguments a directive takes.
package struct Arity: Sendable, Equatable {
    package let range: ClosedRange<Int>

    static let none = Arity(range: 0...0)
    static let one = Arity(range: 1...1)
    static let two = Arity(range: 2...2)
    static func exactly(_ count: Int) -> Arity { Arity(range: count...count) }
    static func between(_ least: Int, _ most: Int) -> Arity { Arity(range: least...most) }
    static func atLeast(_ least: Int) -> Arity { Arity(range: least...Int.max) }

    /// `1`, `1 or 2`, `2 to 4`, `at least 1`.
    package var description: String {
        if range.upperBound == Int.max { return "at least \(range.lowerBound)" }
        if range.count == 1 { return "\(range.lowerBound)" }
        return "\(range.lowerBound) \(range.count == 2 ? "or" : "to") \(range.upperBound)"
    }
}
