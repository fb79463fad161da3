package import Config
internal import Synchronization

/// The shared dictionaries of the process, which reloads keep where name and size stay the same.
package final class SharedDictionaries: Sendable {
    private let current = Mutex<[String: SharedDictionary]>([:])

    package init() {}

    /// The dictionaries that a configuration is to have: those in use, and new ones for the others. Nothing changes for
    /// anybody else until `adopt`, so that a configuration that fails leaves no trace.
    package func prepare(_ settings: [SharedDictionarySettings]) -> [String: SharedDictionary] {
        current.withLock { current in
            var dictionaries: [String: SharedDictionary] = [:]
            for row in settings {
                let known = current[row.name]
                dictionaries[row.name] =
                    known?.capacity == row.bytes
                    ? known : SharedDictionary(name: row.name, capacity: row.bytes)
            }
            return dictionaries
        }
    }

    /// The dictionaries that were prepared are those in use from now on. Others live on with the generations that
    /// still hold them.
    ///
    /// - Returns: what has taken the place of a dictionary of the same name and another size, by name: it began empty.
    @discardableResult
    package func adopt(_ dictionaries: [String: SharedDictionary]) -> [(
        new: SharedDictionary, formerSize: Int
    )] {
        current.withLock { current in
            let former = current
            current = dictionaries
            return dictionaries.sorted { $0.key < $1.key }.compactMap { name, new in
                guard let old = former[name], old !== new else { return nil }
                return (new, old.capacity)
            }
        }
    }
}
