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
        for draft in drafts {
            var former: Location?
            switch draft.location.matcher {
            case .exact(let uri):
                former = exact[uri]
                exact[uri] = former ?? draft.location
            case .prefix(let uri, _):
                former = prefixes[uri]
                prefixes[uri] = former ?? draft.location
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
        self.prefixes = prefixes.sorted { $0.key.count > $1.key.count }.map(\.value)
    }
}
