internal import Config
internal import ProxyCore
internal import Wire

/// Which head an object `headers` stands for.
enum HeaderSide: CaseIterable, Sendable {
    case request, response

    var type: LuaType {
        switch self {
        case .request: .requestHeaders
        case .response: .responseHeaders
        }
    }

    var name: StaticString {
        switch self {
        case .request: "flow.req.headers"
        case .response: "flow.res.headers"
        }
    }

    /// Where fields may be changed.
    var stages: HookStages {
        switch self {
        case .request: Self.requestStages
        case .response: .response
        }
    }

    private static let requestStages: HookStages = [.request, .upgrade]

    // MARK: Reading

    /// Where the first field called `name` from `start` on stands among the fields. Of a request, those that
    /// `ignore_invalid_headers` drops are passed over, as `$http_…` does.
    @inline(__always)
    func index(of name: Span<UInt8>, from start: Int, in exchange: Exchange) -> Int? {
        switch self {
        case .request:
            FieldLookup.index(
                of: name, in: exchange.request.fields, exchange.request.bytes, from: start,
                within: exchange.server.connection.strangestFieldName)
        case .response:
            FieldLookup.index(
                of: name, in: exchange.response.fields, exchange.response.bytes, from: start, within: .odd
            )
        }
    }

    func fields(of exchange: Exchange) -> [FieldLine] {
        switch self {
        case .request: exchange.request.fields
        case .response: exchange.response.fields
        }
    }

    /// Whether scripts see the field.
    func shows(_ field: FieldLine, of exchange: Exchange) -> Bool {
        switch self {
        case .request: field.nameKind.isWithin(exchange.server.connection.strangestFieldName)
        case .response: true
        }
    }

    @inline(__always)
    func pushValue(of index: Int, _ exchange: Exchange, on stack: LuaStack) {
        switch self {
        case .request:
            stack.push(exchange.request.bytes, exchange.request.fields[index].value)
        case .response:
            stack.push(exchange.response.bytes, exchange.response.fields[index].value)
        }
    }

    func pushName(of field: FieldLine, _ exchange: Exchange, on stack: LuaStack) {
        switch self {
        case .request: stack.push(exchange.request.bytes, field.name)
        case .response: stack.push(exchange.response.bytes, field.name)
        }
    }

    // MARK: Writing

    enum Change { case set, add }

    func write(
        _ change: Change, _ name: Span<UInt8>, _ value: Span<UInt8>, of exchange: Exchange
    ) throws(LuaError) {
        do throws(HeadEditError) {
            switch (self, change) {
            case (.request, .set): try exchange.request.set(name, value)
            case (.request, .add): try exchange.request.add(name, value)
            case (.response, .set): try exchange.response.set(name, value)
            case (.response, .add): try exchange.response.add(name, value)
            }
        } catch {
            throw Self.error(error, name)
        }
        if self == .request, FieldID(name, 0..<name.count) == .host { exchange.hostFieldChanged() }
    }

    func remove(_ name: Span<UInt8>, of exchange: Exchange) throws(LuaError) {
        do throws(HeadEditError) {
            switch self {
            case .request: try exchange.request.remove(name)
            case .response: try exchange.response.remove(name)
            }
        } catch {
            throw Self.error(error, name)
        }
        if self == .request, FieldID(name, 0..<name.count) == .host { exchange.hostFieldChanged() }
    }

    static func error(_ fault: HeadEditError, _ name: Span<UInt8>) -> LuaError {
        var text: [UInt8] = []
        text.append(copying: name, 0..<min(name.count, 64))
        let shown = String(decoding: text, as: UTF8.self)
        switch fault {
        case .invalidName: return LuaError("found \"\(shown)\" as a header's name, expected a token")
        case .invalidValue:
            return LuaError("header \"\(shown)\": its value has a control character")
        case .invalidHost: return LuaError("header \"\(shown)\": its value names no host")
        case .computed:
            let isLength = FieldID(name, 0..<name.count) == .contentLength
            return LuaError(
                "header \"\(shown)\" is the proxy's own to compute\(isLength ? ", from the body that there is" : "")"
            )
        case .repeatedHost: return LuaError("header \"\(shown)\" cannot be there twice")
        case .tooLong: return LuaError("header \"\(shown)\": the head becomes too long")
        }
    }
}
