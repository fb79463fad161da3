import Glibc
import TLS
import Testing

/// A client and a server on the two ends of a socket pair.
final class SessionPair {
    let client: TLSSession
    let server: TLSSession
    let clientSocket: Int32
    let serverSocket: Int32
    private var isClosed: (client: Bool, server: Bool) = (false, false)
    var policy: Policy?

    static func serverContext(_ change: (TLSContext) throws -> Void = { _ in }) throws -> TLSContext {
        let context = try TLSContext(.server)
        try context.use(TestCertificates.shared.identity("one"))
        context.setSessions(.none, timeout: 300, ticketKeys: TLSTicketKeys(), contextName: [1])
        try change(context)
        return context
    }

    static func clientContext(_ change: (TLSContext) throws -> Void = { _ in }) throws -> TLSContext {
        let context = try TLSContext(.client)
        try context.trust(TestCertificates.shared.file("one.crt"), tellsClients: false)
        try change(context)
        return context
    }

    init(
        server serverContext: TLSContext? = nil, client clientContext: TLSContext? = nil,
        name: String? = nil, resumption: TLSResumption? = nil, buffer: Int32? = nil, policy: Policy? = nil
    ) throws {
        var sockets: [Int32] = [0, 0]
        unsafe #expect(
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &sockets) == 0)
        clientSocket = sockets[0]
        serverSocket = sockets[1]
        if var buffer {
            for socket in sockets {
                unsafe setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &buffer, socklen_t(MemoryLayout<Int32>.size))
            }
        }
        let scratch = TLSScratch()
        server = try TLSSession(
            server: serverContext ?? Self.serverContext(), descriptor: sockets[1], scratch: scratch)
        client = try TLSSession(
            client: clientContext ?? Self.clientContext(), descriptor: sockets[0], scratch: scratch,
            name: name,
            resumption: resumption)
        self.policy = policy
        server.policy = policy
    }

    deinit {
        if !isClosed.client { close(clientSocket) }
        if !isClosed.server { close(serverSocket) }
    }

    func closeClient() {
        close(clientSocket)
        isClosed.client = true
    }

    /// Both sides step until neither has anything to do.
    @discardableResult
    func shakeHands(onWish: (TLSSession) -> Void = { _ in }) -> (
        client: TLSSession.Step, server: TLSSession.Step
    ) {
        var steps = (client: TLSSession.Step.wantsRead, server: TLSSession.Step.wantsRead)
        for _ in 0..<20 {
            if steps.client == .wantsRead { steps.client = client.handshake() }
            if steps.server == .wantsRead { steps.server = server.handshake() }
            if steps.server == .wantsIdentity {
                onWish(server)
                steps.server = server.handshake()
            }
            if steps.client != .wantsRead && steps.server != .wantsRead { break }
        }
        return steps
    }

    /// What `session` has to read now.
    static func read(_ session: TLSSession, room: Int = 1 << 16) -> (
        bytes: [UInt8], result: TLSSession.ReadResult
    ) {
        var buffer = [UInt8](repeating: 0, count: room)
        var span = buffer.mutableSpan
        let result = session.read(into: &span, mayHaveEnded: true)
        guard case .bytes(let count) = result else { return ([], result) }
        return (Array(buffer[..<count]), result)
    }

    static func write(_ session: TLSSession, _ bytes: [UInt8]) -> Int {
        session.write(bytes.span, Span(), Span())
    }
}

/// Remembers what it was asked, and answers with a context or a rejection.
final class Policy: TLSServerPolicy {
    var hello: TLSHello?
    var answer: TLSContext?

    init(answer: TLSContext?) { self.answer = answer }

    func context(for hello: TLSHello) -> TLSContext? {
        self.hello = hello
        return answer
    }
}
