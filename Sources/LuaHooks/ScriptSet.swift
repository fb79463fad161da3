package import Config
internal import ProxyCore

/// What an interpreter loads.
package struct ScriptSet: Sendable {
    package var scripts: [Script]
    /// Positions in `scripts`, in the order in which their hooks run.
    package var plans: [[Int]]
    /// How many variables are defined by scripts.
    package var slots: Int
    package var settings: LuaSettings
    /// What `SharedDictionaries.prepare` made for the settings; of those that are not here, the interpreter has its own.
    package var dictionaries: [String: SharedDictionary]
    /// What `ScriptMetrics.prepare` made for the configuration; without, it is the one that runs.
    package var metrics: ScriptMetrics.Definitions?

    package init(
        _ configuration: Configuration, dictionaries: [String: SharedDictionary] = [:],
        metrics: ScriptMetrics.Definitions? = nil
    ) {
        self.dictionaries = dictionaries
        self.metrics = metrics
        scripts = configuration.scripts
        plans = configuration.scriptPlans
        slots = configuration.scriptSlots
        settings = configuration.lua
    }

    /// No scripts.
    init(settings: LuaSettings) {
        scripts = []
        plans = []
        slots = 0
        self.settings = settings
        dictionaries = [:]
    }

    /// One script alone, to look into it.
    package init(_ script: Script, settings: LuaSettings) {
        scripts = [script]
        plans = []
        slots = 0
        self.settings = settings
        dictionaries = [:]
    }
}
