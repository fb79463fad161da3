import LuaHooks
import Testing

@Suite("Metrics of scripts")
struct ScriptMetricsTests {
    private let metrics = ScriptMetrics()

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func define(
        _ kind: ScriptMetrics.Kind, _ name: String, bounds: [Double] = [1, 2.5],
        in definitions: ScriptMetrics.Definitions? = nil
    ) throws(ScriptMetrics.Failure) -> ScriptMetrics.Metric {
        try metrics.define(
            kind, bytes(name), help: bytes("Help of \(name)."), bounds: bounds,
            in: definitions ?? metrics.current
        ).metric
    }

    private func labels(_ pairs: (String, String)...) -> [ScriptMetrics.Label] {
        pairs.map { (bytes($0.0), bytes($0.1)) }
    }

    private var page: String {
        var page: [UInt8] = []
        metrics.render(into: &page)
        return String(decoding: page, as: UTF8.self)
    }

    @Test("counters, gauges and histograms are written as Prometheus reads them, by name")
    func rendering() throws {
        let requests = try define(.counter, "requests_total")
        try requests.add(1, labels(("plan", "gold"), ("area", "eu")))
        try requests.add(2, labels(("area", "eu"), ("plan", "gold")))
        try requests.add(0.5, [])
        let level = try define(.gauge, "level")
        try level.set(10, [])
        try level.add(-12.25, [])
        let seconds = try define(.histogram, "wait_seconds")
        for value in [0.5, 1, 2, 99] { try seconds.observe(value, labels(("a", "b"))) }
        _ = try define(.counter, "never_used")
        #expect(
            page == """
                # HELP level Help of level.
                # TYPE level gauge
                level -2.25
                # HELP requests_total Help of requests_total.
                # TYPE requests_total counter
                requests_total 0.5
                requests_total{area="eu",plan="gold"} 3
                # HELP wait_seconds Help of wait_seconds.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{a="b",le="1"} 2
                wait_seconds_bucket{a="b",le="2.5"} 3
                wait_seconds_bucket{a="b",le="+Inf"} 4
                wait_seconds_sum{a="b"} 102.5
                wait_seconds_count{a="b"} 4

                """)
    }

    @Test("a label's value and a help text cannot begin a line of their own")
    func escaping() throws {
        let counter = try metrics.define(
            .counter, bytes("c"), help: bytes("a\nb\\\"c\""), in: metrics.current
        ).metric
        try counter.add(1, labels(("l", "x\"} 9\nevil 1\\")))
        try counter.add(1, [(bytes("m"), [0xff])])
        #expect(
            page == """
                # HELP c a\\nb\\\\"c"
                # TYPE c counter
                c{l="x\\"} 9\\nevil 1\\\\"} 1
                c{m="\u{fffd}"} 1

                """)
    }

    @Test(
        "a name that Prometheus would not read, or that is the proxy's own, is refused",
        arguments: ["", "1a", "a b", "a-b", "a\nb", "é", "a{", "switchyard_x"])
    func names(name: String) {
        let failure = name.hasPrefix("switchyard_") ? ScriptMetrics.Failure.reservedName : .invalidName
        #expect(throws: failure) { try define(.counter, name) }
        #expect(page.isEmpty)
    }

    @Test("labels are names without a colon, each once, and not reserved ones")
    func labelNames() throws {
        let counter = try define(.counter, "a:b")
        let histogram = try define(.histogram, "h")
        for name in ["", "1", "a:b", "a b", "__name", "a\"", "a=\"1\",b"] {
            #expect(throws: ScriptMetrics.Failure.invalidLabel) {
                try counter.add(1, labels((name, "1")))
            }
        }
        #expect(throws: ScriptMetrics.Failure.invalidLabel) {
            try counter.add(1, labels(("a", "1"), ("b", "1"), ("a", "2")))
        }
        #expect(throws: ScriptMetrics.Failure.invalidLabel) {
            try histogram.observe(1, labels(("le", "1")))
        }
        #expect(throws: Never.self) { try counter.add(1, labels(("le", "1"))) }
    }

    @Test("a definition is repeated without harm, but not with another kind or other buckets")
    func redefinition() throws {
        let first = try define(.histogram, "h")
        #expect(try define(.histogram, "h") === first)
        #expect(throws: ScriptMetrics.Failure.otherKind) { try define(.histogram, "h", bounds: [1]) }
        #expect(throws: ScriptMetrics.Failure.otherKind) { try define(.counter, "h") }
        for name in ["h_bucket", "h_sum", "h_count"] {
            #expect(throws: ScriptMetrics.Failure.otherKind) { try define(.counter, name) }
        }
        _ = try define(.counter, "g_sum")
        #expect(throws: ScriptMetrics.Failure.otherKind) { try define(.histogram, "g") }
    }

    @Test(
        "buckets increase and are finite",
        arguments: [[2, 1], [1, 1], [.infinity], [.nan]])
    func bounds(bounds: [Double]) {
        #expect(throws: ScriptMetrics.Failure.invalidBounds) { try define(.histogram, "h", bounds: bounds) }
    }

    @Test("each kind takes what fits it: counters never fall, nothing takes what is not finite")
    func operations() throws {
        let counter = try define(.counter, "c")
        let gauge = try define(.gauge, "g")
        let histogram = try define(.histogram, "h")
        #expect(throws: ScriptMetrics.Failure.negativeStep) { try counter.add(-1, []) }
        #expect(throws: ScriptMetrics.Failure.otherKind) { try counter.set(1, []) }
        #expect(throws: ScriptMetrics.Failure.otherKind) { try gauge.observe(1, []) }
        #expect(throws: ScriptMetrics.Failure.otherKind) { try histogram.add(1, []) }
        for value in [Double.nan, .infinity, -.infinity] {
            #expect(throws: ScriptMetrics.Failure.notFinite) { try gauge.set(value, []) }
            #expect(throws: ScriptMetrics.Failure.notFinite) { try counter.add(value, []) }
        }
        // What failed has left no series behind.
        #expect(page.isEmpty)
    }

    @Test("series, metrics and texts are bounded")
    func limits() throws {
        let counter = try define(.counter, "c")
        for index in 0..<(ScriptMetrics.maxSeries + ScriptMetrics.certainSeries) {
            try counter.add(1, labels(("a", "\(index)")))
        }
        #expect(throws: ScriptMetrics.Failure.tooManySeries) {
            try counter.add(1, labels(("a", "more")))
        }
        #expect(throws: Never.self) { try counter.add(1, labels(("a", "5"))) }
        // One that runs away takes nothing from what others have for certain.
        let other = try define(.gauge, "other")
        for index in 0..<ScriptMetrics.certainSeries { try other.set(1, labels(("a", "\(index)"))) }
        #expect(throws: ScriptMetrics.Failure.tooManySeries) { try other.set(1, labels(("a", "x"))) }
        for index in 2..<ScriptMetrics.maxMetrics { _ = try define(.counter, "c\(index)") }
        #expect(throws: ScriptMetrics.Failure.tooManyMetrics) { try define(.counter, "more") }
        let long = String(repeating: "a", count: ScriptMetrics.maxText + 1)
        #expect(throws: ScriptMetrics.Failure.tooLong) { try define(.counter, long) }
        #expect(throws: ScriptMetrics.Failure.tooLong) { try counter.add(1, labels(("a", long))) }
        let many = (0...ScriptMetrics.maxLabels).map { (name: bytes("l\($0)"), value: bytes("")) }
        #expect(throws: ScriptMetrics.Failure.tooManyLabels) { try counter.add(1, many) }
        let bounds = (0...ScriptMetrics.maxBounds).map(Double.init)
        #expect(throws: ScriptMetrics.Failure.tooManyBounds) { try define(.histogram, "h", bounds: bounds) }
    }

    @Test("what a reload defines otherwise begins at zero when it runs, and the rest goes on")
    func reload() throws {
        let old = try define(.histogram, "h")
        let same = try define(.counter, "same")
        try old.observe(1, [])
        try same.add(2, [])
        let definitions = metrics.prepare()
        let new = try define(.histogram, "h", bounds: [1], in: definitions)
        #expect(try define(.counter, "same", in: definitions) === same)
        #expect(throws: ScriptMetrics.Failure.otherKind) { try define(.histogram, "h", in: definitions) }
        // What its init hooks count is not seen yet, unless nothing stands in its place.
        try new.observe(5, [])
        try define(.gauge, "fresh", in: definitions).set(1, [])
        #expect(page.contains("h_bucket{le=\"2.5\"} 1\n"))
        #expect(page.contains("fresh 1\n"))
        #expect(
            metrics.adopt(definitions).map(\.notice) == [
                "metrics: histogram \"h\" begins at zero, in place of histogram \"h\" that was defined in another "
                    + "way"
            ])
        // Exchanges that began before still count by their own definition, and nobody sees it.
        try old.observe(1, [])
        try same.add(1, [])
        #expect(page.contains("h_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 1\n"))
        #expect(page.contains("same 3\n"))
    }

    @Test(
        "definitions made while their configuration runs take their place at once, and those of others never do"
    )
    func reloadOfLateDefinitions() throws {
        let former = metrics.current
        try define(.counter, "a_sum").add(1, [])
        try define(.gauge, "a_count").add(1, [])
        let definitions = metrics.prepare()
        #expect(metrics.adopt(definitions).isEmpty)
        #expect(page.contains("a_sum 1\n"))
        let (new, replacements) = try metrics.define(.histogram, bytes("a"), help: [], in: definitions)
        #expect(
            replacements.count == 2 && !page.contains("a_sum 1\n"))
        try new.observe(1, [])
        try define(.counter, "a_sum", in: former).add(7, [])
        try define(.counter, "a_bucket", in: former).add(7, [])
        #expect(page.contains("a_sum 1\n") && !page.contains("7"))
        try define(.counter, "late", in: former).add(9, [])
        #expect(page.contains("late 9\n"))
    }

    @Test("series of metrics that are gone leave their room to others")
    func roomOfFormer() throws {
        var definitions = metrics.current
        for round in 0..<3 {
            let counter = try define(round == 1 ? .gauge : .counter, "c", in: definitions)
            for index in 0..<(ScriptMetrics.maxSeries + ScriptMetrics.certainSeries) {
                try counter.add(1, labels(("a", "\(index)")))
            }
            #expect(throws: ScriptMetrics.Failure.tooManySeries) { try counter.add(1, labels(("a", "x"))) }
            definitions = metrics.prepare()
            _ = metrics.adopt(definitions)
        }
    }

    @Test("threads that count lose no step")
    func threads() async throws {
        let counter = try define(.counter, "c")
        let histogram = try define(.histogram, "h")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for step in 0..<1000 {
                        try? counter.add(1, [(Array("a".utf8), Array("\(step % 3)".utf8))])
                        try? histogram.observe(2, [])
                    }
                }
            }
        }
        #expect(page.contains("c{a=\"0\"} 2672\n"))
        #expect(page.contains("h_count 8000\n"))
        #expect(page.contains("h_sum 16000\n"))
    }
}
