import Glibc
import Testing

@testable import EventLoop

/// A name server on a loop: answers over UDP and, at the same port, over TCP.
final class FakeNameServer {
    enum RecordType: UInt16, Sendable { case a = 1, cname = 5, aaaa = 28, srv = 33 }

    struct Question: Equatable {
        var name: String
        var type: UInt16
        var isTCP = false
    }

    struct Record: Sendable {
        /// Empty: the name in the question.
        var owner = ""
        var type: RecordType
        var ttl: UInt32
        var data: [UInt8]
    }

    struct Answer: Sendable {
        var code: UInt16 = 0
        var isTruncated = false
        var records: [Record] = []
        /// What becomes of the response in datagrams that are sent ahead of it.
        var strays: [@Sendable (inout [UInt8]) -> Void] = []

        static let notFound = Answer(code: 3)
        static func a(_ addresses: [UInt8]..., of owner: String = "", ttl: UInt32 = 60) -> Answer {
            Answer(records: addresses.map { Record(owner: owner, type: .a, ttl: ttl, data: $0) })
        }
        static func aaaa(_ address: [UInt8], ttl: UInt32 = 60) -> Answer {
            Answer(records: [Record(type: .aaaa, ttl: ttl, data: address)])
        }
        static func alias(_ target: String, of owner: String = "", ttl: UInt32 = 60) -> Answer {
            Answer(records: [Record(owner: owner, type: .cname, ttl: ttl, data: FakeNameServer.wire(target))])
        }
        static func services(_ records: ServiceRecord..., ttl: UInt32 = 60) -> Answer {
            Answer(
                records: records.map { record in
                    var data: [UInt8] = []
                    for number in [record.priority, record.weight, record.port] {
                        data.append(bigEndian: number)
                    }
                    return Record(type: .srv, ttl: ttl, data: data + FakeNameServer.wire(record.target))
                })
        }
        static func + (first: Answer, second: Answer) -> Answer {
            var answer = first
            answer.records += second.records
            return answer
        }
    }

    static func wire(_ name: String) -> [UInt8] {
        name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    private(set) var questions: [Question] = []
    let port: UInt16
    var address: String { "127.0.0.1:\(port)" }

    private let answer: (Question) -> Answer?
    private var datagrams: DatagramChannel?
    private var listener: TCPListener?

    /// `answer` gives `nil` for silence.
    init(loop: EventLoop, answer: @escaping (Question) -> Answer?) throws {
        self.answer = answer
        let localhost = try #require(SocketAddress(numericHost: "127.0.0.1", port: 0))
        let stream = try Sockets.listen(on: localhost, options: .init())
        port = try #require(Sockets.localAddress(stream)).port
        let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let datagram = socket(AF_INET, type, 0)
        let bound = unsafe try SocketAddress.ipv4(0x7F00_0001, port: port).withSockaddr(for: "bind") {
            unsafe bind(datagram, $0, $1)
        }
        try #require(bound == 0)
        let datagrams = DatagramChannel(loop: loop, descriptor: datagram)
        datagrams.server = self
        let listener = TCPListener(loop: loop, descriptor: stream)
        listener.server = self
        try datagrams.register()
        try listener.startListening()
        self.datagrams = datagrams
        self.listener = listener
    }

    deinit { close() }

    func close() {
        datagrams?.close()
        listener?.close()
    }

    /// The response to a query's bytes, after what goes ahead of it; nothing for silence.
    fileprivate func respond(_ query: [UInt8], isTCP: Bool) -> [[UInt8]] {
        var labels: [String] = []
        var position = 12
        while position < query.count, query[position] != 0 {
            let end = position + 1 + Int(query[position])
            guard end < query.count else { return [] }
            labels.append(String(decoding: query[(position + 1)..<end], as: UTF8.self))
            position = end
        }
        guard query.count >= position + 5 else { return [] }
        let type = UInt16(query[position + 1]) << 8 | UInt16(query[position + 2])
        let question = Question(name: labels.joined(separator: "."), type: type, isTCP: isTCP)
        questions.append(question)
        guard let answer = answer(question) else { return [] }
        let flags = 0x8180 | answer.code | (answer.isTruncated ? 0x0200 : 0)
        var response = Array(query[0..<2])
        for number in [flags, 1, UInt16(answer.records.count), 0, 0] { response.append(bigEndian: number) }
        response += query[12..<(position + 5)]
        for record in answer.records {
            response += record.owner.isEmpty ? [0xC0, 12] : Self.wire(record.owner)
            response.append(bigEndian: record.type.rawValue)
            response.append(bigEndian: 1)
            response.append(bigEndian: UInt16(record.ttl >> 16))
            response.append(bigEndian: UInt16(record.ttl & 0xFFFF))
            response.append(bigEndian: UInt16(record.data.count))
            response += record.data
        }
        let strays = answer.strays.map { change in
            var stray = response
            change(&stray)
            return stray
        }
        return strays + [response]
    }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian number: UInt16) {
        append(UInt8(number >> 8))
        append(UInt8(number & 0xFF))
    }
}

private final class DatagramChannel: Channel {
    weak var server: FakeNameServer?

    override func readable() {
        while true {
            var buffer = [UInt8](repeating: 0, count: 512)
            var from = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            // The variables are as large as is said, and stay for the length of the calls.
            let count = unsafe withUnsafeMutablePointer(to: &from) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
                }
            }
            guard count > 0 else { break }
            for response in server?.respond(Array(buffer.prefix(count)), isTCP: false) ?? [] {
                _ = unsafe withUnsafePointer(to: &from) { pointer in
                    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        unsafe sendto(descriptor, response, response.count, 0, $0, length)
                    }
                }
            }
        }
        mayRead = false
    }
}

private final class TCPListener: ListenerChannel {
    weak var server: FakeNameServer?

    override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
        let connection = TCPConnection(loop: loop, descriptor: descriptor)
        connection.server = server
        try? connection.register()
    }
}

private final class TCPConnection: StreamChannel {
    weak var server: FakeNameServer?
    private var input: [UInt8] = []

    override func readable() {
        while mayRead {
            guard case .bytes(let count) = read() else { return close() }
            input += loop.copyReceived(count)
            while input.count >= 2 {
                let length = Int(input[0]) << 8 | Int(input[1])
                guard input.count >= 2 + length else { break }
                let responses = server?.respond(Array(input[2..<(2 + length)]), isTCP: true)
                input.removeFirst(2 + length)
                guard let response = responses?.last else { continue }
                // In pieces: a reader must put them together.
                send([UInt8(response.count >> 8)])
                send([UInt8(response.count & 0xFF)])
                send(response)
            }
        }
    }
}
