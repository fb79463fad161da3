/// What has tags, by tag, in the order in which it was given them.
///
/// Of very many with one tag, each that ends would have their list searched. So they stay in it, until as many of all have
/// ended as have not, or more have of a list that is looked at. Members say what tells whether they have ended.
struct TagTable<Member> {
    private var lists: [[UInt8]: [Member]] = [:]
    /// Of all lists, and how many of them have ended.
    private var (count, ended) = (0, 0)

    mutating func append(_ member: Member, to tag: [UInt8]) {
        lists[tag, default: []].append(member)
        count += 1
    }

    /// One with these tags has ended.
    mutating func noteEnd(of tags: [[UInt8]], isLive: (Member) -> Bool) {
        for tag in tags {
            // It is the one: others that have ended leave a list with those that have not.
            if lists[tag]?.count == 1 {
                lists[tag] = nil
                count -= 1
            } else {
                ended += 1
            }
        }
        guard ended > count / 2 else { return }
        lists = lists.compactMapValues { list in
            let live = list.filter(isLive)
            return live.isEmpty ? nil : live
        }
        (count, ended) = (count - ended, 0)
    }

    /// What `live` makes of those with this tag; nothing of those that have ended.
    mutating func all<Live>(_ tag: [UInt8], live: (Member) -> Live?) -> [Live] {
        guard let list = lists[tag] else { return [] }
        let found = list.compactMap(live)
        if found.count < list.count / 2 {
            count -= list.count - found.count
            ended -= list.count - found.count
            lists[tag] = found.isEmpty ? nil : list.filter { live($0) != nil }
        }
        return found
    }
}
