package import Config
package import Wire

/// What an exchange leaves behind while its tunnel is open, in one small allocation.
///
/// Tunnels stay open for days, by the thousand; their request and response heads would be most of what each of
/// them costs. Where no script looks at a tunnel, only its line in the access logs is to come: the values of those
/// variables that the logs can ask for are kept, if they are fixed by now; those that go on changing, such as
/// `$bytes_sent`, are made from the numbers of the thawed exchange. Scripts may ask for anything, so for them all of
/// it is kept, deflated: see `ExchangeFreezer`.
package struct FrozenExchange {
    package let runtime: RuntimeConfiguration
    package let server: VirtualServer
    package let location: Location
    private let content: Content

    private enum Content {
        /// There is no access log to keep anything for.
        case nothing
        /// Counters, times and tries, then the values by their variables.
        case values([UInt8])
        /// As `Exchange.pack` has it, deflated.
        case everything([UInt8])
        /// The same, where the client speaks TLS: what that knows goes on with the connection.
        case secured(Secured)
    }

    /// Apart, so that tunnels without TLS have no room for it.
    private final class Secured {
        let bytes: [UInt8]
        let tls: any ClientTLS

        init(_ bytes: [UInt8], _ tls: any ClientTLS) {
            self.bytes = bytes
            self.tls = tls
        }
    }

    /// Keeps what the access logs can ask for.
    ///
    /// - Parameter exchange: one whose head was answered, 101 and all.
    init(_ exchange: Exchange) {
        runtime = exchange.runtime
        server = exchange.server
        location = exchange.location
        guard !location.settings.values.accessLogs.isEmpty else {
            content = .nothing
            return
        }
        var writer = PackWriter()
        exchange.packForLogs(&writer)
        var value: [UInt8] = []
        for variable in exchange.runtime.loggedVariables where exchange.keepsWhenFrozen(variable) {
            value.removeAll(keepingCapacity: true)
            let isFound = exchange.append(variable, to: &value)
            writer.append(Int64(variable.index))
            writer.append(isFound ? 1 : 0)
            if isFound { writer.append(value[...]) }
        }
        content = .values(Self.tight(writer.bytes))
    }

    /// Keeps everything.
    fileprivate init(_ exchange: Exchange, _ freezer: ExchangeFreezer) {
        runtime = exchange.runtime
        server = exchange.server
        location = exchange.location
        let bytes = Self.tight(freezer.deflated(exchange))
        content = exchange.client.tls.map { .secured(Secured(bytes, $0)) } ?? .everything(bytes)
    }

    /// A copy without room to grow.
    fileprivate static func tight(_ bytes: [UInt8]) -> [UInt8] {
        var copy: [UInt8] = []
        copy.reserveCapacity(bytes.count)
        copy.append(contentsOf: bytes)
        return copy
    }

    /// How many bytes it takes besides the tunnel's own record.
    package var byteCount: Int {
        switch content {
        case .nothing: 0
        case .values(let bytes), .everything(let bytes): bytes.count
        case .secured(let record): record.bytes.count
        }
    }

    /// Makes `exchange` stand for the frozen one: its access-log lines and the variables in them come out as they
    /// would have then. The driver goes on to bring counters and times up to date.
    package func thaw(into exchange: Exchange) {
        exchange.reset(runtime: runtime)
        exchange.server = server
        exchange.location = location
        guard case .values(let bytes) = content else { return }
        exchange.client = ClientFacts()
        var reader = PackReader(bytes: bytes)
        exchange.packForLogs(&reader)
        var values = ThawedValues(bytes: bytes)
        while !reader.isAtEnd {
            let variable = VariableID(index: Int(reader.number()))
            values.add(variable, reader.number() == 0 ? nil : reader.text())
        }
        exchange.thawed = values
    }

    /// As above, for one that may have kept everything: then nothing tells `exchange` from what it was, but for its
    /// references to scripts and to the plane of its WebSocket.
    package func thaw(into exchange: Exchange, _ freezer: ExchangeFreezer) {
        thaw(into: exchange)
        switch content {
        case .nothing, .values: return
        case .everything(let bytes): freezer.inflate(bytes, into: exchange)
        case .secured(let record):
            freezer.inflate(record.bytes, into: exchange)
            exchange.client.tls = record.tls
        }
    }
}

/// Freezes exchanges of one configuration as a whole.
///
/// What clients send to a location is much the same, and so is what they are answered. So the first exchange of each
/// location that is frozen is the sample that the others are deflated after, which leaves of each what it has for
/// itself: keys, ports and times above all.
package final class ExchangeFreezer {
    private let deflater: RecordDeflater
    private var writer = PackWriter()
    private var output: [UInt8] = []
    /// By their locations, which the configuration keeps as long as what is frozen here.
    private var samples: [ObjectIdentifier: [UInt8]] = [:]

    /// `deflater` may be any that belongs to the worker.
    package init(_ deflater: RecordDeflater) { self.deflater = deflater }

    /// - Parameter exchange: one of the configuration whose head was answered, and which no call of a script has in
    ///   use.
    /// - Returns: what the exchange comes back from.
    package func freeze(_ exchange: Exchange) -> FrozenExchange { FrozenExchange(exchange, self) }

    fileprivate func deflated(_ exchange: Exchange) -> [UInt8] {
        writer.removeAll()
        exchange.pack(&writer)
        let record = writer.bytes
        let location = ObjectIdentifier(exchange.location)
        let sample = samples[location] ?? record
        if samples[location] == nil { samples[location] = FrozenExchange.tight(record) }
        output.clear()
        deflater.append(deflating: record.span, after: sample.span, to: &output)
        return output
    }

    fileprivate func inflate(_ bytes: [UInt8], into exchange: Exchange) {
        let sample = samples[ObjectIdentifier(exchange.location)] ?? []
        output.clear()
        deflater.append(inflating: bytes.span, after: sample.span, to: &output)
        exchange.client = ClientFacts()
        var reader = PackReader(bytes: output)
        exchange.pack(&reader)
    }
}

/// The values that a frozen exchange kept.
struct ThawedValues {
    struct Place {
        var variable: VariableID
        /// `nil` for a variable that had no value.
        var range: Range<Int>?
    }

    private let bytes: [UInt8]
    private var places: [Place] = []

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func add(_ variable: VariableID, _ range: Range<Int>?) {
        places.append(Place(variable: variable, range: range))
    }

    func place(of variable: VariableID) -> Place? { places.first { $0.variable == variable } }

    func append(_ place: Place, to out: inout [UInt8]) -> Bool {
        guard let range = place.range else { return false }
        out.append(contentsOf: bytes[range])
        return true
    }
}

extension Exchange {
    /// For a tunnel without scripts.
    ///
    /// - Returns: what the lines in the access logs are made from.
    package func freeze() -> FrozenExchange { FrozenExchange(self) }

    /// Of a thawed exchange: the value that was kept of a variable, if an access log asks for it.
    package func keptValue(of name: String) -> [UInt8]? {
        let variables = runtime.configuration.variables
        guard let thawed,
            let variable = runtime.loggedVariables.first(where: { variables[$0.index].name == name }),
            let place = thawed.place(of: variable)
        else { return nil }
        var value: [UInt8] = []
        return thawed.append(place, to: &value) ? value : nil
    }

    /// Whether the value, rather than what it is made from, is kept.
    fileprivate func keepsWhenFrozen(_ variable: VariableID) -> Bool {
        guard runtime.evaluators.indices.contains(variable.index) else { return false }
        switch runtime.evaluators[variable.index] {
        case .row(_, let timing): return timing == .fixed
        case .family, .assigned: return true
        // One not yet looked up may depend on what goes on changing.
        case .map(let index): return mapValues.has(index)
        case .assignedOverMap(let index, let slot): return assigned.has(slot) || mapValues.has(index)
        case .script(_, let slot): return slot.map(assigned.has) ?? false
        case .unknown: return false
        }
    }

    /// What changing values are made from.
    fileprivate func packForLogs(_ pack: inout some Packing) {
        packNumbers(&pack)
        packAttempts(&pack)
    }
}
