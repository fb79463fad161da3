/// One of the two that a tunnel is between.
package enum TunnelSide: Sendable, Hashable {
    case client, upstream

    package var other: TunnelSide { self == .client ? .upstream : .client }
}

/// Who ends a tunnel, by the names that scripts know them by.
package enum TunnelParty: String, Sendable {
    case client, upstream, proxy

    package init(_ side: TunnelSide) {
        switch side {
        case .client: self = .client
        case .upstream: self = .upstream
        }
    }
}
