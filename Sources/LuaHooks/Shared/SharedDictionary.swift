internal import Synchronization

/// A `lua_shared_dict`: values by key, for all workers, within a fixed number of bytes.
///
/// When it is full, the entries that were used least recently give way. Every operation takes constant time, but for
/// `keys`, and is atomic. Times are milliseconds of a clock that never goes back, handed in by the caller,
/// so that a dictionary outlives reloads.
package final class SharedDictionary: Sendable {
    /// What an entry can hold.
    package enum Value: Sendable, Equatable {
        case string([UInt8])
        case integer(Int64)
        case number(Double)
        case boolean(Bool)

        /// As Lua compares: an integer equals a float of the same value.
        func equals(_ other: Value) -> Bool {
            switch (self, other) {
            case (.integer(let integer), .number(let number)), (.number(let number), .integer(let integer)):
                Int64(exactly: number) == integer
            default: self == other
            }
        }
    }

    package enum Failure: String, Error, Sendable, CaseIterable {
        /// The entry is larger than the whole dictionary.
        case noMemory
        case notFound
        case notANumber

        /// What a script is told.
        package var message: String {
            switch self {
            case .noMemory: "no memory"
            case .notFound: "not found"
            case .notANumber: "not a number"
            }
        }
    }

    /// How long an entry still lives.
    package enum Lifetime: Sendable, Equatable {
        case forever
        case milliseconds(Int64)
    }

    package let name: String
    /// Bytes that all entries may take, with what their administration costs.
    package let capacity: Int
    private let entries: Mutex<EntryTable>

    /// What an entry costs besides its key and the bytes of a string: its row, its place in the index, which keeps
    /// up to half its places free, and the headers of two arrays.
    package static let overhead = 192

    package init(name: String, capacity: Int) {
        self.name = name
        self.capacity = capacity
        entries = Mutex(EntryTable(capacity: capacity))
    }

    /// The value of `key`, which counts as a use.
    package func get(_ key: [UInt8], now: Int64) -> Value? {
        entries.withLock { table in table.index(of: key, now: now).map { table.value($0) } }
    }

    /// Gives `key` this value, for `lifetime` milliseconds or, without it, for good.
    package func set(
        _ key: [UInt8], _ value: Value, lifetime: Int64? = nil, now: Int64
    ) throws(Failure) {
        try entries.withLock { table throws(Failure) in
            try table.put(key, value, expiry: Self.expiry(lifetime, now), now: now)
        }
    }

    /// As `set`, where `key` has no value.
    ///
    /// - Returns: false when it has one, which stays.
    package func add(
        _ key: [UInt8], _ value: Value, lifetime: Int64? = nil, now: Int64
    ) throws(Failure) -> Bool {
        try entries.withLock { table throws(Failure) in
            guard table.index(of: key, now: now) == nil else { return false }
            try table.put(key, value, expiry: Self.expiry(lifetime, now), now: now)
            return true
        }
    }

    /// Adds to a number, whose lifetime goes on as it is, and gives the sum: an integer as long as both are and it fits.
    ///
    /// An entry that is not there is taken to hold `initial`, and lives for `lifetime`; without `initial` it is
    /// `notFound`.
    package func increment(
        _ key: [UInt8], by step: Value, initial: Value? = nil, lifetime: Int64? = nil, now: Int64
    ) throws(Failure) -> Value {
        try entries.withLock { table throws(Failure) in
            let old = table.index(of: key, now: now)
            guard let start = old.map({ table.value($0) }) ?? initial else { throw .notFound }
            guard let sum = Self.sum(start, step) else { throw .notANumber }
            let expiry = old.map { table.expiry($0) } ?? Self.expiry(lifetime, now)
            try table.put(key, sum, expiry: expiry, now: now)
            return sum
        }
    }

    /// Puts `new` in the place of `expected`, each `nil` for no entry. Without `lifetime`, an entry that is there keeps
    /// its own.
    ///
    /// - Returns: false when the entry is another, which stays.
    package func compareAndSet(
        _ key: [UInt8], expected: Value?, new: Value?, lifetime: Int64? = nil, now: Int64
    ) throws(Failure) -> Bool {
        try entries.withLock { table throws(Failure) in
            let old = table.index(of: key, now: now)
            switch (old.map { table.value($0) }, expected) {
            case (nil, nil): break
            case (let value?, let expected?) where value.equals(expected): break
            default: return false
            }
            guard let new else {
                if let old { table.remove(old) }
                return true
            }
            let kept = lifetime == nil ? old.map { table.expiry($0) } : nil
            try table.put(key, new, expiry: kept ?? Self.expiry(lifetime, now), now: now)
            return true
        }
    }

    /// - Returns: whether there was an entry.
    @discardableResult
    package func delete(_ key: [UInt8], now: Int64) -> Bool {
        entries.withLock { table in
            guard let index = table.index(of: key, now: now) else { return false }
            table.remove(index)
            return true
        }
    }

    /// `nil` for no entry.
    package func lifetime(of key: [UInt8], now: Int64) -> Lifetime? {
        entries.withLock { table in
            guard let index = table.index(of: key, now: now) else { return nil }
            let expiry = table.expiry(index)
            return expiry == .max ? .forever : .milliseconds(expiry - now)
        }
    }

    /// Keys of at most `limit` entries, those used last first.
    package func keys(_ limit: Int, now: Int64) -> [[UInt8]] {
        entries.withLock { $0.keys(limit, now: now) }
    }

    /// Entries, with those whose time is over and that nobody has asked for since.
    package var count: Int { entries.withLock { $0.count } }
    /// Bytes taken.
    package var size: Int { entries.withLock { $0.size } }

    private static func expiry(_ lifetime: Int64?, _ now: Int64) -> Int64 {
        guard let lifetime else { return .max }
        let (sum, overflow) = now.addingReportingOverflow(lifetime)
        return overflow ? .max : sum
    }

    private static func sum(_ a: Value, _ b: Value) -> Value? {
        switch (a, b) {
        case (.integer(let a), .integer(let b)):
            let (sum, overflow) = a.addingReportingOverflow(b)
            return overflow ? .number(Double(a) + Double(b)) : .integer(sum)
        case (.integer(let a), .number(let b)): return .number(Double(a) + b)
        case (.number(let a), .integer(let b)): return .number(a + Double(b))
        case (.number(let a), .number(let b)): return .number(a + b)
        default: return nil
        }
    }
}

extension SharedDictionary.Value {
    fileprivate var byteCount: Int {
        if case .string(let bytes) = self { bytes.count } else { 0 }
    }
}

/// Rows in a list by last use, found by an index.
private struct EntryTable {
    private struct Row {
        var key: [UInt8]
        var value: SharedDictionary.Value
        /// The first millisecond in which the entry is no more.
        var expiry: Int64
        /// The neighbours in the list; -1 at its ends. Of a free row, `older` is the next free one.
        var newer: Int
        var older: Int
    }

    private let capacity: Int
    private var rows: [Row] = []
    private var places: [[UInt8]: Int] = [:]
    private var newest = -1
    private var oldest = -1
    private var firstFree = -1
    private(set) var size = 0

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { places.count }

    func value(_ index: Int) -> SharedDictionary.Value { rows[index].value }
    func expiry(_ index: Int) -> Int64 { rows[index].expiry }

    /// Where `key` is, moved to the front; one whose time is over goes.
    mutating func index(of key: [UInt8], now: Int64) -> Int? {
        guard let index = places[key] else { return nil }
        guard rows[index].expiry > now else {
            remove(index)
            return nil
        }
        if index != newest {
            unlink(index)
            link(index)
        }
        return index
    }

    mutating func put(
        _ key: [UInt8], _ value: SharedDictionary.Value, expiry: Int64, now: Int64
    ) throws(SharedDictionary.Failure) {
        let cost = key.count + value.byteCount + SharedDictionary.overhead
        guard cost <= capacity else { throw .noMemory }
        if let index = index(of: key, now: now) {
            size += value.byteCount - rows[index].value.byteCount
            rows[index].value = value
            rows[index].expiry = expiry
            // The entry itself is the newest, and fits by itself.
            while size > capacity { remove(oldest) }
            return
        }
        while size + cost > capacity { remove(oldest) }
        size += cost
        let row = Row(key: key, value: value, expiry: expiry, newer: -1, older: -1)
        let index: Int
        if firstFree >= 0 {
            index = firstFree
            firstFree = rows[index].older
            rows[index] = row
        } else {
            index = rows.count
            rows.append(row)
        }
        places[key] = index
        link(index)
    }

    mutating func remove(_ index: Int) {
        let row = rows[index]
        size -= row.key.count + row.value.byteCount + SharedDictionary.overhead
        places[row.key] = nil
        unlink(index)
        rows[index] = Row(key: [], value: .boolean(false), expiry: 0, newer: -1, older: firstFree)
        firstFree = index
    }

    func keys(_ limit: Int, now: Int64) -> [[UInt8]] {
        var keys: [[UInt8]] = []
        var index = newest
        while index >= 0, keys.count < limit {
            if rows[index].expiry > now { keys.append(rows[index].key) }
            index = rows[index].older
        }
        return keys
    }

    private mutating func link(_ index: Int) {
        rows[index].newer = -1
        rows[index].older = newest
        if newest >= 0 { rows[newest].newer = index }
        newest = index
        if oldest < 0 { oldest = index }
    }

    private mutating func unlink(_ index: Int) {
        let (newer, older) = (rows[index].newer, rows[index].older)
        if newer >= 0 { rows[newer].older = older } else { newest = older }
        if older >= 0 { rows[older].newer = newer } else { oldest = newer }
    }
}
