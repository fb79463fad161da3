internal import ProxyCore

/// `sy.shared.NAME`: dictionaries that all workers share.
extension LuaAPI {
    private static let ttlHelp =
        "It stays for `ttl` seconds, or, without one or with 0, until room is needed."

    static let sharedFunctions: [LuaFunction] = [
        LuaFunction(
            "shared", .libraryValue("sy"), "", returns: "table<string, Dictionary>",
            "The dictionaries that `lua_shared_dict` declares, by name. To ask for another is an error."
        ) { _ in .none },
        LuaFunction(
            "get", .method(.dictionary), "key: string", returns: "string|number|boolean|nil",
            "The key's value, or nil."
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            call.push(dictionary.get(try call.bytes(2, "key"), now: call.now))
            return .one
        },
        LuaFunction(
            "set", .method(.dictionary), "key: string, value: string|number|boolean|nil, ttl?: number",
            returns: "boolean?, string?",
            "Gives the key a value; nil deletes it. \(ttlHelp) nil and \"no memory\" where it is too large for all."
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            let key = try call.bytes(2, "key")
            let lifetime = try call.lifetime(4)
            guard let value = try call.value(3) else {
                dictionary.delete(key, now: call.now)
                return call.push(true)
            }
            do throws(SharedDictionary.Failure) {
                try dictionary.set(key, value, lifetime: lifetime, now: call.now)
            } catch {
                return call.fail(error.message)
            }
            return call.push(true)
        },
        LuaFunction(
            "add", .method(.dictionary), "key: string, value: string|number|boolean, ttl?: number",
            returns: "boolean?, string?",
            "As `set`, where the key has no value; false and \"exists\" where it has one, which stays."
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            let key = try call.bytes(2, "key")
            let lifetime = try call.lifetime(4)
            guard let value = try call.value(3) else {
                throw call.mismatch(3, "value", "a string, a number or a boolean")
            }
            do throws(SharedDictionary.Failure) {
                if try dictionary.add(key, value, lifetime: lifetime, now: call.now) {
                    return call.push(true)
                }
            } catch {
                return call.fail(error.message)
            }
            call.stack.push(false)
            call.stack.push("exists")
            return .two
        },
        LuaFunction(
            "incr", .method(.dictionary), "key: string, by?: number, init?: number, ttl?: number",
            returns: "number?, string?",
            """
            Adds to the key's number, 1 unless `by` says otherwise, and returns the sum. Where there is none it begins \
            with `init`, for `ttl` seconds, or without one is nil and "not found".
            """
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            let key = try call.bytes(2, "key")
            let step = try call.numberValue(3, "by") ?? .integer(1)
            let initial = try call.numberValue(4, "init")
            let lifetime = call.isGiven(5) ? try call.lifetime(5) ?? .max : nil
            do throws(SharedDictionary.Failure) {
                call.push(
                    try dictionary.increment(
                        key, by: step, initial: initial, lifetime: lifetime, now: call.now))
            } catch {
                return call.fail(error.message)
            }
            return .one
        },
        LuaFunction(
            "cas", .method(.dictionary),
            "key: string, old: string|number|boolean|nil, new: string|number|boolean|nil, ttl?: number",
            returns: "boolean?, string?",
            """
            Puts `new` in the place of `old` and returns true; false when the value is another by now. nil stands for \
            no value. Without `ttl` a value keeps the time that the old one had; 0 is for ever.
            """
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            let key = try call.bytes(2, "key")
            let old = try call.value(3)
            let new = try call.value(4)
            let lifetime = call.isGiven(5) ? try call.lifetime(5) ?? .max : nil
            do throws(SharedDictionary.Failure) {
                return call.push(
                    try dictionary.compareAndSet(
                        key, expected: old, new: new, lifetime: lifetime, now: call.now))
            } catch {
                return call.fail(error.message)
            }
        },
        LuaFunction(
            "delete", .method(.dictionary), "key: string", returns: "boolean",
            "Deletes the key; whether it had a value."
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            return call.push(dictionary.delete(try call.bytes(2, "key"), now: call.now))
        },
        LuaFunction(
            "ttl", .method(.dictionary), "key: string", returns: "number?",
            "Seconds for which the key's value stays, 0 for one without such a time; nil where there is no value."
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            switch dictionary.lifetime(of: try call.bytes(2, "key"), now: call.now) {
            case nil: call.stack.pushNil()
            case .forever: call.stack.push(0)
            case .milliseconds(let time): call.stack.push(Double(time) / 1000)
            }
            return .one
        },
        LuaFunction(
            "keys", .method(.dictionary), "max?: integer", returns: "string[]",
            "Keys, those used last first: 1024 of them, or at most `max`."
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            let most = try call.optionalInteger(2, "max") ?? 1024
            guard most >= 0 else { throw LuaError("max: found \(most), expected 0 or more") }
            return call.push(list: dictionary.keys(most, now: call.now))
        },
        LuaFunction(
            "size", .method(.dictionary), "", returns: "integer, integer",
            "Bytes that are taken, and bytes that there are in all."
        ) { call throws(LuaError) in
            let dictionary = try call.dictionary()
            call.stack.push(dictionary.size)
            call.stack.push(dictionary.capacity)
            return .two
        },
    ]
}

extension LuaCall {
    fileprivate var now: Int64 { interpreter.host.clock.now.monotonic }

    fileprivate func dictionary() throws(LuaError) -> SharedDictionary {
        guard let handle = stack.object(1, .dictionary),
            interpreter.dictionaries.indices.contains(Int(handle.slot))
        else {
            throw wrongObject(1, "a shared dictionary")
        }
        return interpreter.dictionaries[Int(handle.slot)]
    }

    fileprivate func push(_ value: SharedDictionary.Value?) {
        switch value {
        case nil: stack.pushNil()
        case .string(let bytes): stack.push(bytes)
        case .integer(let integer): stack.push(integer)
        case .number(let number): stack.push(number)
        case .boolean(let boolean): stack.push(boolean)
        }
    }

    /// A value to be kept; `nil` for nil.
    fileprivate func value(_ index: Int) throws(LuaError) -> SharedDictionary.Value? {
        switch stack.kind(index) {
        case .none, .nil: return nil
        case .boolean: return .boolean(stack.boolean(index))
        case .number: return try numberValue(index, "value")
        case .string: return .string(try bytes(index, "value"))
        default: throw mismatch(index, "value", "a string, a number, a boolean or nil")
        }
    }

    fileprivate func numberValue(
        _ index: Int, _ name: StaticString
    ) throws(LuaError) -> SharedDictionary.Value? {
        guard isGiven(index) else { return nil }
        guard stack.kind(index) == .number else { throw mismatch(index, name, "a number") }
        if stack.isInteger(index), let integer = stack.integer(index) { return .integer(integer) }
        return .number(try number(index, name))
    }

    /// Milliseconds; `nil` for ever.
    fileprivate func lifetime(_ index: Int) throws(LuaError) -> Int64? {
        guard isGiven(index) else { return nil }
        let time = try milliseconds(index, "ttl")
        return time == 0 ? nil : time
    }
}
