import Wire

/// What comes out of a body in chunks does not depend on the cuts in it, and written anew it is the same body.
enum ChunkedTarget {
    private struct Body: Equatable {
        var payload: [UInt8] = []
        var consumed = -1
        var violation: BodyViolation?
        var trailers: [String] = []
    }

    static let run: @Sendable ([UInt8]) -> Void = { input in
        var choices = Choices(input)
        let whole = decode(input, [input.count]).body
        let cut = choices.cut(input.count)
        check(decode(input, [cut, input.count]).body == whole, "cut at \(cut) it is another body")
        check(decode(input, Array(0...input.count)).body == whole, "byte by byte it is another body")
        guard whole.consumed >= 0 else { return }
        check(whole.consumed <= input.count, "a body longer than its input")
        let (body, section) = decode(input, [input.count])
        var again: [UInt8] = []
        var rest = body.payload[...]
        while !rest.isEmpty {
            let count = 1 + choices.below(rest.count)
            ChunkedEncoding.appendChunkHead(count, to: &again)
            again += rest.prefix(count) + ChunkedEncoding.chunkEnd
            rest = rest.dropFirst(count)
        }
        ChunkedEncoding.appendEnd(section, to: &again)
        var expected = whole
        expected.consumed = again.count
        let second = decode(again, [again.count]).body
        check(second == expected, "written anew it is another body: \(again.text)")
    }

    private static func decode(_ input: [UInt8], _ steps: [Int]) -> (body: Body, trailers: TrailerSection?) {
        var decoder = BodyDecoder(.chunked)
        var body = Body()
        var position = 0
        deliveries: for length in steps {
            let part = input.rawSpan.extracting(0..<length)
            while true {
                switch decoder.next(part, from: position) {
                case .needsMore:
                    position = length
                    continue deliveries
                case .payload(let range):
                    check(range.lowerBound >= position && !range.isEmpty, "payload at \(range)")
                    body.payload += input[range]
                    position = range.upperBound
                case .end(let consumed):
                    body.consumed = consumed
                    break deliveries
                case .invalid(let violation):
                    body.violation = violation
                    break deliveries
                }
            }
        }
        check(decoder.payloadBytes == body.payload.count, "another count of bytes")
        check(decoder.isComplete == (body.consumed >= 0), "an end that is none")
        if let section = decoder.trailers, body.consumed >= 0 {
            body.trailers = section.fields.map {
                Array(section.bytes[$0.name]).text + "=" + Array(section.bytes[$0.value]).text
            }
        }
        return (body, decoder.trailers)
    }
}
