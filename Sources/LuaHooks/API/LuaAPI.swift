internal import CSwitchyard

/// All that scripts can call. Adding a function is a row, in the file of its family, and a test.
package enum LuaAPI {
    /// The number that Lua knows a function by is its position here; 0 stands for none.
    static let functions: [LuaFunction] =
        [LuaFunction("", .hidden, "", "Stands for no function.") { _ in .none }]
        + flowFunctions + requestFunctions + argumentFunctions + responseFunctions + headerFunctions
        + variableFunctions + legFunctions + remoteFlowFunctions + itemFunctions + offerFunctions
        + answerFunctions + timerFunctions + unknownFieldFunctions
        + moduleFunctions

    static func number(of name: String, _ isHere: (LuaFunction.Place) -> Bool) -> Int {
        guard let number = functions.firstIndex(where: { $0.name == name && isHere($0.place) }) else {
            preconditionFailure("there is no function \(name)")
        }
        return number
    }

    /// Makes everything known to an interpreter.
    static func define(in vm: OpaquePointer, tests: [LuaFunction] = []) {
        var dynamic: [LuaType: (getter: Int32, setter: Int32)] = [:]
        for type in LuaType.allCases where !type.isOfTests || !tests.isEmpty {
            unsafe sy_vm_define_type(
                vm, Int32(type.rawValue), type.name, Int32(type.parts), type.isValue)
            dynamic[type] = (getter: Int32(unknownField), setter: 0)
        }
        for (index, function) in (tests.isEmpty ? functions : functions + tests).enumerated() {
            let number = Int32(index)
            let name = function.name
            switch function.place {
            case .module(let module):
                let joined = function.joinsArguments ? Int32(SY_LUA_JOINED) : 0
                unsafe sy_vm_define_function(vm, module, name, number | joined)
            case .global: unsafe sy_vm_define_function(vm, nil, name, number)
            case .method(let type): unsafe sy_vm_define_method(vm, Int32(type.rawValue), name, number)
            case .getter(let type): unsafe sy_vm_define_getter(vm, Int32(type.rawValue), name, number)
            case .setter(let type): unsafe sy_vm_define_setter(vm, Int32(type.rawValue), name, number)
            case .anyGetter(let type): dynamic[type]?.getter = number
            case .anySetter(let type): dynamic[type]?.setter = number
            case .metamethod(let type):
                unsafe sy_vm_define_metamethod(vm, Int32(type.rawValue), name, number)
            case .hidden, .library, .libraryValue: break
            case .part(let whole, let part, let position):
                unsafe sy_vm_define_part(
                    vm, Int32(whole.rawValue), name, Int32(part.rawValue), Int32(position))
            case .ownTable(let whole, let position):
                unsafe sy_vm_define_own_table(vm, Int32(whole.rawValue), name, Int32(position))
            }
        }
        // Those of the hooks that run most often.
        for type in [LuaType.message, .frame] {
            func getter(_ name: String) -> Int32 {
                Int32(number(of: name) { if case .getter(type) = $0 { true } else { false } })
            }
            unsafe sy_vm_define_payload(vm, Int32(type.rawValue), getter("data"), getter("size"))
        }
        for (type, functions) in dynamic {
            unsafe sy_vm_define_dynamic(vm, Int32(type.rawValue), functions.getter, functions.setter)
        }
    }
}
