/// Which variables a piece of Lua mentions as `….var.NAME` or `….var["NAME"]`: what its own variables depend on.
///
/// A name that is made at run time is not seen; such a cycle is noticed when it closes.
enum VariableReferences {
    /// What all of the text mentions.
    static func names(in text: [UInt8]) -> [String] { names(in: text[...]) }

    /// What a function mentions that begins on the first of these lines and ends on the last one. Lua says no more of its place:
    /// where another function begins on these two, nothing is certain, and nothing is said.
    static func names(in text: [UInt8], ofFunctionOn range: ClosedRange<Int>) -> [String] {
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard range.lowerBound >= 1, range.upperBound <= lines.count else { return [] }
        let first = lines[range.lowerBound - 1]
        let last = lines[range.upperBound - 1]
        let starts = functions(in: first)
        guard starts.count == 1, range.count == 1 || functions(in: last).isEmpty else { return [] }
        return names(in: text[starts[0]..<last.endIndex])
    }

    private static func names(in text: ArraySlice<UInt8>) -> [String] {
        var found: [String] = []
        let marker = Array(".var".utf8)
        for index in text.indices where text[index...].starts(with: marker) {
            if let name = name(in: text[(index + marker.count)...]), !found.contains(name) {
                found.append(name)
            }
        }
        return found
    }

    /// Where the word stands in a line, if perhaps in a comment.
    private static func functions(in line: ArraySlice<UInt8>) -> [Int] {
        line.split { !isOfName($0) }.filter { $0.elementsEqual("function".utf8) }.map(\.startIndex)
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
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
        let name = rest.prefix(while: isOfName)
        return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
    }
}
