/// RFC 1035 §4.1, as far as looking for a name's addresses and services needs it.
///
/// Names are in their wire form without compression, the root's empty label at their end, in lower case: they are
/// compared without case (RFC 4343).
package enum DNSMessage {
    enum RecordType: UInt16, Sendable { case ipv4 = 1, alias = 5, ipv6 = 28, service = 33 }

    /// RFC 1035 §2.3.4.
    private static let maxName = 255
    private static let maxLabel = 63

    /// The wire form of a name with dots, which may have one at its end; `nil` for what is no name.
    static func name(_ text: String) -> [UInt8]? {
        var labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if labels.count > 1, labels.last?.isEmpty == true { labels.removeLast() }
        var name: [UInt8] = []
        for label in labels {
            guard !label.isEmpty, label.count <= maxLabel else { return nil }
            name.append(UInt8(label.count))
            name.append(contentsOf: label)
        }
        name.append(0)
        guard name.count <= maxName else { return nil }
        lowercase(&name)
        return name
    }

    /// A question for a name's records of one type, which the server is to find the answer of by itself.
    static func query(id: UInt16, name: [UInt8], type: RecordType) -> [UInt8] {
        var message: [UInt8] = [UInt8(id >> 8), UInt8(id & 0xFF), 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        message.append(contentsOf: name)
        message.append(contentsOf: [UInt8(type.rawValue >> 8), UInt8(type.rawValue & 0xFF), 0, 1])
        return message
    }

    /// The text of a name in its wire form, which for the root is empty; `nil` for what no host is called by.
    static func text(of name: [UInt8]) -> String? {
        var labels: [String] = []
        var position = 0
        while position < name.count, name[position] != 0 {
            let label = name[position + 1...position + Int(name[position])]
            // RFC 952's letters, digits and hyphens, and whatever else is printed but for the dot.
            guard label.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ".") }) else { return nil }
            labels.append(String(decoding: label, as: UTF8.self))
            position += 1 + label.count
        }
        return labels.joined(separator: ".")
    }

    /// The bytes of labels' lengths are below those of letters.
    private static func lowercase(_ name: inout [UInt8]) {
        for index in name.indices where (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(name[index]) {
            name[index] |= 0x20
        }
    }

    /// What a server says.
    package struct Response: Equatable, Sendable {
        package enum Data: Equatable, Sendable {
            case address(SocketAddress)
            case alias([UInt8])
            case service(ServiceRecord)
        }

        package struct Record: Equatable, Sendable {
            package var owner: [UInt8]
            /// Seconds.
            package var timeToLive: UInt32
            package var data: Data
        }

        /// RFC 1035 §4.1.1: 0 where there was no error.
        package var code: UInt8
        /// More did not fit; what records there are is not all.
        package var isTruncated: Bool
        /// The answer's addresses, aliases and services, in their order.
        package var records: [Record] = []

        /// - Returns: `nil` for what is no response to a question, or is malformed.
        package init?(_ message: [UInt8]) {
            var reader = Reader(message: message)
            // A response, to a standard query.
            guard message.count >= 12, message[2] & 0xF8 == 0x80, reader.number(at: 4) == 1 else {
                return nil
            }
            isTruncated = message[2] & 0x02 != 0
            code = message[3] & 0x0F
            guard reader.name() != nil, reader.skip(4) else { return nil }
            for _ in 0..<reader.number(at: 6) {
                guard let record = reader.record() else {
                    if isTruncated { return }
                    return nil
                }
                if let data = record.data {
                    records.append(Record(owner: record.owner, timeToLive: record.timeToLive, data: data))
                }
            }
        }
    }

    /// Reads a message's parts one after the other. The header's numbers are there to be read.
    private struct Reader {
        let message: [UInt8]
        private var position = 12

        init(message: [UInt8]) { self.message = message }

        func number(at offset: Int) -> UInt16 { UInt16(message[offset]) << 8 | UInt16(message[offset + 1]) }

        mutating func skip(_ count: Int) -> Bool {
            guard message.count - position >= count else { return false }
            position += count
            return true
        }

        mutating func name() -> [UInt8]? {
            var name: [UInt8] = []
            var offset = position
            // Where the part under way began: RFC 1035 §4.1.4 refers to prior occurrences only, which ends.
            var start = position
            var isElsewhere = false
            while offset < message.count {
                let length = Int(message[offset])
                switch length & 0xC0 {
                case 0:
                    let end = offset + 1 + length
                    guard end <= message.count, name.count + 1 + length <= maxName else { return nil }
                    name.append(contentsOf: message[offset..<end])
                    offset = end
                    guard length == 0 else { continue }
                    if !isElsewhere { position = end }
                    lowercase(&name)
                    return name
                case 0xC0:
                    guard offset + 1 < message.count else { return nil }
                    let target = (length & 0x3F) << 8 | Int(message[offset + 1])
                    guard target >= 12, target < start else { return nil }
                    if !isElsewhere { position = offset + 2 }
                    isElsewhere = true
                    offset = target
                    start = target
                default:
                    return nil
                }
            }
            return nil
        }

        /// A record; without data when nobody looks for its kind.
        mutating func record() -> (owner: [UInt8], timeToLive: UInt32, data: Response.Data?)? {
            guard let owner = name() else { return nil }
            let fields = position
            guard skip(10) else { return nil }
            let type = RecordType(rawValue: number(at: fields))
            let isInternet = number(at: fields + 2) == 1
            var timeToLive = UInt32(number(at: fields + 4)) << 16 | UInt32(number(at: fields + 6))
            // RFC 2181 §8.
            if timeToLive > UInt32(Int32.max) { timeToLive = 0 }
            let start = position
            guard skip(Int(number(at: fields + 8))) else { return nil }
            let end = position
            guard isInternet, let type else { return (owner, timeToLive, nil) }
            let bytes = message[start..<end]
            switch type {
            case .ipv4:
                guard bytes.count == 4 else { return nil }
                let address = bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                return (owner, timeToLive, .address(.ipv4(address, port: 0)))
            case .ipv6:
                guard bytes.count == 16 else { return nil }
                return (owner, timeToLive, .address(.ipv6(Array(bytes), port: 0)))
            case .alias:
                position = start
                guard let target = name(), position == end else { return nil }
                return (owner, timeToLive, .alias(target))
            case .service:
                position = start
                guard bytes.count > 6, skip(6), let target = name(), position == end else { return nil }
                guard let text = DNSMessage.text(of: target) else { return (owner, timeToLive, nil) }
                let service = ServiceRecord(
                    priority: number(at: start), weight: number(at: start + 2), port: number(at: start + 4),
                    target: text)
                return (owner, timeToLive, .service(service))
            }
        }
    }
}

/// RFC 2782: where a service is to be had.
package struct ServiceRecord: Hashable, Sendable {
    /// The lowest comes first.
    package var priority: UInt16
    /// Among those of one priority.
    package var weight: UInt16
    package var port: UInt16
    /// A host's name, in lower case; empty where the service is not to be had.
    package var target: String

    package init(priority: UInt16, weight: UInt16, port: UInt16, target: String) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }
}
