import Testing

@testable import ProxyServer

@Suite("bursts of work")
struct BurstTests {
    @Test func isOverWhenASecondHasMuchLessWorkThanTheBusiest() {
        var burst = Burst(work: 5000)
        let ends = [6000, 16_000, 19_000, 21_500, 23_999].map { burst.isOver(work: $0) }
        #expect(ends == [false, false, false, false, true])
    }

    @Test func steadyWorkIsNeverOver() {
        var burst = Burst(work: 0)
        let ends = (1...100).map { burst.isOver(work: $0 * 16) }
        #expect(!ends.contains(true))
    }

    @Test func steadyWorkIsTheUsualAfterHalfAMinute() {
        var burst = Burst(work: 0)
        let lasts = (1...40).map { second in
            _ = burst.isOver(work: second * 16)
            return burst.isLasting
        }
        #expect(lasts.firstIndex(of: true) == 29)
    }

    @Test func nextToNothingIsOver() {
        var burst = Burst(work: 0)
        let isOver = burst.isOver(work: 15)
        #expect(isOver)
    }

    @Test func countsGoOnWhereTheyWrapAround() {
        var burst = Burst(work: .max - 10)
        let ends = [burst.isOver(work: .min + 1000), burst.isOver(work: .min + 1100)]
        #expect(ends == [false, true])
    }
}
