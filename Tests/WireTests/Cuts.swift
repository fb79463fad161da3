import Testing
import Wire

/// The ways a test delivers the same bytes: whole, a byte at a time, and cut in two at every offset.
///
/// A parser of heads is handed all bytes so far at each step, as a connection does it.
enum Cuts {
    /// Lengths of the growing input, one list for each delivery.
    static func growing(_ count: Int) -> [[Int]] {
        [[count], Array(stride(from: 0, through: count, by: 1))] + (0...count).map { [$0, count] }
    }

    /// Ranges of the separate pieces, one list for each delivery.
    static func pieces(_ count: Int) -> [[Range<Int>]] {
        [[0..<count], (0..<count).map { $0..<$0 + 1 }] + (0...count).map { [0..<$0, $0..<count] }
    }
}

extension [UInt8] {
    init(_ text: String) { self = Array(text.utf8) }
    var text: String { String(decoding: self, as: UTF8.self) }
}

typealias RequestOutcome = HeadProgress<RequestViolation>
typealias ResponseOutcome = HeadProgress<ResponseViolation>

/// Parses `bytes` as delivered in `steps`, and stops as soon as there is a verdict.
func parseRequest(
    _ bytes: [UInt8], steps: [Int], limits: RequestHeadParser.Limits = .init(), into head: inout RequestHead
) -> RequestOutcome {
    var parser = RequestHeadParser()
    var outcome = RequestOutcome.incomplete
    for length in steps {
        let input = bytes.rawSpan.extracting(0..<length)
        outcome = parser.parse(input, limits: limits, into: &head)
        if outcome != .incomplete { break }
    }
    return outcome
}

func parseResponse(
    _ bytes: [UInt8], steps: [Int], isHead: Bool = false, maxHead: Int = 8192, into head: inout ResponseHead
) -> ResponseOutcome {
    var parser = ResponseHeadParser()
    var outcome = ResponseOutcome.incomplete
    for length in steps {
        let input = bytes.rawSpan.extracting(0..<length)
        outcome = parser.parse(input, isHead: isHead, maxHead: maxHead, into: &head)
        if outcome != .incomplete { break }
    }
    return outcome
}

/// Parses `text` in every delivery, expects one verdict and one head of all of them, and returns these.
func parseRequest(
    _ text: String, limits: RequestHeadParser.Limits = .init(),
    sourceLocation: SourceLocation = #_sourceLocation
) -> (RequestOutcome, RequestHead) {
    let bytes = [UInt8](text)
    var head = RequestHead()
    let outcome = parseRequest(bytes, steps: [bytes.count], limits: limits, into: &head)
    for steps in Cuts.growing(bytes.count) {
        var other = RequestHead()
        let otherOutcome = parseRequest(bytes, steps: steps, limits: limits, into: &other)
        #expect(otherOutcome == outcome, "cut as \(steps.prefix(2))", sourceLocation: sourceLocation)
        if case .complete = outcome {
            #expect(description(other) == description(head), sourceLocation: sourceLocation)
        }
    }
    return (outcome, head)
}

func parseResponse(
    _ text: String, isHead: Bool = false, maxHead: Int = 8192,
    sourceLocation: SourceLocation = #_sourceLocation
) -> (ResponseOutcome, ResponseHead) {
    let bytes = [UInt8](text)
    var head = ResponseHead()
    let outcome = parseResponse(bytes, steps: [bytes.count], isHead: isHead, maxHead: maxHead, into: &head)
    for steps in Cuts.growing(bytes.count) {
        var other = ResponseHead()
        let otherOutcome = parseResponse(bytes, steps: steps, isHead: isHead, maxHead: maxHead, into: &other)
        #expect(otherOutcome == outcome, "cut as \(steps.prefix(2))", sourceLocation: sourceLocation)
        if case .complete = outcome {
            #expect(description(other) == description(head), sourceLocation: sourceLocation)
        }
    }
    return (outcome, head)
}

/// A head that the test expects to be whole.
func requestHead(_ text: String) throws -> RequestHead {
    let (outcome, head) = parseRequest(text)
    try #require(outcome == .complete(length: text.utf8.count), "\(outcome)")
    return head
}

func responseHead(_ text: String, isHead: Bool = false) throws -> ResponseHead {
    let (outcome, head) = parseResponse(text, isHead: isHead)
    try #require(outcome == .complete(length: text.utf8.count), "\(outcome)")
    return head
}

/// Everything a head says, to compare heads by.
func description(_ head: RequestHead) -> String {
    let parts = head.targetParts
    return """
        \(text(head.bytes, head.method)) \(text(head.bytes, head.target)) \(head.version) \(parts.form) \
        \(text(head.bytes, parts.authority)) \(text(head.bytes, parts.path)) \
        \(parts.query.map { text(head.bytes, $0) } ?? "-") \(head.framing) \(head.wantsKeepAlive) \
        \(head.expectsContinue) \(head.hostIndex) \(head.upgradeIndex) \(head.connectionIndex) \
        \(head.connectionHasUpgrade) \(description(head.fields, head.bytes)) \(head.bytes.text)
        """
}

func description(_ head: ResponseHead) -> String {
    """
    \(head.status) \(text(head.bytes, head.reason)) \(head.version) \(head.framing) \(head.wantsKeepAlive) \
    \(head.upgradeIndex) \(head.connectionIndex) \(head.connectionHasUpgrade) \
    \(description(head.fields, head.bytes)) \(head.bytes.text)
    """
}

func description(_ fields: [FieldLine], _ bytes: [UInt8]) -> String {
    fields.map { field in
        "\(text(bytes, field.name))=\(text(bytes, field.value))/\(field.id)/\(field.nameKind)"
    }.joined(separator: "|")
}

/// The bytes of `range` as text; a range that is none of `bytes` fails a comparison rather than the process.
func text(_ bytes: [UInt8], _ range: Range<Int>) -> String {
    guard range.lowerBound >= 0, range.upperBound <= bytes.count else { return "out of range \(range)" }
    return Array(bytes[range]).text
}

/// A small generator with a seed, so that a failure can be repeated (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
