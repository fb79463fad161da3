/// Values by key, each with its own end, within a number of bytes: what came first goes first when room is needed.
struct BoundedCache<Value> {
    private struct Entry {
        var value: Value
        var expiresAt: Int
        var cost: Int
        /// By which its place in `order` is told from one that the key had before.
        var number: UInt64
    }

    /// What an entry costs besides its value and two copies of its key.
    private static var overhead: Int { 160 }

    /// Bytes.
    private var limit: Int
    private var entries: [[UInt8]: Entry] = [:]
    /// Keys as they came in, with their entries' numbers; some may have left the table since.
    private var order: [(key: [UInt8], number: UInt64)] = []
    private var nextNumber: UInt64 = 0
    private var firstInOrder = 0
    private var bytes = 0

    init(limit: Int) { self.limit = limit }

    var count: Int { entries.count }
    /// In the order of coming, of values that are there and of such that are gone.
    var places: Int { order.count }

    /// - Parameters:
    ///   - value: in place of one that the key has.
    ///   - size: the value's, in bytes; one for which there is no room at all is not kept.
    ///   - key: its own.
    ///   - expiry: when it ends being valid, on whatever clock the caller has.
    mutating func put(_ value: Value, ofSize size: Int, at key: [UInt8], until expiry: Int) {
        let cost = size + 2 * key.count + Self.overhead
        remove(key)
        guard cost <= limit else { return }
        makeRoom(for: cost)
        entries[key] = Entry(value: value, expiresAt: expiry, cost: cost, number: nextNumber)
        order.append((key, nextNumber))
        nextNumber += 1
        bytes += cost
    }

    /// The key's value, unless its time is over, with which it leaves.
    mutating func value(at key: [UInt8], now: Int) -> Value? {
        guard let entry = entries[key] else { return nil }
        guard entry.expiresAt > now else {
            remove(key)
            return nil
        }
        return entry.value
    }

    mutating func remove(_ key: [UInt8]) {
        guard let entry = entries.removeValue(forKey: key) else { return }
        bytes -= entry.cost
        // Places of values that are gone must not become many more than those of values that are there.
        if order.count - firstInOrder > 2 * entries.count + 64 {
            order = order[firstInOrder...].filter { entries[$0.key]?.number == $0.number }
            firstInOrder = 0
        }
    }

    /// Changes how many bytes there may be; what came first goes where that is too much.
    mutating func resize(to limit: Int) {
        self.limit = limit
        makeRoom(for: 0)
    }

    private mutating func makeRoom(for cost: Int) {
        while bytes + cost > limit, firstInOrder < order.count {
            let (key, number) = order[firstInOrder]
            firstInOrder += 1
            if entries[key]?.number == number { remove(key) }
        }
        if firstInOrder > 64, firstInOrder * 2 > order.count {
            order.removeFirst(firstInOrder)
            firstInOrder = 0
        }
    }
}
