internal import EventLoop
internal import TLS

/// TLS of a load's connections. Certificates are not looked at.
final class BenchTLS {
    enum Progress {
        case established, wantsRead
        case failed(String)
    }

    private let context: TLSContext
    private let scratch = TLSScratch()
    /// Where sessions are to be resumed, the latest.
    private let resumption: TLSResumption?
    /// Handshakes that resumed a session.
    private(set) var resumed = 0

    /// - Throws: what is wrong with the version.
    init(resumes: Bool, version: String?) throws {
        context = try TLSContext(.client)
        switch version {
        case "1.2": context.allow(.tls1_2)
        case "1.3": context.allow(.tls1_3)
        default: context.allow([.tls1_2, .tls1_3])
        }
        resumption = resumes ? TLSResumption() : nil
    }

    /// A session on a channel whose connection is made.
    func begin(on channel: StreamChannel) throws(TLSError) -> TLSSession {
        let session = try TLSSession(
            client: context, descriptor: channel.descriptor, scratch: scratch, name: nil,
            resumption: resumption)
        channel.transport = TLSTransport(session, on: channel)
        return session
    }

    func step(_ session: TLSSession, on channel: StreamChannel) -> Progress {
        switch session.handshake() {
        case .done:
            if session.isResumed { resumed += 1 }
            return .established
        case .wantsRead, .wantsIdentity:
            channel.mayRead = false
            return .wantsRead
        case .failed(let error): return .failed(error.description)
        }
    }
}
