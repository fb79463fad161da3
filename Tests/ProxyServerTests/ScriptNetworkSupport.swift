import Config
import EventLoop
import Glibc
import ProxyCore
import Testing

@testable import ProxyServer

/// A worker whose loop is turned by hand, for what scripts do with the network.
final class NetworkFixture {
    let worker: Worker
    let generation: WorkerGeneration
    private let watchdog: Watchdog
    private var servers: [ScriptedServer] = []

    init(_ http: String = "", connections: Int = 512) throws {
        let text =
            "error_log /dev/null; events { worker_connections \(connections); } http { access_log off; \(http) }"
        let loaded = try ConfigurationLoader().load(
            ConfigurationSource(.text(text, name: "test.conf"), prefix: "/tmp"))
        worker = try Worker(
            generation: loaded.generation(number: 1, registry: ProcessRegistry()),
            statistics: WorkerStatistics())
        generation = worker.current
        watchdog = try Watchdog(loop: worker.loop)
    }

    deinit {
        for server in servers { server.end() }
        worker.scriptNetwork.close()
        watchdog.close()
        worker.loop.close()
    }

    var client: FetchClient { worker.scriptNetwork.fetches }
    var lookups: NameLookups { worker.scriptNetwork.lookups }

    /// Turns the loop until `condition` holds. One that never does fails the test rather than hold it up.
    func run(until condition: () -> Bool) {
        watchdog.setDeadline(worker.loop.now + 20_000)
        while !condition() {
            worker.loop.turn(wait: true)
            if watchdog.hasBarked {
                Issue.record("what was waited for did not come")
                return
            }
        }
    }

    /// Handles what is there by now.
    func settle() { for _ in 0..<8 { worker.loop.turn(wait: false) } }

    func serve(
        port: UInt16 = 0, _ answer: @escaping (ScriptedConnection, String) -> Void = { _, _ in }
    ) throws -> ScriptedServer {
        let server = try ScriptedServer.listening(on: worker.loop, port: port, answer)
        servers.append(server)
        return server
    }

    /// A server that answers each request with `response`, and ends the connection when told to.
    func serve(_ response: String, closing: Bool = false) throws -> ScriptedServer {
        try serve { connection, _ in
            connection.send(Array(response.utf8))
            if closing { connection.shutdownWhenSent() }
        }
    }

    /// The outcome of a fetch, once it has come.
    func fetch(_ request: FetchRequest) -> Result<FetchResponse, FetchFailure> {
        var outcome: Result<FetchResponse, FetchFailure>?
        do throws(FetchFailure) {
            _ = try client.start(request, in: generation, settings: nil) { outcome = $0 }
        } catch {
            return .failure(error)
        }
        run { outcome != nil }
        return outcome ?? .failure(.noConnections)
    }
}

extension FetchRequest {
    init(_ url: String, method: String = "GET", timeout: Int64 = 20_000, maxBody: Int = 1 << 20) {
        self.init(
            method: Array(method.utf8), url: Array(url.utf8), timeoutMilliseconds: timeout,
            maxBodyBytes: maxBody)
    }
}

extension Result<FetchResponse, FetchFailure> {
    var failure: FetchFailure? { if case .failure(let failure) = self { failure } else { nil } }
    var bodyText: String? { (try? get()).map { String(decoding: $0.body, as: UTF8.self) } }
}

private final class Watchdog: Channel {
    private(set) var hasBarked = false

    init(loop: EventLoop) throws {
        let descriptor = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        super.init(loop: loop, descriptor: descriptor)
        try register()
    }

    override func deadlinePassed() { hasBarked = true }
}

/// A server on the same loop, whose test says what it answers.
final class ScriptedServer: ListenerChannel {
    private(set) var connections: [ScriptedConnection] = []
    private var answer: (ScriptedConnection, String) -> Void = { _, _ in }
    private(set) var port: UInt16 = 0

    static func listening(
        on loop: EventLoop, port: UInt16, _ answer: @escaping (ScriptedConnection, String) -> Void
    ) throws -> ScriptedServer {
        let descriptor = try Sockets.listen(
            on: .ipv4(0x7F00_0001, port: port), options: Sockets.ListenOptions())
        let server = ScriptedServer(loop: loop, descriptor: descriptor)
        server.answer = answer
        server.port = try #require(Sockets.localAddress(descriptor)).port
        try server.startListening()
        return server
    }

    var url: String { "http://127.0.0.1:\(port)" }
    var openConnections: Int { connections.count { $0.isOpen } }
    var requests: Int { connections.reduce(0) { $0 + $1.requests } }

    func end() {
        close()
        for connection in connections { connection.close() }
    }

    override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
        let connection = ScriptedConnection(loop: loop, descriptor: descriptor)
        connection.answer = answer
        connections.append(connection)
        try? connection.register()
    }
}

final class ScriptedConnection: StreamChannel {
    fileprivate var answer: (ScriptedConnection, String) -> Void = { _, _ in }
    /// What has come and belongs to no whole request yet.
    private(set) var received: [UInt8] = []
    private(set) var requests = 0
    private(set) var hasEnded = false
    var readsOn = true
    /// What comes is not kept.
    var discards = false

    override func readable() {
        let loop = loop
        while isOpen, mayRead, readsOn {
            switch read() {
            case .bytes(let count):
                if discards { continue }
                let bytes = loop.received(count)
                for index in bytes.indices { received.append(bytes[index]) }
                takeRequest()
            case .wouldBlock: return
            case .end, .failed:
                hasEnded = true
                close()
            }
        }
    }

    private func takeRequest() {
        let text = String(decoding: received, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { return }
        var length = 0
        if let field = text.range(of: "Content-Length: ") {
            length = Int(text[field.upperBound...].prefix { $0.isNumber }) ?? 0
        }
        guard text[end.upperBound...].utf8.count >= length else { return }
        received = []
        requests += 1
        answer(self, text)
    }
}

extension String {
    func range(of part: String) -> Range<String.Index>? { firstRange(of: part) }
}

/// A name server that takes questions and never answers.
struct SilentNameServer {
    private let descriptor: Int32
    let port: UInt16

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let bound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(bound == 0)
        port = try #require(Sockets.localAddress(descriptor)).port
    }

    func close() { _ = Glibc.close(descriptor) }
}
