/// The leaky buckets of a `limit_req_zone`: how many requests of each key are ahead of their rate.
///
///     admit ── accounted                       the last limit of a location: the request is in the bucket
///           ── noted ──▶ settle or release     the others: it is put there once no limit refuses it
///           ── refused, noRoom
///
/// `RequestZone` drives it, under its lock. Excess is in thousandths of a request, rates are in thousandths a second, times in
/// milliseconds of a clock that workers share, which may be seen a little out of order.
struct RequestRateTable: Sendable {
    private struct Bucket {
        var excess = 0
        /// When `excess` was right.
        var last: Int64 = 0
        /// Requests that have noted it and are not settled yet: it stays for these.
        var notes = 0
    }

    enum Admission: Equatable {
        case accounted(excess: Int)
        case noted(bucket: Int)
        /// The bucket is full.
        case refused(excess: Int)
        /// There is no room for another key, even where the oldest goes.
        case noRoom
    }

    private var buckets: KeyedStates<Bucket>

    /// - Parameters:
    ///   - size: the zone's, in bytes.
    ///   - name: the zone's, of which nginx keeps a copy in it.
    init(size: Int, name: String) {
        // nginx's tree and queue, and what its messages say of the zone. A state is 80 bytes and its key.
        let room = ZoneRoom(
            zoneSize: size, taken: [80, " in limit_req zone \"\"".utf8.count + 1 + name.utf8.count])
        buckets = KeyedStates(blank: Bucket(), stateSize: 80, room: room)
    }

    /// Keys that have a bucket.
    var count: Int { buckets.count }

    /// Sees whether another request of `key` fits into its bucket, which holds `burst` thousandths. With `accounts`, it is put
    /// there at once.
    mutating func admit(_ key: [UInt8], rate: Int, burst: Int, accounts: Bool, now: Int64) -> Admission {
        if let index = buckets.index(of: key) {
            buckets.touch(index)
            let excess = excess(of: buckets[index], rate: rate, now: now)
            guard excess <= burst else { return .refused(excess: excess) }
            guard accounts else {
                buckets[index].notes += 1
                return .noted(bucket: index)
            }
            account(index, excess: excess, now: now)
            return .accounted(excess: excess)
        }
        expire(byForce: false, rate: rate, now: now)
        // One that is noted is as if nothing had come for a long time: settling it makes it empty.
        let bucket = accounts ? Bucket(last: now) : Bucket(last: .min, notes: 1)
        var index = buckets.insert(key, bucket)
        if index == nil {
            expire(byForce: true, rate: rate, now: now)
            index = buckets.insert(key, bucket)
        }
        guard let index else { return .noRoom }
        return accounts ? .accounted(excess: 0) : .noted(bucket: index)
    }

    /// Puts a request into a bucket that it has noted.
    ///
    /// - Returns: what is in excess then.
    mutating func settle(_ bucket: Int, rate: Int, now: Int64) -> Int {
        let excess = excess(of: buckets[bucket], rate: rate, now: now)
        account(bucket, excess: excess, now: now)
        buckets[bucket].notes -= 1
        return excess
    }

    /// Forgets a request that has noted a bucket, since another limit refuses it.
    mutating func release(_ bucket: Int) { buckets[bucket].notes -= 1 }

    private mutating func account(_ index: Int, excess: Int, now: Int64) {
        if Self.elapsed(since: buckets[index].last, now) > 0 { buckets[index].last = now }
        buckets[index].excess = excess
    }

    /// With another request in it.
    private func excess(of bucket: Bucket, rate: Int, now: Int64) -> Int {
        max(0, Self.left(of: bucket.excess, rate: rate, after: Self.elapsed(since: bucket.last, now)) + 1000)
    }

    /// Another worker's time may be a little ahead. As in nginx, one that is a minute ahead is no time of this clock.
    private static func elapsed(since last: Int64, _ now: Int64) -> Int64 {
        let (difference, overflow) = now.subtractingReportingOverflow(last)
        if overflow { return .max }
        return difference < -60_000 ? 1 : max(0, difference)
    }

    /// Below zero where more would have run out.
    private static func left(of excess: Int, rate: Int, after milliseconds: Int64) -> Int {
        let (product, overflow) = rate.multipliedReportingOverflow(by: Int(milliseconds))
        // Whoever has a rate of that many has nothing left.
        return overflow ? -1000 : excess - product / 1000
    }

    /// Takes out up to two buckets that have been empty for a minute, and `byForce` the oldest before them.
    private mutating func expire(byForce: Bool, rate: Int, now: Int64) {
        for step in (byForce ? 0 : 1)..<3 {
            // Requests that are not settled are the newest: there is nothing behind them.
            guard let oldest = buckets.oldest, buckets[oldest].notes == 0 else { return }
            if step > 0 {
                let (idle, overflow) = now.subtractingReportingOverflow(buckets[oldest].last)
                guard overflow || idle >= 60_000,
                    Self.left(of: buckets[oldest].excess, rate: rate, after: overflow ? .max : idle) <= 0
                else { return }
            }
            buckets.remove(oldest)
        }
    }
}
