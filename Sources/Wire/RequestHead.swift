/// A request's head as received: its bytes, and where the parts stand in them.
///
/// Recycled from exchange to exchange: `removeAll` keeps the storage, so a steady state allocates nothing.
package struct RequestHead: Sendable {
    /// The head as received, from the method to the empty line.
    package var bytes: [UInt8] = []
    package var fields: [FieldLine] = []
    package var method = Range<Int>.empty
    /// The request target as received.
    package var target = Range<Int>.empty
    package var version = HTTPVersion.v1_1
    package var framing = BodyFraming.none
    /// From `Connection` and the version; whatever the configuration may decide besides.
    package var wantsKeepAlive = true
    /// `Expect: 100-continue`, from HTTP/1.1 and with a body.
    package var expectsContinue = false
    /// The position of the first field with each of a few ids in `fields`, or -1.
    package var hostIndex = -1
    package var upgradeIndex = -1
    package var connectionIndex = -1
    /// The `Connection` field holds the option `upgrade`.
    package var connectionHasUpgrade = false

    package init() {}

    package mutating func removeAll() { fatalError("being written") }

    /// The first field with `id`, `id` not being `.other`.
    package func firstIndex(of id: FieldID) -> Int? { fatalError("being written") }
}

extension Range where Bound == Int {
    package static var empty: Range<Int> { 0..<0 }
}

/// What reading a head has come to.
package enum HeadProgress<Violation: Sendable>: Sendable {
    /// All of the input belongs to the head and more is needed.
    case incomplete
    /// The head is whole and took this many bytes of the input.
    case complete(length: Int)
    case invalid(Violation)
}

/// Why a request head was refused, with the status that answers it.
package enum RequestViolation: String, Sendable, Error, CaseIterable {
    case invalidMethod, invalidTarget, invalidVersion, unsupportedVersion, invalidRequestLine, bareCarriageReturn
    case invalidFieldName, invalidFieldValue, spaceBeforeColon, obsoleteFolding, missingHost, repeatedHost
    case invalidHost, invalidContentLength, conflictingContentLength, contentLengthWithTransferEncoding
    case invalidTransferEncoding, transferEncodingInHTTP1_0, requestLineTooLong, headTooLarge
    case unknownTransferCoding

    /// 400, 414 (request line too long), 431→ nginx answers 400 for a field too long and 414 for the line;
    /// 501 for an unknown transfer coding, 505 for an unsupported major version.
    package var status: Int { fatalError("being written") }
}

/// Reads a request head out of a growing input, strictly by RFC 9112.
///
/// The input is always the head from its first byte. The parser remembers how far it came, so that a head
/// delivered a byte at a time costs no more than one delivered whole.
package struct RequestHeadParser: Sendable {
    package struct Limits: Sendable {
        package var maxRequestLine = 8192
        package var maxFieldLine = 8192
        package var maxHead = 4 * 8192
        package var maxFields = 1000
        package var allowUnderscores = false

        package init() {}
    }

    package init() {}

    package mutating func reset() { fatalError("being written") }

    /// Parses as far as `input` goes. On `.complete` and only then, `head` holds the whole request, its `bytes`
    /// being a copy of the head's part of `input`.
    package mutating func parse(
        _ input: RawSpan, limits: Limits, into head: inout RequestHead
    ) -> HeadProgress<RequestViolation> { fatalError("being written") }
}
