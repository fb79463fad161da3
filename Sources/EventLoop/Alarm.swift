/// Calls back once the loop's clock has reached a time.
package final class Alarm: Channel {
    package var rang: () -> Void

    /// Rings not before it is given a deadline. `rang` may be set later.
    package init(loop: EventLoop, rang: @escaping () -> Void = {}) {
        self.rang = rang
        super.init(timerOn: loop)
    }

    package override func deadlinePassed() { rang() }
}
