internal import Config
internal import ProxyCore
internal import Wire

/// What the client's opening handshake asks for, as its headers say it.
extension LuaAPI {
    static let offerFunctions: [LuaFunction] = [
        LuaFunction(
            "origin", .getter(.offer), "", returns: "string?",
            "The site whose page opens the connection; nil without one."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.offer)
            if let index = HeaderSide.request.index(of: Text.origin.span, from: 0, in: exchange) {
                HeaderSide.request.pushValue(of: index, exchange, on: call.stack)
            } else {
                call.stack.pushNil()
            }
            return .one
        },
        LuaFunction(
            "origin", .setter(.offer), "value?: string",
            "In `upgrade` hooks: the upstream sees this origin, or with nil none."
        ) { call throws(LuaError) in
            let exchange = try call.offer("flow.offer.origin")
            if call.isGiven(3) {
                let value = try call.span(3, "flow.offer.origin")
                try HeaderSide.request.write(.set, Text.origin.span, value, of: exchange)
            } else {
                try HeaderSide.request.remove(Text.origin.span, of: exchange)
            }
            return .none
        },
        LuaFunction(
            "subprotocols", .getter(.offer), "", returns: "string[]",
            "The subprotocols that the client offers, those it likes best first."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.offer)
            call.stack.pushTable()
            var count = 0
            for name in exchange.request.elements(of: .secWebSocketProtocol) {
                count += 1
                call.stack.push(exchange.request.bytes, name)
                call.stack.setElement(count, of: -2)
            }
            return .one
        },
        LuaFunction(
            "subprotocols", .setter(.offer), "value?: string|string[]",
            "In `upgrade` hooks: the upstream is offered these; none by nil or an empty list. The client is told "
                + "what the upstream chooses where that is among its own, or by what a `response` hook sets."
        ) { call throws(LuaError) in
            let exchange = try call.offer("flow.offer.subprotocols")
            var names: [[UInt8]] = []
            if call.isGiven(3) {
                names = try call.list(3, "flow.offer.subprotocols", atMost: 100, "a list of strings")
            }
            for name in names where !isToken(name.span, 0..<name.count) {
                throw LuaError("flow.offer.subprotocols: found \(call.shown(name)), expected a token")
            }
            try call.setOffer(Text.subprotocol, names, of: exchange)
            return .none
        },
        LuaFunction(
            "deflate", .getter(.offer), "", returns: "boolean",
            "Whether the client offers permessage-deflate."
        ) { call throws(LuaError) in
            let request = try call.exchange(.offer).request
            return call.push(
                request.elements(of: .secWebSocketExtensions).contains {
                    Text.isDeflate($0, in: request.bytes)
                })
        },
        LuaFunction(
            "deflate", .setter(.offer), "value: boolean",
            "In `upgrade` hooks: false keeps permessage-deflate from the upstream. True changes "
                + "nothing where the client offers it, and is an error where it does not."
        ) { call throws(LuaError) in
            let exchange = try call.offer("flow.offer.deflate")
            let isOffered = try call.flag(3, "flow.offer.deflate")
            let bytes = exchange.request.bytes
            let offered = exchange.request.elements(of: .secWebSocketExtensions)
            let kept = offered.filter { !Text.isDeflate($0, in: bytes) }
            if isOffered {
                guard kept.count < offered.count else {
                    throw LuaError("flow.offer.deflate: the client does not offer permessage-deflate")
                }
            } else if kept.count < offered.count {
                try call.setOffer(Text.extensions, kept.map { Array(bytes[$0]) }, of: exchange)
            }
            return .none
        },
        LuaFunction(
            "subprotocol", .getter(.flow), "", returns: "string?",
            "The subprotocol that the upstream has chosen, whatever a `response` hook tells the client; nil before "
                + "the 101, and without one."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.flow)
            guard exchange.response.status == 101,
                let value = exchange.response.receivedValue(of: .secWebSocketProtocol)
            else {
                call.stack.pushNil()
                return .one
            }
            call.stack.push(exchange.response.bytes, value)
            return .one
        },
    ]

    private enum Text {
        static let origin = Array("Origin".utf8)
        static let subprotocol = Array("Sec-WebSocket-Protocol".utf8)
        static let extensions = Array("Sec-WebSocket-Extensions".utf8)
        private static let deflate: Keyword = "permessage-deflate"

        static func isDeflate(_ element: Range<Int>, in bytes: [UInt8]) -> Bool {
            deflate.matches(bytes, ListElements.name(of: element, in: bytes.span))
        }
    }
}

extension LuaCall {
    /// The exchange whose offer is to be changed.
    fileprivate func offer(_ name: StaticString) throws(LuaError) -> Exchange {
        let flow = try flow(1, .offer)
        try expect(flow, in: [.upgrade], name)
        return try exchange(of: flow)
    }

    /// Makes a list header hold these elements, or takes it out.
    fileprivate func setOffer(_ name: [UInt8], _ elements: [[UInt8]], of exchange: Exchange) throws(LuaError)
    {
        guard !elements.isEmpty else { return try HeaderSide.request.remove(name.span, of: exchange) }
        let value = Array(elements.joined(separator: Array(", ".utf8)))
        try HeaderSide.request.write(.set, name.span, value.span, of: exchange)
    }
}

extension RequestHead {
    /// The elements of all list fields with `id`, as ranges of `bytes`.
    fileprivate func elements(of id: FieldID) -> [Range<Int>] {
        var elements: [Range<Int>] = []
        for field in fields where field.id == id {
            var list = ListElements(field)
            while let element = list.next(bytes.span) { elements.append(element) }
        }
        return elements
    }
}
