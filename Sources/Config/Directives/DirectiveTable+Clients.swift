extension DirectiveTable {
    /// Variables that sort clients: by where they are, or by chance.
    static let clients: [Directive] = [
        Directive(
            "geo", "[$address] $variable { network value; … }", in: .http, takes: .between(1, 2),
            "Makes a variable whose value is that of the smallest network which holds the address, that of `$remote_addr` if "
                + "none is given, or `default`. `delete network;` takes one out again. With `ranges;` at first, "
                + "`first-last` stand in place of networks. `proxy network;` names peers whose `X-Forwarded-For` is "
                + "believed, by `proxy_recursive;` as by real_ip_recursive.",
            form: .block, repeats: true, phase: .tables
        ) { scope, call throws(ConfigDiagnostic) in
            var address = Word(bytes: Array("$remote_addr".utf8), position: call.position)
            if call.arguments.count == 2 {
                address = call.arguments[0]
                _ = try variableName(address, call)
            }
            let name = call.arguments[call.arguments.count - 1]
            let table = try table(named: name, of: address, call, scope.compilation)
            try define(GeoReader(table: table, call: call), &scope)
        },
        Directive(
            "split_clients", "text $variable { percentage% value; … }", in: .http, takes: .two,
            "Makes a variable that has each value for so many of a hundred texts, by their hash; `*` stands for the rest.",
            form: .block, repeats: true, phase: .tables
        ) { scope, call throws(ConfigDiagnostic) in
            let table = try table(named: call.arguments[1], of: call.arguments[0], call, scope.compilation)
            try define(ShareReader(table: table, call: call), &scope)
        },
    ]
}

/// Reads the lines of a `geo` block.
private struct GeoReader: MapBlockReader {
    private var table: MapTable
    let call: DirectiveUse
    private var networks = NetworkTable()
    private var ranges = AddressRanges()
    private var usesRanges = false
    private var hasEntries = false
    private var hasDefault = false
    private var proxies: [AccessRule.Network] = []
    private var isRecursive = false

    init(table: MapTable, call: DirectiveUse) {
        self.table = table
        self.call = call
    }

    var finished: MapTable {
        let proxies =
            proxies.isEmpty ? nil : RealIP(trusted: proxies, source: .forwardedFor, isRecursive: isRecursive)
        var finished = table
        finished.search =
            usesRanges ? .ranges(ranges, proxies: proxies) : .networks(networks, proxies: proxies)
        return finished
    }

    mutating func read(_ entry: DirectiveNode, _ compilation: Compilation) throws(ConfigDiagnostic) {
        if entry.isWord("ranges") {
            guard !hasEntries else {
                throw failure(entry, "found \"ranges\" behind other lines, expected it to be the first")
            }
            usesRanges = true
            return
        }
        if entry.isWord("proxy_recursive") {
            isRecursive = true
            return
        }
        let value = try value(of: entry)
        switch entry.name.text {
        case "proxy": proxies.append(try network(value, compilation))
        case "default":
            if hasDefault { compilation.report(warning(entry.name, "found a duplicate \"default\"")) }
            hasDefault = true
            table.defaultValue = Template(literal: value.bytes)
        case "delete":
            hasEntries = true
            try remove(value, compilation)
        default:
            hasEntries = true
            try enter(Template(literal: value.bytes), at: entry.name, compilation)
        }
    }

    private mutating func enter(
        _ value: Template, at word: Word, _ compilation: Compilation
    ) throws(ConfigDiagnostic) {
        guard usesRanges else {
            guard case .cidr(let network, let bits) = try network(word, compilation) else { return }
            if networks.enter(value, at: network, bits: bits) != nil { noteDuplicate(word, compilation) }
            return
        }
        let (first, last) = try range(word)
        do throws(AddressRanges.Overlap) {
            guard let old = try ranges.enter(.init(first: first, last: last, value: value)) else { return }
            if old.first == first, old.last == last { return noteDuplicate(word, compilation) }
            compilation.report(
                warning(
                    word,
                    "found \"\(word.text)\", some of which is in \"\(Self.text(old))\": the last one counts"))
        } catch {
            throw call.failure(
                "found \"\(word.text)\", some of which is in \"\(Self.text(error.entry))\"", at: word)
        }
    }

    private mutating func remove(_ word: Word, _ compilation: Compilation) throws(ConfigDiagnostic) {
        let wasThere: Bool
        if usesRanges {
            let (first, last) = try range(word)
            wasThere = ranges.remove(first: first, last: last)
        } else {
            guard case .cidr(let network, let bits) = try network(word, compilation) else { return }
            wasThere = networks.enter(nil, at: network, bits: bits) != nil
        }
        if !wasThere {
            compilation.report(warning(word, "found no \"\(word.text)\" before this that could be deleted"))
        }
    }

    private func noteDuplicate(_ word: Word, _ compilation: Compilation) {
        compilation.report(warning(word, "found \"\(word.text)\" a second time, the last one counts"))
    }

    private func warning(_ word: Word, _ message: String) -> ConfigDiagnostic {
        call.warning(message, at: word)
    }

    private func network(
        _ word: Word, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> AccessRule.Network {
        guard let network = try call.network(word, compilation) else {
            throw call.failure(found: word, expected: "an address or a network such as 10.0.0.0/8")
        }
        return network
    }

    /// `first-last`
    private func range(_ word: Word) throws(ConfigDiagnostic) -> (UInt32, UInt32) {
        let ends = word.bytes.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
            .map { NetworkAddress.ipv4($0).map { UInt32(networkOrder: $0) } }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last else {
            throw call.failure(found: word, expected: "a range such as 10.0.0.1-10.0.0.9")
        }
        return (first, last)
    }

    private static func text(_ range: AddressRanges.Entry) -> String {
        "\(text(range.first))-\(text(range.last))"
    }

    private static func text(_ address: UInt32) -> String {
        stride(from: UInt32(24), through: 0, by: -8).map { String(address >> $0 & 255) }.joined(
            separator: ".")
    }
}

/// Reads the lines of a `split_clients` block.
private struct ShareReader: MapBlockReader {
    private var table: MapTable
    let call: DirectiveUse
    private var shares: [MapSearch.Share] = []
    /// In hundredths of a percent.
    private var sum = 0
    private var limit: UInt64 = 0

    init(table: MapTable, call: DirectiveUse) {
        self.table = table
        self.call = call
    }

    var finished: MapTable {
        var finished = table
        finished.search = .shares(shares)
        return finished
    }

    mutating func read(_ entry: DirectiveNode, _ compilation: Compilation) throws(ConfigDiagnostic) {
        let value = Template(literal: try value(of: entry).bytes)
        let isRest = entry.name.text == "*"
        let share = isRest ? Self.whole - sum : try Self.hundredths(entry.name, call)
        guard sum + share <= Self.whole else { throw failure(entry, "found more than 100% in all") }
        sum += share
        limit += UInt64(share) * UInt64(UInt32.max) / UInt64(Self.whole)
        shares.append(.init(limit: isRest ? nil : limit, value: value))
    }

    private static let whole = 10_000

    /// A number with at most two digits behind the point, and a percent sign.
    private static func hundredths(_ word: Word, _ call: DirectiveUse) throws(ConfigDiagnostic) -> Int {
        let parts = word.bytes.dropLast().split(
            separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let digits = parts.count == 2 ? Array(parts[1]) : []
        guard word.bytes.last == UInt8(ascii: "%"), parts.count <= 2, digits.count <= 2,
            let number = ConfigValue.number(
                Array(parts[0]) + digits + [UInt8](repeating: UInt8(ascii: "0"), count: 2 - digits.count)),
            number > 0
        else { throw call.failure(found: word, expected: "a percentage such as 0.5%, or \"*\"") }
        return number
    }
}
