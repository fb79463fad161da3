#define _GNU_SOURCE
#include "CSwitchyard.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

int sy_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int sy_epoll_wait(int epoll, sy_event *events, int capacity, int timeout) {
    struct epoll_event reported[512];
    if (capacity > 512) capacity = 512;
    int count = epoll_wait(epoll, reported, capacity, timeout);
    for (int index = 0; index < count; index++) {
        events[index].data = reported[index].data.u64;
        events[index].events = reported[index].events;
    }
    return count;
}

int sy_accept(int listener, struct sockaddr_storage *address, socklen_t *length) {
    return accept4(listener, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

const char *sy_error_text(int code, char *buffer, size_t size) { return strerror_r(code, buffer, size); }

int sy_open_append(const char *path) {
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

int sy_open_truncate(const char *path) {
    return open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0644);
}

void sy_name_thread(pthread_t thread, const char *name) {
    char shortened[16];
    strncpy(shortened, name, sizeof shortened - 1);
    shortened[sizeof shortened - 1] = 0;
    pthread_setname_np(thread, shortened);
}

int64_t sy_tcp_rtt(int descriptor) {
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return -1;
    return info.tcpi_rtt;
}

int sy_exit_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

int sy_zone_offset(int64_t unix_seconds) {
    time_t time = (time_t)unix_seconds;
    struct tm parts;
    if (localtime_r(&time, &parts) == NULL) return 0;
    return (int)parts.tm_gmtoff;
}
