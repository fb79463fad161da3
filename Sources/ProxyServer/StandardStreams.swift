internal import Glibc

package enum StandardStreams {
    /// Has each standard stream that is closed lead nowhere, and fail where it is written to as before. To be called before any
    /// file is opened: the first ones, logs among them, would stand for these streams otherwise, and be closed when a daemon
    /// takes leave of its terminal.
    package static func fill() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // The path is a constant, and the lowest descriptor that is free is this one.
            _ = unsafe open("/dev/null", O_RDONLY)
        }
    }
}
