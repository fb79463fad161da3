package import Config

/// What an exchange leaves behind while its tunnel is open: enough for its line in the access logs, in one small
/// allocation.
///
/// Tunnels stay open for days, by the thousand; their request and response heads would be most of what each of
/// them costs. So the values of those variables that the access logs can ask for are kept instead, if they are
/// fixed by now; those that go on changing, such as `$bytes_sent`, are made from the numbers of the thawed exchange.
package struct FrozenExchange {
    package let runtime: RuntimeConfiguration
    package let server: VirtualServer
    package let location: Location
    /// Counters, times and tries, then the values by their variables. Numbers have their low 7 bits first.
    private let bytes: [UInt8]

    /// Where there is no access log there is nothing to keep.
    ///
    /// - Parameter exchange: one whose head was answered, 101 and all.
    init(_ exchange: Exchange) {
        runtime = exchange.runtime
        server = exchange.server
        location = exchange.location
        guard !location.settings.values.accessLogs.isEmpty else {
            bytes = []
            return
        }
        var writer = FrozenWriter()
        for number in exchange.frozenNumbers { writer.append(number) }
        writer.append(Int64(exchange.attempts.count))
        for attempt in exchange.attempts {
            writer.append(attempt.address[...])
            for number in attempt.frozenNumbers { writer.append(number) }
        }
        var value: [UInt8] = []
        for variable in exchange.runtime.loggedVariables where exchange.keepsWhenFrozen(variable) {
            value.removeAll(keepingCapacity: true)
            let isFound = exchange.append(variable, to: &value)
            writer.append(Int64(variable.index))
            writer.append(isFound ? 1 : 0)
            if isFound { writer.append(value[...]) }
        }
        // A copy of the slice is allocated without room to grow.
        bytes = Array(writer.bytes[...])
    }

    /// How many bytes it takes besides the tunnel's own record.
    package var byteCount: Int { bytes.count }

    /// Makes `exchange` stand for the frozen one: its access-log lines and the variables in them come out as they
    /// would have then. The driver goes on to bring counters and times up to date.
    package func thaw(into exchange: Exchange) {
        exchange.reset(runtime: runtime)
        exchange.server = server
        exchange.location = location
        guard !bytes.isEmpty else { return }
        var reader = FrozenReader(bytes: bytes)
        exchange.setFrozenNumbers { reader.number() }
        for _ in 0..<max(reader.number(), 0) {
            var attempt = UpstreamAttempt(address: Array(bytes[reader.text()]), startedAt: Moment())
            attempt.setFrozenNumbers { reader.number() }
            exchange.attempts.append(attempt)
        }
        var values = ThawedValues(bytes: bytes)
        while !reader.isAtEnd {
            let variable = VariableID(index: Int(reader.number()))
            values.add(variable, reader.number() == 0 ? nil : reader.text())
        }
        exchange.thawed = values
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
    package func freeze() -> FrozenExchange { FrozenExchange(self) }

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

    fileprivate var frozenNumbers: [Int64] {
        [
            startedAt.unix, startedAt.monotonic, client.connectedAt.unix, client.connectedAt.monotonic,
            Int64(status), sentHeadBytes, sentBodyBytes, receivedHeadBytes, receivedBodyBytes,
            isComplete ? 1 : 0,
        ]
    }

    fileprivate func setFrozenNumbers(_ next: () -> Int64) {
        startedAt = Moment(unix: next(), monotonic: next())
        client = ClientFacts()
        client.connectedAt = Moment(unix: next(), monotonic: next())
        status = Int(next())
        sentHeadBytes = next()
        sentBodyBytes = next()
        receivedHeadBytes = next()
        receivedBodyBytes = next()
        isComplete = next() != 0
    }
}

extension UpstreamAttempt {
    fileprivate var frozenNumbers: [Int64] {
        [
            startedAt.unix, startedAt.monotonic, Int64(status), Int64(connectTime), Int64(headerTime),
            Int64(responseTime), bytesSent, bytesReceived, responseLength, followsRedirect ? 1 : 0,
        ]
    }

    fileprivate mutating func setFrozenNumbers(_ next: () -> Int64) {
        startedAt = Moment(unix: next(), monotonic: next())
        status = Int(next())
        connectTime = Int(next())
        headerTime = Int(next())
        responseTime = Int(next())
        bytesSent = next()
        bytesReceived = next()
        responseLength = next()
        followsRedirect = next() != 0
    }
}

/// Numbers in as few bytes as they need, and texts with their lengths before them.
private struct FrozenWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ number: Int64) {
        // The sign goes to the lowest bit, so that -1 is short as well.
        var rest = UInt64(bitPattern: number << 1) ^ UInt64(bitPattern: number >> 63)
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    mutating func append(_ text: ArraySlice<UInt8>) {
        append(Int64(text.count))
        bytes.append(contentsOf: text)
    }
}

private struct FrozenReader {
    private let bytes: [UInt8]
    private var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position >= bytes.count }

    mutating func number() -> Int64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < bytes.count, shift < 64 {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { break }
            shift += 7
        }
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    mutating func text() -> Range<Int> {
        let count = min(max(Int(number()), 0), bytes.count - position)
        defer { position += count }
        return position..<position + count
    }
}
