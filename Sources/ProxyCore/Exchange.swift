package import Config
package import Wire

/// One request, from its head to its line in the log: what routing decides about it and what variables see.
///
/// A worker recycles exchanges, so that one costs no allocation in a steady state; `reset` makes it as new.
/// It is confined to its worker. It does no I/O and reads no clock: times and bytes are put in by its driver.
///
/// The driver calls `reset`, parses a head straight into `request`, calls `begin` and then `Router.route`.
package final class Exchange {
    // MARK: Set by the driver before routing

    package var request = RequestHead()
    /// What reads `request`, piece by piece as it comes.
    package var parser = RequestHeadParser()
    package var client = ClientFacts()
    /// The configuration in force when the request began; it stays with the exchange across reloads.
    package internal(set) var runtime: RuntimeConfiguration
    package internal(set) var listener = 0
    /// `$request_id`: 16 random bytes.
    package var randomBytes: (UInt64, UInt64) = (0, 0)
    package var startedAt = Moment()
    /// The time now, kept up to date by the driver before it calls into the core.
    package var clock: Clock

    // MARK: Decided by routing

    package var server: VirtualServer
    package var location: Location
    /// What the client asked for, as it wrote it, within `request.bytes`: `$request_uri`. Without the scheme and
    /// authority that an absolute target has.
    package var requestURI = Range<Int>.empty
    /// The listener that accepted the connection is one of TLS in this configuration.
    private(set) var listenerIsTLS = false
    /// The normalised path, escapes decoded: `$uri`.
    package var uri: [UInt8] = []
    /// `$args`.
    package var arguments: [UInt8] = []
    /// The method as variables and the upstream see it (an error page turns it into GET).
    package var method: [UInt8] = []
    /// `$host`: of the request line, else the Host field, else the server's name; lower case, no port.
    package var host: [UInt8] = []
    /// The client named a host; otherwise `host` is the server's name.
    package var hostIsGiven = false
    /// True once a rewrite or an internal redirect changed the URI, so that the original cannot be sent on.
    package var uriChanged = false
    /// The part of the URI that the location's prefix covers may be replaced by the URI of its `proxy_pass`.
    /// False after `break` stopped a rewritten URI in its location: then the whole URI is passed on.
    package var locationMatchesURI = true
    /// The client's path held a percent escape (or, in the second case, a plus), which decides what is escaped
    /// again when a part of it goes into another URI.
    package var pathHadEscapes = false
    package var pathHadPlus = false
    package var isInternal = false
    /// Changes of the URI still allowed, by rewriting and internal redirects. Routing fails at 0.
    package var remainingURIChanges = Exchange.maximumURIChanges
    /// Values that `set` and named groups assigned, by slot.
    package var assigned = SlotValues()
    /// Groups of the last regular expression that matched, as offsets into `captureSubject`.
    package var captures: [Int32] = []
    package var captureSubject: [UInt8] = []
    /// What went wrong in finding out where the request goes, in the words of the error log.
    private var faults: [RoutingFault] = []
    /// What zones did to the request, to be counted together with what is to be logged of it.
    package var limitOutcomes: [LimitOutcome] = []
    /// The status that the response to the client must carry in place of its own, because it is an error page; 0
    /// for no such status.
    package var errorStatus = 0
    /// An error page was looked for, and `recursive_error_pages` is off, so none will be looked for again.
    package var errorPageWasTried = false
    /// The request's body is not wanted any more.
    package var bodyIsDiscarded = false
    /// What `limit_req` and `limit_conn` made of the request, which they look at once, and where the latter counts it.
    package internal(set) var requestLimitStatus = LimitStatus.none
    package internal(set) var connectionLimitStatus = LimitStatus.none
    package var counted = CountedConnections()
    /// The status demands that the connection closes after the response.
    package var closesConnection = false
    /// The request was refused and is known to be a HEAD, which its line need not say.
    package var refusesHead = false
    /// No content answers it.
    var isHead: Bool { refusesHead || request.isMethod(.head) }

    // MARK: Scripts

    /// Computes the variables of scripts; `nil` where the configuration has none.
    package var scripts: (any ScriptEngine)?
    /// The number that the engine knows the exchange's flow by; -1 before a script has looked at it.
    package var scriptFlow = -1
    /// What is being rendered can be rendered again once a variable that waits has its value.
    package var scriptsMayWait = false
    /// Rendering met a variable whose function waits: what came of it is worth nothing.
    package var scriptIsPending = false
    /// Hooks see the response's body, so that its length is not known before its end.
    package var responseBodyIsScripted = false
    /// The request hooks of the location have let the request pass.
    package var passedRequestHooks = false
    /// A script chose the response's status, so that the upstream's reason for another means nothing.
    var reasonIsOurs = false

    // MARK: Set while proxying

    package var attempts: [UpstreamAttempt] = []
    package var response = ResponseHead()
    package var responseTrailers: TrailerSection?
    /// What goes with the response of responses that it takes the place of.
    package var carried = CarriedFields()
    /// `$proxy_host`, `$proxy_port` of the `proxy_pass` in use.
    package var proxyHost: [UInt8] = []
    package var proxyPort: [UInt8] = []
    /// The upstream is spoken to over TLS.
    package var proxyIsTLS = false
    /// `$request_body`, where the driver has read it whole.
    package var requestBody: [UInt8]?

    /// What the legs of its WebSocket have agreed on about compression.
    package var webSocketDeflate = WebSocketDeflateTerms()
    /// Its open WebSocket, whose frames are followed.
    package var webSocket: WebSocketPlane?
    /// What there was to say of that at its end.
    package var webSocketFacts: WebSocketFacts?

    // MARK: Set while answering

    /// The status sent to the client; 0 before.
    package var status = 0
    /// The head that was sent to the client, or what there is of it while it is written, for `$sent_http_*`: lines as
    /// written.
    package var sentHead: [UInt8] = []
    /// The trailer section that was sent to the client, for `$sent_trailer_*`: lines as written.
    package var sentTrailers: [UInt8] = []
    package var sentHeadBytes: Int64 = 0
    /// What an upstream said by `X-Accel-Limit-Rate`.
    var upstreamLimitRate: Int?
    package var sentBodyBytes: Int64 = 0
    package var receivedHeadBytes: Int64 = 0
    package var receivedBodyBytes: Int64 = 0
    /// `$request_completion`: the whole response was sent.
    package var isComplete = false
    package var isPipelined = false

    // MARK: Inside routing

    /// The handler of the location, or the one that an `if` or `limit_except` without one of its own leaves in
    /// force.
    var handler = ContentHandler.none
    /// Nothing in the location answers requests.
    package var lacksHandler: Bool { if case .none = handler { true } else { false } }
    /// Of the location that the request is in.
    var access = Router.AccessProgress()
    /// A subrequest is under way: what routing decides and what variables see are its own.
    package var isSubrequest: Bool { mainRequest != nil }
    /// What it has put aside.
    var mainRequest: RequestState?
    /// Where the redirect leads that routing decided on last.
    package var redirectURL: [UInt8]?

    // MARK: Evaluation

    /// Values of maps that were looked up, by the map's position.
    var mapValues = SlotValues()
    /// Maps whose evaluation is under way, so that one that depends on itself is noticed.
    var mapsUnderway: [Bool] = []
    /// The values that a frozen exchange kept, while this one is thawed from it.
    var thawed: ThawedValues?
    private var spareBuffers: [[UInt8]] = []

    /// nginx allows ten changes, and counts one more.
    static let maximumURIChanges = 11

    package init(runtime: RuntimeConfiguration, clock: Clock) {
        self.runtime = runtime
        self.clock = clock
        server = runtime.configuration.listeners.first?.defaultServer ?? runtime.emptyServer
        location = server.root
        reset(runtime: runtime)
    }

    /// Makes the exchange as new for another request, keeping its storage.
    package func reset(runtime: RuntimeConfiguration) {
        if self.runtime !== runtime { self.runtime = runtime }
        request.removeAll()
        parser.reset()
        listener = 0
        randomBytes = (0, 0)
        startedAt = Moment()
        requestURI = .empty
        uri.clear()
        arguments.clear()
        method.clear()
        host.clear()
        hostIsGiven = false
        uriChanged = false
        locationMatchesURI = true
        pathHadEscapes = false
        pathHadPlus = false
        isInternal = false
        remainingURIChanges = Self.maximumURIChanges
        if !captures.isEmpty { captures.removeAll(keepingCapacity: true) }
        captureSubject.clear()
        errorStatus = 0
        errorPageWasTried = false
        bodyIsDiscarded = false
        requestLimitStatus = .none
        connectionLimitStatus = .none
        closesConnection = false
        refusesHead = false
        handler = .none
        redirectURL = nil
        if !attempts.isEmpty { attempts.removeAll(keepingCapacity: true) }
        response.removeAll()
        responseTrailers = nil
        if !carried.isEmpty { carried = CarriedFields() }
        // These are the configuration's: emptied in place they would be copied first.
        proxyHost = []
        proxyPort = []
        proxyIsTLS = false
        requestBody = nil
        webSocketDeflate = WebSocketDeflateTerms()
        webSocket = nil
        webSocketFacts = nil
        scripts = nil
        scriptFlow = -1
        scriptsMayWait = false
        scriptIsPending = false
        passedRequestHooks = false
        responseBodyIsScripted = false
        reasonIsOurs = false
        if isSubrequest { mainRequest = nil }
        resetAnswer()
        resetEvaluation()
    }

    /// A reload came between the first byte of the head and its last: the request runs under the new configuration.
    package func adopt(_ runtime: RuntimeConfiguration) {
        guard self.runtime !== runtime else { return }
        self.runtime = runtime
        resetEvaluation()
    }

    private func resetAnswer() {
        status = 0
        sentHead.clear()
        sentTrailers.clear()
        sentHeadBytes = 0
        upstreamLimitRate = nil
        sentBodyBytes = 0
        receivedHeadBytes = 0
        receivedBodyBytes = 0
        isComplete = false
        isPipelined = false
    }

    private func resetEvaluation() {
        if !faults.isEmpty { faults.removeAll() }
        if !limitOutcomes.isEmpty { limitOutcomes.removeAll() }
        assigned.reset(slots: runtime.configuration.assignedSlots)
        mapValues.reset(slots: runtime.configuration.maps.count)
        if !mapsUnderway.isEmpty { mapsUnderway.removeAll(keepingCapacity: true) }
        for _ in runtime.configuration.maps { mapsUnderway.append(false) }
        thawed = nil
    }

    /// Takes up a request whose head was parsed into `request`.
    ///
    /// - Parameters:
    ///   - listener: the position in `Configuration.listeners` of the one that accepted the connection; its default
    ///     server is the exchange's until routing has seen the host.
    ///   - client: the connection that the request came on.
    ///   - startedAt: when the first byte of the request was read.
    ///   - random: fresh random bits for `$request_id`.
    package func begin(listener: Int, client: ClientFacts, startedAt: Moment, random: (UInt64, UInt64)) {
        self.listener = listener
        self.client = client
        self.startedAt = startedAt
        randomBytes = random
        let hosts = runtime.hosts(ofListener: listener)
        server = hosts?.defaultServer ?? runtime.emptyServer
        listenerIsTLS = hosts?.isTLS ?? false
        location = server.root
        let bytes = request.bytes
        method.append(copying: bytes.span, request.method)
        requestURI = request.target
        receivedHeadBytes = Int64(request.bytes.count)
    }

    /// As `begin`, for a request whose head was refused or never became whole. To be answered by `Router.fail`.
    ///
    /// Of what was received, the first line is kept for the log. Where that was a request line, so are the fields that
    /// came before the fault, but for those about the connection: nothing follows from them any more. The URI, the host
    /// and its server are known then as far as these say, so that logs and error pages are that server's, as in nginx.
    package func beginRefused(
        _ received: [UInt8], listener: Int, client: ClientFacts, startedAt: Moment, random: (UInt64, UInt64)
    ) {
        let head = request
        request.removeAll()
        let lineEnd = UInt8(ascii: "\n")
        // Empty lines may come before the request line (RFC 9112 §2.2).
        let start = received.firstIndex { $0 != lineEnd && $0 != UInt8(ascii: "\r") } ?? received.endIndex
        let end = received[start...].firstIndex(of: lineEnd) ?? received.endIndex
        if parser.hasRequestLine {
            request.bytes.append(contentsOf: received[start...])
            takeRefused(head)
        } else {
            request.bytes.append(contentsOf: received[start..<end])
            let nameEnd = request.bytes.firstIndex { $0 &- UInt8(ascii: "A") >= 26 } ?? 0
            if nameEnd > 0, request.bytes[nameEnd] == ByteText.space { request.method = 0..<nameEnd }
        }
        begin(listener: listener, client: client, startedAt: startedAt, random: random)
        receivedHeadBytes = Int64(received.count)
        if parser.hasRequestLine {
            Router.takeUpRefused(self)
        } else {
            // That no body answers a HEAD holds all the same.
            if !request.isMethod(.head) { method.clear() }
            request.version = .v0_9
        }
    }

    /// `head` is what the parser made of the bytes, of which `request.bytes` holds no more than the beginning.
    private func takeRefused(_ head: RequestHead) {
        let count = request.bytes.count
        guard head.target.upperBound <= count else { return }
        request.method = head.method
        request.version = head.version
        if head.targetParts.form == .origin || head.targetParts.form == .absolute {
            request.target = head.target
            request.targetParts = head.targetParts
        }
        let fields = Array(head.fields.prefix { $0.value.upperBound <= count })
        var hopByHop = HopByHopFields()
        hopByHop.prepare(
            bytes: request.bytes, fields: fields,
            connectionIndex: head.connectionIndex < fields.count ? head.connectionIndex : -1)
        for field in fields where !hopByHop.contains(field, in: request.bytes) {
            if field.id == .host, head.hostIndex >= 0 { request.hostIndex = request.fields.count }
            if field.id != .expect { request.fields.append(field) }
        }
    }

    /// Changes to the server that the listener has for the host, if it has one.
    ///
    /// - Returns: false where it could not be found out.
    func chooseServer() -> Bool {
        guard let names = runtime.hosts(ofListener: listener)?.names else { return true }
        switch names.server(for: self) {
        case .server(let named): server = named
        case .none: break
        case .unknown: return false
        }
        return true
    }

    /// Has another server answer than the one that the client named, which it is as if it had not.
    package func direct(to server: VirtualServer) {
        self.server = server
        location = server.root
        host.clear()
        host.append(contentsOf: server.name)
        hostIsGiven = false
    }

    /// Another upstream is asked: of the one before there is its try in the log, and what `carried` has of its response.
    package func forgetResponse() {
        response.removeAll()
        responseTrailers = nil
    }

    /// An internal redirect leads to another location: no `proxy_pass` is in use any more.
    func forgetProxying() {
        proxyHost = []
        proxyPort = []
    }

    /// Takes back what was counted as sent to the client, which the connection had taken and the system never did.
    ///
    /// - Parameter unsent: in bytes, the last of what was counted.
    package func discount(unsent: Int) {
        let ofBody = min(Int64(unsent), sentBodyBytes)
        sentBodyBytes -= ofBody
        sentHeadBytes -= min(Int64(unsent) - ofBody, sentHeadBytes)
    }

    /// Keeps a fault for the error log, which whoever drives the exchange writes. One that comes again is told once.
    package func note(fault: String, level: LogLevel = .error) {
        guard faults.count < Self.maxFaults, !faults.contains(where: { $0.text == fault }) else { return }
        let logs = location.settings.values.errorLogs
        faults.append(RoutingFault(level: level, text: fault, logs: logs))
    }

    package var hasFaults: Bool { !faults.isEmpty }

    /// Takes what was noted.
    package func takeFaults() -> [RoutingFault] {
        if faults.isEmpty { return [] }
        defer { faults.removeAll() }
        return faults
    }

    private static let maxFaults = 8

    /// `$request_id`, as messages show it.
    package var requestIDText: String {
        var text: [UInt8] = []
        Hexadecimal.append(randomBytes.0, to: &text)
        Hexadecimal.append(randomBytes.1, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    // MARK: Buffers

    /// An empty buffer to be given back with `giveBack`, so that working storage is allocated once.
    func takeBuffer() -> [UInt8] { spareBuffers.popLast() ?? [] }

    func giveBack(_ buffer: consuming [UInt8]) {
        buffer.clear()
        spareBuffers.append(buffer)
    }
}
