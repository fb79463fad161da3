/// Names in one text, apart by blanks; one that ends in `*` stands for all that begin so.
struct NameList: ExpressibleByStringLiteral {
    private let names: [Substring]

    init(stringLiteral names: String) { self.names = names.split(separator: " ") }

    func contains(_ name: String) -> Bool {
        names.contains { $0.hasSuffix("*") ? name.hasPrefix($0.dropLast()) : $0 == name }
    }
}
