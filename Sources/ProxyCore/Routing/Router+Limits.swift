internal import Config
internal import Wire

/// `limit_req` and `limit_conn`, which nginx has after rewriting and before access is looked at, in this order.
extension Router {
    /// The longest keys in bytes, as in nginx: what is longer is not counted.
    private static let longestRequestKey = 65_535
    private static let longestConnectionKey = 255
    /// In bytes, what the log shows of a key that is too long.
    private static let longestShownKey = 1024

    /// Goes on with a request that has waited, by its limits or for a variable, or whose 401 has.
    package static func goOn(_ exchange: Exchange) -> RouteDecision {
        guard case .delayed = exchange.access.next else { return run(exchange, from: .limits) }
        exchange.access.next = .none
        return fail(exchange, status: 401)
    }

    /// - Returns: `nil` for a request that may go on.
    static func limit(_ exchange: Exchange) -> RouteDecision? {
        // Keys are made of where the client is.
        if let rules = exchange.location.realIP { ForwardedAddress.take(exchange, rules) }
        if exchange.scripts != nil, waitsForKeys(exchange) { return .awaitVariable }
        if exchange.requestLimitStatus == .none, let decision = limitRequests(exchange) { return decision }
        if exchange.connectionLimitStatus == .none { return limitConnections(exchange) }
        return nil
    }

    /// Sees whether all keys are at hand, before anything is counted by one.
    private static func waitsForKeys(_ exchange: Exchange) -> Bool {
        let settings = exchange.location.settings
        var key = exchange.takeBuffer()
        exchange.scriptsMayWait = true
        if exchange.requestLimitStatus == .none {
            for limit in settings.values.limits.requests { render(limit.zone, exchange, to: &key) }
        }
        if exchange.connectionLimitStatus == .none {
            for limit in settings.values.limits.connections { render(limit.zone, exchange, to: &key) }
        }
        exchange.scriptsMayWait = false
        exchange.giveBack(key)
        return exchange.scriptIsPending
    }

    private static func render(_ zone: Int, _ exchange: Exchange, to key: inout [UInt8]) {
        key.clear()
        exchange.render(exchange.runtime.configuration.limitZones[zone].key, into: &key)
    }

    /// Renders the key of a zone.
    ///
    /// - Returns: whether there is something to count by.
    private static func hasKey(
        _ zone: Int, _ exchange: Exchange, upTo longest: Int, in key: inout [UInt8]
    ) -> Bool {
        render(zone, exchange, to: &key)
        guard key.count > longest else { return !key.isEmpty }
        let template = exchange.runtime.configuration.limitZones[zone].keyText
        let shown = String(decoding: key.prefix(longestShownKey), as: UTF8.self)
        exchange.note(
            fault: "the value of the \"\(template)\" key is more than \(longest) bytes: \"\(shown)\"")
        return false
    }

    private static func name(_ zone: Int, _ exchange: Exchange) -> String {
        exchange.runtime.configuration.limitZones[zone].name
    }

    private static func refuse(_ exchange: Exchange, status: Int) -> RouteDecision {
        // As in nginx, nobody is answered with these, and no `error_page` is for them.
        guard status == 408 || status == 444 || status == 499 else { return fail(exchange, status: status) }
        return close(exchange, status: status)
    }

    // MARK: limit_req

    private static func limitRequests(_ exchange: Exchange) -> RouteDecision? {
        let settings = exchange.location.settings
        let count = settings.values.limits.requests.count
        guard count > 0 else { return nil }
        let now = exchange.clock.now.monotonic
        var key = exchange.takeBuffer()
        defer { exchange.giveBack(key) }
        // Of all but the last limit, none counts before all have let the request in.
        var notes = NotedBuckets(now: now)
        var wait = LongestWait()
        var isCounted = false
        for index in 0..<count {
            let limit = settings.values.limits.requests[index]
            guard hasKey(limit.zone, exchange, upTo: longestRequestKey, in: &key),
                let (zone, rate) = requestZone(limit.zone, exchange)
            else { continue }
            isCounted = true
            switch zone.admit(key, rate: rate, burst: limit.burst, accounts: index == count - 1, now: now) {
            case .accounted(let excess): wait.consider(excess, of: limit, rate: rate)
            case .noted(let bucket): notes.add(bucket, in: zone, rate: rate, limit)
            case .refused(let excess):
                notes.release()
                return refuse(exchange, limit, excess: excess)
            case .noRoom:
                notes.release()
                exchange.note(
                    fault: "could not allocate node in limit_req zone \"\(name(limit.zone, exchange))\"",
                    level: .alert)
                return refused(exchange, by: limit.zone)
            }
        }
        guard isCounted else { return nil }
        notes.settle(&wait)
        guard let limit = wait.limit else {
            exchange.requestLimitStatus = .passed
            return nil
        }
        return delay(exchange, limit, excess: wait.excess, milliseconds: wait.milliseconds)
    }

    private static func requestZone(_ zone: Int, _ exchange: Exchange) -> (RequestZone, rate: Int)? {
        guard case .requests(let table) = exchange.runtime.limitZones[zone],
            case .requests(let rate) = exchange.runtime.configuration.limitZones[zone].kind
        else { return nil }
        return (table, rate)
    }

    private static func refuse(
        _ exchange: Exchange, _ limit: RequestLimit, excess: Int
    ) -> RouteDecision? {
        let limits = exchange.location.settings.values.limits
        exchange.note(
            fault:
                "limiting requests\(limits.requestDryRun ? ", dry run" : ""), excess: \(thousandths(excess)) by zone \"\(name(limit.zone, exchange))\"",
            level: limits.requestLogLevel)
        return refused(exchange, by: limit.zone)
    }

    private static func refused(_ exchange: Exchange, by zone: Int) -> RouteDecision? {
        let limits = exchange.location.settings.values.limits
        exchange.requestLimitStatus = limits.requestDryRun ? .rejectedInDryRun : .rejected
        exchange.limitOutcomes.append(LimitOutcome(zone: zone, status: exchange.requestLimitStatus))
        return limits.requestDryRun ? nil : refuse(exchange, status: limits.requestStatus)
    }

    private static func delay(
        _ exchange: Exchange, _ limit: RequestLimit, excess: Int, milliseconds: Int
    ) -> RouteDecision? {
        let limits = exchange.location.settings.values.limits
        exchange.note(
            fault:
                "delaying request\(limits.requestDryRun ? ", dry run" : ""), excess: \(thousandths(excess)), by zone \"\(name(limit.zone, exchange))\"",
            level: limits.requestLogLevel == .info
                ? .info : LogLevel(rawValue: limits.requestLogLevel.rawValue - 1) ?? .info)
        exchange.requestLimitStatus = limits.requestDryRun ? .delayedInDryRun : .delayed
        exchange.limitOutcomes.append(LimitOutcome(zone: limit.zone, status: exchange.requestLimitStatus))
        return limits.requestDryRun ? nil : .delay(milliseconds: Int64(milliseconds))
    }

    /// `1.042`
    private static func thousandths(_ number: Int) -> String {
        var text: [UInt8] = []
        ByteText.appendThousandths(Int64(number), to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    // MARK: limit_conn

    private static func limitConnections(_ exchange: Exchange) -> RouteDecision? {
        let settings = exchange.location.settings
        var key = exchange.takeBuffer()
        defer { exchange.giveBack(key) }
        for index in settings.values.limits.connections.indices {
            let limit = settings.values.limits.connections[index]
            guard hasKey(limit.zone, exchange, upTo: longestConnectionKey, in: &key),
                case .connections(let zone) = exchange.runtime.limitZones[limit.zone]
            else { continue }
            exchange.connectionLimitStatus = .passed
            switch zone.admit(key, limit: limit.count) {
            case .counted(let place): exchange.counted.add(place, in: zone)
            case .tooMany:
                let dryRun = settings.values.limits.connectionDryRun ? ", dry run," : ""
                exchange.note(
                    fault: "limiting connections\(dryRun) by zone \"\(name(limit.zone, exchange))\"",
                    level: settings.values.limits.connectionLogLevel)
                return refuseConnection(exchange, by: limit.zone)
            case .noRoom:
                exchange.note(
                    fault:
                        "ngx_slab_alloc() failed: no memory in limit_conn_zone \"\(name(limit.zone, exchange))\"",
                    level: .crit)
                return refuseConnection(exchange, by: limit.zone)
            }
        }
        return nil
    }

    private static func refuseConnection(_ exchange: Exchange, by zone: Int) -> RouteDecision? {
        exchange.counted.release()
        let limits = exchange.location.settings.values.limits
        exchange.connectionLimitStatus = limits.connectionDryRun ? .rejectedInDryRun : .rejected
        exchange.limitOutcomes.append(LimitOutcome(zone: zone, status: exchange.connectionLimitStatus))
        return limits.connectionDryRun ? nil : refuse(exchange, status: limits.connectionStatus)
    }
}

/// The longest that a limit has the request wait, and which that is.
private struct LongestWait {
    private(set) var milliseconds = 0
    private(set) var excess = 0
    private(set) var limit: RequestLimit?

    mutating func consider(_ excess: Int, of limit: RequestLimit, rate: Int) {
        guard excess > limit.delay else { return }
        let (product, overflow) = (excess - limit.delay).multipliedReportingOverflow(by: 1000)
        let time = (overflow ? Int.max : product) / rate
        guard time > milliseconds else { return }
        milliseconds = time
        self.excess = excess
        self.limit = limit
    }
}

/// Buckets that a request has noted, until it is known whether it goes on.
private struct NotedBuckets {
    private var notes: [(bucket: Int, zone: RequestZone, rate: Int, limit: RequestLimit)] = []
    private let now: Int64

    init(now: Int64) { self.now = now }

    mutating func add(_ bucket: Int, in zone: RequestZone, rate: Int, _ limit: RequestLimit) {
        notes.append((bucket, zone, rate, limit))
    }

    func release() { for note in notes { note.zone.release(note.bucket) } }

    /// The request goes on: the last of its limits counts first, as in nginx.
    func settle(_ wait: inout LongestWait) {
        for note in notes.reversed() {
            let excess = note.zone.settle(note.bucket, rate: note.rate, now: now)
            wait.consider(excess, of: note.limit, rate: note.rate)
        }
    }
}
