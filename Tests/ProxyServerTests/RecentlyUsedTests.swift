import Testing

@testable import ProxyServer

@Suite("values in the order of their last use")
struct RecentlyUsedTests {
    @Test("the oldest is what was not used for the longest time")
    func order() {
        var values = RecentlyUsed<String, Int>()
        #expect(values.oldestUse == nil)
        values.put(1, at: "a", now: 1)
        values.put(2, at: "b", now: 2)
        values.put(3, at: "c", now: 3)
        #expect(values.use("a", now: 4) == 1)
        #expect(values.oldestUse == 2)
        values.removeOldest()
        #expect(values.use("b", now: 5) == nil)
        #expect(values.use("c", now: 6) == 3)
        values.put(10, at: "a", now: 7)
        #expect(values.oldestUse == 6)
        values.remove("c")
        #expect(values.use("a", now: 8) == 10)
        #expect(values.count == 1)
        values.removeOldest()
        values.removeOldest()
        #expect(values.count == 0 && values.oldestUse == nil)
    }

    @Test("it does as a list that is searched")
    func model() {
        var random = SystemRandomNumberGenerator()
        var values = RecentlyUsed<Int, Int>()
        // The oldest first.
        var list: [(key: Int, value: Int)] = []
        for step in 0..<20_000 {
            let key = Int.random(in: 0..<12, using: &random)
            let known = list.firstIndex { $0.key == key }
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1:
                #expect(values.use(key, now: Int64(step)) == known.map { list[$0].value })
                if let known { list.append(list.remove(at: known)) }
            case 2:
                values.put(step, at: key, now: Int64(step))
                if let known { list.remove(at: known) }
                list.append((key, step))
            case 3:
                values.remove(key)
                if let known { list.remove(at: known) }
            default:
                values.removeOldest()
                if !list.isEmpty { list.removeFirst() }
            }
            #expect(values.count == list.count)
        }
    }
}
