internal import Config
package import Wire

/// Writes the head of the response that goes to the client, made of the upstream's.
package enum DownstreamResponseBuilder {
    /// Appends the head of the final response in `exchange.response`, a 101 that was accepted included.
    ///
    /// - Parameters:
    ///   - exchange: its status is set.
    ///   - plan: of the exchange's location and the `proxy_pass` in use.
    ///   - mayKeepAlive: false when the driver has reasons of its own to close the connection: it is shutting
    ///     down, or the request's body was not read to its end.
    ///   - output: where the head goes, up to its empty line.
    /// - Returns: how the body is to follow, and what the head says about the connection.
    package static func append(
        for exchange: Exchange, plan: ProxyPlan, mayKeepAlive: Bool, to output: inout [UInt8]
    ) -> DownstreamResponse {
        let settings = exchange.location.settings
        // Not the response itself, which would be copied with all it holds.
        let bytes = exchange.response.bytes
        let fields = exchange.response.fields
        // An error page's own status gives way to the one that it is for.
        let isErrorPage = exchange.errorStatus != 0
        let status = isErrorPage ? exchange.errorStatus : exchange.response.status
        exchange.status = status
        let outline = UpstreamOutline(fields, plan)
        let (framing, sendsTrailers) = framing(of: exchange, settings, status: status)
        let keepsAlive =
            mayKeepAlive && !exchange.closesConnection && status != 101
            && (framing != .untilClose || exchange.request.version == .v2)
            && KeepAlivePolicy.mayPersist(exchange, settings)
        let writer = ResponseHeadWriter(
            status: status, framing: framing, keepsAlive: keepsAlive, hasServer: outline.hasServer,
            hasDate: outline.hasDate)
        var preview = HeadPreview(settings, of: exchange, in: output)

        if isErrorPage || exchange.reasonIsOurs {
            writer.appendStatusLine(to: &output)
        } else {
            writer.appendStatusLine(reason: bytes.span.extracting(exchange.response.reason), to: &output)
        }
        writer.appendServerAndDate(exchange, settings.values.serverTokens, to: &output)
        if let type = outline.contentType {
            ResponseHeadWriter.append(
                bytes.span.extracting(type), as: ResponseHeadWriter.Text.contentType, to: &output)
        } else if let type = exchange.carried.contentType {
            ResponseHeadWriter.append(type.span, as: ResponseHeadWriter.Text.contentType, to: &output)
        }
        if case .length(let length) = framing {
            ResponseHeadWriter.append(contentLength: length, to: &output)
        } else if framing == .none, let length = outline.contentLength, status >= 200, status != 204,
            !exchange.responseBodyIsScripted
        {
            // What a HEAD or a 304 says of a body that is not sent.
            ResponseHeadWriter.append(
                bytes.span.extracting(length), as: ResponseHeadWriter.Text.contentLength, to: &output)
        }
        let location = outline.location.flatMap { value in
            outline.locationIsEdited ? Array(bytes[value]) : rewritten(value, exchange, plan)
        }
        let isAbsolute = RedirectURL.completes(location, settings)
        if let location, isAbsolute {
            preview.append(location: location, of: exchange, to: &output)
        } else if outline.location == nil, let location = exchange.redirectURL, !location.isEmpty {
            preview.append(location: location, of: exchange, to: &output)
        }
        writer.appendConnection(settings, to: &output)
        var changes = FieldChanges(
            location: location, dropsLocation: isAbsolute, keepsUpgrade: status == 101 || status == 426,
            keepsTrailer: sendsTrailers, status: status)
        if settings.values.expires.isComputed, AddedFields.isOrdinary(status) {
            // Its variables see the fields that it may be about to replace.
            preview.update(output, of: exchange)
            changes.expires = preview.showing(&output, of: exchange) { output in
                appendFields(fields, of: bytes, exchange, settings, plan, changes, to: &output)
            } _: {
                ExpiresPolicy(of: exchange, settings, status: status, outline.lastModified)
            }
        } else {
            changes.expires = ExpiresPolicy(of: exchange, settings, status: status, outline.lastModified)
        }
        appendFields(fields, of: bytes, exchange, settings, plan, changes, to: &output)
        if !settings.values.addHeaders.isEmpty {
            AddedFields.append(
                settings.values.addHeaders, status: status, of: exchange, &preview, to: &output)
        }
        output.append(copying: ResponseHeadWriter.Text.lineEnd)
        return DownstreamResponse(
            status: status, framing: framing, keepsAlive: keepsAlive, sendsTrailers: sendsTrailers)
    }

    /// Appends a 1xx other than 101, unless the client is too old to know them (RFC 9110 §15.2).
    package static func appendInterim(
        _ response: ResponseHead, for exchange: Exchange, plan: ProxyPlan, to output: inout [UInt8]
    ) {
        guard exchange.request.version >= .v1_1 else { return }
        ResponseHeadWriter(status: response.status, framing: .none, keepsAlive: true)
            .appendStatusLine(reason: response.bytes.span.extracting(response.reason), to: &output)
        var hopByHop = HopByHopFields()
        hopByHop.prepare(response)
        var copier = FieldCopier()
        for field in response.fields where !plan.hidden.contains(field, of: response.bytes) {
            if field.id == .contentLength || hopByHop.contains(field, in: response.bytes) { continue }
            if field.id == .setCookie,
                let value = plan.cookies.rewritten(response.bytes, field.value, of: exchange)
            {
                copier.flush(response.bytes, to: &output)
                ResponseHeadWriter.append(response.bytes.span.extracting(field.name), value, to: &output)
                continue
            }
            copier.append(field, of: response.bytes, to: &output)
        }
        copier.flush(response.bytes, to: &output)
        output.append(copying: ResponseHeadWriter.Text.lineEnd)
    }

    /// Appends the trailer section, with the line that ends it, of a chunked response: the upstream's, then
    /// what `add_trailer` says. The last chunk's own line, `0`, is the caller's.
    package static func appendTrailers(for exchange: Exchange, plan: ProxyPlan?, to output: inout [UInt8]) {
        if let plan, let trailers = exchange.responseTrailers {
            var copier = FieldCopier()
            for field in trailers.fields where !plan.hidden.contains(field, of: trailers.bytes) {
                // RFC 9110 §6.5.1: framing and routing have no place in a trailer.
                if HopByHopFields.known.contains(field.id) || notInTrailers.contains(field.id) { continue }
                copier.append(field, of: trailers.bytes, to: &output)
            }
            copier.flush(trailers.bytes, to: &output)
        }
        let added = exchange.location.settings.values.addTrailers
        AddedFields.append(trailers: added, status: exchange.status, of: exchange, to: &output)
        output.append(copying: ResponseHeadWriter.Text.lineEnd)
    }

    private static let notInTrailers: FieldIDSet = [
        .contentLength, .host, .trailer, .contentType, .contentEncoding, .setCookie, .authorization,
    ]

    // MARK: Framing

    /// How the body goes to the client, and whether trailers may follow it.
    ///
    /// The request that went upstream may have had another method than the client's, and the status may not be the
    /// upstream's, so the upstream's framing alone does not tell whether the client waits for a body.
    private static func framing(
        of exchange: Exchange, _ settings: Settings, status: Int
    ) -> (BodyFraming, sendsTrailers: Bool) {
        if status < 200 || status == 204 || status == 304 || exchange.isHead {
            return (.none, false)
        }
        let framing = exchange.response.framing
        if exchange.request.version == .v2 {
            // Its frames say where a stream ends, and trailers may always follow (RFC 9113 §8.1).
            switch framing {
            case _ where exchange.responseBodyIsScripted: return (.untilClose, true)
            case .none: return (.length(0), false)
            case .length:
                return (framing, AddedFields.hasTrailers(settings.values.addTrailers, status: status))
            case .chunked, .untilClose: return (.untilClose, true)
            }
        }
        let knowsChunks = exchange.request.version >= .v1_1 && settings.values.chunkedTransferEncoding
        if exchange.responseBodyIsScripted { return knowsChunks ? (.chunked, true) : (.untilClose, false) }
        switch framing {
        case .none: return (.length(0), false)
        case .length:
            // Trailers need chunks, so that a known length is given up for them, as in nginx.
            let forTrailers =
                knowsChunks && AddedFields.hasTrailers(settings.values.addTrailers, status: status)
            return forTrailers ? (.chunked, true) : (framing, false)
        case .chunked, .untilClose: return knowsChunks ? (.chunked, true) : (.untilClose, false)
        }
    }

    // MARK: The upstream's fields

    /// What becomes of fields that are not simply copied.
    private struct FieldChanges {
        /// The value of `Location` when it is another than the upstream's.
        var location: [UInt8]?
        /// It was written already.
        var dropsLocation: Bool
        var expires: ExpiresPolicy?
        var keepsUpgrade: Bool
        var keepsTrailer: Bool
        var status: Int
    }

    private static func appendFields(
        _ fields: [FieldLine], of bytes: [UInt8], _ exchange: Exchange, _ settings: Settings,
        _ plan: ProxyPlan, _ changes: FieldChanges, to output: inout [UInt8]
    ) {
        var hopByHop = HopByHopFields()
        hopByHop.prepare(bytes: bytes, fields: fields, connectionIndex: exchange.response.connectionIndex)
        var location = changes.location
        var expiresLine = changes.expires?.expires
        var cacheControlLine = changes.expires?.cacheControl
        if !exchange.carried.isEmpty { exchange.carried.append(besides: changes.expires, to: &output) }
        var copier = FieldCopier()
        for field in fields {
            if !field.isEdited, plan.hidden.contains(field, of: bytes) { continue }
            if hopByHop.contains(field, in: bytes) {
                guard field.id == .upgrade, changes.keepsUpgrade else { continue }
            }
            // A value in place of the field's own.
            var value: [UInt8]?
            switch field.id {
            case .contentType, .contentLength: continue
            case .secWebSocketProtocol where changes.status == 101 && !field.isEdited:
                let name = bytes.span.extracting(field.value)
                guard WebSocketHandshake.clientOffers(name, as: field.id, in: exchange.request) else {
                    continue
                }
            case .secWebSocketExtensions
            where changes.status == 101 && exchange.webSocketDeflate.changesAnswer:
                copier.flush(bytes, to: &output)
                ResponseHeadWriter.append(extensions: field, of: bytes, to: &output) {
                    exchange.webSocketDeflate.tellsClient($0, isEdited: field.isEdited, exchange.request)
                }
                continue
            case .trailer where !changes.keepsTrailer: continue
            case .location where location != nil:
                value = location
                location = nil
                if changes.dropsLocation { continue }
            // Another one beside the response's first.
            case .location where !field.isEdited: value = rewritten(field.value, exchange, plan)
            case .refresh: value = refresh(field, of: exchange, plan)
            case .setCookie where !field.isEdited:
                value = plan.cookies.rewritten(bytes, field.value, of: exchange)
            case .expires where changes.expires != nil:
                guard let line = expiresLine else { continue }
                value = line
                expiresLine = nil
            case .cacheControl where changes.expires != nil:
                guard let line = cacheControlLine else { continue }
                value = line
                cacheControlLine = nil
            case .lastModified, .etag:
                if AddedFields.replaces(field.id, settings.values.addHeaders, status: changes.status) {
                    continue
                }
                if field.id == .etag, exchange.responseBodyIsScripted, !field.isEdited {
                    value = weakened(bytes, field.value)
                }
            // Another body has other ranges.
            case .acceptRanges where exchange.responseBodyIsScripted && !field.isEdited: continue
            default: break
            }
            guard let value else {
                copier.append(field, of: bytes, to: &output)
                continue
            }
            copier.flush(bytes, to: &output)
            ResponseHeadWriter.append(bytes.span.extracting(field.name), value, to: &output)
        }
        copier.flush(bytes, to: &output)
        if changes.status == 101, !exchange.webSocketDeflate.value.isEmpty {
            ResponseHeadWriter.append(Text.extensions, exchange.webSocketDeflate.value, to: &output)
        }
        if let expiresLine { ResponseHeadWriter.append(Text.expires, expiresLine, to: &output) }
        if let cacheControlLine {
            ResponseHeadWriter.append(Text.cacheControl, cacheControlLine, to: &output)
        }
    }

    /// The entity tag as a weak one: a script may change the bytes that a strong one stands for (RFC 9110 §8.8.1). `nil` when it
    /// is none that is strong.
    private static func weakened(_ bytes: [UInt8], _ value: Range<Int>) -> [UInt8]? {
        guard bytes[value].first == UInt8(ascii: "\"") else { return nil }
        return Array("W/".utf8) + bytes[value]
    }

    /// What `proxy_redirect` makes of the `Location` at `value`; `nil` when it stays as it is.
    private static func rewritten(_ value: Range<Int>, _ exchange: Exchange, _ plan: ProxyPlan) -> [UInt8]? {
        guard !plan.redirects.isEmpty else { return nil }
        var location: [UInt8] = []
        let isRewritten = plan.redirects.append(
            location: exchange.response.bytes, value, of: exchange, to: &location)
        return isRewritten ? location : nil
    }

    private static func refresh(_ field: FieldLine, of exchange: Exchange, _ plan: ProxyPlan) -> [UInt8]? {
        guard !plan.redirects.isEmpty else { return nil }
        var value: [UInt8] = []
        let isRewritten = plan.redirects.append(
            refresh: exchange.response.bytes, field.value, of: exchange, to: &value)
        return isRewritten ? value : nil
    }

    private enum Text {
        static let extensions = Array("Sec-WebSocket-Extensions".utf8)
        static let expires = Array("Expires".utf8)
        static let cacheControl = Array("Cache-Control".utf8)
    }
}

/// What is to be known of a response once its head is written.
package struct DownstreamResponse: Sendable, Equatable {
    package var status: Int
    /// How the body that the driver sends after the head is framed. With `.none` nothing follows, whatever the
    /// upstream sends: the client's method or the status allows no body.
    package var framing: BodyFraming
    /// The connection takes another request after this response.
    package var keepsAlive: Bool
    /// A chunked body ends with the section of `appendTrailers` in place of a bare empty line.
    package var sendsTrailers = false

    package init(status: Int, framing: BodyFraming, keepsAlive: Bool, sendsTrailers: Bool = false) {
        self.status = status
        self.framing = framing
        self.keepsAlive = keepsAlive
        self.sendsTrailers = sendsTrailers
    }
}

extension ExpiresPolicy {
    /// For a response with this status, `lastModified` being where its field stands in the upstream's head.
    fileprivate init?(of exchange: Exchange, _ settings: Settings, status: Int, _ lastModified: Range<Int>?) {
        if case .off = settings.values.expires { return nil }
        guard AddedFields.isOrdinary(status) else { return nil }
        let date = lastModified.flatMap { HTTPDate.parse(exchange.response.bytes, $0) }
        self.init(settings.values.expires, lastModified: date, exchange: exchange)
    }
}
