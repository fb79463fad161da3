#define _GNU_SOURCE
#include "CSwitchyard.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/wait.h>
#include <time.h>

int sy_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int sy_open_append(const char *path) {
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

int sy_open_truncate(const char *path) {
    return open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0644);
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
