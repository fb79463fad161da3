import ProxyCore
import Testing

@Suite("Clock")
struct RoutingClockTests {
    /// Taken from `date -u -d @N`.
    @Test(
        "seconds become dates, leap years and times before 1970 included",
        arguments: [
            (0, 1970, 1, 1, 0, 0, 0, 4), (951_782_399, 2000, 2, 28, 23, 59, 59, 1),
            (951_782_400, 2000, 2, 29, 0, 0, 0, 2),
            (951_868_800, 2000, 3, 1, 0, 0, 0, 3), (1_078_012_800, 2004, 2, 29, 0, 0, 0, 0),
            (1_677_628_799, 2023, 2, 28, 23, 59, 59, 2), (1_677_628_800, 2023, 3, 1, 0, 0, 0, 3),
            (4_107_542_399, 2100, 2, 28, 23, 59, 59, 0), (4_107_542_400, 2100, 3, 1, 0, 0, 0, 1),
            (1_735_689_599, 2024, 12, 31, 23, 59, 59, 2), (-1, 1969, 12, 31, 23, 59, 59, 3),
            (-2_203_891_200, 1900, 3, 1, 0, 0, 0, 4), (2_147_483_648, 2038, 1, 19, 3, 14, 8, 2),
        ])
    func civil(
        unix: Int64, year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int, weekday: Int
    ) {
        let time = CivilTime(unix: unix)
        #expect([time.year, time.month, time.day] == [year, month, day])
        #expect([time.hour, time.minute, time.second, time.weekday] == [hour, minute, second, weekday])
    }

    @Test("every day of four centuries follows the one before")
    func followsDays() {
        var previous = CivilTime(unix: -62_135_596_800)
        var leapDays = 0
        for day in 1...146_097 {
            let next = CivilTime(unix: -62_135_596_800 + Int64(day) * 86_400)
            if next.month == 2, next.day == 29 { leapDays += 1 }
            let followsInMonth = next.month == previous.month && next.day == previous.day + 1
            let beginsMonth = next.day == 1 && previous.day >= 28 && next.month == previous.month % 12 + 1
            #expect(followsInMonth || beginsMonth)
            #expect(next.weekday == (previous.weekday + 1) % 7)
            previous = next
        }
        #expect(leapDays == 97)
        #expect([previous.year, previous.month, previous.day] == [401, 1, 1])
    }

    @Test("the textual forms")
    func texts() {
        let clock = Clock()
        clock.advance(to: Moment(unix: 784_111_777_999))
        #expect(text(clock.dateLine) == "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
        #expect(text(clock.localTime) == "06/Nov/1994:08:49:37 +0000")
        #expect(text(clock.iso8601) == "1994-11-06T08:49:37+00:00")
    }

    @Test(
        "local forms carry the zone's offset, and the HTTP date does not",
        arguments: [
            (19_800, "06/Nov/1994:14:19:37 +0530", "1994-11-06T14:19:37+05:30"),
            (-34_200, "05/Nov/1994:23:19:37 -0930", "1994-11-05T23:19:37-09:30"),
        ])
    func zones(offset: Int, local: String, iso: String) {
        let clock = Clock()
        clock.advance(to: Moment(unix: 784_111_777_000))
        #expect(text(clock.localTime) == "06/Nov/1994:08:49:37 +0000")
        clock.zoneOffset = offset
        #expect(text(clock.localTime) == local)
        #expect(text(clock.iso8601) == iso)
        #expect(text(clock.dateLine) == "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
    }

    @Test("a form is made anew when the second changes, in either direction")
    func renews() {
        let clock = Clock()
        clock.advance(to: Moment(unix: 784_111_777_000))
        #expect(text(clock.dateLine).hasSuffix("37 GMT\r\n"))
        clock.advance(to: Moment(unix: 784_111_777_999))
        #expect(text(clock.dateLine).hasSuffix("37 GMT\r\n"))
        clock.advance(to: Moment(unix: 784_111_778_000))
        #expect(text(clock.dateLine).hasSuffix("38 GMT\r\n"))
        clock.advance(to: Moment(unix: 784_111_776_999))
        #expect(text(clock.dateLine).hasSuffix("36 GMT\r\n"))
    }
}
