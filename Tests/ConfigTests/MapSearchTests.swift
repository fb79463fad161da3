import Testing

@testable import Config

/// What a `geo` block holds: networks, and ranges.
struct MapSearchTests {
    private func value(_ text: String) -> Template { Template(literal: Array(text.utf8)) }

    private func text(_ template: Template?) -> String? {
        template?.constant.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("the smallest network that holds an address counts, whatever the order")
    func networks() {
        var table = NetworkTable()
        for (network, bits, name) in [
            ([10, 1, 0, 0], 16, "b"), ([10, 0, 0, 0], 8, "a"), ([10, 1, 2, 3], 32, "c"),
            ([0, 0, 0, 0], 0, "all"),
        ] as [([UInt8], Int, String)] {
            let former = table.enter(value(name), at: network, bits: bits)
            #expect(former == nil)
        }
        #expect(text(table.value(at: [10, 1, 2, 3])) == "c")
        #expect(text(table.value(at: [10, 1, 2, 4])) == "b")
        #expect(text(table.value(at: [10, 2, 0, 0])) == "a")
        #expect(text(table.value(at: [11, 0, 0, 0])) == "all")
        #expect(table.value(at: [UInt8](repeating: 0, count: 16)) == nil)
        let removed = [([10, 1, 2, 3], 32), ([10, 1, 2, 3], 32), ([10, 1, 2, 0], 24)].map { network, bits in
            table.enter(nil, at: network, bits: bits)
        }
        #expect(removed.map(text) == ["c", nil, nil])
        #expect(text(table.value(at: [10, 1, 2, 3])) == "b")
    }

    @Test("networks of IPv6 are told apart to the last bit")
    func longNetworks() {
        var table = NetworkTable()
        let address = [0x20, 1] + [UInt8](repeating: 0, count: 13)
        _ = table.enter(value("last"), at: address + [1], bits: 128)
        _ = table.enter(value("pair"), at: address + [0], bits: 127)
        _ = table.enter(value("all"), at: [UInt8](repeating: 0, count: 16), bits: 0)
        #expect(text(table.value(at: address + [1])) == "last")
        #expect(text(table.value(at: address + [0])) == "pair")
        #expect(text(table.value(at: address + [2])) == "all")
        #expect(table.value(at: [32, 1, 0, 0]) == nil)
    }

    @Test("a range takes its part of the one that it is in, and no range overlaps another")
    func ranges() throws {
        var table = AddressRanges()
        _ = try table.enter(.init(first: 10, last: 20, value: value("a")))
        _ = try table.enter(.init(first: 0, last: 3, value: value("low")))
        _ = try table.enter(.init(first: 15, last: 15, value: value("b")))
        _ = try table.enter(.init(first: 10, last: 11, value: value("c")))
        _ = try table.enter(.init(first: .max, last: .max, value: value("high")))
        let expected: [UInt32: String?] = [
            0: "low", 3: "low", 4: nil, 9: nil, 10: "c", 11: "c", 12: "a", 14: "a", 15: "b", 16: "a", 20: "a",
            21: nil,
            .max: "high",
        ]
        for (address, name) in expected { #expect(text(table.value(at: address)) == name, "\(address)") }
        for (first, last) in [(8, 10), (20, 30), (14, 15), (9, 30), (0, 4)] as [(UInt32, UInt32)] {
            #expect(throws: AddressRanges.Overlap.self) {
                try table.enter(.init(first: first, last: last, value: value("x")))
            }
            let wasThere = table.remove(first: first, last: last)
            #expect(!wasThere)
        }
        #expect(table.entries.count == 6)
        let wasThere = table.remove(first: 15, last: 15)
        #expect(wasThere)
        #expect(table.value(at: 15) == nil)
    }

    @Test("the same range again replaces the value, and says so")
    func sameRange() throws {
        var table = AddressRanges()
        _ = try table.enter(.init(first: 10, last: 20, value: value("a")))
        let former = try table.enter(.init(first: 10, last: 20, value: value("b")))
        #expect(text(former?.value) == "a")
        #expect(text(table.value(at: 10)) == "b")
    }

    @Test("a range that is entered and deleted in parts is none the less one")
    func largeRange() throws {
        var table = AddressRanges()
        for (first, last, name) in [(0, .max, "a"), (5, .max - 5, "b")] as [(UInt32, UInt32, String)] {
            let former = try table.enter(.init(first: first, last: last, value: value(name)))
            #expect(former == nil)
        }
        #expect(table.entries.count == 3)
        let former = try table.enter(.init(first: 0, last: 4, value: value("c")))
        #expect(former?.last == 4)
        let wasThere = table.remove(first: 5, last: .max - 5)
        #expect(wasThere)
        #expect(table.entries.map(\.first) == [0, .max - 4])
    }

    /// nginx's own way: ranges of each /16 by themselves, of which one is the same, is in another, or overlaps it.
    private struct Model {
        var parts: [UInt32: [(range: ClosedRange<UInt32>, value: Int)]] = [:]

        private func cut(_ range: ClosedRange<UInt32>) -> [ClosedRange<UInt32>] {
            (range.lowerBound >> 16...range.upperBound >> 16).map {
                max(range.lowerBound, $0 << 16)...min(range.upperBound, $0 << 16 | 0xFFFF)
            }
        }

        mutating func enter(_ range: ClosedRange<UInt32>, _ value: Int) -> Bool {
            for part in cut(range) {
                var held = parts[part.lowerBound >> 16, default: []]
                if let index = held.lastIndex(where: { $0.range.overlaps(part) }) {
                    let old = held[index]
                    guard old.range.lowerBound <= part.lowerBound, part.upperBound <= old.range.upperBound
                    else { return false }
                    held.remove(at: index)
                    if old.range.lowerBound < part.lowerBound {
                        held.append((old.range.lowerBound...part.lowerBound - 1, old.value))
                    }
                    if part.upperBound < old.range.upperBound {
                        held.append((part.upperBound + 1...old.range.upperBound, old.value))
                    }
                }
                held.append((part, value))
                held.sort { $0.range.lowerBound < $1.range.lowerBound }
                parts[part.lowerBound >> 16] = held
            }
            return true
        }

        mutating func remove(_ range: ClosedRange<UInt32>) -> Bool {
            var isWhole = true
            for part in cut(range) {
                let place = part.lowerBound >> 16
                if let index = parts[place]?.firstIndex(where: { $0.range == part }) {
                    parts[place]?.remove(at: index)
                } else {
                    isWhole = false
                }
            }
            return isWhole
        }

        func value(at address: UInt32) -> Int? {
            parts[address >> 16]?.first { $0.range.contains(address) }?.value
        }
    }

    @Test("at the borders of /16 ranges are what nginx makes of them", arguments: 0..<400)
    func borders(_ seed: UInt64) {
        var state = seed &* 7919 &+ 1
        func random(_ bound: UInt32) -> UInt32 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt32(state >> 33) % bound
        }
        // Near the borders, the last of which is where addresses end.
        let base: UInt32 = seed % 2 == 0 ? 0 : 0xFFFB_0000
        let near: [UInt32] = [0, 1, 2, 0x8000, 0xFFFD, 0xFFFE, 0xFFFF]
        func address() -> UInt32 { base + random(5) << 16 + near[Int(random(7))] }
        var (table, model) = (AddressRanges(), Model())
        for step in 0..<12 {
            let ends = [address(), address()].sorted()
            if random(4) == 0 {
                let wasThere = table.remove(first: ends[0], last: ends[1])
                #expect(wasThere == model.remove(ends[0]...ends[1]))
            } else {
                let goesIn = model.enter(ends[0]...ends[1], step)
                let entry = AddressRanges.Entry(first: ends[0], last: ends[1], value: value("\(step)"))
                var isIn = true
                do { _ = try table.enter(entry) } catch { isIn = false }
                #expect(isIn == goesIn)
                // The configuration is not used: what is left of it does not matter.
                guard goesIn else { return }
            }
            for block in 0..<UInt32(5) {
                for rest in near + [0x7FFF, 0x8001, 3, 0xFFFC] {
                    let address = base + block << 16 + rest
                    #expect(text(table.value(at: address)) == model.value(at: address).map { "\($0)" })
                }
            }
        }
    }
}
