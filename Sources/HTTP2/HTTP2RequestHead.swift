internal import Bytes
package import Wire

/// Takes the fields of an HTTP/2 request as they are decoded, checks them, and writes the head that the request would
/// have had over HTTP/1.1.
///
/// All that is behind it (routing, variables, scripts, upstreams) knows requests in that form. Nothing of the peer's
/// gets into the head that has not been checked before, so that no field can end a line, and none can say
/// anything about framing: that is written here, by the stream's own end.
package struct HTTP2RequestHead {
    /// In bytes. A head is measured by what it would take over HTTP/1.1, so that the limits are those of there.
    package struct Limits: Sendable {
        package var maxRequestLine = 8192
        package var maxFieldLine = 8192
        package var maxList = 4 * 8192
        package var maxFields = 1000

        /// What no head that is allowed goes beyond, with the 32 bytes that RFC 9113 §6.5.2 adds for each field.
        var announcedList: Int { maxList + 32 * maxFields }

        package init() {}
    }

    package enum Outcome: Sendable, Equatable {
        case request(Kind)
        /// The stream ends with PROTOCOL_ERROR.
        case malformed(HTTP2Malformation)
        /// The request is well-formed, but answered with this status, as nginx knows it: 414, 494, 501.
        case refused(status: Int)
    }

    /// How what follows the head is to be read.
    package enum Kind: Sendable, Equatable {
        /// Nothing, or as many bytes as `content-length` says.
        case plain
        /// Up to the stream's end: in chunks, in terms of HTTP/1.1.
        case chunked
        /// An extended CONNECT (RFC 8441) that became an upgrade to `websocket`.
        case webSocket
    }

    package var limits = Limits()
    private var text: [UInt8] = []
    private var method: Range<Int>?
    private var scheme: Range<Int>?
    private var path: Range<Int>?
    private var authority: Range<Int>?
    private var protocolName: Range<Int>?
    private var host: Range<Int>?
    private var lines: [UInt8] = []
    private var cookie: [UInt8] = []
    /// Where lines stand in `lines`, behind a place for that of `Host`.
    private var fields: [FieldLine] = []
    /// All lines are plain, and in `fields`.
    private var isPlain = true
    private var isKnown = false
    private var fieldCount = 0
    private var listSize = 0
    private var sawField = false
    private var refusal = 0
    private var malformation: HTTP2Malformation?
    /// As the request says; -1 when it does not.
    package private(set) var contentLength: Int64 = -1

    package init() {}

    package mutating func removeAll() {
        text.removeAll(keepingCapacity: true)
        method = nil
        scheme = nil
        path = nil
        authority = nil
        protocolName = nil
        host = nil
        lines.removeAll(keepingCapacity: true)
        cookie.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
        isPlain = true
        isKnown = false
        fieldCount = 0
        listSize = 0
        sawField = false
        refusal = 0
        malformation = nil
        contentLength = -1
    }

    /// The request is a HEAD, as far as was read: what came of it does not say so where it is none.
    var isHead: Bool { method.map { Method.head.equals(text.span, $0) } ?? false }

    /// Whether the list is so much too long that it is not worth looking at what else comes.
    var isHopeless: Bool { listSize > 4 * limits.maxList }

    // MARK: Fields

    /// The next field of the request's head.
    package mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        guard malformation == nil, !isHopeless else { return }
        // A colon, a space and the end of the line. What the names of pseudo-header fields become is shorter.
        listSize &+= value.count &+ 4
        if name.count > 0, name[0] == UInt8(ascii: ":") {
            malformation = addPseudoField(name, value)
            if isHopeless, refusal == 0 { refusal = 494 }
        } else {
            sawField = true
            listSize &+= name.count
            fieldCount &+= 1
            if listSize > limits.maxList || fieldCount > limits.maxFields
                || name.count &+ value.count &+ 2 > limits.maxFieldLine
            {
                if refusal == 0 { refusal = 494 }
                return
            }
            malformation = addField(name, value)
        }
    }

    private mutating func addPseudoField(_ name: Span<UInt8>, _ value: Span<UInt8>) -> HTTP2Malformation? {
        if sawField { return .latePseudoField }
        let all = 0..<name.count
        if Names.method.matches(name, all) {
            if let malformation = violation(name, isRepeated: method != nil) { return malformation }
            method = keep(value)
        } else if Names.path.matches(name, all) {
            if let malformation = violation(name, isRepeated: path != nil) { return malformation }
            path = keep(value, tooLong: 414)
        } else if Names.scheme.matches(name, all) {
            if let malformation = violation(name, isRepeated: scheme != nil) { return malformation }
            scheme = keep(value)
        } else if Names.authority.matches(name, all) {
            if let malformation = violation(name, isRepeated: authority != nil) { return malformation }
            authority = keep(value)
        } else if Names.protocol.matches(name, all) {
            if let malformation = violation(name, isRepeated: protocolName != nil) { return malformation }
            protocolName = keep(value)
        } else {
            return .unknownPseudoField
        }
        return nil
    }

    private func violation(_ pseudoField: Span<UInt8>, isRepeated: Bool) -> HTTP2Malformation? {
        if Self.hasCapitals(pseudoField) { return .upperCaseFieldName }
        return isRepeated ? .repeatedPseudoField : nil
    }

    /// Keeps a pseudo-header field's value, but for one that is too long, which is only counted as there.
    ///
    /// - Parameters:
    ///   - value: of the field.
    ///   - status: that answers one which is too long.
    /// - Returns: where it stands in `text`.
    private mutating func keep(_ value: Span<UInt8>, tooLong status: Int = 494) -> Range<Int> {
        if value.count > limits.maxRequestLine {
            if refusal == 0 { refusal = status }
            return .empty
        }
        let start = text.count
        text.append(value)
        return start..<text.count
    }

    private mutating func addField(_ name: Span<UInt8>, _ value: Span<UInt8>) -> HTTP2Malformation? {
        if !FieldSyntax.isPlainSmallName(name) || !FieldSyntax.isPlainValue(value) {
            if let malformation = Self.violation(name, value) { return malformation }
            isPlain = false
        }
        let id = FieldID(name, 0..<name.count)
        switch id {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade:
            return .connectionSpecificField
        case .te:
            if !Keyword.trailers.matches(value, 0..<value.count) { return .invalidTE }
        case .contentLength:
            guard contentLength < 0 else { return .repeatedContentLength }
            guard let length = ASCII.decimal(value, 0..<value.count) else { return .invalidContentLength }
            contentLength = length
        case .host:
            guard host == nil else { return .repeatedHost }
            let start = text.count
            text.append(value)
            host = start..<text.count
            return nil
        case .cookie:
            // RFC 9113 §8.2.3: crumbs of one field, which is one line again for whoever reads it.
            if !cookie.isEmpty { cookie.append(copying: Text.cookieSeparator) }
            cookie.append(value)
            return nil
        case .secWebSocketKey where protocolName != nil:
            // RFC 8441 §5: it is not used there; the upstream gets one of our own.
            return nil
        default: break
        }
        note(id, at: lines.count, nameLength: name.count, valueLength: value.count)
        lines.appendFieldLine(name, value)
        return nil
    }

    /// Keeps where a line stands.
    private mutating func note(_ id: FieldID, at start: Int, nameLength: Int, valueLength: Int) {
        guard isPlain else { return }
        guard start &+ nameLength &+ valueLength < Int(Int32.max), nameLength <= Int(UInt16.max) else {
            isPlain = false
            return
        }
        if fields.isEmpty { fields.append(Self.line(.host, at: 0, nameLength: 0, valueLength: 0)) }
        fields.append(Self.line(id, at: start, nameLength: nameLength, valueLength: valueLength))
    }

    private static func line(_ id: FieldID, at start: Int, nameLength: Int, valueLength: Int) -> FieldLine {
        FieldLine(
            nameStart: UInt32(truncatingIfNeeded: start), nameLength: UInt16(truncatingIfNeeded: nameLength),
            id: id, valueStart: UInt32(truncatingIfNeeded: start &+ nameLength &+ 2),
            valueLength: UInt32(truncatingIfNeeded: valueLength), isTidy: true)
    }

    /// What is wrong with a field by itself (RFC 9113 §8.2.1); more strictly than there, no control character is let
    /// through but the tab.
    static func violation(_ name: Span<UInt8>, _ value: Span<UInt8>) -> HTTP2Malformation? {
        if !FieldSyntax.isPlainSmallName(name) {
            guard FieldSyntax.isName(name) else { return .invalidFieldName }
            if hasCapitals(name) { return .upperCaseFieldName }
        }
        guard FieldSyntax.isValue(value) else { return .invalidFieldValue }
        guard value.count > 0 else { return nil }
        return isBlank(value[0]) || isBlank(value[value.count &- 1]) ? .invalidFieldValue : nil
    }

    /// A space or a tab.
    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    private static func hasCapitals(_ name: Span<UInt8>) -> Bool {
        for index in 0..<name.count where name[index] &- 0x41 < 26 { return true }
        return false
    }

    // MARK: The end of the head

    /// The head is whole.
    ///
    /// - Parameters:
    ///   - endsStream: nothing follows.
    ///   - key: 16 random bytes, for the `Sec-WebSocket-Key` of an upgrade.
    ///   - output: gets the head, if there is a request; else, as far as that can be said, its first line.
    /// - Returns: what has come of the request.
    package mutating func finish(endsStream: Bool, key: (UInt64, UInt64), to output: inout [UInt8]) -> Outcome
    {
        if malformation == nil { malformation = violation(endsStream: endsStream) }
        if let malformation {
            appendLogLine(to: &output)
            return .malformed(malformation)
        }
        if refusal != 0 {
            appendLogLine(to: &output)
            return .refused(status: refusal)
        }
        guard let method else { return .malformed(.missingPseudoField) }
        if let protocolName {
            guard Names.webSocket.matches(text.span, protocolName) else {
                appendLogLine(to: &output)
                return .refused(status: 501)
            }
            appendRequestLine(method: Text.get.span, to: &output)
            output.append(copying: Text.upgrade)
            output.append(contentsOf: Base64.encode(bytes(of: key)))
            output.append(copying: Text.lineEnd)
            appendLines(to: &output)
            return .request(.webSocket)
        }
        let start = output.count
        appendRequestLine(method: text.span.extracting(method), to: &output)
        let isChunked = !endsStream && contentLength < 0 && !Method.connect.equals(text.span, method)
        if isChunked { output.append(copying: Text.chunked) }
        let linesStart = output.count
        appendLines(to: &output)
        isKnown = isPlain && !isChunked && start == 0 && output.count < Int(Int32.max)
        if isKnown { shiftLines(to: linesStart) }
        return .request(isChunked ? .chunked : .plain)
    }

    /// Leaves in `known` where the lines stand in the head that `finish` has written, if all are plain. Otherwise it has
    /// to be looked at for them.
    ///
    /// - Parameter known: empty; its storage is kept for the next head.
    package mutating func giveLines(to known: inout [FieldLine]) { if isKnown { swap(&known, &fields) } }

    /// Makes places of `fields` those in the head, where `lines` begin at `start`.
    private mutating func shiftLines(to start: Int) {
        guard let named = authority ?? host, !named.isEmpty else {
            isKnown = false
            return
        }
        let hostLine = Self.line(
            .host, at: start &- named.count &- Text.host.count &- 4, nameLength: Text.host.count,
            valueLength: named.count)
        if fields.isEmpty { fields.append(hostLine) } else { fields[0] = hostLine }
        for index in 1..<fields.count {
            fields[index].nameStart &+= UInt32(truncatingIfNeeded: start)
            fields[index].valueStart &+= UInt32(truncatingIfNeeded: start)
        }
        if !cookie.isEmpty {
            let position = start &+ lines.count
            fields.append(
                Self.line(.cookie, at: position, nameLength: Text.cookie.count, valueLength: cookie.count))
        }
    }

    private func violation(endsStream: Bool) -> HTTP2Malformation? {
        guard let method else { return .missingPseudoField }
        guard !method.isEmpty, FieldSyntax.isName(text.span.extracting(method)) else { return .invalidMethod }
        if let protocolName {
            guard Method.connect.equals(text.span, method) else { return .protocolWithoutConnect }
            guard FieldSyntax.isName(text.span.extracting(protocolName)) else { return .invalidProtocol }
            guard authority != nil else { return .missingPseudoField }
            if contentLength >= 0 { return .contentWithConnect }
        } else if Method.connect.equals(text.span, method) {
            // RFC 9113 §8.5
            if scheme != nil || path != nil { return .pseudoFieldWithConnect }
            guard authority != nil else { return .missingPseudoField }
            return authorityViolation
        }
        guard let scheme, let path else { return .missingPseudoField }
        let name = text.span.extracting(scheme)
        guard
            refusal != 0 || Names.http.matches(name, 0..<name.count)
                || Names.https.matches(name, 0..<name.count)
        else { return .invalidScheme }
        if refusal == 0, let malformation = pathViolation(path, method) { return malformation }
        if let malformation = authorityViolation { return malformation }
        if endsStream, contentLength > 0 { return .contentLengthMismatch }
        return nil
    }

    /// RFC 9113 §8.3.1: begins with a slash, but for `OPTIONS *`. Anything else would be another form of target in
    /// the request line.
    private func pathViolation(_ path: Range<Int>, _ method: Range<Int>) -> HTTP2Malformation? {
        let bytes = text.span.extracting(path)
        guard bytes.count > 0 else { return .invalidPath }
        if bytes.count == 1, bytes[0] == UInt8(ascii: "*") {
            return Self.options.equals(text.span, method) ? nil : .invalidPath
        }
        guard bytes[0] == UInt8(ascii: "/") else { return .invalidPath }
        return FieldSyntax.isUnbroken(bytes) ? nil : .invalidPath
    }

    private var authorityViolation: HTTP2Malformation? {
        if let authority, refusal == 0 {
            guard Authority.isValid(text.span, authority) else { return .invalidAuthority }
            guard let host else { return nil }
            let (a, b) = (text.span.extracting(authority), text.span.extracting(host))
            return ASCII.equalIgnoringCase(a, b) ? nil : .hostDiffersFromAuthority
        }
        return nil
    }

    // MARK: Writing

    private func appendRequestLine(method: Span<UInt8>, to output: inout [UInt8]) {
        // With all that is to follow, in one piece.
        output.reserveCapacity(
            output.count &+ method.count &+ text.count &+ lines.count &+ cookie.count &+ Text.maxAdded)
        let bytes = text.span
        let target = bytes.extracting(path ?? authority ?? .empty)
        let version = Text.version.span
        output.append(addingCapacity: method.count &+ target.count &+ version.count &+ 1) { line in
            line.append(method)
            line.append(0x20)
            line.append(target)
            line.append(version)
        }
        if let named = authority ?? host {
            output.appendFieldLine(Text.host.span, bytes.extracting(named))
        }
    }

    private func appendLines(to output: inout [UInt8]) {
        output.append(lines.span)
        if !cookie.isEmpty {
            output.appendFieldLine(Text.cookie.span, cookie.span)
        }
        output.append(copying: Text.lineEnd)
    }

    /// The request line for a log, of parts that may hold anything.
    private func appendLogLine(to output: inout [UInt8]) {
        let bytes = text.span
        for part in [method, path ?? authority] {
            guard let part, !part.isEmpty else { return }
            for index in part where bytes[index] <= 0x20 || bytes[index] == 0x7f { return }
        }
        guard let method, let target = path ?? authority else { return }
        output.append(bytes.extracting(method))
        output.append(0x20)
        output.append(bytes.extracting(target))
        output.append(copying: Text.loggedVersion)
    }

    private func bytes(of key: (UInt64, UInt64)) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: key.0 >> UInt64(shift * 8))) }
        for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: key.1 >> UInt64(shift * 8))) }
        return bytes
    }

    private static let options = Method("OPTIONS")

    private enum Names {
        static let method: Keyword = ":method"
        static let scheme: Keyword = ":scheme"
        static let path: Keyword = ":path"
        static let authority: Keyword = ":authority"
        static let `protocol`: Keyword = ":protocol"
        static let webSocket: Keyword = "websocket"
        static let http: Keyword = "http"
        static let https: Keyword = "https"
    }

    private enum Text {
        /// Bytes of a head that are none of the request's: more than the longest of what is below, together.
        static let maxAdded = 192
        static let lineEnd: [UInt8] = [13, 10]
        static let cookieSeparator = Array("; ".utf8)
        static let get = Array("GET".utf8)
        static let version = Array(" HTTP/1.1\r\n".utf8)
        static let loggedVersion = Array(" HTTP/2.0\r\n".utf8)
        static let host = Array("Host".utf8)
        static let cookie = Array("Cookie".utf8)
        static let chunked = Array("Transfer-Encoding: chunked\r\n".utf8)
        static let upgrade = Array("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ".utf8)
    }
}

/// Checks the trailers of a request, and writes them as lines.
package struct HTTP2TrailerLines {
    package private(set) var lines: [UInt8] = []
    package private(set) var malformation: HTTP2Malformation?
    private var fieldCount = 0

    package init() {}

    package mutating func removeAll() {
        lines.removeAll(keepingCapacity: true)
        malformation = nil
        fieldCount = 0
    }

    package mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        guard malformation == nil else { return }
        fieldCount &+= 1
        if name.count > 0, name[0] == UInt8(ascii: ":") {
            malformation = .pseudoFieldInTrailers
        } else if lines.count &+ name.count &+ value.count &+ 6 > BodyDecoder.maxTrailers
            || fieldCount > BodyDecoder.maxTrailerFields
        {
            // More than the reader of a chunked body takes.
            malformation = .trailersTooLarge
        } else if let violation = HTTP2RequestHead.violation(name, value) {
            malformation = violation
        } else {
            switch FieldID(name, 0..<name.count) {
            case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .te:
                malformation = .connectionSpecificField
            default: lines.appendFieldLine(name, value)
            }
        }
    }
}
