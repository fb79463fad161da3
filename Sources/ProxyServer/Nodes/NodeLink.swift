internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Redis

/// What connects this node to others that have the same `shared_state`: what scripts publish goes out by one connection to
/// Redis, and what those of other nodes publish comes in by another, since one that listens can ask for nothing else.
///
/// One worker of the process has it. What is published while there is no connection reaches the others only if there is
/// one again within a moment.
final class NodeLink {
    let settings: SharedStateSettings
    private let node: [UInt8]
    private let channel: [UInt8]
    private let listener: RedisLine
    private let speaker: RedisLine
    // It has this closed before it ends.
    private unowned let worker: Worker
    /// What waits for a connection, oldest first.
    private var waiting: ArraySlice<(since: Int64, command: [UInt8])> = []
    private var waitingBytes = 0
    private var lostMessages = 0
    /// It was said that there is no connection.
    private var isDown = false
    private var wasUp = false
    /// Why Redis took the last message for none.
    private var refusal: [UInt8]?

    private static let maxWaitingBytes = 4 << 20
    /// Milliseconds: nobody wants to hear later what was said in a conversation.
    private static let maxWait: Int64 = 5000

    /// `node` tells this process from all others.
    init(_ settings: SharedStateSettings, node: [UInt8], worker: Worker) {
        self.settings = settings
        self.node = node
        self.worker = worker
        channel = Array("\(settings.prefix):publish".utf8)
        listener = RedisLine(
            settings.url, greeting: [[Array("SUBSCRIBE".utf8), channel]], worker: worker)
        speaker = RedisLine(settings.url, greeting: [], worker: worker)
        for line in [listener, speaker] {
            line.lost = { [unowned self] reason in lost(reason) }
            line.opened = { [unowned self] in opened() }
        }
        listener.received = { [unowned self] reply in heard(reply) }
        speaker.drained = { [unowned self] in sendWaiting() }
        speaker.received = { [unowned self] reply in answered(reply) }
        listener.start()
        speaker.start()
    }

    /// Nothing of other nodes is heard any more.
    private(set) var isDeaf = false

    func deafen() {
        isDeaf = true
        listener.close()
    }

    func close() {
        listener.close()
        speaker.close()
    }

    // MARK: Speaking

    /// Has the workers of other nodes send a message to the clients of tunnels with a tag.
    func publish(_ tag: [UInt8], _ message: ScriptMessage) {
        // No tunnel has a longer one.
        guard tag.count <= ScriptFlow.maxTagLength else { return }
        let telegram = NodeTelegram(node: node, tag: tag, isText: message.isText, payload: message.payload)
        var command: [UInt8] = []
        RedisCommand.append([Array("PUBLISH".utf8), channel, telegram.bytes], to: &command)
        if waiting.isEmpty, speaker.send(command) { return }
        guard waiting.isEmpty || waitingBytes + command.count <= Self.maxWaitingBytes else {
            return lostMessages += 1
        }
        waiting.append((worker.loop.now, command))
        waitingBytes += command.count
    }

    /// Something was said a moment ago that has not gone out: its worker is not to end yet.
    var hasUnsent: Bool {
        speaker.isSpeaking || waiting.last.map { worker.loop.now - $0.since < Self.maxWait } ?? false
    }

    private func sendWaiting() {
        defer { worker.stopIfDrained() }
        while let (since, command) = waiting.first {
            if worker.loop.now - since > Self.maxWait {
                lostMessages += 1
            } else if !speaker.send(command) {
                return
            }
            waiting.removeFirst()
            waitingBytes -= command.count
        }
        guard lostMessages > 0 else { return }
        log(.error, "\(lostMessages) messages were not sent in time")
        lostMessages = 0
    }

    private func answered(_ reply: RedisReply) {
        guard case .error(let text) = reply else {
            if case .integer = reply { refusal = nil }
            return
        }
        if refusal != text {
            log(.error, "Redis says of a message: \(String(decoding: text, as: UTF8.self))")
        }
        refusal = text
    }

    // MARK: Listening

    private func heard(_ reply: RedisReply) {
        // The answers to pings look otherwise.
        guard case .array(let parts) = reply, parts.count == 3, parts[0] == .string(Self.message),
            case .string(let bytes) = parts[2], let telegram = NodeTelegram(bytes), telegram.node != node
        else { return }
        worker.current.generation.registry.publish(
            telegram.tag, ScriptMessage(isText: telegram.isText, payload: telegram.payload))
    }

    private static let message = Array("message".utf8)

    // MARK: The connections

    private func opened() {
        if speaker.isOpen { sendWaiting() }
        guard listener.isOpen, speaker.isOpen, isDown || !wasUp else { return }
        (isDown, wasUp) = (false, true)
        log(.notice, "connected")
    }

    private func lost(_ reason: String) {
        worker.stopIfDrained()
        guard !isDown else { return }
        isDown = true
        log(.error, "\(reason); it is tried again")
    }

    private func log(_ level: LogLevel, _ text: String) {
        let url = settings.url
        let place = url.port == 0 ? url.host : "redis://\(url.host):\(url.port)"
        worker.current.generation.errorLogger.log(level, "shared_state \(place): \(text)")
    }
}

/// A message as it travels between nodes.
struct NodeTelegram: Equatable {
    var node: [UInt8]
    var tag: [UInt8]
    var isText: Bool
    var payload: [UInt8]

    static let nodeLength = 16
    /// Those of another form are of another version.
    private static let version: UInt8 = 1

    var bytes: [UInt8] {
        var bytes: [UInt8] = [Self.version, isText ? 1 : 0]
        bytes += node
        bytes += [UInt8(truncatingIfNeeded: tag.count >> 8), UInt8(truncatingIfNeeded: tag.count)]
        bytes += tag
        bytes += payload
        return bytes
    }
}

extension NodeTelegram {
    /// - Returns: `nil` for what no node of this version has sent.
    init?(_ bytes: [UInt8]) {
        let fixed = 4 + Self.nodeLength
        guard bytes.count >= fixed, bytes[0] == Self.version, bytes[1] <= 1 else { return nil }
        let length = Int(bytes[fixed - 2]) << 8 | Int(bytes[fixed - 1])
        guard bytes.count >= fixed + length else { return nil }
        self.init(
            node: Array(bytes[2..<2 + Self.nodeLength]), tag: Array(bytes[fixed..<fixed + length]),
            isText: bytes[1] == 1, payload: Array(bytes[(fixed + length)...]))
    }
}
