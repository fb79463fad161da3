import Testing

@testable import ProxyCore

/// A text as a key.
private func key(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("The leaky buckets of limit_req")
struct RequestRateTableTests {
    /// One request a second.
    private static let slow = 1000

    private func table(size: Int = 1 << 20, name: String = "r") -> RequestRateTable {
        RequestRateTable(size: size, name: name)
    }

    @Test("a key's first request is in time, and each that is ahead of the rate is in excess")
    func excess() {
        var table = table()
        func admit(_ text: String, at now: Int64) -> RequestRateTable.Admission {
            table.admit(key(text), rate: Self.slow, burst: 2000, accounts: true, now: now)
        }
        #expect(admit("a", at: 5000) == .accounted(excess: 0))
        #expect(admit("a", at: 5000) == .accounted(excess: 1000))
        #expect(admit("b", at: 5000) == .accounted(excess: 0))
        #expect(admit("a", at: 5250) == .accounted(excess: 1750))
        #expect(admit("a", at: 5250) == .refused(excess: 2750))
        // What was refused is not in the bucket.
        #expect(admit("a", at: 5500) == .refused(excess: 2500))
        #expect(admit("a", at: 6000) == .accounted(excess: 2000))
        #expect(admit("a", at: 9000) == .accounted(excess: 0))
        #expect(admit("a", at: 9000) == .accounted(excess: 1000))
    }

    @Test("the burst itself still fits, and a thousandth more does not")
    func edge() {
        var table = table()
        for excess in [0, 1000] {
            #expect(
                table.admit(key("a"), rate: Self.slow, burst: 1000, accounts: true, now: 0)
                    == .accounted(excess: excess))
        }
        #expect(
            table.admit(key("a"), rate: Self.slow, burst: 1000, accounts: true, now: 999)
                == .refused(excess: 1001))
        #expect(
            table.admit(key("a"), rate: Self.slow, burst: 1000, accounts: true, now: 1000)
                == .accounted(excess: 1000))
    }

    @Test("half a request a second comes to whole requests in time")
    func slowRate() {
        var table = table()
        let times: [(Int64, RequestRateTable.Admission)] = [
            (0, .accounted(excess: 0)), (1000, .refused(excess: 500)), (1999, .refused(excess: 1)),
            (2000, .accounted(excess: 0)),
        ]
        for (now, verdict) in times {
            #expect(table.admit(key("a"), rate: 500, burst: 0, accounts: true, now: now) == verdict)
        }
    }

    @Test("what is noted counts once it is settled, and never where it is released")
    func notes() {
        var table = table()
        func admit(accounts: Bool) -> RequestRateTable.Admission {
            table.admit(key("a"), rate: Self.slow, burst: 0, accounts: accounts, now: 0)
        }
        guard case .noted(let bucket) = admit(accounts: false) else {
            Issue.record("it is not noted")
            return
        }
        table.release(bucket)
        #expect(admit(accounts: false) == .noted(bucket: bucket))
        #expect(table.settle(bucket, rate: Self.slow, now: 0) == 0)
        #expect(admit(accounts: false) == .refused(excess: 1000))
        #expect(admit(accounts: true) == .refused(excess: 1000))
    }

    @Test("time that goes back a little stands still, and more than a minute back is another clock's")
    func timesOutOfOrder() {
        var table = table()
        func admit(at now: Int64) -> RequestRateTable.Admission {
            table.admit(key("a"), rate: Self.slow, burst: 9000, accounts: true, now: now)
        }
        #expect(admit(at: 100_000) == .accounted(excess: 0))
        #expect(admit(at: 99_000) == .accounted(excess: 1000))
        #expect(admit(at: 100_000) == .accounted(excess: 2000))
        #expect(admit(at: 101_000) == .accounted(excess: 2000))
        // As in nginx it counts from that time on.
        #expect(admit(at: 10_000) == .accounted(excess: 2999))
        #expect(admit(at: 11_000) == .accounted(excess: 2999))
    }

    @Test(
        "rates and times beyond all numbers empty the bucket, and none is a trap", arguments: [1, 500, .max])
    func extremes(rate: Int) {
        var table = table()
        for now in [Int64.min, .min + 1, -1, 0, 1, .max - 1, .max, 0, .min] {
            for accounts in [true, false] {
                let verdict = table.admit(key("a"), rate: rate, burst: .max, accounts: accounts, now: now)
                if case .noted(let bucket) = verdict {
                    #expect(table.settle(bucket, rate: rate, now: now) >= 0)
                }
            }
        }
        #expect(table.count == 1)
    }

    @Test("where there is no room the one that was used least goes, in time or not")
    func eviction() {
        // As many as nginx has room for in 32 KB.
        var table = table(size: 32 << 10)
        func asks(_ number: Int) -> Bool {
            table.admit(key("key \(number)"), rate: Self.slow, burst: 0, accounts: true, now: 0)
                == .accounted(excess: 0)
        }
        for number in 0..<191 { #expect(asks(number)) }
        #expect(table.count == 191)
        #expect(!asks(0) && !asks(190))
        #expect(asks(191))
        #expect(table.count == 191)
        // 1 was the oldest; 0 was asked for since.
        #expect(!asks(0))
        #expect(asks(1))
    }

    @Test("buckets that have been empty for a minute go by two with each new key")
    func expiry() {
        var table = table()
        func add(_ text: String, at now: Int64) {
            _ = table.admit(key(text), rate: Self.slow, burst: 0, accounts: true, now: now)
        }
        for number in 0..<5 { add("\(number)", at: 0) }
        add("new", at: 59_999)
        #expect(table.count == 6)
        add("newer", at: 60_000)
        #expect(table.count == 5)
        add("newest", at: 60_000)
        add("last", at: 60_000)
        #expect(table.count == 4)
    }

    @Test("what is noted stays, so that there may be no room for another key")
    func noRoom() {
        var table = table(size: 32 << 10)
        for number in 0..<191 {
            let verdict = table.admit(
                key("key \(number)"), rate: Self.slow, burst: 0, accounts: false, now: 0)
            #expect(verdict == .noted(bucket: number))
        }
        func more() -> RequestRateTable.Admission {
            table.admit(key("more"), rate: Self.slow, burst: 0, accounts: true, now: 100_000)
        }
        #expect(more() == .noRoom)
        table.release(0)
        #expect(more() == .accounted(excess: 0))
    }

    @Test("a key that is longer than all that goes has no room")
    func longKeys() {
        var table = table(size: 32 << 10)
        let long = Array(repeating: UInt8(ascii: "x"), count: 30_000)
        #expect(table.admit(long, rate: 1, burst: 0, accounts: true, now: 0) == .noRoom)
        let half = Array(long.prefix(10_000))
        #expect(table.admit(half, rate: 1, burst: 0, accounts: true, now: 0) == .accounted(excess: 0))
        #expect(table.admit(half, rate: 1, burst: 0, accounts: true, now: 0) == .refused(excess: 1000))
    }
}

@Suite("The counts of limit_conn")
struct ConnectionCountTableTests {
    @Test("so many of a key are counted, and others have their own")
    func counts() {
        var table = ConnectionCountTable(size: 1 << 20, name: "c")
        #expect(table.admit(key("a"), limit: 2) == .counted(place: 0))
        #expect(table.admit(key("a"), limit: 2) == .counted(place: 0))
        #expect(table.admit(key("a"), limit: 2) == .tooMany)
        #expect(table.admit(key("a"), limit: 3) == .counted(place: 0))
        #expect(table.admit(key("b"), limit: 1) == .counted(place: 1))
        table.release(0)
        #expect(table.admit(key("a"), limit: 2) == .tooMany)
        for _ in 0..<2 { table.release(0) }
        #expect(table.count == 1)
        #expect(table.admit(key("c"), limit: 1) == .counted(place: 0))
        #expect(table.admit(key("b"), limit: 1) == .tooMany)
    }

    @Test("a table that is full counts no other key", arguments: [("c", 383), ("a-rather-long-name", 446)])
    func full(name: String, states: Int) {
        // nginx's numbers: what it keeps of a long name takes no page of its own.
        var table = ConnectionCountTable(size: 32 << 10, name: name)
        for number in 0..<states {
            #expect(table.admit(key("k\(number)"), limit: 1) == .counted(place: number))
        }
        #expect(table.admit(key("more"), limit: 1) == .noRoom)
        #expect(table.admit(key("k5"), limit: 2) == .counted(place: 5))
        table.release(7)
        #expect(table.admit(key("more"), limit: 1) == .counted(place: 7))
        #expect(table.admit(key("yet more"), limit: 1) == .noRoom)
    }
}

@Suite("The room in a zone")
struct ZoneRoomTests {
    @Test(
        "a zone has so many pieces of a size",
        arguments: [
            // Seven pages, 254 and 2544.
            (32_768, 64, 448), (32_768, 2048, 14), (32_768, 2049, 7), (32_768, 8192, 3), (32_768, 1, 3584),
            (1_048_576, 128, 8128), (10_485_760, 128, 81_408),
        ])
    func pieces(size: Int, bytes: Int, count: Int) {
        var room = ZoneRoom(zoneSize: size)
        var taken = 0
        while room.take(bytes) { taken += 1 }
        #expect(taken == count)
        room.giveBack(bytes)
        let again = room.take(bytes)
        let more = room.take(bytes)
        #expect(again && !more)
    }

    @Test("a page that is free again serves another size")
    func pages() {
        var room = ZoneRoom(zoneSize: 32 << 10)
        while room.take(64) {}
        func take(_ bytes: Int) -> Bool { room.take(bytes) }
        #expect(!take(128))
        for _ in 0..<63 { room.giveBack(64) }
        #expect(!take(128))
        room.giveBack(64)
        #expect(take(128))
        #expect(take(100))
        #expect(!take(64))
    }
}
