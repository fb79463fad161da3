internal import Config
internal import Wire

/// Writes responses that the proxy makes itself: built-in pages, redirects, texts, the status page.
package enum LocalResponseBuilder {
    /// Appends head and body.
    ///
    /// - Parameters:
    ///   - response: a status of 300 and above without a body gets the built-in page of that status.
    ///   - exchange: its status is set.
    ///   - mayKeepAlive: as in `DownstreamResponseBuilder.append`.
    ///   - output: where the whole response goes.
    /// - Returns: what was written; nothing is left to send.
    package static func append(
        _ response: LocalResponse, for exchange: Exchange, mayKeepAlive: Bool, to output: inout [UInt8]
    ) -> DownstreamResponse {
        let settings = exchange.location.settings
        // A text may have any status; that of a built-in page may be one of nginx's own.
        let status = response.body == nil ? StatusRules.visible(response.status) : response.status
        exchange.status = status

        var page: [UInt8] = []
        var type = response.contentType
        let hasContent = status != 204 && status != 304 && status >= 200
        if hasContent, response.body == nil {
            if let title = ReasonPhrases.pageTitle(response.status) {
                appendPage(
                    title: title, detail: StatusRules.pageDetail(response.status),
                    settings.values.serverTokens, to: &page)
                type = type ?? Text.html
            } else if response.status < 300 {
                type = type ?? settings.mediaType(for: exchange.uri)
            }
        } else if hasContent {
            type = type ?? settings.mediaType(for: exchange.uri)
        }
        let body = response.body ?? page
        let sendsBody = hasContent && !exchange.isHead

        var framing = BodyFraming.none
        var sendsTrailers = false
        if hasContent {
            sendsTrailers =
                sendsBody && exchange.request.version >= .v1_1 && settings.values.chunkedTransferEncoding
                && AddedFields.hasTrailers(settings.values.addTrailers, status: status)
            framing =
                sendsTrailers && exchange.request.version != .v2 ? .chunked : .length(Int64(body.count))
        }
        let keepsAlive =
            mayKeepAlive && !response.closes && !exchange.closesConnection
            && (response.body != nil || !closesAfter(response.status))
            && KeepAlivePolicy.mayPersist(exchange, settings)
        var writer = ResponseHeadWriter(status: status, framing: framing, keepsAlive: keepsAlive)
        for field in response.fields { writer.note(FieldID(field.name.span, 0..<field.name.count)) }
        var preview = HeadPreview(settings, of: exchange, in: output)
        writer.appendStatusLine(to: &output)
        writer.appendServerAndDate(exchange, settings.values.serverTokens, to: &output)
        // Of the text that a 304 leaves out it says what a 200 with it would.
        let unsent = status == 304 ? response.body : nil
        if hasContent || unsent != nil, let type, !type.isEmpty {
            ResponseHeadWriter.append(Text.contentType, type, to: &output)
        }
        if case .length(let length) = framing {
            ResponseHeadWriter.append(contentLength: length, to: &output)
        } else if let unsent {
            ResponseHeadWriter.append(contentLength: Int64(unsent.count), to: &output)
        }
        let location = response.location ?? []
        let isAbsolute = RedirectURL.completes(location, settings)
        if isAbsolute { preview.append(location: location, of: exchange, to: &output) }
        writer.appendConnection(settings, to: &output)
        if !isAbsolute, !location.isEmpty {
            preview.append(location: location, of: exchange, to: &output)
        }
        let expires = expires(for: response, status: status, of: exchange, preview, &output)
        exchange.carried.append(besides: expires, to: &output)
        for field in response.fields { ResponseHeadWriter.append(field.name, field.value, to: &output) }
        if let expires {
            ResponseHeadWriter.append(Text.expires, expires.expires, to: &output)
            ResponseHeadWriter.append(Text.cacheControl, expires.cacheControl, to: &output)
        }
        AddedFields.append(
            settings.values.addHeaders, status: status, of: exchange, &preview, to: &output)
        output.append(contentsOf: ResponseHeadWriter.Text.lineEnd)

        if framing == .chunked {
            if !body.isEmpty {
                ChunkedEncoding.appendChunkHead(body.count, to: &output)
                output.append(contentsOf: body)
                output.append(contentsOf: ChunkedEncoding.chunkEnd)
            }
            output.append(contentsOf: ChunkedEncoding.lastChunkLine)
            DownstreamResponseBuilder.appendTrailers(for: exchange, plan: nil, to: &output)
        } else if sendsBody {
            output.append(contentsOf: body)
        }
        return DownstreamResponse(
            status: status, framing: framing, keepsAlive: keepsAlive, sendsTrailers: sendsTrailers)
    }

    /// The text of `stub_status`.
    package static func stubStatus(_ counts: ConnectionCounts) -> LocalResponse {
        var body: [UInt8] = []
        let parts: [(StaticString, Int)] = [
            ("Active connections: ", counts.active),
            (" \nserver accepts handled requests\n ", counts.accepted),
            (" ", counts.handled), (" ", counts.requests), (" \nReading: ", counts.reading),
            (" Writing: ", counts.writing), (" Waiting: ", counts.waiting),
        ]
        for (text, count) in parts {
            body.append(contentsOf: text.description.utf8)
            ASCII.appendDecimal(count, to: &body)
        }
        body.append(contentsOf: " \n".utf8)
        return LocalResponse(status: 200, contentType: Text.plain, body: body)
    }

    // MARK: Parts

    /// What `expires` comes to, whose variables see the fields that it may be about to replace. They are not left in
    /// `output`.
    private static func expires(
        for response: LocalResponse, status: Int, of exchange: Exchange, _ preview: HeadPreview,
        _ output: inout [UInt8]
    ) -> ExpiresPolicy? {
        guard AddedFields.isOrdinary(status) else { return nil }
        let setting = exchange.location.settings.values.expires
        guard setting.isComputed else {
            return ExpiresPolicy(setting, lastModified: nil, exchange: exchange)
        }
        return preview.showing(&output, of: exchange) { output in
            exchange.carried.append(besides: nil, to: &output)
            for field in response.fields {
                ResponseHeadWriter.append(field.name, field.value, to: &output)
            }
        } _: {
            ExpiresPolicy(setting, lastModified: nil, exchange: exchange)
        }
    }

    /// Statuses of built-in pages after which the state of the connection is not to be relied on.
    private static func closesAfter(_ status: Int) -> Bool {
        // The rest of a request that did not come in time may come yet.
        status == 408 || StatusRules.endsConnection(status)
    }

    private static func appendPage(
        title: [UInt8], detail: [UInt8]?, _ tokens: ServerTokens, to page: inout [UInt8]
    ) {
        page.append(copying: Text.pageStart)
        page.append(contentsOf: title)
        page.append(copying: Text.pageHeading)
        if let detail {
            // nginx heads the page with the status that is sent, and says below what is wrong.
            page.append(copying: Text.detailStart)
            page.append(contentsOf: detail)
            page.append(copying: Text.detailEnd)
        } else {
            page.append(contentsOf: title)
            page.append(copying: Text.headingEnd)
        }
        page.append(copying: Text.pageSignature)
        ServerField.appendSignature(tokens, to: &page)
        page.append(copying: Text.pageEnd)
    }

    private enum Text {
        static let detailStart = Array("400 Bad Request</h1></center>\r\n<center>".utf8)
        static let detailEnd = Array("</center>".utf8)
        static let headingEnd = Array("</h1></center>".utf8)
        static let html = Array("text/html".utf8)
        static let plain = Array("text/plain".utf8)
        static let contentType = Array("Content-Type".utf8)
        static let expires = Array("Expires".utf8)
        static let cacheControl = Array("Cache-Control".utf8)
        static let pageStart = Array("<html>\r\n<head><title>".utf8)
        static let pageHeading = Array("</title></head>\r\n<body>\r\n<center><h1>".utf8)
        static let pageSignature = Array("\r\n<hr><center>".utf8)
        static let pageEnd = Array("</center>\r\n</body>\r\n</html>\r\n".utf8)
    }
}
