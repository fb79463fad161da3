internal import CSwitchyard
internal import Glibc

/// Signals as events of a loop.
package final class SignalChannel: Channel {
    private let received: (Int32) -> Void

    /// Takes `signals` over for the whole process: to be made before any other thread starts, since threads
    /// inherit the mask that keeps the default actions away.
    package init(loop: EventLoop, signals: SignalSet, received: @escaping (Int32) -> Void) throws(SystemError)
    {
        signals.block()
        let descriptor = signals.makeDescriptor()
        guard descriptor >= 0 else { throw SystemError("signalfd") }
        self.received = received
        super.init(loop: loop, descriptor: descriptor)
    }

    package override func readable() {
        var information = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        // One record of that size is read at a time into the local value.
        while unsafe Glibc.read(descriptor, &information, size) == size {
            received(Int32(information.ssi_signo))
        }
        mayRead = false
    }
}
