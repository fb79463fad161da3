import Testing

@testable import EventLoop

@Suite("DNS messages")
struct DNSMessageTests {
    typealias Response = DNSMessage.Response

    /// A response to `a.test`, type A: an alias, then two addresses of its target, by compressed names.
    static let sample: [UInt8] =
        [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]
        + [1, 0x41, 4, 0x74, 0x65, 0x73, 0x74, 0, 0, 1, 0, 1]
        + [0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, 0x42, 0xC0, 14]
        + [0xC0, 36, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 1]
        + [0xC0, 36, 0, 1, 0, 1, 0x80, 0, 0, 0, 0, 4, 192, 0, 2, 2]

    static let a: [UInt8] = [1, 0x61, 4, 0x74, 0x65, 0x73, 0x74, 0]
    static let b: [UInt8] = [1, 0x62, 4, 0x74, 0x65, 0x73, 0x74, 0]

    @Test("a name is its labels, in lower case")
    func names() {
        #expect(DNSMessage.name("A.Test") == Self.a)
        #expect(DNSMessage.name("a.test.") == Self.a)
        let label = String(repeating: "x", count: 63)
        #expect(DNSMessage.name(label)?.count == 65)
        let long = [label, label, label, String(repeating: "x", count: 61)].joined(separator: ".")
        #expect(DNSMessage.name(long)?.count == 255)
        for name in ["", ".", "..", ".a", "a..b", label + "x", long + "x"] {
            #expect(DNSMessage.name(name) == nil)
        }
    }

    @Test("a question is of one name and type")
    func question() {
        #expect(
            DNSMessage.query(id: 0x1234, name: Self.a, type: .ipv6)
                == [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + Self.a + [0, 28, 0, 1])
    }

    @Test("a response's records are read, a time to live of more than 31 bits being none")
    func response() throws {
        let response = try #require(Response(Self.sample))
        #expect(response.code == 0)
        #expect(!response.isTruncated)
        #expect(
            response.records == [
                Response.Record(owner: Self.a, timeToLive: 9, data: .alias(Self.b)),
                Response.Record(
                    owner: Self.b, timeToLive: 256, data: .address(.ipv4(0xC000_0201, port: 0))),
                Response.Record(owner: Self.b, timeToLive: 0, data: .address(.ipv4(0xC000_0202, port: 0))),
            ])
    }

    @Test("a response cut anywhere is malformed, unless it says that it is cut")
    func cuts() {
        var truncated = Self.sample
        truncated[2] |= 2
        for length in 0..<Self.sample.count {
            #expect(Response(Array(Self.sample.prefix(length))) == nil)
            let response = Response(Array(truncated.prefix(length)))
            #expect((response != nil) == (length >= 24))
            #expect(response?.records.count ?? 0 == max(0, length - 24) / 16)
        }
    }

    @Test(
        "a name that refers to itself, or ahead, is malformed",
        arguments: [[0xC0, 24], [0xC0, 40], [0xC0, 0]])
    func references(_ reference: [UInt8]) {
        var message = Self.sample
        message.replaceSubrange(24..<26, with: reference)
        #expect(Response(message) == nil)
    }

    @Test("no message is trapped at")
    func mutations() {
        for message in mutated(Self.sample) {
            guard let response = Response(message) else { continue }
            #expect(response.records.count <= 3)
        }
    }
}

@Suite("Address search")
struct AddressSearchTests {
    typealias Response = DNSMessage.Response

    static func name(_ text: String) throws -> [UInt8] { try #require(DNSMessage.name(text)) }

    static func response(_ records: [Response.Record] = [], code: UInt8 = 0, isTruncated: Bool = false) throws
        -> Response
    {
        var response = try #require(Response(DNSMessageTests.sample))
        response.code = code
        response.isTruncated = isTruncated
        response.records = records
        return response
    }

    static func alias(_ owner: String, _ target: String, _ timeToLive: UInt32 = 60) throws -> Response.Record
    {
        Response.Record(owner: try name(owner), timeToLive: timeToLive, data: .alias(try name(target)))
    }

    static func address(_ owner: String, _ timeToLive: UInt32 = 60) throws -> Response.Record {
        Response.Record(owner: try name(owner), timeToLive: timeToLive, data: .address(.ipv4(1, port: 0)))
    }

    static func found(_ count: Int, _ seconds: Int64) -> AddressSearch.Action {
        .end(
            .found(
                NameQueries.Records(
                    addresses: Array(repeating: .ipv4(1, port: 0), count: count), timeToLive: seconds * 1000))
        )
    }

    func search(_ type: DNSMessage.RecordType = .ipv4) throws -> AddressSearch {
        AddressSearch(type: type, name: try Self.name("a"))
    }

    @Test("addresses are those of the name, or of what its aliases lead to in any order")
    func chains() throws {
        var search = try search()
        let direct = try Self.response([Self.address("a", 9), Self.address("z", 1), Self.address("a", 8)])
        #expect(search.answered(direct, overStream: false) == Self.found(2, 8))
        search = try self.search()
        let chain = try Self.response([
            Self.address("c"), Self.alias("b", "c", 5), Self.alias("a", "b", 7), Self.alias("y", "z", 1),
        ])
        #expect(search.answered(chain, overStream: false) == Self.found(1, 5))
        search = try self.search()
        let both = try Self.response([Self.alias("a", "b", 1), Self.address("a", 9)])
        #expect(search.answered(both, overStream: false) == Self.found(1, 9))
    }

    @Test("the end of a chain without addresses is asked for, over a datagram again")
    func cutChain() throws {
        var search = try search()
        let cut = try Self.response([Self.alias("a", "b", 5), Self.alias("b", "c", 7)])
        #expect(search.answered(cut, overStream: true) == .ask)
        #expect(search.name == (try Self.name("c")))
        #expect(
            search.answered(try Self.response([Self.address("c", 9)]), overStream: false) == Self.found(1, 5))
    }

    @Test("aliases in a circle end", arguments: [["a"], ["b", "a"], ["b", "c", "b"]])
    func circles(_ targets: [String]) throws {
        var search = try search()
        var records: [Response.Record] = []
        var owner = "a"
        for target in targets {
            records.append(try Self.alias(owner, target))
            owner = target
        }
        let circle = try Self.response(records)
        var questions = 1
        while search.answered(circle, overStream: false) == .ask { questions += 1 }
        #expect(questions <= 1 + AddressSearch.maxAliases)
    }

    @Test("a chain of more aliases than are followed leads to nothing", arguments: [15, 16, 17, 4000])
    func longChain(_ count: Int) throws {
        var search = try search()
        var records = [try Self.address("x\(count)")]
        for index in (0..<count).reversed() {
            records.append(try Self.alias(index == 0 ? "a" : "x\(index)", "x\(index + 1)"))
        }
        let isFollowed = count <= AddressSearch.maxAliases
        #expect(
            search.answered(try Self.response(records), overStream: true)
                == (isFollowed ? Self.found(1, 60) : .end(.nothing)))
        let end = try Self.name("x\(min(count, AddressSearch.maxAliases + 1))")
        #expect(search.name == end)
    }

    @Test("what was cut is asked for over a connection, where it is final")
    func truncation() throws {
        var search = try search()
        let truncated = try Self.response([Self.address("a")], isTruncated: true)
        #expect(search.answered(truncated, overStream: false) == .askOverStream)
        #expect(search.answered(nil, overStream: false) == .askOverStream)
        #expect(search.answered(nil, overStream: true) == .end(.failed(.misformatted)))
        #expect(search.answered(truncated, overStream: true) == Self.found(1, 60))
    }

    @Test("nothing of the name and family is nothing; a code is a failure, but for there being no name")
    func nothing() throws {
        var search = try search(.ipv6)
        #expect(search.answered(try Self.response(), overStream: false) == .end(.nothing))
        #expect(search.answered(try Self.response([Self.address("a")]), overStream: false) == .end(.nothing))
        #expect(search.answered(try Self.response(code: 3), overStream: false) == .end(.nothing))
        let failure = NameResolver.Failure(reason: "2: Server failure")
        #expect(search.answered(try Self.response(code: 2), overStream: false) == .end(.failed(failure)))
    }

    @Test("what was found counts, then the first failure")
    func combination() {
        let one = NameQueries.Records(addresses: [.ipv4(1, port: 0)], timeToLive: 9)
        let other = NameQueries.Records(addresses: [.ipv6([], port: 0)], timeToLive: 7)
        let both = NameQueries.Records(addresses: one.addresses + other.addresses, timeToLive: 7)
        #expect(AddressSearch.combined([.found(one), .found(other)]) == .success(both))
        #expect(AddressSearch.combined([.failed(.timedOut), .found(other)]) == .success(other))
        #expect(AddressSearch.combined([.failed(.timedOut), .failed(.closed)]) == .failure(.timedOut))
        #expect(AddressSearch.combined([.nothing, .failed(.closed)]) == .failure(.closed))
        #expect(AddressSearch.combined([.nothing, .nothing]) == .failure(.notFound))
    }
}
