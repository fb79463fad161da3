import Config
import ProxyCore
import Testing
import Wire

/// What scripts do to heads, seen by what is made of heads.
@Suite("A head that was edited")
struct EditedHeadTests {
    static let pass = "proxy_pass http://127.0.0.1:9000;"
    static let client = "GET / HTTP/1.1\nHost: client.test\nUser-Agent: t\nX-Plan: free\nAccept: */*\n\n"
    static let upgrading =
        "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n"

    @Test("goes upstream as it was left, in its order")
    func upstream() throws {
        let fixture = try ProxyingFixture(Self.pass, request: Self.client)
        try fixture.exchange.request.set("X-Plan", "gold")
        try fixture.exchange.request.remove("accept")
        try fixture.exchange.request.add("X_Tags", "a")
        try fixture.exchange.request.add("X_Tags", "b")
        #expect(
            try fixture.upstream().head == """
                GET / HTTP/1.0
                Host: 127.0.0.1:9000
                Connection: close
                User-Agent: t
                X-Plan: gold
                X_Tags: a
                X_Tags: b


                """)
    }

    @Test("is what templates see, and gives way to proxy_set_header")
    func variables() throws {
        let fixture = try ProxyingFixture(
            "\(Self.pass) proxy_set_header X-Copy \"$http_x_plan, $http_x_new, $cookie_a\"; "
                + "proxy_set_header User-Agent mine;",
            request: Self.client)
        try fixture.exchange.request.set("X-Plan", "gold")
        try fixture.exchange.request.add("X-New", "1")
        try fixture.exchange.request.add("X-New", "2")
        try fixture.exchange.request.add("Cookie", "b=1; a=yes")
        try fixture.exchange.request.set("User-Agent", "script")
        #expect(
            try fixture.upstream().head == """
                GET / HTTP/1.0
                X-Copy: gold, 1, 2, yes
                User-Agent: mine
                Host: 127.0.0.1:9000
                Connection: close
                X-Plan: gold
                Accept: */*
                X-New: 1
                X-New: 2
                Cookie: b=1; a=yes


                """)
    }

    @Test("what the client nominated does not take along what a script wrote")
    func nominated() throws {
        let fixture = try ProxyingFixture(
            Self.pass,
            request: "GET / HTTP/1.1\nHost: a\nConnection: X-User, X-Hop, Cookie\nX-User: me\nX-Hop: 1\n\n")
        try fixture.exchange.request.set("X-User", "checked")
        try fixture.exchange.request.set("Cookie", "a=b")
        try fixture.exchange.request.remove("Connection")
        #expect(
            try fixture.upstream().head == """
                GET / HTTP/1.0
                Host: 127.0.0.1:9000
                Connection: close
                X-User: checked
                Cookie: a=b


                """)
    }

    @Test("a body is delimited as it was received, whatever is edited")
    func framing() throws {
        let fixture = try ProxyingFixture(
            Self.pass, request: "POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\n")
        #expect(throws: HeadEditError.computed) {
            try fixture.exchange.request.set("Transfer-Encoding", "chunked")
        }
        #expect(throws: HeadEditError.invalidValue) {
            try fixture.exchange.request.set("X", "1\r\nTransfer-Encoding: chunked")
        }
        try fixture.exchange.request.set("X", "1")
        let (head, facts) = try fixture.upstream(bodyLength: 3)
        #expect(facts.framing == .length(3))
        #expect(
            head == """
                POST / HTTP/1.0
                Host: 127.0.0.1:9000
                Connection: close
                Content-Length: 3
                X: 1


                """)
    }

    @Test("Connection goes upstream where proxy_set_header does not say otherwise")
    func connection() throws {
        let open = "\(Self.pass) proxy_http_version 1.1;"
        var fixture = try ProxyingFixture(open, request: Self.client)
        try fixture.exchange.request.set("Connection", "keep-alive")
        var (head, facts) = try fixture.upstream()
        #expect(head.contains("\nConnection: keep-alive\n"))
        #expect(!head.contains("close"))
        #expect(facts.connection == .keepAlive)
        fixture = try ProxyingFixture("\(open) proxy_set_header Connection \"\";", request: Self.client)
        try fixture.exchange.request.set("Connection", "close")
        (head, facts) = try fixture.upstream()
        #expect(!head.contains("Connection"))
        #expect(facts.connection == .keepAlive)
    }

    @Test("a script alone can pass on an upgrade that the client asks for")
    func upgrade() throws {
        let fixture = try ProxyingFixture("\(Self.pass) proxy_http_version 1.1;", request: Self.upgrading)
        try fixture.exchange.request.set("Connection", "upgrade")
        try fixture.exchange.request.set("Upgrade", "h2c, websocket")
        let (head, facts) = try fixture.upstream()
        #expect(head.contains("\nConnection: upgrade\n"))
        // What may never be tunnelled is taken out here, too.
        #expect(head.contains("\nUpgrade: websocket\n"))
        #expect(facts.upgrade != nil)
    }

    @Test("an upgrade that the client did not ask for is no offer")
    func noOffer() throws {
        for location in [
            "", ProxyingRequestTests.recipe.replacing("proxy_pass http://127.0.0.1:9000;", with: ""),
        ] {
            let fixture = try ProxyingFixture(
                "\(Self.pass) \(location.contains("http_version") ? "" : "proxy_http_version 1.1;") \(location)",
                http: ProxyingRequestTests.map, request: Self.client)
            try fixture.exchange.request.set("Upgrade", "websocket")
            try fixture.exchange.request.set("Connection", "upgrade")
            let facts = try fixture.upstream().facts
            #expect(facts.upgrade == nil)
        }
    }

    @Test("an upgrade that a script took away is not passed on")
    func upgradeTakenAway() throws {
        let fixture = try ProxyingFixture(
            ProxyingRequestTests.recipe, http: ProxyingRequestTests.map, request: Self.upgrading)
        try fixture.exchange.request.remove("Upgrade")
        let (head, facts) = try fixture.upstream()
        #expect(facts.upgrade == nil)
        #expect(!head.contains("Upgrade:"))
        #expect(head.contains("\nConnection: close\n"))
    }

    // MARK: Downstream

    static let response = """
        HTTP/1.1 200 OK
        Server: upstream
        Date: Mon, 01 Jan 2024 00:00:00 GMT
        Content-Type: text/plain
        Content-Length: 2
        X-Secret: 1
        Set-Cookie: a=1
        Set-Cookie: b=2


        """

    @Test("goes to the client as it was left")
    func downstream() throws {
        let fixture = try ProxyingFixture(Self.pass, request: Self.client)
        try fixture.receive(Self.response)
        try fixture.exchange.response.remove("X-Secret")
        try fixture.exchange.response.set("Content-Type", "text/html")
        try fixture.exchange.response.set("Set-Cookie", "c=3")
        try fixture.exchange.response.add("X-Frame-Options", "DENY")
        #expect(
            try fixture.answer() == """
                HTTP/1.1 200 OK
                Server: switchyard/\(Product.version)
                Date: Mon, 01 Jan 2024 00:00:00 GMT
                Content-Type: text/html
                Content-Length: 2
                Connection: keep-alive
                Set-Cookie: c=3
                X-Frame-Options: DENY


                """)
        #expect(throws: HeadEditError.computed) { try fixture.exchange.response.set("Content-Length", "20") }
        #expect(throws: HeadEditError.computed) { try fixture.exchange.response.remove("Content-Length") }
    }

    @Test("what is hidden of the upstream's is not hidden when a script writes it")
    func hidden() throws {
        let fixture = try ProxyingFixture(
            "\(Self.pass) proxy_hide_header X-Secret; proxy_hide_header Content-Type;", request: Self.client)
        try fixture.receive(Self.response)
        try fixture.exchange.response.set("X-Secret", "mine")
        try fixture.exchange.response.set("Server", "script")
        try fixture.exchange.response.set("Content-Type", "text/html")
        let head = try fixture.answer()
        #expect(head.contains("\nX-Secret: mine\n"))
        #expect(head.contains("\nServer: script\n"))
        #expect(head.split(separator: "\n").count { $0.hasPrefix("Server:") } == 1)
        #expect(head.contains("\nContent-Type: text/html\n"))
    }

    @Test("a Location that a script wrote is not rewritten")
    func location() throws {
        let response = "HTTP/1.1 302 Found\nLocation: http://127.0.0.1:9000/a\nContent-Length: 0\n\n"
        var fixture = try ProxyingFixture(Self.pass, request: Self.client)
        try fixture.receive(response)
        #expect(try fixture.answer().contains("\nLocation: http://client.test:8080/a\n"))
        fixture = try ProxyingFixture(Self.pass, request: Self.client)
        try fixture.receive(response)
        try fixture.exchange.response.set("Location", "http://127.0.0.1:9000/b")
        let head = try fixture.answer()
        #expect(head.contains("\nLocation: http://127.0.0.1:9000/b\n"))
        #expect(head.split(separator: "\n").count { $0.hasPrefix("Location:") } == 1)
    }

    @Test("an upstream cannot nominate away what a script wrote")
    func nominatedDownstream() throws {
        let fixture = try ProxyingFixture(Self.pass, request: Self.client)
        try fixture.receive(
            "HTTP/1.1 200 OK\nConnection: X-Frame-Options, X-Hop\nX-Hop: 1\nContent-Length: 0\n\n")
        try fixture.exchange.response.set("X-Frame-Options", "DENY")
        let head = try fixture.answer()
        #expect(head.contains("\nX-Frame-Options: DENY\n"))
        #expect(!head.contains("X-Hop"))
    }
}

extension ProxyingFixture {
    /// The head sent to the client for the upstream's that was received.
    fileprivate func answer() throws -> String {
        let plan = ProxyPlan(exchange.location.settings.values, pass: try pass())
        var head: [UInt8] = []
        _ = DownstreamResponseBuilder.append(for: exchange, plan: plan, mayKeepAlive: true, to: &head)
        return try head.textWithPlainLineEnds()
    }
}

extension MessageHead {
    mutating func set(_ name: String, _ value: String) throws(HeadEditError) {
        try set([UInt8](name.utf8).span, [UInt8](value.utf8).span)
    }

    mutating func add(_ name: String, _ value: String) throws(HeadEditError) {
        try add([UInt8](name.utf8).span, [UInt8](value.utf8).span)
    }

    mutating func remove(_ name: String) throws(HeadEditError) {
        try remove([UInt8](name.utf8).span)
    }
}
