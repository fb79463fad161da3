/// A request's head as received, and perhaps edited since: its bytes, and where the parts stand in them.
///
/// Recycled from exchange to exchange: `removeAll` keeps the storage, so a steady state allocates nothing.
package struct RequestHead: Sendable {
    /// The head as received, from the method to the empty line, and behind it the lines that were edited.
    package var bytes: [UInt8] = []
    package var fields: [FieldLine] = []
    package var method = Range<Int>.empty
    /// The request target as received.
    package var target = Range<Int>.empty
    /// The form of `target`, and where its parts stand.
    package var targetParts = RequestTarget()
    /// 1.1 stands for every later minor version too.
    package var version = HTTPVersion.v1_1
    package var framing = BodyFraming.none
    /// From `Connection` and the version; whatever the configuration may decide besides.
    package var wantsKeepAlive = true
    /// `Expect: 100-continue`, from HTTP/1.1 and with a body.
    package var expectsContinue = false
    /// The position of the first field with each of a few ids in `fields`, or -1.
    package var hostIndex = -1
    /// -1, too, for a field that was written here while the client sent none: it has then asked for nothing.
    package var upgradeIndex = -1
    package var connectionIndex = -1
    /// The `Connection` field holds the option `upgrade`. Meaningless in HTTP/1.0 (RFC 9110 §7.8), where it
    /// is recorded all the same. After an edit, the client has sent it and it still stands.
    package var connectionHasUpgrade = false
    package var editsStart = -1
    /// Fields `Connection` and `Upgrade`, and those with the key and the offers of a WebSocket's client, that were received
    /// and are no longer among `fields`.
    package internal(set) var struckFields: [FieldLine] = []

    package init() {}

    package mutating func removeAll() {
        bytes.clear()
        fields.removeAll(keepingCapacity: true)
        method = .empty
        target = .empty
        targetParts = RequestTarget()
        version = .v1_1
        framing = .none
        wantsKeepAlive = true
        expectsContinue = false
        hostIndex = -1
        upgradeIndex = -1
        connectionIndex = -1
        connectionHasUpgrade = false
        editsStart = -1
        if !struckFields.isEmpty { struckFields.removeAll(keepingCapacity: true) }
    }

    /// The first field with `id`, `id` not being `.other`.
    @inline(__always)
    package func firstIndex(of id: FieldID) -> Int? { fields.firstIndex { $0.id == id } }

    /// A field's line as it was received, without its end.
    package func text(of field: FieldLine) -> String {
        String(decoding: bytes[field.line], as: UTF8.self)
    }

    /// The fields with `id` as the client sent them, in its order; `id` is one of those that `struckFields` has.
    package func receivedFields(_ id: FieldID) -> [FieldLine] {
        var received = fields.filter { $0.id == id && !$0.isEdited }
        for field in struckFields where field.id == id { received.append(field) }
        if received.count > 1, !struckFields.isEmpty { received.sort { $0.nameStart < $1.nameStart } }
        return received
    }

    /// The first value with `id` as the client sent it; `id` is one of those that `struckFields` has.
    package func receivedValue(of id: FieldID) -> Range<Int>? {
        let field = fields.first { $0.id == id && !$0.isEdited } ?? struckFields.first { $0.id == id }
        return field?.value
    }

    /// Whether the method is `name`.
    @inline(__always)
    package func isMethod(_ name: Method) -> Bool { name.equals(bytes.span, method) }
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

extension HeadProgress: Equatable where Violation: Equatable {}

/// Why a request head was refused, with the status that answers it.
package enum RequestViolation: String, Sendable, Error, CaseIterable {
    case invalidMethod, invalidTarget, invalidVersion, unsupportedVersion, invalidRequestLine,
        bareCarriageReturn
    case invalidFieldName, invalidFieldValue, spaceBeforeColon, obsoleteFolding, missingHost, repeatedHost
    case repeatedField
    case invalidHost, invalidContentLength, conflictingContentLength, contentLengthWithTransferEncoding
    case invalidTransferEncoding, transferEncodingInHTTP1_0, requestLineTooLong, headTooLarge
    case unknownTransferCoding, fieldLineTooLong

    /// The status to send: 414 when the request line is too long, 501 for an unknown transfer coding, 505 for
    /// an unsupported major version, else 400.
    package var status: Int {
        switch self {
        case .requestLineTooLong: 414
        case .unknownTransferCoding: 501
        case .unsupportedVersion: 505
        default: 400
        }
    }

    /// The status that `error_page` and the log know it by: nginx's 494 for a head or field that is too
    /// large.
    package var nginxStatus: Int {
        switch self {
        case .headTooLarge, .fieldLineTooLong: 494
        default: status
        }
    }
}
