internal import Config

/// `sy.metrics`: what scripts count and measure, on the proxy's metrics page.
extension LuaAPI {
    static let metricFunctions: [LuaFunction] = [
        LuaFunction(
            "counter", .module("sy.metrics"), "name: string, help?: string", returns: "Counter",
            "A number of all workers that only grows: the one of this name, which the first call defines."
        ) { call throws(LuaError) in try call.metric(.counter, .counter) },
        LuaFunction(
            "gauge", .module("sy.metrics"), "name: string, help?: string", returns: "Gauge",
            "A number of all workers that goes up and down: the one of this name, which the first call defines."
        ) { call throws(LuaError) in try call.metric(.gauge, .gauge) },
        LuaFunction(
            "histogram", .module("sy.metrics"), "name: string, help?: string, buckets?: number[]",
            returns: "Histogram",
            """
            Counts values by size: the histogram of this name, which the first call defines. `buckets` are upper bounds, \
            increasing, \(ScriptMetrics.maxBounds) at most; without them they are times of 5 ms to 10 s, or as they have been defined.
            """
        ) { call throws(LuaError) in try call.metric(.histogram, .histogram) },
        update("inc", .counter, "by?: number", "Adds to the counter, 1 unless told otherwise.") {
            metric, value, labels throws(ScriptMetrics.Failure) in
            try metric.add(value, labels)
        },
        update("inc", .gauge, "by?: number", "Adds to the gauge, 1 unless told otherwise.") {
            metric, value, labels throws(ScriptMetrics.Failure) in
            try metric.add(value, labels)
        },
        update("dec", .gauge, "by?: number", "Takes from the gauge, 1 unless told otherwise.") {
            metric, value, labels throws(ScriptMetrics.Failure) in
            try metric.add(-value, labels)
        },
        update("set", .gauge, "value: number", "Sets the gauge.") {
            metric, value, labels throws(ScriptMetrics.Failure) in
            try metric.set(value, labels)
        },
        update("observe", .histogram, "value: number", "Counts a value.") {
            metric, value, labels throws(ScriptMetrics.Failure) in
            try metric.observe(value, labels)
        },
    ]

    private typealias Update =
        @Sendable (ScriptMetrics.Metric, Double, [ScriptMetrics.Label]) throws(ScriptMetrics.Failure) -> Void

    private static func update(
        _ name: String, _ type: LuaType, _ parameter: String, _ summary: String, _ update: @escaping Update
    ) -> LuaFunction {
        LuaFunction(
            name, .method(type), parameter + ", labels?: table<string, string|number>",
            returns: "boolean?, string?",
            """
            \(summary) Labels, \(ScriptMetrics.maxLabels) at most, make it a number of its own; nil and why when there are \
            too many of those already, or a label has more than \(ScriptMetrics.maxText) bytes.
            """
        ) { call throws(LuaError) in
            guard let handle = call.stack.object(1, type),
                call.interpreter.metrics.indices.contains(Int(handle.slot))
            else {
                throw call.wrongObject(1, type.indefinite)
            }
            let isOptional = parameter.contains("?")
            let value = isOptional && !call.isGiven(2) ? 1 : try call.number(2, isOptional ? "by" : "value")
            let labels = try call.labels(3)
            do throws(ScriptMetrics.Failure) {
                try update(call.interpreter.metrics[Int(handle.slot)], value, labels)
            } catch {
                switch error {
                // These depend on what clients send, perhaps.
                case .tooManySeries, .tooManyLabels, .tooLong: return call.fail(error.message)
                default: throw LuaError("\(type.name):\(name): \(error.message)")
                }
            }
            return call.push(true)
        }
    }
}

extension LuaCall {
    fileprivate func metric(_ kind: ScriptMetrics.Kind, _ type: LuaType) throws(LuaError) -> LuaResult {
        let name = try bytes(1, "name")
        let help = try optionalBytes(2, "help") ?? []
        var bounds: [Double]?
        if kind == .histogram, isGiven(3) {
            try table(3, "buckets")
            var given: [Double] = []
            for position in 0..<stack.length(ofTable: 3) {
                stack.pushElement(position + 1, of: 3)
                given.append(try number(stack.top, "buckets"))
                stack.pop()
            }
            bounds = given
        }
        let metric: ScriptMetrics.Metric
        do throws(ScriptMetrics.Failure) {
            let replacements: [ScriptMetrics.Replacement]
            (metric, replacements) = try interpreter.shared.metrics.define(
                kind, name, help: help, bounds: bounds, in: interpreter.metricDefinitions)
            for replacement in replacements { interpreter.log(.notice, replacement.notice) }
        } catch {
            throw LuaError("metrics.\(kind.rawValue): \(error.message)")
        }
        let slot = interpreter.metrics.firstIndex { $0 === metric } ?? interpreter.metrics.count
        if slot == interpreter.metrics.count { interpreter.metrics.append(metric) }
        stack.push(type, ObjectHandle(slot: UInt32(slot), generation: 0))
        return .one
    }

    fileprivate func labels(_ index: Int) throws(LuaError) -> [ScriptMetrics.Label] {
        guard isGiven(index) else { return [] }
        try table(index, "labels")
        var labels: [ScriptMetrics.Label] = []
        stack.pushNil()
        while stack.next(inTable: index) {
            guard stack.kind(-2) == .string, let name = stack.bytes(-2) else {
                throw LuaError("labels: found a \(stack.typeName(-2)) as a name, expected a string")
            }
            labels.append((name: name, value: try bytes(stack.top, "a label's value")))
            stack.pop()
        }
        return labels
    }
}
