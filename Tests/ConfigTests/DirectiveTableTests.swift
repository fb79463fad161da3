import Foundation
import Testing

@testable import Config

@Suite struct DirectiveTableTests {
    @Test("no two rows have both a name and a context in common")
    func rowsAreDistinct() {
        var taken: [String: Contexts] = [:]
        for row in DirectiveTable.rows {
            #expect(taken[row.name, default: []].isDisjoint(with: row.contexts), "\(row.name)")
            taken[row.name, default: []].formUnion(row.contexts)
        }
    }

    @Test("every row says where it stands and what it does, in a sentence")
    func rowsAreDocumented() {
        for row in DirectiveTable.rows {
            #expect(!row.contexts.isEmpty, "\(row.name)")
            #expect(row.note.hasSuffix("."), "\(row.name)")
            #expect(!row.syntax.isEmpty || row.arity.range.lowerBound == 0, "\(row.name)")
        }
    }

    @Test("no directive is both supported and named as unsupported")
    func foreignDirectivesAreForeign() {
        #expect(DirectiveTable.names.filter { ForeignDirectives.contains($0) } == [])
    }

    @Test("what a message for those who come from elsewhere names is there")
    func remediesAreThere() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../..")
        var messages = ForeignDirectives.names.compactMap { ForeignDirectives.message(for: $0) }
        messages += OtherProgramsDirectives.remedies + DirectiveTable.rows.map(\.note)
        let named = messages.flatMap { message in
            message.matches(of: /(?:examples|docs)\/\w+\.\w+/).map { String($0.output) }
        }
        #expect(named.contains("examples/mirror.lua"))
        for file in Set(named) {
            #expect(FileManager.default.fileExists(atPath: root.appending(path: file).path), "\(file)")
        }
    }

    @Test("what a directive's documentation calls the default is what holds without it")
    func defaultsHold() throws {
        let plain = try settings("")
        for row in DirectiveTable.rows where row.kind == .applied && row.contexts.contains(.location) {
            guard !row.defaultValue.isEmpty, row.name != "access_log", row.name != "error_log",
                row.name != "proxy_redirect", row.name != "proxy_ssl_name", row.name != "proxy_ssl_ciphers"
            else { continue }
            let text = try settings("\(row.name) \(row.defaultValue);")
            #expect(text == plain, "\(row.name) \(row.defaultValue)")
        }
    }

    private func settings(_ directive: String) throws -> String {
        let (configuration, diagnostics) = Configuration.parse(
            "http { server { location / { \(directive) } } }", builtinVariables: testVariables)
        #expect(diagnostics.map(\.description) == [])
        let location = try #require(configuration?.listeners.first?.defaultServer.locations.prefixes.first)
        var values = location.settings.values
        // Sets print in any order.
        values.proxyHiddenHeaders = []
        values.types = [:]
        return "\(values)"
    }

    @Test("the reference has a line for each row")
    func documentsRows() {
        let lines = DirectiveTable.markdown.split(separator: "\n")
        for row in DirectiveTable.rows {
            #expect(lines.contains { $0.hasPrefix("| `\(row.name)` |") }, "\(row.name)")
        }
        #expect(lines.contains { $0.contains("on \\| off") })
        #expect(
            lines.filter { !$0.hasPrefix("|") } == [
                "Accepted in their places, whatever their values, and without effect:"
            ])
    }
}
