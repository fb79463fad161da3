internal import CSwitchyard
internal import Config
internal import Patterns
internal import Wire

/// `sy.re`: regular expressions, in PCRE2's syntax.
extension LuaAPI {
    private static let optionsHelp = """
        Options are letters: `i` ignores case, `m` lets `^` and `$` match at each line, `s` lets `.` match a line's end, \
        `x` ignores white space in the expression, `u` takes both for UTF-8, `a` matches only where a search \
        begins, at the subject's beginning and then behind each match, `D` lets groups share a name, which stands for \
        the first of them that took part; `j` and `o` say what is done anyway.
        """

    static let patternFunctions: [LuaFunction] = [
        LuaFunction(
            "match", .module("sy.re"), "subject: string, regex: string, options?: string",
            returns: "table<integer|string, string|false>?",
            """
            The first match: its whole at 0, groups by number and by name, false for one that took no part; nil when \
            there is none. A search that takes too many steps is an error. \(optionsHelp)
            """
        ) { call throws(LuaError) in
            let pattern = try call.pattern("re.match")
            guard try call.find(pattern, "re.match") else {
                call.stack.pushNil()
                return .one
            }
            call.pushCaptures(pattern)
            return .one
        },
        LuaFunction(
            "gmatch", .module("sy.re"), "subject: string, regex: string, options?: string",
            returns: "fun(): table<integer|string, string|false>?",
            "Every match, one after the other, as `match` gives them: for use in `for`. \(optionsHelp)"
        ) { call throws(LuaError) in
            _ = try call.pattern("re.gmatch")
            _ = try call.span(1, "subject")
            call.stack.top = 3
            call.stack.pushTable(array: 2)
            call.stack.push(closure: nextMatch, binding: 4)
            return .one
        },
        LuaFunction("re.gmatch", .hidden, "", "Goes to the next match: subject, regex, options, state.") {
            call throws(LuaError) in
            let stack = call.stack
            stack.top = 4
            let pattern = try call.pattern("re.gmatch")
            stack.pushElement(1, of: 4)
            stack.pushElement(2, of: 4)
            let position = Int(stack.integer(5) ?? 0)
            var mode: MatchMode = stack.kind(5) == .nil ? [] : .knownText
            if stack.boolean(6) { mode.insert(.notEmptyAtStart) }
            guard position >= 0, try call.find(pattern, "re.gmatch", from: position, mode) else {
                stack.push(-1)
                stack.setElement(1, of: 4)
                stack.pushNil()
                return .one
            }
            let match = call.interpreter.wholeMatch
            stack.push(match.upperBound)
            stack.setElement(1, of: 4)
            stack.push(match.isEmpty)
            stack.setElement(2, of: 4)
            call.pushCaptures(pattern)
            return .one
        },
        LuaFunction(
            "gsub", .module("sy.re"),
            """
            subject: string, regex: string, \
            replacement: string|number|fun(match: table<integer|string, string|false>): (string|number|false|nil), \
            options?: string, limit?: integer
            """,
            returns: "string, integer", waits: true,
            """
            The subject with its matches replaced, `limit` of them at most, and how many were. In a string, `$1`, \
            `${name}` and `$0` stand for what matched, `$$` for `$`. A function is called with each match, as `match` \
            gives it, and may wait; nil or false leaves the match as it is. \(optionsHelp)
            """
        ) { call throws(LuaError) in
            let stack = call.stack
            stack.top = 5
            let pattern = try call.pattern("re.gsub", options: 4)
            _ = try call.span(1, "subject")
            let limit = try call.optionalInteger(5, "limit") ?? Int.max
            guard limit >= 0 else { throw LuaError("re.gsub: limit: found \(limit), expected 0 or more") }
            switch stack.kind(3) {
            case .string, .number: return try call.replace(pattern, limit: limit)
            case .function:
                stack.top = 4
                stack.push(limit)
                stack.pushTable()
                Substitution().store(on: stack)
                return try call.replaceNext()
            default: throw call.mismatch(3, "replacement", "a string or a function")
            }
        },
        LuaFunction("re.gsub", .hidden, "", "Goes on with what the function returned.") {
            call throws(LuaError) in
            try call.takeReplacement()
            return try call.replaceNext()
        },
    ]

    fileprivate static let nextMatch = number(of: "re.gmatch") {
        if case .hidden = $0 { true } else { false }
    }
    fileprivate static let nextReplacement = number(of: "re.gsub") {
        if case .hidden = $0 { true } else { false }
    }
}

extension Interpreter {
    /// Where the last search found what it looked for.
    fileprivate var wholeMatch: Range<Int> { Int(captures[0])..<Int(captures[1]) }

    /// What a group matched; `nil` when it took no part.
    fileprivate func capture(of group: Int) -> Range<Int>? {
        let start = Int(captures[2 * group])
        let end = Int(captures[2 * group + 1])
        return start >= 0 && end >= start ? start..<end : nil
    }

    /// What the first of these groups that took part has matched.
    fileprivate func firstCapture(of groups: [Int]) -> Range<Int>? {
        for group in groups {
            if let range = capture(of: group) { return range }
        }
        return nil
    }
}

/// How far `re.gsub` has come, while it calls a function. It is kept on the stack, above the five arguments and the table
/// of finished pieces, because the function may wait.
private struct Substitution {
    private static let first = 7

    /// The subject is done with up to here.
    var position = 0
    var count = 0
    /// Where the match is that the function was asked about.
    var match = 0..<0

    init() {}

    init(from stack: LuaStack) {
        position = Int(stack.integer(Self.first) ?? 0)
        count = Int(stack.integer(Self.first + 1) ?? 0)
        match = Int(stack.integer(Self.first + 2) ?? 0)..<Int(stack.integer(Self.first + 3) ?? 0)
    }

    func store(on stack: LuaStack) {
        stack.top = Self.first - 1
        stack.push(position)
        stack.push(count)
        stack.push(match.lowerBound)
        stack.push(match.upperBound)
    }
}

extension LuaCall {
    /// The pattern that the arguments 2 and, for options, 3 ask for.
    fileprivate func pattern(_ name: StaticString, options: Int = 3) throws(LuaError) -> Pattern {
        var chosen: PatternOptions = []
        if isGiven(options) {
            let letters = try span(options, "options")
            for index in letters.indices {
                switch letters[index] {
                case UInt8(ascii: "i"): chosen.insert(.caseInsensitive)
                case UInt8(ascii: "m"): chosen.insert(.multiline)
                case UInt8(ascii: "s"): chosen.insert(.dotMatchesAll)
                case UInt8(ascii: "x"): chosen.insert(.extended)
                case UInt8(ascii: "u"), UInt8(ascii: "U"): chosen.insert(.utf8)
                case UInt8(ascii: "a"): chosen.insert(.anchored)
                case UInt8(ascii: "D"): chosen.insert(.duplicateNames)
                case UInt8(ascii: "j"), UInt8(ascii: "o"): break
                default:
                    let letter = Character(Unicode.Scalar(letters[index]))
                    throw LuaError("\(name): options: found \"\(letter)\", expected letters of \"imsxuaDjo\"")
                }
            }
        }
        let regex = try span(2, "regex")
        do throws(PatternError) {
            return try interpreter.patterns.pattern(regex, chosen)
        } catch {
            throw LuaError("\(name): regex: \(error.message) at offset \(error.offset)")
        }
    }

    /// Searches the subject, which is argument 1; what is found is in the interpreter's `captures`.
    fileprivate func find(
        _ pattern: Pattern, _ name: StaticString, from position: Int = 0, _ mode: MatchMode = []
    ) throws(LuaError) -> Bool {
        let subject = try span(1, "subject")
        if stack.isInterrupted { throw LuaError("\(name): its hook has used up its time") }
        // It takes what PCRE2's own function does, and passes it on.
        let outcome = unsafe pattern.find(
            in: subject, from: position, mode, captures: &interpreter.captures, search: sy_lua_search)
        switch outcome {
        case .found: break
        case .notFound: return false
        case .gaveUp: throw LuaError("\(name): given up: the search takes too many steps")
        case .interrupted: throw LuaError("\(name): its hook has used up its time")
        case .invalidText: throw LuaError("\(name): subject: found bytes that are not UTF-8")
        }
        // `\K` can put a match's beginning anywhere.
        let start = Int(interpreter.captures[0])
        let end = Int(interpreter.captures[1])
        guard start >= position, end >= start else {
            throw LuaError("\(name): the match begins before the place at which the search did")
        }
        return true
    }
}

extension LuaCall {
    /// Pushes a part of the subject.
    private func pushSubject(_ range: Range<Int>) {
        guard let subject = stack.span(1) else { return stack.push("" as StaticString) }
        stack.push(subject.extracting(range))
    }

    /// Pushes the table of what the last search found.
    fileprivate func pushCaptures(_ pattern: Pattern) {
        func push(_ group: Int) -> Bool {
            guard let range = interpreter.capture(of: group) else {
                stack.push(false)
                return false
            }
            pushSubject(range)
            return true
        }
        stack.pushTable(array: pattern.groupCount, fields: pattern.groupNames.count + 1)
        for group in 0...pattern.groupCount {
            _ = push(group)
            stack.setElement(group, of: -2)
        }
        var former = ""
        var isTaken = false
        for (name, group) in pattern.groupNames.sorted(by: { ($0.name, $0.group) < ($1.name, $1.group) }) {
            // Of groups that share a name, the first that took part.
            if name == former, isTaken { continue }
            isTaken = push(group)
            former = name
            stack.setField(name, of: -2)
        }
    }

    /// Replaces by the string that is argument 3.
    fileprivate func replace(_ pattern: Pattern, limit: Int) throws(LuaError) -> LuaResult {
        let template = try ReplacementPart.parse(try bytes(3, "replacement"), pattern)
        let most = interpreter.set.settings.memoryLimit
        var out: [UInt8] = []
        var position = 0
        var count = 0
        var mode: MatchMode = []
        while count < limit, try find(pattern, "re.gsub", from: position, mode) {
            let match = interpreter.wholeMatch
            let subject = try span(1, "subject")
            out.append(copying: subject, position..<match.lowerBound)
            for part in template {
                switch part {
                case .text(let text): out.append(contentsOf: text)
                case .group(let groups):
                    if let range = interpreter.firstCapture(of: groups) {
                        out.append(copying: subject, range)
                    }
                }
            }
            guard out.count <= most else {
                throw LuaError("re.gsub: not enough memory: lua_memory_limit allows \(most) bytes")
            }
            position = match.upperBound
            count += 1
            mode = match.isEmpty ? [.knownText, .notEmptyAtStart] : .knownText
        }
        let subject = try span(1, "subject")
        out.append(copying: subject, position..<subject.count)
        stack.push(out)
        stack.push(count)
        return .two
    }

    /// Looks for the next match, and calls the function that is argument 3 with it.
    fileprivate func replaceNext() throws(LuaError) -> LuaResult {
        var state = Substitution(from: stack)
        let pattern = try pattern("re.gsub", options: 4)
        var mode: MatchMode = []
        if state.count > 0 { mode = state.match.isEmpty ? [.knownText, .notEmptyAtStart] : .knownText }
        let limit = Int(stack.integer(5) ?? 0)
        guard state.count < limit, try find(pattern, "re.gsub", from: state.position, mode) else {
            return try finishReplacement(state)
        }
        state.match = interpreter.wholeMatch
        state.count += 1
        state.store(on: stack)
        pushSubject(state.position..<state.match.lowerBound)
        addPiece()
        stack.pushCopy(3)
        pushCaptures(pattern)
        return callFunction(then: LuaAPI.nextReplacement)
    }

    /// Takes what the function returned, on top of the stack.
    fileprivate func takeReplacement() throws(LuaError) {
        var state = Substitution(from: stack)
        switch stack.kind(-1) {
        case .string, .number: break
        case .nil: pushSubject(state.match)
        case .boolean where !stack.boolean(-1): pushSubject(state.match)
        default:
            throw LuaError(
                "re.gsub: found that the function returned \(stack.typeName(-1)), expected a string, false or nil"
            )
        }
        addPiece()
        state.position = state.match.upperBound
        state.store(on: stack)
    }

    /// Takes the topmost value as the next piece of the result.
    private func addPiece() { stack.setElement(stack.length(ofTable: 6) + 1, of: 6) }

    private func finishReplacement(_ state: Substitution) throws(LuaError) -> LuaResult {
        var out: [UInt8] = []
        for piece in 0..<stack.length(ofTable: 6) {
            stack.pushElement(piece + 1, of: 6)
            if let bytes = stack.span(-1) { out.append(copying: bytes, bytes.indices) }
            stack.pop()
        }
        let subject = try span(1, "subject")
        out.append(copying: subject, state.position..<subject.count)
        stack.push(out)
        stack.push(state.count)
        return .two
    }
}

/// A part of a replacement: text, or what a group matched, the first that took part of those that share a name.
private enum ReplacementPart {
    case text([UInt8])
    case group([Int])

    static func parse(_ template: [UInt8], _ pattern: Pattern) throws(LuaError) -> [ReplacementPart] {
        var parts: [ReplacementPart] = []
        var text: [UInt8] = []
        var index = 0
        while index < template.count {
            let byte = template[index]
            index += 1
            guard byte == UInt8(ascii: "$") else {
                text.append(byte)
                continue
            }
            guard index < template.count else {
                throw LuaError("re.gsub: replacement: ends with a lone \"$\"")
            }
            if template[index] == UInt8(ascii: "$") {
                text.append(byte)
                index += 1
                continue
            }
            var name: ArraySlice<UInt8>
            if template[index] == UInt8(ascii: "{") {
                guard let end = template[index...].firstIndex(of: UInt8(ascii: "}")) else {
                    throw LuaError("re.gsub: replacement: \"${\" without \"}\"")
                }
                name = template[(index + 1)..<end]
                index = end + 1
            } else {
                name = template[index...].prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
                index += name.count
            }
            if !text.isEmpty { parts.append(.text(text)) }
            text = []
            parts.append(.group(try groups(String(decoding: name, as: UTF8.self), pattern)))
        }
        if !text.isEmpty { parts.append(.text(text)) }
        return parts
    }

    private static func groups(_ name: String, _ pattern: Pattern) throws(LuaError) -> [Int] {
        if let number = Int(name), 0...pattern.groupCount ~= number { return [number] }
        let known = pattern.groupNames.filter { $0.name == name }.map(\.group)
        if !known.isEmpty { return known }
        throw LuaError(
            "re.gsub: replacement: found group \"\(name)\", which the expression has not; write \"$$\" for \"$\""
        )
    }
}
