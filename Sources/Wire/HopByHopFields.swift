/// Tells which fields of a received message end at this proxy (RFC 9110 §7.6.1): the known ones, and those
/// that a `Connection` field of the same message nominates.
///
/// Applies to received fields only, never to what the configuration or a script sets: a client cannot nominate away
/// an `X-Forwarded-For` that is added here. Of what it sends itself it can take away anything but `Host` and
/// `Content-Length`: the message would be another one without them, so their nomination is ignored, and
/// framing is in any case made from what the parser decided, not from the fields that are sent on. A
/// nominated `Cookie` or `Authorization` is dropped, as the RFC demands; that leaves the sender with less,
/// never with more. `Trailer` is not among the known ones, as trailers are sent on.
package struct HopByHopFields: Sendable {
    /// The ids to drop.
    private var ids = HopByHopFields.known
    /// Nominated names that have no id, as ranges of the head's bytes. Kept empty in nearly every message.
    private var names: [Range<Int>] = []

    package init() {}

    /// Looks at the received `Connection` fields of a head, `connectionIndex` being the first one's place in
    /// `fields`, or -1, and `struck` those that an edit took away.
    package mutating func prepare(
        bytes: [UInt8], fields: [FieldLine], connectionIndex: Int, struck: [FieldLine] = []
    ) {
        ids = Self.known
        if !names.isEmpty { names.removeAll(keepingCapacity: true) }
        for field in struck where field.id == .connection { note(field, bytes.span) }
        guard connectionIndex >= 0 else { return }
        for index in connectionIndex..<fields.count where fields[index].id == .connection {
            if !fields[index].isEdited { note(fields[index], bytes.span) }
        }
    }

    private mutating func note(_ connection: FieldLine, _ octets: Span<UInt8>) {
        var options = ListElements(connection)
        while let option = options.next(octets) {
            // `close` and `keep-alive` are options and the latter's field is known anyway.
            if Names.close.matches(octets, option) { continue }
            switch FieldID(octets, option) {
            case .other, .xAccel:
                // More would only serve to make each field's lookup slow.
                if names.count < Self.maxNames, isToken(octets, option) { names.append(option) }
            case let id where Self.protected.contains(id):
                continue
            case let id:
                ids.insert(id)
            }
        }
    }

    package mutating func prepare(_ head: RequestHead) {
        prepare(
            bytes: head.bytes, fields: head.fields, connectionIndex: head.connectionIndex,
            struck: head.struckFields)
    }

    package mutating func prepare(_ head: ResponseHead) {
        prepare(bytes: head.bytes, fields: head.fields, connectionIndex: head.connectionIndex)
    }

    /// Whether `field`, of the head last prepared, must not be sent on.
    @inline(__always)
    package func contains(_ field: FieldLine, in bytes: [UInt8]) -> Bool {
        if ids.contains(field.id) { return !field.isEdited || Self.known.contains(field.id) }
        return !names.isEmpty && isNominated(field, in: bytes)
    }

    private func isNominated(_ field: FieldLine, in bytes: [UInt8]) -> Bool {
        guard field.id == .other || field.id == .xAccel, !field.isEdited else { return false }
        let octets = bytes.span
        let name = octets.extracting(field.name)
        for nominated in names {
            if ASCII.equalIgnoringCase(octets.extracting(nominated), name) { return true }
        }
        return false
    }

    package static let known: FieldIDSet = [
        .connection, .keepAlive, .proxyConnection, .te, .transferEncoding, .upgrade, .http2Settings,
    ]
    package static let protected: FieldIDSet = [.host, .contentLength]
    static let maxNames = 64
}
