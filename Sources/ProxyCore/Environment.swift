package import Config

/// Facts of the process and the worker that some variables and conditions ask for.
package struct Environment: Sendable {
    package var hostname: [UInt8]
    package var pid: Int32
    /// `$nginx_version`.
    package var version: [UInt8] = []
    package var connectionCounts: @Sendable () -> ConnectionCounts
    /// `if (-f …)` and its kin: whether the file at a path (without its closing NUL) passes the test.
    package var fileTest: @Sendable (Condition.FileTest, [UInt8]) -> Bool = { _, _ in false }

    package init(
        hostname: [UInt8], pid: Int32, connectionCounts: @escaping @Sendable () -> ConnectionCounts
    ) {
        self.hostname = hostname
        self.pid = pid
        self.connectionCounts = connectionCounts
    }
}

package struct ConnectionCounts: Sendable {
    package var active = 0
    package var accepted = 0
    package var handled = 0
    package var requests = 0
    package var reading = 0
    package var writing = 0
    package var waiting = 0

    package init() {}
}
