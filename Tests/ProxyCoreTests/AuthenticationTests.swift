import Config
import ProxyCore
import Testing
import Wire

@Suite("Passwords in files")
struct UserFileTests {
    private func find(_ user: String, in file: String, cutAt cut: Int) -> String? {
        let bytes = Array(file.utf8)
        var reader = UserFileReader(user: Array(user.utf8))
        reader.read(bytes.span.extracting(..<cut))
        reader.read(bytes.span.extracting(cut...))
        return reader.finish().map { text($0.text) }
    }

    @Test(
        "a user's first line counts, wherever pieces of the file begin",
        arguments: [
            ("alice", "secret"), ("bob", "other"), ("carol", ""), ("dave", nil), ("ali", nil),
            ("alicea", nil),
            ("#erin", nil), ("", nil), ("frank", "last"),
        ])
    func lines(_ user: String, _ password: String?) {
        let file =
            "\n#erin:x\n\r\nalice\nali\nalice:secret:a comment\nbob:other\r\ncarol:\nalice:twice\nfrank:last"
        for cut in 0...file.utf8.count { #expect(find(user, in: file, cutAt: cut) == password) }
    }

    @Test("an empty file has nobody")
    func empty() { #expect(find("alice", in: "", cutAt: 0) == nil) }
}

@Suite("Stored passwords")
struct StoredPasswordTests {
    @Test(
        "match the one that they were made of, and no other",
        arguments: [
            "{PLAIN}open sesame", "{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=",
            "{SSHA}hN5uxFJUEWCPg56kk42tnVCdJ61zYWx0",
            "$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ.", "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/",
            "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW",
        ])
    func verdicts(_ stored: String) {
        let stored = StoredPassword(Array(stored.utf8))
        #expect(stored.verdict(on: Array("open sesame".utf8)) == .matches)
        // As C has it, and nginx.
        #expect(stored.verdict(on: Array("open sesame\0and more".utf8)) == .matches)
        for other in ["open sesam", "open sesame!", "", "Open sesame", "\0open sesame"] {
            #expect(stored.verdict(on: Array(other.utf8)) == .differs)
        }
    }

    @Test(
        "that are none match nothing",
        arguments: ["", "*0", "{SHA}", "{SSHA}", "{SSHA}!!", "{SSHA}hN5u", "{MD5}x", "$apr1$", "$6$"])
    func broken(_ stored: String) {
        for password in ["", "x", stored] {
            #expect(StoredPassword(Array(stored.utf8)).verdict(on: Array(password.utf8)) == .differs)
        }
    }

    @Test("that are no hash are their own password")
    func plain() {
        #expect(StoredPassword(Array("{PLAIN}".utf8)).verdict(on: []) == .matches)
        #expect(StoredPassword(Array("{PLAIN}".utf8)).isQuick)
        #expect(!StoredPassword(Array("$6$salt$x".utf8)).isQuick)
    }
}

@Suite("Checks of a location")
struct AccessTests {
    private static let http = """
        server {
            listen 80; auth_basic_user_file users;
            location /open { return 404; }
            location /all { auth_basic all; allow 192.0.2.7; deny all; proxy_pass http://127.0.0.1:9; }
            location /denied { auth_basic all; deny all; proxy_pass http://127.0.0.1:9; }
            location /any { satisfy any; auth_basic any; deny all; proxy_pass http://127.0.0.1:9; }
            location /either { satisfy any; auth_basic any; allow 192.0.2.7; deny all; proxy_pass http://127.0.0.1:9; }
            location /unruled { satisfy any; auth_basic any; allow 192.0.2.8; proxy_pass http://127.0.0.1:9; }
            location /addresses { satisfy any; deny all; proxy_pass http://127.0.0.1:9; }
            location /variable { auth_basic $arg_realm; auth_basic_user_file /for/$arg_file; proxy_pass http://127.0.0.1:9; }
            location /page { auth_basic all; error_page 401 = @page; proxy_pass http://127.0.0.1:9; }
            location /again { auth_basic all; error_page 403 = /all; deny all; }
            location @page { return 200 "$remote_user"; }
            location /limited { limit_except GET { auth_basic limited; } proxy_pass http://127.0.0.1:9; }
            location /off { auth_basic all; location /off/here { auth_basic off; proxy_pass http://127.0.0.1:9; } }
            location /inherits { auth_basic all; if ($arg_x) { proxy_pass http://127.0.0.1:9; } }
        }
        """

    private static let login = ["Authorization: Basic YWxpY2U6c2VjcmV0"]

    /// The decision on a request, and those that follow where its password check comes to `verdict`.
    private func course(
        _ target: String, fields: [String] = login, method: String = "GET",
        _ verdict: Router.AccessVerdict? = nil
    ) throws -> [String] {
        let bench = try RoutingBench(Self.http)
        let exchange = try bench.exchange(target, method: method, fields: fields)
        let decision = Router.route(exchange)
        var course = [bench.describe(decision, exchange)]
        if let verdict, case .checkPassword = decision {
            course.append(bench.describe(Router.proceed(exchange, after: verdict), exchange))
        }
        return course + exchange.takeFaults().map(\.text)
    }

    private static let asked = "is alice:secret in /users, for"

    @Test("all of them have to let the client in, by default")
    func all() throws {
        #expect(try course("/all", .letsIn) == ["\(Self.asked) all?", "GET /all at 127.0.0.1:9"])
        #expect(try course("/all", .refuses(status: 401)) == ["\(Self.asked) all?", "401 page"])
        #expect(try course("/all", .refuses(status: 403)) == ["\(Self.asked) all?", "403 page"])
        #expect(try course("/all", .fails(status: 500)) == ["\(Self.asked) all?", "500 page"])
        #expect(try course("/denied") == ["403 page", "access forbidden by rule"])
    }

    @Test("one is enough with satisfy any, and a 401 is worth more than a 403")
    func any() throws {
        #expect(try course("/any", .letsIn) == ["\(Self.asked) any?", "GET /any at 127.0.0.1:9"])
        #expect(try course("/any", .refuses(status: 401)) == ["\(Self.asked) any?", "401 page"])
        #expect(
            try course("/any", .refuses(status: 403))
                == ["\(Self.asked) any?", "403 page", "access forbidden by rule"])
        #expect(try course("/any", .fails(status: 500)) == ["\(Self.asked) any?", "500 page"])
        #expect(try course("/either") == ["GET /either at 127.0.0.1:9"])
        #expect(try course("/unruled", .refuses(status: 401)) == ["\(Self.asked) any?", "401 page"])
        #expect(try course("/addresses") == ["403 page", "access forbidden by rule"])
    }

    @Test(
        "who gives no name and no password is asked for them",
        arguments: [
            [], ["Authorization: Bearer x"], ["Authorization: Basic"], ["Authorization: Basic OnNlY3JldA=="],
            ["Authorization: Basic !!"], ["Authorization: Basic YWxpY2U="],
        ])
    func unasked(_ fields: [String]) throws {
        #expect(
            try course("/all", fields: fields)
                == ["401 page", "no user/password was provided for basic authentication"])
    }

    @Test("realm and file may be made of variables, and the realm turns it off")
    func variables() throws {
        #expect(try course("/variable?realm=here&file=users") == ["is alice:secret in /for/users, for here?"])
        #expect(try course("/variable?realm=off") == ["GET /variable?realm=off at 127.0.0.1:9"])
        #expect(try course("/variable") == ["is alice:secret in /for/, for ?"])
    }

    @Test("they are inherited, replaced and turned off")
    func inheritance() throws {
        #expect(try course("/open") == ["404 page"])
        #expect(try course("/off") == ["\(Self.asked) all?"])
        #expect(try course("/off/here") == ["GET /off/here at 127.0.0.1:9"])
        #expect(try course("/inherits?x=1") == ["\(Self.asked) all?"])
        #expect(try course("/limited") == ["GET /limited at 127.0.0.1:9"])
        #expect(try course("/limited", method: "POST") == ["\(Self.asked) limited?"])
    }

    private static let asking = """
        server {
            listen 80; auth_request /auth; auth_request_set $who $arg_who; set $seen "$uri $request_method";
            location /auth { if ($arg_a) { return 500; } proxy_pass http://127.0.0.1:8; }
            location /page { deny 192.0.2.8; proxy_pass http://127.0.0.1:9; }
            location /any { satisfy any; deny all; proxy_pass http://127.0.0.1:9; }
            location /arguments { auth_request_set $args "of=$uri"; proxy_pass http://127.0.0.1:9; }
            location /off { auth_request off; proxy_pass http://127.0.0.1:9; }
            location ~ ^/group/(.*)$ { error_page 403 = /page; proxy_pass http://127.0.0.1:9/$1; }
        }
        """

    /// The decisions on a request whose subrequest is answered with `status`.
    private func asked(_ target: String, _ status: Int, method: String = "POST") throws -> (
        Exchange, [String]
    ) {
        let bench = try RoutingBench(Self.asking)
        let exchange = try bench.exchange(target, method: method, fields: ["Content-Length: 3"])
        let decision = Router.route(exchange)
        var course = [bench.describe(decision, exchange)]
        guard case .ask(let uri) = decision else { return (exchange, course) }
        course.append(bench.describe(Router.askLocation(uri, for: exchange), exchange))
        #expect(exchange.isSubrequest && exchange.isInternal && exchange.bodyIsDiscarded)
        #expect(exchange.capture(1) == nil)
        #expect(value("request_method", exchange) == method)
        exchange.status = status
        course.append(bench.describe(Router.locationAnswered(exchange, isUpstreams: false), exchange))
        #expect(!exchange.isSubrequest && exchange.status == 0)
        return (exchange, course + exchange.takeFaults().map(\.text))
    }

    private func value(_ name: String, _ exchange: Exchange) -> String? {
        var value: [UInt8] = []
        guard let variable = exchange.runtime.variable(named: Array(name.utf8)),
            exchange.append(variable, to: &value)
        else { return nil }
        return text(value)
    }

    @Test("another location is asked by GET, and the request goes on as it was")
    func subrequests() throws {
        let (exchange, course) = try asked("/page?who=me&a=1", 204)
        #expect(
            course == [
                "ask /auth", "GET /auth at 127.0.0.1:8 changed", "POST /page?who=me&a=1 at 127.0.0.1:9",
            ])
        // The server's directives ran for it too, and its arguments are none.
        #expect(value("seen", exchange) == "/auth POST")
        #expect(value("who", exchange) == "")
        #expect(!exchange.isInternal && !exchange.bodyIsDiscarded && !exchange.uriChanged)
    }

    @Test(
        "its status is the verdict",
        arguments: [
            (200, ["POST /page at 127.0.0.1:9"]), (299, ["POST /page at 127.0.0.1:9"]), (401, ["401 page"]),
            (403, ["403 page"]), (302, ["500 page", "auth request unexpected status: 302"]),
            (404, ["500 page", "auth request unexpected status: 404"]),
        ])
    func subrequestStatuses(_ status: Int, _ outcome: [String]) throws {
        #expect(try asked("/page", status).1.dropFirst(2) == outcome[...])
    }

    @Test("it is one of the checks, may set the arguments, and leaves groups alone")
    func subrequestsAmongOthers() throws {
        #expect(try asked("/any", 200).1.last == "POST /any at 127.0.0.1:9")
        #expect(try asked("/any", 403).1.suffix(2) == ["403 page", "access forbidden by rule"])
        #expect(try asked("/arguments?x", 200).1.last == "POST /arguments?of=/auth at 127.0.0.1:9 changed")
        #expect(try asked("/off", 200).1 == ["POST /off at 127.0.0.1:9"])
        let (exchange, _) = try asked("/group/x", 200)
        #expect(exchange.capture(1) == Array("x".utf8))
        // Where an error leads, it is asked for again.
        #expect(try asked("/group/x", 403).1.last == "ask /auth")
    }

    @Test("a request that ends in between is what it was")
    func subrequestsThatEnd() throws {
        let bench = try RoutingBench(Self.asking)
        let exchange = try bench.exchange("/page?x")
        guard case .ask(let uri) = Router.route(exchange) else { throw CancellationError() }
        _ = Router.askLocation(uri, for: exchange)
        exchange.endSubrequest()
        exchange.endSubrequest()
        #expect(text(exchange.uri) == "/page" && text(exchange.arguments) == "x" && !exchange.isSubrequest)
    }

    @Test("an error page has the checks of its own location")
    func errorPages() throws {
        #expect(try course("/page", .refuses(status: 401)) == ["\(Self.asked) all?", "200 alice"])
        #expect(
            try course("/again", .letsIn) == [
                "\(Self.asked) all?", "GET /all at 127.0.0.1:9 changed", "access forbidden by rule",
            ])
    }
}
