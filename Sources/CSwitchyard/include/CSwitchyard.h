// C that Swift cannot express: macros, variadic functions, and unions of the kernel's interfaces.
#ifndef CSWITCHYARD_H
#define CSWITCHYARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

/// epoll_ctl with the 64-bit user data that the kernel hands back with each event.
int sy_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data);

/// The user data of an event.
static inline uint64_t sy_epoll_data(const struct epoll_event *event) { return event->data.u64; }

/// Opens a file for appending, creating it with mode 0644; close-on-exec. -1 and errno on failure.
int sy_open_append(const char *path);

/// Opens a file for writing, emptied, creating it with mode 0644; close-on-exec. -1 and errno on failure.
int sy_open_truncate(const char *path);

/// Smoothed round-trip time of a TCP socket in microseconds, or -1 where there is none.
int64_t sy_tcp_rtt(int descriptor);

/// WEXITSTATUS and its kin are macros: the exit code of a status that `waitpid` returned, or -1.
int sy_exit_status(int status);

/// Seconds east of Greenwich of the local time zone at `unix_seconds`.
int sy_zone_offset(int64_t unix_seconds);

#endif
