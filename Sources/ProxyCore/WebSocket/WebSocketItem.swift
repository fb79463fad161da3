package import Wire

/// A message or frame that hooks look at. Recycled: scripts may keep their object of it for longer.
package final class WebSocketItem {
    package enum Kind: Sendable { case message, frame }

    /// In its pool.
    package let slot: Int
    /// Grows when the item is given back.
    package fileprivate(set) var generation: UInt32 = 1
    package fileprivate(set) var kind = Kind.message
    package fileprivate(set) var side = TunnelSide.client
    /// A message's is that of its first frame.
    package fileprivate(set) var opcode = WebSocketOpcode.text
    /// Of a frame: the last of its message.
    package fileprivate(set) var isFinal = true
    /// Of a frame: an extension has its hand in the payload, which is then no text, whatever the type says.
    package fileprivate(set) var isCoded = false
    /// A script has sent it.
    package fileprivate(set) var isInjected = false
    /// The payload, without its mask and inflated; a frame's is as on the wire but for the mask.
    package var data: [UInt8] = []
    /// Of a message that is put together: what it takes of the worker's memory, its frames included.
    fileprivate(set) var heldBytes = 0
    /// What a script has assigned to `.data`.
    package var replacement: [UInt8]?
    /// `data` is not what came.
    package var isChanged = false

    fileprivate init(slot: Int) { self.slot = slot }

    package var isText: Bool { opcode == .text }

    /// Gives it another payload.
    package func rewrite(_ payload: Span<UInt8>) {
        data.clear()
        data.append(copying: payload, payload.indices)
        isChanged = true
    }

    /// Whether the payload is a whole text in UTF-8.
    var isUTF8: Bool {
        let data = data
        return UTF8Validator.accepts(data.span)
    }
}

/// The items of a worker.
package final class WebSocketItemPool {
    private var items: [WebSocketItem] = []
    private var idle: [WebSocketItem] = []
    /// The one that is used next, where most messages are looked at one after the other.
    private var next: WebSocketItem?
    /// Bytes of payload that an item at rest keeps room for: a few of them much, the others little.
    private static let keptRoom = (few: 1 << 20, many: 4096)

    /// What the messages that are put together take, until they are given back.
    package private(set) var heldBytes = 0

    package init() {}

    /// Notes what a message takes by now.
    func hold(_ bytes: Int, by item: WebSocketItem) {
        heldBytes &+= bytes &- item.heldBytes
        item.heldBytes = bytes
    }

    /// In tests: those that are under way.
    package var openCount: Int { items.count - idle.count - (next == nil ? 0 : 1) }

    package func take(
        _ kind: WebSocketItem.Kind, _ opcode: WebSocketOpcode, from side: TunnelSide,
        isFinal: Bool = true, isCoded: Bool = false, isInjected: Bool = false
    ) -> WebSocketItem {
        let item = next.take() ?? idle.popLast() ?? makeItem()
        item.kind = kind
        item.opcode = opcode
        item.side = side
        item.isFinal = isFinal
        item.isCoded = isCoded
        item.isInjected = isInjected
        return item
    }

    private func makeItem() -> WebSocketItem {
        let item = WebSocketItem(slot: items.count)
        items.append(item)
        return item
    }

    package func giveBack(_ item: WebSocketItem) {
        item.generation &+= 1
        if item.heldBytes != 0 { hold(0, by: item) }
        let room = idle.count < 4 ? Self.keptRoom.few : Self.keptRoom.many
        if item.data.capacity > room { item.data = [] } else { item.data.clear() }
        if item.replacement != nil { item.replacement = nil }
        item.isChanged = false
        if next == nil { next = item } else { idle.append(item) }
    }

    /// Has items at rest keep no room for payload.
    func letGoOfRoom() {
        next?.data = []
        for item in idle { item.data = [] }
    }

    package func item(_ slot: Int, generation: UInt32) -> WebSocketItem? {
        guard items.indices.contains(slot), items[slot].generation == generation else { return nil }
        return items[slot]
    }
}

/// What becomes of a message or frame.
package enum WebSocketVerdict: Sendable {
    case pass
    case drop
    /// It goes on with the payload that hooks have given it.
    case rewritten
    /// These payloads take its place, each a message or frame of the same type.
    case replace([[UInt8]])
    /// As above, for messages: each is seen by the hooks from the one at `position` on.
    case split([[UInt8]], position: Int)
    /// Both peers are sent a close frame; the message is not sent on.
    case close(code: UInt16, reason: [UInt8])
    /// It is told later, by `WebSocketPlane.resume`.
    case waiting
}
