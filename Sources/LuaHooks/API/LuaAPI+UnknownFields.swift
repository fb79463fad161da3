internal import Config

/// Fields that have no definition. One that is read is misspelt, or of another object: a script that was told nil would take
/// it for a value that happens not to be there.
extension LuaAPI {
    static let unknownFieldFunctions: [LuaFunction] = [
        LuaFunction("unknown_field", .hidden, "", "Stands for the fields of a type that are not defined.") {
            call throws(LuaError) in
            throw call.unknownField()
        },
        LuaFunction("unknown_dictionary", .hidden, "", "`__index` of `sy.shared`.") {
            call throws(LuaError) in
            throw LuaError("there is no lua_shared_dict \(call.shownKey)")
        },
    ]

    /// The number of the function that reads the fields of a type without definition.
    static let unknownField = number(of: "unknown_field") { if case .hidden = $0 { true } else { false } }
    static let unknownDictionary = number(of: "unknown_dictionary") {
        if case .hidden = $0 { true } else { false }
    }
}

extension LuaFunction {
    /// Whose field or method it is; `nil` for a function of a module.
    var owner: LuaType? {
        switch place {
        case .method(let type), .getter(let type), .part(of: let type, _, _), .ownTable(of: let type, _): type
        default: nil
        }
    }
}

extension LuaCall {
    fileprivate var shownKey: String {
        stack.kind(2) == .string ? "\"\(stack.text(2) ?? "")\"" : stack.shown(2)
    }

    fileprivate func unknownField() -> LuaError {
        guard let type = LuaType.allCases.first(where: { stack.object(1, $0) != nil }) else {
            return LuaError("there is no field \(shownKey)")
        }
        // Before it is read as a text, which makes one of a number.
        let key = shownKey
        let rows = type.isOfTests ? LuaAPI.testFunctions : LuaAPI.functions
        let names = rows.filter { $0.owner == type }.map(\.name)
        let hint = stack.text(2).map { Spelling.hint(for: $0, among: names) } ?? ""
        return LuaError("\(type.name) has no field \(key)\(hint)")
    }
}
