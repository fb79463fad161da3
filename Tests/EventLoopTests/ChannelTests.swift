import Glibc
import Testing

@testable import EventLoop

@Suite("Deadlines", .timeLimit(.minutes(1)))
struct DeadlineTests {
    let clock = FakeClock()
    let loop: EventLoop
    let channel: RecordingStream

    init() throws {
        loop = try clock.makeLoop()
        channel = RecordingStream(loop: loop, descriptor: try socketPair().0)
        try channel.register()
        loop.settle()
    }

    func pass(_ milliseconds: Int64) {
        clock.advance(by: milliseconds)
        loop.turn(wait: false)
    }

    var passed: Int { channel.count(.deadline) }

    @Test("a deadline passes once, at its time")
    func once() {
        channel.setDeadline(loop.now + 100)
        pass(99)
        #expect(passed == 0)
        pass(1)
        #expect(passed == 1)
        #expect(channel.deadline == EventLoop.never)
        pass(1000)
        #expect(passed == 1)
    }

    @Test("a deadline that was moved later passes only then")
    func later() {
        channel.setDeadline(loop.now + 100)
        pass(50)
        channel.setDeadline(loop.now + 100)
        pass(60)
        #expect(passed == 0)
        pass(39)
        #expect(passed == 0)
        pass(1)
        #expect(passed == 1)
    }

    @Test("a deadline that was moved earlier passes then, and not again at its first time")
    func earlier() {
        channel.setDeadline(loop.now + 100)
        channel.setDeadline(loop.now + 10)
        pass(10)
        #expect(passed == 1)
        pass(90)
        #expect(passed == 1)
    }

    @Test("a deadline moved earlier and later again passes at the last time set")
    func backAndForth() {
        channel.setDeadline(loop.now + 100)
        channel.setDeadline(loop.now + 10)
        channel.setDeadline(loop.now + 50)
        pass(10)
        pass(39)
        #expect(passed == 0)
        pass(1)
        #expect(passed == 1)
        pass(50)
        #expect(passed == 1)
    }

    @Test("a cleared deadline does not pass, and can be set again")
    func cleared() {
        channel.setDeadline(loop.now + 100)
        channel.clearDeadline()
        pass(200)
        #expect(passed == 0)
        channel.setDeadline(loop.now + 100)
        pass(100)
        #expect(passed == 1)
    }

    @Test("deadlines of closed channels do not pile up, and that of an open one is kept")
    func pileUp() throws {
        channel.setDeadline(loop.now + 70_000)
        for _ in 0..<5000 {
            let (one, other) = try socketPair()
            let short = RecordingStream(loop: loop, descriptor: one)
            try short.register()
            short.setDeadline(loop.now + 60_000)
            short.close()
            close(other)
        }
        #expect(loop.queuedDeadlines < 2000)
        pass(69_999)
        #expect(passed == 0)
        pass(1)
        #expect(passed == 1)
    }

    @Test("a closed channel's deadline does not pass, nor for the channel that has its place")
    func closed() throws {
        channel.setDeadline(loop.now + 100)
        channel.close()
        let next = RecordingStream(loop: loop, descriptor: try socketPair().0)
        try next.register()
        pass(100)
        #expect(passed == 0)
        #expect(next.count(.deadline) == 0)
        next.close()
    }

    @Test("deadlines of many channels pass in the order of their times")
    func order() throws {
        final class Numbered: Channel {
            var number = 0
            var passed: (Int) -> Void = { _ in }
            override func deadlinePassed() { passed(number) }
        }
        var order: [Int] = []
        for number in [3, 1, 2, 5, 4] {
            let channel = Numbered(loop: loop, descriptor: try socketPair().0)
            channel.number = number
            channel.passed = { order.append($0) }
            try channel.register()
            channel.setDeadline(loop.now + Int64(number) * 10)
        }
        pass(30)
        #expect(order == [1, 2, 3])
        pass(100)
        #expect(order == [1, 2, 3, 4, 5])
    }
}

@Suite("Event loop", .timeLimit(.minutes(1)))
struct EventLoopTests {
    @Test("an event of a channel that was closed in the same turn does not reach the one in its place")
    func staleEvent() throws {
        let loop = try EventLoop(scratchSize: 4096)
        let pairs = [try socketPair(), try socketPair()]
        let channels = pairs.map { RecordingStream(loop: loop, descriptor: $0.0) }
        var replacement: RecordingStream?
        for (index, channel) in channels.enumerated() {
            try channel.register()
            channel.onReadable = {
                guard replacement == nil, let pair = try? socketPair() else { return }
                channels[1 - index].close()
                let next = RecordingStream(loop: loop, descriptor: pair.0)
                guard (try? next.register()) != nil else { return }
                replacement = next
            }
        }
        loop.settle()
        for pair in pairs { #expect(writeAll(pair.1, [1]) == 1) }
        loop.turn(wait: true)
        let next = try #require(replacement)
        #expect(next.events.isEmpty)
        #expect(channels.count { $0.count(.readable) == 1 } == 1)
        loop.settle()
        #expect(next.events == [.becameWritable])
    }

    @Test("a read that was scheduled for a closed channel does not reach the one in its place")
    func staleScheduledRead() throws {
        let loop = try EventLoop(scratchSize: 4096)
        let pair = try socketPair()
        let channel = RecordingStream(loop: loop, descriptor: pair.0)
        channel.readsPerCall = 0
        try channel.register()
        #expect(writeAll(pair.1, [1]) == 1)
        loop.settle()
        channel.scheduleRead()
        channel.close()
        let next = RecordingStream(loop: loop, descriptor: try socketPair().0)
        try next.register()
        next.mayRead = true
        loop.turn(wait: false)
        #expect(channel.events.count { $0 == .readable } == 1)
        // Its own first event may have come, with nothing to read in it; a scheduled read has not.
        #expect(next.count(.readable) <= 1)
        next.close()
    }

    @Test("work from other threads runs on the loop's thread, in each thread's order")
    func posts() throws {
        let loop = try EventLoop(scratchSize: 4096)
        let own = pthread_self()
        let poster = loop.poster
        final class Log: @unchecked Sendable {
            // Touched by the loop's thread only: that is what is tested.
            var entries: [[Int]] = [[], []]
            var wasElsewhere = false
        }
        let log = Log()
        let threads = try (0..<2).map { thread in
            try Threads.start(name: "poster") {
                for number in 0..<500 {
                    poster.post {
                        log.entries[thread].append(number)
                        if pthread_equal(own, pthread_self()) == 0 { log.wasElsewhere = true }
                    }
                }
            }
        }
        loop.run { log.entries.allSatisfy { $0.count == 500 } }
        for thread in threads { thread.join() }
        #expect(log.entries == [Array(0..<500), Array(0..<500)])
        #expect(!log.wasElsewhere)
    }

    @Test("work may post more work, which runs in a later turn")
    func nestedPost() throws {
        let loop = try EventLoop(scratchSize: 4096)
        let poster = loop.poster
        final class Counter: @unchecked Sendable {
            // Touched by the loop's thread only.
            var value = 0
        }
        let counter = Counter()
        poster.post {
            counter.value += 1
            poster.post { counter.value += 1 }
        }
        loop.turn(wait: true)
        #expect(counter.value == 1)
        loop.turn(wait: true)
        #expect(counter.value == 2)
    }

    @Test("a loop that is closed lets go of work that nobody will do, posted before or after")
    func workOfClosed() throws {
        final class Held: Sendable {}
        let loop = try EventLoop(scratchSize: 4096)
        weak var before: Held?
        weak var after: Held?
        let poster = loop.poster
        func post(_ held: Held) { poster.post { withExtendedLifetime((held, poster)) {} } }
        do {
            let held = Held()
            before = held
            post(held)
        }
        #expect(before != nil)
        loop.close()
        #expect(before == nil)
        do {
            let held = Held()
            after = held
            post(held)
        }
        #expect(after == nil)
    }

    @Test("run ends after stop, and can be called again; every turn ends with afterTurn")
    func stop() throws {
        let loop = try EventLoop(scratchSize: 4096)
        var turns = 0
        loop.afterTurn = {
            turns += 1
            if turns % 3 == 0 { loop.stop() } else { loop.poster.post {} }
        }
        loop.poster.post {}
        loop.run()
        #expect(turns == 3)
        loop.poster.post {}
        loop.run()
        #expect(turns == 6)
        loop.afterTurn = nil
    }

    @Test("a loop that was closed is freed with its last channel")
    func freed() throws {
        weak var weakLoop: EventLoop?
        do {
            let loop = try EventLoop(scratchSize: 4096)
            weakLoop = loop
            let channel = RecordingStream(loop: loop, descriptor: try socketPair().0)
            try channel.register()
            loop.close()
            loop.close()
            loop.turn(wait: false)
            #expect(channel.events == [.becameWritable])
            channel.close()
        }
        #expect(weakLoop == nil)
    }

    @Test("signals arrive as events")
    func signals() throws {
        final class Log: @unchecked Sendable {
            // Written by the thread, read after it was joined.
            var signals: [Int32] = []
        }
        let log = Log()
        // On a thread of its own, whose mask no other test sees; sent to that thread alone.
        let thread = try Threads.start(name: "signals") {
            guard let loop = try? EventLoop(scratchSize: 4096) else { return }
            let channel = try? SignalChannel(loop: loop, signals: SignalSet([SIGUSR1, SIGUSR2])) {
                log.signals.append($0)
            }
            guard let channel, (try? channel.register()) != nil else { return }
            pthread_kill(pthread_self(), SIGUSR2)
            loop.run { log.signals.count == 1 }
            pthread_kill(pthread_self(), SIGUSR1)
            pthread_kill(pthread_self(), SIGUSR2)
            loop.run { log.signals.count == 3 }
            channel.close()
            loop.close()
        }
        thread.join()
        #expect(log.signals == [SIGUSR2, SIGUSR1, SIGUSR2])
    }
}
