package import Config
internal import EventLoop
package import LuaHooks
internal import ProxyCore

/// Loads scripts while the configuration is compiled, so that what is wrong with them is found before anything runs
/// under it: each in an interpreter of its own, then all of them in one, as each worker is going to.
extension ScriptProbe {
    package static let interpreter = interpreter(besides: nil)

    /// Tries scripts beside those that run already, of which `running` is what they share.
    package static func interpreter(besides running: ScriptCommons?) -> ScriptProbe {
        ScriptProbe { script, settings in
            do throws(ScriptFault) {
                let set = ScriptSet(script, settings: settings)
                return .success(try loaded(set, ScriptCommons()).outline(of: 0))
            } catch {
                return .failure(error)
            }
        } trial: { configuration throws(ScriptFault) in
            // One alone that has loaded alone, with nothing beside it, shows nothing new.
            guard configuration.scripts.count > (running == nil ? 1 : 0) else { return }
            let commons = running.map { ScriptCommons(besides: $0) } ?? ScriptCommons()
            _ = try loaded(ScriptSet(configuration), commons)
        }
    }

    private static func loaded(
        _ set: ScriptSet, _ commons: ScriptCommons
    ) throws(ScriptFault) -> Interpreter {
        // Of the thread that reads configurations nothing more is asked than that it is not kept by a script.
        let isWatched = Interpreter.isThreadWatched
        if !isWatched { _ = Interpreter.watchThread() }
        defer { if !isWatched { Interpreter.unwatchThread() } }
        return try Interpreter(set, host: LoadingHost(), shared: commons)
    }
}

/// A host for scripts that are loaded and never run.
private final class LoadingHost: WaitlessHost {
    let clock = Clock()

    init() {
        let time = EventLoop.systemTime
        clock.advance(to: Moment(unix: time.unix, monotonic: time.monotonic))
    }

    func log(_ level: LogLevel, _ text: String, of exchange: Exchange?, under settings: Settings?) {}
}
