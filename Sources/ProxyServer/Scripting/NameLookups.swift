internal import Config
internal import EventLoop
internal import ProxyCore

/// Lookups of names for one worker's scripts: each with its own deadline, and each can be cancelled.
///
/// A `NameResolver` cannot be told to forget about one who waits. What it answers for a lookup that has ended here
/// goes nowhere.
final class NameLookups {
    typealias Completion = (Result<[PeerAddress], NameResolver.Failure>) -> Void

    /// Names one lookup, for as long as it is under way.
    struct ID: Hashable {
        fileprivate let number: UInt64
    }

    private struct Waiting {
        let deadline: Int64
        /// Its resolver is at work.
        let generation: WorkerGeneration
        let completion: Completion
    }

    private let loop: EventLoop
    private var waiting: [ID: Waiting] = [:]
    private var timer: Alarm?
    private var lastNumber: UInt64 = 0

    init(loop: EventLoop) { self.loop = loop }

    deinit { timer?.close() }

    /// Lookups under way.
    var count: Int { waiting.count }

    /// Looks up `name` by `settings`, a location's resolver, or as the system does without one.
    ///
    /// Calls `completion` once unless cancelled: before returning when the answer is at hand, and then the result is
    /// `nil`. `deadline` is in milliseconds of the loop's clock.
    func resolve(
        _ name: [UInt8], port: UInt16, by settings: Settings?, in generation: WorkerGeneration,
        until deadline: Int64, completion: @escaping Completion
    ) -> ID? {
        lastNumber += 1
        let id = ID(number: lastNumber)
        waiting[id] = Waiting(deadline: deadline, generation: generation, completion: completion)
        do throws(NameResolver.Failure) {
            // Without servers, a resolver asks the system's and looks into its hosts file.
            let timeout = settings?.values.resolverTimeout ?? Self.systemTimeout
            let resolver = try generation.resolver(
                settings?.values.resolver ?? Resolver(servers: []), timeout: timeout)
            wakeUp(at: deadline)
            let text = String(decoding: name, as: UTF8.self)
            resolver.resolve(text, port: port, timeout: Int64(timeout)) { [weak self] result in
                self?.complete(id, result.map { $0.map { PeerAddress($0) } })
            }
        } catch {
            complete(id, .failure(error))
        }
        return waiting[id] == nil ? nil : id
    }

    /// Waits for an address of a group that has none yet. `completion` is as for `resolve`, with no addresses: the group has
    /// them, if any came.
    func waitForAddress(
        _ names: GroupNames, in generation: WorkerGeneration, until deadline: Int64,
        completion: @escaping Completion
    ) -> ID {
        lastNumber += 1
        let id = ID(number: lastNumber)
        waiting[id] = Waiting(deadline: deadline, generation: generation, completion: completion)
        wakeUp(at: deadline)
        names.whenKnown { [weak self] in self?.complete(id, .success([])) }
        return id
    }

    /// Milliseconds.
    private static let systemTimeout = 30_000

    /// The lookup's completion will not be called.
    func cancel(_ id: ID) { waiting[id] = nil }

    /// Cancels all, and gives the timer back.
    func close() {
        waiting = [:]
        timer?.close()
        timer = nil
    }

    private func complete(_ id: ID, _ result: Result<[PeerAddress], NameResolver.Failure>) {
        // The generation lives until the completion is done: its resolver may be what called.
        guard let lookup = waiting.removeValue(forKey: id) else { return }
        withExtendedLifetime(lookup.generation) { lookup.completion(result) }
    }

    private func wakeUp(at deadline: Int64) {
        let timer = timer ?? Alarm(loop: loop) { [weak self] in self?.timePassed() }
        self.timer = timer
        if deadline < timer.deadline { timer.setDeadline(deadline) }
    }

    private func timePassed() {
        let now = loop.now
        var next = EventLoop.never
        var overdue: [ID] = []
        for (id, lookup) in waiting {
            if lookup.deadline <= now { overdue.append(id) } else { next = min(next, lookup.deadline) }
        }
        if next != EventLoop.never { timer?.setDeadline(next) }
        for id in overdue { complete(id, .failure(.timedOut)) }
    }
}
