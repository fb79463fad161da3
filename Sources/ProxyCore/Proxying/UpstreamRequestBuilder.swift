internal import Config
package import Wire

/// Writes the head of the request that goes upstream.
package enum UpstreamRequestBuilder {
    /// Appends the head, from the request line to the empty line.
    ///
    /// - Parameters:
    ///   - exchange: its request, location and `proxyHost` say what is sent.
    ///   - uri: the request target to send, from `ProxyTarget`.
    ///   - plan: made of the same settings as the exchange's location has.
    ///   - upgrade: what `UpgradePolicy.examine` said of the request.
    ///   - bodyLength: the length of the request's body where it is known (also that of a body that came
    ///     chunked and was read whole, which HTTP/1.0 upstreams need); `nil` when it is not, and it goes out
    ///     chunked. 0 with a request that has no body.
    ///   - hooksLookInside: scripts are to see messages or frames of the WebSocket that may come of it.
    ///   - output: where the head goes.
    /// - Returns: what the driver must know of what was written.
    package static func append(
        for exchange: Exchange, uri: [UInt8], plan: ProxyHeaderPlan, upgrade: UpgradeDecision,
        bodyLength: Int64?, hooksLookInside: Bool = false, to output: inout [UInt8]
    ) -> UpstreamRequest {
        let start = output.count
        let settings = exchange.location.settings
        var result = UpstreamRequest()

        appendMethod(of: exchange, settings.values.proxyMethod, to: &output)
        result.isHead = Method.head.equals(output.span, start..<output.count)
        output.append(ByteText.space)
        output.append(copying: uri)
        let isHTTP1_1 = settings.values.proxyHTTPVersion != .v1_0
        // Each where it is chosen: what carried one from there would be counted, as all workers have the same one.
        if isHTTP1_1 { output.append(copying: Text.http1_1) } else { output.append(copying: Text.http1_0) }

        let body = body(of: exchange, settings, bodyLength: bodyLength, isHTTP1_1: isHTTP1_1, result: &result)
        result.framing = body.framing
        result.connection = plan.fixedConnection ?? .keepAlive
        var sendsUpgrade = false
        let text = plan.text
        for row in plan.rows {
            switch row {
            case .fixed(let lines): output.append(copying: text.span, lines)
            case .template(let prefix, let template):
                appendLine(text, prefix, plan.templates[template], of: exchange, to: &output)
            case .proxyHost:
                output.append(copying: Text.host)
                output.append(copying: exchange.proxyHost)
                output.append(copying: Text.lineEnd)
            case .connection(let prefix, let template):
                let value = appendLine(
                    text, prefix, plan.templates[template], of: exchange, to: &output)
                result.connection = ConnectionIntent(output, value)
            case .defaultConnection:
                if let intent = appendEditedConnection(of: exchange.request, to: &output) {
                    result.connection = intent
                } else {
                    output.append(copying: Text.connectionClose)
                }
            case .upgrade(let prefix, let template):
                let sent = appendUpgrade(
                    text, prefix, plan.templates[template], of: exchange, upgrade,
                    allowed: settings.values.upgradeProtocols,
                    to: &output)
                sendsUpgrade = sendsUpgrade || sent
                if upgrade == .withheld { result.withholdsUpgrade = true }
            case .contentLength(let prefix, let omitsEmpty):
                appendLength(text, prefix, body, omitsEmpty: omitsEmpty, to: &output)
            case .transferEncoding(let prefix):
                guard body.framing == .chunked else { break }
                output.append(copying: text.span, prefix)
                output.append(copying: Text.chunked)
            }
        }
        if plan.passesEditedUpgrade, exchange.request.isEdited, upgrade != .withheld {
            let sent = appendEditedUpgrade(
                of: exchange.request, upgrade, allowed: settings.values.upgradeProtocols, to: &output)
            sendsUpgrade = sendsUpgrade || sent
        }
        if settings.values.proxyPassRequestHeaders {
            var terms: OfferTerms?
            if case .offered(webSocket: true) = upgrade {
                terms = OfferTerms(settings.values.webSocket, hooksLookInside: hooksLookInside)
            }
            // An upgrade goes over HTTP/1.1.
            var isHTTP2 = false
            if case .v2 = settings.values.proxyHTTPVersion { isHTTP2 = true }
            if case .offered = upgrade { isHTTP2 = false }
            appendClientFields(of: exchange, plan, terms, isHTTP2: isHTTP2, to: &output)
        }
        if upgrade == .offered(webSocket: true),
            let offer = WebSocketDeflateTerms.offer(settings.values.webSocket)
        {
            ResponseHeadWriter.append(Text.extensions, offer, to: &output)
        }
        output.append(copying: Text.lineEnd)

        result.hasUpgrade = sendsUpgrade
        if sendsUpgrade {
            switch upgrade {
            case .offered: result.upgrade = SentUpgrade(head: output, from: start)
            case .rejected(let rejection): result.rejection = rejection
            case .notAsked, .withheld: break
            }
        }
        // Whatever a configured field says: persistence of HTTP/1.0 connections is not relied on.
        if !isHTTP1_1 { result.connection = .close }
        return result
    }

    /// Appends the method that `proxy_method` comes to, or the request's own where that is no method, which could
    /// begin a request of its own.
    private static func appendMethod(
        of exchange: Exchange, _ template: Template?, to output: inout [UInt8]
    ) {
        if let template {
            let start = output.count
            exchange.render(template, into: &output)
            if isToken(output.span, start..<output.count) { return }
            output.removeLast(output.count - start)
        }
        output.append(copying: exchange.method)
    }

    // MARK: Framing

    private struct Body {
        var framing: BodyFraming
        /// The client's request carried a length or a body, so that a length of 0 is worth a line.
        var showsZero: Bool
    }

    private static func body(
        of exchange: Exchange, _ settings: Settings, bodyLength: Int64?, isHTTP1_1: Bool,
        result: inout UpstreamRequest
    ) -> Body {
        if let template = settings.values.proxySetBody {
            var body: [UInt8] = []
            exchange.render(template, into: &body)
            result.replacementBody = body
            return Body(framing: .length(Int64(body.count)), showsZero: true)
        }
        let hasBody = if case .none = exchange.request.framing { false } else { true }
        guard settings.values.proxyPassRequestBody else { return Body(framing: .none, showsZero: hasBody) }
        guard let bodyLength else {
            // The driver reads a body whole before it speaks HTTP/1.0; without a length there is none to send.
            return Body(framing: isHTTP1_1 ? .chunked : .none, showsZero: true)
        }
        return Body(framing: bodyLength > 0 ? .length(bodyLength) : .none, showsZero: hasBody)
    }

    private static func appendLength(
        _ text: [UInt8], _ prefix: Range<Int>, _ body: Body, omitsEmpty: Bool,
        to output: inout [UInt8]
    ) {
        var length: Int64 = 0
        switch body.framing {
        case .length(let known): length = known
        case .none:
            guard body.showsZero, !omitsEmpty else { return }
        case .chunked, .untilClose: return
        }
        output.append(copying: text.span, prefix)
        ASCII.appendDecimal(length, to: &output)
        output.append(copying: Text.lineEnd)
    }

    // MARK: Configured fields

    /// Appends a line whose value is made for the request, or nothing when that comes out empty.
    ///
    /// - Returns: where the value stands in `output`.
    @discardableResult
    private static func appendLine(
        _ text: [UInt8], _ prefix: Range<Int>, _ template: Template, of exchange: Exchange,
        to output: inout [UInt8]
    ) -> Range<Int> {
        let lineStart = output.count
        output.append(copying: text.span, prefix)
        let valueStart = output.count
        exchange.render(template, into: &output)
        guard output.count > valueStart else {
            output.removeLast(valueStart - lineStart)
            return lineStart..<lineStart
        }
        ByteText.neutraliseLineEnds(in: &output, from: valueStart)
        let value = valueStart..<output.count
        output.append(copying: Text.lineEnd)
        return value
    }

    /// As `appendLine`, with the protocols that may not be passed on taken out.
    ///
    /// - Returns: whether anything was left to send.
    private static func appendUpgrade(
        _ text: [UInt8], _ prefix: Range<Int>, _ template: Template, of exchange: Exchange,
        _ decision: UpgradeDecision,
        allowed: UpgradeProtocols, to output: inout [UInt8]
    ) -> Bool {
        if decision == .withheld { return false }
        let lineStart = output.count
        let value = appendLine(text, prefix, template, of: exchange, to: &output)
        if value.isEmpty { return false }
        // Without a wish of the client's a fixed value goes out as the configuration has it.
        if decision == .notAsked { return true }
        let rendered = Array(output[value])
        output.removeLast(output.count - value.lowerBound)
        UpgradePolicy.appendAllowed(rendered, allowed: allowed, to: &output)
        guard output.count > value.lowerBound else {
            output.removeLast(output.count - lineStart)
            return false
        }
        output.append(copying: Text.lineEnd)
        return true
    }

    // MARK: What a script wrote

    /// Appends the `Connection` lines that a script wrote.
    ///
    /// - Returns: what the last of them says, or `nil` when there is none.
    private static func appendEditedConnection(
        of request: RequestHead, to output: inout [UInt8]
    ) -> ConnectionIntent? {
        guard request.isEdited else { return nil }
        var intent: ConnectionIntent?
        var copier = FieldCopier()
        for field in request.fields where field.id == .connection && field.isEdited {
            copier.append(field, of: request.bytes, to: &output)
            intent = ConnectionIntent(request.bytes, field.value)
        }
        copier.flush(request.bytes, to: &output)
        return intent
    }

    /// Appends the `Upgrade` lines that a script wrote, with the protocols that may not be passed on taken out, as
    /// `appendUpgrade` does.
    ///
    /// - Returns: whether anything was left to send.
    private static func appendEditedUpgrade(
        of request: RequestHead, _ decision: UpgradeDecision, allowed: UpgradeProtocols,
        to output: inout [UInt8]
    ) -> Bool {
        var isSent = false
        for field in request.fields where field.id == .upgrade && field.isEdited {
            let lineStart = output.count
            output.append(contentsOf: request.bytes[field.name])
            output.append(contentsOf: ResponseHeadWriter.Text.colonSpace)
            let valueStart = output.count
            if decision == .notAsked {
                output.append(contentsOf: request.bytes[field.value])
            } else {
                UpgradePolicy.appendAllowed(Array(request.bytes[field.value]), allowed: allowed, to: &output)
            }
            guard output.count > valueStart else {
                output.removeLast(valueStart - lineStart)
                continue
            }
            output.append(copying: Text.lineEnd)
            isSent = true
        }
        return isSent
    }

    // MARK: The client's fields

    private static func appendClientFields(
        of exchange: Exchange, _ plan: ProxyHeaderPlan, _ terms: OfferTerms?, isHTTP2: Bool,
        to output: inout [UInt8]
    ) {
        // Two arrays, where the head itself would be copied with all it holds.
        let bytes = exchange.request.bytes
        let fields = exchange.request.fields
        let strangestName = exchange.server.connection.strangestFieldName
        var hopByHop = HopByHopFields()
        hopByHop.prepare(
            bytes: bytes, fields: fields, connectionIndex: exchange.request.connectionIndex,
            struck: exchange.request.struckFields)
        // Behind the others: whatever the loop does is done for each field of each request.
        let changesOffers = terms != nil
        var copier = FieldCopier()
        for field in fields {
            guard field.nameKind.isWithin(strangestName) else { continue }
            if plan.replaced.contains(field, of: bytes) { continue }
            if hopByHop.contains(field, in: bytes) { continue }
            if changesOffers, field.id == .secWebSocketExtensions { continue }
            copier.append(field, of: bytes, to: &output)
        }
        copier.flush(bytes, to: &output)
        if let terms { append(offersOf: exchange, terms, plan, hopByHop, to: &output) }
        if isHTTP2 { appendTE(of: exchange, plan, to: &output) }
    }

    /// Appends those of the client's offers of extensions that the upstream gets to see.
    private static func append(
        offersOf exchange: Exchange, _ terms: OfferTerms, _ plan: ProxyHeaderPlan, _ hopByHop: HopByHopFields,
        to output: inout [UInt8]
    ) {
        let bytes = exchange.request.bytes
        for field in exchange.request.fields where field.id == .secWebSocketExtensions {
            if plan.replaced.contains(field, of: bytes) || hopByHop.contains(field, in: bytes) { continue }
            ResponseHeadWriter.append(extensions: field, of: bytes, to: &output) {
                terms.passes($0, of: exchange.request)
            }
        }
    }

    /// Over HTTP/2 it says nothing but that trailers are taken, which they are here (RFC 9113 §8.2.2).
    private static func appendTE(
        of exchange: Exchange, _ plan: ProxyHeaderPlan, to output: inout [UInt8]
    ) {
        let bytes = exchange.request.bytes
        for field in exchange.request.fields where field.id == .te && takesTrailers(field, bytes.span) {
            if plan.replaced.contains(field, of: bytes) { continue }
            return output.append(copying: Text.takesTrailers)
        }
    }

    /// Which of the client's offers of WebSocket extensions the upstream gets to see.
    private struct OfferTerms {
        private let passesDeflate: Bool
        private let passesOthers: Bool

        /// - Returns: `nil` where it gets to see all of them.
        init?(_ settings: WebSocketSettings, hooksLookInside: Bool) {
            passesDeflate = !WebSocketDeflateTerms.stripsOffer(settings)
            // RFC 6455 §5.4: nobody in between may change how messages are cut into frames where an extension is in
            // use that it does not know. And what uses its bits would go past the hooks.
            passesOthers = !hooksLookInside && !WebSocketDeflateTerms.isTerminated(settings)
            if passesDeflate, passesOthers { return nil }
        }

        /// Whether the extension is offered to the upstream as well. What a script offers on its own is its own affair.
        func passes(_ name: Span<UInt8>, of request: RequestHead) -> Bool {
            if PermessageDeflate.isNamed(name) { return passesDeflate }
            return passesOthers
                || !WebSocketHandshake.clientOffers(name, as: .secWebSocketExtensions, in: request)
        }
    }

    private static func takesTrailers(_ field: FieldLine, _ octets: Span<UInt8>) -> Bool {
        var codings = ListElements(field)
        while let coding = codings.next(octets) {
            if Keyword.trailers.matches(octets, coding) { return true }
        }
        return false
    }

    private enum Text {
        static let takesTrailers = Array("TE: trailers\r\n".utf8)
        static let extensions = Array("Sec-WebSocket-Extensions".utf8)
        static let http1_0 = Array(" HTTP/1.0\r\n".utf8)
        static let http1_1 = Array(" HTTP/1.1\r\n".utf8)
        static let host = Array("Host: ".utf8)
        static let connectionClose = Array("Connection: close\r\n".utf8)
        static let chunked = Array("chunked\r\n".utf8)
        static let lineEnd: [UInt8] = [13, 10]
    }
}

/// What is to be known of a request once its head is written.
package struct UpstreamRequest: Sendable {
    /// How the body that the driver sends after the head is framed.
    package fileprivate(set) var framing = BodyFraming.none
    /// What to send as the body in place of the client's (`proxy_set_body`), which may be nothing; `nil` where the
    /// client's goes out.
    package fileprivate(set) var replacementBody: [UInt8]?
    /// The method sent is HEAD, so no body answers it.
    package fileprivate(set) var isHead = false
    /// What the request says about the connection's reuse; `close` always with HTTP/1.0.
    package fileprivate(set) var connection = ConnectionIntent.keepAlive
    /// The offer that a 101 must answer; without one a 101 is invalid.
    package fileprivate(set) var upgrade: SentUpgrade?
    /// `Upgrade` was sent, whether or not `Connection` makes an offer of it.
    package fileprivate(set) var hasUpgrade = false
    /// The configuration passes `Upgrade` on, but the client's counts for nothing; see `UpgradeDecision.withheld`.
    package fileprivate(set) var withholdsUpgrade = false
    /// The request is a faulty WebSocket handshake on its way to an upstream: answer this instead of sending it.
    package fileprivate(set) var rejection: WebSocketHandshake.RequestViolation?

    package init() {}
}
