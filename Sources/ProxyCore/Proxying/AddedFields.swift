internal import Config
internal import Wire

/// `add_header`, `expires` and `add_trailer`: what the configuration puts on a response.
enum AddedFields {
    /// Statuses that fields without `always` go with.
    static func isOrdinary(_ status: Int) -> Bool {
        switch status {
        case 200, 201, 204, 206, 301, 302, 303, 304, 307, 308: true
        default: false
        }
    }

    /// Appends the fields of a head, each of which sees those before it in `$sent_http_*`.
    static func append(
        _ headers: [AddedHeader], status: Int, of exchange: Exchange, _ preview: inout HeadPreview,
        to output: inout [UInt8]
    ) {
        // As in nginx, they are for clients.
        if exchange.isSubrequest { return }
        let isOrdinary = isOrdinary(status)
        for header in headers where isOrdinary || header.always {
            if header.value.constant == nil { preview.update(output, of: exchange) }
            append(header, of: exchange, to: &output)
        }
    }

    /// Appends the fields of a trailer section, which comes after the head was sent.
    static func append(
        trailers: [AddedHeader], status: Int, of exchange: Exchange, to output: inout [UInt8]
    ) {
        let isOrdinary = isOrdinary(status)
        for trailer in trailers where isOrdinary || trailer.always {
            append(trailer, of: exchange, to: &output)
        }
    }

    private static func append(_ header: AddedHeader, of exchange: Exchange, to output: inout [UInt8]) {
        let start = output.count
        output.append(copying: header.name)
        output.append(copying: ResponseHeadWriter.Text.colonSpace)
        let valueStart = output.count
        exchange.render(header.value, into: &output)
        guard output.count > valueStart else {
            output.removeLast(valueStart - start)
            return
        }
        ByteText.neutraliseLineEnds(in: &output, from: valueStart)
        output.append(copying: ResponseHeadWriter.Text.lineEnd)
    }

    /// Whether a field of the response gives way to an `add_header` of the same name, as nginx has it for these.
    static func replaces(_ id: FieldID, _ headers: [AddedHeader], status: Int) -> Bool {
        guard !headers.isEmpty, id == .lastModified || id == .etag else { return false }
        let isOrdinary = isOrdinary(status)
        let name = id == .etag ? etag : lastModified
        return headers.contains { (isOrdinary || $0.always) && ByteText.equal($0.name, lowercase: name) }
    }

    static func hasTrailers(_ trailers: [AddedHeader], status: Int) -> Bool {
        guard !trailers.isEmpty else { return false }
        return isOrdinary(status) || trailers.contains(where: \.always)
    }

    private static let etag = Array("etag".utf8)
    private static let lastModified = Array("last-modified".utf8)
}
