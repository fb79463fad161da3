import Testing

@testable import ProxyCore

@Suite("The pace of a response")
struct PaceTests {
    @Test("the first second's bytes go at once, and what was missed is made up for")
    func allowance() {
        let pace = Pace(rate: 10_000, beganAt: 5000)
        #expect(pace.allowance(moved: 0, now: 5000) == 10_000)
        #expect(pace.allowance(moved: 10_000, now: 5000) == 0)
        #expect(pace.allowance(moved: 10_000, now: 5500) == 5000)
        #expect(pace.allowance(moved: 10_000, now: 8000) == 30_000)
        #expect(Pace(rate: 10_000, free: 700, beganAt: 0).allowance(moved: 10_000, now: 0) == 0)
        #expect(Pace(rate: 10_000, free: 2000, beganAt: 0).allowance(moved: 10_000, now: 0) == 2000)
    }

    @Test("what is less than a piece goes as soon as it may")
    func remnant() {
        let pace = Pace(rate: 1024, beganAt: 0)
        #expect(pace.allowance(moved: 1024, now: 125) == 0)
        #expect(pace.allowance(moved: 1024, of: 128, now: 125) == 128)
        #expect(pace.allowance(moved: 1024, of: 128, now: 124) == 0)
        #expect(pace.resumption(moved: 1024, of: 128) == 125)
        #expect(pace.resumption(moved: 1024, of: 50_000) == 500)
    }

    @Test(
        "whoever waits until the time that is said gets a piece, and not before",
        arguments: [1, 100, 512, 5000, 20_480, 1 << 20, 1 << 50])
    func resumption(rate: Int) {
        let pace = Pace(rate: rate, free: 3, beganAt: 1000)
        var now: Int64 = 1000
        var moved: Int64 = 0
        for _ in 0..<50 {
            let allowed = pace.allowance(moved: moved, now: now)
            moved += Int64(allowed)
            guard allowed == 0 else { continue }
            let next = pace.resumption(moved: moved)
            #expect(next > now)
            #expect(pace.allowance(moved: moved, now: next - 2) == 0)
            #expect(pace.allowance(moved: moved, now: next) >= min(512, rate))
            now = next
        }
        #expect(Double(moved) <= Double(rate) * (Double(now - 1000) / 1000 + 1) + 3)
    }
}
