internal import Config
internal import ProxyCore

/// A file of tests: its interpreter, the tests that it defines, and what the one that runs has in hand.
///
/// A test runs to its end in one go. What it does with a proxy has happened when the call returns, since nothing but the
/// test itself makes time pass.
package final class TestScript {
    /// How a test came out.
    package struct Outcome: Sendable {
        /// `nil` when it passed; else what is wrong, with file, line and traceback.
        package var failure: String?
        /// What its proxies have written to their error logs, where it failed.
        package var log: [String] = []
    }

    private struct Test {
        var name: String
        var function: LuaReference
    }

    /// What an object of a test stands for.
    enum Object {
        case proxy(any TestProxy)
        case client(any TestClient)
        case backend(any TestBackend)
        case server(any TestServer)
        case request(any TestRequest)
        case webSocket(any TestWebSocket)
        case socket(any TestSocket)
        case expectation(LuaReference)
    }

    let bench: any TestBench
    private let host: TestScriptHost
    let interpreter: Interpreter
    private var tests: [Test] = []
    private var isLoaded = false
    private var isRunning = false
    /// `string.find`, as the script's own patterns are to be understood.
    private var find: LuaReference?

    /// Of the test that runs.
    private var objects: [Object] = []
    private var proxies: [any TestProxy] = []
    private var functions: [LuaReference] = []
    /// Grows with each test, so that objects that a script keeps refer to nothing afterwards.
    private var generation: UInt32 = 1
    /// What went wrong in a function that the proxy's peers called.
    private var peerFailure: String?

    /// Milliseconds on the CPU that a test may take: one that loops is to be told from one that has much to do.
    package static let timeout = 10_000
    private static let memoryLimit = 512 << 20

    /// Loads a file of tests.
    ///
    /// - Parameters:
    ///   - text: what is in it.
    ///   - name: the file as messages call it.
    ///   - directory: where `require` looks first.
    ///   - timeout: milliseconds on the CPU that a test may take, on a thread that is watched.
    ///   - bench: has what the tests use; it outlives the script.
    /// - Throws: what is wrong with the text, or went wrong while it was run.
    package init(
        _ text: [UInt8], name: String, directory: String, timeout: Int = TestScript.timeout,
        bench: any TestBench
    ) throws(TestFault) {
        self.bench = bench
        host = TestScriptHost(bench)
        var settings = LuaSettings()
        settings.hookTimeout = timeout
        settings.memoryLimit = Self.memoryLimit
        settings.packagePath = LuaSettings.packagePath(";;", under: directory)
        do throws(ScriptFault) {
            interpreter = try Interpreter(
                ScriptSet(settings: settings), host: host, shared: ScriptCommons(),
                bodies: LuaAPI.functions.map(\.boxedBody), tests: LuaAPI.testFunctions)
        } catch {
            throw TestFault(error.message)
        }
        interpreter.tests = self
        try load(text, name)
        isLoaded = true
    }

    deinit { interpreter.shutDown() }

    private func load(_ text: [UInt8], _ name: String) throws(TestFault) {
        let stack = interpreter.mainStack
        let top = stack.top
        defer { stack.top = top }
        stack.pushEnvironment()
        let environment = stack.top
        try compile(Array("return string.find(...)".utf8), environment, "find")
        find = stack.keep()
        try compile(text, environment, name)
        switch interpreter.callTop(.load, script: 0, arguments: { _ in 0 }) {
        case .returned(let call, _): interpreter.giveBack(call)
        case .failed(let message): throw TestFault(message)
        case .waiting(let call):
            interpreter.cancel(call)
            throw TestFault("\(name): a file of tests cannot wait")
        }
    }

    private func compile(_ text: [UInt8], _ environment: Int, _ name: String) throws(TestFault) {
        let stack = interpreter.mainStack
        guard stack.load(text, environment: environment, name: name, line: 1, parameters: nil) else {
            throw TestFault(stack.text(-1) ?? "\(name) cannot be loaded")
        }
    }

    // MARK: Tests

    package var names: [String] { tests.map(\.name) }

    /// Takes the function on top of the stack as a test.
    func add(_ name: String, _ stack: LuaStack) throws(LuaError) {
        guard !isLoaded else { throw LuaError("test: tests are defined by the file, not within a test") }
        guard !tests.contains(where: { $0.name == name }) else {
            throw LuaError("test: there is another test called \"\(name)\"")
        }
        tests.append(Test(name: name, function: stack.keep()))
    }

    package func run(_ index: Int) -> Outcome {
        isRunning = true
        var outcome = Outcome()
        switch interpreter.call(tests[index].function, .test, of: nil, script: 0, arguments: { _ in 0 }) {
        case .returned(let call, _): interpreter.giveBack(call)
        case .failed(let message): outcome.failure = message
        case .waiting(let call): interpreter.cancel(call)
        }
        // What it brought about comes after it, and is seen first where the two are shown.
        if let peerFailure { outcome.failure = peerFailure }
        outcome.failure = outcome.failure.map(Self.readable)
        if outcome.failure != nil { outcome.log = proxies.flatMap { $0.takeErrors() } }
        end()
        return outcome
    }

    /// Leaves out of a traceback what is not the script's, and all of it where the message has the one place itself.
    private static func readable(_ message: String) -> String {
        guard let traceback = message.firstRange(of: "\nstack traceback:") else { return message }
        let frames = message[traceback.upperBound...].split(separator: "\n").filter { frame in
            !frame.hasPrefix("\t[C]:")
        }
        let text = String(message[..<traceback.lowerBound])
        guard frames.count > 1 else { return text }
        return ([text + "\ncalled from:"] + frames.map(String.init)).joined(separator: "\n")
    }

    private func end() {
        isRunning = false
        for proxy in proxies { proxy.end() }
        for case .expectation(let reference) in objects { interpreter.release(reference) }
        for function in functions { interpreter.release(function) }
        proxies = []
        objects = []
        functions = []
        peerFailure = nil
        generation &+= 1
    }

    // MARK: Objects

    /// Only while a test runs: there is nobody to end them elsewhere.
    func checkRunning(_ name: StaticString) throws(LuaError) {
        guard isRunning else { throw LuaError("\(name): can be used in tests only") }
    }

    func add(_ object: Object) -> ObjectHandle {
        if case .proxy(let proxy) = object { proxies.append(proxy) }
        objects.append(object)
        return ObjectHandle(slot: UInt32(objects.count - 1), generation: generation)
    }

    subscript(handle: ObjectHandle) -> Object? {
        guard handle.generation == generation, objects.indices.contains(Int(handle.slot)) else { return nil }
        return objects[Int(handle.slot)]
    }

    /// Keeps the topmost value until the test ends.
    func keepFunction(_ stack: LuaStack) -> LuaReference {
        let function = stack.keep()
        functions.append(function)
        return function
    }

    // MARK: Functions of the test's

    /// Calls a function that one of the proxy's peers is to answer by. `arguments` pushes what it is given and returns
    /// the number of that; `results` reads what it returned, the first at the place it is told, or 0 where there is none.
    ///
    /// - Returns: whether the function returned, and `results` found nothing wrong.
    func call(
        _ function: LuaReference, arguments: (LuaStack) -> Int,
        results: (borrowing LuaCall, Int) throws(LuaError) -> Void
    ) -> Bool {
        switch interpreter.call(function, .test, of: nil, script: 0, arguments: arguments) {
        case .returned(let call, let count):
            defer { interpreter.giveBack(call) }
            let stack = interpreter.stack(of: call)
            do throws(LuaError) {
                let call = LuaCall(interpreter: interpreter, stack: stack)
                try results(call, count > 0 ? stack.top - count + 1 : 0)
                return true
            } catch {
                peerFailed(place(of: function) + error.message)
            }
        case .failed(let message): peerFailed(message)
        case .waiting(let call): interpreter.cancel(call)
        }
        return false
    }

    /// `file:line: `, of where it begins.
    private func place(of function: LuaReference) -> String {
        let stack = interpreter.mainStack
        stack.push(function)
        stack.pushPlace(ofFunction: -1)
        defer { stack.pop(2) }
        return stack.text(-1) ?? ""
    }

    private func peerFailed(_ message: String) { if peerFailure == nil { peerFailure = message } }

    /// Whether a function raises, and what: its message without the traceback.
    func failure(of function: LuaReference) -> String? {
        switch interpreter.call(function, .test, of: nil, script: 0, arguments: { _ in 0 }) {
        case .returned(let call, _): interpreter.giveBack(call)
        case .failed(let message):
            return message.firstRange(of: "\nstack traceback:").map { String(message[..<$0.lowerBound]) }
                ?? message
        case .waiting(let call): interpreter.cancel(call)
        }
        return nil
    }

    /// Whether a text has a Lua pattern in it.
    func matches(_ text: [UInt8], _ pattern: [UInt8], isPlain: Bool) throws(LuaError) -> Bool {
        guard let find else { return false }
        let outcome = interpreter.call(find, .test, of: nil, script: 0) { stack in
            stack.push(text)
            stack.push(pattern)
            stack.push(1)
            stack.push(isPlain)
            return 4
        }
        switch outcome {
        case .returned(let call, let results):
            defer { interpreter.giveBack(call) }
            return results > 0 && interpreter.stack(of: call).kind(-results) != .nil
        case .failed(let message):
            let first = message.split(separator: "\n").first.map(String.init) ?? message
            throw LuaError("malformed pattern: \(first)")
        case .waiting(let call):
            interpreter.cancel(call)
            return false
        }
    }
}

/// The interpreter's view of the bench: tests have no exchanges, timers or connections of their own.
private final class TestScriptHost: WaitlessHost {
    private unowned let bench: any TestBench

    init(_ bench: any TestBench) { self.bench = bench }

    var clock: Clock { bench.clock }
    var hasFakeClock: Bool { true }
    var seed: UInt64 { 1 }
    func randomBytes(_ count: Int) -> [UInt8] { bench.randomBytes(count) }
    func log(_ level: LogLevel, _ text: String, of exchange: Exchange?, under settings: Settings?) {
        bench.write(text)
    }
}
