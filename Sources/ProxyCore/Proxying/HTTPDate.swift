internal import Wire

/// Dates of fields (RFC 9110 §5.6.7).
enum HTTPDate {
    static func append(unixSeconds: Int64, to output: inout [UInt8]) {
        CivilTime(unix: unixSeconds).appendIMFFixdate(to: &output)
    }

    /// Seconds since 1970 of an IMF-fixdate; `nil` for anything else, the two obsolete forms included.
    static func parse(_ bytes: [UInt8], _ range: Range<Int>) -> Int64? {
        // Sun, 06 Nov 1994 08:49:37 GMT
        guard range.count == 29, ByteText.matches(bytes, at: range.upperBound - 4, gmt)
        else {
            return nil
        }
        let start = range.lowerBound
        func number(_ offset: Int, _ count: Int) -> Int? {
            ASCII.decimal(bytes.span, start + offset..<start + offset + count).map { Int($0) }
        }
        guard let day = number(5, 2), let year = number(12, 4), let hour = number(17, 2),
            let minute = number(20, 2), let second = number(23, 2),
            let month = CivilTime.month(named: bytes, start + 8..<start + 11),
            (1...31).contains(day), hour < 24, minute < 60, second <= 60, year >= 1600
        else { return nil }
        return CivilTime.unixSeconds(
            year: year, month: month, day: day, hour: hour, minute: minute, second: second)
    }

    private static let gmt = Array(" GMT".utf8)
}
