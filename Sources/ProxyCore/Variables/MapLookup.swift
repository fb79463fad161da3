internal import Config

extension Exchange {
    /// Appends the value of the map at `index`, which is looked up once in an exchange unless it is volatile.
    ///
    /// A map that needs its own value to find its value gets an empty one there, and `foundMapCycle` is set.
    func appendMap(_ index: Int, to out: inout [UInt8]) -> Bool {
        let maps = runtime.configuration.maps
        guard maps.indices.contains(index), mapsUnderway.indices.contains(index) else { return false }
        if mapValues.append(index, to: &out) { return true }
        guard !mapsUnderway[index] else {
            foundMapCycle = true
            return false
        }
        mapsUnderway[index] = true
        defer { mapsUnderway[index] = false }

        let map = maps[index]
        var key = takeBuffer()
        render(map.key, into: &key)
        let template = find(&key, in: map)
        giveBack(key)

        let start = out.count
        render(template, into: &out)
        // With a script that waits, this is not the value yet.
        if !map.isVolatile, !scriptIsPending { mapValues.set(index, to: out[start...]) }
        return true
    }

    /// Exact keys come first, then wildcards, then regular expressions in their order.
    private func find(_ key: inout [UInt8], in map: MapTable) -> Template {
        if map.hasHostnames, key.last == ByteText.dot { key.removeLast() }
        var lowercase = takeBuffer()
        lowercase.append(contentsOf: key)
        ByteText.lowercase(&lowercase)
        defer { giveBack(lowercase) }

        if let value = map.exact[lowercase] { return value }
        if map.hasHostnames {
            if let value = HostWildcards.find(lowercase, leading: map.leadingWildcards) { return value }
            if let value = HostWildcards.find(lowercase, trailing: map.trailingWildcards) { return value }
        }
        for entry in map.regexes where match(entry.pattern, key, namedGroups: entry.namedGroups) {
            return entry.value
        }
        return map.defaultValue
    }
}
