/// Where a word stands in the configuration.
package struct SourcePosition: Sendable, Hashable {
    /// As it was opened, or `command line` for the text of `-g`.
    package var file: String
    /// Both count from 1; a column is a byte, and 0 where it is not known, as in what Lua says of a script.
    package var line: Int
    package var column: Int
    /// Words are numbered as they are read, across included files, so that messages can be put in order.
    package var order: Int

    package init(file: String, line: Int, column: Int, order: Int = 0) {
        self.file = file
        self.line = line
        self.column = column
        self.order = order
    }
}

/// A word of a configuration: its quotes are gone and its escapes replaced.
package struct Word: Sendable, Hashable {
    package var bytes: [UInt8]
    package var position: SourcePosition

    package init(bytes: [UInt8], position: SourcePosition) {
        self.bytes = bytes
        self.position = position
    }

    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The same place, other bytes: for a part of a word, such as what follows `if=`.
    func replacing(_ bytes: [UInt8]) -> Word { Word(bytes: bytes, position: position) }

    /// What follows `prefix`, or `nil` when the word does not begin with it.
    func value(after prefix: StaticString) -> Word? {
        let prefix = Array(prefix.description.utf8)
        guard bytes.starts(with: prefix) else { return nil }
        return replacing(Array(bytes[prefix.count...]))
    }
}

/// A file of the configuration as it was read, for `-T`.
package struct SourceFile: Sendable, Equatable {
    package var path: String
    package var bytes: [UInt8]

    package init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
    }
}
