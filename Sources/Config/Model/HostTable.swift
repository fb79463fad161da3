package import Patterns

/// Values by host names, as `server_name` and `map` with `hostnames` have them.
///
/// nginx's order: exact name, longest wildcard at the start, longest at the end, first regular expression.
package struct HostTable<Value: Sendable>: Sendable {
    package struct RegexEntry: Sendable {
        package var pattern: Pattern
        /// Variables that the pattern's named groups assign.
        package var namedGroups: [NamedGroup]
        package var value: Value

        package init(pattern: Pattern, namedGroups: [NamedGroup], value: Value) {
            self.pattern = pattern
            self.namedGroups = namedGroups
            self.value = value
        }
    }

    /// Lower case.
    package var exact: [[UInt8]: Value] = [:]
    /// `*.example.com` is under `.example.com`.
    package var leadingWildcards: [[UInt8]: Value] = [:]
    /// `www.example.*` is under `www.example.`.
    package var trailingWildcards: [[UInt8]: Value] = [:]
    package var regexes: [RegexEntry] = []

    package init() {}

    /// All of them, some perhaps more than once.
    package var values: [Value] {
        Array(exact.values) + leadingWildcards.values + trailingWildcards.values + regexes.map(\.value)
    }

    /// - Returns: false where the name has a value, which stays.
    mutating func enter(_ value: Value, at name: HostPattern) -> Bool {
        switch name {
        case .exact(let key): exact.enter(value, at: key)
        case .leadingWildcard(let key): leadingWildcards.enter(value, at: key)
        case .trailingWildcard(let key): trailingWildcards.enter(value, at: key)
        }
    }
}

extension Dictionary {
    fileprivate mutating func enter(_ value: Value, at key: Key) -> Bool {
        guard self[key] == nil else { return false }
        self[key] = value
        return true
    }
}

package typealias ServerNameTable = HostTable<VirtualServer>
