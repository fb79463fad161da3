internal import EventLoop
internal import LuaHooks
internal import ProxyCore

/// A proxy that a test of scripts has in hand.
final class ScriptedProxy: TestProxy {
    private let proxy: ProxyUnderTest
    private let directory: String
    private let listeners: TestListeners
    private var hosts: [any ScriptedHost] = []
    private var peers: [MemoryPeer] = []
    /// Of the clients that have connected to listeners with `ssl`, by their addresses.
    private var clientTLS: [SocketAddress: StatedTLS] = [:]
    /// What is still to be sent, in this order.
    private var unsent: [() -> Void] = []

    /// - Parameters:
    ///   - proxy: what runs.
    ///   - directory: where relative paths of logs are.
    ///   - listeners: where clients connect to.
    init(_ proxy: ProxyUnderTest, directory: String, listeners: TestListeners) {
        self.proxy = proxy
        self.directory = directory
        self.listeners = listeners
        proxy.clientTLS = { [unowned self] in clientTLS[$0] }
        hosts.append(ScriptedBackend(self, proxy.backend(), nil, answersAnything: true))
    }

    /// Once there is somebody to answer what `init` hooks ask for.
    func begin() { proxy.begin() }

    /// Lets everything happen that can without time passing, what is to be sent bit by bit included.
    func run() {
        proxy.run()
        while !proxy.isRunning, !unsent.isEmpty {
            let next = unsent.removeFirst()
            next()
            proxy.run()
        }
    }

    /// Sends the first part now, and each other once the proxy has seen to the one before.
    func send(_ parts: [[UInt8]], by peer: MemoryPeer, isLast: Bool = false) {
        if let first = parts.first { peer.send(first) }
        for part in parts.dropFirst() { unsent.append { peer.send(part) } }
        if isLast { unsent.append { peer.end() } }
    }

    var isRunning: Bool { proxy.isRunning }
    /// For tests of what is left of it.
    var worker: AnyObject { proxy.worker }
    func advance(byMilliseconds milliseconds: Int64, until isOver: () -> Bool) throws(TestFault) {
        guard proxy.advance(byMilliseconds: milliseconds, until: isOver) else {
            throw TestFault("advance: scripts go on and on without time passing")
        }
        run()
    }

    /// Has the peer's part ended with the proxy.
    func keep(_ peer: MemoryPeer) { peers.append(peer) }

    // MARK: Peers

    func connect(_ connection: TestConnection) throws(TestFault) -> any TestClient {
        ScriptedClient(self, try peer(connection))
    }

    func openWebSocket(
        _ handshake: TestHandshake, _ connection: TestConnection
    ) throws(TestFault) -> any TestWebSocket {
        ScriptedWebSocket(client: try peer(connection), proxy: { [unowned self] in run() }, handshake)
    }

    private func peer(_ connection: TestConnection) throws(TestFault) -> MemoryPeer {
        let place = try listeners.place(connection.listener)
        guard place.isTLS || connection.tls == nil else {
            throw TestFault("tls: the listener on \(place.name) has no ssl")
        }
        var client: SocketAddress?
        if let address = connection.address {
            client = TestNames.numeric(address, defaultPort: 50_000)
            if client == nil {
                throw TestFault("found \"\(address)\", expected a numeric address of a client")
            }
        }
        do {
            let peer = try proxy.network.connect(to: place.address, from: client)
            // It is asked for when the connection is accepted.
            if place.isTLS { clientTLS[peer.local] = StatedTLS(connection.tls ?? TestTLS()) }
            proxy.run()
            keep(peer)
            return peer
        } catch {
            throw TestFault("the proxy does not listen on \(place.name)")
        }
    }

    func addBackend(at address: String?, _ handler: TestHandler?) throws(TestFault) -> any TestBackend {
        var place: SocketAddress?
        if let address { place = try Self.place(address, defaultPort: 80) }
        let backend = ScriptedBackend(self, proxy.backend(at: place), handler)
        hosts.append(backend)
        return backend
    }

    func addServer(at address: String, _ handler: TestDataHandler?) throws(TestFault) -> any TestServer {
        let place = try Self.place(address)
        let server = ScriptedServer(self, proxy.backend(at: place), handler)
        hosts.append(server)
        return server
    }

    /// The address that is written so. A port has to be there where 0 stands for it.
    private static func place(_ text: String, defaultPort: UInt16 = 0) throws(TestFault) -> SocketAddress {
        let place = TestNames.address(text, defaultPort: defaultPort)
        guard let place, place.isUnix || place.port != 0 else {
            throw TestFault("found \"\(text)\", expected an address: name:port or unix:/path")
        }
        return place
    }

    func answerFetches(_ handler: @escaping TestFetchHandler) {
        proxy.fetchAnswer = handler
    }

    // MARK: Logs

    func takeErrors() -> [String] { proxy.takeErrors().map(\.description) }

    func takeAccessLog(_ path: String?) -> [String] {
        let path = path ?? "logs/access.log"
        return proxy.takeLog(path.hasPrefix("/") ? path : directory + "/" + path)
    }

    // MARK: Ends

    func drain() { proxy.drain() }

    func end() {
        proxy.end()
        // Connections and what listens to them hold each other.
        for peer in peers { peer.ignoreActivity() }
        peers = []
        unsent = []
        clientTLS = [:]
        hosts = []
    }
}

/// The addresses of names in tests: each has one, made of its letters.
enum TestNames {
    static func address(of name: String) -> SocketAddress {
        // FNV-1a. Two names of one test with the same 24 bits are not to be expected.
        var hash: UInt32 = 2_166_136_261
        for byte in name.lowercased().utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return .ipv4(0x0A00_0000 | (hash ^ hash >> 24) & 0x00FF_FFFF, port: 0)
    }

    /// `host`, `host:port`, `[v6]:port` or `unix:/path`.
    static func address(_ text: String, defaultPort: UInt16) -> SocketAddress? {
        if text.hasPrefix("unix:") { return .unix(path: String(text.dropFirst(5))) }
        guard let (host, port) = parts(text, defaultPort), !host.isEmpty else { return nil }
        return SocketAddress(numericHost: host, port: port) ?? address(of: host).with(port: port)
    }

    static func numeric(_ text: String, defaultPort: UInt16) -> SocketAddress? {
        if let address = SocketAddress(numericHost: text, port: defaultPort) { return address }
        return parts(text, defaultPort).flatMap { SocketAddress(numericHost: $0.host, port: $0.port) }
    }

    private static func parts(_ text: String, _ defaultPort: UInt16) -> (host: String, port: UInt16)? {
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            let host = String(text[text.index(after: text.startIndex)..<end])
            let rest = text[text.index(after: end)...]
            if rest.isEmpty { return (host, defaultPort) }
            guard rest.hasPrefix(":"), let port = UInt16(rest.dropFirst()) else { return nil }
            return (host, port)
        }
        guard let colon = text.lastIndex(of: ":") else { return (text, defaultPort) }
        guard let port = UInt16(text[text.index(after: colon)...]) else { return nil }
        return (String(text[..<colon]), port)
    }
}
