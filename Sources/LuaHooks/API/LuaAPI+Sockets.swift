internal import ProxyCore

/// `sy.tcp`: connections of a script's own.
extension LuaAPI {
    static let socketFunctions: [LuaFunction] = [
        LuaFunction(
            "connect", .module("sy.tcp"), "host: string, port?: integer, timeout?: number",
            returns: "Socket?, string?", waits: true,
            """
            Opens a connection to a name, which is looked up as by `sy.fetch`, an address or `unix:/path`; nil and the \
            reason when there is none. `timeout`, in seconds, 10 unless given, also holds for each `send` and `receive`. \
            A socket that a hook of an exchange opens is closed with the exchange; any is when nothing refers to it.
            """
        ) { call throws(LuaError) in
            let host = try call.bytes(1, "host")
            var port = 0
            if !host.starts(with: "unix:".utf8) {
                port = try call.integer(2, "port")
                guard 1...65535 ~= port else { throw LuaError("port: found \(port), expected 1 to 65535") }
            }
            let timeout = try call.timeout(3) ?? 10_000
            let interpreter = call.interpreter
            let waiter = try interpreter.wait(call, for: "tcp.connect")
            let operation = interpreter.host.connect(
                host: host, port: UInt16(port), timeout: timeout, under: interpreter.networkSettings
            ) { [weak interpreter] result in
                switch result {
                case .success(let connection):
                    guard let interpreter else { return connection.close() }
                    interpreter.connected(connection, timeout: timeout, waiter)
                case .failure(let failure): interpreter?.resume(waiter, failed: failure.message)
                }
            }
            interpreter.setOperation(operation, of: waiter)
            return .waits
        },
        LuaFunction(
            "send", .method(.socket), "data: string, timeout?: number", returns: "integer?, string?",
            waits: true,
            "Sends all of the data and returns its length; nil and the reason when that fails."
        ) { call throws(LuaError) in
            let handle = try call.socketHandle()
            let data = try call.bytes(2, "data")
            let timeout = try call.timeout(3)
            guard let socket = call.interpreter.sockets[handle] else { return call.fail("closed") }
            let interpreter = call.interpreter
            if let other = socket.sender, interpreter.isWaiting(other) { return call.fail("socket busy") }
            let waiter = try interpreter.wait(call, for: "send")
            interpreter.sockets.update(handle) { $0.sender = waiter }
            interpreter.setOperation(SocketOperation(interpreter, handle), of: waiter)
            socket.connection.send(data, timeout: timeout ?? socket.timeout) { [weak interpreter] failure in
                if let failure { return interpreter?.resume(waiter, failed: failure.message) ?? () }
                interpreter?.resume(waiter) { stack in
                    stack.push(data.count)
                    return 1
                }
            }
            return .waits
        },
        LuaFunction(
            "receive", .method(.socket), "pattern?: integer|\"*l\"|\"*a\"|\"*any\", timeout?: number",
            returns: "string?, string?", waits: true,
            """
            Takes so many bytes of what the peer sends, or a line without its end (`*l`, when nothing is asked for), or \
            everything until the peer ends (`*a`), or what is there, at least a byte (`*any`). nil and the reason when \
            that fails; what had come already is there for the next call. A line of more than \
            65536 bytes, and more than a megabyte at once, is "too large".
            """
        ) { call throws(LuaError) in
            let handle = try call.socketHandle()
            let pattern = try call.receivePattern(2)
            let timeout = try call.timeout(3)
            guard let socket = call.interpreter.sockets[handle] else { return call.fail("closed") }
            let interpreter = call.interpreter
            if let other = socket.receiver, interpreter.isWaiting(other) { return call.fail("socket busy") }
            let waiter = try interpreter.wait(call, for: "receive")
            interpreter.sockets.update(handle) { $0.receiver = waiter }
            interpreter.setOperation(SocketOperation(interpreter, handle), of: waiter)
            socket.connection.receive(pattern, timeout: timeout ?? socket.timeout) {
                [weak interpreter] result in
                switch result {
                case .success(let bytes):
                    interpreter?.resume(waiter) { stack in
                        stack.push(bytes)
                        return 1
                    }
                case .failure(let failure): interpreter?.resume(waiter, failed: failure.message)
                }
            }
            return .waits
        },
        LuaFunction(
            "close", .method(.socket), "",
            "Closes the socket; whoever waits for it is told that it is closed."
        ) { call throws(LuaError) in
            call.interpreter.closeSocket(try call.socketHandle())
            return .none
        },
        LuaFunction(
            "__close", .metamethod(.socket), "", "`local socket <close> = …` closes it at the block's end."
        ) {
            call throws(LuaError) in
            call.interpreter.closeSocket(try call.socketHandle())
            return .none
        },
        LuaFunction("__gc", .metamethod(.socket), "", "Nothing refers to the socket any more.") {
            call throws(LuaError) in
            call.interpreter.closeSocket(try call.socketHandle())
            return .none
        },
    ]
}

extension LuaCall {
    fileprivate func socketHandle() throws(LuaError) -> ObjectHandle {
        guard let handle = stack.object(1, .socket) else {
            throw wrongObject(1, "a socket")
        }
        return handle
    }

    /// Milliseconds, at least one.
    func timeout(_ index: Int) throws(LuaError) -> Int64? {
        isGiven(index) ? max(1, try milliseconds(index, "timeout")) : nil
    }

    fileprivate func receivePattern(_ index: Int) throws(LuaError) -> ReceivePattern {
        switch stack.kind(index) {
        case .none, .nil: return .line
        case .number:
            let count = try integer(index, "pattern")
            guard count >= 0 else { throw LuaError("pattern: found \(count), expected 0 bytes or more") }
            return .exactly(count)
        case .string:
            switch try text(index, "pattern") {
            case "*l", "l": return .line
            case "*a", "a": return .untilClosed
            case "*any", "any": return .available
            case let other:
                throw LuaError("pattern: found \"\(other)\", expected a number of bytes, *l, *a or *any")
            }
        default: throw mismatch(index, "pattern", "a number of bytes, *l, *a or *any")
        }
    }
}
