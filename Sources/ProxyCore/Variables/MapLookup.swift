internal import Config
internal import Wire

extension Exchange {
    /// Appends the value of the map at `index`, which is looked up once in an exchange unless it is volatile.
    ///
    /// A map that needs its own value to find its value gets an empty one there, and the error log is told.
    func appendMap(_ index: Int, to out: inout [UInt8]) -> Bool {
        let maps = runtime.configuration.maps
        guard maps.indices.contains(index), mapsUnderway.indices.contains(index) else { return false }
        if mapValues.append(index, to: &out) { return true }
        guard !mapsUnderway[index] else {
            note(fault: "cycle while evaluating variable \"\(maps[index].name)\"")
            return false
        }
        mapsUnderway[index] = true
        defer { mapsUnderway[index] = false }

        var key = takeBuffer()
        render(maps[index].key, into: &key)
        let template = find(&key, in: maps, index)
        giveBack(key)

        let start = out.count
        render(template, into: &out)
        // With a script that waits, this is not the value yet.
        if !maps[index].isVolatile, !scriptIsPending { mapValues.set(index, to: out[start...]) }
        return true
    }

    /// Exact keys come first, then wildcards, then regular expressions in their order; of blocks other than `map`, what their
    /// search finds.
    ///
    /// The map is given by its place: a copy of it would count references to all of its tables.
    private func find(_ key: inout [UInt8], in maps: [MapTable], _ index: Int) -> Template {
        if let search = maps[index].search { return find(key, by: search) ?? maps[index].defaultValue }
        if maps[index].hasHostnames, key.last == ByteText.dot { key.removeLast() }
        if let value = findLiteral(key, in: maps, index) { return value }
        for entry in maps[index].entries.regexes {
            // As in nginx, one that is given up ends the search.
            guard let matches = match(entry.pattern, key, namedGroups: entry.namedGroups) else { break }
            if matches { return entry.value }
        }
        return maps[index].defaultValue
    }

    private func find(_ key: [UInt8], by search: MapSearch) -> Template? {
        switch search {
        case .networks(let networks, let proxies):
            return networks.value(at: address(key, proxies) ?? Self.noAddress)
        case .ranges(let ranges, let proxies):
            guard let address = address(key, proxies), address.count == 4 else { return nil }
            return ranges.value(at: UInt32(networkOrder: address))
        case .shares(let shares):
            let hash = UInt64(MurmurHash2.value(of: key))
            return shares.first { $0.limit.map { hash < $0 } ?? true }?.value
        }
    }

    /// In nginx, this stands for what is no address of IP.
    private static let noAddress = [UInt8](repeating: 255, count: 4)

    /// The address that `text` is, or that one of the proxies says the client has; one of IPv4 within IPv6 by itself.
    private func address(_ text: [UInt8], _ proxies: RealIP?) -> [UInt8]? {
        guard let address = AddressText.address(text[...]) else { return nil }
        guard let proxies else { return AccessControl.plain(address) }
        return AccessControl.plain(ForwardedAddress.find(self, proxies, from: address)?.address ?? address)
    }

    private func findLiteral(_ key: [UInt8], in maps: [MapTable], _ index: Int) -> Template? {
        guard !key.contains(where: { ASCII.lowercased($0) != $0 }) else {
            var lowercase = takeBuffer()
            lowercase.append(copying: key)
            ByteText.lowercase(&lowercase)
            defer { giveBack(lowercase) }
            return findLiteral(lowercase, in: maps, index)
        }
        if let value = maps[index].entries.exact[key] { return value }
        guard maps[index].hasHostnames else { return nil }
        return HostWildcards.find(key, leading: maps[index].entries.leadingWildcards)
            ?? HostWildcards.find(key, trailing: maps[index].entries.trailingWildcards)
    }
}
