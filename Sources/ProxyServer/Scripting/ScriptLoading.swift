package import Config
internal import LuaHooks
internal import ProxyCore

/// Loads each script of a configuration in an interpreter of its own while the configuration is compiled, so that
/// what is wrong with it is found before anything runs under it.
extension ScriptProbe {
    package static let interpreter = ScriptProbe { script, settings in
        let host = LoadingHost()
        // Of the thread that reads configurations nothing more is asked than that it is not kept by a script.
        let isWatched = Interpreter.isThreadWatched
        if !isWatched { _ = Interpreter.watchThread() }
        defer { if !isWatched { Interpreter.unwatchThread() } }
        do throws(ScriptFault) {
            let interpreter = try Interpreter(
                ScriptSet(script, settings: settings), host: host, shared: ScriptCommons())
            return .success(interpreter.outline(of: 0))
        } catch {
            return .failure(error)
        }
    }
}

/// A host for scripts that are loaded and never run.
private final class LoadingHost: WaitlessHost {
    let clock = Clock()
    func log(_ level: LogLevel, _ text: String, of exchange: Exchange?) {}
}
