internal import EventLoop
internal import ProxyCore

/// What the scripts of one worker reach the network through, and whoever asks for OCSP responses.
final class ScriptNetwork {
    private let loop: EventLoop
    let lookups: NameLookups
    let fetches: FetchClient

    init(worker: Worker) {
        loop = worker.loop
        lookups = NameLookups(loop: loop)
        fetches = FetchClient(worker: worker, lookups: lookups)
    }

    /// The generation was replaced: what was kept for later is not kept for the next one.
    func retire() { fetches.closeIdle() }

    /// The worker ends, and nobody waits for anything any more.
    func close() {
        fetches.closeIdle()
        loop.forEachChannel { channel in
            (channel as? FetchConnection)?.end()
            (channel as? ScriptSocketChannel)?.end()
        }
        lookups.close()
    }
}
