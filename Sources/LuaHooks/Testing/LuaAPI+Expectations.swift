/// `expect(value)`: what a test holds to.
extension LuaAPI {
    static let expectationFunctions: [LuaFunction] = [
        LuaFunction(
            "expect", .global, "value: any", returns: "Expectation",
            "Begins an expectation of the value: `expect(res.status):equals(200)`."
        ) { call throws(LuaError) in
            let tests = try call.tests("expect")
            call.stack.top = max(call.stack.top, 1)
            call.stack.pushCopy(1)
            let handle = tests.add(.expectation(call.stack.keep()))
            call.stack.push(LuaType.expectation, handle)
            return .one
        },
        LuaFunction(
            "equals", .method(.expectation), "expected: any",
            "It is the same; tables are compared by what is in them."
        ) { call throws(LuaError) in
            let seen = try call.expectation("equals")
            let comparison = LuaComparison(seen, seen.other, seen.found, maxLines: LuaSnapshot.maxLines)
            guard comparison.count > 0 else { return .none }
            throw LuaError(seen.mismatch(comparison))
        },
        LuaFunction("differs", .method(.expectation), "other: any", "It is not the same.") {
            call throws(LuaError) in
            let seen = try call.expectation("differs")
            guard LuaComparison(seen, seen.other, seen.found).count == 0 else { return .none }
            throw LuaError("found \(seen.shown(seen.found)), expected something else")
        },
        LuaFunction("is_nil", .method(.expectation), "", "It is nil.") { call throws(LuaError) in
            let seen = try call.expectation("is_nil")
            if case .nil = seen.found { return .none }
            throw LuaError("expected nil, found \(seen.shown(seen.found))")
        },
        LuaFunction("is_true", .method(.expectation), "", "It is neither nil nor false.") {
            call throws(LuaError) in
            let seen = try call.expectation("is_true")
            switch seen.found {
            case .nil, .boolean(false):
                throw LuaError("expected a value that is true, found \(seen.found)")
            default: return .none
            }
        },
        LuaFunction(
            "matches", .method(.expectation), "pattern: string",
            "It is a string with this Lua pattern in it; or a list, with a string that has."
        ) { call throws(LuaError) in
            try call.search("matches", "a match of", isPlain: false)
        },
        LuaFunction(
            "contains", .method(.expectation), "text: string",
            "It is a string with this text in it; or a list, with a string that has."
        ) { call throws(LuaError) in
            try call.search("contains", "a text with", isPlain: true)
        },
        LuaFunction(
            "raises", .method(.expectation), "pattern?: string",
            "It is a function that raises an error, in whose message is this Lua pattern."
        ) { call throws(LuaError) in
            let tests = try call.tests("raises")
            let function = try call.expected("raises")
            call.stack.push(function)
            let kind = call.stack.kind(-1)
            let name = call.stack.typeName(-1)
            call.stack.pop()
            guard kind == .function else { throw LuaError("found a \(name), expected a function") }
            guard let message = tests.failure(of: function) else {
                throw LuaError("expected an error, found none")
            }
            let pattern = try call.optionalBytes(2, "raises")
            if let pattern, try !tests.matches(Array(message.utf8), pattern, isPlain: false) {
                throw LuaError(
                    "expected an error that matches \(LuaValue.string(pattern)), found "
                        + "\(LuaValue.string(Array(message.utf8)))")
            }
            return .none
        },
    ]
}

extension LuaSnapshot {
    /// Differences that are shown of two tables.
    fileprivate static let maxLines = 10
    /// Strings that are shown of a list, such as a log: its last, which are about what was done last.
    private static let maxStrings = 20

    /// What an expectation is of.
    fileprivate var found: LuaValue { values.first ?? .nil }
    /// What it is compared with.
    fileprivate var other: LuaValue { values.count > 1 ? values[1] : .nil }

    /// As `shown`, but a list with several strings is a line for each.
    fileprivate func listed(_ value: LuaValue) -> String {
        guard case .table(let table) = value, tables[table].count > 1 else { return shown(value) }
        var strings: [LuaValue] = []
        for entry in tables[table] {
            guard case (.integer, .string) = (entry.key, entry.value) else { return shown(value) }
            strings.append(entry.value)
        }
        let left = strings.count - Self.maxStrings
        return "\(strings.count) strings:" + (left > 0 ? "\n  \(left) left out here" : "")
            + strings.suffix(Self.maxStrings).map { "\n  \($0)" }.joined()
    }

    /// What was found is something else than what was expected.
    fileprivate func mismatch(_ comparison: LuaComparison) -> String {
        switch (other, found) {
        case (.table, .table):
            let shown = comparison.lines.map { "\n  " + $0 }.joined()
            let more = comparison.count - comparison.lines.count
            return "the table is not as expected:" + shown + (more > 0 ? "\n  and \(more) more" : "")
        case (.string(let expected), .string(let actual))
        where max(expected.count, actual.count) > 40 || expected.contains(10) || actual.contains(10):
            let common = zip(expected, actual).prefix { $0.0 == $0.1 }.count
            return "expected \(other),\n  found  \(found),\n  which differs from byte \(common + 1) on"
        case (.other(let kind, _), .other(let other, _)) where kind == other:
            return "expected a \(kind), found another one"
        default: return "expected \(shown(other)), found \(shown(found))"
        }
    }
}

extension LuaCall {
    fileprivate func expected(_ name: StaticString) throws(LuaError) -> LuaReference {
        guard case .expectation(let value) = try testObject(.expectation, name) else {
            throw LuaError("\(name): call it with a colon")
        }
        return value
    }

    /// The value, and what it is compared with.
    fileprivate func expectation(_ name: StaticString) throws(LuaError) -> LuaSnapshot {
        stack.push(try expected(name))
        defer { stack.pop() }
        return LuaSnapshot(stack, argumentCount > 2 ? [stack.top, 2] : [stack.top])
    }

    fileprivate func search(
        _ name: StaticString, _ what: String, isPlain: Bool
    ) throws(LuaError) -> LuaResult {
        let tests = try tests(name)
        let pattern = try bytes(2, name)
        let seen = try expectation(name)
        var texts: [[UInt8]] = []
        switch seen.found {
        case .string(let text): texts = [text]
        case .table(let table):
            for case .string(let text) in seen.tables[table].map(\.value) { texts.append(text) }
        default: break
        }
        for text in texts where try tests.matches(text, pattern, isPlain: isPlain) { return .none }
        throw LuaError("expected \(what) \(LuaValue.string(pattern)), found \(seen.listed(seen.found))")
    }
}
