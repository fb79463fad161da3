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
///
/// As in nginx, ranges are entered and deleted in parts: those of each /16 by themselves. A range may be part of what is there in
/// one /16, and all that is there in the next.
package struct AddressRanges: Sendable {
    package struct Entry: Sendable {
        package var first: UInt32
        package var last: UInt32
        package var value: Template
    }

    /// In the order of addresses.
    package private(set) var entries: [Entry] = []

    struct Overlap: Error {
        /// Some of which is in a range that is no part of it, but for what of it is in another /16.
        let entry: Entry
    }

    /// Enters a range. Within another one it takes a part of that.
    ///
    /// - Returns: what was there in its place, or in that of some of its parts, of which it is no part itself.
    mutating func enter(_ new: Entry) throws(Overlap) -> Entry? {
        let around = firstEntry(endingAtOrAfter: new.first)
        if around < entries.endIndex, entries[around].first <= new.first, new.last <= entries[around].last {
            let old = entries[around]
            take(new.first...new.last, outOf: around)
            insert(new, at: firstEntry(endingAtOrAfter: new.first), of: new)
            return old.first == new.first && old.last == new.last ? old : nil
        }
        var replaced: Entry?
        var first = new.first
        while true {
            let place = firstEntry(endingAtOrAfter: first)
            var last = min(new.last, Self.end(of: first))
            if place == entries.endIndex || entries[place].first > last {
                // Nothing is there up to where the next range's /16 begins.
                last =
                    place == entries.endIndex
                    ? new.last : min(new.last, max(last, (entries[place].first & ~0xFFFF) &- 1))
                insert(Entry(first: first, last: last, value: new.value), at: place, of: new)
            } else {
                let old = try part(of: place, from: first, to: last)
                if old.first == first, old.last == last { replaced = replaced ?? entries[place] }
                take(first...last, outOf: place)
                insert(
                    Entry(first: first, last: last, value: new.value),
                    at: firstEntry(endingAtOrAfter: first), of: new)
            }
            guard last < new.last else { return replaced }
            first = last + 1
        }
    }

    /// What an entry has of the /16 of these addresses, which are to be part of it.
    private func part(of place: Int, from first: UInt32, to last: UInt32) throws(Overlap) -> Entry {
        // nginx looks from the end on.
        let latest = firstEntry(endingAtOrAfter: last)
        let other = latest < entries.endIndex && entries[latest].first <= last ? latest : latest - 1
        var part = entries[other]
        part.first = max(part.first, first & ~0xFFFF)
        part.last = min(part.last, Self.end(of: first))
        guard other == place, part.first <= first, last <= part.last else { throw Overlap(entry: part) }
        return part
    }

    /// Leaves of an entry what is not among `addresses`, which are part of it.
    private mutating func take(_ addresses: ClosedRange<UInt32>, outOf place: Int) {
        let old = entries[place]
        var rest: [Entry] = []
        if old.first < addresses.lowerBound {
            rest.append(Entry(first: old.first, last: addresses.lowerBound - 1, value: old.value))
        }
        if addresses.upperBound < old.last {
            rest.append(Entry(first: addresses.upperBound + 1, last: old.last, value: old.value))
        }
        entries.replaceSubrange(place...place, with: rest)
    }

    /// Where nothing is; a part of a range goes on with the one before it.
    private mutating func insert(_ part: Entry, at place: Int, of range: Entry) {
        if part.first > range.first {
            entries[place - 1].last = part.last
        } else {
            entries.insert(part, at: place)
        }
    }

    /// - Returns: whether there was this range, all of it.
    mutating func remove(first: UInt32, last: UInt32) -> Bool {
        var isWhole = true
        var start = first
        while true {
            let end = min(last, Self.end(of: start))
            let place = firstEntry(endingAtOrAfter: start)
            if place < entries.endIndex, max(entries[place].first, start & ~0xFFFF) == start,
                min(entries[place].last, Self.end(of: start)) == end
            {
                take(start...end, outOf: place)
            } else {
                isWhole = false
            }
            guard end < last else { return isWhole }
            start = end + 1
        }
    }

    /// The last address of an address's /16.
    private static func end(of address: UInt32) -> UInt32 { address | 0xFFFF }

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
