package import ProxyCore
internal import Synchronization

/// What the interpreters of all workers share, and reloads keep.
package final class ScriptCommons: Sendable {
    private let failureCount = Atomic<Int>(0)
    package let dictionaries = SharedDictionaries()
    package let metrics: ScriptMetrics
    package let tunnels = TunnelRegistry()
    package let peerMarks = PeerMarkTable()
    private let interpreters = Atomic<UInt32>(0)

    package init() { metrics = ScriptMetrics() }

    /// For a trial of scripts that are to run beside those that `others` is for: it changes nothing of theirs, and has
    /// no more room for metrics than they leave.
    package init(besides others: ScriptCommons) { metrics = ScriptMetrics(copying: others.metrics) }

    /// 1 for the first interpreter of the process, one more for each that follows.
    func numberOfInterpreter() -> UInt32 { interpreters.wrappingAdd(1, ordering: .relaxed).newValue }

    func countFailure() { failureCount.add(1, ordering: .relaxed) }

    /// Hooks, timers and variables that failed since the process started.
    package var failures: Int { failureCount.load(ordering: .relaxed) }
}
