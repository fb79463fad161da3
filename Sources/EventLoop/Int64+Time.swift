extension Int64 {
    /// This time of a loop's clock and a number of milliseconds more, at least none, or `EventLoop.never` where that is further
    /// than a number goes.
    package func advanced(clamping milliseconds: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(Swift.max(0, milliseconds))
        return overflow ? EventLoop.never : sum
    }
}
