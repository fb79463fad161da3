/// Versions of the protocol.
package struct TLSVersions: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let ssl3 = TLSVersions(rawValue: 1 << 0)
    package static let tls1 = TLSVersions(rawValue: 1 << 1)
    package static let tls1_1 = TLSVersions(rawValue: 1 << 2)
    package static let tls1_2 = TLSVersions(rawValue: 1 << 3)
    package static let tls1_3 = TLSVersions(rawValue: 1 << 4)

    /// In the order of the options that OpenSSL has for them.
    static let inOrder: [TLSVersions] = [.ssl3, .tls1, .tls1_1, .tls1_2, .tls1_3]
}
