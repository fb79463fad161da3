import Config
import LuaHooks
import Testing

@Suite("Shared dictionaries")
struct SharedDictionaryTests {
    typealias Value = SharedDictionary.Value
    private let dictionary = SharedDictionary(name: "d", capacity: 1 << 20)

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
    private func string(_ text: String) -> Value { .string(bytes(text)) }

    @Test("values of each kind come back")
    func values() throws {
        for value in [string("text"), string(""), .integer(-5), .number(0.5), .boolean(false)] {
            try dictionary.set(bytes("k"), value, now: 0)
            #expect(dictionary.get(bytes("k"), now: 0) == value)
        }
        #expect(dictionary.get(bytes("other"), now: 0) == nil)
        #expect(dictionary.get([], now: 0) == nil)
        #expect(dictionary.count == 1)
    }

    @Test("an entry ends with its lifetime, and its room is free again")
    func lifetimes() throws {
        try dictionary.set(bytes("k"), .integer(1), lifetime: 100, now: 1000)
        #expect(dictionary.lifetime(of: bytes("k"), now: 1040) == .milliseconds(60))
        #expect(dictionary.get(bytes("k"), now: 1099) == .integer(1))
        #expect(dictionary.get(bytes("k"), now: 1100) == nil)
        #expect(dictionary.size == 0)
        try dictionary.set(bytes("k"), .integer(1), now: 1000)
        #expect(dictionary.lifetime(of: bytes("k"), now: 1040) == .forever)
        #expect(dictionary.lifetime(of: bytes("none"), now: 1040) == nil)
        try dictionary.set(bytes("k"), .integer(2), lifetime: .max, now: 1000)
        #expect(dictionary.get(bytes("k"), now: .max - 1) == .integer(2))
    }

    @Test("add takes only what is not there")
    func add() throws {
        #expect(try dictionary.add(bytes("k"), .integer(1), lifetime: 10, now: 0))
        #expect(try !dictionary.add(bytes("k"), .integer(2), now: 9))
        #expect(dictionary.get(bytes("k"), now: 9) == .integer(1))
        #expect(try dictionary.add(bytes("k"), .integer(4), now: 10))
        #expect(dictionary.get(bytes("k"), now: 100) == .integer(4))
    }

    @Test("numbers are added up, integers as integers while they fit")
    func increments() throws {
        #expect(throws: SharedDictionary.Failure.notFound) {
            try dictionary.increment(bytes("k"), by: .integer(1), now: 0)
        }
        #expect(
            try dictionary.increment(bytes("k"), by: .integer(1), initial: .integer(5), lifetime: 10, now: 0)
                == .integer(6))
        #expect(
            try dictionary.increment(
                bytes("k"), by: .integer(-2), initial: .integer(50), lifetime: 90, now: 9) == .integer(4))
        // The lifetime is the first one's.
        #expect(dictionary.get(bytes("k"), now: 10) == nil)
        #expect(
            try dictionary.increment(bytes("k"), by: .number(0.5), initial: .integer(1), now: 0)
                == .number(1.5))
        try dictionary.set(bytes("k"), .integer(.max), now: 0)
        #expect(try dictionary.increment(bytes("k"), by: .integer(1), now: 0) == .number(0x1p63))
        try dictionary.set(bytes("k"), string("1"), now: 0)
        #expect(throws: SharedDictionary.Failure.notANumber) {
            try dictionary.increment(bytes("k"), by: .integer(1), now: 0)
        }
        #expect(dictionary.get(bytes("k"), now: 0) == string("1"))
    }

    @Test("compare and set changes only what is as expected")
    func compareAndSet() throws {
        #expect(try !dictionary.compareAndSet(bytes("k"), expected: .integer(1), new: .integer(2), now: 0))
        #expect(
            try dictionary.compareAndSet(bytes("k"), expected: nil, new: .integer(2), lifetime: 10, now: 0))
        #expect(try !dictionary.compareAndSet(bytes("k"), expected: nil, new: .integer(3), now: 0))
        #expect(try !dictionary.compareAndSet(bytes("k"), expected: .number(2.5), new: .integer(3), now: 0))
        #expect(try !dictionary.compareAndSet(bytes("k"), expected: .string(bytes("2")), new: nil, now: 0))
        // As Lua compares, an integer is the float of the same value, and the other way round.
        #expect(try dictionary.compareAndSet(bytes("k"), expected: .number(2), new: .number(2), now: 0))
        #expect(try dictionary.compareAndSet(bytes("k"), expected: .integer(2), new: .integer(2), now: 0))
        #expect(try dictionary.compareAndSet(bytes("k"), expected: .integer(2), new: .integer(3), now: 5))
        #expect(dictionary.lifetime(of: bytes("k"), now: 5) == .milliseconds(5))
        #expect(try dictionary.compareAndSet(bytes("k"), expected: nil, new: .integer(4), now: 10))
        #expect(try dictionary.compareAndSet(bytes("k"), expected: .integer(4), new: nil, now: 10))
        #expect(dictionary.count == 0)
        #expect(dictionary.size == 0)
    }

    @Test("delete gives the room back")
    func deletion() throws {
        for index in 0..<10 { try dictionary.set(bytes("\(index)"), .integer(1), now: 0) }
        #expect(dictionary.delete(bytes("3"), now: 0))
        #expect(!dictionary.delete(bytes("3"), now: 0))
        #expect(dictionary.count == 9)
        #expect(dictionary.size == 9 * (1 + SharedDictionary.overhead))
    }

    @Test("keys come by last use, up to a limit, without those that are over")
    func keys() throws {
        for name in ["a", "b", "c"] { try dictionary.set(bytes(name), .integer(1), now: 0) }
        try dictionary.set(bytes("over"), .integer(1), lifetime: 5, now: 0)
        _ = dictionary.get(bytes("a"), now: 0)
        #expect(dictionary.keys(10, now: 5) == [bytes("a"), bytes("c"), bytes("b")])
        #expect(dictionary.keys(2, now: 5) == [bytes("a"), bytes("c")])
        #expect(dictionary.keys(0, now: 5).isEmpty)
    }

    // MARK: Room

    @Test("when it is full, what was used least recently gives way")
    func eviction() throws {
        let small = SharedDictionary(name: "d", capacity: 3 * (1 + SharedDictionary.overhead))
        for name in ["a", "b", "c"] { try small.set(bytes(name), .integer(1), now: 0) }
        _ = small.get(bytes("a"), now: 0)
        try small.set(bytes("d"), .integer(1), now: 0)
        #expect(small.get(bytes("b"), now: 0) == nil)
        #expect(Set(small.keys(9, now: 0)) == Set(["a", "c", "d"].map(bytes)))
        // One that grows takes the room of others, too.
        try small.set(bytes("c"), .string(Array(repeating: 0, count: SharedDictionary.overhead)), now: 0)
        #expect(small.keys(9, now: 0) == [bytes("c"), bytes("d")])
        #expect(small.size <= small.capacity)
    }

    @Test("what is larger than the dictionary is refused and changes nothing")
    func tooLarge() throws {
        let small = SharedDictionary(name: "d", capacity: SharedDictionary.overhead + 10)
        try small.set(bytes("k"), .string(Array(repeating: 1, count: 9)), now: 0)
        for count in [10, 1000] {
            #expect(throws: SharedDictionary.Failure.noMemory) {
                try small.set(bytes("k"), .string(Array(repeating: 1, count: count)), now: 0)
            }
        }
        #expect(throws: SharedDictionary.Failure.noMemory) {
            try small.set(Array(repeating: 1, count: 11), .integer(1), now: 0)
        }
        #expect(small.get(bytes("k"), now: 0) == .string(Array(repeating: 1, count: 9)))
    }

    @Test("any sequence of operations comes to what a plain list comes to")
    func model() throws {
        var random = SystemRandomNumberGenerator()
        let capacity = 8 * (SharedDictionary.overhead + 10)
        let dictionary = SharedDictionary(name: "d", capacity: capacity)
        // By last use, the newest first.
        var model: [(key: String, value: Value, expiry: Int64)] = []
        var now: Int64 = 0
        func cost(_ entry: (key: String, value: Value, expiry: Int64)) -> Int {
            let text = if case .string(let bytes) = entry.value { bytes.count } else { 0 }
            return entry.key.utf8.count + text + SharedDictionary.overhead
        }
        for _ in 0..<5000 {
            now += Int64.random(in: 0...2, using: &random)
            let key = "k\(Int.random(in: 0..<16, using: &random))"
            let found = model.firstIndex { $0.key == key }
            var live = found.map { model.remove(at: $0) }
            if let entry = live, entry.expiry <= now { live = nil }
            switch Int.random(in: 0...3, using: &random) {
            case 0, 1:
                let value = Value.string(Array(repeating: 7, count: Int.random(in: 0...300, using: &random)))
                let lifetime = Bool.random(using: &random) ? Int64.random(in: 1...40, using: &random) : nil
                try dictionary.set(bytes(key), value, lifetime: lifetime, now: now)
                model.insert((key, value, lifetime.map { now + $0 } ?? .max), at: 0)
                while model.reduce(0, { $0 + cost($1) }) > capacity { model.removeLast() }
            case 2:
                #expect(dictionary.get(bytes(key), now: now) == live?.value)
                if let live { model.insert(live, at: 0) }
            default:
                #expect(dictionary.delete(bytes(key), now: now) == (live != nil))
            }
            #expect(dictionary.size == model.reduce(0) { $0 + cost($1) })
            #expect(dictionary.count == model.count)
        }
        #expect(dictionary.keys(99, now: now) == model.filter { $0.expiry > now }.map { bytes($0.key) })
    }

    // MARK: Threads and reloads

    @Test("threads that count lose no step, and one alone wins a compare and set")
    func threads() async throws {
        let dictionary = dictionary
        let winners = await withTaskGroup(of: Bool.self) { group in
            for thread in 0..<8 {
                group.addTask {
                    for step in 0..<2000 {
                        let key = [2, UInt8(step % 200)]
                        _ = try? dictionary.increment([1], by: .integer(1), initial: .integer(0), now: 0)
                        try? dictionary.set(key, .string([UInt8](repeating: 1, count: step)), now: 0)
                        if step.isMultiple(of: 7) { dictionary.delete(key, now: 0) }
                    }
                    let value = SharedDictionary.Value.integer(Int64(thread))
                    return (try? dictionary.compareAndSet([3], expected: nil, new: value, now: 0)) == true
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(dictionary.get([1], now: 0) == .integer(16_000))
        #expect(winners == 1)
        #expect(dictionary.size <= dictionary.capacity)
    }

    @Test("a reload keeps a dictionary whose name and size stay, and a failed one changes nothing")
    func reload() throws {
        let registry = SharedDictionaries()
        let settings = [
            SharedDictionarySettings(name: "a", bytes: 4096),
            SharedDictionarySettings(name: "b", bytes: 4096),
        ]
        let first = registry.prepare(settings)
        #expect(registry.adopt(first).isEmpty)
        try #require(first["a"]).set([1], .integer(1), now: 0)
        let failed = registry.prepare([SharedDictionarySettings(name: "a", bytes: 8192)])
        #expect(failed["a"] !== first["a"])
        #expect(failed["a"]?.capacity == 8192)
        let second = registry.prepare([settings[0], SharedDictionarySettings(name: "b", bytes: 8192)])
        #expect(second["a"] === first["a"])
        #expect(second["b"] !== first["b"])
        let changed = registry.adopt(second)
        #expect(changed.map(\.new.name) == ["b"])
        #expect(changed.map(\.formerSize) == [4096])
        #expect(registry.adopt(registry.prepare([SharedDictionarySettings(name: "b", bytes: 8192)])).isEmpty)
        #expect(registry.prepare([settings[0]])["a"] !== first["a"])
    }
}
