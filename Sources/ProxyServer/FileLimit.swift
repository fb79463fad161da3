internal import CSwitchyard
package import Config
internal import EventLoop
internal import Glibc

/// How many files the process may have open: connections are files.
package enum FileLimit {
    /// The soft limit.
    package static var current: UInt64 {
        var limit = rlimit()
        // `limit` outlives the call, which cannot fail for this resource.
        _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return UInt64(limit.rlim_cur)
    }

    /// Sets the soft limit, and the hard one when it is lower, which takes root's rights.
    static func set(_ count: UInt64) throws(SystemError) {
        guard sy_limit_files(count) == 0 else { throw SystemError("setrlimit") }
    }

    /// What the process has open.
    static var openFiles: Int {
        guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
        defer { unsafe closedir(directory) }
        var count = 0
        while unsafe readdir(directory) != nil { count += 1 }
        // Without the directory itself, "." and "..".
        return count - 3
    }

    /// Lets the process have as many files open as its hard limit allows, for what is not to fail for the connections it has.
    static func lift() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        // `limit` outlives both calls.
        guard unsafe getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(resource, &limit)
    }

    /// What is to be said where more connections are allowed than files.
    ///
    /// nginx's workers have a limit each; ours share that of the process.
    ///
    /// - Parameters:
    ///   - process: settings, whose own limit counts if they have one.
    ///   - limit: the limit otherwise.
    /// - Returns: nginx's words, or `nil` where there are enough.
    package static func shortage(_ process: ProcessSettings, otherwise limit: UInt64) -> String? {
        let limit = process.workerFileLimit.map { UInt64(clamping: $0) } ?? limit
        let connections = process.workerConnections
        let workers = Server.workerCount(process)
        if UInt64(clamping: connections) > limit {
            return "\(connections) worker_connections exceed open file resource limit: \(limit)"
        }
        guard UInt64(clamping: connections) > limit / UInt64(clamping: workers) else { return nil }
        return "\(connections) worker_connections of each of \(workers) workers, which share it, "
            + "exceed open file resource limit: \(limit)"
    }
}
