// Regular expressions of scripts: a search ends when its hook's time does, however it backtracks.
#include "LuaInternal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static _Thread_local sigjmp_buf way_out;
static _Thread_local volatile bool is_searching;

/// Leaves a search from the signal handler, where the hook's time is over. What is left behind is machine code that
/// PCRE2 made of the expression: it allocates nothing and holds no lock, and no Swift frame is above `sy_lua_search`.
void sy_lua_leave_search(void) {
    if (!is_searching) return;
    is_searching = false;
    siglongjmp(way_out, 1);
}

int sy_lua_search(
    const struct pcre2_real_code_8 *code, const uint8_t *subject, size_t length, size_t start, uint32_t options,
    struct pcre2_real_match_data_8 *data, struct pcre2_real_match_context_8 *context) {
    size_t machine_code = 0;
    pcre2_pattern_info_8(code, PCRE2_INFO_JITSIZE, &machine_code);
    // Interpreting allocates: its own limits have to do.
    if (machine_code == 0) return pcre2_match_8(code, subject, length, start, options, data, context);
    if (sigsetjmp(way_out, 0) != 0) {
        // The handler did not return, which would have unblocked its signal.
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGVTALRM);
        pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
        return SY_SEARCH_INTERRUPTED;
    }
    is_searching = true;
    atomic_signal_fence(memory_order_seq_cst);
    int result = pcre2_match_8(code, subject, length, start, options, data, context);
    atomic_signal_fence(memory_order_seq_cst);
    is_searching = false;
    return result;
}
