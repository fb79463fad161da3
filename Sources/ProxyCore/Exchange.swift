package import Config
package import Wire

/// One request, from its head to its line in the log: what routing decides about it and what variables see.
///
/// A worker recycles exchanges, so that one costs no allocation in a steady state; `reset` makes it as new.
/// It is confined to its worker. It does no I/O and reads no clock: times and bytes are put in by its driver.
package final class Exchange {
    // MARK: Set by the driver before routing

    package var request = RequestHead()
    package var client = ClientFacts()
    /// The configuration in force when the request began; it stays with the exchange across reloads.
    package var runtime: RuntimeConfiguration
    package var listener: Int = 0
    /// `$request_id`: 16 random bytes, made when first asked for, from this.
    package var randomBytes: (UInt64, UInt64) = (0, 0)
    package var startedAt = Moment()
    /// The time now, kept up to date by the driver before it calls into the core.
    package var clock: Clock

    // MARK: Decided by routing

    package var server: VirtualServer
    package var location: Location
    /// The normalised path, escapes decoded: `$uri`.
    package var uri: [UInt8] = []
    /// `$args`.
    package var arguments: [UInt8] = []
    /// The method as variables and the upstream see it (an error page turns it into GET).
    package var method: [UInt8] = []
    /// `$host`: of the request line, else the Host field, else the server's name; lower case, no port.
    package var host: [UInt8] = []
    /// True once a rewrite or an internal redirect changed the URI, so that the original cannot be sent on.
    package var uriChanged = false
    package var isInternal = false
    package var internalRedirects = 0
    /// Values that `set` and named groups assigned, by slot.
    package var assigned: [[UInt8]?] = []
    /// Groups of the last regular expression that matched, as offsets into `captureSubject`.
    package var captures: [Int32] = []
    package var captureSubject: [UInt8] = []
    /// The status an error page is being produced for; 0 otherwise.
    package var errorStatus = 0

    // MARK: Set while proxying

    package var attempts: [UpstreamAttempt] = []
    package var response = ResponseHead()
    package var responseTrailers: TrailerSection?
    /// `$proxy_host`, `$proxy_port` of the `proxy_pass` in use.
    package var proxyHost: [UInt8] = []
    package var proxyPort: [UInt8] = []

    // MARK: Set while answering

    /// The status sent to the client; 0 before.
    package var status = 0
    /// The head that was sent to the client, for `$sent_http_*`: lines as written.
    package var sentHead: [UInt8] = []
    package var sentHeadBytes: Int64 = 0
    package var sentBodyBytes: Int64 = 0
    package var receivedHeadBytes: Int64 = 0
    package var receivedBodyBytes: Int64 = 0
    /// `$request_completion`: the whole response was sent.
    package var isComplete = false
    package var isPipelined = false

    package init(runtime: RuntimeConfiguration, clock: Clock) {
        fatalError("being written")
    }
}

/// What is known of the connection that a request came on. `final class` so that a request only refers to it.
package final class ClientFacts {
    /// Numeric text, `unix:` for a UNIX socket: `$remote_addr`.
    package var address: [UInt8] = []
    package var port: UInt16 = 0
    /// 4 or 16 bytes in network order, or `unix:`: `$binary_remote_addr`.
    package var binaryAddress: [UInt8] = []
    /// The local end: `$server_addr`, `$server_port`.
    package var serverAddress: [UInt8] = []
    package var serverPort: UInt16 = 0
    /// `$connection`, `$connection_requests`, `$connection_time`.
    package var serial: UInt64 = 0
    package var requests = 0
    package var connectedAt = Moment()

    package init() {}
}

/// One try at one upstream peer. Times in milliseconds since the try began; -1 where it did not get that far.
package struct UpstreamAttempt: Sendable {
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

/// A point in time by both clocks.
package struct Moment: Sendable, Hashable {
    /// Milliseconds since 1970, UTC.
    package var unix: Int64
    /// Milliseconds on a clock that never goes back.
    package var monotonic: Int64

    package init(unix: Int64 = 0, monotonic: Int64 = 0) {
        self.unix = unix
        self.monotonic = monotonic
    }
}

/// The time as the driver last read it, with its textual forms made at most once a second.
package final class Clock {
    package private(set) var now = Moment()
    /// Seconds east of Greenwich, for `$time_local` and `$time_iso8601`; the driver keeps it up to date.
    package var zoneOffset = 0

    package init() {}

    package func advance(to moment: Moment) { now = moment }
}

/// Facts of the process and the worker that some variables show.
package struct Environment: Sendable {
    package var hostname: [UInt8]
    package var pid: Int32
    package var connectionCounts: @Sendable () -> ConnectionCounts

    package init(hostname: [UInt8], pid: Int32, connectionCounts: @escaping @Sendable () -> ConnectionCounts) {
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

/// A configuration with its variables bound to the table of `VariableTable`: what exchanges run under.
package final class RuntimeConfiguration: Sendable {
    package let configuration: Configuration
    package let environment: Environment

    package init(_ configuration: Configuration, environment: Environment) {
        self.configuration = configuration
        self.environment = environment
    }
}
