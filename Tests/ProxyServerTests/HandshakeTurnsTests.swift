import EventLoop
import Testing

@testable import ProxyServer

@Suite("turns of handshakes")
struct HandshakeTurnsTests {
    private final class Log {
        var steps: [Int] = []
    }

    /// Takes so many microseconds for a step.
    private final class Slow: Handshaking {
        let number: Int
        let loop: EventLoop
        let microseconds: Int64
        let log: Log
        var then: (() -> Void)?
        var awaitsHandshakeTurn = false

        init(_ number: Int, _ loop: EventLoop, _ microseconds: Int64, _ log: Log) {
            self.number = number
            self.loop = loop
            self.microseconds = microseconds
            self.log = log
        }

        func stepHandshake() {
            log.steps.append(number)
            let end = loop.microseconds + microseconds
            while loop.microseconds < end {}
            then?()
        }
    }

    @Test("one turn ends with the step in which its time is up, and the rest go on in their order")
    func bound() throws {
        let loop = try EventLoop(scratchSize: 4096)
        defer { loop.close() }
        let turns = HandshakeTurns()
        let log = Log()
        for number in 0..<600 { turns.add(Slow(number, loop, HandshakeTurns.limit / 3 + 20, log)) }
        var longest = 0
        while !turns.isEmpty {
            let before = log.steps.count
            turns.run(on: loop)
            longest = max(longest, log.steps.count - before)
            #expect(log.steps.count > before)
        }
        #expect(longest <= 3)
        #expect(log.steps == Array(0..<600))
    }

    @Test("what is added meanwhile is for the next turn")
    func additions() throws {
        let loop = try EventLoop(scratchSize: 4096)
        defer { loop.close() }
        let turns = HandshakeTurns()
        let log = Log()
        let first = Slow(1, loop, 0, log)
        first.then = { turns.add(first) }
        turns.add(first)
        turns.run(on: loop)
        #expect(log.steps == [1])
        #expect(!turns.isEmpty)
        first.then = nil
        turns.run(on: loop)
        #expect(log.steps == [1, 1])
        #expect(turns.isEmpty)
        turns.run(on: loop)
    }
}
