/// What is looked up of a name.
enum NameQuestion: Hashable, Sendable {
    case addresses(of: String)
    /// Records of type SRV.
    case service(String)

    var name: String {
        switch self {
        case .addresses(of: let name), .service(let name): name
        }
    }
}

/// Answers that are still good, a bounded number of them.
struct NameCache {
    private let capacity: Int
    private var entries: [NameQuestion: NameResolver.Answer] = [:]

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { entries.count }

    func answer(to question: NameQuestion, now: Int64) -> NameResolver.Answer? {
        guard let answer = entries[question], answer.goodUntil > now else { return nil }
        return answer
    }

    /// Keeps an answer for as long as it is good; not at all when that is past.
    mutating func insert(_ answer: NameResolver.Answer, to question: NameQuestion, now: Int64) {
        guard answer.goodUntil > now else {
            entries[question] = nil
            return
        }
        if entries[question] == nil && entries.count >= capacity { makeRoom(now: now) }
        entries[question] = answer
    }

    /// Drops what is no longer good or, when everything still is, what will be so for the shortest time.
    private mutating func makeRoom(now: Int64) {
        entries = entries.filter { $0.value.goodUntil > now }
        guard entries.count >= capacity else { return }
        if let first = entries.min(by: { $0.value.goodUntil < $1.value.goodUntil }) {
            entries[first.key] = nil
        }
    }
}
