internal import Wire

/// ASCII text in byte arrays: what is needed often enough that it must not go through `String`.
package enum ByteText {
    package static let space = UInt8(ascii: " ")
    package static let lineFeed = UInt8(ascii: "\n")
    package static let carriageReturn = UInt8(ascii: "\r")
    package static let slash = UInt8(ascii: "/")
    package static let dash = UInt8(ascii: "-")
    package static let dot = UInt8(ascii: ".")
    package static let comma = UInt8(ascii: ",")
    package static let colon = UInt8(ascii: ":")
    package static let plus = UInt8(ascii: "+")
    package static let at = UInt8(ascii: "@")
    package static let hash = UInt8(ascii: "#")
    package static let quote = UInt8(ascii: "\"")
    package static let openBracket = UInt8(ascii: "[")
    package static let closeBracket = UInt8(ascii: "]")
    package static let semicolon = UInt8(ascii: ";")
    package static let equals = UInt8(ascii: "=")
    package static let ampersand = UInt8(ascii: "&")
    package static let question = UInt8(ascii: "?")
    package static let percent = UInt8(ascii: "%")
    package static let zero = UInt8(ascii: "0")

    /// Below the space, or DEL.
    static func isControl(_ byte: UInt8) -> Bool { byte < space || byte == 0x7f }

    package static func lowercase(_ bytes: inout [UInt8]) {
        for index in bytes.indices { bytes[index] = ASCII.lowercased(bytes[index]) }
    }

    /// `value` in decimal, filled up with zeros at the left to `minimumDigits`.
    package static func appendDecimal(_ value: Int64, minimumDigits: Int, to out: inout [UInt8]) {
        if value < 0 { out.append(dash) }
        var rest = value.magnitude
        let start = out.count
        repeat {
            out.append(zero + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0 || out.count - start < minimumDigits
        // The digits came out last first.
        var low = start
        var high = out.count - 1
        while low < high {
            out.swapAt(low, high)
            low += 1
            high -= 1
        }
    }

    /// Seconds with three decimals: `1.250`. A negative time, which a clock set back can yield, is `0.000`.
    package static func appendSeconds(milliseconds: Int64, to out: inout [UInt8]) {
        appendThousandths(max(milliseconds, 0), to: &out)
    }

    /// A number of thousandths, none below zero, with three decimals.
    static func appendThousandths(_ number: Int64, to out: inout [UInt8]) {
        ASCII.appendDecimal(number / 1000, to: &out)
        out.append(dot)
        appendDecimal(number % 1000, minimumDigits: 3, to: &out)
    }

    /// Whether `bytes` continue with `prefix` at `start`.
    package static func matches(_ bytes: [UInt8], at start: Int, _ prefix: [UInt8]) -> Bool {
        guard start >= 0, bytes.count - start >= prefix.count else { return false }
        var index = 0
        while index < prefix.count {
            if bytes[start + index] != prefix[index] { return false }
            index += 1
        }
        return true
    }

    package static func hasPrefix(_ bytes: [UInt8], _ prefix: [UInt8]) -> Bool {
        matches(bytes, at: 0, prefix)
    }

    /// As `matches`, ASCII letters comparing without case; `lowercasePrefix` is in lower case.
    package static func matchesIgnoringCase(
        _ bytes: [UInt8], at start: Int, _ lowercasePrefix: [UInt8]
    ) -> Bool {
        guard start >= 0, bytes.count - start >= lowercasePrefix.count else { return false }
        var index = 0
        while index < lowercasePrefix.count {
            if ASCII.lowercased(bytes[start + index]) != lowercasePrefix[index] { return false }
            index += 1
        }
        return true
    }

    /// Whether `bytes[range]` is `name` when case is left out of account. `name` is in lower case.
    static func equal(_ bytes: [UInt8], _ range: Range<Int>, lowercase name: [UInt8]) -> Bool {
        range.count == name.count && matchesIgnoringCase(bytes, at: range.lowerBound, name)
    }

    static func equal(_ bytes: [UInt8], lowercase name: [UInt8]) -> Bool {
        equal(bytes, 0..<bytes.count, lowercase: name)
    }

    /// Where `part` first stands in `bytes[range]`, byte for byte.
    static func position(of part: [UInt8], in bytes: [UInt8], _ range: Range<Int>) -> Int? {
        guard !part.isEmpty, part.count <= range.count else { return nil }
        var start = range.lowerBound
        while start + part.count <= range.upperBound {
            var length = 0
            while length < part.count, bytes[start + length] == part[length] { length += 1 }
            if length == part.count { return start }
            start += 1
        }
        return nil
    }

    /// Whether the comma-separated list in `bytes[range]` holds `token`.
    static func list(_ bytes: [UInt8], _ range: Range<Int>, holds token: Keyword) -> Bool {
        var elements = ListElements(range)
        while let element = elements.next(bytes.span) {
            if token.matches(bytes, element) { return true }
        }
        return false
    }

    /// Makes spaces of CR, LF and NUL in what a template wrote, so that a value decoded from a URI (`$uri`) or a
    /// body cannot begin a line of its own.
    static func neutraliseLineEnds(in output: inout [UInt8], from start: Int) {
        for index in start..<output.count {
            let byte = output[index]
            if byte == carriageReturn || byte == lineFeed || byte == 0 {
                output[index] = space
            }
        }
    }
}
