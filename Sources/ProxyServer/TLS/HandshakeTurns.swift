internal import EventLoop

/// A connection whose handshake goes on when its turn comes.
protocol Handshaking: AnyObject {
    /// The next step is among those that wait for their turn: for `HandshakeTurns` to set.
    var awaitsHandshakeTurn: Bool { get set }
    /// Makes one step of the handshake, if that still waits for one.
    func stepHandshake()
}

/// Has the handshakes of a worker wait for the end of the loop's turn, and there take no more than a millisecond and the
/// step that it ends in: private keys are used for about as long, and tunnels are not to wait for hundreds of them.
///
/// What does not come up goes on at the end of the next turn, before those that came later.
final class HandshakeTurns {
    /// Microseconds after which no further step is begun in one turn of the loop.
    static let limit: Int64 = 1000

    private var waiting: [any Handshaking] = []
    private var next = 0

    var isEmpty: Bool { next == waiting.count }

    /// Has `connection` make a step when its turn comes; nothing more where it waits for that already.
    func add(_ connection: any Handshaking) {
        guard !connection.awaitsHandshakeTurn else { return }
        connection.awaitsHandshakeTurn = true
        waiting.append(connection)
    }

    func run(on loop: EventLoop) {
        guard !isEmpty else { return }
        // What is added meanwhile is for the next turn.
        let end = waiting.count
        let deadline = loop.microseconds + Self.limit
        repeat {
            let connection = waiting[next]
            next += 1
            connection.awaitsHandshakeTurn = false
            connection.stepHandshake()
        } while next < end && loop.microseconds < deadline
        if next == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count < 1024)
            next = 0
        } else if next > 256 {
            waiting.removeFirst(next)
            next = 0
        }
    }
}
