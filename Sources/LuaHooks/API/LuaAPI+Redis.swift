internal import Config
internal import ProxyCore
internal import Redis

/// `sy.redis`: connections to Redis.
extension LuaAPI {
    static let redisFunctions: [LuaFunction] = [
        LuaFunction(
            "connect", .module("sy.redis"), "url: string, timeout?: number, max_size?: integer",
            returns: "Redis?, string?", waits: true,
            """
            Connects to Redis at `redis://[[user]:password@]host[:port][/database]` or `unix:/path`, logs in and selects the \
            database where the URL says so; nil and the reason when that fails. The name is looked up as by `sy.fetch`. \
            `timeout`, in seconds, 10 unless given, also holds for each command; a reply of more than `max_size` bytes \
            (1 MiB) is "too large". A connection that a hook of an exchange opens is closed with the exchange; any is when \
            nothing refers to it.
            """
        ) { call throws(LuaError) in
            guard let url = RedisURL(try call.text(1, "url")) else {
                // A password may stand in it, which is not for logs.
                throw LuaError("connect: url: found no URL of Redis, expected \(RedisURL.expected)")
            }
            let timeout = try call.timeout(2) ?? 10_000
            // What is beyond the interpreter's memory could not be handed over.
            let most = call.interpreter.set.settings.memoryLimit
            let limit = try call.optionalInteger(3, "max_size") ?? min(1 << 20, most)
            guard 1...most ~= limit else {
                throw LuaError("max_size: found \(limit), expected 1 to \(most) bytes")
            }
            let interpreter = call.interpreter
            let waiter = try interpreter.wait(call, for: "redis.connect")
            let deadline = interpreter.host.clock.now.monotonic + timeout
            let operation = interpreter.host.connect(
                host: Array(url.host.utf8), port: url.port, timeout: timeout,
                under: interpreter.networkSettings
            ) { [weak interpreter] result in
                switch result {
                case .success(let connection):
                    guard let interpreter else { return connection.close() }
                    interpreter.connectedToRedis(
                        connection, login: url.login, timeout: timeout, limit: limit, deadline: deadline,
                        waiter)
                case .failure(let failure): interpreter?.resume(waiter, failed: failure.message)
                }
            }
            interpreter.setOperation(operation, of: waiter)
            return .waits
        },
        LuaFunction(
            "call", .method(.redis), "command: string, ...: string|number",
            returns: "string|integer|table|nil, string?", waits: true,
            """
            Sends a command, each argument by itself, and returns the reply: strings, integers, and arrays as tables; nil for \
            null, which within arrays is false. nil and the reason when there is no reply, and for an error of Redis, \
            which within arrays is `{ err = "…" }`. Several hooks may use a connection at once: their commands go out in \
            order, and each gets its own reply. So what belongs together, such as a transaction, is best one `pipeline`, \
            and what waits in Redis, such as `BLPOP`, has a connection of its own. No reply within `timeout` closes the \
            connection. `SUBSCRIBE` and its kin return their last confirmation, and want the names of channels; from then \
            on `receive` has the messages. "busy" while another waits for those, and always after `MONITOR`.
            """
        ) { call throws(LuaError) in
            let handle = try call.redisHandle()
            let words = try call.words()
            guard let redis = call.interpreter.sockets[handle]?.redis else { return call.fail("closed") }
            if redis.isBusy { return call.fail("busy") }
            let (kind, replies) = try kind(of: words)
            let waiter = try call.interpreter.wait(call, for: "call")
            call.interpreter.setOperation(RedisOperation(redis, waiter), of: waiter)
            redis.ask([words], kind, replies: replies, waiter)
            return .waits
        },
        LuaFunction(
            "pipeline", .method(.redis), "commands: (string|number)[][]", returns: "table|nil, string?",
            waits: true,
            """
            Sends several commands at once, `{ {"INCR", "a"}, {"EXPIRE", "a", 60} }`, and returns a table with the reply to \
            each, as `call` has them within arrays; nil and the reason when they do not all come. `timeout` and `max_size` \
            hold for all of them together.
            """
        ) { call throws(LuaError) in
            let handle = try call.redisHandle()
            let commands = try call.commands()
            guard let redis = call.interpreter.sockets[handle]?.redis else { return call.fail("closed") }
            if redis.isBusy { return call.fail("busy") }
            for words in commands {
                guard case .command = try kind(of: words).kind else {
                    throw LuaError(
                        "pipeline: found \(String(decoding: words[0], as: UTF8.self)), which is for call")
                }
            }
            guard !commands.isEmpty else {
                call.stack.pushTable()
                return .one
            }
            let waiter = try call.interpreter.wait(call, for: "pipeline")
            call.interpreter.setOperation(RedisOperation(redis, waiter), of: waiter)
            redis.ask(commands, .pipeline, replies: commands.count, waiter)
            return .waits
        },
        LuaFunction(
            "receive", .method(.redis), "timeout?: number", returns: "table|string|nil, string?", waits: true,
            """
            The next message of a connection that has subscribed, such as `{"message", channel, text}`, or line of one that \
            monitors; nil and the reason when there is none. After "timeout" the connection is as good as before.
            """
        ) { call throws(LuaError) in
            let handle = try call.redisHandle()
            let timeout = try call.timeout(2)
            guard let redis = call.interpreter.sockets[handle]?.redis else { return call.fail("closed") }
            switch redis.nextMessage() {
            case .message(let message): return .values(call.stack.pushResult(message))
            case .refused(let reason): return call.fail(reason)
            case .none: break
            }
            let waiter = try call.interpreter.wait(call, for: "receive")
            redis.listen(waiter, timeout: timeout)
            return .waits
        },
        LuaFunction(
            "closed", .getter(.redis), "", returns: "boolean",
            "It is of no use any more: it was closed, or something has failed that is no error of Redis's."
        ) { call throws(LuaError) in
            call.push(call.interpreter.sockets[try call.redisHandle()] == nil)
        },
        LuaFunction(
            "close", .method(.redis), "",
            "Closes the connection; whoever waits for it is told that it is closed."
        ) { call throws(LuaError) in
            call.interpreter.closeSocket(try call.redisHandle())
            return .none
        },
        LuaFunction(
            "__close", .metamethod(.redis), "", "`local redis <close> = …` closes it at the block's end."
        ) { call throws(LuaError) in
            call.interpreter.closeSocket(try call.redisHandle())
            return .none
        },
        LuaFunction("__gc", .metamethod(.redis), "", "Nothing refers to the connection any more.") {
            call throws(LuaError) in
            call.interpreter.closeSocket(try call.redisHandle())
            return .none
        },
    ]

    /// How a command is answered, and by how many replies.
    private static func kind(
        of words: [[UInt8]]
    ) throws(LuaError) -> (kind: RedisConversation.Kind, replies: Int) {
        let name = words[0].map { UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0 ? $0 | 0x20 : $0 }
        switch String(decoding: name, as: UTF8.self) {
        case "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
            // Without names, how many replies come is Redis's to know.
            guard words.count > 1 else { throw LuaError("call: found no channels, expected at least one") }
            return (.subscription(name), words.count - 1)
        case "monitor": return (.monitor, 1)
        case "reset": return (.reset, 1)
        default: return (.command, 1)
        }
    }
}

extension LuaCall {
    fileprivate func redisHandle() throws(LuaError) -> ObjectHandle {
        guard let handle = stack.object(1, .redis) else { throw wrongObject(1, "a connection to Redis") }
        return handle
    }

    /// The arguments of `call`.
    fileprivate func words() throws(LuaError) -> [[UInt8]] {
        var words = [try bytes(2, "command")]
        for index in 3..<max(3, argumentCount + 1) { words.append(try word(index, words.count)) }
        return words
    }

    /// The argument of `pipeline`.
    fileprivate func commands() throws(LuaError) -> [[[UInt8]]] {
        try table(2, "pipeline")
        var commands: [[[UInt8]]] = []
        for position in 0..<stack.length(ofTable: 2) {
            guard stack.pushElement(position + 1, of: 2) == .table, stack.length(ofTable: -1) > 0 else {
                throw LuaError(
                    "pipeline: found \(stack.foundName(-1)) as command \(position + 1), expected a list of words"
                )
            }
            let command = stack.top
            var words: [[UInt8]] = []
            for index in 0..<stack.length(ofTable: command) {
                stack.pushElement(index + 1, of: command)
                words.append(try word(stack.top, index))
                stack.pop()
            }
            commands.append(words)
            stack.pop()
        }
        return commands
    }

    private func word(_ index: Int, _ position: Int) throws(LuaError) -> [UInt8] {
        guard let word = stack.bytes(index) else {
            let what = position == 0 ? "command" : "argument \(position)"
            throw LuaError("\(what): found \(stack.foundName(index)), expected a string or a number")
        }
        return word
    }
}

/// A call that waits for replies, which others may share the connection with: when it is cut off, they go on.
private final class RedisOperation: ScriptOperation {
    private weak var redis: RedisConversation?
    private let waiter: Waiter

    init(_ redis: RedisConversation, _ waiter: Waiter) {
        self.redis = redis
        self.waiter = waiter
    }

    func cancel() { redis?.giveUp(waiter) }
}
