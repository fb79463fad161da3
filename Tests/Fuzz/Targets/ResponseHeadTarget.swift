import ProxyCore
import Wire

/// As `RequestHeadTarget`, of what upstreams answer.
enum ResponseHeadTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        var choices = Choices(input)
        let isHead = choices.oneIn(4)
        let maxHead = choices.oneIn(4) ? 1 + choices.below(128) : 8192
        let (progress, head) = Heads.parseResponse(input, isHead: isHead, maxHead: maxHead)
        inPieces(input, isHead, maxHead, [choices.cut(input.count), input.count], is: progress, head)
        if input.count < 200, choices.oneIn(8) {
            inPieces(input, isHead, maxHead, Array(0...input.count), is: progress, head)
        }
        guard case .complete(let length) = progress else { return }
        check(length <= input.count && head.bytes.count <= length, "a head longer than its input")
        check(Heads.arePlaced(head.fields, in: head.bytes), "fields outside of their head")
        check((100...999).contains(head.status), "a status of \(head.status)")
        written(head, isHead)
        for request in offers {
            guard case .parameters(let agreed) = PermessageDeflate.passed(in: head, to: request) else {
                continue
            }
            check((8...15).contains(agreed.serverMaxWindowBits), "a window of \(agreed.serverMaxWindowBits)")
            check((8...15).contains(agreed.clientMaxWindowBits), "a window of \(agreed.clientMaxWindowBits)")
        }
        _ = PermessageDeflate.agreed(in: head, to: PermessageDeflate.Policy())
        goesDownstream(head, isHead, RoutedExchange.chosen(&choices), choices.below(2))
    }

    private static func inPieces(
        _ input: [UInt8], _ isHead: Bool, _ maxHead: Int, _ steps: [Int],
        is expected: HeadProgress<ResponseViolation>, _ whole: ResponseHead
    ) {
        var parser = ResponseHeadParser()
        var head = ResponseHead()
        var progress = HeadProgress<ResponseViolation>.incomplete
        for length in steps {
            let part = input.rawSpan.extracting(0..<length)
            progress = parser.parse(part, isHead: isHead, maxHead: maxHead, into: &head)
            guard progress == .incomplete else { break }
        }
        check(progress == expected, "in pieces \(steps.prefix(3)) it is \(progress), whole \(expected)")
        guard case .complete = progress else { return }
        check(Heads.areSame(head, whole), "in pieces \(steps.prefix(3)) it is another head")
    }

    /// In the tidy form, it says what it said before.
    private static func written(_ head: ResponseHead, _ isHead: Bool) {
        var tidy = [UInt8](head.version == .v1_0 ? "HTTP/1.0 \(head.status) " : "HTTP/1.1 \(head.status) ")
        tidy += head.bytes[head.reason]
        tidy += [13, 10]
        Heads.append(head.fields, of: head.bytes, to: &tidy)
        let (progress, again) = Heads.parseResponse(tidy, isHead: isHead)
        check(progress == .complete(length: tidy.count), "written anew it is \(progress): \(tidy.text)")
        check(
            head.status == again.status && head.framing == again.framing
                && head.wantsKeepAlive == again.wantsKeepAlive
                && head.connectionHasUpgrade == again.connectionHasUpgrade
                && head.bytes.holds(head.reason, equalTo: again.bytes, again.reason)
                && Heads.haveSameText(head.fields, in: head.bytes, again.fields, in: again.bytes),
            "written anew it is another head: \(tidy.text)")
    }

    private static let offers =
        ["", "; client_max_window_bits", "; server_max_window_bits=10; server_no_context_takeover"].map {
            let offer = "Sec-WebSocket-Extensions: permessage-deflate\($0)\r\n"
            return Heads.parseRequest([UInt8]("GET / HTTP/1.1\r\nHost: a\r\n\(offer)\r\n")).head
        }

    private static let requests: [(get: RequestHead, head: RequestHead)] =
        ["HTTP/1.1\r\nHost: a\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n"].map { rest in
            (
                Heads.parseRequest([UInt8]("GET /a/b?c \(rest)\r\n")).head,
                Heads.parseRequest([UInt8]("HEAD /a/b?c \(rest)\r\n")).head
            )
        }

    /// The client is sent one head, whose framing is that of the body that follows.
    private static func goesDownstream(
        _ head: ResponseHead, _ isHead: Bool, _ place: RoutedExchange, _ index: Int
    ) {
        // Interim responses go another way.
        guard head.status >= 200 else { return }
        let request = isHead ? requests[index].head : requests[index].get
        guard let (sent, facts) = place.downstream(head, to: request) else { return }
        let (progress, again) = Heads.parseResponse(sent, isHead: isHead)
        check(progress == .complete(length: sent.count), "the client is sent \(progress): \(sent.text)")
        check(again.status == head.status, "the client is sent another status: \(sent.text)")
        let hasBody = !isHead && head.status != 204 && head.status != 304
        check(
            !hasBody || again.framing == facts.framing,
            "the client is told \(again.framing), and sent \(facts.framing): \(sent.text)")
        check(hasBody || !facts.framing.hasBody, "a body where there can be none: \(sent.text)")
        check(
            facts.keepsAlive == again.wantsKeepAlive || request.version == .v1_0,
            "the client is told another end: \(sent.text)")
    }
}
