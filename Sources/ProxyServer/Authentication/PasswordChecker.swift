internal import Digest
internal import EventLoop
internal import ProxyCore

/// Compares clients' passwords with stored ones, without holding up the worker.
///
/// What takes long is computed on a thread beside the worker's, one password after the other, and once for all that wait for
/// the same. What matched is remembered by a keyed hash of stored and given password together: a file that changes is obeyed
/// at once, and no password is kept. What did not match is not remembered, so that guesses push nothing out.
///
/// Confined to its worker.
final class PasswordChecker {
    typealias Completion = (StoredPassword.Verdict) -> Void
    typealias Key = [UInt8]

    /// One request's wait for a verdict.
    struct Ticket {
        fileprivate let key: Key
        fileprivate let number: Int
    }

    private struct Waiter {
        var number: Int
        var completion: Completion
    }

    /// How many passwords that matched are remembered.
    private static let maxRemembered = 4096

    private let secret: [UInt8]
    private let loop: EventLoop
    private let thread: PasswordThread
    private var remembered = RecentlyUsed<Key, Void>()
    private var waiters: [Key: [Waiter]] = [:]
    private var lastNumber = 0

    /// - Parameters:
    ///   - loop: the worker's.
    ///   - secret: random bytes, at least 32.
    init(loop: EventLoop, secret: [UInt8]) {
        self.loop = loop
        self.secret = secret
        thread = PasswordThread(poster: loop.poster)
    }

    enum Outcome {
        case known(StoredPassword.Verdict)
        /// `completion` is called in a later turn of the loop, unless the ticket is given back.
        case waiting(Ticket)
    }

    func check(
        _ password: [UInt8], against stored: StoredPassword, completion: @escaping Completion
    ) -> Outcome {
        // A loop in memory, in tests of scripts, waits for no thread.
        if stored.isQuick || loop.isInMemory { return .known(stored.verdict(on: password)) }
        let key = key(stored, password)
        if remembered.use(key, now: loop.now) != nil { return .known(.matches) }
        lastNumber += 1
        let isNew = waiters[key] == nil
        waiters[key, default: []].append(Waiter(number: lastNumber, completion: completion))
        if isNew {
            // The thread gives the checker back to the worker's, which alone looks into it.
            nonisolated(unsafe) let checker = self
            thread.compute(key, stored, password) { verdict in unsafe checker.computed(verdict, for: key) }
        }
        return .waiting(Ticket(key: key, number: lastNumber))
    }

    /// The request has ended. What nobody waits for any more is not computed.
    func giveBack(_ ticket: Ticket) {
        waiters[ticket.key]?.removeAll { $0.number == ticket.number }
        guard waiters[ticket.key]?.isEmpty == true, thread.withdraw(ticket.key) else { return }
        waiters[ticket.key] = nil
    }

    private func computed(_ verdict: StoredPassword.Verdict, for key: Key) {
        if verdict == .matches {
            remembered.put((), at: key, now: loop.now)
            if remembered.count > Self.maxRemembered { remembered.removeOldest() }
        }
        // One by one: what comes of a verdict may end others that wait for it, such as streams of one connection.
        while waiters[key]?.isEmpty == false, let waiter = waiters[key]?.removeFirst() {
            waiter.completion(verdict)
        }
        waiters[key] = nil
    }

    /// Of both together: the length says where one ends and the other begins.
    private func key(_ stored: StoredPassword, _ password: [UInt8]) -> Key {
        let length = UInt64(stored.text.count)
        let message =
            (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + stored.text + password
        let secret = secret
        guard let code = HMAC.sha256(key: secret.span, message.span) else {
            preconditionFailure("the library has no SHA-256")
        }
        return code.indices.map { code[$0] }
    }
}
