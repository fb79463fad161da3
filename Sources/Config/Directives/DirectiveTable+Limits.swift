extension DirectiveTable {
    /// How many requests and connections are let in.
    static let limits: [Directive] = [
        Directive(
            "limit_req_zone", "key zone=name:size rate=rate", in: .http, takes: .exactly(3),
            "Where requests are counted by key, for `limit_req`: so many (10r/s, 30r/m) are let in. A state takes 128 bytes of the "
                + "zone, with a key of up to 48 bytes; where there is no room, the one that was used least recently gives way.",
            repeats: true, phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            try addZone(.requests(rate: 1000), call, scope.compilation)
        },
        Directive(
            "limit_req", "zone=name [burst=number] [nodelay | delay=number]", in: .levels,
            takes: .between(1, 3),
            "Has requests wait that come faster than the zone's rate, and refuses those that are more than burst ahead of it. Those "
                + "within delay, and with nodelay all, are not kept waiting.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.settings.limits.requests = [] }
            let limit = try requestLimit(call, scope.compilation)
            guard !scope.settings.limits.requests.contains(where: { $0.zone == limit.zone }) else {
                throw call.failure("is duplicate: its zone has another at this level")
            }
            scope.settings.limits.requests.append(limit)
        },
        status("limit_req_status", \.limits.requestStatus, "What `limit_req` refuses requests with."),
        logLevel(
            "limit_req_log_level", \.limits.requestLogLevel,
            "How the error log is told of what `limit_req` refuses; of what waits it is one level lower."),
        .flag(
            "limit_req_dry_run", \.limits.requestDryRun, default: "off",
            "Counts and tells the error log, but lets all requests in at once."),
        Directive(
            "limit_conn_zone", "key zone=name:size", in: .http, takes: .two,
            "Where requests under way are counted by key, for `limit_conn`. A state takes 64 bytes of the zone, with a key of up to "
                + "28 bytes; where there is no room, requests are refused.", repeats: true, phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            try addZone(.connections, call, scope.compilation)
        },
        Directive(
            "limit_conn", "zone number", in: .levels, takes: .two,
            "Refuses a request where so many of its key are under way. A WebSocket is for as long as it is open, each stream of "
                + "HTTP/2 is one.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.settings.limits.connections = [] }
            let zone = try zone(call.arguments[0], .connections, call, scope.compilation)
            guard !scope.settings.limits.connections.contains(where: { $0.zone == zone }) else {
                throw call.failure("is duplicate: its zone has another at this level")
            }
            let count = try call.number(call.arguments[1], in: 1...65_535)
            scope.settings.limits.connections.append(ConnectionLimit(zone: zone, count: count))
        },
        status("limit_conn_status", \.limits.connectionStatus, "What `limit_conn` refuses requests with."),
        logLevel(
            "limit_conn_log_level", \.limits.connectionLogLevel,
            "How the error log is told of what `limit_conn` refuses."),
        .flag(
            "limit_conn_dry_run", \.limits.connectionDryRun, default: "off",
            "Counts and tells the error log, but refuses nothing."),
    ]

    private static func status(
        _ name: String, _ setting: Directive.Setting<Int>, _ note: String
    ) -> Directive {
        Directive(name, "code", in: .levels, takes: .one, default: "503", note) {
            scope, call throws(ConfigDiagnostic) in
            scope.settings[keyPath: setting] = try call.number(call.arguments[0], in: 400...599)
        }
    }

    private static func logLevel(
        _ name: String, _ setting: Directive.Setting<LogLevel>, _ note: String
    ) -> Directive {
        Directive(name, "info | notice | warn | error", in: .levels, takes: .one, default: "error", note) {
            scope, call throws(ConfigDiagnostic) in
            scope.settings[keyPath: setting] = try call.choice(
                call.arguments[0], ignoringCase: true,
                ["info": .info, "notice": .notice, "warn": .warn, "error": .error])
        }
    }

    private static func requestLimit(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> RequestLimit {
        var limit: RequestLimit?
        var burst = 0
        var delay = 0
        for word in call.arguments {
            if let name = word.value(after: "zone=") {
                limit = RequestLimit(zone: try zone(name, .requests(rate: 0), call, compilation))
            } else if let number = word.value(after: "burst=") {
                burst = thousandths(try call.number(number, in: 1...Int.max))
            } else if let number = word.value(after: "delay=") {
                delay = thousandths(try call.number(number, in: 1...Int.max))
            } else if word.text == "nodelay" {
                delay = Int.max
            } else {
                throw call.failure(
                    found: word, expected: "\"zone=name\", \"burst=number\", \"delay=number\" or \"nodelay\"")
            }
        }
        guard var limit else { throw call.failure("must have \"zone\" parameter") }
        limit.burst = burst
        limit.delay = delay
        return limit
    }

    private static func thousandths(_ number: Int) -> Int {
        let (product, overflow) = number.multipliedReportingOverflow(by: 1000)
        return overflow ? Int.max : product
    }

    /// The position of the zone that is named.
    private static func zone(
        _ name: Word, _ kind: LimitZoneSettings.Kind, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> Int {
        let zones = compilation.limitZones
        guard let index = zones.firstIndex(where: { $0.name == name.text }) else {
            let known = zones.filter { $0.kind.directive == kind.directive }.map(\.name)
            let hint = Spelling.hint(for: name.text, among: known)
            throw call.failure(
                "found the zone \"\(name.text)\", expected one that a \"\(kind.directive)\" defines\(hint)",
                at: name)
        }
        guard zones[index].kind.directive == kind.directive else {
            throw call.failure(
                "the zone \"\(name.text)\" is of \"\(zones[index].kind.directive)\", expected one of \"\(kind.directive)\"",
                at: name)
        }
        return index
    }

    private static func addZone(
        _ kind: LimitZoneSettings.Kind, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) {
        let key = call.arguments[0]
        guard let word = call.arguments.dropFirst().last(where: { $0.value(after: "zone=") != nil }),
            let zone = word.value(after: "zone=")
        else { throw call.failure("must have \"zone\" parameter") }
        let parts = zone.bytes.split(
            separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else {
            throw call.failure(found: word, expected: "\"zone=name:size\"")
        }
        let name = String(decoding: parts[0], as: UTF8.self)
        if let known = compilation.limitZones.first(where: { $0.name == name }) {
            throw call.failure(
                "the zone \"\(name)\" is already bound to key \"\(known.keyText)\" by \"\(known.kind.directive)\"",
                at: word)
        }
        // Its uses are not to be reported as well where it is wrong.
        let index = compilation.limitZones.count
        compilation.limitZones.append(
            LimitZoneSettings(name: name, kind: kind, key: Template(literal: []), keyText: key.text))
        compilation.limitZones[index].key = try compilation.template(key, in: call.name)
        let size = try call.size(zone.replacing(Array(parts[1])))
        guard size >= 32 << 10 else {
            throw call.failure(
                "zone \"\(name)\" is too small: found \(size) bytes, expected 32k or more", at: word)
        }
        compilation.limitZones[index].size = size
        try compilation.noteSharedZone(name, of: "\(kind.directive)", size: size, call, word)
        for other in call.arguments.dropFirst() where other.value(after: "zone=") == nil {
            guard case .requests = kind, let rate = other.value(after: "rate=") else {
                throw call.failure(
                    found: other,
                    expected: "\"zone=name:size\"\(kind == .connections ? "" : " or \"rate=rate\"")")
            }
            compilation.limitZones[index].kind = .requests(rate: try self.rate(rate, of: other, call))
        }
    }

    /// In thousandths of a request a second.
    private static func rate(
        _ rate: Word, of word: Word, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) -> Int {
        var digits = rate.bytes[...]
        let unit = digits.suffix(3)
        if unit.elementsEqual("r/s".utf8) || unit.elementsEqual("r/m".utf8) { digits = digits.dropLast(3) }
        guard let number = ConfigValue.number(digits), number > 0 else {
            throw call.failure(found: word, expected: "a rate such as 10r/s or 30r/m")
        }
        return unit.elementsEqual("r/m".utf8) ? thousandths(number) / 60 : thousandths(number)
    }
}
