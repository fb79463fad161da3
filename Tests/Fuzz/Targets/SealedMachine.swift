import Config
import ProxyServer

/// What a configuration may ask of the machine while it is fuzzed: nothing. Files are those that the input itself has,
/// names mean nothing, and scripts are held in the sandbox, in little time and memory.
enum SealedMachine {
    static func with(files: [String: [UInt8]]) -> ConfigurationLoader.Machine {
        ConfigurationLoader.Machine(
            files: ConfigurationFiles(
                read: { path in
                    let name = path.split(separator: "/").last.map(String.init) ?? path
                    guard let bytes = files[name] else {
                        return .failure(FileFailure(reason: "no such file"))
                    }
                    return .success(bytes)
                },
                glob: { pattern in
                    let suffix = pattern.split(separator: "*").last.map(String.init) ?? pattern
                    return .success(files.keys.filter { $0.hasSuffix(suffix) }.sorted())
                }),
            environment: { prefix, builtins in
                CompilationEnvironment(prefix: prefix, builtinVariables: builtins, hostname: [UInt8]("here"))
            },
            scripts: ScriptProbe { script, settings in
                var bounded = settings
                bounded.sandbox = true
                bounded.packagePath = "/nowhere/?.lua"
                bounded.memoryLimit = min(settings.memoryLimit, 8 << 20)
                bounded.hookTimeout = min(settings.hookTimeout, 20)
                bounded.sharedDictionaries = bounded.sharedDictionaries.prefix(4).map {
                    SharedDictionarySettings(name: $0.name, bytes: min($0.bytes, 1 << 20))
                }
                return ScriptProbe.interpreter.outline(script, bounded)
            })
    }
}
