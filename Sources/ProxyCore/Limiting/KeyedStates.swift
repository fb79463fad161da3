/// States by key, in the order in which they were used, within the room that nginx's zone of the same size has.
///
/// A state stays at its index for as long as it is there.
struct KeyedStates<State: Sendable>: Sendable {
    private struct Row {
        var key: [UInt8]
        var state: State
        /// The neighbours by use; -1 at the ends. Of a free row, `older` is the next free one.
        var newer: Int32
        var older: Int32
    }

    private let blank: State
    /// Bytes that a state takes of the zone besides its key.
    private let stateSize: Int
    private var room: ZoneRoom
    private var rows: [Row] = []
    private var places: [[UInt8]: Int32] = [:]
    private var newest: Int32 = -1
    private var last: Int32 = -1
    private var firstFree: Int32 = -1

    init(blank: State, stateSize: Int, room: ZoneRoom) {
        self.blank = blank
        self.stateSize = stateSize
        self.room = room
    }

    var count: Int { places.count }

    /// The one that was used the longest time ago.
    var oldest: Int? { last < 0 ? nil : Int(last) }

    subscript(index: Int) -> State {
        get { rows[index].state }
        set { rows[index].state = newValue }
    }

    func index(of key: [UInt8]) -> Int? { places[key].map(Int.init) }

    /// Makes it the one that was used last.
    mutating func touch(_ index: Int) {
        let index = Int32(index)
        guard index != newest else { return }
        unlink(index)
        link(index)
    }

    /// Adds a state for a key that has none, as the one that was used last.
    ///
    /// - Returns: where it is, or `nil` where there is no room for it.
    mutating func insert(_ key: [UInt8], _ state: State) -> Int? {
        guard rows.count < Int(Int32.max), room.take(stateSize + key.count) else { return nil }
        // The caller's buffer is used again, and may be longer than what is in it.
        var copy: [UInt8] = []
        copy.reserveCapacity(key.count)
        copy.append(contentsOf: key)
        let row = Row(key: copy, state: state, newer: -1, older: -1)
        let index: Int32
        if firstFree >= 0 {
            index = firstFree
            firstFree = rows[Int(index)].older
            rows[Int(index)] = row
        } else {
            index = Int32(rows.count)
            rows.append(row)
        }
        places[copy] = index
        link(index)
        return Int(index)
    }

    mutating func remove(_ index: Int) {
        let key = rows[index].key
        room.giveBack(stateSize + key.count)
        places[key] = nil
        unlink(Int32(index))
        rows[index] = Row(key: [], state: blank, newer: -1, older: firstFree)
        firstFree = Int32(index)
    }

    private mutating func link(_ index: Int32) {
        rows[Int(index)].newer = -1
        rows[Int(index)].older = newest
        if newest >= 0 { rows[Int(newest)].newer = index }
        newest = index
        if last < 0 { last = index }
    }

    private mutating func unlink(_ index: Int32) {
        let (newer, older) = (rows[Int(index)].newer, rows[Int(index)].older)
        if newer >= 0 { rows[Int(newer)].older = older } else { newest = older }
        if older >= 0 { rows[Int(older)].newer = newer } else { last = newer }
    }
}
