import COpenSSL
import Glibc
import Testing

@testable import TLS

@Suite("sessions of TLS")
struct TLSSessionTests {
    @Test("both sides agree, and bytes go both ways", arguments: [TLSVersions.tls1_2, .tls1_3])
    func agreement(versions: TLSVersions) throws {
        let pair = try SessionPair(
            server: SessionPair.serverContext {
                $0.allow(versions)
                $0.offer([Array("h2".utf8), Array("http/1.1".utf8)])
            },
            client: SessionPair.clientContext { $0.offer([Array("http/1.1".utf8), Array("h2".utf8)]) },
            name: "one.example")
        #expect(pair.shakeHands() == (.done, .done))
        for session in [pair.client, pair.server] {
            #expect(session.isEstablished)
            #expect(session.version == (versions == .tls1_2 ? "TLSv1.2" : "TLSv1.3"))
            #expect(!session.cipher.isEmpty)
            #expect(session.applicationProtocol == Array("h2".utf8))
            #expect(!session.isResumed)
        }
        #expect(pair.client.verification == .passed)
        #expect(pair.client.peerCertificateIs(for: "one.example"))
        #expect(pair.client.peerCertificateIs(for: "127.0.0.1"))
        #expect(!pair.client.peerCertificateIs(for: "two.example"))
        #expect(pair.client.peerCertificate(.subject) == Array("CN=one.example,O=Tests".utf8))
        #expect(pair.server.verification == .none)
        #expect(pair.server.offeredCiphers.contains("TLS_AES_256_GCM_SHA384:"))
        #expect(pair.server.offeredGroups.contains("prime256v1"))

        #expect(SessionPair.write(pair.client, Array("hello".utf8)) == 5)
        #expect(SessionPair.read(pair.server).bytes == Array("hello".utf8))
        #expect(SessionPair.read(pair.server).result == .wouldBlock)
        #expect(!pair.server.mayHoldMore)
        #expect(SessionPair.write(pair.server, Array("to you".utf8)) == 6)
        #expect(SessionPair.read(pair.client).bytes == Array("to you".utf8))
    }

    @Test("three pieces become one record and one call")
    func gathering() throws {
        let pair = try SessionPair()
        pair.shakeHands()
        _ = SessionPair.read(pair.client)  // tickets
        let (a, b, c) = (Array("one ".utf8), Array("two ".utf8), Array("three".utf8))
        #expect(pair.server.write(a.span, b.span, c.span) == 13)
        var raw = [UInt8](repeating: 0, count: 1000)
        let count = unsafe recv(pair.clientSocket, &raw, raw.count, Int32(MSG_PEEK))
        // A header of five bytes, a byte for the type of content, a tag of 16.
        #expect(count == 13 + 5 + 1 + 16)
        #expect(SessionPair.read(pair.client).bytes == Array("one two three".utf8))
    }

    @Test(
        "what the socket does not take counts as not taken, and comes out once",
        arguments: [1, 7, 4096, 100_000])
    func backpressure(piece: Int) throws {
        let pair = try SessionPair(buffer: 8192)
        pair.shakeHands()
        let sent = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
        var start = 0
        var received: [UInt8] = []
        var turns = 0
        var wasRefused = false
        while received.count < sent.count, turns < 100_000 {
            turns += 1
            if start < sent.count {
                // As an owner that keeps what was not taken and adds to it.
                let end = min(sent.count, start + max(piece, 60_000))
                let rest = sent.span.extracting(start..<end)
                let first = min(piece, rest.count)
                let count = pair.server.write(
                    rest.extracting(..<first), rest.extracting(first...), Span())
                #expect(count >= 0)
                if count < rest.count { wasRefused = true }
                start += max(0, count)
            }
            // Whatever else happens on the connection may send what waits, too.
            if turns % 3 == 0 { #expect(pair.server.flush()) }
            received += SessionPair.read(pair.client, room: 5000 + turns % 3000).bytes
        }
        #expect(wasRefused)
        #expect(received == sent)
        #expect(!pair.server.hasUnsent)
    }

    @Test("records of the size that was set")
    func recordSize() throws {
        let pair = try SessionPair(server: SessionPair.serverContext { $0.setRecordSize(1000) })
        pair.shakeHands()
        _ = SessionPair.read(pair.client)
        #expect(SessionPair.write(pair.server, [UInt8](repeating: 7, count: 2500)) == 2500)
        var raw = [UInt8](repeating: 0, count: 5000)
        let count = unsafe recv(pair.clientSocket, &raw, raw.count, Int32(MSG_PEEK))
        #expect(count == 2500 + 3 * 22)
    }

    // MARK: Ends

    @Test("a proper end is told from one that is not")
    func ends() throws {
        let pair = try SessionPair()
        pair.shakeHands()
        #expect(SessionPair.write(pair.client, [1, 2, 3]) == 3)
        pair.client.sendEnd()
        pair.client.sendEnd()
        #expect(SessionPair.read(pair.server).bytes == [1, 2, 3])
        #expect(SessionPair.read(pair.server).result == .end(isProper: true))
        // The other direction goes on.
        #expect(SessionPair.write(pair.server, [4]) == 1)

        let cut = try SessionPair()
        cut.shakeHands()
        _ = SessionPair.read(cut.client)  // tickets, without which closing would be a reset
        #expect(SessionPair.write(cut.client, [1, 2, 3]) == 3)
        cut.closeClient()
        #expect(SessionPair.read(cut.server).bytes == [1, 2, 3])
        #expect(SessionPair.read(cut.server).result == .end(isProper: false))
        #expect(SessionPair.read(cut.server).result == .end(isProper: false))
        #expect(SessionPair.write(cut.server, [1]) == -Int(EPIPE))
    }

    @Test("garbage fails the session, and says why")
    func garbage() throws {
        let pair = try SessionPair()
        pair.shakeHands()
        var junk = Array("GET / HTTP/1.1\r\n\r\n".utf8)
        unsafe #expect(send(pair.clientSocket, &junk, junk.count, 0) == junk.count)
        guard case .failed = SessionPair.read(pair.server).result else {
            Issue.record("garbage was read")
            return
        }
        #expect(pair.server.failure != nil)
        #expect(SessionPair.read(pair.server).result == .failed(EPROTO))
        #expect(SessionPair.write(pair.server, [1]) == -Int(EPROTO))
    }

    @Test(
        "keys may be renewed, but not for ever",
        arguments: [SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED])
    func keyUpdates(_ kind: Int32) throws {
        func renew(_ pair: SessionPair, _ count: Int) {
            for _ in 0..<count {
                unsafe pair.client.withHandle { ssl in
                    unsafe #expect(SSL_key_update(ssl, kind) == 1)
                    unsafe #expect(SSL_do_handshake(ssl) == 1)
                }
            }
        }
        let pair = try SessionPair(
            server: SessionPair.serverContext { $0.allow(.tls1_3) },
            client: SessionPair.clientContext { $0.allow(.tls1_3) })
        pair.shakeHands()
        renew(pair, 20)
        #expect(SessionPair.write(pair.client, [1, 2]) == 2)
        #expect(SessionPair.read(pair.server).bytes == [1, 2])
        #expect(SessionPair.write(pair.server, [3]) == 1)
        #expect(SessionPair.read(pair.client).bytes == [3])
        renew(pair, 100)
        #expect(SessionPair.read(pair.server).result == .failed(EPROTO))
        #expect(pair.server.failure == TLSSession.flooded)
        #expect(SessionPair.read(pair.server).result == .failed(EPROTO))
        #expect(SessionPair.write(pair.server, [1]) == -Int(EPROTO))
    }

    @Test("a handshake with garbage, with nobody, and without anything in common")
    func failedHandshakes() throws {
        let noise = try SessionPair()
        var junk = [UInt8](repeating: 0x16, count: 100)
        unsafe #expect(send(noise.clientSocket, &junk, junk.count, 0) == 100)
        guard case .failed(let error) = noise.server.handshake() else {
            Issue.record("garbage was taken for a handshake")
            return
        }
        #expect(error.description.hasPrefix("SSL_do_handshake() failed (SSL: error:"))

        let gone = try SessionPair()
        gone.closeClient()
        guard case .failed(let ended) = gone.server.handshake() else {
            Issue.record("nobody was taken for a client")
            return
        }
        #expect(ended.reason == TLSSession.peerClosed)

        let apart = try SessionPair(
            server: SessionPair.serverContext { $0.allow(.tls1_2) },
            client: SessionPair.clientContext { $0.allow(.tls1_3) })
        let steps = apart.shakeHands()
        guard case .failed(let client) = steps.client, case .failed(let server) = steps.server else {
            Issue.record("the handshake succeeded")
            return
        }
        #expect(server.reason == "unsupported protocol")
        #expect(client.reason == "tlsv1 alert protocol version")
    }

    @Test("no protocol in common ends the handshake")
    func noCommonProtocol() throws {
        let pair = try SessionPair(
            server: SessionPair.serverContext { $0.offer([Array("h2".utf8)]) },
            client: SessionPair.clientContext { $0.offer([Array("http/1.1".utf8)]) })
        guard case .failed(let error) = pair.shakeHands().server else {
            Issue.record("the handshake succeeded")
            return
        }
        #expect(error.reason == "no application protocol")
    }

    // MARK: Names and identities

    @Test("the first message is shown to the policy, whose context holds")
    func policy() throws {
        let other = try TLSContext(.server)
        try other.use(TestCertificates.shared.identity("two"))
        let policy = Policy(answer: other)
        let pair = try SessionPair(
            client: SessionPair.clientContext { $0.offer([Array("x".utf8)]) }, name: "Two.Example",
            policy: policy)
        #expect(pair.shakeHands() == (.done, .done))
        let hello = try #require(policy.hello)
        #expect(hello.serverName == Array("Two.Example".utf8))
        #expect(hello.protocols == [Array("x".utf8)])
        #expect(hello.versions.contains(0x0304))
        #expect(hello.ciphers.contains(0x1301))
        #expect(pair.client.peerCertificate(.subject) == Array("CN=two.example,O=Tests".utf8))
        #expect(pair.server.context === other)

        let rejecting = try SessionPair(name: "x.example", policy: Policy(answer: nil))
        guard case .failed(let error) = rejecting.shakeHands().client else {
            Issue.record("the handshake succeeded")
            return
        }
        #expect(error.reason == "tlsv1 unrecognized name")
    }

    @Test("a handshake waits for its identity", arguments: [TLSVersions.tls1_2, .tls1_3])
    func lateIdentity(versions: TLSVersions) throws {
        let context = try TLSContext(.server)
        context.allow(versions)
        context.askForIdentity()
        let pair = try SessionPair(server: context)
        var wishes = 0
        let steps = pair.shakeHands { session in
            wishes += 1
            #expect(session.handshake() == .wantsIdentity)
            #expect(throws: Never.self) {
                try session.use(TestCertificates.shared.identity("two"), isOnly: true)
            }
        }
        #expect(steps == (.done, .done))
        #expect(wishes == 1)
        #expect(pair.client.peerCertificate(.subject) == Array("CN=two.example,O=Tests".utf8))

        let rejected = try SessionPair(server: context)
        guard case .failed = rejected.shakeHands(onWish: { $0.rejectIdentity() }).server else {
            Issue.record("the handshake succeeded")
            return
        }
    }

    @Test("client certificates are asked for, and judged afterwards")
    func clientCertificates() throws {
        func pair(_ identity: String?, trusting trusted: String = "two") throws -> SessionPair {
            let pair = try SessionPair(
                server: SessionPair.serverContext {
                    try $0.trust(TestCertificates.shared.file("\(trusted).crt"), tellsClients: true)
                    $0.verifyClients(.required, depth: 1)
                },
                client: SessionPair.clientContext {
                    if let identity { try $0.use(TestCertificates.shared.identity(identity)) }
                })
            #expect(pair.shakeHands() == (.done, .done))
            return pair
        }
        #expect(try pair("two").server.verification == .passed)
        #expect(try pair(nil).server.verification == .none)
        guard case .unknownAuthority(let code, _) = try pair("one").server.verification else {
            Issue.record("a stranger passed")
            return
        }
        #expect(code == 18)
    }

    // MARK: Resumption

    @Test(
        "a client comes back by ticket or by identifier", arguments: [TLSVersions.tls1_2, .tls1_3],
        [true, false])
    func resumption(versions: TLSVersions, byTicket: Bool) throws {
        let cache = TLSSessionCache(size: 1 << 20)
        let server = try SessionPair.serverContext {
            $0.allow(versions)
            $0.setSessions(
                byTicket ? .none : .shared(cache), timeout: 300, ticketKeys: TLSTicketKeys(),
                givesTickets: byTicket, contextName: [1])
        }
        let client = try SessionPair.clientContext()
        let resumption = TLSResumption()
        for round in 0..<3 {
            let pair = try SessionPair(server: server, client: client, resumption: resumption)
            #expect(pair.shakeHands() == (.done, .done))
            _ = SessionPair.read(pair.client)  // tickets of TLS 1.3
            #expect(pair.client.isResumed == (round > 0))
            #expect(pair.server.isResumed == (round > 0))
            #expect(!resumption.isEmpty)
        }
        #expect(byTicket == (cache.count == 0))
        resumption.forget()
        #expect(resumption.isEmpty)
    }

    @Test(
        "a context that keeps sessions itself goes away with them", arguments: [TLSVersions.tls1_2, .tls1_3])
    func ownCache(versions: TLSVersions) throws {
        let resumption = TLSResumption()
        let client = try SessionPair.clientContext()
        weak var gone: TLSContext?
        do {
            let server = try SessionPair.serverContext {
                $0.allow(versions)
                $0.setSessions(
                    .builtin(100), timeout: 300, ticketKeys: nil, givesTickets: false, contextName: [1])
            }
            gone = server
            for round in 0..<2 {
                let pair = try SessionPair(server: server, client: client, resumption: resumption)
                #expect(pair.shakeHands() == (.done, .done))
                _ = SessionPair.read(pair.client)
                #expect(pair.server.isResumed == (round > 0))
            }
        }
        #expect(gone == nil)
    }

    @Test("a session is not resumed under another context's name, or with another's ticket key")
    func foreignSessions() throws {
        let keys = TLSTicketKeys()
        let resumption = TLSResumption()
        let client = try SessionPair.clientContext()
        for (name, keys) in [([UInt8(1)], keys), ([2], keys), ([2], TLSTicketKeys())] {
            let server = try SessionPair.serverContext {
                $0.allow(.tls1_2)
                $0.setSessions(.none, timeout: 300, ticketKeys: keys, contextName: name)
            }
            let pair = try SessionPair(server: server, client: client, resumption: resumption)
            #expect(pair.shakeHands() == (.done, .done))
            #expect(!pair.server.isResumed)
        }
    }
}
