/// What a client's first message says, before anything is answered.
package struct TLSHello: Sendable, Equatable {
    /// The name that the client asks for, as it wrote it; `nil` without one, or with one that is no host name.
    package var serverName: [UInt8]?
    /// The protocols that it offers, the one it likes best first.
    package var protocols: [[UInt8]] = []
    /// Versions of TLS by their numbers: 0x0304 is 1.3.
    package var versions: [UInt16] = []
    /// Cipher suites by their numbers.
    package var ciphers: [UInt16] = []

    package init() {}

    // MARK: Extensions

    /// An extension is not as its RFC has it.
    struct Malformed: Error {}

    /// RFC 6066 §3: a list of names, of which the one of type 0 is a host's.
    static func serverName(_ bytes: [UInt8]) throws(Malformed) -> [UInt8]? {
        var reader = Reader(bytes)
        guard var list = reader.list(lengthBytes: 2), reader.isAtEnd else { throw Malformed() }
        while !list.isAtEnd {
            guard let type = list.number(bytes: 1), let name = list.list(lengthBytes: 2) else {
                throw Malformed()
            }
            guard type == 0 else { continue }
            let host = Array(name.rest)
            // A name with NUL would end early for whatever takes it for a C string.
            guard !host.isEmpty, host.count <= 255, !host.contains(0) else { throw Malformed() }
            return host
        }
        return nil
    }

    /// RFC 7301 §3.1
    static func protocols(_ bytes: [UInt8]) -> [[UInt8]] {
        var reader = Reader(bytes)
        guard var list = reader.list(lengthBytes: 2) else { return [] }
        var names: [[UInt8]] = []
        while let name = list.list(lengthBytes: 1) { names.append(Array(name.rest)) }
        return names
    }

    /// RFC 8446 §4.2.1
    static func versions(_ bytes: [UInt8]) -> [UInt16] {
        var reader = Reader(bytes)
        guard var list = reader.list(lengthBytes: 1) else { return [] }
        var versions: [UInt16] = []
        while let version = list.number(bytes: 2) { versions.append(UInt16(truncatingIfNeeded: version)) }
        return versions
    }

    static func numbers(_ bytes: [UInt8]) -> [UInt16] {
        var reader = Reader(bytes)
        var numbers: [UInt16] = []
        while let number = reader.number(bytes: 2) { numbers.append(UInt16(truncatingIfNeeded: number)) }
        return numbers
    }

    private struct Reader {
        private(set) var rest: ArraySlice<UInt8>

        init(_ bytes: [UInt8]) { rest = bytes[...] }
        private init(slice: ArraySlice<UInt8>) { rest = slice }

        var isAtEnd: Bool { rest.isEmpty }

        mutating func number(bytes count: Int) -> Int? {
            guard rest.count >= count else { return nil }
            let value = rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(count)
            return value
        }

        mutating func list(lengthBytes: Int) -> Reader? {
            guard let length = number(bytes: lengthBytes), rest.count >= length else { return nil }
            defer { rest = rest.dropFirst(length) }
            return Reader(slice: rest.prefix(length))
        }
    }
}
