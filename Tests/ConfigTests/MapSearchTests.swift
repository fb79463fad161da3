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
        try table.enter(.init(first: 10, last: 20, value: value("a")))
        try table.enter(.init(first: 0, last: 3, value: value("low")))
        try table.enter(.init(first: 15, last: 15, value: value("b")))
        try table.enter(.init(first: 10, last: 11, value: value("c")))
        try table.enter(.init(first: .max, last: .max, value: value("high")))
        let expected: [UInt32: String?] = [
            0: "low", 3: "low", 4: nil, 9: nil, 10: "c", 11: "c", 12: "a", 14: "a", 15: "b", 16: "a", 20: "a",
            21: nil,
            .max: "high",
        ]
        for (address, name) in expected { #expect(text(table.value(at: address)) == name, "\(address)") }
        for (first, last) in [(8, 10), (20, 30), (14, 15), (9, 30), (0, 4)] as [(UInt32, UInt32)] {
            #expect(throws: AddressRanges.Conflict.self) {
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
        try table.enter(.init(first: 10, last: 20, value: value("a")))
        #expect(throws: AddressRanges.Conflict.self) {
            try table.enter(.init(first: 10, last: 20, value: value("b")))
        }
        #expect(text(table.value(at: 10)) == "b")
    }
}
