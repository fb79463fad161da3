/// Which variables a piece of Lua mentions as `….var.NAME` or `….var["NAME"]`: what its own variables depend on.
///
/// A name that is made at run time is not seen; such a cycle is noticed when it closes.
enum VariableReferences {
    static func names(in text: [UInt8], lines: ClosedRange<Int>? = nil) -> [String] {
        var found: [String] = []
        var line = 1
        var index = 0
        let marker = Array(".var".utf8)
        while index < text.count {
            if text[index] == UInt8(ascii: "\n") { line += 1 }
            let isInside = lines?.contains(line) ?? true
            if isInside, text[index...].starts(with: marker),
                let name = name(in: text[(index + marker.count)...])
            {
                if !found.contains(name) { found.append(name) }
            }
            index += 1
        }
        return found
    }

    private static func name(in rest: ArraySlice<UInt8>) -> String? {
        var rest = rest
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
        } else if rest.starts(with: Array("[\"".utf8)) || rest.starts(with: Array("['".utf8)) {
            rest = rest.dropFirst(2)
        } else {
            return nil
        }
        let name = rest.prefix { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
    }
}
