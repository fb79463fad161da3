internal import ArgumentParser
internal import EventLoop
internal import Glibc

/// One run of a load: its loop, its count of what was done and what failed, and its time limit.
final class BenchRun {
    let loop: EventLoop
    /// Round trips that are still to be started.
    private var toStart: Int
    private(set) var finished = 0
    private(set) var errors = 0
    private(set) var retried = 0
    private(set) var latencies = LatencyHistogram()
    private var firstError: String?
    private let total: Int
    private let timer: TimerChannel
    private let started = BenchClock.now()

    /// A run of `total` round trips, which ends as it is after `timeout` seconds.
    init(total: Int, timeout: Double) throws {
        Threads.ignoreBrokenPipes()
        ProcessLimits.raiseDescriptors()
        self.total = total
        toStart = total
        loop = try EventLoop()
        timer = try TimerChannel(loop: loop, delay: Int64(timeout * 1000))
    }

    var isTimedOut: Bool { timer.hasPassed }
    var isComplete: Bool { finished + errors >= total }

    /// Takes up to `count` round trips to be made, as many as there are left.
    func take(_ count: Int) -> Int {
        let taken = min(count, toStart)
        toStart -= taken
        return taken
    }

    /// One that was taken could not be made, through nobody's fault, and is to be started again.
    func giveBack() {
        toStart += 1
        retried += 1
    }

    func succeeded(count: Int = 1, nanoseconds: Int64) {
        finished += count
        for _ in 0..<count { latencies.add(nanoseconds: nanoseconds) }
    }

    /// Counts `count` round trips as failed; with 0 something else failed, which is noted as well.
    func failed(_ what: @autoclosure () -> String, count: Int = 1) {
        if firstError == nil { firstError = what() }
        errors += max(1, count)
    }

    /// Turns the loop until `condition` holds or time is up.
    func turn(until condition: () -> Bool) {
        while !condition() && !timer.hasPassed { loop.turn(wait: true) }
    }

    /// Turns the loop until a line comes on standard input, or its end: pings are answered and ends are seen meanwhile.
    func turnUntilLine() throws {
        final class Flag: @unchecked Sendable {
            // Touched on the loop's thread only.
            var isSet = false
        }
        let line = Flag()
        let poster = loop.poster
        _ = try Threads.start(name: "stdin") {
            _ = readLine()
            poster.post { line.isSet = true }
        }
        turn { line.isSet }
    }

    /// Prints the result and, when anything failed, ends the command with a status of 1.
    func report(_ name: String, andRetries: Bool = false) throws {
        let seconds = Double(BenchClock.now() - started) / 1e9
        let unfinished = max(0, total - finished - errors)
        if isTimedOut, firstError == nil { firstError = "time was up with \(unfinished) left" }
        var fields: [(String, String)] = [
            (name, "\(finished)"), ("errors", "\(errors + unfinished)"),
            ("seconds", Self.decimal(seconds, 6)),
            ("p50_us", Self.decimal(Double(latencies.percentile(0.5)) / 1000, 1)),
            ("p99_us", Self.decimal(Double(latencies.percentile(0.99)) / 1000, 1)),
            ("p999_us", Self.decimal(Double(latencies.percentile(0.999)) / 1000, 1)),
        ]
        if andRetries { fields.append(("retried", "\(retried)")) }
        Output.line("{" + fields.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}")
        guard let firstError else { return }
        Output.error("switchyard-bench: \(firstError)")
        throw ExitCode(1)
    }

    /// `number` with so many digits after the point, 1...9.
    private static func decimal(_ number: Double, _ places: Int) -> String {
        let scale = (0..<places).reduce(Int64(1)) { product, _ in product * 10 }
        let scaled = Int64((number * Double(scale)).rounded())
        let fraction = String(scaled % scale)
        return "\(scaled / scale)." + String(repeating: "0", count: places - fraction.count) + fraction
    }
}

enum Output {
    /// A line that is out when this returns, whatever standard output is.
    static func line(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    static func error(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var start = 0
        while start < bytes.count {
            // The pointer is valid for the length of the call, and covers what is left.
            let count = unsafe bytes.withUnsafeBytes { bytes in
                unsafe Glibc.write(
                    descriptor, bytes.baseAddress.map { unsafe $0 + start }, bytes.count - start)
            }
            guard count > 0 || errno == EINTR else { return }
            start += max(0, count)
        }
    }
}
