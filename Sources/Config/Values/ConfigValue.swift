/// nginx's notations of numbers, sizes and times. Each yields `nil` for what is not in its notation or too large.
package enum ConfigValue {
    /// Decimal digits and nothing else.
    static func number(_ bytes: some Collection<UInt8>) -> Int? {
        guard !bytes.isEmpty else { return nil }
        var value = 0
        for byte in bytes {
            guard let next = appending(byte, to: value) else { return nil }
            value = next
        }
        return value
    }

    /// Bytes, with `k` or `m` in either case behind the number.
    package static func size(_ bytes: [UInt8]) -> Int? { scaled(bytes, units: "km") }

    /// As `size`, with `g` as well: for what may be larger than memory.
    static func largeSize(_ bytes: [UInt8]) -> Int? { scaled(bytes, units: "kmg") }

    /// `sockaddr_un` has room for 107 bytes and a NUL.
    static func isSocketPath(_ path: some Collection<UInt8>) -> Bool { (1...107).contains(path.count) }

    /// Milliseconds. A number without a unit is seconds; units are `w d h m s ms`, larger ones first, as in
    /// `1h30m`.
    static func milliseconds(_ bytes: [UInt8]) -> Int? {
        time(bytes, units: millisecondUnits, bare: 1000)
    }

    /// Seconds. As `milliseconds`, with `y` (365 days) and `M` (30 days), without `ms`.
    static func seconds(_ bytes: [UInt8]) -> Int? {
        time(bytes, units: secondUnits, bare: 1)
    }

    /// `on` or `off`, in either case.
    static func flag(_ bytes: [UInt8]) -> Bool? {
        parameterFlag(bytes.lowercased())
    }

    static func parameterFlag(_ bytes: [UInt8]) -> Bool? {
        switch bytes {
        case Array("on".utf8): true
        case Array("off".utf8): false
        default: nil
        }
    }

    // Largest first: each may follow only a larger one.
    private static let secondUnits: [(unit: String, scale: Int)] = [
        ("y", 31_536_000), ("M", 2_592_000), ("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1),
    ]
    private static let millisecondUnits: [(unit: String, scale: Int)] =
        secondUnits.dropFirst(2).map { ($0.unit, $0.scale * 1000) } + [("ms", 1)]

    private static func time(_ bytes: [UInt8], units: [(unit: String, scale: Int)], bare: Int) -> Int? {
        var total = 0
        var remaining = units[...]
        var rest = bytes[...]
        var isEmpty = true
        while !rest.isEmpty {
            let digits = rest.prefix { isDigit($0) }
            guard let value = number(digits) else { return nil }
            rest = rest.dropFirst(digits.count)
            isEmpty = false
            let letters = rest.prefix { isLetter($0) }
            rest = rest.dropFirst(letters.count)
            let scale: Int
            if letters.isEmpty {
                guard rest.isEmpty else { return nil }
                scale = bare
            } else {
                let unit = String(decoding: letters, as: UTF8.self)
                guard let position = remaining.firstIndex(where: { $0.unit == unit }) else { return nil }
                scale = remaining[position].scale
                remaining = remaining[(position + 1)...]
            }
            let (part, tooLarge) = value.multipliedReportingOverflow(by: scale)
            let (sum, overflow) = total.addingReportingOverflow(part)
            guard !tooLarge, !overflow else { return nil }
            total = sum
            rest = rest.drop { $0 == UInt8(ascii: " ") }
        }
        return isEmpty ? nil : min(total, longestTime)
    }

    /// Longer times than thousands of years are as good as this one, and sums with it stay numbers.
    static let longestTime = 1 << 50

    private static func scaled(_ bytes: [UInt8], units: String) -> Int? {
        guard let last = bytes.last else { return nil }
        let letter = last | 0x20
        guard let exponent = units.utf8.enumerated().first(where: { $0.element == letter })?.offset,
            isLetter(last)
        else { return number(bytes) }
        guard let value = number(bytes.dropLast()) else { return nil }
        let (result, overflow) = value.multipliedReportingOverflow(by: 1 << (10 * (exponent + 1)))
        return overflow ? nil : result
    }

    private static func appending(_ byte: UInt8, to value: Int) -> Int? {
        guard isDigit(byte) else { return nil }
        let (tenfold, tooLarge) = value.multipliedReportingOverflow(by: 10)
        let (sum, overflow) = tenfold.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
        return tooLarge || overflow ? nil : sum
    }

    static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
    static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A }
}

extension Collection<UInt8> {
    /// ASCII letters in lower case; other bytes as they are.
    func lowercased() -> [UInt8] {
        map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }
    }
}
