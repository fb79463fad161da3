internal import Synchronization

/// Counters, gauges and histograms of scripts, for all workers, as Prometheus reads them.
///
/// They live as long as the process, so that a reload resets no counter: only what is defined in another way begins
/// anew. Their number is bounded, because labels may come from clients.
package final class ScriptMetrics: Sendable {
    package enum Kind: String, Sendable { case counter, gauge, histogram }

    package enum Failure: String, Error, Sendable, CaseIterable {
        case invalidName, reservedName, invalidLabel, otherKind, invalidBounds, negativeStep, notFinite
        case tooManyMetrics, tooManySeries, tooManyBounds, tooManyLabels, tooLong

        /// What a script is told.
        package var message: String {
            switch self {
            case .invalidName: "invalid metric name"
            case .reservedName: "metric names beginning with \"switchyard_\" are the proxy's own"
            case .invalidLabel: "invalid or repeated label"
            case .otherKind: "metric exists with another kind or other buckets"
            case .invalidBounds: "buckets are not finite, or not each greater than the one before"
            case .negativeStep: "counter cannot decrease"
            case .notFinite: "value is not finite"
            case .tooManyMetrics: "more than \(maxMetrics) metrics"
            case .tooManySeries: "too many series of metrics"
            case .tooManyBounds: "more than \(maxBounds) buckets"
            case .tooManyLabels: "more than \(maxLabels) labels"
            case .tooLong: "a name, help text or label of more than \(maxText) bytes"
            }
        }
    }

    package typealias Label = (name: [UInt8], value: [UInt8])

    /// Metrics of all scripts.
    package static let maxMetrics = 500
    /// Combinations of labels, of all metrics together, beyond those that each metric has for certain.
    package static let maxSeries = 10_000
    /// Combinations of labels that each metric has for certain: a label that runs away takes none from others.
    package static let certainSeries = 16
    package static let maxBounds = 64
    package static let maxLabels = 16
    /// Bytes of a name, a help text or a label's value.
    package static let maxText = 1024
    /// Upper bounds of a histogram's buckets, in seconds, where a script names none.
    package static let defaultBounds: [Double] = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    private struct State {
        /// What the page shows.
        var shown = MetricTable()
        var current = Definitions()
    }

    private let state: Mutex<State>
    private let budget = SeriesBudget()

    package init() { state = Mutex(State()) }

    /// With the metrics of another, but none of their values.
    init(copying other: ScriptMetrics) {
        var state = State()
        for metric in other.state.withLock({ $0.shown.metrics }) {
            state.shown.insert(Metric(metric.definition, budget))
        }
        self.state = Mutex(state)
    }

    // MARK: Definition

    /// The metrics of one configuration, as its scripts define them on whichever worker.
    package final class Definitions: Sendable {
        // Locked before the `ScriptMetrics` are.
        fileprivate let table = Mutex(MetricTable())
    }

    /// A metric that begins at zero because a configuration defines it in another way than one before.
    package struct Replacement: Sendable {
        fileprivate let new: Metric
        fileprivate let former: Metric

        package var notice: String {
            "metrics: \(new) begins at zero, in place of \(former) that was defined in another way"
        }
    }

    /// For a configuration that is to run beside the one that does.
    package func prepare() -> Definitions { Definitions() }

    /// Those of the configuration that runs.
    package var current: Definitions { state.withLock { $0.current } }

    /// The configuration of these definitions runs from now on, and the page shows its metrics. Exchanges that began before
    /// may go on counting in those that had to make way, which nobody sees any more.
    package func adopt(_ definitions: Definitions) -> [Replacement] {
        definitions.table.withLock { table in
            state.withLock { state in
                state.current = definitions
                return table.metrics.flatMap { Self.show($0, &state) }
            }
        }
    }

    /// The metric called `name`, defined by the first call of its configuration; later ones must agree on kind and buckets.
    /// `bounds` are the upper ones of a histogram's buckets, increasing and finite.
    ///
    /// What earlier configurations have defined in the same way goes on. In place of what they have defined in another
    /// way, the page shows this one once its configuration runs.
    package func define(
        _ kind: Kind, _ name: [UInt8], help: [UInt8], bounds: [Double]? = nil, in definitions: Definitions
    ) throws(Failure) -> (metric: Metric, replacements: [Replacement]) {
        let definition = MetricDefinition(
            kind: kind, name: name, help: help, bounds: kind == .histogram ? bounds ?? Self.defaultBounds : []
        )
        try Self.check(definition)
        return try definitions.table.withLock { table throws(Failure) in
            if let known = table[name] {
                let isSame = bounds == nil || known.definition.agrees(with: definition)
                guard known.definition.kind == kind, isSame else { throw .otherKind }
                return (known, [])
            }
            guard table.rivals(of: definition).isEmpty else { throw .otherKind }
            return try state.withLock { state throws(Failure) in
                if let known = state.shown[name], known.definition.agrees(with: definition) {
                    table.insert(known)
                    return (known, [])
                }
                let hasRivals = !state.shown.rivals(of: definition).isEmpty
                guard table.count < Self.maxMetrics, hasRivals || state.shown.count < Self.maxMetrics else {
                    throw .tooManyMetrics
                }
                let metric = Metric(definition, budget)
                table.insert(metric)
                guard !hasRivals || state.current === definitions else { return (metric, []) }
                return (metric, Self.show(metric, &state))
            }
        }
    }

    private static func show(_ metric: Metric, _ state: inout State) -> [Replacement] {
        let rivals = state.shown.rivals(of: metric.definition).filter { $0 !== metric }
        for rival in rivals { state.shown.remove(rival) }
        state.shown.insert(metric)
        return rivals.map { Replacement(new: metric, former: $0) }
    }

    private static func check(_ definition: MetricDefinition) throws(Failure) {
        guard definition.name.count <= maxText, definition.help.count <= maxText else { throw .tooLong }
        guard isName(definition.name, allowsColon: true) else { throw .invalidName }
        guard !definition.name.starts(with: reserved) else { throw .reservedName }
        let bounds = definition.bounds
        guard bounds.count <= maxBounds else { throw .tooManyBounds }
        guard bounds.allSatisfy(\.isFinite), zip(bounds, bounds.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw .invalidBounds
        }
    }

    // MARK: The page

    /// Appends all metrics in the text format, version 0.0.4, ordered by name.
    package func render(into page: inout [UInt8]) {
        for metric in state.withLock({ $0.shown.metrics }) { metric.render(into: &page) }
    }

    // MARK: Names

    private static let reserved = Array("switchyard_".utf8)

    static func isName(_ name: [UInt8], allowsColon: Bool) -> Bool {
        guard let first = name.first, first &- 0x30 >= 10 else { return false }
        return name.allSatisfy { byte in
            byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 26 || byte == UInt8(ascii: "_")
                || allowsColon && byte == UInt8(ascii: ":")
        }
    }
}

/// What a metric is.
struct MetricDefinition: Sendable {
    var kind: ScriptMetrics.Kind
    var name: [UInt8]
    var help: [UInt8]
    var bounds: [Double]

    /// What the one counts can be added to what the other does.
    func agrees(with other: MetricDefinition) -> Bool { kind == other.kind && bounds == other.bounds }

    /// The names of its lines, and its own.
    fileprivate var lineNames: [[UInt8]] {
        guard kind == .histogram else { return [name] }
        return [name] + ["_bucket", "_sum", "_count"].map { name + Array($0.utf8) }
    }
}

/// Metrics no two of which have lines of the same name, as a histogram `a` and a counter `a_sum` would.
private struct MetricTable {
    private var byLine: [[UInt8]: ScriptMetrics.Metric] = [:]
    private(set) var count = 0

    /// By name.
    var metrics: [ScriptMetrics.Metric] {
        byLine.filter { $0.key == $0.value.definition.name }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value)
    }

    subscript(name: [UInt8]) -> ScriptMetrics.Metric? {
        byLine[name].flatMap { $0.definition.name == name ? $0 : nil }
    }

    /// What a metric as it is defined cannot stand beside.
    func rivals(of definition: MetricDefinition) -> [ScriptMetrics.Metric] {
        var rivals: [ScriptMetrics.Metric] = []
        for line in definition.lineNames {
            guard let rival = byLine[line], !rivals.contains(where: { $0 === rival }) else { continue }
            rivals.append(rival)
        }
        return rivals
    }

    /// One that has no rivals but itself.
    mutating func insert(_ metric: ScriptMetrics.Metric) {
        if self[metric.definition.name] == nil { count += 1 }
        for line in metric.definition.lineNames { byLine[line] = metric }
    }

    mutating func remove(_ metric: ScriptMetrics.Metric) {
        for line in metric.definition.lineNames { byLine[line] = nil }
        count -= 1
    }
}
