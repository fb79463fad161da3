package import Config

/// A set of stages. One of constants costs nothing to make.
package struct HookStages: Sendable, OptionSet {
    package let rawValue: UInt16

    static let request = HookStages(of: .request)
    static let upgrade = HookStages(of: .upgrade)
    static let response = HookStages(of: .response)
    static let open = HookStages(of: .open)
    static let message = HookStages(of: .message)
    static let frame = HookStages(of: .frame)
    static let drain = HookStages(of: .drain)

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    init(of stage: HookStage) { rawValue = 1 &<< UInt16(truncatingIfNeeded: stage.rawValue) }

    package func contains(_ stage: HookStage) -> Bool {
        rawValue &>> UInt16(truncatingIfNeeded: stage.rawValue) & 1 != 0
    }

    /// `request and upgrade`.
    var names: String {
        let names = HookStage.allCases.filter { contains($0) }.map(\.name)
        guard let last = names.last, names.count > 1 else { return names.first ?? "" }
        return names.dropLast().joined(separator: ", ") + " and " + last
    }
}
