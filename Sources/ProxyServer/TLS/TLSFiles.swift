internal import Config
internal import TLS

/// Reads what TLS settings name, and says what is wrong with it in nginx's words.
struct TLSFiles {
    static let disk = TLSFiles(.disk)
    /// What a handshake has a worker read.
    static let whileServing = TLSFiles(.regularFiles)

    private let files: ConfigurationFiles

    init(_ files: ConfigurationFiles) { self.files = files }

    func read(_ source: TLSSource, _ what: String) throws(ConfigDiagnostic) -> [UInt8] {
        switch source.contents {
        case .data(let bytes): return bytes
        case .template: return []
        case .file(let path):
            switch files.read(path) {
            case .success(let bytes): return bytes
            case .failure(let failure):
                throw Self.diagnostic(source, "cannot load \(what) \"\(path)\": \(failure.reason)")
            }
        }
    }

    static func diagnostic(_ source: TLSSource, _ message: String) -> ConfigDiagnostic {
        ConfigDiagnostic(position: source.position, directive: source.directive, message: message)
    }

    /// What is wrong with a certificate and a key together.
    static func mismatch(
        _ error: TLSError, _ pair: (certificate: TLSSource, key: TLSSource)
    ) -> ConfigDiagnostic {
        diagnostic(
            pair.key, "\(error) for certificate \"\(pair.certificate.name)\" and key \"\(pair.key.name)\"")
    }

    /// Runs what takes the contents of `source`.
    func apply(
        _ source: TLSSource, _ what: String, _ body: ([UInt8]) throws(TLSError) -> Void
    ) throws(ConfigDiagnostic) {
        let bytes = try read(source, what)
        do throws(TLSError) {
            try body(bytes)
        } catch {
            throw Self.diagnostic(source, "cannot load \(what) \"\(source.name)\": \(error)")
        }
    }

    static func apply(_ word: TLSWord, _ body: (String) throws(TLSError) -> Void) throws(ConfigDiagnostic) {
        do throws(TLSError) {
            try body(word.text)
        } catch {
            throw ConfigDiagnostic(position: word.position, directive: word.directive, message: "\(error)")
        }
    }

    static func apply(_ commands: [TLSCommand], to context: TLSContext) throws(ConfigDiagnostic) {
        for command in commands {
            try apply(command.value) { value throws(TLSError) in
                try context.apply(command: command.name, value)
            }
        }
    }

    /// One password a line.
    func passwords(_ source: TLSSource?) throws(ConfigDiagnostic) -> [[UInt8]] {
        guard let source else { return [] }
        return try read(source, "password file").split(separator: UInt8(ascii: "\n")).map { line in
            Array(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
        }
    }

    func identity(
        _ certificate: TLSSource, _ key: TLSSource, passwords: [[UInt8]]
    ) throws(ConfigDiagnostic) -> TLSIdentity {
        TLSIdentity(try chain(certificate), try self.key(key, passwords: passwords))
    }

    func chain(_ source: TLSSource) throws(ConfigDiagnostic) -> TLSChain {
        let text = try read(source, "certificate")
        do throws(TLSError) {
            return try TLSChain(text)
        } catch {
            throw Self.diagnostic(source, "cannot load certificate \"\(source.name)\": \(error)")
        }
    }

    func key(_ source: TLSSource, passwords: [[UInt8]]) throws(ConfigDiagnostic) -> TLSPrivateKey {
        let text = try read(source, "certificate key")
        do throws(TLSError) {
            return try TLSPrivateKey(text, passwords: passwords)
        } catch {
            throw Self.diagnostic(source, "cannot load certificate key \"\(source.name)\": \(error)")
        }
    }

    /// `nil` for what is no file, and for one that there is not.
    func stamp(_ source: TLSSource) -> FileStamp? {
        guard case .file(let path) = source.contents else { return nil }
        return files.stamp(path)
    }
}

extension TLSVersions {
    init(_ protocols: TLSProtocols) { self.init(rawValue: protocols.rawValue) }
}

extension TLSSource {
    /// What stands for it once the values of variables are known.
    func rendered(by rendering: (Template) -> [UInt8]) -> TLSSource {
        guard case .template(let template, let directory) = contents else { return self }
        let value = rendering(template)
        let data = Array("data:".utf8)
        var result = self
        if value.starts(with: data) {
            result.contents = .data(Array(value[data.count...]))
        } else {
            let path = String(decoding: value, as: UTF8.self)
            result.contents = .file(
                path.isEmpty || path.hasPrefix("/") || directory.isEmpty ? path : directory + "/" + path)
        }
        return result
    }

    /// What is wrong with a name or a text that was made while the proxy runs.
    var fault: String? {
        switch contents {
        case .file(let path):
            // For the system, the name would end there; and it has no longer ones.
            if path.utf8.contains(0) { return "has NUL in the name of a file" }
            return path.utf8.count < 4096
                ? nil : "is neither PEM nor the name of a file: it is too long for that"
        case .data(let bytes): return bytes.contains(0) ? "has NUL in its text" : nil
        case .template: return nil
        }
    }

    /// A file without a name: nothing is meant.
    var isEmpty: Bool { contents == .file("") }
}
