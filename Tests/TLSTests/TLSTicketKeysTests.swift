import Testing

@testable import TLS

@Suite("Keys of session tickets")
struct TLSTicketKeysTests {
    @Test("of 48 or 80 bytes are taken from files, and of no other size")
    func sizes() {
        #expect(TLSTicketKeys(files: []) == nil)
        for (size, isGood) in [(0, false), (47, false), (48, true), (64, false), (80, true), (81, false)] {
            #expect((TLSTicketKeys(files: [[UInt8](repeating: 1, count: size)]) != nil) == isGood)
        }
    }

    @Test("of the process's own encrypt for an hour each")
    func rotation() throws {
        let keys = TLSTicketKeys()
        let first = try #require(keys.current(now: 1000)).name
        #expect(keys.current(now: 4599)?.name == first)
        let second = try #require(keys.current(now: 4600)).name
        #expect(second != first)
        #expect(keys.current(now: 8199)?.name == second)
        #expect(keys.current(now: 8200)?.name != second)
    }

    @Test(
        "of the process's own open tickets for a day; those that do not encrypt any more have them replaced")
    func lifetime() throws {
        let keys = TLSTicketKeys()
        let first = try #require(keys.current(now: 0)).name
        #expect(keys.key(named: first, now: 3599)?.isCurrent == true)
        // Its hour is over, although nothing was encrypted since.
        #expect(keys.key(named: first, now: 3600)?.isCurrent == false)
        let second = try #require(keys.current(now: 3600)).name
        #expect(keys.key(named: first, now: 3601)?.isCurrent == false)
        #expect(keys.key(named: second, now: 3601)?.isCurrent == true)
        #expect(keys.key(named: first, now: 86_399) != nil)
        #expect(keys.key(named: first, now: 86_400) == nil)
        #expect(keys.key(named: second, now: 86_400) != nil)
        // What opens nothing any more goes when the next is made.
        _ = keys.current(now: 86_400)
        #expect(keys.key(named: first, now: 0) == nil)
        #expect(keys.key(named: second, now: 86_400)?.isCurrent == false)
        #expect(keys.key(named: [UInt8](repeating: 0, count: 16), now: 86_400) == nil)
    }

    @Test("of files stand for good, and the first of them encrypts")
    func files() throws {
        let files = [[UInt8](repeating: 1, count: 80), [UInt8](repeating: 2, count: 48)]
        let keys = try #require(TLSTicketKeys(files: files))
        let names = files.map { Array($0[..<16]) }
        for now in [0, 3600, 10_000_000] {
            #expect(keys.current(now: now)?.name == names[0])
            #expect(keys.key(named: names[0], now: now)?.isCurrent == true)
            #expect(keys.key(named: names[1], now: now)?.isCurrent == false)
        }
    }
}
