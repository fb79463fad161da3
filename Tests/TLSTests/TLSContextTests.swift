import TLS
import Testing

@Suite("contexts of TLS")
struct TLSContextTests {
    private let files = TestCertificates.shared

    @Test("what is wrong with an identity is said")
    func identities() throws {
        let certificate = try files.file("one.crt")
        let key = try files.file("one.key")
        func fault(_ certificates: [UInt8], _ key: [UInt8], _ passwords: [[UInt8]] = []) -> String? {
            do throws(TLSIdentity.Fault) {
                _ = try TLSIdentity(certificates: certificates, key: key, passwords: passwords)
                return nil
            } catch {
                switch error {
                case .certificate(let error): return "certificate: \(error.reason)"
                case .key(let error): return "key: \(error.reason)"
                }
            }
        }
        #expect(fault(certificate, key) == nil)
        #expect(fault([], key) == "certificate: no start line")
        #expect(fault(Array("junk".utf8), key) == "certificate: no start line")
        #expect(fault(certificate, [])?.hasPrefix("key: ") == true)
        #expect(
            fault(certificate + Array("-----BEGIN CERTIFICATE-----\nxx\n".utf8), key)?.hasPrefix(
                "certificate: ") == true)
        let locked = try files.file("locked.key")
        #expect(fault(certificate, locked)?.hasPrefix("key: ") == true)
        #expect(fault(certificate, locked, [Array("wrong".utf8)])?.hasPrefix("key: ") == true)
        #expect(fault(certificate, locked, [Array("wrong".utf8), Array("secret".utf8)]) == nil)
    }

    @Test("what is encrypted though it is no key is refused, and nobody is asked for a password")
    func encrypted() throws {
        let (certificate, key) = try (files.file("one.crt"), files.file("one.key"))
        func encrypted(_ type: String) -> [UInt8] {
            let header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF"
            return Array("-----BEGIN \(type)-----\n\(header)\n\nAAAA\n-----END \(type)-----\n".utf8)
        }
        func details(_ body: () throws -> Void) -> String {
            do {
                try body()
                return "none"
            } catch {
                if case .certificate(let error)? = error as? TLSIdentity.Fault { return error.details }
                return (error as? TLSError)?.details ?? "another"
            }
        }
        let context = try TLSContext(.server)
        let found = [
            details { _ = try TLSIdentity(certificates: encrypted("CERTIFICATE"), key: key) },
            details { _ = try TLSIdentity(certificates: certificate + encrypted("CERTIFICATE"), key: key) },
            details { try context.revoke(encrypted("X509 CRL")) },
            details { try context.setParameters(encrypted("DH PARAMETERS")) },
        ]
        // Whoever asks, and gets no answer, has more to say.
        #expect(found == [String](repeating: "error:04800068:PEM routines::bad password read", count: 4))
    }

    @Test("parameters are read")
    func parameters() throws {
        let context = try TLSContext(.server)
        for name in ["dh.pem", "dhx.pem"] {
            #expect(throws: Never.self, "\(name)") { try context.setParameters(files.file(name)) }
        }
        #expect(throws: TLSError.self) { try context.setParameters(files.file("one.key")) }
    }

    @Test("a key of another certificate is refused")
    func mismatch() throws {
        let identity = try TLSIdentity(certificates: files.file("one.crt"), key: files.file("two.key"))
        #expect(throws: TLSError.self) { try TLSContext(.server).use(identity) }
    }

    @Test("what OpenSSL does not know is refused, with its reason")
    func refusals() throws {
        let context = try TLSContext(.server)
        func reason(_ body: () throws(TLSError) -> Void) -> String {
            do throws(TLSError) {
                try body()
                return ""
            } catch {
                return error.reason
            }
        }
        #expect(reason { () throws(TLSError) in try context.setCiphers("nonsense") } == "no cipher match")
        #expect(reason { () throws(TLSError) in try context.setCiphers("ECDHE+AESGCM") } == "")
        #expect(reason { () throws(TLSError) in try context.setGroups("X25519:P-256") } == "")
        #expect(throws: TLSError.self) { try context.setGroups("nonsense") }
        #expect(throws: TLSError.self) { try context.apply(command: "Nonsense", "on") }
        #expect(throws: Never.self) { try context.apply(command: "Options", "ServerPreference") }
        #expect(throws: TLSError.self) { try context.trust(Array("junk".utf8), tellsClients: false) }
        #expect(throws: TLSError.self) { try context.revoke(Array("junk".utf8)) }
        #expect(throws: TLSError.self) { try context.setParameters(Array("junk".utf8)) }
        #expect(throws: TLSError.self) { try context.setStaple([1, 2, 3]) }
    }
}
