internal import Synchronization

extension ScriptMetrics {
    /// A metric once it is defined: what has been counted, by labels.
    package final class Metric: Sendable, CustomStringConvertible {
        let definition: MetricDefinition
        /// By labels as they are rendered: sorted, so that their order makes no difference.
        private let series = Mutex<[[UInt8]: Series]>([:])
        private let budget: SeriesBudget

        private struct Series {
            /// Of a counter or gauge; of a histogram, the sum of what was observed.
            var value = 0.0
            /// Of a histogram: observations up to each bound and not up to the one before, then those above all.
            var counts: [Int] = []
        }

        init(_ definition: MetricDefinition, _ budget: SeriesBudget) {
            self.definition = definition
            self.budget = budget
        }

        deinit { budget.giveBack(max(0, series.withLock { $0.count } - certainSeries)) }

        package var description: String {
            "\(definition.kind.rawValue) \"\(String(decoding: definition.name, as: UTF8.self))\""
        }

        // MARK: Values

        /// Adds to a counter, or to a gauge.
        package func add(_ step: Double, _ labels: [Label]) throws(Failure) {
            guard definition.kind != .histogram else { throw .otherKind }
            guard definition.kind == .gauge || step >= 0 else {
                throw step.isFinite ? .negativeStep : .notFinite
            }
            try update(labels, step) { $0.value += step }
        }

        /// Sets a gauge.
        package func set(_ value: Double, _ labels: [Label]) throws(Failure) {
            guard definition.kind == .gauge else { throw .otherKind }
            try update(labels, value) { $0.value = value }
        }

        /// Puts a value into a histogram.
        package func observe(_ value: Double, _ labels: [Label]) throws(Failure) {
            guard definition.kind == .histogram else { throw .otherKind }
            let bounds = definition.bounds
            try update(labels, value) { series in
                if series.counts.isEmpty { series.counts = Array(repeating: 0, count: bounds.count + 1) }
                series.counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
                series.value += value
            }
        }

        private func update(
            _ labels: [Label], _ value: Double, _ change: (inout Series) -> Void
        ) throws(Failure) {
            guard value.isFinite else { throw .notFinite }
            let key = try rendered(labels)
            try series.withLock { series throws(Failure) in
                let isNew = series[key] == nil
                guard !isNew || series.count < certainSeries || budget.take() else { throw .tooManySeries }
                change(&series[key, default: Series()])
            }
        }

        /// `a="1",b="2"`, by name.
        private func rendered(_ labels: [Label]) throws(Failure) -> [UInt8] {
            guard labels.count <= maxLabels else { throw .tooManyLabels }
            var output: [UInt8] = []
            var last: [UInt8]?
            for label in labels.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
                guard label.name.count <= maxText, label.value.count <= maxText else { throw .tooLong }
                guard isName(label.name, allowsColon: false), label.name != last,
                    !label.name.starts(with: [0x5f, 0x5f]),
                    definition.kind != .histogram || label.name != Self.le
                else { throw .invalidLabel }
                last = label.name
                if !output.isEmpty { output.append(UInt8(ascii: ",")) }
                output += label.name
                output += [UInt8(ascii: "="), UInt8(ascii: "\"")]
                Self.appendEscaped(label.value, quote: true, to: &output)
                output.append(UInt8(ascii: "\""))
            }
            return output
        }

        private static let le = Array("le".utf8)

        // MARK: The page

        /// Nothing where nothing was counted.
        func render(into page: inout [UInt8]) {
            let series = series.withLock { $0 }
            guard !series.isEmpty else { return }
            page += "# HELP ".utf8
            page += definition.name
            page.append(UInt8(ascii: " "))
            Self.appendEscaped(definition.help, quote: false, to: &page)
            page += "\n# TYPE ".utf8
            page += definition.name
            page += " \(definition.kind.rawValue)\n".utf8
            for (labels, series) in series.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
                if definition.kind == .histogram {
                    append(histogram: series, labels, to: &page)
                } else {
                    append("", labels, Self.number(series.value), to: &page)
                }
            }
        }

        private func append(histogram series: Series, _ labels: [UInt8], to page: inout [UInt8]) {
            var total = 0
            for (index, count) in series.counts.enumerated() {
                total += count
                let bounds = definition.bounds
                let bound = index < bounds.count ? Self.number(bounds[index]) : "+Inf"
                let separator = labels.isEmpty ? "" : ","
                append("_bucket", labels + Array("\(separator)le=\"\(bound)\"".utf8), "\(total)", to: &page)
            }
            append("_sum", labels, Self.number(series.value), to: &page)
            append("_count", labels, "\(total)", to: &page)
        }

        private func append(_ suffix: String, _ labels: [UInt8], _ value: String, to page: inout [UInt8]) {
            page += definition.name
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
    }

    /// How many series all metrics together have beyond those that each has for certain.
    final class SeriesBudget: Sendable {
        private let taken = Atomic(0)

        func take() -> Bool {
            guard taken.wrappingAdd(1, ordering: .relaxed).newValue > maxSeries else { return true }
            giveBack(1)
            return false
        }

        func giveBack(_ count: Int) { taken.wrappingSubtract(count, ordering: .relaxed) }
    }
}
