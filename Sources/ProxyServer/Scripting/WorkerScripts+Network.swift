internal import Config
internal import LuaHooks
internal import ProxyCore

/// The network as scripts see it: what ends at once is told at the end of the loop's turn.
extension WorkerScripts {
    func fetch(
        _ request: FetchRequest, under settings: Settings?,
        done: @escaping (Result<FetchResponse, FetchFailure>) -> Void
    ) -> any ScriptOperation {
        do throws(FetchFailure) {
            if let fetchAnswer = worker.fetchAnswer {
                // What cannot be asked of a server cannot be asked of a test either.
                _ = try FetchRequestHead(request, FetchURL(request.url))
                if let answer = fetchAnswer(request) { return ended { done(answer) } }
            }
            guard let owner else { throw .noConnections }
            return try worker.scriptNetwork.fetches.start(
                request, in: owner, settings: settings ?? owner.configuration.http
            ) { [unowned worker] result in
                worker.tick()
                done(result)
            }
        } catch {
            return ended { done(.failure(error)) }
        }
    }

    func connect(
        host: [UInt8], port: UInt16, timeout: Int64, under settings: Settings?,
        done: @escaping (Result<any ScriptConnection, SocketFailure>) -> Void
    ) -> any ScriptOperation {
        let operation = ConnectOperation()
        do throws(SocketFailure) {
            guard let owner else { throw .noConnections }
            operation.socket = try ScriptSocket.connect(
                to: host, port: Int(port), timeoutMilliseconds: timeout, worker: worker, generation: owner,
                settings: settings ?? owner.configuration.http
            ) { [unowned worker] result in
                // Until here the socket and the operation hold each other: nobody else need hold either.
                guard let socket = operation.take() else { return }
                worker.tick()
                done(result.map { socket })
            }
            return operation
        } catch {
            return ended { done(.failure(error)) }
        }
    }

    /// What is over already: `tell` says so at the end of the turn, unless it is cancelled before.
    private func ended(_ tell: @escaping () -> Void) -> any ScriptOperation {
        let operation = EndedOperation()
        worker.postpone { if !operation.isCancelled { tell() } }
        return operation
    }
}

extension FetchHandle: ScriptOperation {}

extension ScriptSocket: ScriptConnection {
    func send(_ bytes: [UInt8], timeout: Int64, done: @escaping (SocketFailure?) -> Void) {
        var failure: SocketFailure?
        do throws(SocketFailure) {
            let isDone = try send(bytes, timeoutMilliseconds: timeout) { [unowned self] result in
                worker.tick()
                if case .failure(let failure) = result { done(failure) } else { done(nil) }
            }
            guard isDone else { return }
        } catch {
            failure = error
        }
        worker.postpone { if !self.isAbandoned { done(failure) } }
    }

    func receive(
        _ pattern: ReceivePattern, timeout: Int64, done: @escaping (Result<[UInt8], SocketFailure>) -> Void
    ) {
        let result: Result<[UInt8], SocketFailure>
        do throws(SocketFailure) {
            let bytes = try receive(pattern, timeoutMilliseconds: timeout) { [unowned self] result in
                worker.tick()
                done(result)
            }
            guard let bytes else { return }
            result = .success(bytes)
        } catch {
            result = .failure(error)
        }
        worker.postpone { if !self.isAbandoned { done(result) } }
    }
}

/// A connection that is being made.
private final class ConnectOperation: ScriptOperation {
    var socket: ScriptSocket?

    func take() -> ScriptSocket? {
        defer { socket = nil }
        return socket
    }

    func cancel() { take()?.cancel() }
}

/// What has come to its end, and is about to be told.
private final class EndedOperation: ScriptOperation {
    private(set) var isCancelled = false

    func cancel() { isCancelled = true }
}
