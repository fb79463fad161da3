import ProxyCore
import Wire

/// A head parsed whole is the one parsed in pieces; written anew it says the same; and what goes upstream for it is a head
/// of the same framing.
enum RequestHeadTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        var choices = Choices(input)
        var limits = RequestHeadParser.Limits()
        let asksForLimits = choices.oneIn(2)
        if choices.oneIn(4) {
            limits.maxRequestLine = 1 + choices.below(64)
            limits.maxFieldLine = 1 + choices.below(64)
            limits.maxHead = 1 + choices.below(256)
            limits.maxFields = choices.below(6)
        }
        let (progress, head) = Heads.parseRequest(input, limits: limits)
        if asksForLimits { inTwoParts(input, limits, is: progress, head) }
        inPieces(input, limits, [choices.cut(input.count), input.count], is: progress, head)
        if input.count < 200, choices.oneIn(8) {
            inPieces(input, limits, Array(0...input.count), is: progress, head)
        }
        guard case .complete(let length) = progress else { return }
        check(length <= input.count && head.bytes.count <= length, "a head longer than its input")
        check(Heads.arePlaced(head.fields, in: head.bytes), "fields outside of their head")
        check(
            Heads.parseRequest(Array(input[..<length]), limits: limits).progress == progress,
            "what follows counts")
        written(head)
        extensions(head)
        goesUpstream(head, RoutedExchange.chosen(&choices))
    }

    private static func inPieces(
        _ input: [UInt8], _ limits: RequestHeadParser.Limits, _ steps: [Int],
        is expected: HeadProgress<RequestViolation>, _ whole: RequestHead
    ) {
        var parser = RequestHeadParser()
        var head = RequestHead()
        var progress = HeadProgress<RequestViolation>.incomplete
        for length in steps {
            progress = parser.parse(input.rawSpan.extracting(0..<length), limits: limits, into: &head)
            guard progress == .incomplete else { break }
        }
        check(progress == expected, "in pieces \(steps.prefix(3)) it is \(progress), whole \(expected)")
        guard case .complete = progress else { return }
        check(Heads.areSame(head, whole), "in pieces \(steps.prefix(3)) it is another head")
    }

    /// Asked for limits on the way, with the same given, it comes to the same.
    private static func inTwoParts(
        _ input: [UInt8], _ limits: RequestHeadParser.Limits, is expected: HeadProgress<RequestViolation>,
        _ whole: RequestHead
    ) {
        var parser = RequestHeadParser()
        var head = RequestHead()
        var first = limits
        first.dependOnHost = true
        var progress = parser.parse(input.rawSpan, limits: first, into: &head)
        if parser.asksForLimits {
            check(parser.host(of: head) != nil, "limits are asked for by no host")
            progress = parser.parse(input.rawSpan, limits: limits, into: &head)
        }
        check(progress == expected, "asked for limits it is \(progress), else \(expected)")
        guard case .complete = progress else { return }
        check(Heads.areSame(head, whole), "asked for limits it is another head")
    }

    /// In the tidy form, it says what it said before.
    private static func written(_ head: RequestHead) {
        var tidy = Array(head.bytes[head.method]) + [0x20] + head.bytes[head.target]
        tidy += head.version == .v1_0 ? Text.http1_0 : Text.http1_1
        Heads.append(head.fields, of: head.bytes, to: &tidy)
        let (progress, again) = Heads.parseRequest(tidy)
        check(progress == .complete(length: tidy.count), "written anew it is \(progress): \(tidy.text)")
        check(
            head.framing == again.framing && head.wantsKeepAlive == again.wantsKeepAlive
                && head.expectsContinue == again.expectsContinue && head.hostIndex == again.hostIndex
                && head.connectionHasUpgrade == again.connectionHasUpgrade
                && head.targetParts.form == again.targetParts.form
                && Heads.haveSameText(head.fields, in: head.bytes, again.fields, in: again.bytes),
            "written anew it is another head: \(tidy.text)")
    }

    /// What is agreed on with an offer of permessage-deflate is something that can be kept to.
    private static func extensions(_ head: RequestHead) {
        guard PermessageDeflate.offers(in: head) else { return }
        for policy in [PermessageDeflate.Policy(), .init(contextTakeover: false, windowBits: 9, level: 1)] {
            guard let agreed = PermessageDeflate.accept(offersIn: head, policy)?.parameters else { continue }
            check((8...15).contains(agreed.serverMaxWindowBits), "a window of \(agreed.serverMaxWindowBits)")
            check((8...15).contains(agreed.clientMaxWindowBits), "a window of \(agreed.clientMaxWindowBits)")
        }
        for field in head.fields where field.id == .secWebSocketExtensions {
            var rest: [UInt8] = []
            let value = Array(head.bytes[field.value])
            WebSocketExtensions.append(value.span, to: &rest) { !PermessageDeflate.isNamed($0) }
            var again: [UInt8] = []
            WebSocketExtensions.append(rest.span, to: &again) { !PermessageDeflate.isNamed($0) }
            check(again == rest, "taken out, it is still there: \(rest.text)")
        }
    }

    /// The upstream is sent one head, whose framing is that of the body that follows.
    private static func goesUpstream(_ head: RequestHead, _ place: RoutedExchange) {
        guard let (sent, facts) = place.upstream(head) else { return }
        // A configuration may put decoded parts of a path into fields: of these no more is kept away than what would
        // end the field (RFC 9110 §5.5).
        let readable = sent.map {
            $0 < 9 && $0 > 0 || $0 > 13 && $0 < 32 || $0 == 11 || $0 == 12 || $0 == 127 ? 33 : $0
        }
        let (progress, again) = Heads.parseRequest(readable)
        if case .invalid(let violation) = progress {
            // A configuration may set `Host` to anything of the request, and a method goes out as it came.
            check(
                violation == .invalidHost || violation == .missingHost,
                "the upstream is sent what is \(violation): \(sent.text)")
            return
        }
        check(progress == .complete(length: sent.count), "the upstream is sent \(progress): \(sent.text)")
        check(
            again.framing.hasBody == facts.framing.hasBody
                && (!again.framing.hasBody || again.framing == facts.framing),
            "the upstream is told \(again.framing), and sent \(facts.framing): \(sent.text)")
        check(again.framing.hasBody == head.framing.hasBody, "a body came or went: \(sent.text)")
    }

    private enum Text {
        static let http1_0 = [UInt8](" HTTP/1.0\r\n")
        static let http1_1 = [UInt8](" HTTP/1.1\r\n")
    }
}
