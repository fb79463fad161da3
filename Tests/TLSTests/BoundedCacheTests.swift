import Testing

@testable import TLS

@Suite("caches within a number of bytes")
struct BoundedCacheTests {
    /// Key and value of as many bytes: with 160 for each, 200 in all.
    private func put(_ key: UInt8, in cache: inout BoundedCache<UInt8>, until expiry: Int = 100) {
        cache.put(key, ofSize: 20, at: [UInt8](repeating: key, count: 10), until: expiry)
    }

    private func get(_ key: UInt8, from cache: inout BoundedCache<UInt8>, now: Int = 0) -> UInt8? {
        cache.value(at: [UInt8](repeating: key, count: 10), now: now)
    }

    @Test("what came first goes first when there is no more room")
    func room() {
        var cache = BoundedCache<UInt8>(limit: 600)
        for key: UInt8 in 1...3 { put(key, in: &cache) }
        #expect(cache.count == 3)
        put(4, in: &cache)
        #expect(get(1, from: &cache) == nil)
        #expect(get(2, from: &cache) == 2)
        // Put in anew, it is the latest.
        put(2, in: &cache)
        put(5, in: &cache)
        #expect(get(3, from: &cache) == nil)
        #expect(get(2, from: &cache) == 2)
        #expect(cache.count == 3)
        cache.resize(to: 200)
        #expect(cache.count == 1)
    }

    @Test("what is over, or was removed, leaves its room")
    func ends() {
        var cache = BoundedCache<UInt8>(limit: 400)
        put(1, in: &cache, until: 10)
        put(2, in: &cache)
        #expect(get(1, from: &cache, now: 9) == 1)
        #expect(get(1, from: &cache, now: 10) == nil)
        #expect(cache.count == 1)
        put(3, in: &cache)
        #expect(get(2, from: &cache) == 2)
        cache.remove([UInt8](repeating: 2, count: 10))
        put(4, in: &cache)
        #expect(get(3, from: &cache) == 3 && get(4, from: &cache) == 4)
    }

    @Test("what there is no room for at all is not kept, and takes nobody else's")
    func size() {
        var cache = BoundedCache<UInt8>(limit: 300)
        put(1, in: &cache)
        cache.put(2, ofSize: 1000, at: [2], until: 100)
        #expect(cache.value(at: [2], now: 0) == nil)
        #expect(get(1, from: &cache) == 1)
    }

    @Test("values that are put in anew, and removed, leave no places behind")
    func places() {
        var cache = BoundedCache<UInt8>(limit: 1000)
        for _ in 0..<10_000 { put(1, in: &cache) }
        #expect(cache.places < 100)
        #expect(get(1, from: &cache) == 1)
    }

    @Test("a long life leaves nothing behind")
    func life() {
        var cache = BoundedCache<UInt8>(limit: 1000)
        for round in 0..<10_000 { put(UInt8(round % 200), in: &cache) }
        #expect(cache.count == 5)
        #expect(get(UInt8(9_999 % 200), from: &cache) == UInt8(9_999 % 200))
    }
}
