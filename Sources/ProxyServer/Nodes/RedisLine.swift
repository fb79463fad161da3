internal import Config
internal import EventLoop
internal import ProxyCore
internal import Redis

/// A connection to Redis that is made again whenever it is lost.
///
/// Confined to its worker's thread, as what it calls is.
final class RedisLine {
    /// A reply, or something that Redis says unasked.
    var received: (RedisReply) -> Void = { _ in }
    /// Whoever is logged in may speak now.
    var opened: () -> Void = {}
    /// There is no connection, and why. It is tried again.
    var lost: (String) -> Void = { _ in }

    /// Redis has taken all that it was sent.
    var drained: () -> Void = {}

    private enum State {
        case waiting
        case connecting(ScriptSocket)
        /// So many replies to the first commands are still to come.
        case greeting(ScriptSocket, replies: Int)
        case open(ScriptSocket)
        case closed
    }

    private let url: RedisURL
    /// What is said first, once logged in.
    private let greeting: [[[UInt8]]]
    // It has this closed before it ends.
    private unowned let worker: Worker
    private let alarm: Alarm
    private var state = State.waiting
    private var reader = RedisReader()
    private var outgoing: [UInt8] = []
    private var isSending = false
    private var pause = RedisLine.leastPause

    /// All in milliseconds. Each side says something that often: a connection that nothing has come by for three times as long is
    /// given up.
    private static let pingInterval: Int64 = 15_000
    private static let connectTimeout: Int64 = 5000
    private static let sendTimeout: Int64 = 10_000
    /// Between two attempts: the pause doubles from one to the next.
    private static let leastPause: Int64 = 100
    private static let longestPause: Int64 = 5000
    /// Bytes that wait for Redis to take them, beyond which nothing more is said.
    private static let maxOutgoing = 16 << 20

    init(_ url: RedisURL, greeting: [[[UInt8]]], worker: Worker) {
        self.url = url
        self.greeting = greeting
        self.worker = worker
        alarm = Alarm(loop: worker.loop)
        alarm.rang = { [unowned self] in rang() }
    }

    /// Redis has yet to take some of what it was sent.
    var isSpeaking: Bool { isOpen && (isSending || !outgoing.isEmpty) }
    var isOpen: Bool { if case .open = state { true } else { false } }

    func start() {
        do throws(SocketFailure) {
            let settings = worker.current.configuration.http
            state = .connecting(
                try ScriptSocket.connect(
                    to: Array(url.host.utf8), port: Int(url.port), timeoutMilliseconds: Self.connectTimeout,
                    worker: worker, generation: worker.current, settings: settings
                ) { [unowned self] result in
                    switch result {
                    case .success: connected()
                    case .failure(let failure): fail(failure.message)
                    }
                })
        } catch {
            fail(error.message)
        }
    }

    /// What was said still goes out.
    func close() {
        if case .closed = state { return }
        socket?.close()
        outgoing = []
        state = .closed
        alarm.close()
    }

    /// Sends commands, whose replies come to `received`.
    ///
    /// - Returns: false where there is no connection, or Redis does not take what it was sent before.
    func send(_ commands: [UInt8]) -> Bool {
        guard isOpen, outgoing.isEmpty || outgoing.count + commands.count <= Self.maxOutgoing else {
            return false
        }
        outgoing += commands
        sendMore()
        return true
    }

    private var socket: ScriptSocket? {
        switch state {
        case .connecting(let socket), .greeting(let socket, _), .open(let socket): socket
        case .waiting, .closed: nil
        }
    }

    private func connected() {
        guard case .connecting(let socket) = state else { return }
        reader = RedisReader()
        // The ping says whether what answers is Redis.
        let commands = url.login + greeting + [[Array("PING".utf8)]]
        state = .greeting(socket, replies: commands.count)
        alarm.setDeadline(worker.loop.now + Self.connectTimeout)
        for command in commands { RedisCommand.append(command, to: &outgoing) }
        sendMore()
        receiveMore()
    }

    private func sendMore() {
        guard !isSending, !outgoing.isEmpty, let socket else { return }
        isSending = true
        let bytes = outgoing
        outgoing = []
        socket.send(bytes, timeout: Self.sendTimeout) { [unowned self] failure in
            isSending = false
            if let failure { return fail(failure.message) }
            sendMore()
            if !isSending, isOpen { drained() }
        }
    }

    private func receiveMore() {
        socket?.receive(.available, timeout: 3 * Self.pingInterval) { [unowned self] result in
            switch result {
            case .success(let bytes): take(bytes)
            case .failure(let failure): fail(failure.message)
            }
        }
    }

    private func take(_ bytes: [UInt8]) {
        reader.feed(bytes.span)
        do throws(RedisReader.Fault) {
            while let reply = try reader.next() {
                take(reply)
                guard socket != nil else { return }
            }
            receiveMore()
        } catch {
            fail("what it says is not Redis's: \(error.message)")
        }
    }

    private func take(_ reply: RedisReply) {
        guard case .greeting(let socket, let count) = state else { return received(reply) }
        if case .error(let text) = reply {
            return fail("Redis says: \(String(decoding: text, as: UTF8.self))")
        }
        guard count == 1 else { return state = .greeting(socket, replies: count - 1) }
        state = .open(socket)
        pause = Self.leastPause
        alarm.setDeadline(worker.loop.now + Self.pingInterval)
        opened()
    }

    private func rang() {
        switch state {
        case .waiting: start()
        case .open:
            var ping: [UInt8] = []
            RedisCommand.append([Array("PING".utf8)], to: &ping)
            _ = send(ping)
            alarm.setDeadline(worker.loop.now + Self.pingInterval)
        case .greeting: fail(SocketFailure.timedOut.message)
        case .connecting, .closed: break
        }
    }

    private func fail(_ reason: String) {
        drop()
        state = .waiting
        alarm.setDeadline(worker.loop.now + pause)
        pause = min(2 * pause, Self.longestPause)
        lost(reason)
    }

    private func drop() {
        socket?.cancel()
        outgoing = []
        isSending = false
    }
}
