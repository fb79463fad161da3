#define _GNU_SOURCE
#include "CSwitchyard.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

int sy_timer_create(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }

int sy_timer_set(int timer, int64_t milliseconds) {
    struct itimerspec at = {
        .it_value = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000}};
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

int sy_accept(int listener, struct sockaddr_storage *address, socklen_t *length) {
    return accept4(listener, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void sy_trim_heap(void) { malloc_trim(0); }

const char *sy_error_text(int code, char *buffer, size_t size) { return strerror_r(code, buffer, size); }

int sy_open_append(const char *path, unsigned mode) {
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, mode);
}

int sy_open_truncate(const char *path) {
    return open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0644);
}

int sy_test_write(const char *path) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor >= 0) {
        unlink(path);
    } else if (errno == EEXIST) {
        descriptor = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    }
    if (descriptor < 0) return -1;
    close(descriptor);
    return 0;
}

int sy_replace_descriptor(int source, int target) { return dup3(source, target, O_CLOEXEC) < 0 ? -1 : 0; }

int sy_duplicate(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 3); }

bool sy_is_at(int descriptor, const char *path) {
    struct stat open, there;
    return fstat(descriptor, &open) == 0 && stat(path, &there) == 0 && open.st_dev == there.st_dev
        && open.st_ino == there.st_ino;
}

bool sy_file_is(const char *path, sy_file_kind kind) {
    struct stat information;
    if (stat(path, &information) != 0) return false;
    switch (kind) {
    case SY_FILE_REGULAR: return S_ISREG(information.st_mode);
    case SY_FILE_DIRECTORY: return S_ISDIR(information.st_mode);
    case SY_FILE_EXECUTABLE: return (information.st_mode & S_IXUSR) != 0;
    case SY_FILE_ANY: return true;
    }
    return true;
}

int sy_limit_files(uint64_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    limit.rlim_cur = count;
    if (limit.rlim_max < count) limit.rlim_max = count;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

void sy_name_thread(pthread_t thread, const char *name) {
    char shortened[16];
    strncpy(shortened, name, sizeof shortened - 1);
    shortened[sizeof shortened - 1] = 0;
    pthread_setname_np(thread, shortened);
}

static bool read_tcp_info(int descriptor, struct tcp_info *info) {
    socklen_t length = sizeof *info;
    return getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info, &length) == 0;
}

int64_t sy_tcp_rtt(int descriptor) {
    struct tcp_info info;
    return read_tcp_info(descriptor, &info) ? (int64_t)info.tcpi_rtt : -1;
}

bool sy_tcp_is_taking(int descriptor, uint32_t milliseconds) {
    struct tcp_info info;
    int waiting = 0;
    if (ioctl(descriptor, SIOCOUTQ, &waiting) != 0 || waiting == 0) return false;
    return read_tcp_info(descriptor, &info) && info.tcpi_last_data_sent < milliseconds
        && info.tcpi_last_ack_recv < milliseconds;
}

int sy_thread_id(void) { return (int)gettid(); }

/// The exit status of a daemon's parent, once it is known whether the daemon runs. What failed the daemon says itself, unless
/// it was ended from outside.
static int await_daemon(pid_t daemon, int readiness) {
    char byte;
    ssize_t count;
    do {
        count = read(readiness, &byte, 1);
    } while (count < 0 && errno == EINTR);
    if (count == 1) return 0;
    int status = 0;
    while (waitpid(daemon, &status, 0) < 0) {
        if (errno != EINTR) return 1;
    }
    if (WIFSIGNALED(status)) {
        dprintf(
            STDERR_FILENO, "switchyard: [emerg] daemon process %d ended on signal %d before it was ready\n", (int)daemon,
            WTERMSIG(status));
    }
    return 1;
}

int sy_daemonize(void) {
    int readiness[2];
    if (pipe2(readiness, O_CLOEXEC) != 0) return -1;
    pid_t daemon = fork();
    if (daemon < 0) return -1;
    if (daemon > 0) {
        close(readiness[1]);
        _exit(await_daemon(daemon, readiness[0]));
    }
    close(readiness[0]);
    if (setsid() < 0) return -1;
    int null = open("/dev/null", O_RDWR);
    if (null < 0) return -1;
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0) return -1;
    if (null > STDERR_FILENO) close(null);
    return readiness[1];
}

void sy_daemon_ready(int descriptor) {
    // A parent that was ended meanwhile has nobody to tell.
    if (write(descriptor, "", 1) < 0) {}
    close(descriptor);
}

bool sy_join(pthread_t thread, int64_t deadline) {
    struct timespec time = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &time) == 0;
}

int sy_take_identity(const char *user, const char *group) {
    errno = 0;
    struct passwd *account = getpwnam(user);
    if (account == NULL) return -1;
    uid_t uid = account->pw_uid;
    gid_t gid = account->pw_gid;
    if (group != NULL) {
        struct group *entry = getgrnam(group);
        if (entry == NULL) return -1;
        gid = entry->gr_gid;
    }
    if (initgroups(user, gid) != 0 || setgid(gid) != 0) return -1;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setuid(uid) != 0) return -1;
    // Of the capabilities kept across setuid, only the one that a reload needs for new low ports stays.
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0}};
    data[0].effective = data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
    if (syscall(SYS_capset, &header, data) != 0) return -1;
    return 0;
}

int sy_zone_offset(int64_t unix_seconds) {
    time_t time = (time_t)unix_seconds;
    struct tm parts;
    if (localtime_r(&time, &parts) == NULL) return 0;
    return (int)parts.tm_gmtoff;
}
