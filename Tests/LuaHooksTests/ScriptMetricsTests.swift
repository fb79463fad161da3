import LuaHooks
import Testing

@Suite("Metrics of scripts")
struct ScriptMetricsTests {
    private let metrics = ScriptMetrics()

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func define(_ kind: ScriptMetrics.Kind, _ name: String, bounds: [Double] = [1, 2.5])
        throws(ScriptMetrics.Failure) -> ScriptMetrics.Metric
    {
        try metrics.define(kind, bytes(name), help: bytes("Help of \(name)."), bounds: bounds)
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
        try metrics.add(requests, labels(("plan", "gold"), ("area", "eu")), 1)
        try metrics.add(requests, labels(("area", "eu"), ("plan", "gold")), 2)
        try metrics.add(requests, [], 0.5)
        let level = try define(.gauge, "level")
        try metrics.set(level, [], 10)
        try metrics.add(level, [], -12.25)
        let seconds = try define(.histogram, "wait_seconds")
        for value in [0.5, 1, 2, 99] { try metrics.observe(seconds, labels(("a", "b")), value) }
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
        let counter = try metrics.define(.counter, bytes("c"), help: bytes("a\nb\\\"c\""))
        try metrics.add(counter, labels(("l", "x\"} 9\nevil 1\\")), 1)
        try metrics.add(counter, [(bytes("m"), [0xff])], 1)
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
                try metrics.add(counter, labels((name, "1")), 1)
            }
        }
        #expect(throws: ScriptMetrics.Failure.invalidLabel) {
            try metrics.add(counter, labels(("a", "1"), ("b", "1"), ("a", "2")), 1)
        }
        #expect(throws: ScriptMetrics.Failure.invalidLabel) {
            try metrics.observe(histogram, labels(("le", "1")), 1)
        }
        #expect(throws: Never.self) { try metrics.add(counter, labels(("le", "1")), 1) }
    }

    @Test("a definition is repeated without harm, but not with another kind or other buckets")
    func redefinition() throws {
        let first = try define(.histogram, "h")
        #expect(try define(.histogram, "h") == first)
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
        arguments: [[2, 1], [1, 1], [.infinity], [.nan], Array(repeating: 1, count: 65)])
    func bounds(bounds: [Double]) {
        #expect(throws: ScriptMetrics.Failure.invalidBounds) { try define(.histogram, "h", bounds: bounds) }
    }

    @Test("each kind takes what fits it: counters never fall, nothing takes what is not finite")
    func operations() throws {
        let counter = try define(.counter, "c")
        let gauge = try define(.gauge, "g")
        let histogram = try define(.histogram, "h")
        #expect(throws: ScriptMetrics.Failure.negativeStep) { try metrics.add(counter, [], -1) }
        #expect(throws: ScriptMetrics.Failure.otherKind) { try metrics.set(counter, [], 1) }
        #expect(throws: ScriptMetrics.Failure.otherKind) { try metrics.observe(gauge, [], 1) }
        #expect(throws: ScriptMetrics.Failure.otherKind) { try metrics.add(histogram, [], 1) }
        for value in [Double.nan, .infinity, -.infinity] {
            #expect(throws: ScriptMetrics.Failure.notFinite) { try metrics.set(gauge, [], value) }
            #expect(throws: ScriptMetrics.Failure.notFinite) { try metrics.add(counter, [], value) }
        }
        // What failed has left no series behind.
        #expect(page.isEmpty)
    }

    @Test("series, metrics and texts are bounded")
    func limits() throws {
        let counter = try define(.counter, "c")
        for index in 0..<(ScriptMetrics.maxSeries + ScriptMetrics.certainSeries) {
            try metrics.add(counter, labels(("a", "\(index)")), 1)
        }
        #expect(throws: ScriptMetrics.Failure.tooManySeries) {
            try metrics.add(counter, labels(("a", "more")), 1)
        }
        #expect(throws: Never.self) { try metrics.add(counter, labels(("a", "5")), 1) }
        // One that runs away takes nothing from what others have for certain.
        let other = try define(.gauge, "other")
        for index in 0..<ScriptMetrics.certainSeries { try metrics.set(other, labels(("a", "\(index)")), 1) }
        #expect(throws: ScriptMetrics.Failure.tooManySeries) { try metrics.set(other, labels(("a", "x")), 1) }
        for index in 2..<ScriptMetrics.maxMetrics { _ = try define(.counter, "c\(index)") }
        #expect(throws: ScriptMetrics.Failure.tooManyMetrics) { try define(.counter, "more") }
        let long = String(repeating: "a", count: ScriptMetrics.maxText + 1)
        #expect(throws: ScriptMetrics.Failure.tooLong) { try define(.counter, long) }
        #expect(throws: ScriptMetrics.Failure.tooLong) { try metrics.add(counter, labels(("a", long)), 1) }
        let many = (0...ScriptMetrics.maxLabels).map { (name: bytes("l\($0)"), value: bytes("")) }
        #expect(throws: ScriptMetrics.Failure.tooLong) { try metrics.add(counter, many, 1) }
    }

    @Test("threads that count lose no step")
    func threads() async throws {
        let metrics = metrics
        let counter = try define(.counter, "c")
        let histogram = try define(.histogram, "h")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for step in 0..<1000 {
                        try? metrics.add(counter, [(Array("a".utf8), Array("\(step % 3)".utf8))], 1)
                        try? metrics.observe(histogram, [], 2)
                    }
                }
            }
        }
        #expect(page.contains("c{a=\"0\"} 2672\n"))
        #expect(page.contains("h_count 8000\n"))
        #expect(page.contains("h_sum 16000\n"))
    }
}
