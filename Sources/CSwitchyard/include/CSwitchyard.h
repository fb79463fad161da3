// C that Swift cannot express: macros, variadic functions, and unions of the kernel's interfaces.
#ifndef CSWITCHYARD_H
#define CSWITCHYARD_H

#include "SwitchyardLua.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>

/// epoll_ctl with the 64-bit user data that the kernel hands back with each event.
int sy_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data);

/// What epoll reports of one descriptor, without the union.
typedef struct {
    uint64_t data;
    uint32_t events;
} sy_event;

/// epoll_wait for at most `capacity` events.
int sy_epoll_wait(int epoll, sy_event *events, int capacity, int timeout);

/// A timer of the monotonic clock as a descriptor, non-blocking and close-on-exec; -1 and errno on failure.
int sy_timer_create(void);

/// Has the timer expire once, at `milliseconds` (above 0) of the clock; forgets what it has counted before.
int sy_timer_set(int timer, int64_t milliseconds);

/// accept4, non-blocking and close-on-exec.
int sy_accept(int listener, struct sockaddr_storage *address, socklen_t *length);

/// Gives the pages of freed memory back to the system, wherever they lie. Others that allocate meanwhile may have to wait.
void sy_trim_heap(void);

/// The GNU strerror_r: the text of an errno value, in `buffer` or static.
const char *sy_error_text(int code, char *buffer, size_t size);

/// Opens a file for appending, creating it with `mode`; close-on-exec. -1 and errno on failure.
int sy_open_append(const char *path, unsigned mode);

/// Opens a file for writing, emptied, creating it with mode 0644; close-on-exec. -1 and errno on failure.
int sy_open_truncate(const char *path);

/// Whether the file could be written; it is left as it is, or not there. 0, or -1 and errno.
int sy_test_write(const char *path);

/// dup3: makes `target` another name of `source`, close-on-exec. 0, or -1 and errno.
int sy_replace_descriptor(int source, int target);

/// A close-on-exec duplicate, or -1 and errno.
int sy_duplicate(int descriptor);

/// Whether the open file is the one that stands at `path` now.
bool sy_is_at(int descriptor, const char *path);

/// What may stand at a path.
typedef enum sy_file_kind {
    SY_FILE_REGULAR,
    SY_FILE_DIRECTORY,
    SY_FILE_ANY,
    /// Its owner may execute it, or search it.
    SY_FILE_EXECUTABLE,
} sy_file_kind;

/// Whether something of the kind stands at `path`.
bool sy_file_is(const char *path, sy_file_kind kind);

/// Sets the soft limit of open files, and the hard one when it is lower. 0, or -1 and errno.
int sy_limit_files(uint64_t count);

/// pthread_setname_np, the name cut to what it takes.
void sy_name_thread(pthread_t thread, const char *name);

/// Smoothed round-trip time of a TCP socket in microseconds, or -1 where there is none.
int64_t sy_tcp_rtt(int descriptor);

/// Whether a TCP socket has data that its peer has not acknowledged, and has sent some of it, and had an acknowledgement, within
/// the last `milliseconds`: a peer that takes nothing has neither, and one that is gone only the first.
bool sy_tcp_is_taking(int descriptor, uint32_t milliseconds);

/// gettid.
int sy_thread_id(void);

/// Becomes a daemon as nginx does: forks, starts a session, and points the standard streams at /dev/null but for
/// standard error. The parent stays until the daemon has called `sy_daemon_ready` with the descriptor that this returns, and
/// then ends with status 0; with 1 where the daemon ends before that. -1 and errno when it fails. To be called before
/// any thread was started.
int sy_daemonize(void);

/// Lets the parent of a daemon go. Closes `descriptor`.
void sy_daemon_ready(int descriptor);

/// Waits until the thread has ended or the monotonic clock has come to `deadline` (in milliseconds). Whether it has ended.
bool sy_join(pthread_t thread, int64_t deadline);

/// Takes the identity of `user` and `group` for the whole process, keeping the right to bind low ports.
/// 0, or -1 and errno (0 when there is no such user or group).
int sy_take_identity(const char *user, const char *group);

/// Seconds east of Greenwich of the local time zone at `unix_seconds`.
int sy_zone_offset(int64_t unix_seconds);

#endif
