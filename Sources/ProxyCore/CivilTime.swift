internal import Wire

/// A date and time of day in the Gregorian calendar.
package struct CivilTime: Sendable, Equatable {
    package var year: Int
    /// 1…12
    package var month: Int
    /// 1…31
    package var day: Int
    package var hour: Int
    package var minute: Int
    package var second: Int
    /// 0 is Sunday.
    package var weekday: Int

    private static let secondsPerDay: Int64 = 86_400
    private static let daysPerEra: Int64 = 146_097
    /// From 0000-03-01 to 1970-01-01.
    private static let daysBefore1970: Int64 = 719_468

    /// - Parameter unix: seconds since 1970-01-01T00:00:00; add a zone's offset for its local time.
    package init(unix: Int64) {
        var days = unix / Self.secondsPerDay
        var secondOfDay = unix % Self.secondsPerDay
        if secondOfDay < 0 {
            secondOfDay += Self.secondsPerDay
            days -= 1
        }
        hour = Int(secondOfDay / 3600)
        minute = Int(secondOfDay / 60 % 60)
        second = Int(secondOfDay % 60)
        // 1970-01-01 was a Thursday.
        weekday = Int(((days + 4) % 7 + 7) % 7)

        // Years are counted from March, so that a leap day is a year's last, in eras of 400 years, after which
        // the calendar repeats.
        let shifted = days + Self.daysBefore1970
        let era = (shifted >= 0 ? shifted : shifted - (Self.daysPerEra - 1)) / Self.daysPerEra
        let dayOfEra = shifted - era * Self.daysPerEra
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = Int(dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
        month = Int(monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9)
        year = Int(yearOfEra + era * 400) + (month <= 2 ? 1 : 0)
    }

    /// Seconds since 1970 of a date and time of day from the year 0 on, the reverse of `init(unix:)`.
    static func unixSeconds(
        year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int
    ) -> Int64 {
        // From March, as above.
        let shiftedYear = month > 2 ? year : year - 1
        let monthFromMarch = (month + 9) % 12
        let leapDays = shiftedYear / 4 - shiftedYear / 100 + shiftedYear / 400
        let days = shiftedYear * 365 + leapDays + (monthFromMarch * 153 + 2) / 5 + day - 1
        return (Int64(days) - daysBefore1970) * secondsPerDay + Int64(hour * 3600 + minute * 60 + second)
    }

    /// The month, 1…12, whose name of three letters stands in `range`.
    static func month(named bytes: [UInt8], _ range: Range<Int>) -> Int? {
        guard range.count == 3 else { return nil }
        let named = bytes.span.extracting(range)
        return (1...12).first { month in
            (0..<3).allSatisfy { monthNames[(month - 1) * 3 + $0] == named[$0] }
        }
    }

    // Names of three letters, one after the other: in arrays of their own, references to one would be counted, and all
    // workers have the same one.
    private static let monthNames = Array("JanFebMarAprMayJunJulAugSepOctNovDec".utf8)
    private static let dayNames = Array("SunMonTueWedThuFriSat".utf8)

    private func appendMonth(to out: inout [UInt8]) {
        out.append(copying: Self.monthNames.span, (month - 1) * 3..<month * 3)
    }

    private func appendTwo(_ value: Int, to out: inout [UInt8]) {
        ByteText.appendDecimal(Int64(value), minimumDigits: 2, to: &out)
    }

    private func appendTimeOfDay(to out: inout [UInt8]) {
        appendTwo(hour, to: &out)
        out.append(ByteText.colon)
        appendTwo(minute, to: &out)
        out.append(ByteText.colon)
        appendTwo(second, to: &out)
    }

    private func appendZone(_ offset: Int, separator: Bool, to out: inout [UInt8]) {
        out.append(offset < 0 ? ByteText.dash : UInt8(ascii: "+"))
        let minutes = Int(offset.magnitude / 60)
        appendTwo(minutes / 60, to: &out)
        if separator { out.append(ByteText.colon) }
        appendTwo(minutes % 60, to: &out)
    }

    /// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`. The time must be UTC.
    package func appendIMFFixdate(to out: inout [UInt8]) {
        out.append(copying: Self.dayNames.span, weekday * 3..<weekday * 3 + 3)
        out.append(ByteText.comma)
        out.append(ByteText.space)
        appendTwo(day, to: &out)
        out.append(ByteText.space)
        appendMonth(to: &out)
        out.append(ByteText.space)
        ByteText.appendDecimal(Int64(year), minimumDigits: 4, to: &out)
        out.append(ByteText.space)
        appendTimeOfDay(to: &out)
        out.append(contentsOf: " GMT".utf8)
    }

    /// `06/Nov/1994:08:49:37 +0100`, as in the common log format. `zone` is seconds east of Greenwich.
    package func appendCommonLog(zone: Int, to out: inout [UInt8]) {
        appendTwo(day, to: &out)
        out.append(ByteText.slash)
        appendMonth(to: &out)
        out.append(ByteText.slash)
        ByteText.appendDecimal(Int64(year), minimumDigits: 4, to: &out)
        out.append(ByteText.colon)
        appendTimeOfDay(to: &out)
        out.append(ByteText.space)
        appendZone(zone, separator: false, to: &out)
    }

    /// `1994-11-06T08:49:37+01:00`. `zone` is seconds east of Greenwich.
    package func appendISO8601(zone: Int, to out: inout [UInt8]) {
        ByteText.appendDecimal(Int64(year), minimumDigits: 4, to: &out)
        out.append(ByteText.dash)
        appendTwo(month, to: &out)
        out.append(ByteText.dash)
        appendTwo(day, to: &out)
        out.append(UInt8(ascii: "T"))
        appendTimeOfDay(to: &out)
        appendZone(zone, separator: true, to: &out)
    }
}
