import ProxyCore
import Synchronization

@testable import LuaHooks

/// A worker whose tunnels are known to others, and who keeps what it is asked for.
struct OtherWorker {
    private final class Inbox: Sendable {
        let orders = Mutex<[TunnelOrder]>([])
    }

    private let inbox: Inbox
    let list: TunnelList

    init(in registry: TunnelRegistry) {
        let inbox = Inbox()
        self.inbox = inbox
        list = registry.addList { order in inbox.orders.withLock { $0.append(order) } }
    }

    /// What it was asked for since this was last called.
    func orders() -> [TunnelOrder] {
        inbox.orders.withLock { orders in
            defer { orders = [] }
            return orders
        }
    }

    /// The same in words.
    func lines() -> [String] {
        orders().map { order in
            let what =
                switch order.action {
                case .send(let payload, let isText, let leg):
                    "\(isText ? "text" : "binary") to \(leg): " + String(decoding: payload, as: UTF8.self)
                case .close(let code, let reason): "close \(code) " + String(decoding: reason, as: UTF8.self)
                case .closeLeg(let leg, let code, let reason):
                    "close \(leg) \(code) " + String(decoding: reason, as: UTF8.self)
                case .tag(let tag): "tag " + String(decoding: tag, as: UTF8.self)
                }
            return "order of \(String(decoding: order.tunnel.id.text, as: UTF8.self).suffix(2)): \(what)"
        }
    }

    /// A tunnel opens there.
    @discardableResult
    func open(
        _ number: UInt64, tags: [String], address: [UInt8] = [192, 0, 2, 9], text: String = "192.0.2.9",
        interpreter: UInt32 = 1000
    ) -> UInt32 {
        let client = ClientFacts()
        client.address = Array(text.utf8)
        client.binaryAddress = address
        client.port = text == "unix:" ? 0 : 4000
        return list.add(
            TunnelID(first: 0xABC, second: number), client, tags: tags.map { Array($0.utf8) },
            at: TunnelList.Place(interpreter: interpreter, flow: Int(number)))
    }
}
