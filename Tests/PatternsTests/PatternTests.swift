import Patterns
import Testing

@Suite struct PatternTests {
    private func groups(of pattern: Pattern, in subject: String) -> [String?]? {
        let bytes = Array(subject.utf8)
        var captures: [Int32] = []
        guard pattern.firstMatch(in: bytes.span, captures: &captures) == .found else { return nil }
        return stride(from: 0, to: captures.count, by: 2).map { index in
            captures[index] < 0
                ? nil
                : String(decoding: bytes[Int(captures[index])..<Int(captures[index + 1])], as: UTF8.self)
        }
    }

    @Test("groups are stored as offsets, those that took no part as -1")
    func storesGroups() throws {
        let pattern = try Pattern("^/(a)?(b+)/(.*)$")
        #expect(pattern.groupCount == 3)
        #expect(groups(of: pattern, in: "/bb/rest") == ["/bb/rest", nil, "bb", "rest"])
        #expect(groups(of: pattern, in: "/c/rest") == nil)
    }

    @Test("a failed match leaves the captures of the one before")
    func failureLeavesCaptures() throws {
        let pattern = try Pattern("x")
        var captures: [Int32] = [7, 8]
        #expect(pattern.firstMatch(in: [0x79], captures: &captures) == .notFound)
        #expect(captures == [7, 8])
        #expect(pattern.firstMatch(in: [0x79, 0x78], captures: &captures) == .found)
        #expect(captures == [1, 2])
    }

    @Test("a group at the end that took no part is still stored")
    func storesTrailingUnsetGroups() throws {
        let pattern = try Pattern("a(b)?(c)?")
        #expect(groups(of: pattern, in: "a") == ["a", nil, nil])
    }

    @Test("named groups are listed with their numbers in the order of the groups")
    func listsNamedGroups() throws {
        let pattern = try Pattern("(?<zeta>.)(x)(?P<alpha>.)(?'mid'.)")
        #expect(pattern.groupNames.map(\.name) == ["zeta", "alpha", "mid"])
        #expect(pattern.groupNames.map(\.group) == [1, 3, 4])
        #expect(pattern.groupCount == 4)
        #expect(try Pattern("(x)").groupNames.isEmpty)
    }

    @Test("case counts unless the pattern is compiled without it")
    func comparesCase() throws {
        #expect(try !Pattern("^abc$").matches(Array("ABC".utf8)))
        #expect(try Pattern("^abc$", caseInsensitive: true).matches(Array("ABC".utf8)))
    }

    @Test("an error says what is wrong and at which byte")
    func reportsErrors() throws {
        #expect(throws: PatternError(message: "missing closing parenthesis", offset: 3)) {
            try Pattern("a(b")
        }
        #expect(throws: PatternError(message: "quantifier does not follow a repeatable item", offset: 2)) {
            try Pattern("a(+a)")
        }
    }

    @Test("bytes are matched, not UTF-8 characters")
    func matchesBytes() throws {
        #expect(try Pattern("^..$").matches(Array("é".utf8)))
        #expect(try Pattern("^.$").matches([0xFF]))
        #expect(try Pattern(bytes: [0x5E, 0xFE]).matches([0xFE, 0x00]))
    }

    @Test("an empty subject and an empty pattern match")
    func matchesNothing() throws {
        #expect(try Pattern("").matches([]))
        #expect(try Pattern("^$").matches([]))
        #expect(try !Pattern(".").matches([]))
        #expect(groups(of: try Pattern("()"), in: "") == ["", ""])
    }

    @Test("a NUL byte is a byte as any other")
    func matchesNUL() throws {
        #expect(try Pattern("^a.b$").matches([0x61, 0, 0x62]))
    }

    @Test("catastrophic backtracking ends at the match limit, without a match")
    func limitsBacktracking() throws {
        let pattern = try Pattern("^(([a-z])+.)+[A-Z]([a-z])+$")
        #expect(!pattern.matches(Array(repeating: 0x61, count: 5000)))
        #expect(pattern.matches(Array("abcXyz".utf8)))
    }

    @Test("a pattern with more groups than the first workspace has room for stores them all")
    func growsTheWorkspace() throws {
        let pattern = try Pattern(String(repeating: "(.)", count: 200))
        let subject = String((0..<200).map { Character(UnicodeScalar(UInt8(0x30 + $0 % 70))) })
        let found = try #require(groups(of: pattern, in: subject))
        #expect(found.count == 201)
        #expect(found[0] == subject)
        #expect(found[200] == String(subject.suffix(1)))
        #expect(groups(of: try Pattern("(a)"), in: "a") == ["a", "a"])
    }

    @Test("one pattern serves many threads at once")
    func servesThreads() async throws {
        let pattern = try Pattern("^/(?<name>[a-z]+)/([0-9]+)$")
        let right = await withTaskGroup(of: Int.self) { tasks in
            for task in 0..<8 {
                tasks.addTask {
                    let subject = Array("/abc/\(task * 111)".utf8)
                    let digits = Int32(subject.count - 5)
                    var captures: [Int32] = []
                    return (0..<500).count { _ in
                        pattern.firstMatch(in: subject, captures: &captures) == .found
                            && captures == [0, 5 + digits, 1, 4, 5, 5 + digits]
                    }
                }
            }
            return await tasks.reduce(0, +)
        }
        #expect(right == 4000)
    }
}
