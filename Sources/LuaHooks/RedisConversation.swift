internal import Config
internal import ProxyCore
internal import Redis

/// What a script says with Redis on a connection of its own.
///
/// Commands go out as they come, without waiting for the replies to those before, and replies come in the order of the
/// commands: however many hooks use one connection, each is given its own. Once a connection is subscribed or monitors,
/// what comes besides replies are messages, which are kept until they are asked for.
///
/// It is held by the interpreter's table of sockets, and is of no use once it is not there any more.
final class RedisConversation {
    /// What Redis is asked, and what is done with its replies.
    enum Kind {
        /// The connection is handed over when all replies say yes.
        case login
        case command
        case pipeline
        /// SUBSCRIBE and its kin, whose confirmations begin with this word.
        case subscription([UInt8])
        case monitor
        case reset
    }

    private struct Request {
        let kind: Kind
        /// `nil` once nobody waits any more: the replies come all the same.
        var waiter: Waiter?
        let deadline: Int64
        /// Replies that are to come yet.
        var missing: Int
        var replies: [RedisReply] = []
        var size = 0
    }

    private struct Listener {
        let waiter: Waiter
        let deadline: Int64
    }

    private unowned let interpreter: Interpreter
    private let connection: any ScriptConnection
    var handle = ObjectHandle(slot: 0, generation: 0)
    /// Milliseconds for each command.
    let timeout: Int64
    /// Bytes of a reply, or of all that a pipeline is answered.
    private let limit: Int

    private let reader: RedisReader
    /// Bytes that have come of the reply that is not whole yet.
    private var partial = 0
    private var output: [UInt8] = []
    private var isSending = false
    private var isReceiving = false
    /// When what is being received ends without a result.
    private var receivesUntil: Int64 = 0
    /// In the order in which they went out: the first has the earliest deadline.
    private var requests: [Request] = []
    private var listener: Listener?
    private var messages: [RedisReply] = []
    private var messageBytes = 0
    /// Channels and patterns that are subscribed to, and sharded channels.
    private var subscriptions = 0
    private var shards = 0
    /// MONITOR has gone out, and whether it is answered.
    private var wantsMonitor = false
    private var isMonitoring = false

    init(_ interpreter: Interpreter, _ connection: any ScriptConnection, timeout: Int64, limit: Int) {
        self.interpreter = interpreter
        self.connection = connection
        self.timeout = timeout
        self.limit = limit
        reader = RedisReader(limit: limit)
    }

    private var isOpen: Bool { interpreter.sockets[handle] != nil }
    private var now: Int64 { interpreter.host.clock.now.monotonic }
    private var isSubscribed: Bool { subscriptions > 0 || shards > 0 }

    // MARK: Asking

    /// Nothing can be asked now: somebody waits for messages, or all that comes is what MONITOR shows.
    var isBusy: Bool { currentListener != nil || wantsMonitor }
    /// Who listens still: its time may have been up, or it was cut off. A message is kept for whoever asks next then.
    private var currentListener: Listener? {
        listener.flatMap { interpreter.isWaiting($0.waiter) ? $0 : nil }
    }

    /// Asks, and goes on with the call once there are as many replies, or a failure.
    func ask(
        _ commands: [[[UInt8]]], _ kind: Kind, replies: Int, timeout: Int64? = nil, _ waiter: Waiter
    ) {
        if case .monitor = kind { wantsMonitor = true }
        for words in commands { RedisCommand.append(words, to: &output) }
        requests.append(
            Request(kind: kind, waiter: waiter, deadline: now + (timeout ?? self.timeout), missing: replies))
        flush()
        listen()
    }

    /// Nobody waits for these replies any more.
    func giveUp(_ waiter: Waiter) {
        guard let index = requests.firstIndex(where: { $0.waiter == waiter }) else { return }
        requests[index].waiter = nil
    }

    private func flush() {
        guard isOpen, !isSending, !output.isEmpty else { return }
        isSending = true
        let bytes = output
        output = []
        connection.send(bytes, timeout: timeout) { [weak self] failure in
            guard let self else { return }
            isSending = false
            if let failure { fail(failure.message) } else { flush() }
        }
    }

    // MARK: Messages

    enum MessageState {
        case message(RedisReply)
        /// `listen` will have it.
        case none
        case refused(String)
    }

    /// The next message, so far as it has come.
    func nextMessage() -> MessageState {
        guard messages.isEmpty else {
            let message = messages.removeFirst()
            messageBytes -= message.wireSize
            return .message(message)
        }
        guard currentListener == nil, requests.isEmpty else { return .refused("busy") }
        return isSubscribed || isMonitoring ? .none : .refused("not subscribed")
    }

    /// Goes on with the call once a message has come, or time is up.
    func listen(_ waiter: Waiter, timeout: Int64?) {
        let deadline = now + (timeout ?? self.timeout)
        listener = Listener(waiter: waiter, deadline: deadline)
        // What is being received may be for one that has been given up, and goes on.
        if isReceiving, receivesUntil > deadline {
            _ = interpreter.addTimer(
                after: deadline - now, .fail(waiter, SocketFailure.timedOut.message))
        }
        listen()
    }

    // MARK: What comes

    private func listen() {
        guard isOpen, !isReceiving, let deadline = requests.first?.deadline ?? currentListener?.deadline
        else {
            return
        }
        isReceiving = true
        // Not for longer than a command may take, which may be asked when the listener has been given up.
        let wait = min(timeout, max(1, deadline - now))
        receivesUntil = now + wait
        connection.receive(.available, timeout: wait) { [weak self] in
            self?.received($0)
        }
    }

    private func received(_ result: Result<[UInt8], SocketFailure>) {
        isReceiving = false
        switch result {
        case .success(let bytes):
            partial += bytes.count
            reader.feed(bytes.span)
            do throws(RedisReader.Fault) { try takeReplies() } catch { fail(error.message) }
        case .failure(.timedOut): timeIsUp()
        case .failure(let failure): fail(failure.message)
        }
        listen()
    }

    private func timeIsUp() {
        if let first = requests.first {
            // What comes too late must not be taken for the reply to another command.
            if first.deadline <= now { fail(SocketFailure.timedOut.message) }
        } else if let listener = currentListener, listener.deadline <= now {
            self.listener = nil
            interpreter.resume(listener.waiter, failed: SocketFailure.timedOut.message)
        }
    }

    /// Scripts go on in the middle of it, and may do anything to the connection.
    private func takeReplies() throws(RedisReader.Fault) {
        while isOpen, let reply = try reader.next() {
            let size = reply.wireSize
            partial = max(0, partial - size)
            if isMessage(reply) {
                try take(message: reply, size)
            } else {
                try take(reply, size)
            }
        }
        guard partial + (requests.first?.size ?? 0) <= limit else { throw RedisReader.Fault("too large") }
    }

    private func take(message: RedisReply, _ size: Int) throws(RedisReader.Fault) {
        guard messageBytes + size <= limit else { throw RedisReader.Fault("too large") }
        if let kind = message.messageKind { _ = note(message, of: kind) }
        guard let waiter = currentListener?.waiter else {
            messages.append(message)
            messageBytes += size
            return
        }
        listener = nil
        interpreter.resume(waiter) { stack in stack.pushResult(message) }
    }

    private func take(_ reply: RedisReply, _ size: Int) throws(RedisReader.Fault) {
        guard !requests.isEmpty else { throw RedisReader.Fault("a reply that nothing was asked for") }
        requests[0].size += size
        guard requests[0].size <= limit else { throw RedisReader.Fault("too large") }
        requests[0].missing -= 1
        requests[0].replies.append(reply)
        switch requests[0].kind {
        case .login, .command, .pipeline: break
        case .subscription(let word):
            // What is no confirmation is a refusal of the whole command.
            if !note(reply, of: word) { requests[0].missing = 0 }
        case .monitor:
            if case .status = reply { isMonitoring = true } else { wantsMonitor = false }
        case .reset: if case .status = reply { (subscriptions, shards) = (0, 0) }
        }
        if requests[0].missing == 0 { finish(requests.removeFirst()) }
    }

    /// Notes how many channels there are now, where the reply is a confirmation.
    private func note(_ reply: RedisReply, of word: [UInt8]) -> Bool {
        guard reply.messageKind == word, case .array(let parts) = reply,
            case .integer(let count)? = parts.last
        else { return false }
        if Self.sharded.contains(word) {
            shards = Int(clamping: count)
        } else {
            subscriptions = Int(clamping: count)
        }
        return true
    }

    private func isMessage(_ reply: RedisReply) -> Bool {
        if isMonitoring { return true }
        guard isSubscribed, let kind = reply.messageKind else { return false }
        if case .subscription(let word)? = requests.first?.kind, word == kind { return false }
        return Self.messageKinds.contains(kind)
    }

    private static let sharded = Set(["ssubscribe", "sunsubscribe"].map { Array($0.utf8) })
    /// A server that gives a sharded channel away says so of its own accord.
    private static let messageKinds = Set(
        ["message", "pmessage", "smessage", "sunsubscribe"].map { Array($0.utf8) })

    private func finish(_ request: Request) {
        guard let waiter = request.waiter else { return }
        switch request.kind {
        case .login:
            for case .error(let text) in request.replies {
                interpreter.closeSocket(handle)
                return interpreter.resume(waiter, failed: String(decoding: text, as: UTF8.self))
            }
            interpreter.resume(waiter) { stack in
                stack.push(.redis, handle)
                return 1
            }
        case .command, .subscription, .monitor, .reset:
            interpreter.resume(waiter) { stack in stack.pushResult(request.replies.last ?? .null) }
        case .pipeline:
            interpreter.resume(waiter) { stack in
                stack.push(.array(request.replies))
                return 1
            }
        }
    }

    // MARK: The end

    /// Closes the connection; everybody who waits is told why.
    private func fail(_ reason: String) {
        guard isOpen else { return }
        interpreter.dropSocket(handle)
        for waiter in takeWaiters() { interpreter.resume(waiter, failed: reason) }
    }

    /// Those who wait; nothing is done for them any more.
    func takeWaiters() -> [Waiter] {
        let waiters = requests.compactMap(\.waiter) + [listener?.waiter].compactMap(\.self)
        requests = []
        listener = nil
        messages = []
        return waiters
    }
}

extension RedisReply {
    /// Bytes on the wire.
    var wireSize: Int {
        switch self {
        case .status(let text), .error(let text): text.count + 3
        case .integer(let number): String(number).utf8.count + 3
        case .string(let text): text.count + String(text.count).utf8.count + 5
        case .array(let elements):
            elements.reduce(String(elements.count).utf8.count + 3) { $0 + $1.wireSize }
        case .null: 5
        }
    }

    /// What messages begin with, and the confirmations of subscriptions.
    fileprivate var messageKind: [UInt8]? {
        guard case .array(let parts) = self, case .string(let kind)? = parts.first else { return nil }
        return kind
    }
}

extension LuaStack {
    /// Pushes a reply as what a call comes to: null is nil, an error nil and its text.
    ///
    /// - Returns: how many values that are.
    func pushResult(_ reply: RedisReply) -> Int {
        switch reply {
        case .null:
            pushNil()
            return 1
        case .error(let text):
            pushNil()
            push(text)
            return 2
        case .status, .integer, .string, .array:
            push(reply)
            return 1
        }
    }

    /// Pushes a reply as it stands among others: null is false, an error a table.
    func push(_ reply: RedisReply) {
        guard reserve(4) else { return pushNil() }
        switch reply {
        case .status(let text), .string(let text): push(text)
        case .integer(let number): push(number)
        case .null: push(false)
        case .error(let text):
            pushTable(fields: 1)
            push(text)
            setField("err", of: -2)
        case .array(let elements): push(list: elements) { push($0) }
        }
    }
}
