import Config
import Testing

@testable import ProxyServer

@Suite("Peers of upstreams")
struct UpstreamPeersTests {
    @Test("hosts that variables name are counted apart from an upstream that is called \"variable\"")
    func variableHosts() throws {
        let fixture = try NetworkFixture(
            """
            upstream variable { server 127.0.0.1:9; }
            server { listen 127.0.0.1:8080; location / { proxy_pass http://variable; } }
            """)
        let generation = fixture.generation
        let index = try #require(
            generation.configuration.upstreams.firstIndex { $0.name.elementsEqual("variable".utf8) })
        let named = generation.peers(ofGroup: index)
        let hosts = generation.peers(ofHost: Array("10.0.0.1".utf8), [])
        #expect(named.statistics !== hosts.statistics)
    }
}
