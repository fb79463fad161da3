/// Objects that have been used, to be used again.
///
/// As many are kept as were in use at once lately: those that nobody needed from one `trim` to the next go, but for a few.
struct Spares<Object: AnyObject> {
    /// Kept for ever.
    static var few: Int { 32 }
    static var most: Int { 1024 }

    private var objects: [Object] = []
    /// The fewest that have lain here at a time since the last `trim`.
    private var fewest = 0

    /// There are more than a few.
    var isRich: Bool { objects.count > Self.few }

    /// The one that was used last.
    mutating func take() -> Object? {
        guard let object = objects.popLast() else { return nil }
        if objects.count < fewest { fewest = objects.count }
        return object
    }

    /// - Parameters:
    ///   - object: nobody uses it any more.
    ///   - isOneOfFew: as many as now are not likely to be needed again.
    mutating func put(_ object: Object, isOneOfFew: Bool = false) {
        if objects.count < (isOneOfFew ? Self.few : Self.most) { objects.append(object) }
    }

    mutating func trim() {
        let unneeded = min(fewest, objects.count - Self.few)
        if unneeded > 0 { objects.removeFirst(unneeded) }
        fewest = objects.count
    }

    mutating func removeAll() { self = Self() }
}
