internal import Config
internal import Wire

/// Shows a head that is being written to `$sent_http_*`, for the variables in `expires` and `add_header`.
///
/// What is shown lies in `exchange.sentHead`, where the whole head will be once it is sent. Nothing is copied for
/// a configuration in which these directives hold no variables.
struct HeadPreview {
    private let isWanted: Bool
    /// Everything before this place in the output has been shown, or was passed over.
    private var position: Int
    /// How much of `exchange.sentHead` shows it.
    private var shown = 0

    /// For a head that begins where the output ends now.
    init(_ settings: Settings, of exchange: Exchange, in output: [UInt8]) {
        isWanted =
            settings.values.expires.isComputed
            || settings.values.addHeaders.contains { $0.value.constant == nil }
        position = output.count
        if isWanted { exchange.sentHead.clear() }
    }

    /// Shows what was written since.
    mutating func update(_ output: [UInt8], of exchange: Exchange) {
        guard isWanted, position < output.count else { return }
        exchange.sentHead.append(contentsOf: output[position...])
        noteShown(output, of: exchange)
    }

    /// Writes where a redirect leads, and shows it as the response came with it, as nginx completes the URL last.
    mutating func append(location: [UInt8], of exchange: Exchange, to output: inout [UInt8]) {
        update(output, of: exchange)
        ResponseHeadWriter.append(Self.location, RedirectURL.absolute(location, exchange), to: &output)
        guard isWanted else { return }
        ResponseHeadWriter.append(Self.location, URIEscape.controls(location), to: &exchange.sentHead)
        noteShown(output, of: exchange)
    }

    /// What `value` comes to while fields are shown that are yet to be written, or replaced by it: those that `write`
    /// appends, of which nothing stays.
    func showing<Value>(
        _ output: inout [UInt8], of exchange: Exchange, _ write: (inout [UInt8]) -> Void, _ value: () -> Value
    ) -> Value {
        let start = output.count
        write(&output)
        var whole = self
        whole.update(output, of: exchange)
        let result = value()
        output.removeLast(output.count - start)
        if isWanted, exchange.sentHead.count > shown {
            exchange.sentHead.removeLast(exchange.sentHead.count - shown)
        }
        return result
    }

    private mutating func noteShown(_ output: [UInt8], of exchange: Exchange) {
        position = output.count
        shown = exchange.sentHead.count
    }

    private static let location = Array("Location".utf8)
}
