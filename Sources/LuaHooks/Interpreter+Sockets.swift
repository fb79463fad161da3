internal import ProxyCore

/// Connections that scripts have opened.
///
/// One that a hook of an exchange opens belongs to the exchange and ends with it. One of an `init` hook, or of a spawned
/// function, lives until it is closed, nothing in the script refers to it, or the interpreter is shut down.
extension Interpreter {
    package var openSockets: Int { sockets.count }

    /// Takes a connection for the call that waits for it, and goes on with that.
    func connected(_ connection: any ScriptConnection, timeout: Int64, _ waiter: Waiter) {
        guard isWaiting(waiter) else { return connection.close() }
        let handle = insert(OpenSocket(connection: connection, timeout: timeout), of: waiter)
        resume(waiter) { stack in
            stack.push(.socket, handle)
            return 1
        }
    }

    /// Takes a connection to Redis for the call that waits for it, logs in by these commands until `deadline`, and goes on
    /// with the call.
    func connectedToRedis(
        _ connection: any ScriptConnection, login: [[[UInt8]]], timeout: Int64, limit: Int, deadline: Int64,
        _ waiter: Waiter
    ) {
        guard isWaiting(waiter) else { return connection.close() }
        let redis = RedisConversation(self, connection, timeout: timeout, limit: limit)
        let handle = insert(OpenSocket(connection: connection, timeout: timeout, redis: redis), of: waiter)
        redis.handle = handle
        guard !login.isEmpty else {
            return resume(waiter) { stack in
                stack.push(.redis, handle)
                return 1
            }
        }
        setOperation(SocketOperation(self, handle), of: waiter)
        redis.ask(
            login, .login, replies: login.count, timeout: max(1, deadline - host.clock.now.monotonic), waiter)
    }

    private func insert(_ socket: OpenSocket, of waiter: Waiter) -> ObjectHandle {
        let handle = sockets.insert(socket)
        calls[waiter.call].flow?.sockets.append(handle)
        return handle
    }

    /// Whether a connection that hooks of the flow have opened is open yet.
    func hasOpenSockets(_ flow: ScriptFlow) -> Bool {
        guard !flow.sockets.isEmpty else { return false }
        flow.sockets.removeAll { sockets[$0] == nil }
        return !flow.sockets.isEmpty
    }

    func closeSocket(_ handle: ObjectHandle) {
        guard let socket = dropSocket(handle) else { return }
        currentCall?.flow?.owner?.somethingEnded()
        let waiters =
            [socket.sender, socket.receiver].compactMap(\.self) + (socket.redis?.takeWaiters() ?? [])
        for waiter in waiters where isWaiting(waiter) {
            // Not now: another script, or nothing that may be disturbed, is on the way.
            _ = addTimer(after: 0, .fail(waiter, "closed"))
        }
    }

    /// Closes a connection without a word to who waits for it.
    @discardableResult
    func dropSocket(_ handle: ObjectHandle) -> OpenSocket? {
        guard let socket = sockets.remove(handle) else { return nil }
        socket.connection.close()
        return socket
    }

    func closeSockets(of flow: ScriptFlow) {
        guard !flow.sockets.isEmpty else { return }
        let handles = flow.sockets
        flow.sockets = []
        for handle in handles { closeSocket(handle) }
    }

    func closeAllSockets() {
        for socket in sockets.removeAll() { socket.connection.close() }
    }

    /// Goes on with a call that failed in the ordinary course of things: its results are nil and the message.
    func resume(_ waiter: Waiter, failed message: String) {
        resume(waiter) { stack in
            stack.pushNil()
            stack.push(message)
            return 2
        }
    }
}

struct OpenSocket {
    let connection: any ScriptConnection
    /// Milliseconds, for what says nothing else.
    let timeout: Int64
    /// Who waits for what was sent, and for what is to come; perhaps not any more.
    var sender: Waiter?
    var receiver: Waiter?
    /// Of a connection by `sy.redis.connect`.
    var redis: RedisConversation?
}

/// Sockets by their objects' slots.
struct SocketTable {
    private var slots: [(generation: UInt32, socket: OpenSocket?)] = []
    private var idle: [Int] = []

    var count: Int { slots.count - idle.count }

    mutating func insert(_ socket: OpenSocket) -> ObjectHandle {
        let slot = idle.popLast() ?? slots.count
        if slot == slots.count { slots.append((1, nil)) }
        slots[slot].socket = socket
        return ObjectHandle(slot: UInt32(slot), generation: slots[slot].generation)
    }

    subscript(handle: ObjectHandle) -> OpenSocket? {
        let slot = Int(handle.slot)
        guard slots.indices.contains(slot), slots[slot].generation == handle.generation else { return nil }
        return slots[slot].socket
    }

    mutating func update(_ handle: ObjectHandle, _ change: (inout OpenSocket) -> Void) {
        guard var socket = self[handle] else { return }
        change(&socket)
        slots[Int(handle.slot)].socket = socket
    }

    mutating func remove(_ handle: ObjectHandle) -> OpenSocket? {
        guard let socket = self[handle] else { return nil }
        let slot = Int(handle.slot)
        slots[slot].socket = nil
        slots[slot].generation &+= 1
        idle.append(slot)
        return socket
    }

    mutating func removeAll() -> [OpenSocket] {
        var removed: [OpenSocket] = []
        for slot in slots.indices {
            guard let socket = slots[slot].socket else { continue }
            removed.append(socket)
            slots[slot].socket = nil
            slots[slot].generation &+= 1
            idle.append(slot)
        }
        return removed
    }
}

/// A call that waits for a socket. A script that is cut off in the middle of a conversation cannot go on with it.
final class SocketOperation: ScriptOperation {
    private unowned let interpreter: Interpreter
    private let handle: ObjectHandle

    init(_ interpreter: Interpreter, _ handle: ObjectHandle) {
        self.interpreter = interpreter
        self.handle = handle
    }

    func cancel() { interpreter.closeSocket(handle) }
}
