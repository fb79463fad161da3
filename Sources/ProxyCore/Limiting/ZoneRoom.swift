/// The room in a shared memory zone, as nginx's allocator deals it out.
///
/// A page holds pieces of one size, a power of two from 8 bytes to half a page; what is larger takes whole pages. So a zone
/// has room for as many states as nginx's of the same size, whatever they take here. Pieces are thought of as lying close
/// together, so that a page is free again as soon as the others have room for what is in it.
struct ZoneRoom: Sendable {
    private struct Pages {
        var count = 0
        var pieces = 0
    }

    /// Bytes. Zones are of at least eight of them.
    static let page = 4096
    private static let smallest = 8
    /// What nginx's pool, its lists of pages and its statistics take before the pages' own records.
    private static let poolHead = 704
    /// For each page, besides itself.
    private static let record = 24

    private var freePages: Int
    /// By the size of their pieces: 8, 16, … 2048 bytes.
    private var pages = Array(repeating: Pages(), count: 9)

    /// - Parameters:
    ///   - zoneSize: bytes.
    ///   - taken: the pieces that are taken for good, in bytes each.
    init(zoneSize: Int, taken: [Int] = []) {
        let size = max(zoneSize, 8 * Self.page)
        let count = (size - Self.poolHead) / (Self.page + Self.record)
        let start = Self.pagesFor(Self.poolHead + count * Self.record)
        freePages = min(count, size / Self.page - start)
        for bytes in taken { take(bytes) }
    }

    /// - Returns: whether there was room for a piece of so many bytes.
    @discardableResult
    mutating func take(_ bytes: Int) -> Bool {
        guard let kind = Self.kind(bytes) else {
            let count = Self.pagesFor(bytes)
            guard count <= freePages else { return false }
            freePages -= count
            return true
        }
        if pages[kind].pieces == pages[kind].count * Self.piecesInPage(kind) {
            guard freePages > 0 else { return false }
            freePages -= 1
            pages[kind].count += 1
        }
        pages[kind].pieces += 1
        return true
    }

    /// Of a piece that was taken.
    mutating func giveBack(_ bytes: Int) {
        guard let kind = Self.kind(bytes) else {
            freePages += Self.pagesFor(bytes)
            return
        }
        pages[kind].pieces -= 1
        if pages[kind].pieces <= (pages[kind].count - 1) * Self.piecesInPage(kind) {
            pages[kind].count -= 1
            freePages += 1
        }
    }

    /// `nil` for what takes pages of its own.
    private static func kind(_ bytes: Int) -> Int? {
        guard bytes <= page / 2 else { return nil }
        let piece = max(smallest, bytes)
        return Int.bitWidth - (piece - 1).leadingZeroBitCount - smallest.trailingZeroBitCount
    }

    private static func piecesInPage(_ kind: Int) -> Int { page / (smallest << kind) }
    private static func pagesFor(_ bytes: Int) -> Int { (bytes + page - 1) / page }
}
