package import Config
internal import ProxyCore

/// A handshake that asks scripts for a certificate.
package final class CertificateRequest {
    /// What the client's first message says.
    package struct Hello: Sendable, Equatable {
        package var serverName: [UInt8]?
        package var protocols: [[UInt8]] = []
        package var versions: [UInt16] = []
        package var ciphers: [UInt16] = []
        package var address: [UInt8] = []
        package var port: UInt16 = 0

        package init() {}
    }

    package enum Decision: Sendable, Equatable {
        /// The server's own.
        case configured
        /// Each is PEM, or an absolute path.
        case identity(certificate: [UInt8], key: [UInt8])
        case rejected(reason: String)
    }

    let hello: Hello
    /// Those of the server.
    let settings: Settings
    private var completion: ((Decision) -> Void)?
    /// The call that waits.
    fileprivate(set) var waitingCall: Int?

    /// `completion` is called once, perhaps before `Interpreter.choose` returns; never once it was cancelled.
    package init(_ hello: Hello, _ settings: Settings, completion: @escaping (Decision) -> Void) {
        self.hello = hello
        self.settings = settings
        self.completion = completion
    }

    fileprivate func end(_ decision: Decision) {
        waitingCall = nil
        let completion = completion
        self.completion = nil
        completion?(decision)
    }

    fileprivate func forget() {
        waitingCall = nil
        completion = nil
    }
}

/// `certificate` hooks: one after the other, until one has a certificate or rejects the handshake.
extension Interpreter {
    package func choose(_ request: CertificateRequest) { advance(request, from: 0) }

    /// The client has gone.
    package func cancel(_ request: CertificateRequest) {
        let call = request.waitingCall
        request.forget()
        if let call { cancel(call) }
    }

    private func advance(_ request: CertificateRequest, from first: Int) {
        let places = hookPlaces(ofPlan: request.settings.values.scriptPlan, .certificate)
        var position = first
        while position < places.count {
            let entry = hookEntries[places.lowerBound + position]
            let outcome = call(
                entry.function, .certificate, of: nil, script: entry.script, under: request.settings
            ) {
                push(request.hello, on: $0)
            }
            if case .waiting(let call) = outcome {
                calls[call].continuation = .certificate(position: position, request)
                request.waitingCall = call
                return
            }
            if let decision = decision(outcome, request, script: entry.script) {
                return request.end(decision)
            }
            position += 1
        }
        request.end(.configured)
    }

    /// A hook that waited has gone on.
    func settleCertificate(
        _ request: CertificateRequest, position: Int, _ outcome: CallOutcome, script: Int
    ) {
        request.waitingCall = nil
        if let decision = decision(outcome, request, script: script) { return request.end(decision) }
        advance(request, from: position + 1)
    }

    private func push(_ hello: CertificateRequest.Hello, on stack: LuaStack) -> Int {
        stack.pushTable(fields: 6)
        if let name = hello.serverName {
            stack.push(name)
            stack.setField("server_name", of: -2)
        }
        stack.push(list: hello.protocols) { stack.push($0) }
        stack.setField("alpn", of: -2)
        stack.push(list: hello.versions.compactMap(Self.versionName)) { stack.push($0) }
        stack.setField("versions", of: -2)
        stack.push(list: hello.ciphers) { stack.push(Int($0)) }
        stack.setField("ciphers", of: -2)
        stack.push(hello.address)
        stack.setField("address", of: -2)
        if hello.port != 0 {
            stack.push(Int(hello.port))
            stack.setField("port", of: -2)
        }
        return 1
    }

    /// As `$ssl_protocol` has them; `nil` for numbers that stand for none.
    private static func versionName(_ number: UInt16) -> String? {
        switch number {
        case 0x0304: "TLSv1.3"
        case 0x0303: "TLSv1.2"
        case 0x0302: "TLSv1.1"
        case 0x0301: "TLSv1"
        default: nil
        }
    }

    /// - Returns: `nil` where the next hook is to be asked.
    private func decision(
        _ outcome: CallOutcome, _ request: CertificateRequest, script: Int
    ) -> CertificateRequest.Decision? {
        switch outcome {
        case .waiting: preconditionFailure("a call that waits has not come to a decision")
        case .failed(let message): return fault(message, request, script)
        case .returned(let call, let results):
            let stack = stack(of: call)
            defer { giveBack(call) }
            guard results > 0 else { return nil }
            let first = stack.top - results + 1
            switch stack.kind(first) {
            case .nil, .none: return nil
            case .boolean where !stack.boolean(first): return .configured
            case .table: break
            default:
                let found = stack.typeName(first)
                return fault(
                    misfit(
                        "found \(found), expected a table, false or nothing", .certificate, script: script),
                    request, script)
            }
            if stack.pushField("reject", of: first) == .string {
                return .rejected(reason: stack.text(-1) ?? "")
            }
            guard stack.pushField("certificate", of: first) == .string, let certificate = stack.bytes(-1),
                stack.pushField("key", of: first) == .string, let key = stack.bytes(-1)
            else {
                return fault(
                    misfit(
                        "found a table without certificate and key, expected both as strings, or reject",
                        .certificate, script: script),
                    request, script)
            }
            return .identity(certificate: certificate, key: key)
        }
    }

    private func fault(
        _ message: String, _ request: CertificateRequest, _ script: Int
    ) -> CertificateRequest.Decision? {
        report(message, "certificate hook", script: script, of: nil, under: request.settings)
        if request.settings.values.luaFailure == .open { return nil }
        return .rejected(reason: "a certificate hook failed")
    }
}
