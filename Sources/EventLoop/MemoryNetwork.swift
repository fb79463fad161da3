internal import CSwitchyard
internal import Glibc

/// A network in memory: what a loop made with it has in place of the kernel's sockets.
///
/// Towards the loop it behaves as Linux does: the same calls come back short, end, or fail with the same `errno`;
/// readiness is reported at its edges, with all that is true when it is; what waits for an accept is reported until
/// it is taken. Bytes arrive at once, in the order in which things were done, so a run is the same each time.
///
/// Its descriptors are numbers of its own, which mean nothing to the kernel. Tests hold the far ends: `MemoryPeer`
/// for a connection, `MemoryBackend` for where the loop connects to.
///
/// Confined to one thread, as the loop is.
package final class MemoryNetwork {
    /// How many bytes a connection takes from the loop before its far end reads them.
    package let bufferSize: Int
    /// What names mean, whoever asks; others do not exist. In lower case.
    package var names: [String: [SocketAddress]] = [:]
    /// Names that nobody answers for: lookups fail at once, as if their time were over.
    package var silentNames: Set<String> = []
    /// How long an answer is good, in milliseconds, where a resolver does not say.
    static let timeToLive: Int64 = 30_000
    /// Where services are to be had, by their whole names in lower case.
    package var services: [String: [ServiceRecord]] = [:]
    /// What names mean that are not among `names`.
    package var otherNames: ((String) -> [SocketAddress])?

    /// No descriptor of the kernel's: should one of these reach a system call, it fails.
    private static let firstDescriptor: Int32 = 1 << 30
    private static let firstClientPort: UInt16 = 40_000

    private var sources: [MemorySource?] = []
    private var freeSources: [Int] = []
    private var listeners: [SocketAddress: MemoryBacklog] = [:]
    private var backends: [SocketAddress: MemoryBackend] = [:]
    private var everywhere: MemoryBackend?
    private var lastClientPort = MemoryNetwork.firstClientPort
    /// Sources that may have become ready, in that order.
    private var ready: [MemorySource] = []
    private var readyBatch: [MemorySource] = []

    package init(bufferSize: Int = 64 * 1024) { self.bufferSize = max(1, bufferSize) }

    // MARK: For tests

    /// Connects to where the loop listens, as a client at `client`: 127.0.0.1 and a port of its own unless given.
    ///
    /// - Throws: ECONNREFUSED where nobody listens.
    package func connect(to address: SocketAddress, from client: SocketAddress? = nil) throws(SystemError)
        -> MemoryPeer
    {
        guard let listener = listener(at: address) else {
            throw SystemError("connect", code: address.isUnix ? ENOENT : ECONNREFUSED)
        }
        let (near, far) = pair(from: client ?? clientAddress(for: address), to: address)
        arrive(far, at: listener)
        return MemoryPeer(self, near)
    }

    /// Takes connections to `address`, or to wherever nobody else is when it is `nil`.
    package func backend(at address: SocketAddress?) -> MemoryBackend {
        let backend = MemoryBackend()
        if let address { backends[address] = backend } else { everywhere = backend }
        return backend
    }

    /// Connections that the loop has not closed, made or under way: 0 when nothing was forgotten.
    package var openDescriptors: Int { sources.count - freeSources.count }

    // MARK: Addresses

    func addresses(of name: String) -> [SocketAddress] { names[name] ?? otherNames?(name) ?? [] }

    /// A service that nobody says anything of is where its host is, which is its name without `_http` and such; at port 80.
    func records(ofService name: String) -> [ServiceRecord] {
        if let known = services[name] { return known }
        let host = name.split(separator: ".").drop { $0.hasPrefix("_") }.joined(separator: ".")
        guard !addresses(of: host).isEmpty else { return [] }
        return [ServiceRecord(priority: 0, weight: 1, port: 80, target: host)]
    }

    private func listener(at address: SocketAddress) -> MemoryBacklog? {
        listeners[address] ?? address.wildcard.flatMap { listeners[$0] }
    }

    /// A host's other end, at ports that follow one another.
    private func clientAddress(for address: SocketAddress) -> SocketAddress {
        lastClientPort = lastClientPort == .max ? Self.firstClientPort : lastClientPort + 1
        switch address {
        case .ipv4: return .ipv4(0x7F00_0001, port: lastClientPort)
        case .ipv6: return .ipv6([UInt8](repeating: 0, count: 15) + [1], port: lastClientPort)
        case .unix: return .unix(path: "")
        }
    }

    private func pair(from client: SocketAddress, to server: SocketAddress) -> (MemoryStream, MemoryStream) {
        let near = MemoryStream(local: client, remote: server, capacity: bufferSize)
        let far = MemoryStream(local: server, remote: client, capacity: bufferSize)
        near.other = far
        far.other = near
        return (near, far)
    }

    private func arrive(_ stream: MemoryStream, at listener: MemoryBacklog) {
        listener.waiting.append(stream)
        changed(listener)
    }

    // MARK: Descriptors

    private func add(_ source: MemorySource) -> Int32 {
        let index: Int
        if let free = freeSources.popLast() {
            index = free
            sources[index] = source
        } else {
            index = sources.count
            sources.append(source)
        }
        return Self.firstDescriptor + Int32(index)
    }

    private func source(_ descriptor: Int32) -> MemorySource? {
        let index = Int(descriptor) - Int(Self.firstDescriptor)
        return sources.indices.contains(index) ? sources[index] : nil
    }

    private func stream(_ descriptor: Int32) -> MemoryStream? { source(descriptor) as? MemoryStream }

    // MARK: What the loop calls, each in place of a system call

    /// - Throws: EADDRINUSE where the loop listens already.
    package func listen(on address: SocketAddress) throws(SystemError) -> Int32 {
        guard listeners[address] == nil else { throw SystemError("bind", code: EADDRINUSE) }
        let listener = MemoryBacklog(address: address)
        listeners[address] = listener
        return add(listener)
    }

    func accept(_ descriptor: Int32) -> Sockets.AcceptResult {
        guard let listener = source(descriptor) as? MemoryBacklog, let stream = listener.takeFirst() else {
            return .none
        }
        return .connection(add(stream), peer: stream.remote)
    }

    /// A refusal over IP is heard of afterwards, as from a host that is elsewhere.
    func beginConnection(to address: SocketAddress) throws(SystemError) -> Int32 {
        let client = clientAddress(for: address)
        // What listens on every address of its host has none of other hosts.
        let own = address.isLoopback ? listener(at: address) : listeners[address]
        if let own {
            let (near, far) = pair(from: client, to: address)
            arrive(far, at: own)
            return add(near)
        }
        let backend = backends[address] ?? everywhere
        switch backend?.answer ?? .refuses {
        case .accepts:
            let (near, far) = pair(from: client, to: address)
            backend?.arrived(MemoryPeer(self, far))
            return add(near)
        case .refuses:
            guard !address.isUnix else { throw SystemError("connect", code: ENOENT) }
            let stream = MemoryStream(local: client, remote: address, capacity: bufferSize)
            stream.breakOff(ECONNREFUSED)
            return add(stream)
        case .staysSilent:
            let stream = MemoryStream(local: client, remote: address, capacity: bufferSize)
            stream.isConnecting = true
            return add(stream)
        }
    }

    /// As `getsockopt(SO_ERROR)`.
    func takeError(_ descriptor: Int32) -> Int32 { stream(descriptor)?.takeError() ?? EBADF }

    func unread(_ descriptor: Int32) -> Int { stream(descriptor)?.unread ?? 0 }

    func localAddress(_ descriptor: Int32) -> SocketAddress? {
        switch source(descriptor) {
        case let stream as MemoryStream: stream.local
        case let listener as MemoryBacklog: listener.address
        default: nil
        }
    }

    /// As `recv(2)`: the bytes are handed to `take`; -1 and `errno` on failure.
    func read(_ descriptor: Int32, limit: Int, take: (Span<UInt8>) -> Void) -> Int {
        guard let stream = stream(descriptor) else { return failed(EBADF) }
        let count = stream.read(limit: limit, take: take)
        if count < 0 { return failed(stream.isBroken ? stream.takeError() : EAGAIN) }
        roomCame(for: stream.other)
        return count
    }

    /// As `sendmsg(2)`: -1 and `errno` on failure.
    func write(_ descriptor: Int32, _ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int
    {
        guard let stream = stream(descriptor) else { return failed(EBADF) }
        switch stream.write(first, second, third) {
        case .taken(let count):
            if let other = stream.other { changed(other) }
            return count
        case .lost(let count):
            // Whoever closed its end answers what still comes with a reset.
            stream.breakOff(stream.receivedEnd ? EPIPE : ECONNRESET)
            changed(stream)
            return count
        case .failed(let error): return failed(error)
        }
    }

    func shutdownWrite(_ descriptor: Int32) {
        if let stream = stream(descriptor) { end(stream) }
    }

    func resetOnClose(_ descriptor: Int32) { stream(descriptor)?.resetsOnClose = true }

    func close(_ descriptor: Int32) {
        guard let source = source(descriptor) else { return }
        sources[Int(descriptor - Self.firstDescriptor)] = nil
        freeSources.append(Int(descriptor - Self.firstDescriptor))
        source.watch = nil
        switch source {
        case let stream as MemoryStream: close(stream)
        case let listener as MemoryBacklog:
            listeners[listener.address] = nil
            for stream in listener.waiting { reset(stream) }
            listener.waiting = []
        default: break
        }
    }

    private func failed(_ error: Int32) -> Int {
        errno = error
        return -1
    }

    // MARK: In place of epoll

    /// Reports to `key`, which the events carry. `interest` is of EPOLL's bits.
    func watch(_ descriptor: Int32, interest: UInt32, levelTriggered: Bool, key: UInt64) -> Bool {
        guard let source = source(descriptor) else {
            errno = EBADF
            return false
        }
        source.watch = MemorySource.Watch(key: key, interest: interest, isLevelTriggered: levelTriggered)
        changed(source)
        return true
    }

    func unwatch(_ descriptor: Int32) { source(descriptor)?.watch = nil }

    /// Whether `poll` may have something to report.
    var mayBeReady: Bool { !ready.isEmpty }

    /// Fills `events` with what is ready, and has peers look at what came for them. Returns how many there are.
    func poll(into events: inout [sy_event]) -> Int {
        guard !ready.isEmpty else { return 0 }
        swap(&ready, &readyBatch)
        var count = 0
        for (position, source) in readyBatch.enumerated() {
            guard count < events.count else {
                ready.insert(contentsOf: readyBatch[position...], at: 0)
                break
            }
            source.isQueued = false
            if let watch = source.watch {
                let mask = source.readiness & (watch.interest | EventLoop.hangup | EventLoop.failure)
                guard mask != 0 else { continue }
                events[count] = sy_event(data: watch.key, events: mask)
                count += 1
                if watch.isLevelTriggered { changed(source) }
            } else {
                source.activity?()
            }
        }
        readyBatch.removeAll(keepingCapacity: true)
        return count
    }

    /// Something happened at `source`: the next `poll` looks at it.
    func changed(_ source: MemorySource) {
        guard !source.isQueued, source.watch != nil || source.activity != nil else { return }
        source.isQueued = true
        ready.append(source)
    }

    // MARK: Ends of connections, for both sides

    /// Wakes whoever found its way full, once enough of it is free.
    func roomCame(for writer: MemoryStream?) {
        guard let writer, writer.wantsRoom, writer.hasRoom else { return }
        writer.wantsRoom = false
        changed(writer)
    }

    /// No more bytes come from `stream`; it still reads.
    func end(_ stream: MemoryStream) {
        guard !stream.sentEnd, !stream.isBroken else { return }
        stream.sentEnd = true
        changed(stream)
        guard let other = stream.other else { return }
        other.receivedEnd = true
        changed(other)
    }

    /// As the kernel does: bytes that nobody will read any more make the end a reset.
    func close(_ stream: MemoryStream) {
        if stream.resetsOnClose || stream.unread > 0 { return reset(stream) }
        end(stream)
        stream.other?.other = nil
        stream.other = nil
    }

    func reset(_ stream: MemoryStream) {
        if let other = stream.other {
            other.breakOff(other.receivedEnd ? EPIPE : ECONNRESET)
            other.other = nil
            changed(other)
        }
        stream.other = nil
        stream.breakOff(0)
    }
}
