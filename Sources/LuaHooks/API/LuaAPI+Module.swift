internal import Config
internal import ProxyCore
internal import Wire

/// The module `switchyard`, whose table is also the global `sy`.
extension LuaAPI {
    static let moduleFunctions: [LuaFunction] =
        timeFunctions + taskFunctions + randomFunctions + logFunctions + jsonFunctions + patternFunctions
        + fetchFunctions + receivedHeaderFunctions + socketFunctions + redisFunctions + sharedFunctions
        + digestFunctions + metricFunctions + upstreamFunctions

    private static let timeFunctions: [LuaFunction] = [
        LuaFunction(
            "sleep", .module("sy"), "seconds: number", waits: true,
            "Waits; other exchanges go on meanwhile."
        ) { call throws(LuaError) in
            let time = try call.milliseconds(1, "sleep")
            let waiter = try call.interpreter.wait(call, for: "sleep")
            let timer = call.interpreter.addTimer(after: time, .wake(waiter))
            call.interpreter.setOperation(TimerOperation(call.interpreter, timer), of: waiter)
            return .waits
        },
        LuaFunction(
            "now", .module("sy"), "", returns: "number",
            "Seconds since 1970, UTC, to the millisecond: the time at which the worker last looked."
        ) { call throws(LuaError) in
            call.push(Double(call.interpreter.host.clock.now.unix) / 1000)
        },
        LuaFunction(
            "monotonic", .module("sy"), "", returns: "number",
            """
            Seconds on a clock that never goes back, for measuring how long something takes that waits: the time at which the \
            worker last looked, so that what a script computes takes none of it. `os.clock` measures that.
            """
        ) { call throws(LuaError) in
            call.push(Double(call.interpreter.host.clock.now.monotonic) / 1000)
        },
    ]

    private static let taskFunctions: [LuaFunction] = [
        LuaFunction(
            "spawn", .module("sy"), "fn: fun()",
            """
            Runs a function beside the caller: at once until it first waits, then on its own. It belongs to no \
            exchange and outlives the one that began it; what goes wrong in it is logged. It ends with the configuration that \
            it runs under: in a reload, once no exchange is left of that.
            """
        ) { call throws(LuaError) in
            try call.function(1, "spawn")
            try call.interpreter.spawn(call)
            return .none
        }
    ]

    private static let randomFunctions: [LuaFunction] = [
        LuaFunction(
            "random", .module("sy"), "count: integer", returns: "string",
            "This many unpredictable bytes, fit for keys and tokens; at most 65536."
        ) { call throws(LuaError) in
            let count = try call.integer(1, "random")
            guard 0...65536 ~= count else {
                throw LuaError("random: found \(count), expected 0 to 65536 bytes")
            }
            return call.push(call.interpreter.host.randomBytes(count))
        },
        LuaFunction(
            "uuid", .module("sy"), "", returns: "string", "A random UUID (RFC 9562, version 4)."
        ) { call throws(LuaError) in
            var bytes = call.interpreter.host.randomBytes(16)
            // RFC 9562 §5.4: version and variant are the only bits that are not random.
            bytes[6] = bytes[6] & 0x0f | 0x40
            bytes[8] = bytes[8] & 0x3f | 0x80
            var text: [UInt8] = []
            for (index, byte) in bytes.enumerated() {
                if [4, 6, 8, 10].contains(index) { text.append(UInt8(ascii: "-")) }
                Hexadecimal.append(byte, to: &text)
            }
            return call.push(text)
        },
    ]

    private static let logFunctions: [LuaFunction] = [
        log("debug", .debug), log("info", .info), log("warn", .warn), log("error", .error),
    ]

    private static func log(_ name: String, _ level: LogLevel) -> LuaFunction {
        LuaFunction(
            name, .module("sy.log"), "...: any", joinsArguments: true,
            "Writes a line to the error log, at the level \(level.name): the arguments as `print` shows them."
        ) { call throws(LuaError) in
            call.stack.pushWhere()
            let place = call.stack.text(-1) ?? ""
            call.stack.pop()
            call.interpreter.log(level, place + (call.stack.text(-1) ?? ""))
            return .none
        }
    }

    private static let jsonFunctions: [LuaFunction] = [
        LuaFunction(
            "encode", .library("sy.json"), "value: any", returns: "string",
            """
            The value as JSON (RFC 8259). A table whose keys are positions is an array, any other an object. Integers \
            are written exactly, floats with the fewest digits that read back as the same number, whole ones as `1`. \
            An empty table is `{}`, unless it is a decoded array or came from `sy.json.array`. Errors are a function, a \
            number that is not finite, a string that is not UTF-8, an array that is mostly holes, a table with both \
            `1` and `"1"` as keys, and one that refers to itself or is nested more than 1000 deep; the message says \
            where it stands.
            """
        ) { _ in .none },
        LuaFunction(
            "decode", .library("sy.json"), "text: string", returns: "any",
            """
            What the JSON says (RFC 8259, strictly); `null` is `sy.json.null`, which is no `nil`. Numbers without \
            fraction and exponent that fit 64 bits are integers, others floats, and so is `-0`, which no integer is; of \
            members with the same name the last one stays. Text that is no JSON, has a number beyond what a float can \
            hold, or is nested more than 1000 deep is an error that says at which byte: where the text comes from \
            outside, call it by `pcall`.
            """
        ) { _ in .none },
        LuaFunction(
            "array", .library("sy.json"), "list?: table", returns: "table",
            "The table itself, a new one unless it is given, marked so that it is encoded as `[]` where it is empty. "
                + "What `decode` makes of arrays is marked already. The mark is a metatable: an error for a table that "
                + "has another."
        ) { _ in .none },
        LuaFunction(
            "null", .libraryValue("sy.json"), "", returns: "userdata",
            "The `null` of JSON; true where a condition asks."
        ) { _ in .none },
        LuaFunction(
            "empty_array", .libraryValue("sy.json"), "", returns: "userdata",
            "Is encoded as `[]`. No table: nothing can be put in."
        ) { _ in .none },
    ]
}

/// A sleep that can be cancelled.
private final class TimerOperation: ScriptOperation {
    private unowned let interpreter: Interpreter
    private let timer: ScriptTimers.ID

    init(_ interpreter: Interpreter, _ timer: ScriptTimers.ID) {
        self.interpreter = interpreter
        self.timer = timer
    }

    func cancel() { interpreter.cancelTimer(timer) }
}
