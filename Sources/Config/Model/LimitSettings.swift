/// What `limit_req` and `limit_conn` and their kin say of a location.
package struct LimitSettings: Sendable, Equatable {
    package var requests: [RequestLimit] = []
    /// For what they refuse.
    package var requestStatus = 503
    package var requestLogLevel = LogLevel.error
    package var requestDryRun = false
    package var connections: [ConnectionLimit] = []
    package var connectionStatus = 503
    package var connectionLogLevel = LogLevel.error
    package var connectionDryRun = false

    package init() {}

    /// There is a limit.
    package var isActive: Bool { !requests.isEmpty || !connections.isEmpty }
}

/// A `limit_req`.
package struct RequestLimit: Sendable, Equatable {
    /// A position in `Configuration.limitZones`.
    package var zone: Int
    /// How far requests may be ahead of the rate, in thousandths of a request.
    package var burst = 0
    /// How far they may be without waiting, likewise; `Int.max` has none wait.
    package var delay = 0

    package init(zone: Int) { self.zone = zone }
}

/// A `limit_conn`.
package struct ConnectionLimit: Sendable, Equatable {
    /// A position in `Configuration.limitZones`.
    package var zone: Int
    package var count: Int

    package init(zone: Int, count: Int) {
        self.zone = zone
        self.count = count
    }
}

/// A `limit_req_zone` or a `limit_conn_zone`.
package struct LimitZoneSettings: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// In thousandths of a request a second.
        case requests(rate: Int)
        case connections

        package var directive: String {
            switch self {
            case .requests: "limit_req_zone"
            case .connections: "limit_conn_zone"
            }
        }
    }

    package var name: String
    /// Bytes.
    package var size: Int
    package var kind: Kind
    package var key: Template
    /// The key as it is written.
    package var keyText: String

    package init(name: String, size: Int = 0, kind: Kind, key: Template, keyText: String) {
        self.name = name
        self.size = size
        self.kind = kind
        self.key = key
        self.keyText = keyText
    }
}
