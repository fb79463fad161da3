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
        let settings = exchange.location.settings.values
        let response = exchange.response
        // An error page's own status gives way to the one that it is for.
        let status = exchange.errorStatus != 0 ? exchange.errorStatus : response.status
        exchange.status = status
        let outline = Outline(response, plan)
        let (framing, sendsTrailers) = framing(of: exchange, settings, status: status)
        var writer = ResponseHeadWriter(
            status: status, framing: framing, keepsAlive: mayKeepAlive && !exchange.closesConnection)
        writer.keepsAlive =
            writer.keepsAlive && status != 101 && framing != .untilClose
            && KeepAlivePolicy.mayPersist(exchange, settings)
        writer.hasServer = outline.hasServer
        writer.hasDate = outline.hasDate

        if exchange.errorStatus != 0 {
            writer.appendStatusLine(reason: ReasonPhrases.phrase(status)[...], to: &output)
        } else {
            writer.appendStatusLine(reason: response.bytes[response.reason], to: &output)
        }
        writer.appendServerAndDate(exchange, settings.serverTokens, to: &output)
        if let type = outline.contentType {
            output.append(contentsOf: ResponseHeadWriter.Text.contentType)
            output.append(contentsOf: response.bytes[type])
            output.append(contentsOf: ResponseHeadWriter.Text.lineEnd)
        }
        if case .length(let length) = framing {
            ResponseHeadWriter.append(contentLength: length, to: &output)
        } else if framing == .none, let length = outline.contentLength, status != 204, status != 101 {
            // What a HEAD or a 304 says of a body that is not sent.
            ResponseHeadWriter.append(
                response.bytes, length, as: ResponseHeadWriter.Text.contentLength, to: &output)
        }
        let location = outline.location.flatMap { rewritten($0, response, exchange, plan) }
        if let location, location.first == 47, settings.absoluteRedirect {
            ResponseHeadWriter.append(Text.location, RedirectURL.absolute(location, exchange), to: &output)
        }
        writer.appendConnection(settings, to: &output)

        let expires = ExpiresPolicy(
            of: exchange, settings, status: status, lastModified: outline.lastModified)
        appendFields(
            of: exchange, settings, plan, outline, location: location, expires: expires,
            keepsTrailerField: sendsTrailers, status: status, to: &output)
        AddedFields.append(settings.addHeaders, status: status, of: exchange, to: &output)
        output.append(contentsOf: ResponseHeadWriter.Text.lineEnd)
        return DownstreamResponse(
            status: status, framing: framing, keepsAlive: writer.keepsAlive, sendsTrailers: sendsTrailers)
    }

    /// Appends a 1xx other than 101, unless the client is too old to know them (RFC 9110 §15.2).
    package static func appendInterim(
        _ response: borrowing ResponseHead, for exchange: Exchange, plan: ProxyPlan, to output: inout [UInt8]
    ) {
        guard exchange.request.version >= .v1_1 else { return }
        ResponseHeadWriter(status: response.status, framing: .none, keepsAlive: true)
            .appendStatusLine(reason: response.bytes[response.reason], to: &output)
        var hopByHop = HopByHopFields()
        hopByHop.prepare(
            bytes: response.bytes, fields: response.fields, connectionIndex: response.connectionIndex)
        for field in response.fields where !plan.hidden.contains(field, of: response.bytes) {
            if field.id == .contentLength || hopByHop.contains(field, in: response.bytes) { continue }
            appendLine(field, response.bytes, to: &output)
        }
        output.append(contentsOf: ResponseHeadWriter.Text.lineEnd)
    }

    /// Appends the trailer section, with the line that ends it, of a chunked response: the upstream's, then
    /// what `add_trailer` says.
    package static func appendTrailers(for exchange: Exchange, plan: ProxyPlan?, to output: inout [UInt8]) {
        if let plan, let trailers = exchange.responseTrailers {
            for field in trailers.fields where !plan.hidden.contains(field, of: trailers.bytes) {
                // RFC 9110 §6.5.1: framing and routing have no place in a trailer.
                switch field.id {
                case .contentLength, .host, .trailer, .contentType, .contentEncoding, .setCookie: continue
                default: appendLine(field, trailers.bytes, to: &output)
                }
            }
        }
        let added = exchange.location.settings.values.addTrailers
        AddedFields.append(added, status: exchange.status, of: exchange, to: &output)
        output.append(contentsOf: ResponseHeadWriter.Text.lineEnd)
    }

    // MARK: Framing

    /// How the body goes to the client, and whether trailers may follow it.
    private static func framing(
        of exchange: Exchange, _ settings: borrowing Settings.Values, status: Int
    ) -> (BodyFraming, sendsTrailers: Bool) {
        let response = exchange.response
        // HEAD, 1xx, 204 and 304: the parser found that no body follows.
        if response.framing == .none { return (.none, false) }
        let knowsChunks = exchange.request.version >= .v1_1 && settings.chunkedTransferEncoding
        switch response.framing {
        case .none: return (.none, false)
        case .length:
            // Trailers need chunks, so that a known length is given up for them, as in nginx.
            let forTrailers = knowsChunks && AddedFields.hasTrailers(settings.addTrailers, status: status)
            return forTrailers ? (.chunked, true) : (response.framing, false)
        case .chunked, .untilClose: return knowsChunks ? (.chunked, true) : (.untilClose, false)
        }
    }

    // MARK: The upstream's fields

    /// What must be known of the fields before the first is written.
    private struct Outline {
        var contentType: Range<Int>?
        var contentLength: Range<Int>?
        var location: Range<Int>?
        /// Seconds since 1970.
        var lastModified: Range<Int>?
        var hasServer = false
        var hasDate = false

        init(_ response: borrowing ResponseHead, _ plan: ProxyPlan) {
            for field in response.fields {
                switch field.id {
                case .contentType: contentType = field.value
                case .contentLength: contentLength = field.value
                case .location: if location == nil { location = field.value }
                case .lastModified: lastModified = field.value
                case .server: hasServer = !plan.hidden.contains(.server)
                case .date: hasDate = !plan.hidden.contains(.date)
                default: break
                }
            }
            if plan.hidden.contains(.contentType) { contentType = nil }
            if plan.hidden.contains(.location) { location = nil }
            if contentType?.isEmpty ?? false { contentType = nil }
        }
    }

    private static func appendFields(
        of exchange: Exchange, _ settings: borrowing Settings.Values, _ plan: ProxyPlan, _ outline: Outline,
        location: [UInt8]?, expires: ExpiresPolicy?, keepsTrailerField: Bool, status: Int,
        to output: inout [UInt8]
    ) {
        let response = exchange.response
        var hopByHop = HopByHopFields()
        hopByHop.prepare(response)
        // It goes with a 101, and tells what a 426 asks for.
        let keepsUpgrade = status == 101 || status == 426
        var needsExpires = expires != nil
        var needsCacheControl = expires != nil
        var needsLocation = true
        for field in response.fields {
            if plan.hidden.contains(field, of: response.bytes) { continue }
            if hopByHop.contains(field, in: response.bytes), field.id != .upgrade || !keepsUpgrade {
                continue
            }
            switch field.id {
            case .contentType, .contentLength: continue
            case .trailer where !keepsTrailerField: continue
            case .location:
                guard needsLocation, let location else { break }
                needsLocation = false
                if location.first == 47, settings.absoluteRedirect { continue }
                ResponseHeadWriter.append(Array(response.bytes[field.name]), location, to: &output)
                continue
            case .refresh:
                if appendRefresh(field, of: exchange, plan, to: &output) { continue }
            case .expires:
                guard let expires else { break }
                if needsExpires { ResponseHeadWriter.append(Text.expires, expires.expires, to: &output) }
                needsExpires = false
                continue
            case .cacheControl:
                guard let expires else { break }
                if needsCacheControl {
                    ResponseHeadWriter.append(Text.cacheControl, expires.cacheControl, to: &output)
                }
                needsCacheControl = false
                continue
            case .lastModified, .etag:
                if AddedFields.replaces(field.id, settings.addHeaders, status: status) { continue }
            default: break
            }
            appendLine(field, response.bytes, to: &output)
        }
        guard let expires else { return }
        if needsExpires { ResponseHeadWriter.append(Text.expires, expires.expires, to: &output) }
        if needsCacheControl {
            ResponseHeadWriter.append(Text.cacheControl, expires.cacheControl, to: &output)
        }
    }

    private static func appendLine(_ field: FieldLine, _ bytes: [UInt8], to output: inout [UInt8]) {
        output.append(contentsOf: bytes[field.name])
        output.append(contentsOf: ResponseHeadWriter.Text.colonSpace)
        output.append(contentsOf: bytes[field.value])
        output.append(contentsOf: ResponseHeadWriter.Text.lineEnd)
    }

    /// What `proxy_redirect` makes of a `Location`; `nil` when it stays as it is.
    private static func rewritten(
        _ value: Range<Int>, _ response: borrowing ResponseHead, _ exchange: Exchange, _ plan: ProxyPlan
    ) -> [UInt8]? {
        guard !plan.redirects.isEmpty else { return nil }
        var location: [UInt8] = []
        return plan.redirects.append(location: response.bytes, value, of: exchange, to: &location)
            ? location : nil
    }

    private static func appendRefresh(
        _ field: FieldLine, of exchange: Exchange, _ plan: ProxyPlan, to output: inout [UInt8]
    ) -> Bool {
        var value: [UInt8] = []
        let bytes = exchange.response.bytes
        guard plan.redirects.append(refresh: bytes, field.value, of: exchange, to: &value) else {
            return false
        }
        ResponseHeadWriter.append(Array(bytes[field.name]), value, to: &output)
        return true
    }

    private enum Text {
        static let location = Array("Location".utf8)
        static let expires = Array("Expires".utf8)
        static let cacheControl = Array("Cache-Control".utf8)
    }
}

/// What is to be known of a response once its head is written.
package struct DownstreamResponse: Sendable, Equatable {
    package var status: Int
    /// How the body that the driver sends after the head is framed; `.none` sends none, whatever the upstream's
    /// fields say.
    package var framing: BodyFraming
    /// The connection takes another request after this response.
    package var keepsAlive: Bool
    /// A chunked body ends with the section of `appendTrailers` in place of a bare empty line.
    package var sendsTrailers = false
}

extension ResponseHeadWriter {
    static func append(_ bytes: [UInt8], _ value: Range<Int>, as prefix: [UInt8], to output: inout [UInt8]) {
        output.append(contentsOf: prefix)
        output.append(contentsOf: bytes[value])
        output.append(contentsOf: Text.lineEnd)
    }
}

extension ExpiresPolicy {
    /// For a response with this status, `lastModified` being where its field stands in the upstream's head.
    fileprivate init?(
        of exchange: Exchange, _ settings: borrowing Settings.Values, status: Int, lastModified: Range<Int>?
    ) {
        if case .off = settings.expires { return nil }
        guard AddedFields.isOrdinary(status) else { return nil }
        let date = lastModified.flatMap { HTTPDate.parse(exchange.response.bytes, $0) }
        self.init(settings.expires, lastModified: date, exchange: exchange)
    }
}
