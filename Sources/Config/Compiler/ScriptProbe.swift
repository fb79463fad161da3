/// How the compiler learns what is in a script: an interpreter in the product, nothing in most tests.
///
/// It is asked once for each script of a configuration, so that the faults of all of them are found while the
/// configuration is loaded, and once for all of them together, as they are to run.
package struct ScriptProbe: Sendable {
    package typealias Outline =
        @Sendable (_ script: Script, _ settings: LuaSettings) -> Result<ScriptOutline, ScriptFault>
    package typealias Trial = @Sendable (_ configuration: Configuration) throws(ScriptFault) -> Void

    package var outline: Outline
    package var trial: Trial

    package init(outline: @escaping Outline, trial: @escaping Trial = { _ in }) {
        self.outline = outline
        self.trial = trial
    }

    /// Accepts every script and knows nothing of what it defines.
    package static let none = ScriptProbe { _, _ in .success(ScriptOutline()) }
}

/// What loading a script showed of it.
package struct ScriptOutline: Sendable, Hashable {
    /// The hooks that a plugin defines, or the one that a text is the body of.
    package var hooks: Set<HookStage>
    /// Keys of a plugin's `variables`.
    package var variables: [String]
    /// For each of a plugin's variables, and under `""` for a text that is a body itself: the names `NAME` that its
    /// code mentions as `flow.var.NAME`.
    package var references: [String: [String]]

    package init(
        hooks: Set<HookStage> = [], variables: [String] = [], references: [String: [String]] = [:]
    ) {
        self.hooks = hooks
        self.variables = variables
        self.references = references
    }
}

/// Why a script cannot be loaded.
package struct ScriptFault: Error, Sendable, Hashable {
    package var message: String
    /// Where in its own text; without it, it is reported where the directive stands.
    package var file: String?
    package var line: Int?

    package init(message: String, file: String? = nil, line: Int? = nil) {
        self.message = message
        self.file = file
        self.line = line
    }
}
