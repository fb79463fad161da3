/// Values by key, in the order of their last use.
struct RecentlyUsed<Key: Hashable, Value> {
    private struct Slot {
        var key: Key
        var value: Value
        var usedAt: Int64
        /// Positions of those that were used next after it, and last before it.
        var newer: Int?
        var older: Int?
    }

    private var positions: [Key: Int] = [:]
    /// `nil` for those in `free`.
    private var slots: [Slot?] = []
    private var free: [Int] = []
    private var newest: Int?
    private var oldest: Int?

    var count: Int { positions.count }

    /// When that was used which was not for the longest time; `nil` where there is nothing.
    var oldestUse: Int64? { oldest.flatMap { slots[$0]?.usedAt } }

    /// The key's value, which becomes the one used last.
    mutating func use(_ key: Key, now: Int64) -> Value? {
        guard let position = positions[key], let value = slots[position]?.value else { return nil }
        unlink(position)
        link(position, now: now)
        return value
    }

    /// Gives the key a value, which becomes the one used last.
    mutating func put(_ value: Value, at key: Key, now: Int64) {
        if let position = positions[key] {
            slots[position]?.value = value
            unlink(position)
            return link(position, now: now)
        }
        let slot = Slot(key: key, value: value, usedAt: now)
        let position: Int
        if let known = free.popLast() {
            position = known
            slots[position] = slot
        } else {
            position = slots.count
            slots.append(slot)
        }
        positions[key] = position
        link(position, now: now)
    }

    mutating func remove(_ key: Key) {
        if let position = positions[key] { remove(at: position) }
    }

    /// Removes what was not used for the longest time.
    mutating func removeOldest() {
        if let oldest { remove(at: oldest) }
    }

    private mutating func remove(at position: Int) {
        unlink(position)
        if let key = slots[position]?.key { positions[key] = nil }
        slots[position] = nil
        free.append(position)
    }

    private mutating func unlink(_ position: Int) {
        guard let slot = slots[position] else { return }
        if let newer = slot.newer { slots[newer]?.older = slot.older } else { newest = slot.older }
        if let older = slot.older { slots[older]?.newer = slot.newer } else { oldest = slot.newer }
    }

    private mutating func link(_ position: Int, now: Int64) {
        slots[position]?.usedAt = now
        slots[position]?.newer = nil
        slots[position]?.older = newest
        if let newest { slots[newest]?.newer = position } else { oldest = position }
        newest = position
    }
}
