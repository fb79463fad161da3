internal import Config
internal import Wire

/// What `expires` makes of a response's `Expires` and `Cache-Control`.
struct ExpiresPolicy: Equatable {
    /// The value of `Expires`.
    var expires: [UInt8]
    /// The value of `Cache-Control`, which takes the place of any that the response has.
    var cacheControl: [UInt8]

    /// What `setting` comes to for a response of the exchange, whose `Last-Modified`, where it has one, is
    /// `lastModified` in seconds since 1970. `nil` when the fields are left alone.
    init?(_ setting: Expires, lastModified: Int64?, exchange: Exchange) {
        let now = exchange.clock.now.unix / 1000
        switch setting {
        case .off: return nil
        case .computed(let template):
            var value: [UInt8] = []
            exchange.render(template, into: &value)
            guard let parsed = Self.parse(value) else { return nil }
            self.init(parsed, lastModified: lastModified, exchange: exchange)
        case .computedModified(let template):
            var value: [UInt8] = []
            exchange.render(template, into: &value)
            guard case .after(let seconds)? = Self.parse(value) else { return nil }
            self.init(.modifiedPlus(seconds), lastModified: lastModified, exchange: exchange)
        case .epoch: self.init(fixed: Self.epoch, "no-cache")
        case .max: self.init(fixed: Self.endOfTime, "max-age=315360000")
        case .after(let seconds):
            self.init(at: now.addingSaturated(Int64(seconds)), age: Int64(seconds), isNegative: seconds < 0)
        case .modifiedPlus(let seconds):
            let at = (lastModified ?? now).addingSaturated(Int64(seconds))
            self.init(at: at, age: at - now, isNegative: seconds < 0)
        case .daily(let second):
            let local = now + Int64(exchange.clock.zoneOffset)
            var wait = (Int64(second) - local % 86_400) % 86_400
            if wait <= 0 { wait += 86_400 }
            self.init(at: now + wait, age: wait, isNegative: false)
        }
    }

    private init(fixed date: StaticString, _ cacheControl: StaticString) {
        expires = Array(date.description.utf8)
        self.cacheControl = Array(cacheControl.description.utf8)
    }

    private init(at date: Int64, age: Int64, isNegative: Bool) {
        expires = []
        HTTPDate.append(unixSeconds: date, to: &expires)
        if isNegative || age < 0 {
            cacheControl = Array("no-cache".utf8)
        } else {
            cacheControl = Array("max-age=".utf8)
            ASCII.appendDecimal(age, to: &cacheControl)
        }
    }

    /// The forms that a value may come out in; `nil` for others and for `off`, which change nothing.
    static func parse(_ value: [UInt8]) -> Expires? {
        switch String(decoding: value, as: UTF8.self) {
        case "epoch": return .epoch
        case "max": return .max
        default: break
        }
        guard let first = value.first else { return nil }
        if first == ByteText.at {
            guard let time = seconds(value, from: 1), time <= 86_400 else { return nil }
            return .daily(time)
        }
        if first == ByteText.dash { return seconds(value, from: 1).map { .after(-$0) } }
        return seconds(value, from: first == ByteText.plus ? 1 : 0).map { .after($0) }
    }

    /// nginx's times, in seconds: `1h30m`, `15`, `1y`. Units come in descending order, each at most once.
    private static func seconds(_ value: [UInt8], from start: Int) -> Int? {
        guard start < value.count else { return nil }
        var total = 0
        var lastUnit = Int.max
        var index = start
        while index < value.count {
            let digits = index
            while index < value.count, value[index] &- ByteText.zero < 10 { index += 1 }
            guard let number = ASCII.decimal(value.span, digits..<index).map({ Int($0) }) else { return nil }
            var unit = 1
            if index < value.count {
                guard let known = units.first(where: { $0.letter == value[index] }) else { return nil }
                unit = known.seconds
                index += 1
            }
            guard unit < lastUnit else { return nil }
            lastUnit = unit
            let (product, overflow) = number.multipliedReportingOverflow(by: unit)
            let (sum, carry) = total.addingReportingOverflow(product)
            if overflow || carry || sum > Int(Int32.max) { return nil }
            total = sum
            while index < value.count, value[index] == ByteText.space { index += 1 }
        }
        return total
    }

    private static let units: [(letter: UInt8, seconds: Int)] = [
        (UInt8(ascii: "y"), 31_536_000), (UInt8(ascii: "M"), 2_592_000), (UInt8(ascii: "w"), 604_800),
        (UInt8(ascii: "d"), 86_400), (UInt8(ascii: "h"), 3600), (UInt8(ascii: "m"), 60),
        (UInt8(ascii: "s"), 1),
    ]
    private static let epoch: StaticString = "Thu, 01 Jan 1970 00:00:01 GMT"
    private static let endOfTime: StaticString = "Thu, 31 Dec 2037 23:55:55 GMT"
}

extension Int64 {
    /// The sum, or the nearer end of years that dates have four digits for.
    fileprivate func addingSaturated(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        let lastSecond: Int64 = 253_402_300_799
        if overflow { return other > 0 ? lastSecond : 0 }
        return Swift.min(Swift.max(sum, 0), lastSecond)
    }
}
