/// Agreeing on the extension permessage-deflate (RFC 7692 §5, §7.1), as either end or between two.
package enum PermessageDeflate {
    /// What two ends have agreed on, the extension being in use.
    package struct Parameters: Sendable, Equatable {
        package var serverNoContextTakeover = false
        package var clientNoContextTakeover = false
        /// 8...15; 15 where nothing was said.
        package var serverMaxWindowBits = 15
        package var clientMaxWindowBits = 15

        package init(
            serverNoContextTakeover: Bool = false, clientNoContextTakeover: Bool = false,
            serverMaxWindowBits: Int = 15, clientMaxWindowBits: Int = 15
        ) {
            self.serverNoContextTakeover = serverNoContextTakeover
            self.clientNoContextTakeover = clientNoContextTakeover
            self.serverMaxWindowBits = serverMaxWindowBits
            self.clientMaxWindowBits = clientMaxWindowBits
        }

        /// What an inflater for the messages that `sender` sends has to be made with, and a deflater at most.
        package func direction(from sender: WebSocketRole) -> (windowBits: Int, keepsContext: Bool) {
            switch sender {
            case .server: (serverMaxWindowBits, !serverNoContextTakeover)
            case .client: (clientMaxWindowBits, !clientNoContextTakeover)
            }
        }
    }

    /// What a leg's configuration wants.
    package struct Policy: Sendable, Equatable {
        package var contextTakeover: Bool
        /// 9...15: zlib cannot deflate with 8.
        package var windowBits: Int
        /// 1...9; not part of what is agreed on.
        package var level: Int

        package init(contextTakeover: Bool = true, windowBits: Int = 15, level: Int = 6) {
            self.contextTakeover = contextTakeover
            self.windowBits = min(max(windowBits, 9), 15)
            self.level = min(max(level, 1), 9)
        }
    }

    /// What a server made of our offer.
    package enum Agreement: Sendable, Equatable {
        /// Messages go as they are.
        case none
        case parameters(Parameters)
        /// It accepted what was not offered, or nothing that is valid: the connection has to be failed (RFC 7692 §5.1).
        case violation
    }

    package static let name: [UInt8] = Array("permessage-deflate".utf8)

    // MARK: As a server

    /// The first offer of the client's that can be accepted, and the value of the field that accepts it. A script may
    /// have taken the offers out of the request, but not put others in their place.
    ///
    /// The answer has what the offer and the policy demand, whichever is less. A client that cannot be held to the
    /// policy's window, since its offer does not have `client_max_window_bits`, is to keep no context instead: so
    /// neither can it have more memory held between messages than the policy says.
    package static func accept(
        offersIn request: RequestHead, _ policy: Policy
    ) -> (parameters: Parameters, value: [UInt8])? {
        guard offers(in: request) else { return nil }
        let octets = request.bytes.span
        for field in request.receivedFields(.secWebSocketExtensions) {
            var offers = ListElements(field)
            while let offer = offers.next(octets) {
                guard isExactlyOurs(offer, in: octets), let offered = Element(offer, in: octets),
                    let accepted = accept(offered, policy)
                else { continue }
                return accepted
            }
        }
        return nil
    }

    private static func accept(
        _ offer: Element, _ policy: Policy
    ) -> (parameters: Parameters, value: [UInt8])? {
        var parameters = Parameters(
            serverNoContextTakeover: offer.serverNoContextTakeover || !policy.contextTakeover,
            clientNoContextTakeover: offer.clientNoContextTakeover || !policy.contextTakeover)
        if let bits = offer.serverMaxWindowBits.value, bits < 9 { return nil }
        parameters.serverMaxWindowBits = min(policy.windowBits, offer.serverMaxWindowBits.value ?? 15)
        if offer.clientMaxWindowBits == .absent {
            // RFC 7692 §7.1.2.2: then the answer may not have it.
            if policy.windowBits < 15 { parameters.clientNoContextTakeover = true }
        } else {
            parameters.clientMaxWindowBits = min(policy.windowBits, offer.clientMaxWindowBits.value ?? 15)
        }
        var answer = Element(
            serverNoContextTakeover: parameters.serverNoContextTakeover,
            clientNoContextTakeover: parameters.clientNoContextTakeover)
        // An offered limit has to be confirmed, also that of 15 bits; one that was not may be set.
        if offer.serverMaxWindowBits != .absent || parameters.serverMaxWindowBits < 15 {
            answer.serverMaxWindowBits = .bits(parameters.serverMaxWindowBits)
        }
        if offer.clientMaxWindowBits.value != nil || parameters.clientMaxWindowBits < 15 {
            answer.clientMaxWindowBits = .bits(parameters.clientMaxWindowBits)
        }
        return (parameters, answer.text)
    }

    // MARK: As a client

    /// The value of the field that offers what the policy wants.
    package static func offer(_ policy: Policy) -> [UInt8] {
        let isBounded = policy.windowBits < 15
        return Element(
            serverNoContextTakeover: !policy.contextTakeover,
            clientNoContextTakeover: !policy.contextTakeover,
            serverMaxWindowBits: isBounded ? .bits(policy.windowBits) : .absent,
            clientMaxWindowBits: isBounded ? .bits(policy.windowBits) : .withoutValue
        ).text
    }

    /// What `response` accepts of `offer(policy)`, alone or beside offers of other extensions that were passed on.
    ///
    /// The client's window can come out as 8 bits: the server may demand it, and our messages then go as they are.
    package static func agreed(
        in response: ResponseHead, to policy: Policy, besideOthers: Bool = false
    ) -> Agreement {
        let octets = response.bytes.span
        var accepted: Element?
        for field in response.fields where field.id == .secWebSocketExtensions {
            var elements = ListElements(field)
            while let element = elements.next(octets) {
                guard isExactlyOurs(element, in: octets) else {
                    if besideOthers { continue }
                    return .violation
                }
                guard accepted == nil, let read = Element(element, in: octets) else { return .violation }
                accepted = read
            }
        }
        guard let accepted else { return .none }
        guard var parameters = accepted.parameters else { return .violation }
        // RFC 7692 §7.1.1.1, §7.1.2.1: what was asked of the server has to be confirmed.
        if !policy.contextTakeover, !parameters.serverNoContextTakeover { return .violation }
        if policy.windowBits < 15 {
            guard accepted.serverMaxWindowBits != .absent, parameters.serverMaxWindowBits <= policy.windowBits
            else { return .violation }
        }
        // What we said of ourselves holds, whether the server repeats it or not.
        if !policy.contextTakeover { parameters.clientNoContextTakeover = true }
        parameters.clientMaxWindowBits = min(parameters.clientMaxWindowBits, policy.windowBits)
        return .parameters(parameters)
    }

    // MARK: In between

    /// What two ends have agreed on by `response`, which the client of `request` is to take for an answer to its own
    /// offers.
    package static func passed(in response: ResponseHead, to request: RequestHead) -> Agreement {
        let octets = response.bytes.span
        var found: Element?
        for field in response.fields where field.id == .secWebSocketExtensions {
            var elements = ListElements(field)
            while let element = elements.next(octets) {
                guard isOurs(element, in: octets) else { continue }
                guard found == nil, let accepted = Element(element, in: octets) else { return .violation }
                found = accepted
            }
        }
        guard let found else { return .none }
        guard let parameters = found.parameters, answersOffer(found, of: request) else { return .violation }
        return .parameters(parameters)
    }

    /// Whether the client has made an offer that it can take `answer` for an acceptance of.
    private static func answersOffer(_ answer: Element, of request: RequestHead) -> Bool {
        let octets = request.bytes.span
        for field in request.receivedFields(.secWebSocketExtensions) {
            var elements = ListElements(field)
            while let element = elements.next(octets) {
                guard isOurs(element, in: octets), let offer = Element(element, in: octets) else { continue }
                if answer.accepts(offer) { return true }
            }
        }
        return false
    }

    /// Whether the response accepts the extension, in whatever way.
    package static func isAccepted(in response: ResponseHead) -> Bool {
        isListed(in: response.fields, of: response.bytes)
    }

    /// Whether the request offers the extension, in whatever way.
    package static func offers(in request: RequestHead) -> Bool {
        isListed(in: request.fields, of: request.bytes)
    }

    private static func isListed(in fields: [FieldLine], of bytes: [UInt8]) -> Bool {
        ListElements.list(in: fields, .secWebSocketExtensions, of: bytes, where: isNamed)
    }

    private static let keyword: Keyword = "permessage-deflate"

    /// Whether an extension's name is this one's; without case, since an end that reads names so must not come to use what
    /// was meant to be kept from it.
    package static func isNamed(_ name: Span<UInt8>) -> Bool { keyword.matches(name, 0..<name.count) }

    private static func isOurs(_ element: Range<Int>, in bytes: Span<UInt8>) -> Bool {
        isNamed(bytes.extracting(ListElements.name(of: element, in: bytes)))
    }

    /// With case, as the handshake compares names of extensions.
    private static func isExactlyOurs(_ element: Range<Int>, in bytes: Span<UInt8>) -> Bool {
        bytes.isEqual(ListElements.name(of: element, in: bytes), to: name.span)
    }
}

extension PermessageDeflate {
    /// One element of a list, as written: an offer or its acceptance.
    private struct Element {
        enum Bits: Equatable {
            case absent, withoutValue
            case bits(Int)

            var value: Int? {
                if case .bits(let bits) = self { bits } else { nil }
            }
        }

        var serverNoContextTakeover = false
        var clientNoContextTakeover = false
        var serverMaxWindowBits = Bits.absent
        var clientMaxWindowBits = Bits.absent

        init(
            serverNoContextTakeover: Bool, clientNoContextTakeover: Bool, serverMaxWindowBits: Bits = .absent,
            clientMaxWindowBits: Bits = .absent
        ) {
            self.serverNoContextTakeover = serverNoContextTakeover
            self.clientNoContextTakeover = clientNoContextTakeover
            self.serverMaxWindowBits = serverMaxWindowBits
            self.clientMaxWindowBits = clientMaxWindowBits
        }

        /// `nil` when a parameter is none of the four, is there twice, or has a value that it cannot have (RFC 7692
        /// §7.1): such an offer is declined, and such an answer fails the connection.
        init?(_ element: Range<Int>, in bytes: Span<UInt8>) {
            var position = bytes.first(UInt8(ascii: ";"), in: element)
            while position < element.upperBound {
                // The tokens and values that are valid have no semicolon in them, so quotes need no heed here.
                let rest = (position &+ 1)..<element.upperBound
                let end = bytes.first(UInt8(ascii: ";"), in: rest)
                guard take(bytes, rest.lowerBound..<end) else { return nil }
                position = end
            }
        }

        private mutating func take(_ bytes: Span<UInt8>, _ parameter: Range<Int>) -> Bool {
            let equals = bytes.first(UInt8(ascii: "="), in: parameter)
            let name = bytes.trimmed(parameter.lowerBound..<equals)
            let hasValue = equals < parameter.upperBound
            let value = hasValue ? bytes.trimmed((equals &+ 1)..<parameter.upperBound) : .empty
            if bytes.isEqual(name, to: Names.serverNoContextTakeover.span) {
                guard !hasValue, !serverNoContextTakeover else { return false }
                serverNoContextTakeover = true
            } else if bytes.isEqual(name, to: Names.clientNoContextTakeover.span) {
                guard !hasValue, !clientNoContextTakeover else { return false }
                clientNoContextTakeover = true
            } else if bytes.isEqual(name, to: Names.serverMaxWindowBits.span) {
                guard serverMaxWindowBits == .absent, let bits = Self.bits(bytes, value) else { return false }
                serverMaxWindowBits = .bits(bits)
            } else if bytes.isEqual(name, to: Names.clientMaxWindowBits.span) {
                guard clientMaxWindowBits == .absent else { return false }
                guard hasValue else {
                    clientMaxWindowBits = .withoutValue
                    return true
                }
                guard let bits = Self.bits(bytes, value) else { return false }
                clientMaxWindowBits = .bits(bits)
            } else {
                return false
            }
            return true
        }

        /// A number from 8 to 15 without leading zeros, bare or in quotes. A backslash before a digit, which the
        /// grammar of quoted strings has, is nothing that anybody writes, and is refused.
        private static func bits(_ bytes: Span<UInt8>, _ value: Range<Int>) -> Int? {
            var digits = value
            let quote = UInt8(ascii: "\"")
            if digits.count > 2, bytes[digits.lowerBound] == quote, bytes[digits.upperBound &- 1] == quote {
                digits = (digits.lowerBound &+ 1)..<(digits.upperBound &- 1)
            }
            guard let number = ASCII.decimal(bytes, digits), 8...15 ~= number else { return nil }
            return digits.count == (number < 10 ? 1 : 2) ? Int(number) : nil
        }

        /// Of an answer; `nil` when it has what only an offer may have.
        var parameters: Parameters? {
            if clientMaxWindowBits == .withoutValue { return nil }
            return Parameters(
                serverNoContextTakeover: serverNoContextTakeover,
                clientNoContextTakeover: clientNoContextTakeover,
                serverMaxWindowBits: serverMaxWindowBits.value ?? 15,
                clientMaxWindowBits: clientMaxWindowBits.value ?? 15)
        }

        /// Whether this can answer `offer`: it confirms what was asked of the server, and tells the client's window to
        /// none that cannot be told (RFC 7692 §7.1.1.1, §7.1.2.1, §7.1.2.2).
        func accepts(_ offer: Element) -> Bool {
            if offer.serverNoContextTakeover, !serverNoContextTakeover { return false }
            if let limit = offer.serverMaxWindowBits.value {
                guard let bits = serverMaxWindowBits.value, bits <= limit else { return false }
            }
            guard let bits = clientMaxWindowBits.value else { return true }
            return offer.clientMaxWindowBits != .absent && bits <= offer.clientMaxWindowBits.value ?? 15
        }

        var text: [UInt8] {
            var text = PermessageDeflate.name
            let server: Bits = serverNoContextTakeover ? .withoutValue : .absent
            let client: Bits = clientNoContextTakeover ? .withoutValue : .absent
            Self.append(Names.serverNoContextTakeover, server, to: &text)
            Self.append(Names.clientNoContextTakeover, client, to: &text)
            Self.append(Names.serverMaxWindowBits, serverMaxWindowBits, to: &text)
            Self.append(Names.clientMaxWindowBits, clientMaxWindowBits, to: &text)
            return text
        }

        private static func append(_ name: [UInt8], _ bits: Bits, to text: inout [UInt8]) {
            if bits == .absent { return }
            text.append(UInt8(ascii: ";"))
            text.append(UInt8(ascii: " "))
            text.append(copying: name)
            guard let value = bits.value else { return }
            text.append(UInt8(ascii: "="))
            ASCII.appendDecimal(value, to: &text)
        }
    }

    private enum Names {
        static let serverNoContextTakeover = Array("server_no_context_takeover".utf8)
        static let clientNoContextTakeover = Array("client_no_context_takeover".utf8)
        static let serverMaxWindowBits = Array("server_max_window_bits".utf8)
        static let clientMaxWindowBits = Array("client_max_window_bits".utf8)
    }

}
