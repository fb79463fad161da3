/// A configuration value in which variables may stand, such as `"$scheme://$host"`.
///
/// Compiled once when the configuration loads, so that evaluating one at run time is a walk over parts that
/// appends bytes, without looking up a name.
package struct Template: Sendable, Hashable {
    package enum Part: Sendable, Hashable {
        case literal([UInt8])
        case variable(VariableID)
        /// `$1` … `$9`: a group of the last regular expression that matched.
        case capture(Int)
    }

    package var parts: [Part]

    package init(parts: [Part]) {
        self.parts = parts
    }

    package init(literal: [UInt8]) {
        parts = literal.isEmpty ? [] : [.literal(literal)]
    }

    /// The value itself when no variable stands in it, else `nil`.
    package var constant: [UInt8]? {
        switch parts.count {
        case 0: return []
        case 1: if case .literal(let bytes) = parts[0] { return bytes } else { return nil }
        default: return nil
        }
    }
}

/// The position of a variable in `Configuration.variables`.
package struct VariableID: Sendable, Hashable {
    package let index: Int

    package init(index: Int) { self.index = index }
}

/// A variable that the configuration mentions, with where its value comes from.
package struct VariableDefinition: Sendable {
    package let name: String
    package let source: VariableSource

    package init(name: String, source: VariableSource) {
        self.name = name
        self.source = source
    }
}

/// Where a variable's value comes from.
package enum VariableSource: Sendable, Equatable {
    /// A row of the variable table, found by the definition's name.
    case builtin
    /// `$http_NAME` and its kin: `suffix` is what follows the prefix, in lower case.
    case family(VariableFamily, suffix: [UInt8])
    /// A `map` block: the position in `Configuration.maps`.
    case map(Int)
    /// A value that `set` or a named group assigns: the slot among an exchange's assigned values.
    /// Reading one that was not assigned yields the empty string.
    case assigned(slot: Int)
    /// Both: the assigned value from the moment that it is assigned, the map's before.
    case assignedOverMap(Int, slot: Int)
    /// A script: `slot` is that of `ScriptVariable`, whose entry in the location's settings says how it is computed.
    /// What `set` or a named group assigned takes its place from the moment that it is assigned.
    case script(slot: Int, assigned: Int?)

    /// The position of the map that it may come from.
    package var map: Int? {
        switch self {
        case .map(let index), .assignedOverMap(let index, _): index
        case .builtin, .family, .assigned, .script: nil
        }
    }
}

/// Variables whose names are made of a prefix and what to look up.
package enum VariableFamily: String, Sendable, CaseIterable {
    case requestHeader = "http_"
    case sentHeader = "sent_http_"
    case sentTrailer = "sent_trailer_"
    case upstreamHeader = "upstream_http_"
    case upstreamTrailer = "upstream_trailer_"
    case upstreamCookie = "upstream_cookie_"
    case argument = "arg_"
    case cookie = "cookie_"
    case proxyProtocolValue = "proxy_protocol_tlv_"
}
