import Foundation
import Testing

@testable import Config

@Suite struct SettingsUseTests {
    /// Of directives that README says are accepted without effect, whose arguments are checked all the same.
    static let unused: Set = ["proxyRequestBuffering", "proxyBusyBuffersSize"]

    @Test("what directives set is read by somebody")
    func settingsAreRead() throws {
        let read = try membersOutsideOfConfig()
        let kinds: [Any] = [
            Settings.Values(), ConnectionSettings(), HTTP2Settings(), WebSocketSettings(), ProcessSettings(),
            ListenOptions(), ServerTLSSettings(), ProxyTLSSettings(),
        ]
        var unread: Set<String> = []
        for settings in kinds {
            for label in Mirror(reflecting: settings).children.compactMap(\.label)
            where !read.contains(label[...]) {
                unread.insert(label)
            }
        }
        #expect(unread == Self.unused)
    }

    /// Every word behind a value and a dot, or in a key path, and where settings are extended every word: `.etag` by itself is
    /// a case of something else. A member of another type counts as read, whoever reads that.
    private func membersOutsideOfConfig() throws -> Set<Substring> {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Sources").standardized
        let files = FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)
        var words: Set<Substring> = []
        while let file = files?.nextObject() as? URL {
            guard file.pathExtension == "swift", !file.pathComponents.contains("Config") else { continue }
            let text = try String(contentsOf: file, encoding: .utf8)
            if text.contains(#/extension \w+Settings\b/#) {
                words.formUnion(text.split { !$0.isLetter && !$0.isNumber })
                continue
            }
            for chain in text.matches(of: #/[\w)\]\\]((?:[?!]?\.\w+)+)/#) {
                words.formUnion(chain.1.split { !$0.isLetter && !$0.isNumber })
            }
        }
        return words
    }
}
