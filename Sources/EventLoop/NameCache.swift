/// Answers that are still good, a bounded number of them.
struct NameCache {
    private struct Entry {
        var addresses: [SocketAddress]
        var goodUntil: Int64
    }

    private let capacity: Int
    private var entries: [String: Entry] = [:]

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { entries.count }

    func addresses(of name: String, now: Int64) -> [SocketAddress]? {
        guard let entry = entries[name], entry.goodUntil > now else { return nil }
        return entry.addresses
    }

    /// Keeps an answer until a time of the loop's clock; not at all when that is past.
    mutating func insert(_ addresses: [SocketAddress], of name: String, now: Int64, until time: Int64) {
        guard time > now else {
            entries[name] = nil
            return
        }
        if entries[name] == nil && entries.count >= capacity { makeRoom(now: now) }
        entries[name] = Entry(addresses: addresses, goodUntil: time)
    }

    /// Drops what is no longer good or, when everything still is, what will be so for the shortest time.
    private mutating func makeRoom(now: Int64) {
        entries = entries.filter { $0.value.goodUntil > now }
        guard entries.count >= capacity else { return }
        if let first = entries.min(by: { $0.value.goodUntil < $1.value.goodUntil }) {
            entries[first.key] = nil
        }
    }
}
