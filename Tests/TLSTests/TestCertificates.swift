import Foundation
import TLS

/// Certificates made with the `openssl` command, once for all tests.
struct TestCertificates: Sendable {
    let directory: URL

    static let shared: TestCertificates = {
        do {
            return try TestCertificates()
        } catch {
            fatalError("no certificates could be made: \(error)")
        }
    }()

    private init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "tls-tests-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        for name in ["one", "two"] {
            try openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                "5",
                "-subj", "/O=Tests/CN=\(name).example", "-addext",
                "subjectAltName=DNS:\(name).example,IP:127.0.0.1",
                "-keyout", "\(name).key", "-out", "\(name).crt")
        }
        // With "one" as its authority.
        try openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "5",
            "-subj", "/O=Tests/CN=leaf.example", "-addext", "basicConstraints=critical,CA:FALSE", "-CA",
            "one.crt", "-CAkey", "one.key", "-keyout", "leaf.key", "-out", "leaf.crt")
        for name in ["leaf", "one"] {
            try openssl("x509", "-in", "\(name).crt", "-noout", "-serial", "-out", "\(name).serial")
        }
        try openssl("pkey", "-in", "one.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
        for (name, type) in [("dh.pem", "DH"), ("dhx.pem", "DHX")] {
            let group = type == "DH" ? "group:ffdhe2048" : "dh_rfc5114:3"
            try openssl("genpkey", "-genparam", "-algorithm", type, "-pkeyopt", group, "-out", name)
        }
    }

    func openssl(_ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        process.currentDirectoryURL = directory
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw CocoaError(.executableRuntimeMismatch) }
    }

    func file(_ name: String) throws -> [UInt8] {
        try Array(Data(contentsOf: directory.appending(path: name)))
    }

    /// In hexadecimal digits.
    func serial(of name: String) throws -> String {
        String(decoding: try file("\(name).serial").dropFirst("serial=".count).dropLast(), as: UTF8.self)
    }

    func identity(_ name: String) throws -> TLSIdentity {
        try TLSIdentity(certificates: file("\(name).crt"), key: file("\(name).key"))
    }
}
