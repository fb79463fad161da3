internal import Config
internal import ProxyCore
internal import Synchronization

/// The open tunnels of one worker that scripts may act on, as the other workers see them.
///
/// The worker alone adds and removes; all may read, and send orders. So its lock is all but never waited for. A tunnel
/// takes 32 bytes here, and more only with tags, an address of IPv6, or messages on their way to it.
package final class TunnelList: Sendable {
    /// Of no tunnel.
    static let nowhere = UInt32.max

    /// The worker's place for a tunnel, where an order for it is carried out.
    package struct Place: Sendable, Equatable {
        package var interpreter: UInt32
        /// The slot of its flow there.
        package var flow: Int
    }

    let number: UInt32
    private let deliver: @Sendable (TunnelOrder) -> Void
    private let state = Mutex(TunnelTable())

    init(number: UInt32, deliver: @escaping @Sendable (TunnelOrder) -> Void) {
        self.number = number
        self.deliver = deliver
    }

    // MARK: By the worker

    /// A tunnel has opened.
    ///
    /// - Returns: its slot here.
    func add(_ id: TunnelID, _ client: ClientFacts, tags: [[UInt8]], at place: Place) -> UInt32 {
        var entry = TunnelTable.Entry()
        var extras = TunnelTable.Extras()
        entry.id = id
        entry.port = client.port
        entry.interpreter = place.interpreter
        entry.flow = UInt32(truncatingIfNeeded: place.flow)
        if client.binaryAddress.count == 4 {
            entry.isIPv4 = true
            entry.ipv4 = UInt32(networkOrder: client.binaryAddress)
        } else {
            extras.address = client.address
        }
        return state.withLock { state in
            let slot = state.take()
            state[slot] = entry
            if !extras.isEmpty { state.extras[slot] = extras }
            for tag in tags { state.tag(slot, tag) }
            return slot
        }
    }

    /// A tunnel ends.
    func remove(_ slot: UInt32) {
        state.withLock { $0.give(back: slot) }
    }

    /// A tunnel goes on in another interpreter.
    func move(_ slot: UInt32, to place: Place) {
        state.withLock { state in
            state[slot].interpreter = place.interpreter
            state[slot].flow = UInt32(truncatingIfNeeded: place.flow)
        }
    }

    /// A tunnel has a tag, perhaps for long.
    func tag(_ slot: UInt32, _ tag: [UInt8]) { state.withLock { $0.tag(slot, tag) } }

    /// An order has come to the worker.
    ///
    /// - Returns: where to carry it out; `nil` where the tunnel has ended.
    package func take(_ order: TunnelOrder) -> Place? {
        state.withLock { state in
            guard state.has(order.tunnel) else { return nil }
            let slot = order.tunnel.slot
            if order.bytes > 0, var extras = state.extras[slot] {
                extras.underWay -= order.bytes
                state.extras[slot] = extras.isEmpty ? nil : extras
            }
            return Place(interpreter: state[slot].interpreter, flow: Int(state[slot].flow))
        }
    }

    // MARK: By others

    func append(to found: inout [RemoteTunnel], tagged tag: [UInt8]?, besides interpreter: UInt32) {
        found += state.withLock { state in
            var found: [RemoteTunnel] = []
            func add(_ slot: UInt32, _ entry: TunnelTable.Entry) {
                guard entry.interpreter != 0, entry.interpreter != interpreter else { return }
                found.append(RemoteTunnel(list: number, slot: slot, id: entry.id))
            }
            if let tag {
                for (slot, entry) in state.entries(tagged: tag) { add(slot, entry) }
            } else {
                var slot: UInt32 = 0
                for chunk in state.chunks {
                    for entry in chunk {
                        add(slot, entry)
                        slot += 1
                    }
                }
            }
            return found
        }
    }

    /// `nil` once it has ended.
    func client(of tunnel: RemoteTunnel) -> (address: [UInt8], port: UInt16)? {
        state.withLock { state in
            guard state.has(tunnel) else { return nil }
            let entry = state[tunnel.slot]
            guard entry.isIPv4 else { return (state.extras[tunnel.slot]?.address ?? [], entry.port) }
            var text: [UInt8] = []
            for shift in stride(from: UInt32(24), through: 0, by: -8) {
                if !text.isEmpty { text.append(UInt8(ascii: ".")) }
                ByteText.appendDecimal(Int64(entry.ipv4 >> shift & 0xFF), minimumDigits: 1, to: &text)
            }
            return (text, entry.port)
        }
    }

    /// In the order in which it was given them; none once it has ended.
    func tags(of tunnel: RemoteTunnel) -> [[UInt8]] {
        state.withLock { state in
            state.has(tunnel) ? state.extras[tunnel.slot]?.tags ?? [] : []
        }
    }

    enum Acceptance {
        case accepted
        case ended
        /// Too much is on its way there already.
        case full
        /// It has as many tags as it may have.
        case tooManyTags
    }

    /// Sends an order to the worker, behind those that this thread has sent before.
    func send(_ order: TunnelOrder) -> Acceptance {
        let acceptance = accept(order)
        if case .accepted = acceptance { deliver(order) }
        return acceptance
    }

    /// As `send`, for an order that is handed to the worker otherwise.
    func accept(_ order: TunnelOrder) -> Acceptance {
        state.withLock { state in
            guard state.has(order.tunnel) else { return .ended }
            let slot = order.tunnel.slot
            switch order.action {
            case .send:
                let underWay = state.extras[slot]?.underWay ?? 0
                guard underWay <= WebSocketPlane.maxQueued else { return .full }
                state.extras[slot, default: TunnelTable.Extras()].underWay = underWay + order.bytes
            case .tag(let tag):
                let tags = state.extras[slot]?.tags ?? []
                guard tags.contains(tag) || tags.count < ScriptFlow.maxTags else { return .tooManyTags }
                state.tag(slot, tag)
            case .close, .closeLeg: break
            }
            return .accepted
        }
    }
}
