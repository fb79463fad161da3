import Testing

@testable import Digest

@Suite("numbers of chance")
struct NumbersTests {
    @Test func unpredictableOnesAreNeverTheSame() {
        var (first, second) = (UnpredictableNumbers(), UnpredictableNumbers())
        // More than are fetched at once.
        let numbers = (0..<2000).flatMap { _ in [first.next(), second.next()] }
        #expect(Set(numbers).count == numbers.count)
    }

    @Test func thoseOfASeedAreTheSameEachTime() {
        var (first, second) = (UnpredictableNumbers(seed: 7), UnpredictableNumbers(seed: 7))
        let numbers = (0..<2000).map { _ in first.next() }
        let others = (0..<2000).map { _ in second.next() }
        #expect(numbers == others)
        #expect(Set(numbers).count == numbers.count)
    }

    @Test(arguments: [0, 1, 7, 8, 9, 100])
    func bytesAreAsManyAsAskedFor(count: Int) {
        var numbers = RepeatableNumbers(seed: 1)
        let bytes = numbers.bytes(count)
        #expect(bytes.count == count)
    }

    @Test func bytesTakeEveryValue() {
        var numbers = UnpredictableNumbers()
        let bytes = numbers.bytes(10_000)
        #expect(Set(bytes).count == 256)
    }
}
