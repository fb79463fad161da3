internal import Config
internal import Digest
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import ProxyServer
internal import Wire

/// What the tests of one file run on: makes their proxies, and moves their clocks together.
final class ScriptBench: TestBench {
    /// The file's, under which relative paths are.
    private let directory: String
    private let write: (String) -> Void
    /// Configurations that were loaded.
    private var loaded: [TestSetup: LoadedConfiguration] = [:]
    private var proxies: [ScriptedProxy] = []
    /// Milliseconds that the test which runs has let pass.
    private var elapsed: Int64 = 0
    private var random = RepeatableNumbers(seed: 1)
    let clock = Clock()

    private static let start = Moment(unix: 1_700_000_000_000, monotonic: 1_000_000)

    init(directory: String, write: @escaping (String) -> Void) {
        self.directory = directory
        self.write = write
        begin()
    }

    /// Before each test: what the last one had is gone.
    func begin() {
        proxies = []
        elapsed = 0
        random = RepeatableNumbers(seed: 1)
        clock.advance(to: Self.start)
    }

    func write(_ line: String) { write(line) }
    func fetched(
        _ response: TestMessage, by request: FetchRequest
    ) throws(TestFault) -> Result<FetchResponse, FetchFailure> {
        guard response.status >= 200 || response.status == 101 else {
            throw TestFault("status: found \(response.status), which other responses follow")
        }
        for field in response.fields {
            guard FieldSyntax.isName(field.name.span), FieldSyntax.isValue(field.value.span) else {
                let name = String(decoding: field.name, as: UTF8.self)
                throw TestFault("header \"\(name)\": no server can send such a name or value")
            }
        }
        let isHead = Method.head.equals(request.method)
        var reader = FetchResponseReader(isHead: isHead, maxBody: request.maxBodyBytes)
        let bytes = Array(response.response(isHead: isHead).joined())
        var progress = reader.received(bytes.span)
        if progress == .needsMore { progress = reader.connectionEnded() }
        switch progress {
        case .complete: return .success(reader.response)
        case .failed(let failure):
            switch failure {
            case .tooLarge, .unexpectedStatus: return .failure(failure)
            default: throw TestFault("no server can send that: \(failure.message)")
            }
        case .needsMore: preconditionFailure("a response is over when its connection is")
        }
    }

    func randomBytes(_ count: Int) -> [UInt8] { random.bytes(count) }

    func advance(byMilliseconds milliseconds: Int64, until isOver: () -> Bool) throws(TestFault) {
        guard !proxies.contains(where: \.isRunning) else {
            throw TestFault("advance: no time passes while a backend answers")
        }
        elapsed += milliseconds
        clock.advance(
            to: Moment(unix: Self.start.unix + elapsed, monotonic: Self.start.monotonic + elapsed))
        for proxy in proxies { try proxy.advance(byMilliseconds: milliseconds, until: isOver) }
    }

    func makeProxy(
        _ setup: TestSetup, answeringFetches handler: TestFetchHandler?
    ) throws(TestFault) -> any TestProxy {
        var options = ProxyUnderTest.Options()
        options.prefix = directory
        options.unixTime = Self.start.unix + elapsed
        // Each proxy of a test has numbers of its own.
        options.seed = UInt64(proxies.count + 2)
        options.otherNames = { [TestNames.address(of: $0)] }
        let configuration = try load(setup, options)
        do {
            let proxy = ScriptedProxy(
                try ProxyUnderTest(configuration, options: options), directory: directory,
                listeners: TestListeners(configuration.configuration.listeners))
            if let handler { proxy.answerFetches(handler) }
            proxies.append(proxy)
            proxy.begin()
            return proxy
        } catch {
            throw TestFault("the proxy could not be made: \(error)")
        }
    }

    /// Loads a configuration, or finds it where an earlier test had the same.
    private func load(
        _ setup: TestSetup, _ options: ProxyUnderTest.Options
    ) throws(TestFault) -> LoadedConfiguration {
        if let known = loaded[setup] { return known }
        let origin: ConfigurationSource.Origin =
            if let file = setup.file { .file(file) } else { .text(setup.text, name: setup.name) }
        do throws(LoadFailure) {
            let configuration = try ProxyUnderTest.load(origin, options, LogFiles(inMemory: ()))
            loaded[setup] = configuration
            return configuration
        } catch {
            let errors = error.diagnostics.filter { $0.severity == .error }.map(\.description)
            throw TestFault(errors.joined(separator: "\n"))
        }
    }
}

extension TestSetup {
    /// As messages name the configuration.
    fileprivate var name: String { config == nil ? "proxy" : "config" }

    /// The configuration that it stands for.
    var text: String {
        if let config { return config }
        var pluginDirective = ""
        if let plugin {
            let words = [plugin] + arguments.map { "\($0.name)=\($0.value)" }
            pluginDirective = "plugin " + words.map(Self.quoted).joined(separator: " ") + ";"
        }
        return """
            error_log logs/error.log info; events {}
            http {
                resolver 127.0.0.1;
                map $http_upgrade $connection_upgrade { default upgrade; '' close; }
                \(http)
                server {
                    listen 80;
                    \(server)
                    location / {
                        \(pluginDirective)
                        proxy_pass http://backend;
                        proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection $connection_upgrade;
                        \(location)
                    }
                }
            }
            """
    }

    /// As a configuration has it. The arguments of `plugin` are taken as they are, `$` and all.
    private static func quoted(_ word: String) -> String {
        "\"" + word.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
