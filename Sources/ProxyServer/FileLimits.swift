internal import Config
internal import EventLoop

/// The limit of open files as configurations have it, one after the other.
final class FileLimits {
    /// Before any configuration set another.
    let initial = FileLimit.current
    /// What was last asked for, successfully or not.
    private(set) var wanted = FileLimit.current
    private var inForce = FileLimit.current

    /// How many more files than are open may be opened after a reload in any case.
    private static let spareFiles = 64

    /// Without `worker_rlimit_nofile` the limit is what it was before any configuration said something else. What has failed is
    /// tried again once something else is asked for.
    func set(for process: ProcessSettings) throws(SystemError) {
        let wanted = process.workerFileLimit.map { UInt64(clamping: $0) } ?? initial
        guard wanted != self.wanted else { return }
        self.wanted = wanted
        try FileLimit.set(wanted)
        inForce = wanted
    }

    /// Does what takes files of its own, and is not to fail for those that connections are. It may set another limit.
    func lifted(_ work: () -> Void) {
        FileLimit.lift()
        work()
        // Less than there is already would have the workers accept nobody, until enough connections have ended.
        let needed = UInt64(FileLimit.openFiles + Self.spareFiles)
        try? FileLimit.set(max(inForce, needed))
    }
}
