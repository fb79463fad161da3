import ProxyCore
import Wire

/// Frames are found where they are whatever the cuts, their headers are written as they were read, and masks undo
/// themselves.
enum FrameTarget {
    /// A frame that was found, or why there are no more.
    private enum Found: Equatable {
        case frame(WebSocketFrameHeader, payload: Int)
        case violation(WebSocketFrameViolation)
        case tooBig
    }

    static let run: @Sendable ([UInt8]) -> Void = { input in
        var choices = Choices(input)
        let reserved: UInt8 = choices.oneIn(2) ? 0 : WebSocketFrameHeader.reserved1
        let cut = choices.cut(input.count)
        var limits = WebSocketLimits()
        if choices.oneIn(4) {
            limits = WebSocketLimits(maxMessage: Int64(choices.below(300)), maxFragments: 3)
        }
        for role in [WebSocketRole.server, .client] {
            let whole = follow(input, [input.count], role, reserved, limits)
            check(
                follow(input, [cut, input.count], role, reserved, limits) == whole,
                "cut at \(cut) they differ")
            headers(input, role, reserved, limits, whole)
        }
        text(input, cut)
        close(input)
    }

    /// As a tunnel follows frames: what is cut is held.
    private static func follow(
        _ input: [UInt8], _ steps: [Int], _ role: WebSocketRole, _ reserved: UInt8, _ limits: WebSocketLimits
    ) -> [Found] {
        var stream = WebSocketFrameStream(role: role, allowedReserved: reserved)
        var found: [Found] = []
        var position = 0
        for end in steps {
            steps: while true {
                let part = input.span.extracting(0..<end)
                switch stream.next(part, &position, passes: false, limits: limits) {
                case .end, .cut: break steps
                case .boundary: check(false, "a boundary that nobody asked for")
                case .violation(let violation): return found + [.violation(violation)]
                case .tooBig: return found + [.tooBig]
                case .data(let header, let start):
                    check(start + header.encodedLength == position, "a header of another length")
                    found.append(.frame(header, payload: position))
                case .control(let header, _):
                    found.append(.frame(header, payload: position))
                    // Control frames are the caller's to go over.
                    guard position + Int(header.payloadLength) <= end else {
                        guard end == input.count else {
                            found.removeLast()
                            position -= header.encodedLength
                            break steps
                        }
                        return found
                    }
                    position += Int(header.payloadLength)
                }
            }
        }
        return found
    }

    /// The parser that holds what is cut itself, a byte at a time, finds the same.
    private static func headers(
        _ input: [UInt8], _ role: WebSocketRole, _ reserved: UInt8, _ limits: WebSocketLimits,
        _ found: [Found]
    ) {
        var parser = WebSocketFrameHeaderParser(role: role, allowedReserved: reserved)
        var sequence = WebSocketFrameSequence()
        var position = 0
        for expected in found {
            var progress = WebSocketFrameHeaderParser.Progress.needsMore
            let start = position
            while progress == .needsMore, position < input.count {
                progress = parser.parse(input.rawSpan.extracting(position..<position + 1), from: 0)
                position += 1
            }
            switch (progress, expected) {
            case (.header(let header, _), .frame(let other, let payload)):
                check(header == other && payload == position, "a byte at a time it is another frame")
                check(sequence.accept(header) == nil, "frames are in another order")
                var written: [UInt8] = []
                header.append(to: &written)
                check(written == Array(input[start..<position]), "written anew it is another header")
                check(written.count == header.encodedLength, "a header of another length")
                masks(header, input, position)
                let (end, overflows) = position.addingReportingOverflow(Int(header.payloadLength))
                if overflows || end > input.count { return }
                position = end
            case (.invalid(let violation), .violation(let other)):
                check(violation == other, "a byte at a time it is \(violation)")
            case (.header(let header, _), .violation(let other)):
                check(sequence.accept(header) == other, "frames are in no order, or in one")
            case (.header, .tooBig): break
            default: check(false, "\(progress) where there was \(expected)")
            }
        }
    }

    private static func masks(_ header: WebSocketFrameHeader, _ input: [UInt8], _ start: Int) {
        guard let key = header.maskKey, header.payloadLength <= input.count - start else { return }
        let payload = Array(input[start..<start + Int(header.payloadLength)])
        var other: [UInt8] = []
        key.append(masking: payload.span, to: &other)
        for index in payload.indices {
            check(other[index] == payload[index] ^ key[index], "a byte is masked by another of the key's")
        }
        let middle = payload.count / 3
        key.apply(to: &other, in: middle..<payload.count, position: middle)
        key.apply(to: &other, in: 0..<middle)
        check(other == payload, "unmasked it is another payload")
    }

    private static func text(_ input: [UInt8], _ cut: Int) {
        var whole = UTF8Validator()
        let isValid = whole.validate(input.span)
        var parts = UTF8Validator()
        let isFirstValid = parts.validate(input.span.extracting(0..<cut))
        let isSecondValid = isFirstValid && parts.validate(input.span.extracting(cut..<input.count))
        check(isValid == isSecondValid, "cut at \(cut) it is text, or none")
        check(!isValid || whole.isAtBoundary == parts.isAtBoundary, "cut at \(cut) it ends elsewhere")
        check(
            (isValid && whole.isAtBoundary) == (String(validating: input, as: UTF8.self) != nil),
            "another opinion on what text is")
    }

    private static func close(_ input: [UInt8]) {
        guard case .success(let close) = WebSocketClosePayload.parse(input.span), let code = close.code else {
            return
        }
        var written: [UInt8] = []
        WebSocketClosePayload.append(code: code, reason: input.span.extracting(close.reason), to: &written)
        check(written.count <= 125, "a close frame of \(written.count) bytes")
        check(input.starts(with: written), "written anew it is another payload")
        guard case .success = WebSocketClosePayload.parse(written.span) else {
            return check(false, "written anew it is none")
        }
    }
}
