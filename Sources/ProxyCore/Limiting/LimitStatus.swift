/// What a limit made of a request, for `$limit_req_status` and `$limit_conn_status`.
package enum LimitStatus: UInt8, Sendable {
    /// Nothing counted it.
    case none
    case passed
    case delayed
    case rejected
    /// What it would have come to.
    case delayedInDryRun
    case rejectedInDryRun

    func append(to out: inout [UInt8]) -> Bool {
        let name: StaticString? =
            switch self {
            case .none: nil
            case .passed: "PASSED"
            case .delayed: "DELAYED"
            case .rejected: "REJECTED"
            case .delayedInDryRun: "DELAYED_DRY_RUN"
            case .rejectedInDryRun: "REJECTED_DRY_RUN"
            }
        guard let name else { return false }
        out.append(contentsOf: name.description.utf8)
        return true
    }
}

/// A zone had a request wait, or refused it.
package struct LimitOutcome: Sendable, Equatable {
    /// A position in `Configuration.limitZones`.
    package var zone: Int
    package var status: LimitStatus
}
