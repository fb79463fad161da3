import TLS
import Testing

@Suite("Early data is taken once")
struct EarlyDataRegisterTests {
    private let register = EarlyDataRegister(now: 1000)
    private func random(_ number: UInt8) -> [UInt8] { Array(repeating: number, count: 32) }

    @Test("a ClientHello that came before is refused for as long as its ticket is fresh")
    func once() {
        #expect(register.take(random(1), keysAreOlder: false, now: 1000))
        for now in stride(from: 1000, to: 1011, by: 1) {
            #expect(!register.take(random(1), keysAreOlder: false, now: now))
        }
        #expect(register.take(random(2), keysAreOlder: false, now: 1011))
        // In the window after.
        #expect(!register.take(random(2), keysAreOlder: false, now: 1013))
        #expect(!register.take(random(2), keysAreOlder: false, now: 1022))
    }

    @Test("a window that nothing came in forgets the one before")
    func pause() {
        #expect(register.take(random(1), keysAreOlder: false, now: 1000))
        #expect(register.take(random(1), keysAreOlder: false, now: 1100))
    }

    @Test("keys that are older than the process wait for a window")
    func older() {
        #expect(!register.take(random(1), keysAreOlder: true, now: 1000))
        #expect(!register.take(random(1), keysAreOlder: true, now: 1011))
        #expect(register.take(random(1), keysAreOlder: true, now: 1012))
    }

    @Test("more than can be remembered are refused")
    func full() {
        var taken = 0
        for number in 0..<70_000 {
            let random = Array("\(number)".utf8)
            if register.take(random, keysAreOlder: false, now: 1000) { taken += 1 }
        }
        #expect(taken == 65_536)
        #expect(register.take(random(1), keysAreOlder: false, now: 1012))
    }
}
