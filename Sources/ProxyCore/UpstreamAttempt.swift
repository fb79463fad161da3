/// One try at one upstream peer. Times in milliseconds since the try began; -1 where it did not get that far.
package struct UpstreamAttempt: Sendable, Equatable {
    package var address: [UInt8]
    package var startedAt: Moment
    package var status = 0
    package var connectTime = -1
    package var headerTime = -1
    package var responseTime = -1
    package var bytesSent: Int64 = 0
    package var bytesReceived: Int64 = 0
    package var responseLength: Int64 = 0
    /// An internal redirect came between this try and the one before: variables separate them by `:`.
    package var followsRedirect = false

    package init(address: [UInt8], startedAt: Moment) {
        self.address = address
        self.startedAt = startedAt
    }
}
