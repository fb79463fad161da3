import ProxyCore
import Testing

@testable import ProxyServer

@Suite("The metrics page")
struct MetricsPageTests {
    private func lines(_ workers: [WorkerStatistics]) -> [String] {
        var reloads = ProcessRegistry.ReloadCounts()
        reloads.generation = 4
        reloads.succeeded = 3
        reloads.failed = 2
        let page = String(
            decoding: MetricsPage.render(workers, reloads: reloads, scriptFailures: 4), as: UTF8.self)
        #expect(page.hasSuffix("\n"))
        return page.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    @Test("counters are the sums of all workers'")
    func sums() {
        let workers = [WorkerStatistics(), WorkerStatistics()]
        workers[0].requests.add(2)
        workers[1].requests.add(40)
        workers[1].responses[4].add(7)
        let lines = lines(workers)
        #expect(lines.contains("switchyard_requests_total 42"))
        #expect(lines.contains("switchyard_responses_total{class=\"4xx\"} 7"))
        #expect(lines.contains("switchyard_responses_total{class=\"2xx\"} 0"))
    }

    @Test("reloads and the generation are told")
    func reloads() {
        let lines = lines([])
        #expect(lines.contains("switchyard_configuration_generation 4"))
        #expect(lines.contains("switchyard_configuration_reloads_total{result=\"success\"} 3"))
        #expect(lines.contains("switchyard_configuration_reloads_total{result=\"failure\"} 2"))
        #expect(lines.contains("switchyard_script_failures_total 4"))
    }

    @Test("the buckets of a histogram are cumulative, the last is the count, and the sum is in seconds")
    func histogram() {
        let worker = WorkerStatistics()
        for milliseconds in [1, 1, 30, 60_000] { worker.requestSeconds.observe(milliseconds: milliseconds) }
        let lines = lines([worker]).filter { $0.hasPrefix("switchyard_request_duration_seconds") }
        #expect(lines.count == worker.requestSeconds.bounds.count + 3)
        #expect(lines.first == "switchyard_request_duration_seconds_bucket{le=\"0.001\"} 2")
        #expect(lines.contains("switchyard_request_duration_seconds_bucket{le=\"0.025\"} 2"))
        #expect(lines.contains("switchyard_request_duration_seconds_bucket{le=\"0.05\"} 3"))
        #expect(
            lines.suffix(3) == [
                "switchyard_request_duration_seconds_bucket{le=\"+Inf\"} 4",
                "switchyard_request_duration_seconds_sum 60.032",
                "switchyard_request_duration_seconds_count 4",
            ])
    }

    @Test("an upstream of several workers is one series, its name escaped")
    func upstreams() {
        let workers = [WorkerStatistics(), WorkerStatistics()]
        for worker in workers { worker.upstream("a\"b\\c\nd").attempts.add(3) }
        workers[0].upstream("other").idle.add(1)
        let lines = lines(workers)
        #expect(lines.contains("switchyard_upstream_attempts_total{upstream=\"a\\\"b\\\\c\\nd\"} 6"))
        #expect(lines.contains("switchyard_upstream_connections_idle{upstream=\"other\"} 1"))
        #expect(
            lines.contains(
                "switchyard_upstream_connect_duration_seconds_bucket{upstream=\"other\",le=\"+Inf\"} 0"))
    }

    @Test("what zones did is told by zone and result, of all workers")
    func limits() {
        let workers = [WorkerStatistics(), WorkerStatistics()]
        for worker in workers { worker.limits(of: .init(limitsRequests: true, name: "one")).count(.delayed) }
        workers[0].limits(of: .init(limitsRequests: true, name: "one")).count(.rejectedInDryRun)
        workers[1].limits(of: .init(limitsRequests: false, name: "two")).count(.rejected)
        workers[1].limits(of: .init(limitsRequests: false, name: "two")).count(.passed)
        #expect(
            lines(workers).filter { $0.hasPrefix("switchyard_limit_") } == [
                "switchyard_limit_req_total{zone=\"one\",result=\"delayed\"} 2",
                "switchyard_limit_req_total{zone=\"one\",result=\"rejected\"} 0",
                "switchyard_limit_req_total{zone=\"one\",result=\"delayed_dry_run\"} 0",
                "switchyard_limit_req_total{zone=\"one\",result=\"rejected_dry_run\"} 1",
                "switchyard_limit_conn_total{zone=\"two\",result=\"rejected\"} 1",
                "switchyard_limit_conn_total{zone=\"two\",result=\"rejected_dry_run\"} 0",
            ])
        #expect(!lines([WorkerStatistics()]).contains { $0.contains("limit_") })
    }

    @Test("handshakes are told by leg and outcome")
    func handshakes() {
        let workers = [WorkerStatistics(), WorkerStatistics()]
        for worker in workers { worker.clientHandshakes.established(isResumed: false, milliseconds: 3) }
        workers[0].clientHandshakes.established(isResumed: true, milliseconds: 30)
        workers[1].upstreamHandshakes.failed.add()
        let lines = lines(workers)
        #expect(lines.contains("switchyard_tls_handshakes_total{leg=\"client\",result=\"full\"} 2"))
        #expect(lines.contains("switchyard_tls_handshakes_total{leg=\"client\",result=\"resumed\"} 1"))
        #expect(lines.contains("switchyard_tls_handshakes_total{leg=\"client\",result=\"failed\"} 0"))
        #expect(lines.contains("switchyard_tls_handshakes_total{leg=\"upstream\",result=\"failed\"} 1"))
        let name = "switchyard_tls_handshake_duration_seconds"
        #expect(lines.contains("\(name)_bucket{leg=\"client\",le=\"0.005\"} 2"))
        #expect(lines.contains("\(name)_count{leg=\"client\"} 3"))
        #expect(lines.contains("\(name)_sum{leg=\"client\"} 0.036"))
        #expect(lines.contains("\(name)_count{leg=\"upstream\"} 0"))
    }

    @Test("every family has its help and type once, before its samples, and no sample stands outside")
    func families() throws {
        let worker = WorkerStatistics()
        worker.upstream("one").attempts.add()
        _ = worker.limits(of: .init(limitsRequests: true, name: "one"))
        var known: Set<String> = []
        var current = ""
        for line in lines([worker]) {
            let words = line.split(separator: " ").map(String.init)
            if words[0] == "#" {
                try #require(words.count >= 4)
                if words[1] == "HELP" {
                    #expect(known.insert(words[2]).inserted)
                    current = words[2]
                } else {
                    #expect(words[1] == "TYPE" && words[2] == current)
                    #expect(["counter", "gauge", "histogram"].contains(words[3]))
                }
                continue
            }
            let name = String(line.prefix { $0 != "{" && $0 != " " })
            #expect(["", "_bucket", "_sum", "_count"].map { current + $0 }.contains(name))
            #expect(Double(words[words.count - 1]) != nil)
        }
        #expect(known.count > 25)
    }

    @Test("connection counts for stub_status come from all workers")
    func connectionCounts() {
        let registry = ProcessRegistry()
        let (first, second) = (registry.addWorker(), registry.addWorker())
        first.accepted.add(5)
        second.accepted.add(1)
        second.active.add(4)
        second.reading.add(1)
        second.writing.add(2)
        let counts = registry.connectionCounts
        #expect(counts.accepted == 6 && counts.handled == 6)
        #expect(counts.active == 4 && counts.waiting == 1)
    }

    @Test("a worker goes on with what one has counted that ended, and of which nothing is open any more")
    func counterOfEndedWorkers() {
        let registry = ProcessRegistry()
        let (first, second) = (registry.addWorker(), registry.addWorker())
        first.requests.add(3)
        first.active.add(2)
        first.upstream("u").attempts.add(5)
        first.upstream("u").idle.add()
        registry.workerEnded(first)
        #expect(registry.connectionCounts.active == 0)
        #expect(registry.addWorker() === first)
        #expect(first.requests.value == 3 && first.upstream("u").attempts.value == 5)
        #expect(first.upstream("u").idle.value == 0)
        let third = registry.addWorker()
        #expect(third !== first && third !== second)
        #expect(registry.workers.count == 3)
    }
}
