/// Finds the known word that a misspelt one was probably meant to be.
package enum Spelling {
    /// `, did you mean "…"?` for an unknown word, or nothing. Longer names that it begins come first: who writes
    /// `websocket_ping` means one of these, not the name that is the fewest letters away.
    package static func hint(for word: String, among known: [String]) -> String {
        var words = known.filter { $0.hasPrefix(word + "_") }
        if !(1...3).contains(words.count) { words = nearest(to: word, among: known).map { [$0] } ?? [] }
        guard !words.isEmpty else { return "" }
        return ", did you mean \(DirectiveUse.listing(words.map { "\"\($0)\"" }))?"
    }

    /// The nearest word that at most a third of the letters separate from `word`, or `nil`.
    package static func nearest(to word: String, among known: [String]) -> String? {
        let letters = Array(word.utf8)
        let most = min(3, letters.count / 3)
        guard most > 0 else { return nil }
        var best: (word: String, distance: Int)?
        for candidate in known {
            let other = Array(candidate.utf8)
            guard abs(other.count - letters.count) <= most else { continue }
            let distance = distance(letters, other)
            if distance <= most, distance < best?.distance ?? Int.max { best = (candidate, distance) }
        }
        return best?.word
    }

    /// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
    static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var rows: [[Int]] = [Array(0...b.count)]
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(rows[i][j] + (a[i] == b[j] ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    cost = min(cost, rows[i - 1][j - 1] + 1)
                }
                row.append(cost)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}
