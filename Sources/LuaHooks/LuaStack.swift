internal import CSwitchyard
internal import Wire

/// The stack of a coroutine, or of the interpreter itself: where values pass between Lua and Swift.
///
/// Positions are Lua's: 1 is the lowest, -1 the topmost. Nothing here raises a Lua error, and all of it is to be used
/// only while the interpreter is alive, by its own thread: both are the `Interpreter`'s to see to.
@safe
struct LuaStack {
    private let lua: OpaquePointer

    init(_ lua: OpaquePointer) { unsafe self.lua = lua }

    enum Kind: Int32 {
        case none = -1
        case `nil` = 0
        case boolean = 1
        case number = 3
        case string = 4
        case table = 5
        case function = 6
        case object = 7
        /// Threads, and what libraries in C keep.
        case other = 8
    }

    var top: Int {
        get { Int(unsafe sy_lua_top(lua)) }
        nonmutating set { unsafe sy_lua_set_top(lua, Int32(newValue)) }
    }

    func pop(_ count: Int = 1) { unsafe sy_lua_set_top(lua, Int32(-count - 1)) }
    func kind(_ index: Int) -> Kind { Kind(rawValue: unsafe sy_lua_type(lua, Int32(index))) ?? .other }

    /// As Lua's `type` says, or a type's own name.
    func typeName(_ index: Int) -> String { unsafe String(cString: sy_lua_type_name(lua, Int32(index))) }

    /// What stands at `index`, for a message about an argument: its `typeName`, or "nothing" where none was given.
    func foundName(_ index: Int) -> String { kind(index) == .none ? "nothing" : typeName(index) }

    /// As `typeName`, or the value where that is short: of a number or a boolean.
    func shown(_ index: Int) -> String {
        switch kind(index) {
        case .number: text(index) ?? ""
        case .boolean: String(boolean(index))
        default: typeName(index)
        }
    }

    /// What tells a table, a function or an object from the others of its kind, for as long as it lives.
    func identity(_ index: Int) -> UInt { UInt(bitPattern: unsafe sy_lua_identity(lua, Int32(index))) }

    // MARK: Reading

    func boolean(_ index: Int) -> Bool { unsafe sy_lua_boolean(lua, Int32(index)) }

    func number(_ index: Int) -> Double? {
        var value = 0.0
        return unsafe sy_lua_number(lua, Int32(index), &value) ? value : nil
    }

    func integer(_ index: Int) -> Int64? {
        var value: Int64 = 0
        return unsafe sy_lua_integer(lua, Int32(index), &value) ? value : nil
    }

    /// Whether a number is one without a fraction by its kind, not only by its value.
    func isInteger(_ index: Int) -> Bool { unsafe sy_lua_is_integer(lua, Int32(index)) }

    /// The bytes of a string, or of a number's text. They are Lua's own, and stay as long as the value is on the stack.
    @_lifetime(borrow self)
    func span(_ index: Int) -> Span<UInt8>? {
        var count = 0
        guard let start = unsafe sy_lua_string(lua, Int32(index), &count) else { return nil }
        let bytes = unsafe UnsafeRawPointer(start).assumingMemoryBound(to: UInt8.self)
        // Lua does not move strings, and the stack holds this one for as long as the caller leaves it there.
        return unsafe _overrideLifetime(Span(_unsafeStart: bytes, count: count), borrowing: self)
    }

    func bytes(_ index: Int) -> [UInt8]? {
        guard let span = span(index) else { return nil }
        var bytes: [UInt8] = []
        bytes.append(copying: span, span.indices)
        return bytes
    }

    func text(_ index: Int) -> String? { bytes(index).map { String(decoding: $0, as: UTF8.self) } }

    func object(_ index: Int, _ type: LuaType) -> ObjectHandle? {
        let found = unsafe sy_lua_object(lua, Int32(index), Int32(type.rawValue))
        guard found >= 0 else { return nil }
        return ObjectHandle(
            slot: UInt32(truncatingIfNeeded: found >> 32), generation: UInt32(truncatingIfNeeded: found))
    }

    /// A tunnel of another interpreter, by an object of this type that stands for it or a part of it.
    func remoteTunnel(_ index: Int, _ type: LuaType) -> RemoteTunnel? {
        var tunnel = RemoteTunnel(list: 0, slot: 0, id: TunnelID(first: 0, second: 0))
        let isFound = unsafe sy_lua_remote_object(
            lua, Int32(index), Int32(type.rawValue), &tunnel.slot, &tunnel.list, &tunnel.id.first,
            &tunnel.id.second)
        return isFound ? tunnel : nil
    }

    /// What is in the table besides the elements of a list of this length, as messages name it; `nil` where there is nothing.
    func keyBeyondList(_ index: Int, _ length: Int) -> String? {
        let table = index < 0 ? top + index + 1 : index
        pushNil()
        while next(inTable: table) {
            pop()
            if kind(-1) == .number, let position = integer(-1), 1...Int64(max(length, 1)) ~= position,
                length > 0
            {
                continue
            }
            defer { pop() }
            switch kind(-1) {
            case .string: return "the field \"\(text(-1) ?? "")\""
            case .number: return "the key \(text(-1) ?? "")"
            default: return "a \(typeName(-1)) as a key"
            }
        }
        return nil
    }

    /// The lines that a function was written on.
    func lines(ofFunction index: Int) -> ClosedRange<Int>? {
        var first: Int32 = 0
        var last: Int32 = 0
        guard unsafe sy_lua_function_lines(lua, Int32(index), &first, &last), first <= last else {
            return nil
        }
        return Int(first)...Int(last)
    }

    // MARK: Pushing

    func pushNil() { unsafe sy_lua_push_nil(lua) }
    func push(_ value: Bool) { unsafe sy_lua_push_boolean(lua, value) }
    func push(_ value: Int64) { unsafe sy_lua_push_integer(lua, value) }
    func push(_ value: Int) { unsafe sy_lua_push_integer(lua, Int64(value)) }
    func push(_ value: Double) { unsafe sy_lua_push_number(lua, value) }

    func push(_ bytes: Span<UInt8>) {
        // Lua copies the bytes during the call.
        unsafe bytes.withUnsafeBufferPointer { unsafe sy_lua_push_string(lua, $0.baseAddress, $0.count) }
    }

    func push(_ bytes: [UInt8]) { push(bytes.span) }
    func push(_ bytes: [UInt8], _ range: Range<Int>) { push(bytes.span.extracting(range)) }

    func push(_ text: String) {
        var text = text
        // Lua copies the bytes during the call.
        text.withUTF8 { unsafe sy_lua_push_string(lua, $0.baseAddress, $0.count) }
    }

    func push(_ text: StaticString) { unsafe sy_lua_push_string(lua, text.utf8Start, text.utf8CodeUnitCount) }

    func push(_ type: LuaType, _ handle: ObjectHandle) {
        unsafe sy_lua_push_object(lua, Int32(type.rawValue), handle.slot, handle.generation)
    }

    func push(_ tunnel: RemoteTunnel) {
        unsafe sy_lua_push_remote_object(
            lua, Int32(LuaType.remoteFlow.rawValue), tunnel.slot, tunnel.list, tunnel.id.first,
            tunnel.id.second)
    }

    /// The API function of this number, the topmost `values` bound to it as its first arguments.
    func push(closure number: Int, binding values: Int) {
        unsafe sy_lua_push_closure(lua, Int32(number), Int32(values))
    }

    /// Pushes what a text in JSON says; pushes nothing when it is none.
    func push(json text: [UInt8]) -> Bool {
        // The text is read during the call.
        unsafe text.withUnsafeBytes { unsafe sy_lua_decode_json(lua, $0.baseAddress, $0.count) }
    }

    func pushCopy(_ index: Int) { unsafe sy_lua_push_copy(lua, Int32(index)) }
    func remove(_ index: Int) { unsafe sy_lua_remove(lua, Int32(index)) }
    func insert(_ index: Int) { unsafe sy_lua_insert(lua, Int32(index)) }
    func move(_ count: Int, to other: LuaStack) { unsafe sy_lua_move(lua, other.lua, Int32(count)) }
    func reserve(_ count: Int) -> Bool { unsafe sy_lua_reserve(lua, Int32(clamping: count)) }

    /// `file:line: ` of the script that called.
    func pushWhere() { unsafe sy_lua_push_where(lua) }
    /// Where the function at `index` begins, likewise.
    func pushPlace(ofFunction index: Int) { unsafe sy_lua_push_function_place(lua, Int32(index)) }

    // MARK: Tables, without their metatables

    func pushTable(array: Int = 0, fields: Int = 0) {
        unsafe sy_lua_push_table(lua, Int32(clamping: array), Int32(clamping: fields))
    }

    /// Pushes the field's value.
    @discardableResult
    func pushField(_ name: StaticString, of table: Int) -> Kind {
        // The text is in the program.
        let start = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return Kind(rawValue: unsafe sy_lua_get_field(lua, Int32(table), start, name.utf8CodeUnitCount))
            ?? .other
    }

    @discardableResult
    func pushField(_ name: String, of table: Int) -> Kind {
        var name = name
        // Lua copies the bytes during the call.
        let kind = name.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) {
                unsafe sy_lua_get_field(lua, Int32(table), $0.baseAddress, $0.count)
            }
        }
        return Kind(rawValue: kind) ?? .other
    }

    @discardableResult
    func pushField(_ name: [UInt8], of table: Int) -> Kind {
        // Lua copies the bytes during the call.
        let kind = unsafe name.withUnsafeBytes { bytes in
            let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe sy_lua_get_field(lua, Int32(table), start, bytes.count)
        }
        return Kind(rawValue: kind) ?? .other
    }

    /// Takes the topmost value as the field's.
    func setField(_ name: StaticString, of table: Int) {
        // The text is in the program.
        let start = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        unsafe sy_lua_set_field(lua, Int32(table), start, name.utf8CodeUnitCount)
    }

    /// Takes the topmost value as the field's.
    func setField(_ name: String, of table: Int) {
        var name = name
        // Lua copies the bytes during the call.
        name.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) {
                unsafe sy_lua_set_field(lua, Int32(table), $0.baseAddress, $0.count)
            }
        }
    }

    @discardableResult
    func pushElement(_ position: Int, of table: Int) -> Kind {
        Kind(rawValue: unsafe sy_lua_get_index(lua, Int32(table), Int64(position))) ?? .other
    }

    /// Takes the topmost value as the element.
    func setElement(_ position: Int, of table: Int) {
        unsafe sy_lua_set_index(lua, Int32(table), Int64(position))
    }
    /// Takes the topmost value, a table, as the metatable.
    func setMetatable(of table: Int) { unsafe sy_lua_set_metatable(lua, Int32(table)) }
    func hasMetatable(_ index: Int, _ reference: LuaReference) -> Bool {
        unsafe sy_lua_has_kept_metatable(lua, Int32(index), reference.number)
    }
    func length(ofTable table: Int) -> Int { Int(unsafe sy_lua_length(lua, Int32(table))) }
    /// Takes a key and pushes the next with its value; false, with nothing pushed, at the end. Begin with nil. The key must
    /// not be read as a string while it is a number, and the table not be changed.
    func next(inTable table: Int) -> Bool { unsafe sy_lua_next(lua, Int32(table)) }

    /// Pushes an array, of elements as `push` pushes each.
    func push<Element>(list: [Element], _ push: (Element) -> Void) {
        pushTable(array: list.count)
        for (index, element) in list.enumerated() {
            push(element)
            setElement(index + 1, of: -2)
        }
    }

    // MARK: Keeping values

    /// Keeps the topmost value, which is taken off.
    func keep() -> LuaReference { LuaReference(number: unsafe sy_lua_keep(lua)) }
    /// As above, in the place of what is kept there.
    func keep(at reference: LuaReference) { unsafe sy_lua_keep_at(lua, reference.number) }
    /// Keeps nothing in the place, which stays reserved.
    func forget(_ reference: LuaReference) { unsafe sy_lua_forget(lua, reference.number) }
    func push(_ reference: LuaReference) { unsafe sy_lua_push_kept(lua, reference.number) }
    func release(_ reference: LuaReference) { unsafe sy_lua_release(lua, reference.number) }

    /// Pushes the table that an object keeps for a script, or nil.
    func pushOwnTable(of object: Int, part: Int, script: Int) {
        unsafe sy_lua_push_own_table(lua, Int32(object), Int32(part), Int32(script))
    }

    /// Takes the topmost value as that.
    func setOwnTable(of object: Int, part: Int, script: Int) {
        unsafe sy_lua_set_own_table(lua, Int32(object), Int32(part), Int32(script))
    }

    /// Pushes a copy of plain data on another stack, perhaps another interpreter's. Of objects it has those timers that
    /// `timers` gives others for, which are in the order of their numbers.
    ///
    /// - Returns: false, with nothing pushed, when it is no plain data or is too large.
    func copyPlain(
        _ index: Int, to other: LuaStack, timers: [(former: ScriptTimers.ID, now: ScriptTimers.ID)] = []
    ) -> Bool {
        // Of a timer, what names its object is its number.
        let pairs = timers.map { (Int64($0.former), Int64($0.now)) }.sorted { $0.0 < $1.0 }
        // Everything is read during the call.
        return unsafe pairs.map(\.0).withUnsafeBufferPointer { former in
            unsafe pairs.map(\.1).withUnsafeBufferPointer { now in
                var objects = unsafe sy_renumbering(
                    type: Int32(LuaType.timer.rawValue), count: pairs.count, former: former.baseAddress,
                    now: now.baseAddress)
                return unsafe sy_lua_copy_plain(lua, Int32(index), other.lua, &objects)
            }
        }
    }

    // MARK: Waiting

    /// The call may suspend its hook.
    var mayWait: Bool { unsafe sy_lua_may_wait(lua) }
    /// The hook has used up its time: to be asked by whatever may loop for long.
    var isInterrupted: Bool { unsafe sy_lua_interrupted(lua) }
    /// The call was made in a coroutine that the script made.
    var isOwnCoroutine: Bool { unsafe sy_lua_in_own_coroutine(lua) }

    // MARK: Loading

    /// Compiles `text` and pushes the function, its globals those of the environment at `environment`, or pushes what is
    /// wrong with it.
    func load(_ text: [UInt8], environment: Int, name: String, line: Int, parameters: String?) -> Bool {
        // Everything is read during the call.
        unsafe text.withUnsafeBytes { bytes in
            let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe sy_lua_load(
                lua, Int32(environment), start, bytes.count, "@" + name, Int32(clamping: line), parameters)
        }
    }

    /// Pushes what every script's environment begins with under this name.
    func pushGlobal(_ name: String) { unsafe sy_lua_push_global(lua, name) }
    func pushEnvironment() { unsafe sy_lua_push_environment(lua) }
}

/// A value that Lua keeps for Swift, until `LuaStack.release`.
struct LuaReference: Hashable {
    fileprivate let number: Int32

    /// No value is kept there.
    static let none = LuaReference(number: -1)
}

/// Which of the objects of its type one is; see `LuaTypes.c`.
struct ObjectHandle: Hashable {
    var slot: UInt32
    var generation: UInt32
}

extension ObjectHandle {
    /// A timer's number names it once and for all, so an object of one that is over means no other. Its high half is the slot,
    /// which has to stay below 2^31, as those of others do.
    init(timer: ScriptTimers.ID) {
        self.init(
            slot: UInt32(truncatingIfNeeded: timer >> 32), generation: UInt32(truncatingIfNeeded: timer))
    }

    var timer: ScriptTimers.ID { ScriptTimers.ID(slot) << 32 | ScriptTimers.ID(generation) }
}
