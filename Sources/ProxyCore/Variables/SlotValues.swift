internal import Wire

/// Values kept by number in one buffer, so that an exchange keeps many without an allocation for each.
///
/// A value that is replaced stays in the buffer for a while: exchanges are short, and few values change.
package struct SlotValues: Sendable {
    private struct Place {
        var start: Int
        /// -1: nothing was stored.
        var count: Int
    }

    private var bytes: [UInt8] = []
    private var places: [Place] = []

    package init() {}

    /// Forgets all values, keeping the storage.
    package mutating func reset(slots: Int) {
        bytes.clear()
        if places.isEmpty, slots == 0 { return }
        places.removeAll(keepingCapacity: true)
        for _ in 0..<slots { places.append(Place(start: 0, count: -1)) }
    }

    package var slots: Int { places.count }

    package func has(_ slot: Int) -> Bool { places.indices.contains(slot) && places[slot].count >= 0 }

    /// Stores `value`; a slot that does not exist is ignored.
    package mutating func set(_ slot: Int, to value: ArraySlice<UInt8>) {
        guard places.indices.contains(slot) else { return }
        places[slot].count = -1
        if bytes.count >= Self.slack { compact() }
        places[slot] = Place(start: bytes.count, count: value.count)
        bytes.append(copying: value.span, 0..<value.count)
    }

    /// Bytes from which on it is worth a look how many of them still count.
    private static let slack = 64 * 1024

    /// Closes the gaps where they are more than half of the buffer, so that a script that sets a variable over and over
    /// does not make it grow without end.
    private mutating func compact() {
        let live = places.reduce(0) { $0 + max($1.count, 0) }
        guard bytes.count > 2 * live + Self.slack / 2 else { return }
        var kept: [UInt8] = []
        kept.reserveCapacity(live)
        for index in places.indices where places[index].count >= 0 {
            let place = places[index]
            places[index].start = kept.count
            kept.append(contentsOf: bytes[place.start..<place.start + place.count])
        }
        bytes = kept
    }

    /// The values alone: what the buffer holds besides is over.
    mutating func pack(_ pack: inout some Packing) {
        for slot in places.indices {
            var value = value(slot)
            pack.pack(&value, new: []) { $0.pack(&$1) }
            if let value, places[slot].count < 0 { set(slot, to: value) }
        }
    }

    package mutating func set(_ slot: Int, to value: [UInt8]) { set(slot, to: value[...]) }

    /// Appends what the slot holds and tells whether it holds anything.
    @discardableResult
    package func append(_ slot: Int, to out: inout [UInt8]) -> Bool {
        guard has(slot) else { return false }
        let place = places[slot]
        out.append(copying: bytes.span, place.start..<place.start + place.count)
        return true
    }

    package func value(_ slot: Int) -> [UInt8]? {
        var out: [UInt8] = []
        return append(slot, to: &out) ? out : nil
    }
}
