import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("certificate hooks")
struct CertificateHookTests {
    private static var hello: CertificateRequest.Hello {
        var hello = CertificateRequest.Hello()
        hello.serverName = Array("one.example".utf8)
        hello.protocols = [Array("h2".utf8), Array("http/1.1".utf8)]
        hello.versions = [0x0304, 0x0303, 0x7a7a]
        hello.ciphers = [0x1301]
        hello.address = Array("192.0.2.1".utf8)
        hello.port = 4444
        return hello
    }

    /// What hooks come to; `nil` while they wait.
    private final class Outcome {
        var decisions: [CertificateRequest.Decision] = []
    }

    private func ask(
        _ fixture: ScriptFixture, _ hello: CertificateRequest.Hello = hello
    ) -> (request: CertificateRequest, outcome: Outcome) {
        let outcome = Outcome()
        let request = CertificateRequest(hello, fixture.exchange.location.settings) {
            outcome.decisions.append($0)
        }
        fixture.interpreter.choose(request)
        return (request, outcome)
    }

    @Test(
        "a hook's answer",
        arguments: [
            ("", .configured), ("return", .configured), ("return nil", .configured),
            ("return false", .configured),
            (
                "return { certificate = 'c\\0', key = 'k' }",
                .identity(certificate: [99, 0], key: [107])
            ),
            ("return { reject = 'no' }", .rejected(reason: "no")),
            ("return { certificate = 'c' }", .rejected(reason: "a certificate hook failed")),
            ("return { certificate = {}, key = 'k' }", .rejected(reason: "a certificate hook failed")),
            ("return 7", .rejected(reason: "a certificate hook failed")),
            ("return true", .rejected(reason: "a certificate hook failed")),
            ("error('x')", .rejected(reason: "a certificate hook failed")),
            ("flow:respond{}", .rejected(reason: "a certificate hook failed")),
        ] as [(String, CertificateRequest.Decision)])
    func answers(text: String, decision: CertificateRequest.Decision) throws {
        let fixture = try ScriptFixture(.certificate, text)
        #expect(ask(fixture).outcome.decisions == [decision])
        #expect(fixture.interpreter.waitingCalls == 0)
    }

    @Test("a hook that fails leaves it to the configuration where lua_on_error says so")
    func open() throws {
        let fixture = try ScriptFixture(.certificate, "error('x')", failure: .open)
        #expect(ask(fixture).outcome.decisions == [.configured])
        #expect(try #require(fixture.host.lines.first).contains("certificate hook"))
    }

    @Test("a hook sees what the client said")
    func sight() throws {
        let fixture = try ScriptFixture(
            .certificate,
            """
            print(hello.server_name, table.concat(hello.alpn, ','), table.concat(hello.versions, ','))
            print(#hello.ciphers, hello.ciphers[1], hello.address, hello.port)
            """)
        #expect(ask(fixture).outcome.decisions == [.configured])
        #expect(
            fixture.host.lines == [
                "[notice] lua: one.example\th2,http/1.1\tTLSv1.3,TLSv1.2",
                "[notice] lua: 1\t4865\t192.0.2.1\t4444",
            ])
        let plain = try ScriptFixture(.certificate, "print(hello.server_name, #hello.alpn, hello.port)")
        _ = ask(plain, CertificateRequest.Hello())
        #expect(plain.host.lines == ["[notice] lua: nil\t0\tnil"])
    }

    @Test("a hook may wait, and is told of no second decision")
    func waiting() throws {
        let fixture = try ScriptFixture(
            .certificate, "sy.sleep(1) return { certificate = 'c', key = 'k' }")
        let (_, outcome) = ask(fixture)
        #expect(outcome.decisions.isEmpty)
        #expect(fixture.interpreter.waitingCalls == 1)
        fixture.advance(milliseconds: 1000)
        #expect(outcome.decisions == [.identity(certificate: [99], key: [107])])
        #expect(fixture.interpreter.waitingCalls == 0)
    }

    @Test("a request that is cancelled is not answered")
    func cancelling() throws {
        let fixture = try ScriptFixture(.certificate, "sy.sleep(1) return false")
        let (request, outcome) = ask(fixture)
        fixture.interpreter.cancel(request)
        fixture.interpreter.cancel(request)
        #expect(fixture.interpreter.waitingCalls == 0)
        fixture.advance(milliseconds: 2000)
        #expect(outcome.decisions.isEmpty)
    }

    @Test("hooks are asked in their order, until one has an answer")
    func order() throws {
        func script(_ text: String) -> Script {
            .test(.hook(.certificate, ScriptText(text: Array(text.utf8), file: "test.lua", line: 1)))
        }
        let fixture = try ScriptFixture([
            script("print('one')"), script("sy.sleep(1) print('two')"),
            script("print('three') return { reject = 'three' }"), script("print('four')"),
        ])
        let (_, outcome) = ask(fixture)
        fixture.advance(milliseconds: 1000)
        #expect(outcome.decisions == [.rejected(reason: "three")])
        #expect(
            fixture.host.lines == ["[notice] lua: one", "[notice] lua: two", "[notice] lua: three"])
    }
}
