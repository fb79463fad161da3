import HTTP2
import Wire

/// A request of HTTP/2 that is taken is one head of HTTP/1, which says the same, or is refused as any other would be; and a
/// head of HTTP/1 comes through HTTP/2 as itself.
///
/// The input is lines of `name:value`, where a colon may begin the name; the first byte's lowest bit says that the stream
/// ends with the head.
enum HTTP2HeadTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        guard let first = input.first else { return }
        let text = Array(input.dropFirst())
        fields(text, endsStream: first & 1 != 0)
        head(text)
        response(text)
    }

    private static func fields(_ text: [UInt8], endsStream: Bool) {
        var fields: [(name: [UInt8], value: [UInt8])] = []
        for line in text.split(separator: 0x0a, omittingEmptySubsequences: false) {
            // The colon behind a name that may begin with one.
            let colon = line.dropFirst().firstIndex(of: 0x3a) ?? line.endIndex
            fields.append((Array(line[..<colon]), Array(line[colon...].dropFirst())))
        }
        guard let (outcome, output) = http1(fields, endsStream: endsStream) else { return }
        taken(outcome, output, fields, endsStream: endsStream)
    }

    /// `nil` for a request that is not taken.
    private static func http1(
        _ fields: [(name: [UInt8], value: [UInt8])], endsStream: Bool
    ) -> (kind: HTTP2RequestHead.Kind, head: [UInt8])? {
        var head = HTTP2RequestHead()
        for field in fields { head.add(field.name.span, field.value.span) }
        var output: [UInt8] = []
        switch head.finish(endsStream: endsStream, key: (1, 2), to: &output) {
        case .request(let kind):
            known(&head, output)
            return (kind, output)
        case .malformed, .refused:
            check(output.count { $0 == 10 } <= 1, "more than a line for the log: \(output.text)")
            return nil
        }
    }

    /// A head whose lines are known is taken as it is parsed, or is left to be parsed.
    private static func known(_ head: inout HTTP2RequestHead, _ output: [UInt8]) {
        var lines: [FieldLine] = []
        head.giveLines(to: &lines)
        if lines.isEmpty { return }
        let (progress, parsed) = Heads.parseRequest(output)
        var (parser, taken, bytes) = (RequestHeadParser(), RequestHead(), output)
        guard parser.take(&bytes, lines: lines.span, limits: Heads.wide, into: &taken) else {
            return check(progress != .complete(length: output.count), "it is not taken: \(output.text)")
        }
        check(progress == .complete(length: output.count), "HTTP/1 has \(progress) of it: \(output.text)")
        check(
            String(describing: taken) == String(describing: parsed), "it is taken as another: \(output.text)")
    }

    /// What HTTP/1 says of heads that HTTP/2 takes.
    static func taken(
        _ kind: HTTP2RequestHead.Kind, _ output: [UInt8], _ fields: [(name: [UInt8], value: [UInt8])]?,
        endsStream: Bool
    ) {
        let (progress, head) = Heads.parseRequest(output)
        switch progress {
        // Methods, targets and hosts are checked there, where all requests come by.
        case .invalid(.invalidMethod), .invalid(.missingHost), .invalid(.invalidHost),
            .invalid(.invalidTarget):
            return
        default: break
        }
        check(progress == .complete(length: output.count), "HTTP/1 has \(progress) of it: \(output.text)")
        switch kind {
        case .webSocket:
            check(head.connectionHasUpgrade && head.framing == .none, "no upgrade: \(output.text)")
        case .chunked: check(head.framing == .chunked, "a body is lost: \(output.text)")
        case .plain:
            // Of a CONNECT without an end nothing is said.
            check(head.framing != .chunked, "a body that is none: \(output.text)")
            check(!endsStream || !head.framing.hasBody, "a body behind the end: \(output.text)")
        }
        guard let fields else { return }
        let most = fields.count + 4
        check(head.fields.count <= most, "\(head.fields.count) fields of \(fields.count): \(output.text)")
        for field in fields where field.name.first != 0x3a {
            // Written as it is, or as something else of the same meaning.
            let id = FieldID(field.name.span, 0..<field.name.count)
            guard id == .other else { continue }
            check(
                head.fields.contains { line in
                    head.bytes.holds(line.name, equalTo: field.name, field.name.indices)
                        && head.bytes.holds(line.value, equalTo: field.value, field.value.indices)
                }, "a field is lost: \(output.text)")
        }
    }

    /// A head of HTTP/1 as a client of HTTP/2 sends it.
    private static func head(_ text: [UInt8]) {
        let (progress, head) = Heads.parseRequest(text)
        // The block shows its fields as text, which other bytes do not survive.
        guard case .complete = progress, head.targetParts.form == .origin,
            !head.bytes.contains(where: { $0 > 127 })
        else { return }
        var block = HTTP2FieldBlock()
        guard let request = block.readRequest(head.bytes.span, scheme: [UInt8]("http")) else {
            return check(false, "a head without an end: \(head.bytes.text)")
        }
        check(request.length == head.bytes.count, "a head of another length: \(head.bytes.text)")
        check(request.framing == head.framing, "a body of another length: \(head.bytes.text)")
        let fields = block.fields.map { (name: [UInt8]($0.name), value: [UInt8]($0.value)) }
        check(
            fields.allSatisfy { field in
                !(field.name + field.value).contains { $0 == 10 || $0 == 13 || $0 == 0 }
            },
            "a line end in a field: \(head.bytes.text)")
        guard let (kind, output) = http1(fields, endsStream: !head.framing.hasBody) else { return }
        taken(kind, output, nil, endsStream: !head.framing.hasBody)
        let again = Heads.parseRequest(output).head
        guard !again.bytes.isEmpty else { return }
        check(
            head.bytes.holds(head.method, equalTo: again.bytes, again.method)
                && head.bytes.holds(head.target, equalTo: again.bytes, again.target),
            "another request line: \(output.text)")
        check(
            head.framing.hasBody == again.framing.hasBody, "a body came or went: \(output.text)")
    }

    private static func response(_ text: [UInt8]) {
        let (progress, head) = Heads.parseResponse(text, isHead: false)
        guard case .complete(let length) = progress, head.status >= 100, head.status < 1000 else { return }
        // As the proxy writes it.
        var tidy = [UInt8]("HTTP/1.1 \(head.status) \r\n")
        Heads.append(head.fields, of: head.bytes, to: &tidy)
        var block = HTTP2FieldBlock()
        guard let read = block.readResponse(tidy.span) else {
            return check(false, "a head without an end: \(text.text)")
        }
        check(length > 0 && read.length == tidy.count, "a head of another length: \(text.text)")
        let fields = block.fields
        check(fields.first?.name == ":status", "no status first: \(text.text)")
        check(fields.dropFirst().allSatisfy { !$0.name.hasPrefix(":") }, "a status twice: \(text.text)")
        check(
            fields.allSatisfy { field in
                !(field.name.utf8 + Array(field.value.utf8)).contains { $0 == 10 || $0 == 13 || $0 == 0 }
            }, "a line end in a field: \(text.text)")
    }
}
