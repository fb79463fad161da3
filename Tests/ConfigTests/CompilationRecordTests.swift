import Config
import Synchronization
import Testing

@Suite struct CompilationRecordTests {
    @Test(
        "a configuration that is compiled again says the same, and shares nothing that is counted",
        arguments: Fixture.all)
    func sameAgain(_ fixture: Fixture) throws {
        let record = CompilationRecord()
        guard let first = try fixture.compile(record).configuration else { return }
        let second = try #require(try fixture.compile(record).configuration)
        let (one, other) = (ObjectGraph(first), ObjectGraph(second))
        #expect(one.text == other.text)
        #expect(one.objects.count > 1)
        #expect(one.objects.isDisjoint(with: other.objects))
        #expect(one.bytes.isDisjoint(with: other.bytes))
        #expect(first.servers.map(\.index) == Array(first.servers.indices))
    }

    @Test("what the first compilation asked for is not asked again, whatever has changed")
    func changesDoNotGetIn() throws {
        let machine = ChangingMachine()
        @Sendable func ask(_ question: String) -> Bool { machine.ask(question) }
        let files = ConfigurationFiles(
            read: { path in
                let hasChanged = ask("read \(path)")
                switch path {
                case "/etc/root.conf":
                    return .success(
                        Array(
                            """
                            user \(hasChanged ? "other" : "somebody") them;
                            events {}
                            http { include servers/*; plugin p.lua; \(hasChanged ? "server_tokens off;" : "") }
                            """.utf8))
                case "/etc/p.lua": return .success(Array("--! hook request".utf8))
                default:
                    let body = hasChanged ? "two" : "one"
                    return .success(Array("server { listen host.test:80; return 200 \(body); }".utf8))
                }
            },
            glob: { pattern in
                .success(ask("glob \(pattern)") ? ["/etc/servers/a", "/etc/servers/b"] : ["/etc/servers/a"])
            })
        var environment = CompilationEnvironment(prefix: "/", builtinVariables: testVariables) {
            [ask("host \($0)") ? "10.0.0.2" : "10.0.0.1"]
        }
        environment.hasUser = { !ask("user \($0)") }
        environment.hasGroup = { !ask("group \($0)") }
        environment.scripts = ScriptProbe { script, _ in
            let hasChanged = ask("outline \(script.text.file)")
            return .success(ScriptOutline(hooks: hasChanged ? [.open] : [.request]))
        }
        let record = CompilationRecord()
        func compile() throws -> Configuration {
            let result = ConfigurationCompiler.compile(
                rootPath: "/etc/root.conf", environment: record.environment(environment),
                files: record.files(files))
            #expect(result.diagnostics.map(\.description) == [])
            return try #require(result.configuration)
        }
        let first = try compile()
        #expect(
            machine.asked.withLock { $0.sorted() } == [
                "glob /etc/servers/*", "group them", "host host.test", "outline /etc/p.lua",
                "read /etc/p.lua", "read /etc/root.conf", "read /etc/servers/a", "user somebody",
            ])
        machine.hasChanged.withLock { $0 = true }
        let second = try compile()
        #expect(machine.asked.withLock { $0.count } == 8)
        #expect(ObjectGraph(first).text == ObjectGraph(second).text)
    }

    @Test("of two who ask for the first time, both get the answer that came first")
    func asksAtOnce() {
        let record = CompilationRecord()
        let reads = Mutex(0)
        let slow = Mutex<ConfigurationFiles?>(nil)
        let files = record.files(
            ConfigurationFiles(
                read: { path in
                    let number = reads.withLock { reads in
                        reads += 1
                        return reads
                    }
                    // Somebody else asks, and is answered, while the machine is at the first answer.
                    if number == 1 { _ = slow.withLock { $0 }?.read(path) }
                    return .success([UInt8(number)])
                },
                glob: { _ in .success([]) }))
        slow.withLock { $0 = files }
        #expect(files.read("f") == .success([2]))
        #expect(files.read("f") == .success([2]))
        #expect(reads.withLock { $0 } == 2)
    }
}

/// What is asked, and whether the answers are others by now.
private final class ChangingMachine: Sendable {
    let asked = Mutex<[String]>([])
    let hasChanged = Mutex(false)

    func ask(_ question: String) -> Bool {
        asked.withLock { $0.append(question) }
        return hasChanged.withLock { $0 }
    }
}

/// All that is reachable from a value, as text in which nothing depends on where it is in memory or in what order tables
/// keep their entries; and what in it threads would count references to.
private struct ObjectGraph {
    private(set) var text = ""
    private(set) var objects: Set<ObjectIdentifier> = []
    /// Where arrays of bytes have theirs.
    private(set) var bytes: Set<UInt> = []
    /// By identity, in the order in which they were met.
    private var numbers: [ObjectIdentifier: Int] = [:]

    init(_ value: Any) {
        text = render(value)
    }

    private mutating func render(_ value: Any) -> String {
        if let script = value as? ScriptText {
            // Read when an interpreter is made, and shared with the file as it was read.
            return "\(script)"
        }
        if let array = value as? [UInt8] {
            // Compared only.
            let place = unsafe array.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
            if !array.isEmpty { bytes.insert(place) }
            return "\(array)"
        }
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .class:
            let object = value as AnyObject
            let identity = ObjectIdentifier(object)
            if let number = numbers[identity] { return "#\(number)" }
            numbers[identity] = numbers.count
            objects.insert(identity)
            return "#\(numbers.count) \(mirror.subjectType) " + children(of: mirror)
        case .dictionary, .set:
            var entries: [(key: String, value: Any?)] = mirror.children.map { child in
                let pair = Array(Mirror(reflecting: child.value).children)
                guard mirror.displayStyle == .dictionary, pair.count == 2 else {
                    return (render(child.value), nil)
                }
                return (render(pair[0].value), pair[1].value)
            }
            entries.sort { $0.key < $1.key }
            var lines: [String] = []
            for entry in entries { lines.append(entry.key + (entry.value.map { ": " + render($0) } ?? "")) }
            return "{" + lines.joined(separator: ", ") + "}"
        case .enum: return mirror.children.isEmpty ? "\(value)" : children(of: mirror)
        case .none where mirror.children.isEmpty: return Self.isAddress(value) ? "address" : "\(value)"
        default: return mirror.children.isEmpty ? "\(value)" : children(of: mirror)
        }
    }

    private mutating func children(of mirror: Mirror) -> String {
        var parts: [String] = []
        for child in mirror.children { parts.append("\(child.label ?? "-"): \(render(child.value))") }
        return "(" + parts.joined(separator: ", ") + ")"
    }

    private static func isAddress(_ value: Any) -> Bool {
        "\(type(of: value))".contains("Pointer")
    }
}
