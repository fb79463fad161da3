extension DirectiveTable {
    /// Where the client is, as a proxy before this one tells it.
    static let realIP: [Directive] = [
        Directive(
            "set_real_ip_from", "address | network/bits | unix: | name", in: .levels, takes: .one,
            "Peers that are believed where the client is: real_ip_header says so in its place. A name stands for the "
                + "addresses that it has when the configuration is read.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.realIP.trusted = [] }
            scope.realIP.trusted += try trusted(call.arguments[0], call, scope.compilation)
        },
        Directive(
            "real_ip_header", "field | proxy_protocol", in: .levels, takes: .one, default: "X-Real-IP",
            "The field of requests that the client's address is taken from, with a port if it has one: its last address. Of "
                + "`X-Forwarded-For`, written like that, all lines count, of other fields the first. `proxy_protocol` takes "
                + "both from the header that the connection began with."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.realIP.header = call.arguments[0].bytes
        },
        Directive(
            "real_ip_recursive", "on | off", in: .levels, takes: .one, default: "off",
            "Takes the last address that is not one of `set_real_ip_from` itself."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.realIP.isRecursive = try call.flag(call.arguments[0])
        },
    ]

    private static func trusted(
        _ word: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> [AccessRule.Network] {
        if word.text == "unix:" { return [.unix] }
        if let network = try call.network(word, compilation) { return [network] }
        let isName = !word.bytes.isEmpty && !word.bytes.contains(UInt8(ascii: "/"))
        let addresses = isName ? compilation.environment.addressesOfHost(word.text) : []
        let networks = addresses.compactMap { text -> AccessRule.Network? in
            let address = NetworkAddress.ipv4(text.utf8) ?? NetworkAddress.ipv6(text.utf8)
            return address.map { .cidr($0, bits: $0.count * 8) }
        }
        guard !networks.isEmpty else {
            throw call.failure(
                found: word,
                expected: "an address, a network such as 10.0.0.0/8, \"unix:\" or the name of a host")
        }
        return networks
    }
}

/// What a level says, or inherits, about real addresses.
struct RealIPDraft {
    var trusted: [AccessRule.Network] = []
    var header = Array("X-Real-IP".utf8)
    var isRecursive = false

    /// `nil` where nobody is trusted.
    var finished: RealIP? {
        if trusted.isEmpty { return nil }
        // nginx looks for its own words letter by letter.
        let source: RealIP.Source =
            if header == Array("proxy_protocol".utf8) {
                .proxyProtocol
            } else if header == Array("X-Forwarded-For".utf8) {
                .forwardedFor
            } else {
                .field(header.lowercased())
            }
        return RealIP(trusted: trusted, source: source, isRecursive: isRecursive)
    }
}
