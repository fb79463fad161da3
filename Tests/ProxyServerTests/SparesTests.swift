import Testing

@testable import ProxyServer

@Suite("objects kept for reuse")
struct SparesTests {
    private final class Thing {}

    @Test func theOneUsedLastIsUsedNext() {
        var spares = Spares<Thing>()
        #expect(spares.take() == nil)
        let (first, second) = (Thing(), Thing())
        spares.put(first)
        spares.put(second)
        #expect(spares.take() === second)
        #expect(spares.take() === first)
        #expect(spares.take() == nil)
    }

    @Test func noMoreAreKeptThanTheMost() {
        var spares = Spares<Thing>()
        for _ in 0..<(Spares<Thing>.most + 10) { spares.put(Thing()) }
        #expect(count(&spares) == Spares<Thing>.most)
    }

    @Test func ofThoseThatAreNotNeededSoonAFewAreKept() {
        var spares = Spares<Thing>()
        for _ in 0..<100 { spares.put(Thing(), isOneOfFew: true) }
        #expect(count(&spares) == Spares<Thing>.few)
    }

    @Test func whatNobodyNeedsGoesButForAFew() {
        var spares = filled(100)
        // They were in use until now.
        spares.trim()
        #expect(spares.isRich)
        spares.trim()
        #expect(!spares.isRich)
        spares.trim()
        #expect(count(&spares) == Spares<Thing>.few)
    }

    @Test func whatIsNeededNowAndThenStays() {
        var spares = filled(100)
        spares.trim()
        for _ in 0..<5 {
            var used: [Thing] = []
            for _ in 0..<70 { if let thing = spares.take() { used.append(thing) } }
            for thing in used { spares.put(thing) }
            spares.trim()
        }
        // 70 were needed at a time; the 30 that were not went.
        #expect(count(&spares) == 70)
    }

    @Test func thoseThatLayLongestGo() {
        var spares = Spares<Thing>()
        let things = (0..<40).map { _ in Thing() }
        for thing in things { spares.put(thing) }
        spares.trim()
        spares.trim()
        for thing in things.reversed().prefix(Spares<Thing>.few) { #expect(spares.take() === thing) }
    }

    private func filled(_ count: Int) -> Spares<Thing> {
        var spares = Spares<Thing>()
        for _ in 0..<count { spares.put(Thing()) }
        return spares
    }

    private func count(_ spares: inout Spares<Thing>) -> Int {
        var count = 0
        while spares.take() != nil { count += 1 }
        return count
    }
}
