internal import EventLoop

extension EventLoop {
    /// When something that a script waits for is given up, by this loop's clock: after so many milliseconds, but not at once.
    func deadline(ofScript milliseconds: Int64) -> Int64 { now.advanced(clamping: max(1, milliseconds)) }
}
