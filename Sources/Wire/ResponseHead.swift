/// A response's head as received, the counterpart of `RequestHead`.
package struct ResponseHead: Sendable {
    package var bytes: [UInt8] = []
    package var fields: [FieldLine] = []
    package var status = 0
    package var reason = Range<Int>.empty
    package var version = HTTPVersion.v1_1
    /// By RFC 9112 §6.3, the request's method having been taken into account.
    package var framing = BodyFraming.none
    package var wantsKeepAlive = true
    package var connectionHasUpgrade = false

    package init() {}

    package mutating func removeAll() { fatalError("being written") }
    package func firstIndex(of id: FieldID) -> Int? { fatalError("being written") }
}

package enum ResponseViolation: String, Sendable, Error, CaseIterable {
    case invalidStatusLine, unsupportedVersion, invalidStatus, bareCarriageReturn, invalidFieldName
    case invalidFieldValue, spaceBeforeColon, obsoleteFolding, invalidContentLength, conflictingContentLength
    case contentLengthWithTransferEncoding, invalidTransferEncoding, headTooLarge
    case transferEncodingInHTTP1_0
}

package struct ResponseHeadParser: Sendable {
    package init() {}

    package mutating func reset() { fatalError("being written") }

    /// - Parameter isHead: the request was a HEAD, so no body follows whatever the fields say.
    package mutating func parse(
        _ input: RawSpan, isHead: Bool, maxHead: Int, into head: inout ResponseHead
    ) -> HeadProgress<ResponseViolation> { fatalError("being written") }
}
