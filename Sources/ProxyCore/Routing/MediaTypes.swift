package import Config

// Of the object: to ask its values, all of them would be copied.
extension Settings {
    /// The type of a response of our own to a request for `uri`: by the extension of its last segment, else
    /// `default_type`.
    package func mediaType(for uri: [UInt8]) -> [UInt8] {
        guard !values.types.isEmpty, let start = Self.startOfExtension(uri) else { return values.defaultType }
        var name = Array(uri[start...])
        ByteText.lowercase(&name)
        return values.types[name] ?? values.defaultType
    }

    /// A dot that begins a segment begins no extension.
    private static func startOfExtension(_ uri: [UInt8]) -> Int? {
        var index = uri.count - 1
        while index > 1 {
            if uri[index] == ByteText.slash { return nil }
            if uri[index] == ByteText.dot, uri[index - 1] != ByteText.slash { return index + 1 }
            index -= 1
        }
        return nil
    }
}
