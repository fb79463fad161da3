import Config
import Testing

@testable import ProxyServer

@Suite("The limit of open files")
struct FileLimitTests {
    @Test(
        "is short of the connections of one worker, or of all of them",
        arguments: [
            (512, 1, nil, 512, nil),
            (512, 1, nil, 511, "512 worker_connections exceed open file resource limit: 511"),
            (512, 1, 32, 1000, "512 worker_connections exceed open file resource limit: 32"),
            (512, 2, 1024, 1, nil),
            (
                512, 2, nil, 1023,
                "512 worker_connections of each of 2 workers, which share it, exceed open file resource limit: 1023"
            ),
            (Int.max, 2, nil, UInt64.max, nil),
            (Int.max, 1, Int.max, 1, nil),
        ] as [(Int, Int, Int?, UInt64, String?)])
    func shortage(_ connections: Int, _ workers: Int, _ limit: Int?, _ otherwise: UInt64, _ told: String?) {
        var process = ProcessSettings()
        process.workerConnections = connections
        process.workerProcesses = workers
        process.workerFileLimit = limit
        #expect(FileLimit.shortage(process, otherwise: otherwise) == told)
    }
}
