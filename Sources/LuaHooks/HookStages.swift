package import Config

/// A set of stages.
package struct HookStages: Sendable, ExpressibleByArrayLiteral {
    private let bits: UInt16

    package init(arrayLiteral stages: HookStage...) { self.init(stages) }

    package init(_ stages: [HookStage]) { bits = stages.reduce(0) { $0 | 1 << UInt16($1.rawValue) } }

    package func contains(_ stage: HookStage) -> Bool { bits >> UInt16(stage.rawValue) & 1 != 0 }

    /// `request and upgrade`.
    var names: String {
        let names = HookStage.allCases.filter(contains).map(\.name)
        guard let last = names.last, names.count > 1 else { return names.first ?? "" }
        return names.dropLast().joined(separator: ", ") + " and " + last
    }
}
