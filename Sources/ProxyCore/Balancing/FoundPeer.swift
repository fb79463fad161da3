internal import Config

/// An address that a line of an upstream stands for, with what a service's record says of it.
package struct FoundPeer: Sendable, Hashable {
    /// RFC 2782.
    package struct Record: Sendable, Hashable {
        package let priority: UInt16
        package let weight: UInt16
        /// The name of the host.
        package let target: [UInt8]
        package let port: UInt16

        package init(priority: UInt16, weight: UInt16, target: [UInt8], port: UInt16) {
            self.priority = priority
            self.weight = weight
            self.target = target
            self.port = port
        }

        /// A server of a ring: several of a host are told apart by their ports.
        var name: [UInt8] { target + Array(":\(port)".utf8) }
    }

    package let address: PeerAddress
    /// `nil` where the line is not one of a service.
    package let record: Record?

    package init(_ address: PeerAddress, record: Record? = nil) {
        self.address = address
        self.record = record
    }

    /// As nginx has it: a line's own weight comes first, where it says another than 1, and none is 1.
    func weight(of server: UpstreamServer) -> Int {
        guard let record, server.weight == 1 else { return server.weight }
        return max(1, Int(record.weight))
    }

    /// What a line stands for, ordinary peers and backups, in its order.
    ///
    /// Records of the highest priority, whose number is the lowest, are what the line says, and others are for when those are
    /// not there. As in nginx, nothing comes behind backups.
    static func tiers(
        _ found: [FoundPeer], of server: UpstreamServer
    ) -> (primary: [FoundPeer], backup: [FoundPeer]) {
        let first = found.lazy.compactMap(\.record?.priority).min()
        let foremost = found.filter { $0.record == nil || $0.record?.priority == first }
        if server.isBackup { return ([], foremost) }
        return (foremost, found.filter { $0.record != nil && $0.record?.priority != first })
    }
}
