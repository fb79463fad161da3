/// Goes through the elements of a comma-separated field value (RFC 9110 §5.6.1), empty ones left out.
///
/// A comma inside a quoted string does not separate. Positions are those of the bytes handed in each time.
package struct ListElements: Sendable {
    private var position: Int
    private let end: Int

    package init(_ range: Range<Int>) {
        position = range.lowerBound
        end = range.upperBound
    }

    package init(_ field: FieldLine) { self.init(field.value) }

    /// The next element, without the white space around it.
    package mutating func next(_ bytes: Span<UInt8>) -> Range<Int>? {
        while position < end {
            let start = position
            var isQuoted = false
            while position < end {
                let byte = bytes[position]
                if byte == UInt8(ascii: "\"") {
                    isQuoted.toggle()
                } else if byte == UInt8(ascii: "\\"), isQuoted {
                    position &+= 1
                } else if byte == UInt8(ascii: ","), !isQuoted {
                    break
                }
                position &+= 1
            }
            let element = bytes.trimmed(start..<min(position, end))
            position &+= 1
            if !element.isEmpty { return element }
        }
        return nil
    }

    /// The part of `element` before its parameters: `permessage-deflate` of `permessage-deflate; a=1`.
    package static func name(of element: Range<Int>, in bytes: Span<UInt8>) -> Range<Int> {
        bytes.trimmed(element.lowerBound..<bytes.first(UInt8(ascii: ";"), in: element))
    }

    /// Whether the fields with `id` list an element whose name `fits`.
    static func list(
        in fields: [FieldLine], _ id: FieldID, of bytes: [UInt8], where fits: (_ name: Span<UInt8>) -> Bool
    ) -> Bool {
        let octets = bytes.span
        for field in fields where field.id == id {
            var elements = ListElements(field)
            while let element = elements.next(octets) {
                if fits(octets.extracting(name(of: element, in: octets))) { return true }
            }
        }
        return false
    }
}

/// Whether a range of bytes is a token (RFC 9110 §5.6.2): at least one character, all of them of the set.
package func isToken(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
    guard !range.isEmpty else { return false }
    var position = range.lowerBound
    while true {
        position = bytes.firstOutsidePlainName(from: position, to: range.upperBound)
        guard position < range.upperBound else { return true }
        guard ByteSet.token.contains(bytes[position]) else { return false }
        position &+= 1
    }
}
