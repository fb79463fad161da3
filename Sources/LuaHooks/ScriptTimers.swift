/// Times at which something of a script is to go on.
struct ScriptTimers {
    /// Names a timer; never used again.
    typealias ID = UInt64

    enum Purpose {
        /// A hook sleeps.
        case wake(Waiter)
        /// What a hook waits for cannot be: its results are nil and the message.
        case fail(Waiter, String)
        /// What a hook waits for has come to this number.
        case answer(Waiter, Double)
        /// A hook waits for a variable whose function was given up.
        case read(VariableWaiter, ScriptFlow, generation: UInt32)
        /// `flow:after`, `flow:every`, and `sy.after`: the function, whose flow and script it is of, and milliseconds
        /// until it runs again (0: never).
        case run(LuaReference, flow: ScriptFlow?, script: Int, interval: Int64)
        /// `flow:deadline`.
        case close(ScriptFlow, code: UInt16, reason: [UInt8])

        var flow: ScriptFlow? {
            switch self {
            case .wake, .fail, .answer, .read: nil
            case .run(_, let flow, _, _): flow
            case .close(let flow, _, _): flow
            }
        }
    }

    private struct Entry {
        var time: Int64
        var id: ID
    }

    /// A binary heap by time, then by number: timers of one time run in the order in which they were set.
    private var heap: [Entry] = []
    private var purposes: [ID: Purpose] = [:]
    private var lastID: ID = 0

    var count: Int { purposes.count }
    /// Any of them.
    var first: ID? { purposes.first?.key }
    /// Milliseconds of the monotonic clock. One that was cancelled may still be counted.
    var next: Int64? { heap.first?.time }

    mutating func add(at time: Int64, _ purpose: Purpose) -> ID {
        let id = nextID()
        renew(id, at: time, purpose)
        return id
    }

    /// A number for a timer that is to be put up by `renew`.
    mutating func nextID() -> ID {
        lastID += 1
        return lastID
    }

    /// Puts a timer up under its number, that of an interval once again.
    mutating func renew(_ id: ID, at time: Int64, _ purpose: Purpose) {
        purposes[id] = purpose
        insert(Entry(time: time, id: id))
    }

    /// When it is to run, and what for.
    func entry(_ id: ID) -> (time: Int64, purpose: Purpose)? {
        guard let purpose = purposes[id], let entry = heap.last(where: { $0.id == id }) else { return nil }
        return (entry.time, purpose)
    }

    mutating func cancel(_ id: ID) -> Purpose? {
        let purpose = purposes.removeValue(forKey: id)
        // Entries of cancelled timers go when their time comes; many of them at once do not wait for that.
        if heap.count > 64, heap.count > 4 * purposes.count { compact() }
        return purpose
    }

    /// The next timer whose time has come.
    mutating func pop(now: Int64) -> (id: ID, purpose: Purpose)? {
        while let first = heap.first, first.time <= now {
            removeFirst()
            if let purpose = purposes.removeValue(forKey: first.id) { return (first.id, purpose) }
        }
        return nil
    }

    // MARK: The heap

    private static func precedes(_ a: Entry, _ b: Entry) -> Bool {
        a.time != b.time ? a.time < b.time : a.id < b.id
    }

    private mutating func insert(_ entry: Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.precedes(heap[child], heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && Self.precedes(heap[child], heap[least]) {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private mutating func compact() {
        let kept = heap.filter { purposes[$0.id] != nil }
        heap.removeAll(keepingCapacity: true)
        for entry in kept { insert(entry) }
    }
}
