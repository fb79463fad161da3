/// How many requests of each key a `limit_conn_zone` counts. `ConnectionZone` drives it, under its lock.
struct ConnectionCountTable: Sendable {
    enum Admission: Equatable {
        /// `release` is to be called with the place.
        case counted(place: Int)
        case tooMany
        case noRoom
    }

    private var counts: KeyedStates<Int32>

    /// - Parameters:
    ///   - size: the zone's, in bytes.
    ///   - name: the zone's, of which nginx keeps a copy in it.
    init(size: Int, name: String) {
        // nginx's tree, and what its messages say of the zone. A state is 36 bytes and its key.
        let room = ZoneRoom(
            zoneSize: size, taken: [64, " in limit_conn_zone \"\"".utf8.count + 1 + name.utf8.count])
        counts = KeyedStates(blank: 0, stateSize: 36, room: room)
    }

    /// Keys that are counted.
    var count: Int { counts.count }

    /// Counts another request of `key`, where `limit` allows one more.
    mutating func admit(_ key: [UInt8], limit: Int) -> Admission {
        if let place = counts.index(of: key) {
            guard Int(counts[place]) < limit else { return .tooMany }
            counts[place] += 1
            return .counted(place: place)
        }
        guard let place = counts.insert(key, 1) else { return .noRoom }
        return .counted(place: place)
    }

    /// A request that was counted has ended.
    mutating func release(_ place: Int) {
        counts[place] -= 1
        if counts[place] == 0 { counts.remove(place) }
    }
}
