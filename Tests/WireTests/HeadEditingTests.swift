import Testing
import Wire

@Suite("Editing a head")
struct HeadEditingTests {
    // MARK: Help

    private func request(_ fields: String, line: String = "GET /a?b HTTP/1.1") throws -> RequestHead {
        var head = RequestHead()
        var parser = RequestHeadParser()
        let text = [UInt8]((line + "\n" + fields + "\n").replacing("\n", with: "\r\n"))
        try #require(
            parser.parse(text.rawSpan, limits: .init(), into: &head) == .complete(length: text.count))
        return head
    }

    private func response(_ fields: String) throws -> ResponseHead {
        var head = ResponseHead()
        var parser = ResponseHeadParser()
        let text = [UInt8](("HTTP/1.1 200 OK\n" + fields + "\n").replacing("\n", with: "\r\n"))
        let progress = parser.parse(text.rawSpan, isHead: false, maxHead: 8192, into: &head)
        try #require(progress == .complete(length: text.count))
        return head
    }

    /// The fields in order, one a line.
    private func lines(_ head: some MessageHead) -> [String] {
        head.fields.map { text(head.bytes, $0.name) + ": " + text(head.bytes, $0.value) }
    }

    private func values(_ name: String, _ head: some MessageHead) -> [String] {
        var found: [String] = []
        var position = 0
        while let index = head.index(of: [UInt8](name).span, from: position) {
            found.append(text(head.bytes, head.fields[index].value))
            position = index + 1
        }
        return found
    }

    private func nominated(_ head: RequestHead) -> [String] {
        var hopByHop = HopByHopFields()
        hopByHop.prepare(head)
        return head.fields.filter { hopByHop.contains($0, in: head.bytes) }.map { text(head.bytes, $0.name) }
    }

    // MARK: Order and lookup

    @Test("fields are found by name without case, the first and all of them in order")
    func lookup() throws {
        let head = try request("Host: a\nX-One: 1\nCookie: c=1\nx-one: 2\nX-ONE: 3\ncookie: d=2\n")
        #expect(values("X-One", head) == ["1", "2", "3"])
        #expect(values("COOKIE", head) == ["c=1", "d=2"])
        #expect(values("X-On", head).isEmpty)
        #expect(values("X_One", head).isEmpty)
        #expect(values("", head).isEmpty)
        #expect(head.value(of: [UInt8]("x-ONE").span).map { text(head.bytes, $0) } == "1")
        #expect(head.value(of: [UInt8]("X-Two").span) == nil)
        #expect(head.field(at: 5) != nil)
        #expect(head.field(at: 6) == nil)
        #expect(head.field(at: -1) == nil)
    }

    @Test("a name that is stranger than those asked for is not found")
    func nameKinds() throws {
        let head = try request("Host: a\nX_One: 1\n")
        let name = [UInt8]("x_one")
        #expect(head.index(of: name.span) == 1)
        #expect(head.index(of: name.span, within: .underscored) == 1)
        #expect(head.index(of: name.span, within: .plain) == nil)
    }

    @Test("set replaces all of a name: the first keeps its place, the others go")
    func set() throws {
        var head = try request("Host: a\nX-A: 1\nB: 2\nx-a: 3\nC: 4\nX-A: 5\nD: 6\n")
        try head.set("x-A", "new")
        #expect(lines(head) == ["Host: a", "x-A: new", "B: 2", "C: 4", "D: 6"])
        try head.set("X-A", "new, and longer than before")
        try head.set("D", "")
        try head.set("E", "at the end")
        #expect(
            lines(head) == [
                "Host: a", "X-A: new, and longer than before", "B: 2", "C: 4", "D: ", "E: at the end",
            ])
    }

    @Test("add comes behind everything, remove takes every field of the name")
    func addAndRemove() throws {
        var head = try request("Host: a\nX-A: 1\nB: 2\nX-A: 3\n")
        try head.add("X-A", "4")
        try head.add("Via", "x")
        #expect(values("x-a", head) == ["1", "3", "4"])
        #expect(try head.remove("X-a"))
        #expect(try !head.remove("X-a"))
        #expect(lines(head) == ["Host: a", "B: 2", "Via: x"])
        try head.add("X-A", "5")
        #expect(lines(head) == ["Host: a", "B: 2", "Via: x", "X-A: 5"])
    }

    @Test("what a script writes is tidy, plain and marked, and known names keep their id")
    func marks() throws {
        var head = try request("Host: a\n")
        try head.add("X_Under", "1")
        try head.add("user-agent", "2")
        #expect(head.fields[1].isEdited && head.fields[1].isTidy && head.fields[1].nameKind == .plain)
        #expect(head.fields[2].id == .userAgent)
        #expect(!head.fields[0].isEdited)
        let line = Int(head.fields[1].nameStart)..<head.fields[1].value.upperBound + 2
        #expect(text(head.bytes, line) == "X_Under: 1\r\n")
    }

    @Test("the received head and what was read of it stay as they were")
    func received() throws {
        var head = try request("Host: a\nContent-Length: 5\nA: 1\n", line: "POST /p?q HTTP/1.1")
        let bytes = head.bytes
        try head.set("A", "2")
        try head.remove("Host")
        #expect(Array(head.bytes[..<bytes.count]) == bytes)
        #expect(text(head.bytes, head.method) == "POST")
        #expect(text(head.bytes, head.target) == "/p?q")
        #expect(head.framing == .length(5))
    }

    @Test("edits of a head made from nothing are a head of their own")
    func empty() throws {
        var head = ResponseHead()
        try head.add("A", "1")
        try head.set("b", "2")
        #expect(lines(head) == ["A: 1", "b: 2"])
        #expect(text(head.bytes, 0..<head.bytes.count) == "A: 1\r\nb: 2\r\n")
    }

    // MARK: Refusals

    @Test(
        "a name that is no token is refused",
        arguments: ["", " ", "a b", "a:", "a\r\nb", "a\0", "é", "a\u{7f}", "(a)", "a/b", "\"a\""])
    func invalidNames(name: String) throws {
        var head = try request("Host: a\n")
        #expect(throws: HeadEditError.invalidName) { try head.set(name, "1") }
        #expect(throws: HeadEditError.invalidName) { try head.add(name, "1") }
        #expect(throws: HeadEditError.invalidName) { try head.remove(name) }
        #expect(lines(head) == ["Host: a"])
    }

    @Test(
        "a value that would end its line or holds a control character is refused",
        arguments: [
            "a\r\nX-Evil: 1", "a\nb", "a\rb", "\r\n", "a\0b", "a\u{1}", "a\u{7f}", "\u{b}",
            "12345678\r\nTransfer-Encoding: chunked", "1\r\n\r\nGET / HTTP/1.1\r\n",
        ])
    func invalidValues(value: String) throws {
        var head = try request("Host: a\nX: 1\n")
        let before = head.bytes
        #expect(throws: HeadEditError.invalidValue) { try head.set("X", value) }
        #expect(throws: HeadEditError.invalidValue) { try head.add("X", value) }
        #expect(head.bytes == before)
        #expect(lines(head) == ["Host: a", "X: 1"])
        #expect(!head.isEdited)
    }

    @Test("tabs, spaces and bytes above 127 are part of a value, and nothing of it is trimmed")
    func valuesAsTheyAre() throws {
        var head = try request("Host: a\n")
        for value in ["a\tb", " a ", "né", "", "\t"] {
            try head.set("X", value)
            #expect(values("X", head) == [value])
        }
    }

    @Test(
        "what the proxy computes is refused, in any case",
        arguments: [
            "Content-Length", "transfer-encoding", "KEEP-ALIVE", "Proxy-Connection", "TE", "Trailer",
            "HTTP2-Settings",
        ])
    func computed(name: String) throws {
        var request = try request("Host: a\n\(name == "TE" || name == "Trailer" ? name + ": x\n" : "")")
        var response = try response("")
        let before = lines(request)
        #expect(throws: HeadEditError.computed) { try request.set(name, "1") }
        #expect(throws: HeadEditError.computed) { try request.add(name, "1") }
        #expect(throws: HeadEditError.computed) { try request.remove(name) }
        #expect(throws: HeadEditError.computed) { try response.set(name, "1") }
        #expect(lines(request) == before)
    }

    @Test(
        "Connection and Upgrade may be written towards the upstream only",
        arguments: ["Connection", "upgrade"])
    func towardsTheUpstream(name: String) throws {
        var request = try request("Host: a\n")
        try request.set(name, "x")
        #expect(values(name, request) == ["x"])
        var response = try response("Connection: upgrade\nUpgrade: b\n")
        #expect(throws: HeadEditError.computed) { try response.set(name, "x") }
        #expect(throws: HeadEditError.computed) { try response.remove(name) }
        #expect(response.upgradeIndex == 1)
    }

    @Test("Host stays single and a host")
    func host() throws {
        var head = try request("A: 1\nHost: a\nB: 2\n")
        #expect(throws: HeadEditError.repeatedHost) { try head.add("host", "b") }
        for value in ["", "a b", "a/b", "a@b", "a:99999", "a, b"] {
            #expect(throws: HeadEditError.invalidHost) { try head.set("Host", value) }
        }
        try head.set("Host", "b.org:81")
        #expect(head.hostIndex == 1)
        try head.remove("A")
        #expect(head.hostIndex == 0)
        try head.remove("Host")
        #expect(head.hostIndex == -1)
        try head.add("Host", "c")
        #expect(head.hostIndex == 1)
        #expect(values("host", head) == ["c"])
    }

    // MARK: Derived facts

    @Test("positions of known fields follow what is removed before them")
    func positions() throws {
        var head = try request("X: 1\nUpgrade: websocket\nX: 2\nConnection: upgrade\nX: 3\nHost: a\n")
        try head.set("X", "4")
        #expect((head.upgradeIndex, head.connectionIndex, head.hostIndex) == (1, 2, 3))
        try head.remove("X")
        #expect((head.upgradeIndex, head.connectionIndex, head.hostIndex) == (0, 1, 2))
        #expect(head.connectionHasUpgrade)
        var response = try response("X: 1\nUpgrade: websocket\nX: 2\nConnection: upgrade\n")
        try response.remove("X")
        #expect((response.upgradeIndex, response.connectionIndex) == (0, 1))
        #expect(response.connectionHasUpgrade)
    }

    @Test("a script can take an upgrade away from a client, and give it back")
    func upgradeTakenAway() throws {
        let text = "Host: a\nConnection: Upgrade\nUpgrade: websocket\n"
        var head = try request(text)
        try head.remove("Upgrade")
        #expect(head.upgradeIndex == -1)
        try head.set("Upgrade", "WebSocket")
        #expect(head.upgradeIndex == 2)
        #expect(WebSocketHandshake.isRequested(by: head))
        try head.set("Connection", "close")
        #expect(!head.connectionHasUpgrade)
        try head.set("Connection", "keep-alive, upgrade")
        #expect(head.connectionHasUpgrade)
        try head.remove("Connection")
        #expect(!head.connectionHasUpgrade)
        #expect(head.connectionIndex == -1)
    }

    @Test("a script cannot make a client ask for what it did not ask for")
    func upgradeNotAsked() throws {
        var head = try request("Host: a\n")
        try head.set("Upgrade", "websocket")
        try head.set("Connection", "upgrade")
        #expect(head.upgradeIndex == -1)
        #expect(!head.connectionHasUpgrade)
        #expect(!WebSocketHandshake.isRequested(by: head))
        // The field alone is not a wish (RFC 9110 §7.8).
        head = try request("Host: a\nUpgrade: websocket\n")
        try head.set("Connection", "upgrade")
        #expect(head.upgradeIndex == 1)
        #expect(!head.connectionHasUpgrade)
    }

    @Test("what the client's connection is to be is not edited")
    func clientConnection() throws {
        var head = try request("Host: a\nConnection: close\n")
        try head.set("Connection", "keep-alive")
        #expect(!head.wantsKeepAlive)
        head = try request("Host: a\n")
        try head.set("Connection", "close")
        #expect(head.wantsKeepAlive)
        head = try request(
            "Host: a\nContent-Length: 1\nExpect: 100-continue\n", line: "PUT / HTTP/1.1")
        try head.remove("Expect")
        #expect(head.expectsContinue)
        head = try request("Host: a\nContent-Length: 1\n", line: "PUT / HTTP/1.1")
        try head.set("Expect", "100-continue")
        #expect(!head.expectsContinue)
    }

    @Test("a client cannot nominate away what a script wrote, nor a script keep what the client nominated")
    func nominations() throws {
        var head = try request(
            "Host: a\nConnection: X-User, X-Secret, Authorization\nX-User: me\nX-Secret: 1\n")
        #expect(nominated(head) == ["Connection", "X-User", "X-Secret"])
        try head.set("X-User", "you")
        try head.set("Authorization", "Basic x")
        #expect(nominated(head) == ["Connection", "X-Secret"])
        try head.set("Connection", "X-User, Host")
        #expect(nominated(head) == ["Connection", "X-Secret"])
        try head.remove("Connection")
        #expect(nominated(head) == ["X-Secret"])
        head.removeAll()
        #expect(head.struckFields.isEmpty)
        #expect(!head.isEdited)
    }

    // MARK: Room

    @Test("a steady state of edits allocates nothing")
    func allocations() throws {
        let text = [UInt8]("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: keep-alive\r\n\r\n")
        var parser = RequestHeadParser()
        var head = RequestHead()
        var places: Set<[UInt]> = []
        for round in 0..<4 {
            head.removeAll()
            parser.reset()
            _ = parser.parse(text.rawSpan, limits: .init(), into: &head)
            try head.set("X-A", "another value")
            try head.set("X-B", "a new field")
            try head.set("Connection", "upgrade")
            try head.set("X-A", "a shorter")
            try head.remove("X-B")
            let place = [
                // Only the numbers are kept, and nothing is read through them.
                unsafe head.bytes.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) },
                unsafe head.fields.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) },
                unsafe head.struckFields.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) },
            ]
            if round > 0 { places.insert(place) }
            #expect(lines(head) == ["Host: a", "X-A: a shorter", "Connection: upgrade"])
        }
        #expect(places.count == 1)
    }

    @Test("setting a field over and over makes the head grow to its bound at most")
    func overAndOver() throws {
        var head = try request("Host: a\nX: 1\nY: 2\n")
        try head.add("Kept", "as it is")
        let long = String(repeating: "v", count: 1000)
        for round in 0..<2000 {
            // Never two of the same length, so that none is written over.
            try head.set("X", String(long.prefix(1 + round % 1000)))
        }
        #expect(head.bytes.count <= HeadEditing.maxBytes + 64)
        #expect(lines(head) == ["Host: a", "X: " + long, "Y: 2", "Kept: as it is"])
        try head.set("X", "short")
        let count = head.bytes.count
        for round in 0..<1000 { try head.set("X", round % 2 == 0 ? "first" : "other") }
        #expect(head.bytes.count == count)
        #expect(values("X", head) == ["other"])
    }

    @Test("past its bounds a head takes no more and stays as it is")
    func bounds() throws {
        var head = try request("Host: a\n")
        let huge = String(repeating: "v", count: HeadEditing.maxBytes)
        #expect(throws: HeadEditError.tooLong) { try head.set("X", huge) }
        #expect(throws: HeadEditError.tooLong) {
            try head.set(String(repeating: "n", count: Int(UInt16.max) + 1), "1")
        }
        #expect(!head.isEdited)
        try head.set("X", String(huge.dropLast(5)))
        #expect(throws: HeadEditError.tooLong) { try head.add("Y", "") }
        try head.set("X", "1")
        try head.add("Y", "2")
        #expect(lines(head) == ["Host: a", "X: 1", "Y: 2"])
        for _ in head.fields.count..<HeadEditing.maxFields { try head.add("Z", "") }
        #expect(throws: HeadEditError.tooLong) { try head.add("Z", "") }
        #expect(throws: HeadEditError.tooLong) { try head.set("W", "") }
        try head.set("Z", "one")
        #expect(lines(head) == ["Host: a", "X: 1", "Y: 2", "Z: one"])
    }

    @Test("any sequence of edits comes to what a plain list comes to")
    func model() throws {
        var random = SystemRandomNumberGenerator()
        let names = ["A", "a", "B", "Cookie", "cookie", "Connection", "Upgrade", "X-Long-Name-Of-Its-Own"]
        for _ in 0..<200 {
            var head = try request("Host: a\nA: 1\nB: 2\nConnection: x\nA: 3\nUpgrade: y\n")
            var model = head.fields.map { (text(head.bytes, $0.name), text(head.bytes, $0.value)) }
            for _ in 0..<12 {
                let name = names.randomElement(using: &random) ?? ""
                let value = String(repeating: "v", count: Int.random(in: 0...20, using: &random))
                let same: ((String, String)) -> Bool = { $0.0.lowercased() == name.lowercased() }
                switch Int.random(in: 0...2, using: &random) {
                case 0:
                    try head.set(name, value)
                    if let index = model.firstIndex(where: same) {
                        model[index] = (name, value)
                        let rest = model[(index + 1)...].filter { !same($0) }
                        model = Array(model[...index]) + rest
                    } else {
                        model.append((name, value))
                    }
                case 1:
                    try head.add(name, value)
                    model.append((name, value))
                default:
                    #expect(try head.remove(name) == model.contains(where: same))
                    model.removeAll(where: same)
                }
                #expect(lines(head) == model.map { $0.0 + ": " + $0.1 })
                #expect(head.hostIndex == model.firstIndex { $0.0 == "Host" })
                #expect(head.connectionIndex == model.firstIndex { $0.0 == "Connection" } ?? -1)
            }
        }
    }
}

extension MessageHead {
    fileprivate mutating func set(_ name: String, _ value: String) throws(HeadEditError) {
        try set([UInt8](name).span, [UInt8](value).span)
    }

    fileprivate mutating func add(_ name: String, _ value: String) throws(HeadEditError) {
        try add([UInt8](name).span, [UInt8](value).span)
    }

    @discardableResult
    fileprivate mutating func remove(_ name: String) throws(HeadEditError) -> Bool {
        try remove([UInt8](name).span)
    }
}
