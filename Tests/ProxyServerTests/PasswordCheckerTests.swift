import EventLoop
import ProxyCore
import Testing

@testable import ProxyServer

@Suite("Passwords of clients")
struct PasswordCheckerTests {
    private static let hash = StoredPassword(Array("$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ.".utf8))
    private static let other = StoredPassword(Array("$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/".utf8))
    private static let right = Array("open sesame".utf8)

    /// Verdicts in the order in which they came, with what was known at once.
    private final class Verdicts {
        var all: [StoredPassword.Verdict] = []
        let loop: EventLoop
        let checker: PasswordChecker

        init() throws {
            loop = try EventLoop()
            checker = PasswordChecker(loop: loop, secret: [UInt8](repeating: 7, count: 32))
        }

        @discardableResult
        func ask(
            _ password: [UInt8], _ stored: StoredPassword, then act: @escaping () -> Void = {}
        ) -> PasswordChecker.Ticket? {
            let outcome = checker.check(password, against: stored) { [unowned self] in
                all.append($0)
                act()
                loop.stop()
            }
            switch outcome {
            case .known(let verdict):
                all.append(verdict)
                return nil
            case .waiting(let ticket): return ticket
            }
        }
    }

    @Test("what takes long comes later, and what matched is known from then on")
    func remembered() throws {
        let verdicts = try Verdicts()
        defer { verdicts.loop.close() }
        #expect(verdicts.ask(Self.right, Self.hash) != nil)
        #expect(verdicts.all.isEmpty)
        verdicts.loop.run()
        #expect(verdicts.all == [.matches])
        #expect(verdicts.ask(Self.right, Self.hash) == nil)
        #expect(verdicts.all == [.matches, .matches])
        // Another hash of the same password is another matter.
        #expect(verdicts.ask(Self.right, Self.other) != nil)
    }

    @Test("what did not match is computed each time")
    func notRemembered() throws {
        let verdicts = try Verdicts()
        defer { verdicts.loop.close() }
        for count in 1...2 {
            #expect(verdicts.ask([1], Self.hash) != nil)
            verdicts.loop.run()
            #expect(verdicts.all == [StoredPassword.Verdict](repeating: .differs, count: count))
        }
    }

    @Test("all that ask the same are told at once")
    func together() throws {
        let verdicts = try Verdicts()
        defer { verdicts.loop.close() }
        for _ in 0..<5 { #expect(verdicts.ask(Self.right, Self.hash) != nil) }
        verdicts.loop.run()
        #expect(verdicts.all == [StoredPassword.Verdict](repeating: .matches, count: 5))
    }

    @Test("who goes because of what another one is told is not told any more")
    func endedByAnother() throws {
        let verdicts = try Verdicts()
        defer { verdicts.loop.close() }
        var second: PasswordChecker.Ticket?
        verdicts.ask(Self.right, Self.hash) {
            if let second { verdicts.checker.giveBack(second) }
        }
        second = verdicts.ask(Self.right, Self.hash)
        verdicts.ask(Self.right, Self.hash)
        verdicts.loop.run()
        #expect(verdicts.all == [.matches, .matches])
    }

    @Test("who has gone is not told")
    func givenBack() throws {
        let verdicts = try Verdicts()
        defer { verdicts.loop.close() }
        let first = try #require(verdicts.ask([1], Self.hash))
        let second = try #require(verdicts.ask([2], Self.hash))
        verdicts.checker.giveBack(first)
        verdicts.checker.giveBack(second)
        verdicts.ask(Self.right, Self.hash)
        verdicts.loop.run()
        #expect(verdicts.all == [.matches])
        // Nothing of them is in the way of asking again.
        verdicts.ask([2], Self.hash)
        verdicts.loop.run()
        #expect(verdicts.all == [.matches, .differs])
    }
}
