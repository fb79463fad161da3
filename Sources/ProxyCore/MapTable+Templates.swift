internal import Config

extension MapTable {
    /// Its key and its values.
    var templates: [Template] {
        [key, defaultValue] + exact.values + regexes.map(\.value) + leadingWildcards.values
            + trailingWildcards.values
    }
}
