/// What a `TunnelList` keeps under its lock.
struct TunnelTable {
    struct Entry {
        var id = TunnelID(first: 0, second: 0)
        /// The client's address, its first byte the most significant.
        var ipv4: UInt32 = 0
        /// 0 where the entry is free.
        var interpreter: UInt32 = 0
        /// The slot of its flow there.
        var flow: UInt32 = 0
        var port: UInt16 = 0
        var isIPv4 = false
    }

    /// What most have not.
    struct Extras {
        /// The client's, where it is none of IPv4.
        var address: [UInt8] = []
        var tags: [[UInt8]] = []
        /// Bytes of messages that are on their way from other workers.
        var underWay = 0

        var isEmpty: Bool { address.isEmpty && tags.isEmpty && underWay == 0 }
    }

    /// In pieces: an array that grows leaves up to half of its room unused, and is copied whole.
    private(set) var chunks: [[Entry]] = []
    private var free: [UInt32] = []
    var extras: [UInt32: Extras] = [:]
    private var tagged = TagTable<Tagged>()

    /// A tunnel with a tag.
    private struct Tagged {
        var slot: UInt32
        /// Of its random identifier: tells it from the next one in its slot.
        var check: UInt32

        /// Where it stands, unless it has ended.
        func entry(_ chunks: [[Entry]]) -> Entry? {
            let entry = chunks[Int(slot) / chunk][Int(slot) % chunk]
            return entry.interpreter != 0 && entry.id.check == check ? entry : nil
        }
    }

    /// Entries of a chunk.
    static let chunk = 128

    subscript(slot: UInt32) -> Entry {
        get { chunks[Int(slot) / Self.chunk][Int(slot) % Self.chunk] }
        set { chunks[Int(slot) / Self.chunk][Int(slot) % Self.chunk] = newValue }
    }

    /// Whether the tunnel is here yet.
    func has(_ tunnel: RemoteTunnel) -> Bool {
        guard Int(tunnel.slot) < chunks.count * Self.chunk else { return false }
        let entry = self[tunnel.slot]
        return entry.interpreter != 0 && entry.id == tunnel.id
    }

    /// A free slot.
    mutating func take() -> UInt32 {
        if let slot = free.popLast() { return slot }
        let first = UInt32(chunks.count * Self.chunk)
        chunks.append(Array(repeating: Entry(), count: Self.chunk))
        // The lowest is taken first.
        for slot in (first + 1..<first + UInt32(Self.chunk)).reversed() { free.append(slot) }
        return first
    }

    mutating func give(back slot: UInt32) {
        let tags = extras.removeValue(forKey: slot)?.tags ?? []
        self[slot] = Entry()
        free.append(slot)
        guard !tags.isEmpty else { return }
        let chunks = chunks
        tagged.noteEnd(of: tags) { $0.entry(chunks) != nil }
    }

    /// Does nothing for a tag that it has.
    mutating func tag(_ slot: UInt32, _ tag: [UInt8]) {
        guard extras[slot]?.tags.contains(tag) != true else { return }
        extras[slot, default: Extras()].tags.append(tag)
        tagged.append(Tagged(slot: slot, check: self[slot].id.check), to: tag)
    }

    /// Those with this tag, in the order in which they were given it.
    mutating func entries(tagged tag: [UInt8]) -> [(slot: UInt32, entry: Entry)] {
        let chunks = chunks
        return tagged.all(tag) { tagged in tagged.entry(chunks).map { (tagged.slot, $0) } }
    }
}
