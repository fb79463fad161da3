internal import CPCRE2
internal import Glibc

/// What PCRE2 writes to while it matches: one for each thread, made at its first match and kept until it ends.
@unsafe
struct MatchWorkspace {
    /// Steps of backtracking after which a match is given up: some ten milliseconds.
    private static let matchLimit: UInt32 = 1_000_000
    /// Nested backtracking points, where matching interprets.
    private static let depthLimit: UInt32 = 100_000
    /// KiB, where matching interprets.
    private static let heapLimit: UInt32 = 16_384
    /// Bytes: the JIT's stack begins small and may grow to the second figure.
    private static let jitStack = (initial: 32 << 10, maximum: 1 << 20)
    /// Groups for which the first match data has room.
    private static let initialGroups = 31

    private(set) var data: OpaquePointer
    let context: OpaquePointer
    private let stack: OpaquePointer?
    private var groups: Int

    private init(groups: Int) {
        // PCRE2 returns null only when memory is exhausted, where Swift traps as well.
        // Holds because: plain constructors; what they return is freed by `free`.
        guard let data = unsafe pcre2_match_data_create_8(UInt32(groups + 1), nil),
            let context = unsafe pcre2_match_context_create_8(nil)
        else { preconditionFailure("out of memory") }
        // Holds because: the context was made above and is this thread's alone; a JIT stack that could not be
        // had leaves PCRE2 its 32 KiB on the machine stack.
        _ = unsafe pcre2_set_match_limit_8(context, MatchWorkspace.matchLimit)
        _ = unsafe pcre2_set_depth_limit_8(context, MatchWorkspace.depthLimit)
        _ = unsafe pcre2_set_heap_limit_8(context, MatchWorkspace.heapLimit)
        let stack = unsafe pcre2_jit_stack_create_8(
            MatchWorkspace.jitStack.initial, MatchWorkspace.jitStack.maximum, nil)
        if let stack = unsafe stack {
            unsafe pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack))
        }
        unsafe self.data = data
        unsafe self.context = context
        unsafe self.stack = stack
        unsafe self.groups = groups
    }

    /// This thread's workspace, with room for the offsets of `groups` groups.
    static func ofThisThread(groups: Int) -> UnsafeMutablePointer<MatchWorkspace> {
        // Holds because: the key's values are made below and nowhere else.
        if let known = unsafe pthread_getspecific(key) {
            let workspace = unsafe known.assumingMemoryBound(to: MatchWorkspace.self)
            if unsafe workspace.pointee.groups < groups { unsafe workspace.pointee.grow(to: groups) }
            return unsafe workspace
        }
        // Holds because: allocated, initialised, and handed to the thread, whose end frees it.
        let workspace = UnsafeMutablePointer<MatchWorkspace>.allocate(capacity: 1)
        unsafe workspace.initialize(to: MatchWorkspace(groups: max(groups, initialGroups)))
        _ = unsafe pthread_setspecific(key, workspace)
        return unsafe workspace
    }

    /// Frees this thread's workspace; the next match makes another.
    static func discardThisThreads() {
        // Holds because: the key's values are made above, and nobody uses this one any more.
        guard let known = unsafe pthread_getspecific(key) else { return }
        _ = unsafe pthread_setspecific(key, nil)
        unsafe free(known.assumingMemoryBound(to: MatchWorkspace.self))
    }

    private static func free(_ workspace: UnsafeMutablePointer<MatchWorkspace>) {
        // Holds because: the workspace was allocated and initialised by `ofThisThread`, and is freed once.
        unsafe workspace.pointee.free()
        unsafe workspace.deinitialize(count: 1)
        unsafe workspace.deallocate()
    }

    private mutating func grow(to groups: Int) {
        // Holds because: the old data is freed once, and no result in it is still being read.
        guard let larger = unsafe pcre2_match_data_create_8(UInt32(groups + 1), nil) else {
            preconditionFailure("out of memory")
        }
        unsafe pcre2_match_data_free_8(data)
        unsafe data = larger
        unsafe self.groups = groups
    }

    private func free() {
        // Holds because: each was made in `init` (or `grow`) and is freed once, as the thread ends.
        unsafe pcre2_match_data_free_8(data)
        unsafe pcre2_match_context_free_8(context)
        if let stack = unsafe stack { unsafe pcre2_jit_stack_free_8(stack) }
    }

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        // Holds because: the value is the pointer that `ofThisThread` stored, and each thread has its own.
        let failure = unsafe pthread_key_create(&key) { value in
            guard let value = unsafe value else { return }
            unsafe free(value.assumingMemoryBound(to: MatchWorkspace.self))
        }
        precondition(failure == 0, "no thread-local key is left")
        return key
    }()
}
