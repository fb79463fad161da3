import Config
import ProxyCore
import Testing

@testable import LuaHooks

/// A request hook that is about one row of the API, and all that can be seen of it: what it logs, what it waits for,
/// what comes to the metrics page.
struct ModuleCase: Sendable {
    /// The row, as `ModuleCases.name(of:)` calls it.
    let row: String
    let text: String
    let expected: [String]
    /// What the world does while the hook waits.
    let world: @Sendable (ScriptFixture) -> [String]

    init(
        _ row: String, _ text: String, _ expected: [String],
        world: @escaping @Sendable (ScriptFixture) -> [String] = { _ in [] }
    ) {
        self.row = row
        self.text = text
        self.expected = expected
        self.world = world
    }

    func outcome(bodies: [LuaFunction.BoxedBody]? = nil) throws -> [String] {
        var settings = LuaSettings.patient
        settings.sharedDictionaries = [SharedDictionarySettings(name: "d", bytes: 10_000)]
        let script = ScriptText(text: Array(text.utf8), file: "case.lua", line: 1)
        let fixture = try ScriptFixture([.test(.hook(.request, script))], settings: settings, bodies: bodies)
        fixture.isOpenTunnel = true
        let other = OtherWorker(in: fixture.interpreter.shared.tunnels)
        other.open(7, tags: ["far"])
        other.open(8, tags: ["six"], address: Array(repeating: 0, count: 15) + [1], text: "::1")
        other.open(9, tags: ["local"], address: Array("unix:".utf8), text: "unix:")
        let gone = other.open(10, tags: ["gone"])
        fixture.host.printed = { if $0.hasSuffix("ends now") { other.list.remove(gone) } }
        var lines: [String] = []
        if case .waiting = fixture.run() { lines.append("waiting") }
        lines += world(fixture)
        for line in fixture.host.lines {
            let first = line.split(separator: "\n").first.map(String.init) ?? line
            lines.append(first.hasPrefix("[notice] lua: ") ? String(first.dropFirst(14)) : first)
        }
        lines += other.lines()
        var page: [UInt8] = []
        fixture.interpreter.shared.metrics.render(into: &page)
        lines += String(decoding: page, as: UTF8.self).split(separator: "\n").map(String.init)
        if fixture.interpreter.openSockets > 0 { lines.append("sockets: \(fixture.interpreter.openSockets)") }
        if fixture.interpreter.waitingCalls > 0 { lines.append("still waiting") }
        return lines
    }
}
