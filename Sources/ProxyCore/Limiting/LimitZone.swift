internal import Config
internal import Synchronization

/// What a `limit_req_zone` or a `limit_conn_zone` counts, for all workers.
package enum LimitZone: Sendable {
    case requests(RequestZone)
    case connections(ConnectionZone)

    init(_ settings: LimitZoneSettings) {
        switch settings.kind {
        case .requests: self = .requests(RequestZone(settings))
        case .connections: self = .connections(ConnectionZone(settings))
        }
    }
}

/// The leaky buckets of a `limit_req_zone`.
package final class RequestZone: Sendable {
    private let table: Mutex<RequestRateTable>

    init(_ settings: LimitZoneSettings) {
        table = Mutex(RequestRateTable(size: settings.size, name: settings.name))
    }

    /// See `RequestRateTable`, for this as for what follows.
    func admit(
        _ key: [UInt8], rate: Int, burst: Int, accounts: Bool, now: Int64
    ) -> RequestRateTable.Admission {
        table.withLock { $0.admit(key, rate: rate, burst: burst, accounts: accounts, now: now) }
    }

    func settle(_ bucket: Int, rate: Int, now: Int64) -> Int {
        table.withLock { $0.settle(bucket, rate: rate, now: now) }
    }

    func release(_ bucket: Int) { table.withLock { $0.release(bucket) } }
}

/// The counts of a `limit_conn_zone`.
package final class ConnectionZone: Sendable {
    private let table: Mutex<ConnectionCountTable>

    init(_ settings: LimitZoneSettings) {
        table = Mutex(ConnectionCountTable(size: settings.size, name: settings.name))
    }

    func admit(_ key: [UInt8], limit: Int) -> ConnectionCountTable.Admission {
        table.withLock { $0.admit(key, limit: limit) }
    }

    func release(_ place: Int) { table.withLock { $0.release(place) } }
}

/// The places in which a request is counted, until they are given up.
package struct CountedConnections {
    private var places: [(zone: ConnectionZone, place: Int)] = []

    package var isEmpty: Bool { places.isEmpty }

    mutating func add(_ place: Int, in zone: ConnectionZone) { places.append((zone, place)) }

    /// The request counts no more.
    package mutating func release() {
        for counted in places { counted.zone.release(counted.place) }
        places.removeAll(keepingCapacity: true)
    }

    /// Hands them to whoever is to release them.
    package mutating func take() -> CountedConnections {
        defer { places = [] }
        return self
    }
}
