import Config
import Testing

@testable import LuaHooks

@Suite("Metrics of scripts")
struct MetricFunctionTests {
    private func page(_ text: String) throws -> (page: String, printed: [String]) {
        let fixture = try ScriptFixture(.request, text)
        _ = fixture.run()
        var page: [UInt8] = []
        fixture.interpreter.shared.metrics.render(into: &page)
        return (String(decoding: page, as: UTF8.self), fixture.host.lines.map { String($0.dropFirst(14)) })
    }

    @Test("counters, gauges and histograms come to the page")
    func kinds() throws {
        let result = try page(
            """
            local c = sy.metrics.counter('logins_total', 'Logins.')
            print(c:inc(), c:inc(2), c:inc(0.5, { plan = 'pro', zone = 1 }))
            sy.metrics.counter('logins_total'):inc()
            local g = sy.metrics.gauge('open')
            g:set(10) g:inc() g:dec(3) g:inc(5, { a = 'b' })
            sy.metrics.histogram('size', 'Sizes.', { 1, 10 })
            local h = sy.metrics.histogram('size')
            h:observe(5) h:observe(50, { a = 'b' })
            """)
        #expect(result.printed == ["true\ttrue\ttrue"])
        for line in [
            "# HELP logins_total Logins.\n# TYPE logins_total counter\nlogins_total 4\n",
            "logins_total{plan=\"pro\",zone=\"1\"} 0.5\n", "# TYPE open gauge\nopen 8\nopen{a=\"b\"} 5\n",
            "size_bucket{le=\"1\"} 0\nsize_bucket{le=\"10\"} 1\nsize_bucket{le=\"+Inf\"} 1\nsize_sum 5\nsize_count 1\n",
            "size_sum{a=\"b\"} 50\n",
        ] {
            #expect(result.page.contains(line))
        }
    }

    @Test("a plugin may define its metrics while it is loaded")
    func whileLoaded() throws {
        let text = "local c = sy.metrics.counter('n') return { request = function() c:inc() end }"
        let fixture = try ScriptFixture([
            .test(.plugin(ScriptText(text: Array(text.utf8), file: "p.lua", line: 1), arguments: []))
        ])
        _ = fixture.run()
        _ = fixture.run()
        var page: [UInt8] = []
        fixture.interpreter.shared.metrics.render(into: &page)
        #expect(String(decoding: page, as: UTF8.self).contains("\nn 2\n"))
    }

    @Test("labels without number are refused, not kept")
    func manySeries() throws {
        let result = try page(
            """
            local c = sy.metrics.counter('n')
            for i = 1, 20000 do if not c:inc(1, { i = i }) then print(i, select(2, c:inc(1, { i = i }))) break end end
            print(c:inc(1, { i = 1 }))
            print(c:inc(1, { i = ('x'):rep(2000) }))
            """)
        #expect(
            result.printed == [
                "10017\ttoo many series of metrics", "true",
                "nil\ta name, help text or label of more than 1024 bytes",
            ])
    }

    @Test(
        "what is wrong with a call is said",
        arguments: [
            ("sy.metrics.counter()", "name: found nothing, expected a string"),
            ("sy.metrics.counter('a b')", "metrics.counter: invalid metric name"),
            ("sy.metrics.counter('switchyard_x')", "are the proxy's own"),
            ("sy.metrics.counter('a', {})", "help: found table, expected a string"),
            ("sy.metrics.gauge({})", "name: found table"),
            (
                "(function() sy.metrics.counter('a') sy.metrics.gauge('a') end)()",
                "metrics.gauge: metric exists"
            ),
            ("sy.metrics.histogram('h', '', { 2, 1 })", "metrics.histogram: buckets are not finite, or not"),
            ("sy.metrics.histogram('h', '', 5)", "buckets: found number, expected a table"),
            ("sy.metrics.histogram('h', '', { {} })", "buckets: found table, expected a number"),
            ("sy.metrics.counter('a'):inc(-1)", "counter:inc: counter cannot decrease"),
            ("sy.metrics.counter('a'):inc(0/0)", "counter:inc: value is not finite"),
            ("sy.metrics.counter('a'):inc('x')", "by: found string, expected a number"),
            ("sy.metrics.counter('a'):inc(1, 'x')", "labels: found string, expected a table"),
            (
                "sy.metrics.counter('a'):inc(1, { 'x' })",
                "labels: found a number as a name, expected a string"
            ),
            ("sy.metrics.counter('a'):inc(1, { a = {} })", "a label's value: found table, expected a string"),
            ("sy.metrics.counter('a'):inc(1, { ['a b'] = 1 })", "counter:inc: invalid or repeated label"),
            ("sy.metrics.counter('a').inc(1)", "found number, expected a counter: call it with a colon"),
            ("sy.metrics.gauge('a'):set()", "value: found nothing, expected a number"),
            ("sy.metrics.gauge('a'):dec({})", "by: found table"),
            ("sy.metrics.gauge('a'):inc({})", "by: found table"),
            ("sy.metrics.gauge('a').set(sy.metrics.counter('b'), 1)", "found counter, expected a gauge"),
            ("sy.metrics.histogram('h'):observe()", "value: found nothing, expected a number"),
        ])
    func faults(call: String, message: String) throws {
        #expect(try failure(call).contains(message))
    }
}
