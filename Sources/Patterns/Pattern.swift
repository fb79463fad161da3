internal import CPCRE2

/// A compiled regular expression, in PCRE2's syntax as nginx uses it: on bytes, not on UTF-8 characters.
///
/// Compiled to machine code when the processor allows. One pattern serves all threads at once: what a match
/// needs to write to belongs to the thread (`MatchWorkspace`), and none of it is allocated per match.
@safe
package final class Pattern: Sendable {
    package let source: String
    package let isCaseInsensitive: Bool
    /// Named groups and their numbers, in the order of the groups.
    package let groupNames: [(name: String, group: Int)]
    package let groupCount: Int

    /// What does the searching: PCRE2's own function, or one around it with the same parameters, for a search that may
    /// have to be broken off. That one returns
    /// `interrupted` when it was.
    @unsafe package typealias Search =
        @convention(c) (
            _ code: OpaquePointer?, _ subject: UnsafePointer<UInt8>?, _ length: Int, _ start: Int,
            _ options: UInt32, _ data: OpaquePointer?, _ context: OpaquePointer?
        ) -> Int32

    /// Below all of PCRE2's own numbers; `SY_SEARCH_INTERRUPTED` is the same.
    static let interrupted: Int32 = -1000

    private static let search: Search = { code, subject, length, start, options, data, context in
        unsafe pcre2_match_8(code, subject, length, start, options, data, context)
    }

    /// Whether the pattern became machine code.
    package let isCompiled: Bool
    /// Whether this processor, and this PCRE2, can have patterns as machine code.
    package static let canCompile: Bool = {
        var answer: UInt32 = 0
        // Holds because: PCRE2_CONFIG_JIT writes one uint32_t.
        return unsafe pcre2_config_8(UInt32(PCRE2_CONFIG_JIT), &answer) == 0 && answer == 1
    }()

    // Holds because: PCRE2 never writes to compiled code after `pcre2_jit_compile`, which `init` calls.
    private nonisolated(unsafe) let code: OpaquePointer

    /// - Throws: `PatternError` with PCRE2's message and the offset at which it stands.
    package convenience init(_ source: String, caseInsensitive: Bool = false) throws(PatternError) {
        try self.init(bytes: Array(source.utf8), caseInsensitive: caseInsensitive)
    }

    /// As `init(_:caseInsensitive:)`, for a source that need not be UTF-8.
    package convenience init(bytes: [UInt8], caseInsensitive: Bool = false) throws(PatternError) {
        try self.init(bytes: bytes, options: caseInsensitive ? .caseInsensitive : [])
    }

    package init(bytes: [UInt8], options: PatternOptions) throws(PatternError) {
        var errorCode: Int32 = 0
        var errorOffset = 0
        // Holds because: the pattern's bytes and their number come from one array, alive during the call.
        let compiled = unsafe pcre2_compile_8(bytes, bytes.count, options.bits, &errorCode, &errorOffset, nil)
        guard let compiled = unsafe compiled else {
            throw PatternError(message: Pattern.message(of: errorCode), offset: errorOffset)
        }
        // Where no JIT is to be had, this fails and matching interprets: slower, the same results.
        // Holds because: the code was made above and is not shared yet.
        _ = unsafe pcre2_jit_compile_8(compiled, UInt32(PCRE2_JIT_COMPLETE))

        var size = 0
        // Holds because: PCRE2_INFO_JITSIZE writes one size_t.
        _ = unsafe pcre2_pattern_info_8(compiled, UInt32(PCRE2_INFO_JITSIZE), &size)
        isCompiled = size > 0

        var groups: UInt32 = 0
        // Holds because: PCRE2_INFO_CAPTURECOUNT writes one uint32_t.
        _ = unsafe pcre2_pattern_info_8(compiled, UInt32(PCRE2_INFO_CAPTURECOUNT), &groups)
        // Holds because: `compiled` stays alive until `deinit` frees it.
        unsafe code = compiled
        groupNames = unsafe Pattern.names(of: compiled)
        groupCount = Int(groups)
        source = String(decoding: bytes, as: UTF8.self)
        isCaseInsensitive = options.contains(.caseInsensitive)
    }

    deinit {
        // Holds because: nobody can match with a pattern that nobody refers to.
        unsafe pcre2_code_free_8(code)
    }

    /// Matches `subject` and stores where each group begins and ends into `captures` (2 × (groupCount + 1)
    /// offsets; -1 where a group took no part). Leaves `captures` alone when it does not match.
    ///
    /// - Returns: whether it matched, or that it was given up.
    package func firstMatch(in subject: Span<UInt8>, captures: inout [Int32]) -> MatchOutcome {
        // Holds because: it is PCRE2's own function.
        unsafe find(in: subject, captures: &captures, search: Pattern.search)
    }

    /// As `firstMatch`, from the offset `start` on (what is before it is there for `\b` and for looking behind).
    package func find(
        in subject: Span<UInt8>, from start: Int = 0, _ mode: MatchMode = [], captures: inout [Int32],
        search: Search
    ) -> MatchOutcome {
        guard subject.count <= Int(Int32.max), start >= 0, start <= subject.count else { return .notFound }
        // Holds because: the workspace is this thread's alone, and is not used again on this thread before the
        // offsets have been copied out of it.
        let workspace = unsafe MatchWorkspace.ofThisThread(groups: groupCount)
        let result = unsafe run(on: subject, from: start, mode.bits, workspace, search)
        guard result > 0 else {
            let outcome = MatchOutcome(result)
            // What a search wrote to that was broken off is in no known state.
            if outcome == .interrupted { unsafe MatchWorkspace.discardThisThreads() }
            return outcome
        }
        // Holds because: the workspace's match data has room for all groups, so PCRE2 filled 2 × (groups + 1)
        // offsets, and they stay there until this thread matches again.
        let offsets = unsafe UnsafeBufferPointer(
            start: pcre2_get_ovector_pointer_8(workspace.pointee.data), count: 2 * (groupCount + 1))
        captures.removeAll(keepingCapacity: true)
        for index in 0..<(2 * (groupCount + 1)) {
            // PCRE2_UNSET is all ones, -1 as a signed number; no subject is longer than Int32 tells.
            captures.append(Int32(truncatingIfNeeded: unsafe offsets[index]))
        }
        return .found
    }

    package func firstMatch(in subject: [UInt8], captures: inout [Int32]) -> MatchOutcome {
        firstMatch(in: subject.span, captures: &captures)
    }

    package func matches(_ subject: Span<UInt8>) -> Bool {
        guard subject.count <= Int(Int32.max) else { return false }
        // Holds because: the workspace is this thread's alone.
        return unsafe run(
            on: subject, from: 0, 0, MatchWorkspace.ofThisThread(groups: groupCount), Pattern.search) > 0
    }

    package func matches(_ subject: [UInt8]) -> Bool {
        matches(subject.span)
    }

    /// What PCRE2 returns: a number above 0 for a match.
    private func run(
        on subject: Span<UInt8>, from start: Int, _ options: UInt32,
        _ workspace: UnsafeMutablePointer<MatchWorkspace>, _ search: Search
    ) -> Int32 {
        // Holds because: the span keeps its bytes alive while the closure runs, and PCRE2 takes an empty
        // subject at a null address.
        unsafe subject.withUnsafeBufferPointer { bytes in
            unsafe search(
                code, bytes.baseAddress, bytes.count, start, options, workspace.pointee.data,
                workspace.pointee.context)
        }
    }

    private static func message(of errorCode: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        // Holds because: the buffer and its size come from one array; PCRE2 cuts the message to fit.
        let length = unsafe pcre2_get_error_message_8(errorCode, &buffer, buffer.count)
        guard length > 0 else { return "error \(errorCode)" }
        return String(decoding: buffer[..<Int(length)], as: UTF8.self)
    }

    private static func names(of code: OpaquePointer) -> [(name: String, group: Int)] {
        var count: UInt32 = 0
        var entrySize: UInt32 = 0
        var table: UnsafePointer<UInt8>?
        // Holds because: these two write one uint32_t each, and the third one pointer into `code`.
        _ = unsafe pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMECOUNT), &count)
        _ = unsafe pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMEENTRYSIZE), &entrySize)
        _ = unsafe pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMETABLE), &table)
        guard count > 0, let start = unsafe table else { return [] }
        // Holds because: the table is `count` entries of `entrySize` bytes, and lives as long as the code.
        let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: Int(count) * Int(entrySize)))
        var names: [(name: String, group: Int)] = []
        for entry in stride(from: 0, to: bytes.count, by: Int(entrySize)) {
            // Two bytes of group number, high one first, then the name, ended by NUL.
            let group = Int(bytes[entry]) << 8 | Int(bytes[entry + 1])
            let name = bytes[(entry + 2)..<(entry + Int(entrySize))].prefix { $0 != 0 }
            names.append((String(decoding: name, as: UTF8.self), group))
        }
        return names.sorted { $0.group < $1.group }
    }
}

package struct PatternError: Error, Equatable, Sendable {
    package var message: String
    /// Bytes from the pattern's start.
    package var offset: Int

    package init(message: String, offset: Int) {
        self.message = message
        self.offset = offset
    }
}
