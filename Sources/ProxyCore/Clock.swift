internal import Wire

/// A point in time by both clocks.
package struct Moment: Sendable, Hashable {
    /// Milliseconds since 1970, UTC.
    package var unix: Int64
    /// Milliseconds on a clock that never goes back.
    package var monotonic: Int64

    package init(unix: Int64 = 0, monotonic: Int64 = 0) {
        self.unix = unix
        self.monotonic = monotonic
    }

    /// The second that the moment lies in, since 1970.
    package var unixSeconds: Int64 { unix >= 0 ? unix / 1000 : (unix - 999) / 1000 }
}

/// The time as the driver last read it, with its textual forms made at most once a second.
package final class Clock {
    package private(set) var now = Moment()
    /// Seconds east of Greenwich, for `$time_local` and `$time_iso8601`; the driver keeps it up to date.
    package var zoneOffset = 0 {
        didSet {
            local.second = .min
            iso.second = .min
        }
    }

    /// One textual form and the second it was made for.
    private struct Text {
        var bytes: [UInt8] = []
        var second = Int64.min
    }

    private var local = Text()
    private var iso = Text()
    private var http = Text()

    package init() {}

    package func advance(to moment: Moment) { now = moment }

    /// `$time_local`: `23/Nov/2026:21:49:03 +0000`.
    package var localTime: [UInt8] {
        if local.second != now.unixSeconds {
            local.second = now.unixSeconds
            local.bytes.removeAll(keepingCapacity: true)
            civil(zoneOffset).appendCommonLog(zone: zoneOffset, to: &local.bytes)
        }
        return local.bytes
    }

    /// `$time_iso8601`: `2026-11-23T21:49:03+00:00`.
    package var iso8601: [UInt8] {
        if iso.second != now.unixSeconds {
            iso.second = now.unixSeconds
            iso.bytes.removeAll(keepingCapacity: true)
            civil(zoneOffset).appendISO8601(zone: zoneOffset, to: &iso.bytes)
        }
        return iso.bytes
    }

    /// The field of a response: `Date: Mon, 23 Nov 2026 21:49:03 GMT` and the end of the line.
    package var dateLine: [UInt8] {
        if http.second != now.unixSeconds {
            http.second = now.unixSeconds
            http.bytes.removeAll(keepingCapacity: true)
            http.bytes.append(contentsOf: "Date: ".utf8)
            civil(0).appendIMFFixdate(to: &http.bytes)
            http.bytes.append(contentsOf: ASCII.lineEnd)
        }
        return http.bytes
    }

    private func civil(_ zone: Int) -> CivilTime {
        CivilTime(unix: now.unixSeconds &+ Int64(zone))
    }
}
