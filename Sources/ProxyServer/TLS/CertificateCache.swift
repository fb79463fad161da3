internal import Config
internal import TLS

/// Certificates and keys that were read while requests and handshakes needed them: nginx's `ssl_certificate_cache`.
///
/// Confined to a worker's thread.
final class CertificateCache {
    private struct Name: Hashable {
        var contents: TLSSource.Contents
        /// `nil` for a certificate.
        var passwords: [[UInt8]]?
    }

    private enum Part {
        case chain(TLSChain)
        case key(TLSPrivateKey)
    }

    private struct Entry {
        var part: Part
        /// `nil` for data.
        var stamp: FileStamp?
        /// When the file was last looked at.
        var seenAt: Int64
    }

    private let rule: CertificateCaching
    private let files: TLSFiles
    private var entries = RecentlyUsed<Name, Entry>()

    init(_ rule: CertificateCaching, files: TLSFiles = .whileServing) {
        self.rule = rule
        self.files = files
    }

    var count: Int { entries.count }

    /// - Parameters:
    ///   - certificate: without variables.
    ///   - key: likewise.
    ///   - passwords: of the key.
    ///   - now: in milliseconds, on a clock that does not go back.
    /// - Returns: the two together.
    /// - Throws: what is wrong with the files.
    func identity(
        _ certificate: TLSSource, _ key: TLSSource, passwords: [[UInt8]], now: Int64
    ) throws(ConfigDiagnostic) -> TLSIdentity {
        let files = files
        let chain = try part(certificate, passwords: nil, now: now) { () throws(ConfigDiagnostic) in
            .chain(try files.chain(certificate))
        }
        let privateKey = try part(key, passwords: passwords, now: now) { () throws(ConfigDiagnostic) in
            .key(try files.key(key, passwords: passwords))
        }
        guard case .chain(let chain) = chain, case .key(let privateKey) = privateKey else {
            preconditionFailure("a certificate is kept under a key's name")
        }
        return TLSIdentity(chain, privateKey)
    }

    private func part(
        _ source: TLSSource, passwords: [[UInt8]]?, now: Int64, load: () throws(ConfigDiagnostic) -> Part
    ) throws(ConfigDiagnostic) -> Part {
        let name = Name(contents: source.contents, passwords: passwords)
        if var known = entries.use(name, now: now) {
            if isGood(&known, source, now: now) {
                entries.put(known, at: name, now: now)
                dropInactive(now: now)
                return known.part
            }
            entries.remove(name)
        }
        // The stamp first: a file that changes while it is read is read again.
        let stamp = files.stamp(source)
        let part = try load()
        if entries.count >= rule.maxElements { entries.removeOldest() }
        entries.put(Entry(part: part, stamp: stamp, seenAt: now), at: name, now: now)
        dropInactive(now: now)
        return part
    }

    private func isGood(_ entry: inout Entry, _ source: TLSSource, now: Int64) -> Bool {
        guard case .file = source.contents, now - entry.seenAt > Int64(rule.valid) else { return true }
        guard let stamp = files.stamp(source), stamp == entry.stamp else { return false }
        entry.seenAt = now
        return true
    }

    /// As nginx, two at a time.
    private func dropInactive(now: Int64) {
        for _ in 0..<2 {
            guard let use = entries.oldestUse, now - use > Int64(rule.inactive) else { return }
            entries.removeOldest()
        }
    }
}
