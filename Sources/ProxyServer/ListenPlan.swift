package import Config
package import EventLoop

/// Which sockets the listeners of a configuration take.
package struct ListenPlan: Sendable {
    package struct Socket: Sendable {
        /// Tells it from the others; as messages show it.
        package var name: String
        package var address: SocketAddress
        package var options: ListenOptions
        package var targets: ListenerTargets
        /// Each worker has one of its own.
        package var isOwn: Bool { options.reusePort }
    }

    package let sockets: [Socket]

    /// As nginx does, a listener on a single address without options of its own needs no socket beside one on
    /// the wildcard address of its port.
    package init(_ listeners: [Listener]) {
        var planned: [Socket] = []
        var wildcards: [SocketAddress: Int] = [:]
        let addresses = listeners.map { SocketAddress($0.address) }
        for (index, listener) in listeners.enumerated() {
            guard let address = addresses[index], address.isWildcard else { continue }
            wildcards[address] = planned.count
            planned.append(Socket(listener, at: address, index: index))
        }
        for (index, listener) in listeners.enumerated() {
            guard let address = addresses[index], !address.isWildcard else { continue }
            if let covering = address.wildcard.flatMap({ wildcards[$0] }), listener.options == ListenOptions()
            {
                planned[covering].targets.byAddress[address.binary] = index
            } else {
                planned.append(Socket(listener, at: address, index: index))
            }
        }
        sockets = planned
    }
}

extension ListenPlan.Socket {
    fileprivate init(_ listener: Listener, at address: SocketAddress, index: Int) {
        self.address = address
        name = listener.address.description
        options = listener.options
        targets = ListenerTargets(own: index)
    }
}

extension SocketAddress {
    /// `nil` for a host that is not numeric, which the compiler of configurations does not let through.
    package init?(_ address: ListenAddress) {
        switch address {
        case .ipv4(let host, let port), .ipv6(let host, let port): self.init(numericHost: host, port: port)
        case .unix(let path): self = .unix(path: path)
        }
    }
}

extension Sockets.ListenOptions {
    init(_ options: ListenOptions) {
        self.init()
        backlog = Int32(clamping: options.backlog)
        reusePort = options.reusePort
        ipv6Only = options.ipv6Only
        sendBuffer = options.sendBuffer
        receiveBuffer = options.receiveBuffer
        keepAlive = options.keepAliveProbes
        keepAliveIdle = options.keepAliveIdle
        keepAliveInterval = options.keepAliveInterval
        keepAliveCount = options.keepAliveCount
    }
}
