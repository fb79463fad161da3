internal import Synchronization

/// Counters, gauges and histograms of scripts, for all workers, as Prometheus reads them.
///
/// They live as long as the process, so that a reload resets no counter. Their number is bounded, because labels may
/// come from clients.
package final class ScriptMetrics: Sendable {
    package enum Kind: String, Sendable { case counter, gauge, histogram }

    package enum Failure: String, Error, Sendable, CaseIterable {
        case invalidName, reservedName, invalidLabel, otherKind, invalidBounds, negativeStep, notFinite
        case tooManyMetrics, tooManySeries, tooLong

        /// What a script is told.
        package var message: String {
            switch self {
            case .invalidName: "invalid metric name"
            case .reservedName: "metric names beginning with \"switchyard_\" are the proxy's own"
            case .invalidLabel: "invalid or repeated label"
            case .otherKind: "metric exists with another kind or other buckets"
            case .invalidBounds: "invalid histogram buckets"
            case .negativeStep: "counter cannot decrease"
            case .notFinite: "value is not finite"
            case .tooManyMetrics: "too many metrics"
            case .tooManySeries: "too many series of metrics"
            case .tooLong: "name, help text or label too long"
            }
        }
    }

    /// A metric once it is defined.
    package struct Metric: Sendable, Equatable {
        fileprivate let index: Int
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

    private struct Family {
        var name: [UInt8]
        var kind: Kind
        var help: [UInt8]
        var bounds: [Double]
        /// By labels as they are rendered: sorted, so that their order makes no difference.
        var series: [[UInt8]: Series] = [:]
    }

    private struct Series {
        /// Of a counter or gauge; of a histogram, the sum of what was observed.
        var value = 0.0
        /// Of a histogram: observations up to each bound and not up to the one before, then those above all.
        var counts: [Int] = []
    }

    private struct State {
        var families: [Family] = []
        var indexes: [[UInt8]: Int] = [:]
        var lineNames: Set<[UInt8]> = []
        var seriesCount = 0
    }

    private let state: Mutex<State>

    package init() { state = Mutex(State()) }
    init(copying other: ScriptMetrics) { state = Mutex(other.state.withLock { $0 }) }

    // MARK: Definition

    /// The metric called `name`, defined on the first call; later ones must agree on its kind and buckets. `bounds` are
    /// the upper ones of a histogram's buckets, increasing and finite.
    package func define(
        _ kind: Kind, _ name: [UInt8], help: [UInt8], bounds: [Double]? = nil
    ) throws(Failure) -> Metric {
        guard name.count <= Self.maxText, help.count <= Self.maxText else { throw .tooLong }
        guard Self.isName(name, allowsColon: true) else { throw .invalidName }
        guard !name.starts(with: Self.reserved) else { throw .reservedName }
        let isAsDefined = bounds == nil
        let bounds = kind == .histogram ? bounds ?? Self.defaultBounds : []
        guard bounds.count <= Self.maxBounds, bounds.allSatisfy(\.isFinite),
            zip(bounds, bounds.dropFirst()).allSatisfy({ $0 < $1 })
        else { throw .invalidBounds }
        return try state.withLock { state throws(Failure) in
            if let index = state.indexes[name] {
                let family = state.families[index]
                guard family.kind == kind, isAsDefined || family.bounds == bounds else { throw .otherKind }
                return Metric(index: index)
            }
            guard state.families.count < Self.maxMetrics else { throw .tooManyMetrics }
            // A histogram's lines have names of their own, which no other metric may have.
            let names = Self.lineNames(name, kind)
            guard state.lineNames.isDisjoint(with: names) else { throw .otherKind }
            state.lineNames.formUnion(names)
            state.indexes[name] = state.families.count
            state.families.append(Family(name: name, kind: kind, help: help, bounds: bounds))
            return Metric(index: state.families.count - 1)
        }
    }

    // MARK: Values

    /// Adds to a counter, or to a gauge.
    package func add(_ metric: Metric, _ labels: [Label], _ step: Double) throws(Failure) {
        try update(metric, labels, step) { family, series throws(Failure) in
            guard family.kind != .histogram else { throw .otherKind }
            guard family.kind == .gauge || step >= 0 else { throw .negativeStep }
            series.value += step
        }
    }

    /// Sets a gauge.
    package func set(_ metric: Metric, _ labels: [Label], _ value: Double) throws(Failure) {
        try update(metric, labels, value) { family, series throws(Failure) in
            guard family.kind == .gauge else { throw .otherKind }
            series.value = value
        }
    }

    /// Puts a value into a histogram.
    package func observe(_ metric: Metric, _ labels: [Label], _ value: Double) throws(Failure) {
        try update(metric, labels, value) { family, series throws(Failure) in
            guard family.kind == .histogram else { throw .otherKind }
            if series.counts.isEmpty { series.counts = Array(repeating: 0, count: family.bounds.count + 1) }
            series.counts[family.bounds.firstIndex { value <= $0 } ?? family.bounds.count] += 1
            series.value += value
        }
    }

    private struct Rules {
        var kind: Kind
        var bounds: [Double]
    }

    private func update(
        _ metric: Metric, _ labels: [Label], _ value: Double,
        _ change: (Rules, inout Series) throws(Failure) -> Void
    ) throws(Failure) {
        guard value.isFinite else { throw .notFinite }
        try state.withLock { state throws(Failure) in
            let kind = state.families[metric.index].kind
            let key = try Self.rendered(labels, kind)
            let known = state.families[metric.index].series[key]
            let isCertain = state.families[metric.index].series.count < Self.certainSeries
            guard known != nil || isCertain || state.seriesCount < Self.maxSeries else {
                throw .tooManySeries
            }
            var series = known ?? Series()
            try change(Rules(kind: kind, bounds: state.families[metric.index].bounds), &series)
            state.families[metric.index].series[key] = series
            if known == nil, !isCertain { state.seriesCount += 1 }
        }
    }

    /// `a="1",b="2"`, by name.
    private static func rendered(_ labels: [Label], _ kind: Kind) throws(Failure) -> [UInt8] {
        guard labels.count <= maxLabels else { throw .tooLong }
        var output: [UInt8] = []
        var last: [UInt8]?
        for label in labels.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
            guard label.name.count <= maxText, label.value.count <= maxText else { throw .tooLong }
            guard isName(label.name, allowsColon: false), label.name != last,
                !label.name.starts(with: [0x5f, 0x5f]), kind != .histogram || label.name != le
            else { throw .invalidLabel }
            last = label.name
            if !output.isEmpty { output.append(UInt8(ascii: ",")) }
            output += label.name
            output += [UInt8(ascii: "="), UInt8(ascii: "\"")]
            appendEscaped(label.value, quote: true, to: &output)
            output.append(UInt8(ascii: "\""))
        }
        return output
    }

    // MARK: The page

    /// Appends all metrics in the text format, version 0.0.4, ordered by name.
    package func render(into page: inout [UInt8]) {
        state.withLock { state in
            for family in state.families.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) })
            where !family.series.isEmpty {
                page += "# HELP ".utf8
                page += family.name
                page.append(UInt8(ascii: " "))
                Self.appendEscaped(family.help, quote: false, to: &page)
                page += "\n# TYPE ".utf8
                page += family.name
                page += " \(family.kind.rawValue)\n".utf8
                for (labels, series) in family.series.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) })
                {
                    if family.kind == .histogram {
                        Self.append(histogram: series, of: family, labels, to: &page)
                    } else {
                        Self.append(family.name, "", labels, Self.number(series.value), to: &page)
                    }
                }
            }
        }
    }

    private static func append(
        histogram series: Series, of family: Family, _ labels: [UInt8], to page: inout [UInt8]
    ) {
        var total = 0
        for (index, count) in series.counts.enumerated() {
            total += count
            let bound = index < family.bounds.count ? number(family.bounds[index]) : "+Inf"
            let separator = labels.isEmpty ? "" : ","
            append(
                family.name, "_bucket", labels + Array("\(separator)le=\"\(bound)\"".utf8), "\(total)",
                to: &page)
        }
        append(family.name, "_sum", labels, number(series.value), to: &page)
        append(family.name, "_count", labels, "\(total)", to: &page)
    }

    private static func append(
        _ name: [UInt8], _ suffix: String, _ labels: [UInt8], _ value: String, to page: inout [UInt8]
    ) {
        page += name
        page += suffix.utf8
        if !labels.isEmpty {
            page.append(UInt8(ascii: "{"))
            page += labels
            page.append(UInt8(ascii: "}"))
        }
        page += " \(value)\n".utf8
    }

    private static func number(_ value: Double) -> String {
        if let whole = Int64(exactly: value), whole.magnitude < 1 << 53 { return "\(whole)" }
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return "\(value)"
    }

    /// Backslash and line feed are escaped, in a label's value the quote as well; what is no UTF-8 is replaced.
    private static func appendEscaped(_ text: [UInt8], quote: Bool, to output: inout [UInt8]) {
        for byte in String(decoding: text, as: UTF8.self).utf8 {
            switch byte {
            case UInt8(ascii: "\\"): output += [byte, byte]
            case UInt8(ascii: "\n"): output += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
            case UInt8(ascii: "\"") where quote: output += [UInt8(ascii: "\\"), byte]
            default: output.append(byte)
            }
        }
    }

    // MARK: Names

    private static let reserved = Array("switchyard_".utf8)
    private static let le = Array("le".utf8)

    private static func isName(_ name: [UInt8], allowsColon: Bool) -> Bool {
        guard let first = name.first, first &- 0x30 >= 10 else { return false }
        return name.allSatisfy { byte in
            byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 26 || byte == UInt8(ascii: "_")
                || allowsColon && byte == UInt8(ascii: ":")
        }
    }

    /// The names of a metric's lines, and its own.
    private static func lineNames(_ name: [UInt8], _ kind: Kind) -> [[UInt8]] {
        kind == .histogram
            ? [name, name + Array("_bucket".utf8), name + Array("_sum".utf8), name + Array("_count".utf8)]
            : [name]
    }
}
