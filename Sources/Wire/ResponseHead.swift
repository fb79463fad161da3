/// A response's head as received, and perhaps edited since; the counterpart of `RequestHead`.
package struct ResponseHead: Sendable {
    package var bytes: [UInt8] = []
    package var fields: [FieldLine] = []
    package var status = 0
    package var reason = Range<Int>.empty
    package var version = HTTPVersion.v1_1
    /// By RFC 9112 §6.3, the request's method having been taken into account.
    package var framing = BodyFraming.none
    /// Whether the connection can serve another exchange once the body is read. False, too, for a body that
    /// ends with the connection, and for a response that must not have a body but announces one: whether the
    /// bytes that follow are a body or a response nobody can tell.
    package var wantsKeepAlive = true
    /// The position of the first field with each of a few ids in `fields`, or -1.
    package var upgradeIndex = -1
    package var connectionIndex = -1
    package var connectionHasUpgrade = false
    /// There is a field `X-Accel-…`.
    package var hasAccelFields = false
    package var editsStart = -1

    /// A server that sends more 1xx heads than this never means to answer.
    package static let maxInterimHeads = 100
    /// What answers `Expect: 100-continue` (RFC 9110 §10.1.1).
    package static let continueHead: [UInt8] = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)

    package init() {}

    package mutating func removeAll() {
        bytes.clear()
        fields.removeAll(keepingCapacity: true)
        status = 0
        reason = .empty
        version = .v1_1
        framing = .none
        wantsKeepAlive = true
        upgradeIndex = -1
        connectionIndex = -1
        connectionHasUpgrade = false
        hasAccelFields = false
        editsStart = -1
    }

    /// The first field with `id`, `id` not being `.other`.
    @inline(__always)
    package func firstIndex(of id: FieldID) -> Int? { fields.firstIndex { $0.id == id } }

    /// The first value with `id` as the upstream sent it, whatever a script has made of that since.
    package func receivedValue(of id: FieldID) -> Range<Int>? {
        guard editsStart >= 0 else { return firstIndex(of: id).map { fields[$0].value } }
        // What was received stands before what was written.
        var received = ResponseHead()
        var parser = ResponseHeadParser()
        let head = RawSpan(_elements: bytes.span.extracting(0..<editsStart))
        guard case .complete = parser.parse(head, isHead: false, maxHead: editsStart, into: &received),
            let index = received.firstIndex(of: id)
        else { return nil }
        return received.fields[index].value
    }
}

/// Why a response head was refused. The client is answered 502 for each of them.
package enum ResponseViolation: String, Sendable, Error, CaseIterable {
    case invalidStatusLine, unsupportedVersion, invalidStatus, bareCarriageReturn, invalidFieldName
    case invalidFieldValue, spaceBeforeColon, obsoleteFolding, invalidContentLength, conflictingContentLength
    case contentLengthWithTransferEncoding, invalidTransferEncoding, headTooLarge
    case transferEncodingInHTTP1_0
}
