/// How a `geo` or a `split_clients` block finds a value for its key.
package enum MapSearch: Sendable {
    /// `proxies` are the peers that are believed where the client is; `nil` for none.
    case networks(NetworkTable, proxies: RealIP?)
    case ranges(AddressRanges, proxies: RealIP?)
    /// The first whose limit is above the key's hash.
    case shares([Share])

    /// A part of all clients.
    package struct Share: Sendable {
        /// Of hashes, the highest of which has 32 bits; `nil` for all that are left, `*`.
        package let limit: UInt64?
        package let value: Template
    }
}

/// Values of networks, the smallest of which that holds an address counts.
package struct NetworkTable: Sendable {
    private var ipv4 = Prefixes()
    private var ipv6 = Prefixes()

    package init() {}

    private struct Prefixes: Sendable {
        /// From the longest on, each with the networks of so many bits.
        var levels: [(bits: Int, values: [UInt128: Template])] = []

        mutating func enter(_ value: Template?, at network: UInt128, bits: Int) -> Template? {
            let place = levels.firstIndex { $0.bits <= bits } ?? levels.endIndex
            if place == levels.endIndex || levels[place].bits != bits {
                if value == nil { return nil }
                levels.insert((bits, [:]), at: place)
            }
            let former = levels[place].values[network]
            levels[place].values[network] = value
            return former
        }

        func value(at address: UInt128, width: Int) -> Template? {
            for (bits, values) in levels {
                let host = UInt128(width - bits)
                if let value = values[(address >> host) << host] { return value }
            }
            return nil
        }
    }

    /// Sets or, with `nil`, removes the value of a network.
    ///
    /// - Parameters:
    ///   - value: to have.
    ///   - network: 4 or 16 bytes, those behind the first `bits` being zero.
    ///   - bits: at most as many as the network's.
    /// - Returns: what the network had before.
    mutating func enter(_ value: Template?, at network: [UInt8], bits: Int) -> Template? {
        let number = UInt128(networkOrder: network)
        return network.count == 4
            ? ipv4.enter(value, at: number, bits: bits) : ipv6.enter(value, at: number, bits: bits)
    }

    /// - Parameter address: 4 or 16 bytes.
    /// - Returns: the value of the smallest network that holds the address.
    package func value(at address: [UInt8]) -> Template? {
        let number = UInt128(networkOrder: address)
        return address.count == 4 ? ipv4.value(at: number, width: 32) : ipv6.value(at: number, width: 128)
    }
}

/// Values of ranges of IPv4 addresses, which do not overlap.
package struct AddressRanges: Sendable {
    package struct Entry: Sendable {
        package var first: UInt32
        package var last: UInt32
        package var value: Template
    }

    /// In the order of addresses.
    package private(set) var entries: [Entry] = []

    enum Conflict: Error {
        /// The same range has been there, with a value that is replaced.
        case duplicate(Entry)
        /// Some of it is in a range that it is no part of.
        case overlap(Entry)
    }

    /// Enters a range. Within another one it takes a part of that.
    mutating func enter(_ new: Entry) throws(Conflict) {
        let place = firstEntry(endingAtOrAfter: new.first)
        guard place < entries.endIndex, entries[place].first <= new.last else {
            return entries.insert(new, at: place)
        }
        let old = entries[place]
        if old.first == new.first, old.last == new.last {
            entries[place] = new
            throw .duplicate(old)
        }
        guard old.first <= new.first, new.last <= old.last else { throw .overlap(old) }
        var parts = [new]
        if old.first < new.first {
            parts.insert(Entry(first: old.first, last: new.first - 1, value: old.value), at: 0)
        }
        if new.last < old.last {
            parts.append(Entry(first: new.last + 1, last: old.last, value: old.value))
        }
        entries.replaceSubrange(place...place, with: parts)
    }

    /// - Returns: whether there was this range.
    mutating func remove(first: UInt32, last: UInt32) -> Bool {
        let place = firstEntry(endingAtOrAfter: first)
        guard place < entries.endIndex, entries[place].first == first, entries[place].last == last else {
            return false
        }
        entries.remove(at: place)
        return true
    }

    /// - Parameter address: in host order.
    /// - Returns: the value of the range that holds it.
    package func value(at address: UInt32) -> Template? {
        let place = firstEntry(endingAtOrAfter: address)
        return place < entries.endIndex && entries[place].first <= address ? entries[place].value : nil
    }

    private func firstEntry(endingAtOrAfter address: UInt32) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].last < address { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
