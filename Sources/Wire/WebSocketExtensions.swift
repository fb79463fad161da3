/// Lists of WebSocket extensions (RFC 6455 §9.1).
package enum WebSocketExtensions {
    /// Appends those elements of the list `value` whose extension `isKept`. Appends nothing when there are none.
    package static func append(
        _ value: Span<UInt8>, to output: inout [UInt8], where isKept: (_ name: Span<UInt8>) -> Bool
    ) {
        var elements = ListElements(0..<value.count)
        var isFirst = true
        while let element = elements.next(value) {
            guard isKept(value.extracting(ListElements.name(of: element, in: value))) else { continue }
            if !isFirst {
                output.append(UInt8(ascii: ","))
                output.append(UInt8(ascii: " "))
            }
            isFirst = false
            output.append(copying: value, element)
        }
    }
}
