internal import Wire

/// Values kept by number in one buffer, so that an exchange keeps many without an allocation for each.
///
/// A value that is replaced stays in the buffer until `reset`: exchanges are short, and few values change.
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
        places[slot] = Place(start: bytes.count, count: value.count)
        bytes.append(copying: value.span, 0..<value.count)
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
