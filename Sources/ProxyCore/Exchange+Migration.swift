package import Config

extension RuntimeConfiguration {
    /// The server that the exchange would meet here: on the listener of the same address, by its host.
    package func server(likeThatOf exchange: Exchange) -> VirtualServer? {
        let listeners = exchange.runtime.configuration.listeners
        guard listeners.indices.contains(exchange.listener) else { return nil }
        let address = listeners[exchange.listener].address
        guard let listener = configuration.listeners.first(where: { $0.address == address }) else {
            return nil
        }
        switch listener.names.server(for: exchange) {
        case .server(let named): return named
        case .none: return listener.defaultServer
        case .unknown: return nil
        }
    }
}

extension Exchange {
    /// Goes on under another configuration. Values that were assigned go to the variables of the same names.
    package func move(to runtime: RuntimeConfiguration, _ server: VirtualServer, _ location: Location) {
        var values: [String: [UInt8]] = [:]
        for variable in self.runtime.configuration.variables {
            if let slot = variable.source.assignedSlot, let value = assigned.value(slot) {
                values[variable.name] = value
            }
        }
        let address = self.runtime.configuration.listeners[listener].address
        listener = runtime.configuration.listeners.firstIndex { $0.address == address } ?? 0
        adopt(runtime)
        self.server = server
        self.location = location
        for variable in runtime.configuration.variables {
            if let slot = variable.source.assignedSlot, let value = values[variable.name] {
                assigned.set(slot, to: value)
            }
        }
    }
}

extension VariableSource {
    fileprivate var assignedSlot: Int? {
        switch self {
        case .assigned(let slot), .assignedOverMap(_, let slot): slot
        case .script(_, let slot): slot
        case .builtin, .family, .map: nil
        }
    }
}
