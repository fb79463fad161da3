internal import CSwitchyard
package import Config
package import EventLoop
internal import Glibc

/// The listening sockets of the process, kept on its control thread across reloads.
///
/// One descriptor of each socket stays here, so that it outlives any worker; workers get duplicates.
package final class ListenerSet {
    /// A socket that could not be had.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        /// As listening names it: `0.0.0.0:80`.
        package let address: String
        package let error: SystemError

        /// As nginx writes it.
        package var description: String {
            "\(error.call)() to \(address) failed (\(error.code): \(error.reason))"
        }
    }

    /// One socket for all workers, or at least one for each.
    private struct Bound {
        var address: SocketAddress
        var descriptors: [Int32]
    }

    /// The sockets of a configuration that is to run: `commit` makes them those of the process.
    package struct Prepared {
        fileprivate var plan: ListenPlan
        fileprivate var workerCount: Int
        /// Sockets that were opened for it, by name; for some worker each.
        fileprivate var opened: [String: [Int32]] = [:]

        fileprivate var names: Set<String> { Set(plan.sockets.map(\.name)) }
    }

    private static let attempts = 5
    private static let pauseInMicroseconds: UInt32 = 500_000

    private var bound: [String: Bound] = [:]
    /// By name, what was committed last; and what workers go on with until they have taken that over.
    private var wanted: Set<String> = []
    private var inUse: Set<String> = []
    /// Which sockets each worker holds a duplicate of, by its index.
    private var held: [Int: Set<String>] = [:]

    package init() {}

    /// Addresses that sockets of the set are bound to, with the ports that the system chose.
    package var localAddresses: [SocketAddress] {
        bound.sorted { $0.key < $1.key }.compactMap {
            $0.value.descriptors.first.flatMap(Sockets.localAddress)
        }
    }

    /// Opens what `configuration` listens on and the process does not yet. What runs is not touched.
    ///
    /// `failed` is told of each failure, those that are tried again included. When one remains it is thrown, and
    /// nothing stays open.
    package func prepare(
        _ configuration: Configuration, workerCount: Int, attempts: Int = ListenerSet.attempts,
        failed: (Failure) -> Void = { _ in }
    ) throws(Failure) -> Prepared {
        let plan = ListenPlan(configuration.listeners)
        var prepared = Prepared(plan: plan, workerCount: workerCount)
        var remaining = max(1, attempts)
        while true {
            remaining -= 1
            var isBlocked = false
            for socket in plan.sockets {
                do throws(Failure) {
                    try open(socket, for: &prepared)
                } catch {
                    failed(error)
                    guard error.error.code == EADDRINUSE, remaining > 0 else {
                        abandon(prepared)
                        throw error
                    }
                    isBlocked = true
                }
            }
            if !isBlocked { return prepared }
            // Whoever has the address may be about to leave: a process that this one takes over from.
            usleep(Self.pauseInMicroseconds)
        }
    }

    private func open(_ socket: ListenPlan.Socket, for prepared: inout Prepared) throws(Failure) {
        let wanted = socket.isOwn ? prepared.workerCount : 1
        let present = bound[socket.name]?.descriptors.count ?? 0
        while present + prepared.opened[socket.name, default: []].count < wanted {
            do throws(SystemError) {
                // A socket that all workers shared until now takes others beside it only if it says so.
                for descriptor in bound[socket.name]?.descriptors ?? [] { try Sockets.sharePort(descriptor) }
                let descriptor = try Sockets.listen(
                    on: socket.address, options: Sockets.ListenOptions(socket.options))
                prepared.opened[socket.name, default: []].append(descriptor)
            } catch {
                throw Failure(address: socket.name, error: error)
            }
        }
    }

    /// Closes what was opened for a configuration that does not run after all.
    package func abandon(_ prepared: Prepared) {
        for socket in prepared.plan.sockets {
            guard let opened = prepared.opened[socket.name] else { continue }
            for descriptor in opened { close(descriptor) }
            if bound[socket.name] == nil { removeFile(of: socket.address) }
        }
    }

    /// Makes the prepared sockets those of the process: the backlog of those that stay is set anew. What each worker is to
    /// listen on then comes from `assignments`. Gone ones that workers use until they take over stay until `settle`.
    package func commit(_ prepared: Prepared) {
        wanted = prepared.names
        for socket in prepared.plan.sockets {
            var descriptors = bound[socket.name]?.descriptors ?? []
            for descriptor in descriptors { _ = listen(descriptor, Int32(clamping: socket.options.backlog)) }
            descriptors += prepared.opened[socket.name, default: []]
            // More than there are workers stay: closing one would reset the connections that wait on it.
            bound[socket.name] = Bound(address: socket.address, descriptors: descriptors)
        }
        held = held.filter { $0.key < prepared.workerCount }
        closeUnused()
    }

    /// All workers have taken over what was prepared, and committed since.
    package func settle(on prepared: Prepared) {
        inUse = prepared.names
        closeUnused()
    }

    private func closeUnused() {
        let unused = bound.filter { name, _ in !wanted.contains(name) && !inUse.contains(name) }
        let addresses = Set(bound.filter { name, _ in unused[name] == nil }.map(\.value.address))
        for (name, socket) in unused {
            for descriptor in socket.descriptors { close(descriptor) }
            if !addresses.contains(socket.address) { removeFile(of: socket.address) }
            bound[name] = nil
        }
    }

    /// What the worker of `index` listens on under the configuration of `prepared`, which is committed. The
    /// caller owns the descriptors.
    package func assignments(_ prepared: Prepared, worker index: Int) throws(SystemError)
        -> [AssignedListener]
    {
        var assigned: [AssignedListener] = []
        let holds = held[index, default: []]
        for socket in prepared.plan.sockets {
            let masters = bound[socket.name]?.descriptors ?? []
            // Without `reuseport` any longer, what waits on any of several sockets is still to be served.
            let isOwn = socket.isOwn || masters.count > 1
            for (number, master) in masters.enumerated() {
                guard !isOwn || number % prepared.workerCount == index else { continue }
                let key = isOwn ? "\(socket.name) \(number)" : socket.name
                let duplicate: Int32? = holds.contains(key) ? nil : sy_duplicate(master)
                if let duplicate, duplicate < 0 {
                    let error = SystemError("dup")
                    assigned.closeDescriptors()
                    throw error
                }
                assigned.append(
                    AssignedListener(
                        key: key, descriptor: duplicate, isOwn: isOwn, targets: socket.targets))
            }
        }
        held[index] = Set(assigned.map(\.key))
        return assigned
    }

    /// The worker of `index` has not come about, or does without having begun: the next one has nothing of it.
    package func forget(worker index: Int) { held[index] = nil }

    /// Closes all sockets of the set and removes the files of UNIX ones.
    package func closeAll() {
        for socket in bound.values {
            for descriptor in socket.descriptors { close(descriptor) }
            removeFile(of: socket.address)
        }
        bound = [:]
        held = [:]
    }

    private func removeFile(of address: SocketAddress) {
        guard case .unix(let path) = address else { return }
        // The path is passed as a C string for the length of the call.
        _ = unsafe unlink(path)
    }
}

extension ListenerSet {
    /// Whether the sockets of a configuration could be had, as `-t` asks; those in use are taken for those of
    /// the process that runs. UNIX sockets are not made: it is enough that there is a place for them.
    ///
    /// - Throws: without diagnostics, since `failed` was told.
    package static func test(
        _ configuration: Configuration, failed: (Failure) -> Void
    ) throws(LoadFailure) {
        var isUsable = true
        for socket in ListenPlan(configuration.listeners).sockets {
            do throws(SystemError) {
                if case .unix(let path) = socket.address {
                    try testPlace(of: path)
                    continue
                }
                close(try Sockets.listen(on: socket.address, options: Sockets.ListenOptions(socket.options)))
            } catch  where error.code != EADDRINUSE {
                failed(Failure(address: socket.name, error: error))
                isUsable = false
            } catch {}
        }
        guard isUsable else { throw LoadFailure.told }
    }

    private static func testPlace(of path: String) throws(SystemError) {
        // The path is passed as a C string for the length of the call.
        guard unsafe access(Paths.directory(of: path), W_OK | X_OK) == 0 else { throw SystemError("bind") }
    }
}
