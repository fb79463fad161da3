internal import Config
internal import TLS

/// Certificates with variables in their names that upstreams are shown, kept for a minute after they were read: a file
/// that has changed meanwhile is seen then, as it is by a reload.
///
/// Confined to a worker's thread.
final class IdentityCache {
    private struct Key: Hashable {
        var certificate: TLSSource
        var key: TLSSource
        var passwords: [[UInt8]]
    }

    private struct Entry {
        var identity: TLSIdentity
        /// In milliseconds of the loop's clock.
        var expiresAt: Int64
    }

    /// Requests may name as many as they like; with more than these, all are read anew.
    private static let maxEntries = 256
    /// Milliseconds.
    private static let validity: Int64 = 60_000

    private var entries: [Key: Entry] = [:]

    /// - Parameters:
    ///   - certificate: without variables.
    ///   - key: likewise.
    ///   - passwords: of the key.
    ///   - now: milliseconds of the loop's clock.
    /// - Returns: the same object for as long as it is the same certificate and key.
    /// - Throws: what is wrong with the files.
    func identity(
        _ certificate: TLSSource, _ key: TLSSource, passwords: [[UInt8]], now: Int64
    ) throws(ConfigDiagnostic) -> TLSIdentity {
        let name = Key(certificate: certificate, key: key, passwords: passwords)
        let known = entries[name]
        if let known, known.expiresAt > now { return known.identity }
        var identity = try TLSFiles.disk.identity(certificate, key, passwords: passwords)
        // Connections that were made with it go on being used.
        if let known, known.identity.isSame(as: identity) { identity = known.identity }
        if entries.count >= Self.maxEntries { entries = [:] }
        entries[name] = Entry(identity: identity, expiresAt: now + Self.validity)
        return identity
    }
}
