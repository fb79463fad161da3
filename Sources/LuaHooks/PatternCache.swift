internal import Patterns
internal import Wire

/// Regular expressions that scripts have used, compiled.
///
/// Two halves of at most `half` patterns: what is used moves to the younger one, and when that is full, the older one is
/// thrown away. So patterns in use stay, however many a script makes up.
struct PatternCache {
    static let half = 128
    /// Bytes of an expression; compiling takes time in proportion.
    static let maxSource = 8192

    private struct Entry {
        let source: [UInt8]
        let options: PatternOptions
        let pattern: Pattern
    }

    /// By the hash of source and options: looking one up makes no array.
    private var young: [Int: Entry] = [:]
    private var old: [Int: Entry] = [:]

    var count: Int { young.count + old.count }

    mutating func pattern(_ source: Span<UInt8>, _ options: PatternOptions) throws(PatternError) -> Pattern {
        var hasher = Hasher()
        hasher.combine(options)
        // The bytes are read during the call.
        unsafe source.withUnsafeBufferPointer { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        let hash = hasher.finalize()
        if let entry = young[hash], Self.matches(entry, source, options) { return entry.pattern }
        if let entry = old.removeValue(forKey: hash), Self.matches(entry, source, options) {
            keep(entry, hash)
            return entry.pattern
        }
        guard source.count <= Self.maxSource else {
            throw PatternError(message: "longer than \(Self.maxSource) bytes", offset: Self.maxSource)
        }
        var bytes: [UInt8] = []
        bytes.append(copying: source, source.indices)
        let pattern = try Pattern(bytes: bytes, options: options)
        // `(*NO_JIT)`, or too large for it: such a search could not be broken off.
        guard pattern.isCompiled || !Pattern.canCompile else {
            throw PatternError(message: "cannot be compiled to machine code", offset: 0)
        }
        let entry = Entry(source: bytes, options: options, pattern: pattern)
        keep(entry, hash)
        return entry.pattern
    }

    private static func matches(_ entry: Entry, _ source: Span<UInt8>, _ options: PatternOptions) -> Bool {
        guard entry.options == options, entry.source.count == source.count else { return false }
        for index in source.indices where entry.source[index] != source[index] { return false }
        return true
    }

    private mutating func keep(_ entry: Entry, _ hash: Int) {
        if young.count >= Self.half {
            old = young
            young = [:]
        }
        young[hash] = entry
    }
}
