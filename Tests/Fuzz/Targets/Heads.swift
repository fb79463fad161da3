import Wire

/// Comparison of heads by all that they say.
enum Heads {
    static func areSame(_ first: RequestHead, _ second: RequestHead) -> Bool {
        let (a, b) = (first.targetParts, second.targetParts)
        return first.bytes == second.bytes && first.method == second.method && first.target == second.target
            && a.form == b.form && a.authority == b.authority && a.path == b.path && a.query == b.query
            && first.version == second.version && first.framing == second.framing
            && first.wantsKeepAlive == second.wantsKeepAlive
            && first.expectsContinue == second.expectsContinue && first.hostIndex == second.hostIndex
            && first.upgradeIndex == second.upgradeIndex && first.connectionIndex == second.connectionIndex
            && first.connectionHasUpgrade == second.connectionHasUpgrade
            && areSame(first.fields, second.fields)
    }

    static func areSame(_ first: ResponseHead, _ second: ResponseHead) -> Bool {
        first.bytes == second.bytes && first.status == second.status && first.reason == second.reason
            && first.version == second.version && first.framing == second.framing
            && first.wantsKeepAlive == second.wantsKeepAlive && first.upgradeIndex == second.upgradeIndex
            && first.connectionIndex == second.connectionIndex
            && first.connectionHasUpgrade == second.connectionHasUpgrade
            && areSame(first.fields, second.fields)
    }

    /// Whether a line was seen to be tidy is no part of what it says: one that came in pieces need not be.
    private static func areSame(_ first: [FieldLine], _ second: [FieldLine]) -> Bool {
        guard first.count == second.count else { return false }
        for (a, b) in zip(first, second) {
            guard a.name == b.name, a.value == b.value, a.id == b.id, a.nameKind == b.nameKind,
                a.isEdited == b.isEdited
            else { return false }
        }
        return true
    }

    /// The same names and values, wherever they stand.
    static func haveSameText(
        _ first: [FieldLine], in bytes: [UInt8], _ second: [FieldLine], in otherBytes: [UInt8]
    ) -> Bool {
        guard first.count == second.count else { return false }
        for (a, b) in zip(first, second) {
            guard a.id == b.id, bytes.holds(a.name, equalTo: otherBytes, b.name),
                bytes.holds(a.value, equalTo: otherBytes, b.value)
            else { return false }
        }
        return true
    }

    /// Every place that a head names is one of its bytes, and what is called tidy is.
    static func arePlaced(_ fields: [FieldLine], in bytes: [UInt8]) -> Bool {
        fields.allSatisfy { field in
            guard field.name.upperBound <= bytes.count, field.value.upperBound <= bytes.count else {
                return false
            }
            let end = field.value.upperBound
            return !field.isTidy
                || end + 1 < bytes.count && field.value.lowerBound == field.name.upperBound + 2
                    && bytes[field.name.upperBound] == 0x3a && bytes[field.name.upperBound + 1] == 0x20
                    && bytes[end] == 13 && bytes[end + 1] == 10
        }
    }

    /// Each field in the tidy form.
    static func append(_ fields: [FieldLine], of bytes: [UInt8], to output: inout [UInt8]) {
        for field in fields {
            output += bytes[field.name]
            output += [0x3a, 0x20]
            output += bytes[field.value]
            output += [13, 10]
        }
        output += [13, 10]
    }

    static func parseRequest(
        _ bytes: [UInt8], limits: RequestHeadParser.Limits = wide
    ) -> (progress: HeadProgress<RequestViolation>, head: RequestHead) {
        var parser = RequestHeadParser()
        var head = RequestHead()
        let progress = parser.parse(bytes.rawSpan, limits: limits, into: &head)
        return (progress, head)
    }

    static func parseResponse(
        _ bytes: [UInt8], isHead: Bool, maxHead: Int = 1 << 20
    ) -> (progress: HeadProgress<ResponseViolation>, head: ResponseHead) {
        var parser = ResponseHeadParser()
        var head = ResponseHead()
        let progress = parser.parse(bytes.rawSpan, isHead: isHead, maxHead: maxHead, into: &head)
        return (progress, head)
    }

    /// For heads that the proxy itself has written.
    static let wide: RequestHeadParser.Limits = {
        var limits = RequestHeadParser.Limits()
        limits.maxRequestLine = 1 << 20
        limits.maxFieldLine = 1 << 20
        limits.maxHead = 1 << 20
        limits.maxFields = 100_000
        return limits
    }()
}
