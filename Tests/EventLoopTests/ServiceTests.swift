import Testing

@testable import EventLoop

@Suite("Records of services")
struct ServiceRecordTests {
    typealias Response = DNSMessage.Response

    /// A response to `_x._tcp.a`, type SRV: 1, 2, port 258, `b.a`, by a compressed name; then another one's.
    private static let sample: [UInt8] =
        [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]
        + [2, 0x5F, 0x78, 4, 0x5F, 0x74, 0x63, 0x70, 1, 0x61, 0, 0, 33, 0, 1]
        + [0xC0, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 10, 0, 1, 0, 2, 1, 2, 1, 0x42, 0xC0, 20]
        + [0xC0, 12, 0, 33, 0, 1, 0, 0, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0]

    private static let name: [UInt8] = [2, 0x5F, 0x78, 4, 0x5F, 0x74, 0x63, 0x70, 1, 0x61, 0]

    @Test("they are read with the names of their hosts, which the root is none of")
    func records() throws {
        let response = try #require(Response(Self.sample))
        let services = [
            ServiceRecord(priority: 1, weight: 2, port: 258, target: "b.a"),
            ServiceRecord(priority: 0, weight: 0, port: 0, target: ""),
        ]
        #expect(response.records.map(\.data) == services.map { .service($0) })
        #expect(response.records.map(\.owner) == [Self.name, Self.name])
        var search = AddressSearch(type: .service, name: Self.name)
        let found = NameQueries.Records(addresses: [], services: services, timeToLive: 5000)
        #expect(search.answered(response, overStream: false) == .end(.found(found)))
        #expect(AddressSearch.combined([.found(found)]) == .success(found))
        search = AddressSearch(type: .ipv4, name: Self.name)
        #expect(search.answered(response, overStream: false) == .end(.nothing))
    }

    @Test("a response cut anywhere is malformed, and so is one whose lengths are others")
    func cuts() {
        for length in 0..<Self.sample.count { #expect(Response(Array(Self.sample.prefix(length))) == nil) }
        for place in [37, 59] {
            for length in 0...255 where length != Int(Self.sample[place + 1]) {
                var message = Self.sample
                message[place + 1] = UInt8(length)
                #expect(Response(message) == nil, "\(length) at \(place)")
            }
        }
    }

    @Test("what no host is called by is passed over", arguments: [0x2E, 0x20, 0x00, 0x80] as [UInt8])
    func strangeHosts(_ byte: UInt8) throws {
        var message = Self.sample
        message[46] = byte
        let response = try #require(Response(message))
        #expect(response.records.count == 1)
    }

    @Test("no message is trapped at")
    func mutations() {
        for message in mutated(Self.sample) {
            guard let response = Response(message) else { continue }
            #expect(response.records.count <= 2)
        }
    }
}

@Suite("Lookups of services", .timeLimit(.minutes(1)))
struct ServiceLookupTests {
    let clock = FakeClock()
    let loop: EventLoop

    init() throws { loop = try clock.makeLoop() }

    private typealias Outcome = Result<NameResolver.Service, NameResolver.Failure>
    private typealias Place = NameResolver.Service.Place

    private func resolver(
        _ answer: @escaping (FakeNameServer.Question) -> FakeNameServer.Answer?,
        _ body: (NameResolver, FakeNameServer) throws -> Void
    ) throws {
        let server = try FakeNameServer(loop: loop, answer: answer)
        var options = NameResolver.Options()
        options.servers = [server.address]
        options.ipv6 = false
        let resolver = try NameResolver(loop: loop, options: options)
        resolver.chooseFirst = { _ in 0 }
        try body(resolver, server)
        resolver.close()
        server.close()
    }

    private func lookUp(_ resolver: NameResolver, _ name: String = "_x._tcp.a.test") -> Outcome {
        var outcome: Outcome?
        resolver.lookUpService(name, timeout: 1000) { outcome = $0 }
        loop.run { outcome != nil }
        return outcome ?? .failure(.closed)
    }

    private static func record(_ priority: UInt16, _ port: UInt16, _ target: String) -> ServiceRecord {
        ServiceRecord(priority: priority, weight: 1, port: port, target: target)
    }

    @Test("a service has a name of its own at a host")
    func names() {
        #expect(NameResolver.name(ofService: "http", at: "a.test") == "_http._tcp.a.test")
        #expect(NameResolver.name(ofService: "_sip._udp", at: "a.test") == "_sip._udp.a.test")
        #expect(NameResolver.name(ofService: "b.", at: "a") == "b..a")
    }

    @Test("each of its hosts is asked for once, and its addresses are at each port; the shortest time counts")
    func places() throws {
        try resolver { question in
            switch (question.name, question.type) {
            case ("_x._tcp.a.test", 33):
                .services(
                    Self.record(2, 80, "b.test"), Self.record(1, 81, "B.test"), Self.record(1, 80, "c.test"),
                    ttl: 50)
            case ("b.test", 1): .a([192, 0, 2, 1], [192, 0, 2, 2], ttl: 40)
            case ("c.test", 1): .a([192, 0, 2, 3], ttl: 90)
            default: .notFound
            }
        } _: { resolver, server throws in
            let service = try lookUp(resolver).get()
            func addresses(_ hosts: [UInt8], _ port: UInt16) -> [SocketAddress] {
                hosts.map { .ipv4(0xC000_0200 | UInt32($0), port: port) }
            }
            let expected = [
                Place(record: Self.record(2, 80, "b.test"), addresses: addresses([1, 2], 80)),
                Place(record: Self.record(1, 81, "b.test"), addresses: addresses([1, 2], 81)),
                Place(record: Self.record(1, 80, "c.test"), addresses: addresses([3], 80)),
            ]
            #expect(service.places.count == 3 && expected.allSatisfy(service.places.contains))
            #expect(service.losses.isEmpty)
            #expect(service.goodUntil == loop.now + 40_000)
            #expect(server.questions.count == 3)
            // All of it is kept.
            let again = try lookUp(resolver).get()
            #expect(again.goodUntil == service.goodUntil)
            #expect(server.questions.count == 3)
            clock.advance(by: 40_000)
            loop.settle()
            _ = lookUp(resolver)
            #expect(server.questions.count == 4)
        }
    }

    @Test("hosts without addresses are lost, with why")
    func losses() throws {
        try resolver { question in
            switch question.name {
            case "_x._tcp.a.test":
                .services(
                    Self.record(1, 80, "b.test"), Self.record(1, 80, "none.test"),
                    Self.record(1, 80, "bad.test"))
            case "b.test": .a([192, 0, 2, 1])
            case "bad.test": FakeNameServer.Answer(code: 2)
            default: .notFound
            }
        } _: { resolver, _ throws in
            let service = try lookUp(resolver).get()
            #expect(service.places.map(\.record.target) == ["b.test"])
            let reasons = service.losses.sorted { $0.record.target < $1.record.target }.map(\.failure.reason)
            #expect(reasons == ["2: Server failure", "3: Host not found"])
        }
    }

    @Test("a service is not found where there are no records, nor a host in them")
    func nothing() throws {
        try resolver { question in
            switch question.name {
            case "_x._tcp.a.test": .services(ServiceRecord(priority: 0, weight: 0, port: 0, target: ""))
            case "_x._tcp.b.test": .notFound
            case "_x._tcp.c.test": FakeNameServer.Answer()
            default: FakeNameServer.Answer(code: 5)
            }
        } _: { resolver, server throws in
            for host in ["a", "b", "c"] {
                #expect(lookUp(resolver, "_x._tcp.\(host).test") == .failure(.notFound))
            }
            #expect(lookUp(resolver, "_x._tcp.d.test") == .failure(.init(reason: "5: Operation refused")))
            #expect(lookUp(resolver, "..") == .failure(.notFound))
            #expect(server.questions.allSatisfy { $0.type == 33 })
        }
    }

    @Test("what was cut is asked for over a connection")
    func cut() throws {
        try resolver { question in
            if question.type == 1 { return .a([192, 0, 2, 1]) }
            return question.isTCP
                ? .services(Self.record(1, 80, "b.test")) : FakeNameServer.Answer(isTruncated: true)
        } _: { resolver, _ throws in
            let service = try lookUp(resolver).get()
            #expect(service.places.count == 1)
        }
    }

    @Test("both steps have the time of one")
    func time() throws {
        try resolver { question in
            question.type == 33 ? .services(Self.record(1, 80, "b.test")) : nil
        } _: { resolver, server throws in
            var outcome: Outcome?
            resolver.lookUpService("_x._tcp.a.test", timeout: 1000) { outcome = $0 }
            loop.run { server.questions.count == 2 }
            clock.advance(by: 999)
            loop.settle()
            #expect(outcome == nil)
            clock.advance(by: 1)
            loop.settle()
            let service = try #require(outcome).get()
            #expect(service.losses.map(\.failure) == [.timedOut])
        }
    }

    @Test("of many hosts some are asked for at once, the others when these have been answered")
    func many() throws {
        let hosts = (0..<200).reduce(FakeNameServer.Answer()) {
            $0 + .services(Self.record(1, 80, "h\($1).test"))
        }
        try resolver { question in
            if question.type == 33 {
                return question.isTCP ? hosts : FakeNameServer.Answer(isTruncated: true)
            }
            return nil
        } _: { resolver, server throws in
            var outcome: Outcome?
            resolver.lookUpService("_x._tcp.a.test", timeout: 60_000) { outcome = $0 }
            let isHost = { (question: FakeNameServer.Question) in question.type == 1 }
            loop.run { server.questions.count(where: isHost) == 64 }
            loop.settle()
            #expect(server.questions.count(where: isHost) == 64)
            resolver.close()
            #expect(
                try #require(outcome).get().losses.map(\.failure) == Array(repeating: .closed, count: 200))
        }
    }

    @Test("a resolver that is closed says so")
    func closed() throws {
        try resolver { _ in
            nil
        } _: { resolver, _ throws in
            var outcome: Outcome?
            resolver.lookUpService("_x._tcp.a.test", timeout: 1000) { outcome = $0 }
            resolver.close()
            #expect(outcome == .failure(.closed))
        }
    }

    @Test("the system has no services")
    func system() throws {
        let resolver = try NameResolver(loop: loop, options: .init())
        #expect(lookUp(resolver) == .failure(.notFound))
        resolver.close()
    }
}
