/// The kinds of block in which a directive may stand.
package struct Contexts: OptionSet, Sendable, Hashable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let main = Contexts(rawValue: 1 << 0)
    package static let events = Contexts(rawValue: 1 << 1)
    package static let http = Contexts(rawValue: 1 << 2)
    package static let server = Contexts(rawValue: 1 << 3)
    package static let location = Contexts(rawValue: 1 << 4)
    package static let ifInServer = Contexts(rawValue: 1 << 5)
    package static let ifInLocation = Contexts(rawValue: 1 << 6)
    package static let limitExcept = Contexts(rawValue: 1 << 7)
    package static let upstream = Contexts(rawValue: 1 << 8)

    static let all: Contexts = [
        .main, .events, .http, .server, .location, .ifInServer, .ifInLocation, .limitExcept, .upstream,
    ]
    /// Where most of the settings may stand.
    static let levels: Contexts = [.http, .server, .location]
    static let levelsAndIf: Contexts = [.http, .server, .location, .ifInLocation]
    static let httpAndServer: Contexts = [.http, .server]

    private static let names: [(context: Contexts, name: String)] = [
        (.main, "main"), (.events, "events"), (.http, "http"), (.server, "server"), (.location, "location"),
        (.ifInServer, "if in server"), (.ifInLocation, "if in location"), (.limitExcept, "limit_except"),
        (.upstream, "upstream"),
    ]

    /// `http, server, location`
    package var description: String {
        self == .all
            ? "anywhere" : Contexts.names.filter { contains($0.context) }.map(\.name).joined(separator: ", ")
    }
}
