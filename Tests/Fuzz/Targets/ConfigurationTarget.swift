import Config
import EventLoop
import ProxyCore
import ProxyServer

/// A configuration comes to something that can run or to messages; what can run routes requests.
///
/// The input is a file, and behind lines `@@ NAME` others that it may name.
enum ConfigurationTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        var choices = Choices(input)
        var (text, files) = parts(input)
        if choices.oneIn(16) { text = Array(text.prefix(choices.cut(text.count))) }
        let first = load(text, files)
        switch first {
        case .failure(let failure):
            check(failure.diagnostics.contains { $0.severity == .error }, "it is refused without a word")
        case .success(let loaded):
            check(!loaded.diagnostics.contains { $0.severity == .error }, "it is taken in spite of an error")
            use(loaded)
        }
        guard choices.oneIn(8) else { return }
        switch (first, load(text, files)) {
        case (.success(let one), .success(let other)):
            check(one.diagnostics == other.diagnostics, "the second time it gets other warnings")
        case (.failure(let one), .failure(let other)):
            check(one.diagnostics == other.diagnostics, "the second time it gets other messages")
        default: check(false, "the second time it has another end")
        }
    }

    private static func parts(_ input: [UInt8]) -> (text: [UInt8], files: [String: [UInt8]]) {
        var files: [String: [UInt8]] = ["": []]
        var name = ""
        for line in input.split(separator: 0x0a, omittingEmptySubsequences: false) {
            if line.starts(with: [0x40, 0x40, 0x20]) {
                let path = String(decoding: line.dropFirst(3), as: UTF8.self)
                name = path.split(separator: "/").last.map(String.init) ?? path
                files[name] = []
            } else {
                files[name]? += line + [0x0a]
            }
        }
        return (files.removeValue(forKey: "") ?? [], files)
    }

    private static func load(
        _ text: [UInt8], _ files: [String: [UInt8]]
    ) -> Result<LoadedConfiguration, LoadFailure> {
        let loader = ConfigurationLoader(
            logFiles: LogFiles(inMemory: ()), machine: SealedMachine.with(files: files)
        ) {
            _, _ throws(NameResolver.Failure) in throw .notFound
        }
        var source = ConfigurationSource(.text(text.text, name: "fuzz.conf"), prefix: "/nowhere")
        source.errorLog = .standardError
        return Result { () throws(LoadFailure) in try loader.load(source) }
    }

    private static let heads = [
        "GET /a/b.php?c=d&e HTTP/1.1\r\nHost: a.test\r\nCookie: a=b\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: x.b:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n",
    ].map { Heads.parseRequest([UInt8]($0)).head }

    private static func use(_ loaded: LoadedConfiguration) {
        let configuration = loaded.configuration
        _ = ListenPlan(configuration.listeners)
        let place = RoutedExchange(configuration)
        for listener in configuration.listeners.indices.prefix(3) {
            for head in heads { _ = place.upstream(head, listener: listener) }
        }
    }
}
