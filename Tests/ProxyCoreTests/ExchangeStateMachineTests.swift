import Testing

@testable import ProxyCore

@Suite("The exchange's machine")
struct ExchangeStateMachineTests {
    private func machine(
        hasBody: Bool = false, isIdempotent: Bool = true, asksForUpgrade: Bool = false, reused: Bool = false
    ) -> ExchangeStateMachine {
        var machine = ExchangeStateMachine(
            hasBody: hasBody, isIdempotent: isIdempotent, asksForUpgrade: asksForUpgrade)
        machine.connected(reused: reused)
        return machine
    }

    @Test("a body of which something was dropped is not sent again")
    func droppedBytes() {
        var machine = ExchangeStateMachine(hasBody: true, isIdempotent: true, asksForUpgrade: false)
        machine.connected(reused: false)
        machine.requestBytesSent(replayable: true)
        #expect(machine.upstreamSendFailed() == .readResponse)
        machine.requestBytesDropped(replayable: true)
        #expect(machine.mayRepeat)
        machine.requestBytesDropped(replayable: false)
        #expect(!machine.mayRepeat)
        #expect(machine.attemptFailed { _ in true } == .respond)
    }

    @Test("a request without a body, answered whole, leaves both connections for the next one")
    func keepsBoth() {
        var machine = machine()
        machine.requestBytesSent(replayable: true)
        #expect(machine.headReceived(status: 200) == .final)
        machine.responseBegan(upstreamKeepAlive: true, clientKeepAlive: true)
        #expect(!machine.canRespond)
        #expect(
            machine.responseEnded(exact: true, requestWasRead: true) == .init(upstream: .reuse, client: .keep)
        )
    }

    @Test("bytes after a response make its connection useless")
    func inexact() {
        var machine = machine()
        machine.responseBegan(upstreamKeepAlive: true, clientKeepAlive: true)
        #expect(
            machine.responseEnded(exact: false, requestWasRead: true)
                == .init(upstream: .close, client: .keep))
    }

    @Test("a response that ends before the request closes both, the client's after lingering")
    func early() {
        var machine = machine(hasBody: true)
        machine.responseBegan(upstreamKeepAlive: true, clientKeepAlive: false)
        #expect(machine.forwardsRequestBody)
        #expect(
            machine.responseEnded(exact: true, requestWasRead: false)
                == .init(upstream: .close, client: .lingeringClose))
    }

    @Test("a request that was read but has not all gone upstream closes that connection alone")
    func earlyButRead() {
        var machine = machine(hasBody: true)
        machine.responseBegan(upstreamKeepAlive: true, clientKeepAlive: true)
        #expect(
            machine.responseEnded(exact: true, requestWasRead: true) == .init(upstream: .close, client: .keep)
        )
    }

    @Test("a refused upgrade leaves no connection to the upstream in reuse")
    func refusedUpgrade() {
        var machine = machine(asksForUpgrade: true)
        #expect(machine.headReceived(status: 403) == .final)
        machine.responseBegan(upstreamKeepAlive: true, clientKeepAlive: false)
        #expect(
            machine.responseEnded(exact: true, requestWasRead: true)
                == .init(upstream: .close, client: .close))
    }

    @Test(
        "informational responses are told apart",
        arguments: [
            (100, false, ExchangeStateMachine.HeadAction.dropInformational),
            (103, false, .forwardInformational),
            (101, false, .refuseUpgrade), (101, true, .verifyUpgrade), (204, false, .final),
            (504, true, .final),
        ])
    func heads(status: Int, asks: Bool, action: ExchangeStateMachine.HeadAction) {
        #expect(machine(asksForUpgrade: asks).headReceived(status: status) == action)
    }

    @Test("a failed connection may be tried again whatever the method")
    func connectFailed() {
        var machine = ExchangeStateMachine(hasBody: true, isIdempotent: false, asksForUpgrade: false)
        var askedNonIdempotent: Bool?
        let action = machine.attemptFailed { nonIdempotent in
            askedNonIdempotent = nonIdempotent
            return true
        }
        #expect(action == .retry)
        #expect(askedNonIdempotent == false)
    }

    @Test("what was sent of a POST counts as not idempotent")
    func postFailed() {
        var machine = machine(isIdempotent: false)
        machine.requestBytesSent(replayable: true)
        #expect(machine.attemptFailed { nonIdempotent in !nonIdempotent } == .respond)
    }

    @Test("a body that is not at hand any more cannot be sent again")
    func notReplayable() {
        var machine = machine(hasBody: true)
        machine.requestBytesSent(replayable: false)
        #expect(machine.attemptFailed { _ in true } == .respond)
        #expect(machine.canRespond)
    }

    @Test("after the response has begun a failure can only break it off")
    func brokenOff() {
        var machine = machine()
        machine.responseBegan(upstreamKeepAlive: true, clientKeepAlive: true)
        #expect(machine.attemptFailed { _ in true } == .abort)
        #expect(machine.attemptFailed { _ in true } == .ignore)
    }

    @Test("an upstream that stops reading may still answer")
    func sendFailed() {
        var machine = machine(hasBody: true)
        #expect(machine.upstreamSendFailed() == .readResponse)
        #expect(!machine.forwardsRequestBody)
        machine.requestBodyEnded()
        machine.responseBegan(upstreamKeepAlive: true, clientKeepAlive: true)
        #expect(
            machine.responseEnded(exact: true, requestWasRead: true) == .init(upstream: .close, client: .keep)
        )
        #expect(machine.upstreamSendFailed() == .ignore)
    }

    @Test("only a connection out of the pool counts as reused")
    func reused() {
        #expect(machine(reused: true).attemptReusedConnection)
        #expect(!machine(reused: false).attemptReusedConnection)
    }

    @Test("a tunnel is past every response")
    func tunnelling() {
        var machine = machine(asksForUpgrade: true)
        machine.upgraded()
        #expect(!machine.canRespond)
        #expect(machine.attemptFailed { _ in true } == .ignore)
        #expect(machine.upstreamSendFailed() == .ignore)
    }
}

@Suite("The tunnel's machine")
struct TunnelStateMachineTests {
    @Test("an end is passed on, and the other direction goes on")
    func halfClose() {
        var machine = TunnelStateMachine()
        #expect(machine.ended(.client) == .shutdown(.upstream))
        #expect(!machine.accepts(from: .client))
        #expect(machine.accepts(from: .upstream))
        #expect(machine.ended(.client) == .ignore)
        #expect(machine.ended(.upstream) == .close)
        #expect(machine.firstToEnd == .client)
    }

    @Test("a broken connection ends both directions")
    func failed() {
        var machine = TunnelStateMachine()
        #expect(machine.failed(.upstream) == .close)
        #expect(machine.firstToEnd == .upstream)
        machine.didClose()
        #expect(machine.ended(.client) == .ignore)
        #expect(machine.failed(.client) == .ignore)
        #expect(!machine.accepts(from: .upstream))
    }
}
