import Config
import ProxyCore
import Synchronization
import Testing
import Wire

typealias Side = TunnelSide

/// Numbers that are the same for a seed.
struct PlaneRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 0x9e37_79b9_7f4a_7c15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_f491_4f6c_dd1d
    }

    mutating func below(_ limit: Int) -> Int { Int(next() >> 33) % max(limit, 1) }
    mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }
    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}

/// A plane between two peers that a test plays.
final class PlaneFixture: WebSocketPlaneOwner {
    private(set) var plane: WebSocketPlane!
    let commons: WebSocketCommons
    var now: Int64 = 1_000_000
    var microseconds: Int64 {
        spent += lookTakes
        return now * 1000 + spent
    }
    /// Microseconds that have passed within `now`, and that pass from one look at the clock to the next.
    private var spent: Int64 = 0
    var lookTakes: Int64 = 0
    /// Sides that are to be gone on with when others have had their turn.
    var resting: [Side] = []
    /// What each peer was sent and has not read.
    var sent: [Side: [UInt8]] = [.client: [], .upstream: []]
    var verdict: (WebSocketItem, Int) -> WebSocketVerdict = { _, _ in .pass }
    var waiting: [WebSocketItem] = []
    var pings: [(token: Int, roundTrip: Int?)] = []
    /// Goes on as whoever waited for the answer does.
    var pingAnswered: ((Int) -> Void)?
    var blocked: Set<Side> = []
    var taking: Set<Side> = []
    var shut: [Side] = []
    var endings = 0
    var cancelled = 0

    init(
        _ directives: String = "", messages: @escaping (Side) -> WebSocketInterest = { _ in .none },
        frames: @escaping (Side) -> WebSocketInterest = { _ in .none },
        codecs: ((DeflatePool) -> WebSocketCodecs)? = nil, reservedBits: UInt8 = 0,
        random: UInt32 = 0x0102_0304
    ) throws {
        var key = random
        commons = WebSocketCommons {
            key = key &* 1_664_525 &+ 1_013_904_223
            return key
        }
        let rules = try Self.rules(directives, commons, messages: messages, frames: frames)
        plane = WebSocketPlane(
            rules, codecs: codecs?(commons.deflatePool), reservedBits: reservedBits, owner: self)
    }

    static func rules(
        _ directives: String, _ commons: WebSocketCommons,
        messages: @escaping (Side) -> WebSocketInterest = { _ in .none },
        frames: @escaping (Side) -> WebSocketInterest = { _ in .none }
    ) throws -> WebSocketRules {
        WebSocketRules(try values(directives), commons: commons, messages: messages, frames: frames)
    }

    /// By what they are written as: planes are made by the thousand.
    private static let known = Mutex<[String: Settings.Values]>([:])

    private static func values(_ directives: String) throws -> Settings.Values {
        if let values = known.withLock({ $0[directives] }) { return values }
        let text = "events {} http { server { listen 127.0.0.1:80; \(directives) return 200; } }"
        let result = Configuration.parse(text, builtinVariables: VariableTable.names)
        let configuration = try #require(result.configuration)
        let values = configuration.listeners[0].defaultServer.settings.values
        known.withLock { $0[directives] = values }
        return values
    }

    // MARK: WebSocketPlaneOwner

    func send(_ first: Span<UInt8>, then second: Span<UInt8>, to side: Side) {
        for index in first.indices { sent[side, default: []].append(first[index]) }
        for index in second.indices { sent[side, default: []].append(second[index]) }
    }

    func judge(_ item: WebSocketItem, from position: Int) -> WebSocketVerdict {
        let verdict = rewriting(item, verdict(item, position))
        if case .waiting = verdict { waiting.append(item) }
        return verdict
    }

    func cancel(_ item: WebSocketItem) {
        cancelled += 1
        waiting.removeAll { $0 === item }
    }

    func pingEnded(_ token: Int, _ outcome: WebSocketPingOutcome) {
        if case .answered(let roundTrip) = outcome {
            pings.append((token, roundTrip))
        } else {
            pings.append((token, nil))
        }
        pingAnswered?(token)
    }
    func isBlocked(_ side: Side) -> Bool { blocked.contains(side) }
    func isTaking(_ side: Side, within milliseconds: Int64) -> Bool { taking.contains(side) }
    func rests(_ side: Side) { resting.append(side) }
    func deadlineMoved() {}
    func finishSending(to side: Side) { shut.append(side) }
    func planeEnded() { endings += 1 }

    // MARK: The test's hand

    func receive(_ bytes: [UInt8], from side: Side) { plane.receive(bytes.span, from: side) }

    /// Others have had their turn.
    func goOnAfterRest() {
        let sides = resting
        resting = []
        for side in sides { plane.goOnAfterRest(side) }
    }

    /// Lets time pass, the plane being called whenever it asks to be.
    func advance(_ milliseconds: Int64) {
        let end = now + milliseconds
        while plane.deadline <= end {
            now = max(now, plane.deadline)
            plane.timePassed()
        }
        now = end
    }

    /// What a peer has been sent, as frames; whoever looks takes it, but for one that is not whole.
    func take(_ side: Side) throws -> [PlaneFrame] {
        let bytes = sent[side] ?? []
        var position = 0
        var frames: [PlaneFrame] = []
        while position < bytes.count {
            var end = position
            guard let frame = try? PlaneFrame(bytes, &end, isMasked: side == .upstream) else {
                // Whether it is cut, or none at all.
                do { _ = try PlaneFrame(bytes, &position, isMasked: side == .upstream) } catch let invalid
                    as PlaneFrame.Invalid
                {
                    guard invalid.reason == "cut" else { throw invalid }
                    break
                }
                continue
            }
            frames.append(frame)
            position = end
        }
        sent[side] = Array(bytes.dropFirst(frames.isEmpty ? 0 : frames.consumed(isMasked: side == .upstream)))
        return frames
    }

    /// Nothing is held once all is quiet.
    var isIdle: Bool { commons.items.openCount == 0 && plane.isAtMessageBoundary }
}

/// A frame, written and read by code that is not the product's.
struct PlaneFrame: Equatable, CustomStringConvertible {
    var isFinal = true
    var reserved: UInt8 = 0
    var opcode: UInt8
    var payload: [UInt8]

    static func text(_ text: String, isFinal: Bool = true) -> PlaneFrame {
        PlaneFrame(isFinal: isFinal, opcode: 1, payload: Array(text.utf8))
    }
    static func binary(_ bytes: [UInt8], isFinal: Bool = true) -> PlaneFrame {
        PlaneFrame(isFinal: isFinal, opcode: 2, payload: bytes)
    }
    static func more(_ text: String, isFinal: Bool = true) -> PlaneFrame {
        PlaneFrame(isFinal: isFinal, opcode: 0, payload: Array(text.utf8))
    }
    static func ping(_ text: String) -> PlaneFrame { PlaneFrame(opcode: 9, payload: Array(text.utf8)) }
    static func pong(_ payload: [UInt8]) -> PlaneFrame { PlaneFrame(opcode: 10, payload: payload) }
    static func close(_ code: UInt16?, _ reason: String = "") -> PlaneFrame {
        let start = code.map { [UInt8($0 >> 8), UInt8($0 & 255)] } ?? []
        return PlaneFrame(opcode: 8, payload: start + Array(reason.utf8))
    }

    init(isFinal: Bool = true, reserved: UInt8 = 0, opcode: UInt8, payload: [UInt8]) {
        self.isFinal = isFinal
        self.reserved = reserved
        self.opcode = opcode
        self.payload = payload
    }

    struct Invalid: Error { var reason: String }

    init(_ bytes: [UInt8], _ position: inout Int, isMasked: Bool) throws {
        func take(_ count: Int) throws -> [UInt8] {
            guard position + count <= bytes.count else { throw Invalid(reason: "cut") }
            defer { position += count }
            return Array(bytes[position..<position + count])
        }
        let head = try take(2)
        isFinal = head[0] & 128 != 0
        reserved = head[0] >> 4 & 7
        opcode = head[0] & 15
        guard [0, 1, 2, 8, 9, 10].contains(opcode) else { throw Invalid(reason: "opcode \(opcode)") }
        guard (head[1] & 128 != 0) == isMasked else { throw Invalid(reason: "mask") }
        var length = Int(head[1] & 127)
        if length >= 126 {
            let isShort = length == 126
            length = try take(isShort ? 2 : 8).reduce(0) { $0 << 8 | Int($1) }
            guard length > (isShort ? 125 : 65535) else { throw Invalid(reason: "length") }
        }
        let key = isMasked ? try take(4) : [0, 0, 0, 0]
        payload = try take(length)
        for index in payload.indices { payload[index] ^= key[index % 4] }
        if opcode >= 8, !isFinal || payload.count > 125 { throw Invalid(reason: "control") }
    }

    func encoded(maskedBy key: [UInt8]?) -> [UInt8] {
        var bytes = [(isFinal ? 128 : 0) | reserved << 4 | opcode]
        let mask: UInt8 = key == nil ? 0 : 128
        switch payload.count {
        case ..<126: bytes.append(mask | UInt8(payload.count))
        case ..<65536: bytes += [mask | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [mask | 127] + (0..<8).map { UInt8(payload.count >> ((7 - $0) * 8) & 255) }
        }
        bytes += key ?? []
        for (index, byte) in payload.enumerated() { bytes.append(byte ^ (key?[index % 4] ?? 0)) }
        return bytes
    }

    func bytes(from side: Side) -> [UInt8] {
        encoded(maskedBy: side == .client ? [1, 0x20, 0x33, 0xf4] : nil)
    }

    var description: String {
        let name = ["more", "text", "binary", "", "", "", "", "", "close", "ping", "pong"][Int(opcode)]
        let text = payload.count > 40 ? "\(payload.count) bytes" : String(decoding: payload, as: UTF8.self)
        return "\(name)\(isFinal ? "" : "…") \(text)"
    }
}

extension [PlaneFrame] {
    func consumed(isMasked: Bool) -> Int {
        reduce(0) { $0 + $1.encoded(maskedBy: isMasked ? [0, 0, 0, 0] : nil).count }
    }

    func bytes(from side: Side) -> [UInt8] { flatMap { $0.bytes(from: side) } }

    /// Whole messages and control frames; fails where frames are in no valid order.
    func assembled(inflating inflater: WebSocketInflater? = nil) throws -> (
        messages: [PlaneFrame], controls: [PlaneFrame]
    ) {
        var messages: [PlaneFrame] = []
        var controls: [PlaneFrame] = []
        var open: PlaneFrame?
        for frame in self {
            if frame.opcode >= 8 {
                controls.append(frame)
                continue
            }
            if var message = open {
                guard frame.opcode == 0, frame.reserved == 0 else {
                    throw PlaneFrame.Invalid(reason: "order")
                }
                message.payload += frame.payload
                message.isFinal = frame.isFinal
                open = message
            } else {
                guard frame.opcode != 0 else { throw PlaneFrame.Invalid(reason: "order") }
                open = frame
            }
            guard var message = open, message.isFinal else { continue }
            open = nil
            if message.reserved != 0 {
                guard message.reserved == 4, let inflater else {
                    throw PlaneFrame.Invalid(reason: "reserved")
                }
                var plain: [UInt8] = []
                guard inflater.append(message.payload.span, to: &plain, limit: 1 << 24) == .ok,
                    inflater.endMessage(to: &plain, limit: 1 << 24) == .ok
                else { throw PlaneFrame.Invalid(reason: "inflation") }
                message.payload = plain
                message.reserved = 0
            }
            if message.opcode == 1, String(validating: message.payload, as: UTF8.self) == nil {
                throw PlaneFrame.Invalid(reason: "UTF-8")
            }
            messages.append(message)
        }
        if open != nil { throw PlaneFrame.Invalid(reason: "a message without its end") }
        return (messages, controls)
    }
}

/// As hooks do that return one text: every other payload takes the place of the item's own.
private func rewriting(_ item: WebSocketItem, _ verdict: WebSocketVerdict) -> WebSocketVerdict {
    guard case .replace(let payloads) = verdict, payloads.count == 1, let payload = payloads.first,
        payload.count % 2 == 0
    else { return verdict }
    item.rewrite(payload.span)
    return .rewritten
}
