/// How long certificates and keys are kept whose names have variables. Each that was declared stands for one cache, which
/// levels that inherit it share.
package struct CertificateCaching: Sendable, Hashable {
    /// Of certificates and keys together.
    package var maxElements: Int
    /// Milliseconds after which one that nobody asked for may leave.
    package var inactive: Int
    /// Milliseconds after which a file is looked at again.
    package var valid: Int
    package var declaredAt: SourcePosition

    package init(maxElements: Int, inactive: Int, valid: Int, declaredAt: SourcePosition) {
        self.maxElements = maxElements
        self.inactive = inactive
        self.valid = valid
        self.declaredAt = declaredAt
    }
}

/// What the `ssl_…` directives of a server say.
package struct ServerTLSSettings: Sendable {
    package enum SessionCache: Sendable, Equatable {
        case off, none
        /// In sessions; `nil` for OpenSSL's default.
        case builtin(Int?)
        case shared(Zone)
    }

    /// Something that all workers share: a name, and a size in bytes.
    package struct Zone: Sendable, Equatable {
        package var name: String
        package var size: Int
    }

    /// Which certificates of clients' chains are checked by OCSP.
    package enum StatusCheck: Sendable { case off, on, leaf }

    package enum ClientVerification: Sendable { case off, on, optional, optionalWithoutAuthority }

    /// Pairs, in the order written.
    package var certificates: [TLSSource] = []
    package var keys: [TLSSource] = []
    /// `nil` has those with variables be read in each handshake.
    package var certificateCache: CertificateCaching?
    package var passwordFile: TLSSource?
    package var protocols: TLSProtocols = [.tls1_2, .tls1_3]
    package var ciphers: TLSWord?
    package var prefersServerCiphers = false
    package var commands: [TLSCommand] = []
    /// `nil` leaves OpenSSL's.
    package var curves: TLSWord?
    package var dhParameters: TLSSource?
    package var sessionCache = SessionCache.none
    package var sessionTickets = true
    package var ticketKeys: [TLSSource] = []
    /// Seconds.
    package var sessionTimeout = 300
    /// Bytes of one record.
    package var bufferSize = 16 * 1024
    package var verifyClient = ClientVerification.off
    /// Where that was said.
    package var verifyClientPosition: SourcePosition?
    package var verifyDepth = 1
    package var clientCertificate: TLSSource?
    package var trustedCertificate: TLSSource?
    package var revocationLists: TLSSource?
    package var ocsp = StatusCheck.off
    /// Where that stands.
    package var ocspAt: SourcePosition?
    /// In place of those that certificates name.
    package var ocspResponder: TLSWord?
    package var ocspCache: Zone?
    package var rejectsHandshakes = false
    package var takesEarlyData = false
    /// By `ssl_alpn`, the one that is liked best first; empty for what `http2` says.
    package var applicationProtocols: [TLSWord] = []
    /// A whole path.
    package var keyLog: TLSWord?
    package var stapling = false
    package var staplingFile: TLSSource?
    package var staplingResponder: TLSWord?
    package var verifiesStaple = false
    /// The server has `certificate` hooks, which are asked in each handshake.
    package var asksScripts = false
    /// Where the first `listen … ssl` of the server stands.
    package var listensAt: SourcePosition?

    package init() {}

    /// Whether handshakes for the server can be answered at all.
    package var isUsable: Bool { !certificates.isEmpty || rejectsHandshakes || asksScripts }
}

/// What the `proxy_ssl_…` directives of a location say.
package struct ProxyTLSSettings: Sendable, Hashable {
    /// The name to verify and to send; `nil` for the host of the `proxy_pass`.
    package var name: Template?
    package var sendsServerName = false
    package var verifies = false
    /// What says so; `nil` where they are not verified.
    package var verifyWord: TLSWord?
    package var verifyDepth = 1
    package var trustedCertificate: TLSSource?
    package var revocationLists: TLSSource?
    package var certificate: TLSSource?
    package var key: TLSSource?
    /// `nil` has those with variables be read for each connection.
    package var certificateCache: CertificateCaching?
    package var passwordFile: TLSSource?
    package var protocols: TLSProtocols = [.tls1, .tls1_1, .tls1_2, .tls1_3]
    package var ciphers: TLSWord?
    package var commands: [TLSCommand] = []
    package var reusesSessions = true
    /// A whole path.
    package var keyLog: TLSWord?

    package init() {}
}

package struct TLSProtocols: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let ssl3 = TLSProtocols(rawValue: 1 << 0)
    package static let tls1 = TLSProtocols(rawValue: 1 << 1)
    package static let tls1_1 = TLSProtocols(rawValue: 1 << 2)
    package static let tls1_2 = TLSProtocols(rawValue: 1 << 3)
    package static let tls1_3 = TLSProtocols(rawValue: 1 << 4)
}

/// A value that OpenSSL judges, with its place for the message if it finds fault with it. Equal to others of the same
/// value, wherever they stand.
package struct TLSWord: Sendable, Hashable {
    package var text: String
    package var directive: String
    package var position: SourcePosition

    package init(_ text: String, directive: String, position: SourcePosition) {
        self.text = text
        self.directive = directive
        self.position = position
    }

    package static func == (a: TLSWord, b: TLSWord) -> Bool { a.text == b.text }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// A command of OpenSSL's configuration files.
package struct TLSCommand: Sendable, Hashable {
    package var name: String
    package var value: TLSWord

    package init(name: String, value: TLSWord) {
        self.name = name
        self.value = value
    }
}

/// A file that TLS takes something from, or what would stand in it.
package struct TLSSource: Sendable, Hashable {
    package enum Contents: Sendable, Hashable {
        /// A whole path.
        case file(String)
        /// After `data:`.
        case data([UInt8])
        /// A path, or `data:` and what follows, to be known with the server name. Paths are under `directory`.
        case template(Template, directory: String)
    }

    package var contents: Contents
    package var directive: String
    package var position: SourcePosition

    package init(_ contents: Contents, directive: String, position: SourcePosition) {
        self.contents = contents
        self.directive = directive
        self.position = position
    }

    package var hasVariables: Bool { if case .template = contents { true } else { false } }

    /// As messages name it.
    package var name: String {
        switch contents {
        case .file(let path): path
        case .data(let bytes): "data:" + String(decoding: bytes.prefix(16), as: UTF8.self)
        case .template: "…"
        }
    }

    package static func == (a: TLSSource, b: TLSSource) -> Bool { a.contents == b.contents }
    package func hash(into hasher: inout Hasher) { hasher.combine(contents) }
}
