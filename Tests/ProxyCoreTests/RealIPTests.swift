import Config
import ProxyCore
import Testing

@Suite("Where a request comes from")
struct RealIPTests {
    private static let shown = "$remote_addr $remote_port $realip_remote_addr $realip_remote_port"

    private func found(
        _ directives: String, _ fields: [String], peer: [UInt8] = [192, 0, 2, 7]
    ) throws -> String {
        let bench = try RoutingBench(
            "server { listen 80; location / { \(directives) error_page 404 = @a; } "
                + "location @a { return 200 \"\(Self.shown)\"; } }")
        bench.client.binaryAddress = peer
        return try bench.answer("/", fields: fields)
    }

    private static let unchanged = "200 192.0.2.7 5555 192.0.2.7 5555"
    private static let one = "set_real_ip_from 192.0.2.7;"
    private static let list = one + "real_ip_header X-Forwarded-For;"
    private static let search = list + "set_real_ip_from 10.0.0.0/8; real_ip_recursive on;"

    @Test(
        "a field names the client",
        arguments: [
            (one, [], nil), (one, ["X-Real-IP: 203.0.113.9"], "203.0.113.9 "),
            (one, ["x-real-ip: 203.0.113.9:77"], "203.0.113.9 77"),
            (one, ["X-Forwarded-For: 203.0.113.9"], nil),
            ("set_real_ip_from 192.0.2.8;", ["X-Real-IP: 203.0.113.9"], nil),
            ("set_real_ip_from 192.0.0.0/16;", ["X-Real-IP: 203.0.113.9"], "203.0.113.9 "),
            ("set_real_ip_from unix:;", ["X-Real-IP: 203.0.113.9"], nil),
            ("real_ip_header X-Real-IP;", ["X-Real-IP: 203.0.113.9"], nil),
            (
                one + "real_ip_header Whence;", ["Whence: 203.0.113.9", "Whence: 203.0.113.10"],
                "203.0.113.9 "
            ),
            (
                one + "real_ip_header x-forwarded-for;",
                ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"], "1.1.1.1 "
            ),
            (one + "real_ip_header a_b;", ["a_b: 203.0.113.9"], nil),
            (list, ["X-Forwarded-For: 1.1.1.1, 2.2.2.2"], "2.2.2.2 "),
            (list, ["X-Forwarded-For: 1.1.1.1, 10.0.0.1"], "10.0.0.1 "),
            (list, ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"], "2.2.2.2 "),
            (list, ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: nobody"], nil),
            (search, ["X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1,10.0.0.2 , "], "2.2.2.2 "),
            (
                search,
                [
                    "X-Forwarded-For: 1.1.1.1, 2.2.2.2:5", "X-Forwarded-For: 10.0.0.1",
                    "X-Forwarded-For: 10.0.0.2",
                ],
                "2.2.2.2 5"
            ),
            (search, ["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3 "),
            (search, ["X-Forwarded-For: 1.1.1.1, nobody, 10.0.0.2"], "10.0.0.2 "),
            (search, ["X-Forwarded-For: nobody", "X-Forwarded-For: 10.0.0.2"], "10.0.0.2 "),
            (search, ["X-Forwarded-For: nobody"], nil), (search, ["X-Forwarded-For:"], nil),
            (search, ["X-Forwarded-For: ,,"], nil), (search, ["X-Forwarded-For: ,"], nil),
            (search, ["X-Forwarded-For: ,1.1.1.1"], nil),
        ] as [(String, [String], String?)])
    func takesAddress(directives: String, fields: [String], client: String?) throws {
        let expected = client.map { "200 \($0) 192.0.2.7 5555" } ?? Self.unchanged
        #expect(try found(directives, fields) == expected)
    }

    @Test(
        "an address is read and written as nginx does",
        arguments: [
            ("1.2.3.4", "1.2.3.4 "), ("1.2.3.4:0", nil), ("1.2.3.4:65535", "1.2.3.4 65535"),
            ("1.2.3.4:65536", nil), ("1.2.3.4:", nil), ("1.2.3.4:0080", "1.2.3.4 80"), ("1.2.3", nil),
            ("1.2.3.4.5", nil), ("1.2.3.256", nil), ("1..2.03", "1.0.2.3 "), ("...", "0.0.0.0 "),
            ("255.255.255.255", nil), ("255.255.255.254", "255.255.255.254 "),
            ("[1.2.3.4]:5", "1.2.3.4 5"), ("::1", "::1 "), ("[::1]", nil), ("[::1]:80", "::1 80"),
            ("[::1]:", nil), ("[::1", nil), ("[]:80", nil), ("::", ":: "),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1 "), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8 "),
            ("1:2:3:4:5:6:7", nil), ("1:2:3:4:5:6:7:8:9", nil), ("1:2:3:4:5:6:7::", nil),
            ("1:2:3:4:5:6:7:8::", nil), ("1::2::3", nil), (":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8 "),
            ("1:2", nil), (":", nil), ("12345::", nil), ("g::", nil),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4 "), ("64:ff9b::1.2.3.4", "64:ff9b::102:304 "),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304 "), ("1:2:3:4:5:6:7:1.2.3.4", nil),
            ("::1.2.3", nil), ("1.2.3.4::", nil), ("::102", "::0.0.1.2 "), ("::1:2", "::0.1.0.2 "),
            ("0:1::", "0:1:: "), ("1::", "1:: "), ("0:0:1:0:0:0:1:0", "0:0:1::1:0 "),
            ("fe80::1%eth0", nil), ("unix:", nil), ("", nil), ("localhost", nil),
        ] as [(String, String?)])
    func readsAddress(text: String, client: String?) throws {
        let expected = client.map { "200 \($0) 192.0.2.7 5555" } ?? Self.unchanged
        #expect(try found(Self.one, ["X-Real-IP: \(text)"]) == expected)
    }

    @Test("peers of IPv6 and of UNIX sockets are trusted as well")
    func otherFamilies() throws {
        let field = ["X-Real-IP: 1.1.1.1"]
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 7]
        let plain: [UInt8] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        let taken = "200 1.1.1.1  192.0.2.7 5555"
        #expect(try found(Self.one, field, peer: mapped) == taken)
        #expect(try found("set_real_ip_from 2001:db8::/32;", field, peer: plain) == taken)
        #expect(try found("set_real_ip_from 2001:db9::/32;", field, peer: plain) == Self.unchanged)
        #expect(try found("set_real_ip_from unix:;", field, peer: Array("unix:".utf8)) == taken)
        #expect(try found("set_real_ip_from 0.0.0.0/0;", field, peer: Array("unix:".utf8)) == Self.unchanged)
    }

    @Test("the first place to find an address decides, and what follows goes by it")
    func phases() throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80; server_name of.server; set_real_ip_from 192.0.2.7;
                set $seen $remote_addr;
                location /allowed { deny 192.0.2.7; allow 203.0.113.9; deny all; proxy_pass http://127.0.0.1:9; }
                location /denied { allow 192.0.2.7; deny all; proxy_pass http://127.0.0.1:9; }
                location / { real_ip_header Other; return 200 "$seen $remote_addr"; }
            }
            server {
                listen 80; server_name of.location; recursive_error_pages on;
                location /allowed {
                    set_real_ip_from 192.0.2.7; deny 192.0.2.7; proxy_pass http://127.0.0.1:9;
                }
                location /first { set_real_ip_from 192.0.2.7; error_page 404 = /second; }
                location /second { set_real_ip_from 0.0.0.0/0; real_ip_header Other; error_page 404 = @shown; }
                location @shown { return 200 "$remote_addr $proxy_add_x_forwarded_for"; }
                location / { return 200 "$remote_addr"; }
            }
            """)
        let fields = ["X-Real-IP: 203.0.113.9", "Other: 203.0.113.10", "X-Forwarded-For: 1.1.1.1"]
        func answer(_ target: String, _ host: String) throws -> String {
            try bench.answer(target, host: host, fields: fields)
        }
        #expect(try answer("/allowed", "of.server") == "GET /allowed at 127.0.0.1:9")
        #expect(try answer("/denied", "of.server") == "403 page")
        #expect(try answer("/", "of.server") == "200 203.0.113.9 203.0.113.9")
        #expect(try answer("/allowed", "of.location") == "GET /allowed at 127.0.0.1:9")
        #expect(try answer("/first", "of.location") == "200 203.0.113.9 1.1.1.1, 203.0.113.9")
        #expect(try answer("/second", "of.location") == "200 203.0.113.10 1.1.1.1, 203.0.113.10")
        #expect(try answer("/", "of.location") == "200 192.0.2.7")
    }

    @Test("the connection keeps its own facts for its next request")
    func connectionStays() throws {
        let bench = try RoutingBench(
            "server { listen 80; set_real_ip_from 192.0.2.7; return 200 \"$remote_addr\"; }")
        #expect(try bench.answer("/", fields: ["X-Real-IP: 203.0.113.9"]) == "200 203.0.113.9")
        #expect(try bench.answer("/") == "200 192.0.2.7")
        #expect(text(bench.client.address) == "192.0.2.7")
    }
}
