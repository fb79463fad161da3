/// A finished location on its way into the table of its level.
struct LocationDraft {
    var location: Location
    /// The URI or regular expression as written, for messages.
    var name: Word
}

extension LocationTable {
    /// Sorts a level's locations for lookup; a second one of the same kind and name is reported.
    init(_ drafts: [LocationDraft], reportingTo compilation: Compilation) {
        self.init()
        var prefixes: [[UInt8]: Location] = [:]
        var order: [[UInt8]] = []
        for draft in drafts {
            var former: Location?
            switch draft.location.matcher {
            case .exact(let uri):
                former = exact[uri]
                exact[uri] = former ?? draft.location
            case .prefix(let uri, _):
                former = prefixes[uri]
                prefixes[uri] = former ?? draft.location
                if former == nil { order.append(uri) }
            case .regex: regexes.append(draft.location)
            case .server, .named, .ifBlock, .limitExcept: break
            }
            if let former {
                compilation.report(
                    ConfigDiagnostic(
                        position: draft.name.position, directive: "location",
                        message: "duplicate location \"\(draft.name.text)\", first found at \(former.source)")
                )
            }
        }
        // The sort is stable: those of one length stay in the order written.
        self.prefixes = order.sorted { $0.count > $1.count }.compactMap { prefixes[$0] }
    }
}
