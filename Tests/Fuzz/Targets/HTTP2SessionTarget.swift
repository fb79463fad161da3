import HTTP2
import Wire

/// Whatever a peer sends over HTTP/2: the session goes on or ends, its streams hold heads of HTTP/1, what it sends are
/// whole frames, and it keeps no more than its windows allow.
///
/// The first byte says who the peer is (bit 0: a server), whether it has said hello (bit 1), how it is cut into pieces,
/// and what owners of streams do.
enum HTTP2SessionTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        guard let mode = input.first else { return }
        let peer = Peer(mode, Choices(input))
        peer.receive(Array(input.dropFirst()))
        peer.finish()
    }

    private final class Peer: HTTP2StreamOwner {
        private let session: HTTP2Session
        private let mode: UInt8
        private let isServer: Bool
        private var choices: Choices
        private var streams: [HTTP2Stream] = []
        private var sent: [UInt8] = []
        private var now: Int64 = 1000
        private var isOver = false

        private static let preface = [UInt8]("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        private static let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]

        init(_ mode: UInt8, _ choices: Choices) {
            self.mode = mode
            self.choices = choices
            isServer = mode & 1 != 0
            var options = HTTP2Session.Options()
            options.maxConcurrentStreams = 8
            options.streamWindow = 2048
            options.maxQueued = 4096
            options.head.maxList = 4096
            session = HTTP2Session(isServer ? .client : .server, options, keySeed: (1, 2))
            if isServer { for index in 0..<3 { open(index) } }
            guard mode & 2 != 0 else { return }
            deliver(isServer ? Self.settings : Self.preface + Self.settings)
        }

        private func open(_ index: Int) {
            let stream = session.openStream(self)
            var block = HTTP2FieldBlock()
            let texts = [
                "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            ]
            let read = block.readRequest([UInt8](texts[index]).span, scheme: [UInt8]("http"))
            stream.isHead = read?.isHead ?? false
            stream.send(block, isFinal: true)
            if index == 2 {
                _ = stream.send([UInt8](repeating: 7, count: 3000).span)
            } else {
                stream.endSending()
            }
            streams.append(stream)
        }

        // MARK: Bytes

        func receive(_ bytes: [UInt8]) {
            let size = mode & 4 != 0 ? 1 + choices.below(40) : max(1, bytes.count)
            var start = 0
            while start < bytes.count, !isOver {
                let end = min(bytes.count, start + size)
                deliver(Array(bytes[start..<end]))
                start = end
                now += 5
            }
        }

        private func deliver(_ bytes: [UInt8]) {
            if let code = session.receive(bytes.span, now: now) {
                sent += session.goAway(code)
                isOver = true
                session.close()
            }
            session.deliverChanges()
            while let stream = session.nextRequest() {
                stream.owner = self
                streams.append(stream)
                answer(stream)
            }
            for stream in streams { read(stream) }
            send()
            session.deliverChanges()
            check(session.openStreams <= 16, "\(session.openStreams) streams are open")
            streams.removeAll { $0.isClosed && !$0.hasUnread }
        }

        private func send() {
            guard !isOver else { return }
            var bytes: [UInt8] = []
            let isWell = session.send(to: &bytes, limit: 1 << 16)
            sent += bytes
            check(bytes.count < 1 << 18, "\(bytes.count) bytes at once")
            if isWell {
                session.outputWasTaken()
            } else {
                isOver = true
                session.close()
            }
            frames()
        }

        /// What was sent are whole frames, none longer than a peer takes that has not said so.
        private func frames() {
            var position = 0
            if isServer, sent.starts(with: Self.preface) { position = Self.preface.count }
            while sent.count - position >= 9 {
                let length =
                    Int(sent[position]) << 16 | Int(sent[position + 1]) << 8 | Int(sent[position + 2])
                check(
                    sent[position + 3] <= 9 || sent[position + 3] == 16,
                    "a frame of type \(sent[position + 3])")
                guard sent.count - position >= 9 + length else { break }
                position += 9 + length
            }
            check(position == sent.count, "a frame is cut")
            sent = []
        }

        // MARK: Streams

        func streamChanged(_ change: HTTP2Stream.Change) {}

        private func read(_ stream: HTTP2Stream) {
            check(stream.unread <= 2048, "\(stream.unread) bytes wait in a window of 2048")
            if isServer, !stream.head.isEmpty { response(stream) }
            guard mode & 8 == 0 else { return }
            var buffer = [UInt8](repeating: 0, count: 512)
            var span = buffer.mutableSpan
            let count = stream.read(into: &span, at: 0, limit: 1 + choices.below(512))
            check(count >= 0 && count <= 512, "\(count) bytes were read")
            if stream.sawEnd, !stream.hasUnread, mode & 16 != 0 { stream.abandon(.cancel) }
        }

        /// Interim heads, and the final one.
        private func response(_ stream: HTTP2Stream) {
            var rest = stream.head
            stream.head = []
            while !rest.isEmpty {
                let (progress, head) = Heads.parseResponse(rest, isHead: stream.isHead)
                guard case .complete(let length) = progress else {
                    return check(false, "HTTP/1 has \(progress) of it: \(rest.text)")
                }
                check(head.status != 101, "a switch of protocols over HTTP/2")
                rest.removeFirst(length)
                check(head.status < 200 || rest.isEmpty, "something behind the final head")
            }
        }

        private func answer(_ stream: HTTP2Stream) {
            switch stream.outcome {
            case .request(let kind):
                // The end may have come behind the head.
                HTTP2HeadTarget.taken(kind, stream.head, nil, endsStream: false)
            case .malformed:
                stream.reset(.protocolError)
                return
            case .refused: break
            }
            let heads = [
                "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n",
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
            ]
            let index = stream.outcome == .request(.webSocket) ? 2 : choices.below(2)
            var block = HTTP2FieldBlock()
            _ = block.readResponse([UInt8](heads[index]).span)
            if mode & 32 != 0 {
                var interim = HTTP2FieldBlock()
                _ = interim.readResponse([UInt8]("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n").span)
                stream.send(interim, isFinal: false)
            }
            stream.send(block, isFinal: true)
            if index != 1 {
                let count = stream.send([UInt8](repeating: 7, count: choices.below(5000)).span)
                check(count >= -1 && count <= 5000, "\(count) bytes were taken")
            }
            if mode & 64 != 0 { stream.setTrailers([UInt8]("A: b\r\n\r\n").span) }
            if index != 2 { stream.endSending(resetting: choices.oneIn(8) ? .cancel : nil) }
        }

        func finish() {
            if mode & 128 != 0, !isOver { session.announceShutdown() }
            send()
            for stream in streams {
                if choices.oneIn(2) { stream.abandon(.cancel) } else { stream.reset(.internalError) }
            }
            send()
            session.close()
            session.deliverChanges()
            check(session.openStreams == 0, "streams are left")
            streams = []
        }
    }
}
