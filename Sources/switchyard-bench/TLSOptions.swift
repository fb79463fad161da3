internal import ArgumentParser

/// Whether and how a load speaks TLS.
struct TLSOptions: ParsableArguments {
    @Flag(help: "Speak TLS. Certificates are not looked at.")
    var tls = false

    @Option(help: "The version of TLS: 1.2 or 1.3.")
    var tlsVersion: String?

    func validate() throws {
        guard tlsVersion == nil || tlsVersion == "1.2" || tlsVersion == "1.3" else {
            throw ValidationError("--tls-version is 1.2 or 1.3.")
        }
    }

    /// `nil` without TLS.
    func make(resumes: Bool = false) throws -> BenchTLS? {
        tls ? try BenchTLS(resumes: resumes, version: tlsVersion) : nil
    }
}
