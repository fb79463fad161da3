/// Cuts a value at its variables: `$name`, `${name}`, `$1` to `$9`.
enum TemplateParser {
    enum Piece: Equatable {
        case literal([UInt8])
        case variable(String)
        case capture(Int)
    }

    struct Fault: Error, Equatable {
        var message: String
    }

    static func pieces(of value: [UInt8]) throws(Fault) -> [Piece] {
        var pieces: [Piece] = []
        var literal: [UInt8] = []
        var rest = value[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "$") else {
                literal.append(byte)
                continue
            }
            if !literal.isEmpty { pieces.append(.literal(literal)) }
            literal = []
            pieces.append(try variable(&rest, of: value))
        }
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        return pieces
    }

    static func hasVariables(_ value: [UInt8]) -> Bool { value.contains(UInt8(ascii: "$")) }

    static func isNameByte(_ byte: UInt8) -> Bool {
        ConfigValue.isLetter(byte) || ConfigValue.isDigit(byte) || byte == UInt8(ascii: "_")
    }

    private static func variable(
        _ rest: inout ArraySlice<UInt8>, of value: [UInt8]
    ) throws(Fault) -> Piece {
        if let digit = rest.first, digit >= UInt8(ascii: "1"), digit <= UInt8(ascii: "9") {
            rest = rest.dropFirst()
            return .capture(Int(digit - UInt8(ascii: "0")))
        }
        let isBraced = rest.first == UInt8(ascii: "{")
        if isBraced { rest = rest.dropFirst() }
        let name = rest.prefix { isNameByte($0) }
        rest = rest.dropFirst(name.count)
        let text = String(decoding: name, as: UTF8.self)
        if isBraced {
            guard rest.first == UInt8(ascii: "}") else {
                throw Fault(message: "found \"${\(text)\" without a closing brace, expected \"${name}\"")
            }
            rest = rest.dropFirst()
        }
        guard !name.isEmpty else {
            let whole = String(decoding: value, as: UTF8.self)
            throw Fault(message: "found a \"$\" without a variable's name in \"\(whole)\"")
        }
        return .variable(text)
    }
}
