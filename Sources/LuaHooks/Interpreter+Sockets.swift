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
        let handle = sockets.insert(OpenSocket(connection: connection, timeout: timeout))
        calls[waiter.call].flow?.sockets.append(handle)
        resume(waiter) { stack in
            stack.push(.socket, handle)
            return 1
        }
    }

    /// Whether a connection that hooks of the flow have opened is open yet.
    func hasOpenSockets(_ flow: ScriptFlow) -> Bool {
        guard !flow.sockets.isEmpty else { return false }
        flow.sockets.removeAll { sockets[$0] == nil }
        return !flow.sockets.isEmpty
    }

    func closeSocket(_ handle: ObjectHandle) {
        guard let socket = sockets.remove(handle) else { return }
        currentCall?.flow?.owner?.somethingEnded()
        socket.connection.close()
        for case let waiter? in [socket.sender, socket.receiver] where isWaiting(waiter) {
            // Not now: another script, or nothing that may be disturbed, is on the way.
            _ = addTimer(after: 0, .fail(waiter, "closed"))
        }
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
