/// `name=value` pairs of a query string.
enum ArgumentText {
    /// Appends the value of the argument called `name` (lower case, compared without case), escapes left as they
    /// are. As in nginx, none is called nothing.
    static func append(_ name: [UInt8], in arguments: [UInt8], to out: inout [UInt8]) -> Bool {
        if name.isEmpty { return false }
        var start = 0
        while start < arguments.count {
            let end = arguments[start...].firstIndex(of: ByteText.ampersand) ?? arguments.count
            let equals = start + name.count
            if equals < end, arguments[equals] == ByteText.equals,
                ByteText.matchesIgnoringCase(arguments, at: start, name)
            {
                out.append(contentsOf: arguments[(equals + 1)..<end])
                return true
            }
            start = end + 1
        }
        return false
    }
}
