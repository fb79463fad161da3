import Glibc
import Synchronization
import Testing

@testable import EventLoop

@Suite("Name resolver", .timeLimit(.minutes(1)))
struct NameResolverTests {
    @Test("no host is numeric up to a NUL")
    func numericHosts() {
        #expect(SocketAddress(numericHost: "127.0.0.1", port: 1) != nil)
        #expect(SocketAddress(numericHost: "127.0.0.1\0.trusted.example", port: 1) == nil)
        #expect(SocketAddress(numericHost: "::1\0", port: 1) == nil)
    }

    typealias Outcome = Result<[SocketAddress], NameResolver.Failure>

    let clock = FakeClock()
    let loop: EventLoop

    init() throws { loop = try clock.makeLoop() }

    func options(_ server: FakeNameServer, _ change: (inout NameResolver.Options) -> Void = { _ in })
        -> NameResolver.Options
    {
        var options = NameResolver.Options()
        options.servers = [server.address]
        change(&options)
        return options
    }

    func resolve(_ resolver: NameResolver, _ name: String, port: UInt16 = 80) -> Outcome {
        var outcome: Outcome?
        resolver.resolve(name, port: port) { outcome = $0 }
        loop.run { outcome != nil }
        return outcome ?? .failure(.closed)
    }

    static func address(_ text: String, _ port: UInt16 = 80) throws -> SocketAddress {
        try #require(SocketAddress(numericHost: text, port: port))
    }

    static let ipv6Loopback: [UInt8] = Array(repeating: 0, count: 15) + [1]

    @Test("the addresses of both families are found, those of IPv4 first")
    func bothFamilies() throws {
        let server = try FakeNameServer(loop: loop) { question in
            question.type == 1 ? .a([192, 0, 2, 1], [192, 0, 2, 2]) : .aaaa(Self.ipv6Loopback)
        }
        let resolver = try NameResolver(loop: loop, options: options(server))
        resolver.chooseFirst = { _ in 0 }
        let expected = try [
            Self.address("192.0.2.1", 8080), Self.address("192.0.2.2", 8080), Self.address("::1", 8080),
        ]
        #expect(resolve(resolver, "both.test", port: 8080) == .success(expected))
        #expect(Set(server.questions.map(\.type)) == [1, 28])
        resolver.close()
    }

    @Test("those of a family begin with any of them, for each who asks, those of IPv4 first")
    func spread() throws {
        let server = try FakeNameServer(loop: loop) { question in
            question.type == 1
                ? .a([192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3]) : .aaaa(Self.ipv6Loopback)
        }
        let resolver = try NameResolver(loop: loop, options: options(server))
        var choices: [Int] = []
        var next = 2
        resolver.chooseFirst = {
            choices.append($0)
            defer { next = (next + 1) % 3 }
            return next
        }
        var outcomes: [Outcome] = []
        for _ in 0..<2 { resolver.resolve("spread.test", port: 80) { outcomes.append($0) } }
        loop.run { outcomes.count == 2 }
        resolver.resolve("spread.test", port: 80) { outcomes.append($0) }
        let expected: [Outcome] = try [[3, 1, 2], [1, 2, 3], [2, 3, 1]].map { order in
            .success(try order.map { try Self.address("192.0.2.\($0)") } + [Self.address("::1")])
        }
        #expect(outcomes == expected)
        #expect(choices == [3, 3, 3])
        #expect(server.questions.count == 2)
    }

    @Test("each of several addresses is the first at times")
    func chance() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1], [192, 0, 2, 2]) }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        var first: Set<SocketAddress> = []
        for _ in 0..<64 { first.insert(try #require(try resolve(resolver, "chance.test").get().first)) }
        #expect(first.count == 2)
    }

    @Test("only the wanted family is asked for", arguments: [true, false])
    func oneFamily(isIPv4: Bool) throws {
        let server = try FakeNameServer(loop: loop) { question in
            question.type == 1 ? .a([192, 0, 2, 1]) : .aaaa(Self.ipv6Loopback)
        }
        let resolver = try NameResolver(
            loop: loop,
            options: options(server) {
                $0.ipv4 = isIPv4
                $0.ipv6 = !isIPv4
            })
        let expected = try Self.address(isIPv4 ? "192.0.2.1" : "::1")
        #expect(resolve(resolver, "one.test") == .success([expected]))
        #expect(server.questions.map(\.type) == [isIPv4 ? 1 : 28])
    }

    @Test("one family is enough when the other has no records")
    func noIPv6() throws {
        let server = try FakeNameServer(loop: loop) {
            $0.type == 1 ? .a([192, 0, 2, 9]) : FakeNameServer.Answer()
        }
        let resolver = try NameResolver(loop: loop, options: options(server))
        #expect(resolve(resolver, "four.test") == .success([try Self.address("192.0.2.9")]))
    }

    @Test(
        "numeric names answer at once, without a server",
        arguments: [("192.0.2.7", "192.0.2.7"), ("::1", "::1"), ("[2001:db8::1]", "2001:db8::1")])
    func numeric(name: String, expected: String) throws {
        let server = try FakeNameServer(loop: loop) { _ in nil }
        let resolver = try NameResolver(loop: loop, options: options(server))
        var outcome: Outcome?
        resolver.resolve(name, port: 443) { outcome = $0 }
        #expect(outcome == .success([try Self.address(expected, 443)]))
        loop.settle()
        #expect(server.questions.isEmpty)
    }

    @Test("what cannot be a name is not found, and not asked for", arguments: ["", "a b", "a\0b", "ä.test"])
    func impossibleNames(name: String) throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1]) }
        let resolver = try NameResolver(loop: loop, options: options(server))
        var outcome: Outcome?
        resolver.resolve(name, port: 80) { outcome = $0 }
        #expect(outcome == .failure(.notFound))
        #expect(server.questions.isEmpty)
    }

    @Test("a name over 255 bytes is not found")
    func longName() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1]) }
        let resolver = try NameResolver(loop: loop, options: options(server))
        let name = Array(repeating: "abcdefg", count: 40).joined(separator: ".")
        #expect(resolve(resolver, name) == .failure(.notFound))
    }

    @Test("those who ask for one name at the same time share one lookup, each with its own port")
    func coalescing() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1]) }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        var outcomes: [Outcome] = []
        for port in UInt16(1)...3 { resolver.resolve("Shared.Test", port: port) { outcomes.append($0) } }
        resolver.resolve("shared.test", port: 4) { outcomes.append($0) }
        loop.run { outcomes.count == 4 }
        #expect(outcomes == (try (1...4).map { .success([try Self.address("192.0.2.1", $0)]) }))
        #expect(server.questions.count == 1)
    }

    @Test("an answer is kept as long as its record says, and asked for again after that")
    func timeToLive() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1], ttl: 5) }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        _ = resolve(resolver, "kept.test")
        clock.advance(by: 4_999)
        loop.settle()
        var outcome: Outcome?
        resolver.resolve("KEPT.test", port: 81) { outcome = $0 }
        #expect(outcome == .success([try Self.address("192.0.2.1", 81)]))
        #expect(server.questions.count == 1)
        clock.advance(by: 1)
        loop.settle()
        _ = resolve(resolver, "kept.test")
        #expect(server.questions.count == 2)
    }

    @Test("who asks again is told until when an answer is good, also one that is kept")
    func goodUntil() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1], ttl: 5) }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        var times: [Int64] = []
        func lookUp() {
            let before = times.count
            resolver.lookUp("kept.test", port: 80) { outcome in
                guard case .success(let answer) = outcome else { return }
                times.append(answer.goodUntil - loop.now)
            }
            loop.run { times.count > before }
        }
        lookUp()
        clock.advance(by: 2_000)
        loop.settle()
        lookUp()
        #expect(times == [5_000, 3_000])
        resolver.lookUp("192.0.2.7", port: 80) { outcome in
            #expect((try? outcome.get())?.goodUntil == EventLoop.never)
        }
        resolver.close()
    }

    @Test("a validity stands in for what the record says")
    func validity() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1], ttl: 1) }
        let resolver = try NameResolver(
            loop: loop,
            options: options(server) {
                $0.ipv6 = false
                $0.validity = 60_000
            })
        _ = resolve(resolver, "valid.test")
        clock.advance(by: 59_000)
        loop.settle()
        _ = resolve(resolver, "valid.test")
        #expect(server.questions.count == 1)
        clock.advance(by: 1_000)
        loop.settle()
        _ = resolve(resolver, "valid.test")
        #expect(server.questions.count == 2)
    }

    @Test("an answer is kept no longer than any alias on the way to it says")
    func aliasTimeToLive() throws {
        let server = try FakeNameServer(loop: loop) { question in
            switch question.name {
            case "whole.test": .alias("end.test", ttl: 5) + .a([192, 0, 2, 1], of: "end.test", ttl: 600)
            case "cut.test": .alias("end.test", ttl: 5)
            default: .a([192, 0, 2, 1], ttl: 600)
            }
        }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        for (name, count) in [("whole.test", 1), ("cut.test", 2)] {
            let before = server.questions.count
            _ = resolve(resolver, name)
            clock.advance(by: 4_999)
            loop.settle()
            _ = resolve(resolver, name)
            #expect(server.questions.count == before + count)
            clock.advance(by: 1)
            loop.settle()
            _ = resolve(resolver, name)
            #expect(server.questions.count == before + 2 * count)
        }
    }

    @Test("an alias without an address is followed, for each family on its own")
    func aliasAlone() throws {
        let server = try FakeNameServer(loop: loop) { question in
            switch (question.name, question.type) {
            case ("cut.test", _): .alias("middle.test") + .alias("End.test", of: "middle.test")
            case ("end.test", 1): .a([192, 0, 2, 1])
            case ("end.test", _): .alias("six.test")
            default: .aaaa(Self.ipv6Loopback)
            }
        }
        let resolver = try NameResolver(loop: loop, options: options(server))
        let expected = try [Self.address("192.0.2.1"), Self.address("::1")]
        #expect(resolve(resolver, "cut.test") == .success(expected))
        #expect(server.questions.filter { $0.type == 1 }.map(\.name) == ["cut.test", "end.test"])
        #expect(
            server.questions.filter { $0.type == 28 }.map(\.name) == ["cut.test", "end.test", "six.test"])
    }

    @Test("aliases without an end are followed for a while")
    func aliasesInCircles() throws {
        let server = try FakeNameServer(loop: loop) { question in
            .alias(question.name == "one.test" ? "two.test" : "one.test")
        }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        #expect(resolve(resolver, "one.test") == .failure(.notFound))
        #expect(server.questions.count == 1 + AddressSearch.maxAliases)
    }

    @Test("the servers are asked for localhost as well", arguments: ["localhost", "a.localhost"])
    func localhost(name: String) throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1]) }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        #expect(resolve(resolver, name) == .success([try Self.address("192.0.2.1")]))
        #expect(server.questions.map(\.name) == [name])
    }

    @Test("what is no response, or malformed, is passed over")
    func strays() throws {
        let server = try FakeNameServer(loop: loop) { _ in
            var answer = FakeNameServer.Answer.a([192, 0, 2, 1])
            answer.strays = [
                { $0[2] &= 0x7F }, { $0.removeLast() }, { $0 = [] }, { $0[0] ^= 1 }, { $0[5] = 0 },
                { $0[$0.count - 5] = 3 }, { $0[2] |= 0x28 },
            ]
            return answer
        }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        #expect(resolve(resolver, "stray.test") == .success([try Self.address("192.0.2.1")]))
        #expect(server.questions.count == 1)
    }

    @Test("a time to live of nothing is not kept")
    func zeroTimeToLive() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1], ttl: 0) }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        _ = resolve(resolver, "zero.test")
        _ = resolve(resolver, "zero.test")
        #expect(server.questions.count == 2)
    }

    @Test("a failure is not kept, and its name is taken as it is: no domain is searched")
    func negative() throws {
        var exists = false
        let server = try FakeNameServer(loop: loop) { _ in exists ? .a([192, 0, 2, 1]) : .notFound }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        #expect(resolve(resolver, "single") == .failure(.notFound))
        #expect(server.questions == [FakeNameServer.Question(name: "single", type: 1)])
        exists = true
        #expect(resolve(resolver, "single") == .success([try Self.address("192.0.2.1")]))
    }

    @Test(
        "a server's refusal is told as what it is",
        arguments: [
            (UInt16(1), "1: Format error"), (2, "2: Server failure"), (3, "3: Host not found"),
            (5, "5: Operation refused"),
        ])
    func refusals(code: UInt16, reason: String) throws {
        let server = try FakeNameServer(loop: loop) { _ in FakeNameServer.Answer(code: code) }
        let resolver = try NameResolver(loop: loop, options: options(server))
        #expect(resolve(resolver, "refused.test") == .failure(NameResolver.Failure(reason: reason)))
    }

    @Test(
        "one family's failure is told when the other has no records",
        arguments: [UInt16(1), 28],
        [(UInt16(2), "2: Server failure"), (4, "4: Unimplemented"), (6, "6: Unknown error")])
    func failureOfOne(type: UInt16, _ failure: (code: UInt16, reason: String)) throws {
        let server = try FakeNameServer(loop: loop) {
            FakeNameServer.Answer(code: $0.type == type ? failure.code : 0)
        }
        let resolver = try NameResolver(loop: loop, options: options(server))
        let expected = NameResolver.Failure(reason: failure.reason)
        #expect(resolve(resolver, "half.test") == .failure(expected))
    }

    @Test("the next server is asked when one refuses")
    func failover() throws {
        let refusing = try FakeNameServer(loop: loop) { _ in FakeNameServer.Answer(code: 5) }
        let answering = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 3]) }
        let resolver = try NameResolver(
            loop: loop,
            options: options(refusing) {
                $0.servers.append(answering.address)
                $0.ipv6 = false
            })
        #expect(resolve(resolver, "second.test") == .success([try Self.address("192.0.2.3")]))
        #expect(refusing.questions.count == 1)
    }

    @Test("the next server is asked when nothing listens at one")
    func unreachable() throws {
        let gone = try FakeNameServer(loop: loop) { _ in nil }
        let answering = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 3]) }
        gone.close()
        let resolver = try NameResolver(
            loop: loop,
            options: options(gone) {
                $0.servers.append(answering.address)
                $0.ipv6 = false
            })
        #expect(resolve(resolver, "reached.test") == .success([try Self.address("192.0.2.3")]))
    }

    /// A server, which answers nothing while it is silent, and a resolver that waits for it for 700 ms.
    func server(whichIsSilent isSilent: @escaping () -> Bool) throws -> (FakeNameServer, NameResolver) {
        let server = try FakeNameServer(loop: loop) { _ in isSilent() ? nil : .a([192, 0, 2, 4]) }
        let resolver = try NameResolver(
            loop: loop,
            options: options(server) {
                $0.ipv6 = false
                $0.timeout = 700
            })
        return (server, resolver)
    }

    @Test("silence ends at the time limit; an answer that comes later serves the next to ask")
    func timeout() throws {
        var isSilent = true
        let (server, resolver) = try self.server { isSilent }
        var outcome: Outcome?
        resolver.resolve("silent.test", port: 80) { outcome = $0 }
        loop.run { server.questions.count == 1 }
        clock.advance(by: 699)
        loop.settle()
        #expect(outcome == nil)
        isSilent = false
        clock.advance(by: 1)
        loop.settle()
        #expect(outcome == .failure(.timedOut))
        #expect(NameResolver.Failure.timedOut.isTimeout)
        // c-ares goes by the real clock, and asks again after a seventh of the limit.
        while server.questions.count < 2 { turn() }
        loop.settle()
        var later: Outcome?
        resolver.resolve("silent.test", port: 80) { later = $0 }
        #expect(later == .success([try Self.address("192.0.2.4")]))
        #expect(server.questions.count == 2)
    }

    @Test("who joins a lookup may wait for as long as anybody else")
    func deadlines() throws {
        var isSilent = true
        let (server, resolver) = try self.server { isSilent }
        var outcomes: [Int: Outcome] = [:]
        resolver.resolve("silent.test", port: 80) { outcomes[0] = $0 }
        loop.run { server.questions.count == 1 }
        clock.advance(by: 600)
        loop.settle()
        resolver.resolve("silent.test", port: 80) { outcomes[1] = $0 }
        resolver.resolve("silent.test", port: 80, timeout: 50) { outcomes[2] = $0 }
        resolver.resolve("silent.test", port: 81, timeout: 1_000_000_000) { outcomes[3] = $0 }
        clock.advance(by: 50)
        loop.settle()
        #expect(outcomes == [2: .failure(.timedOut)])
        clock.advance(by: 50)
        loop.settle()
        #expect(outcomes == [0: .failure(.timedOut), 2: .failure(.timedOut)])
        clock.advance(by: 599)
        loop.settle()
        #expect(outcomes[1] == nil)
        clock.advance(by: 1)
        loop.settle()
        #expect(outcomes[1] == .failure(.timedOut))
        // c-ares goes by the real clock, and gives up after its third attempt.
        while server.questions.count < 3 { turn() }
        isSilent = false
        while outcomes[3] == nil { turn() }
        #expect(outcomes[3] == .success([try Self.address("192.0.2.4", 81)]))
        #expect(server.questions.count == 4)
    }

    @Test("all who wait are looked at when somebody's time may be over, not for each who asks")
    func sweeps() throws {
        let (server, resolver) = try self.server { true }
        defer { server.close() }
        var outcomes: [Outcome] = []
        for index in 0..<200 {
            resolver.resolve("\(index).test", port: 80, timeout: index < 100 ? 100 : 200) {
                outcomes.append($0)
            }
        }
        #expect(resolver.sweeps == 0)
        for passed in 1...2 {
            clock.advance(by: 99)
            loop.settle()
            #expect(outcomes.count == (passed - 1) * 100)
            clock.advance(by: 1)
            loop.settle()
            #expect(outcomes == Array(repeating: .failure(.timedOut), count: passed * 100))
            #expect(resolver.sweeps == passed)
        }
    }

    @Test("who asks again once its time is over waits as long again")
    func askingAgain() throws {
        let (server, resolver) = try self.server { true }
        defer { server.close() }
        var times: [Int64] = []
        let start = loop.now
        func ask() {
            resolver.resolve("again.test", port: 80, timeout: 100) { _ in
                times.append(loop.now - start)
                if times.count < 3 { ask() }
            }
        }
        ask()
        for _ in 0..<300 { turn() }
        #expect(times == [100, 200, 300])
    }

    /// Lets c-ares, which goes by the real clock, have a look.
    func turn() {
        clock.advance(by: 1)
        loop.turn(wait: false)
    }

    @Test("an answer over TCP is waited for as long as the lookup may take, without asking again")
    func slowStream() throws {
        let server = try FakeNameServer(loop: loop) { question in
            question.isTCP ? nil : FakeNameServer.Answer(isTruncated: true)
        }
        let resolver = try NameResolver(
            loop: loop,
            options: options(server) {
                $0.ipv6 = false
                $0.timeout = 700
            })
        var outcome: Outcome?
        resolver.resolve("slow.test", port: 80, timeout: 1_000_000_000) { outcome = $0 }
        // A datagram would be waited for 100 ms long.
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .milliseconds(300) { turn() }
        #expect(outcome == nil)
        #expect(server.questions.map(\.isTCP) == [false, true])
        while server.questions.count < 4 { turn() }
        #expect(server.questions.map(\.isTCP) == [false, true, false, true])
        #expect(ContinuousClock.now - start >= .milliseconds(650))
    }

    @Test("an answer that was cut is fetched over TCP")
    func truncation() throws {
        let server = try FakeNameServer(loop: loop) { question in
            var answer = FakeNameServer.Answer.a([192, 0, 2, 5])
            if !question.isTCP { answer = FakeNameServer.Answer(isTruncated: true) }
            return answer
        }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        #expect(resolve(resolver, "large.test") == .success([try Self.address("192.0.2.5")]))
        #expect(server.questions.map(\.isTCP) == [false, true])
    }

    @Test("many names at once are each answered")
    func manyNames() throws {
        let server = try FakeNameServer(loop: loop) { question in
            let number = UInt8(question.name.prefix { $0 != "." }.dropFirst()) ?? 0
            return .a([192, 0, 2, number])
        }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        var outcomes: [Int: Outcome] = [:]
        for number in 0..<200 {
            resolver.resolve("n\(number).test", port: 80) { outcomes[number] = $0 }
        }
        loop.run { outcomes.count == 200 }
        for number in 0..<200 {
            #expect(outcomes[number] == .success([try Self.address("192.0.2.\(number)")]))
        }
    }

    @Test("closing fails those who wait, once, and the resolver with them")
    func closing() throws {
        let server = try FakeNameServer(loop: loop) { _ in nil }
        let resolver = try NameResolver(loop: loop, options: options(server))
        var outcomes: [Outcome] = []
        resolver.resolve("waiting.test", port: 80) { outcomes.append($0) }
        loop.run { !server.questions.isEmpty }
        resolver.close()
        resolver.close()
        #expect(outcomes == [.failure(.closed)])
        resolver.resolve("after.test", port: 80) { outcomes.append($0) }
        #expect(outcomes == [.failure(.closed), .failure(.closed)])
        loop.settle()
        #expect(outcomes.count == 2)
    }

    @Test("a resolver that is let go while it works fails those who wait")
    func release() throws {
        let server = try FakeNameServer(loop: loop) { _ in nil }
        var outcome: Outcome?
        do {
            let resolver = try NameResolver(loop: loop, options: options(server))
            resolver.resolve("dropped.test", port: 80) { outcome = $0 }
        }
        #expect(outcome == .failure(.closed))
        loop.settle()
    }

    @Test("a completion may close the resolver, or ask for more")
    func reentrance() throws {
        let server = try FakeNameServer(loop: loop) { _ in .a([192, 0, 2, 1], ttl: 0) }
        let resolver = try NameResolver(loop: loop, options: options(server) { $0.ipv6 = false })
        var outcomes: [Outcome] = []
        resolver.resolve("first.test", port: 80) {
            outcomes.append($0)
            resolver.resolve("second.test", port: 80) {
                outcomes.append($0)
                resolver.resolve("third.test", port: 80) { outcomes.append($0) }
                resolver.close()
            }
        }
        loop.run { outcomes.count == 3 }
        let found = Outcome.success([try Self.address("192.0.2.1")])
        #expect(outcomes == [found, found, .failure(.closed)])
    }

    @Test(
        "a server that is not numeric is refused",
        arguments: [
            "dns.test", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "[::1", "::1]:53", "[127.0.0.1:53",
            "",
        ])
    func invalidServers(server: String) throws {
        var options = NameResolver.Options()
        options.servers = [server]
        #expect(throws: NameResolver.Failure(reason: "invalid name server \"\(server)\"")) {
            try NameResolver(loop: loop, options: options)
        }
    }

    @Test(
        "a server may stand with or without its port", arguments: ["127.0.0.1", "[::1]:5353", "[::1]", "::1"])
    func validServers(server: String) throws {
        var options = NameResolver.Options()
        options.servers = [server]
        try NameResolver(loop: loop, options: options).close()
    }

    @Test("no family at all is refused")
    func noFamily() throws {
        var options = NameResolver.Options()
        options.ipv4 = false
        options.ipv6 = false
        #expect(throws: NameResolver.Failure.self) { try NameResolver(loop: loop, options: options) }
    }
}

@Suite("Name resolver with the system's settings", .timeLimit(.minutes(1)))
struct SystemNameResolverTests {
    let loop: EventLoop

    init() throws { loop = try EventLoop(scratchSize: 4096) }

    func resolver(_ server: FakeNameServer, resolvConf: String) throws -> NameResolver {
        let path = "/tmp/switchyard-resolv-\(getpid())-\(server.port)"
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = writeAll(descriptor, Array(resolvConf.utf8))
        close(descriptor)
        defer { _ = unsafe unlink(path) }
        var options = NameResolver.Options()
        options.ipv6 = false
        options.systemServers = (path, server.port)
        return try NameResolver(loop: loop, options: options)
    }

    func resolve(_ resolver: NameResolver, _ name: String) -> Result<[SocketAddress], NameResolver.Failure>? {
        var outcome: Result<[SocketAddress], NameResolver.Failure>?
        resolver.resolve(name, port: 80) { outcome = $0 }
        loop.run { outcome != nil }
        return outcome
    }

    @Test("the hosts file knows localhost without a server")
    func hostsFile() throws {
        let server = try FakeNameServer(loop: loop) { _ in .notFound }
        let resolver = try resolver(server, resolvConf: "nameserver 127.0.0.1\n")
        #expect(resolve(resolver, "localhost") == .success([.ipv4(0x7F00_0001, port: 80)]))
        #expect(server.questions.isEmpty)
    }

    @Test("the search list is used for a name without dots")
    func searchList() throws {
        let server = try FakeNameServer(loop: loop) { question in
            question.name == "web.lan.test" ? .a([192, 0, 2, 6]) : .notFound
        }
        let resolver = try resolver(server, resolvConf: "nameserver 127.0.0.1\nsearch lan.test\n")
        #expect(resolve(resolver, "web") == .success([.ipv4(0xC000_0206, port: 80)]))
    }

    @Test("a search list of the root alone has the name tried as it is")
    func rootSearchList() throws {
        let server = try FakeNameServer(loop: loop) { question in
            question.name == "web" ? .a([192, 0, 2, 6]) : .notFound
        }
        let resolver = try resolver(server, resolvConf: "nameserver 127.0.0.1\nsearch .\n")
        #expect(resolve(resolver, "web") == .success([.ipv4(0xC000_0206, port: 80)]))
        #expect(resolve(resolver, "nowhere") == .failure(.notFound))
    }
}

@Suite("Blocking resolution", .timeLimit(.minutes(1)))
struct BlockingResolutionTests {
    @Test("a lookup blocks until it is answered, and a failure is thrown")
    func blocking() throws {
        let address = Mutex<String?>(nil)
        let started = Mutex<EventLoopPoster?>(nil)
        let stopped = Mutex(false)
        let thread = try Threads.start(name: "nameserver") {
            guard let loop = try? EventLoop(scratchSize: 4096) else { return }
            let server = try? FakeNameServer(loop: loop) { question in
                question.name == "here.test" ? .a([192, 0, 2, 8]) : .notFound
            }
            address.withLock { $0 = server?.address }
            started.withLock { $0 = loop.poster }
            while !stopped.withLock({ $0 }) { loop.turn(wait: true) }
            server?.close()
            loop.close()
        }
        while started.withLock({ $0 == nil }) { sched_yield() }
        defer {
            stopped.withLock { $0 = true }
            started.withLock { $0?.post {} }
            thread.join()
        }
        var options = NameResolver.Options()
        options.servers = [try #require(address.withLock { $0 })]
        options.ipv6 = false
        let found = try NameResolver.resolveBlocking("here.test", port: 99, options: options)
        #expect(found == [.ipv4(0xC000_0208, port: 99)])
        #expect(throws: NameResolver.Failure.notFound) {
            try NameResolver.resolveBlocking("gone.test", port: 99, options: options)
        }
    }

    @Test("silence ends a blocking lookup")
    func silence() throws {
        let loop = try EventLoop(scratchSize: 4096)
        // Nobody turns this loop, so nobody answers.
        let server = try FakeNameServer(loop: loop) { _ in nil }
        var options = NameResolver.Options()
        options.servers = [server.address]
        options.timeout = 1
        #expect(throws: NameResolver.Failure.timedOut) {
            try NameResolver.resolveBlocking("silent.test", port: 99, options: options)
        }
    }
}

@Suite("Name cache")
struct NameCacheTests {
    let address = SocketAddress.ipv4(1, port: 0)

    private func answer(until time: Int64) -> NameResolver.Answer {
        NameResolver.Answer(addresses: [address], goodUntil: time)
    }

    @Test("a full cache drops what is no longer good before anything else")
    func expiredFirst() {
        var cache = NameCache(capacity: 2)
        cache.insert(answer(until: 10), to: .addresses(of: "old"), now: 0)
        cache.insert(answer(until: 100), to: .addresses(of: "good"), now: 0)
        cache.insert(answer(until: 200), to: .addresses(of: "new"), now: 20)
        #expect(cache.count == 2)
        #expect(cache.answer(to: .addresses(of: "old"), now: 20) == nil)
        #expect(cache.answer(to: .addresses(of: "good"), now: 20)?.addresses == [address])
        #expect(cache.answer(to: .addresses(of: "new"), now: 20)?.addresses == [address])
    }

    @Test("a cache full of good answers drops the one that ends first")
    func soonestFirst() {
        var cache = NameCache(capacity: 2)
        cache.insert(answer(until: 100), to: .addresses(of: "long"), now: 0)
        cache.insert(answer(until: 50), to: .addresses(of: "short"), now: 0)
        cache.insert(answer(until: 70), to: .addresses(of: "new"), now: 0)
        #expect(cache.answer(to: .addresses(of: "short"), now: 0) == nil)
        #expect(cache.answer(to: .addresses(of: "long"), now: 0)?.addresses == [address])
        #expect(cache.answer(to: .addresses(of: "new"), now: 0)?.addresses == [address])
    }

    @Test("an answer that is already past replaces what was there")
    func pastAnswer() {
        var cache = NameCache(capacity: 2)
        cache.insert(answer(until: 100), to: .addresses(of: "name"), now: 0)
        cache.insert(answer(until: 50), to: .addresses(of: "name"), now: 50)
        #expect(cache.answer(to: .addresses(of: "name"), now: 50) == nil)
        #expect(cache.count == 0)
    }
}
