/// nginx's way to write options: their value may follow the letter at once, as in `-s reload` or `-sreload`.
enum NginxArguments {
    private static let flags = "?hvVtTq"
    private static let withValue = "cegps"

    /// The arguments with each value in one of its own, up to a subcommand.
    static func separated(_ arguments: ArraySlice<String>) -> [String] {
        var result: [String] = []
        var rest = arguments
        while let argument = rest.first, argument.hasPrefix("-"), !argument.hasPrefix("--") {
            rest = rest.dropFirst()
            let letters = argument.dropFirst()
            guard let end = letters.firstIndex(where: { !flags.contains($0) }),
                withValue.contains(letters[end])
            else {
                result.append(argument)
                continue
            }
            result += letters[..<end].map { "-\($0)" } + ["-\(letters[end])"]
            let value = letters[letters.index(after: end)...]
            if value.isEmpty { result += rest.prefix(1) } else { result.append(String(value)) }
            rest = rest.dropFirst(value.isEmpty ? 1 : 0)
        }
        return result + rest
    }
}
