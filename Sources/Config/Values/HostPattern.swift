/// Host names with wildcards, as `server_name` and `map` with `hostnames` know them.
enum HostPattern: Equatable {
    /// Lower case.
    case exact([UInt8])
    /// `*.example.com` as `.example.com`.
    case leadingWildcard([UInt8])
    /// `www.example.*` as `www.example.`.
    case trailingWildcard([UInt8])

    /// What a name stands for (`.example.com` for two things), or `nil` when a `*` stands where none may.
    static func forms(of name: [UInt8]) -> [HostPattern]? {
        let name = name.lowercased()
        let star = UInt8(ascii: "*")
        let dot = UInt8(ascii: ".")
        let stars = name.count { $0 == star }
        guard !name.contains(0), stars <= 1 else { return nil }
        if name.first == dot {
            guard name.count > 1, stars == 0 else { return nil }
            return [.exact(Array(name.dropFirst())), .leadingWildcard(name)]
        }
        guard stars == 1 else { return [.exact(name)] }
        if name.starts(with: [star, dot]), name.count > 2 {
            return [.leadingWildcard(Array(name.dropFirst()))]
        }
        if name.last == star, name.dropLast().last == dot, name.count > 2 {
            return [.trailingWildcard(Array(name.dropLast()))]
        }
        return nil
    }
}
