internal import EventLoop

/// What is to be done once `worker_shutdown_timeout` is over, for each reload that began it.
final class ShutdownTimeouts {
    private let loop: EventLoop
    private var alarm: Alarm?
    private var pending: [(time: Int64, action: () -> Void)] = []

    init(loop: EventLoop) {
        self.loop = loop
        alarm = Alarm(loop: loop) { [unowned self] in rang() }
    }

    func after(milliseconds: Int, _ action: @escaping () -> Void) {
        pending.append((loop.now.advanced(clamping: Int64(milliseconds)), action))
        setAlarm()
    }

    func close() {
        alarm?.close()
        alarm = nil
        pending = []
    }

    private func rang() {
        let due = pending.filter { $0.time <= loop.now }
        pending.removeAll { $0.time <= loop.now }
        setAlarm()
        for entry in due { entry.action() }
    }

    private func setAlarm() {
        guard let next = pending.map(\.time).min() else { return }
        alarm?.setDeadline(next)
    }
}
