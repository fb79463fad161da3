/// How long one side's messages are worked on at a time: what is read at once may be thousands of them, each with a hook that
/// takes its time, and everybody else on the worker waits meanwhile.
struct WebSocketPatience {
    /// Microseconds from the first look at the clock on.
    private static let limit: Int64 = 1000
    private var steps = 0
    private var nextLook = 1
    private var endsAt: Int64 = 0

    /// Asked between two steps.
    @inline(__always)
    mutating func isOver(_ owner: any WebSocketPlaneOwner) -> Bool {
        steps &+= 1
        return steps >= nextLook && look(owner)
    }

    /// The step that comes may take much longer than most.
    mutating func lookNext() { nextLook = steps &+ 1 }

    // The clock is looked at after the first step, the fourth, and every sixteenth: to look takes as long as a short step does.
    private mutating func look(_ owner: any WebSocketPlaneOwner) -> Bool {
        let now = owner.microseconds
        let isFirst = endsAt == 0
        if isFirst { endsAt = now &+ Self.limit }
        nextLook = steps < 4 ? 4 : (steps / 16 &+ 1) &* 16
        return !isFirst && now >= endsAt
    }
}
