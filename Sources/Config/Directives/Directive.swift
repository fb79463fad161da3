/// A row of the directive table: all there is to know about one directive.
package struct Directive: Sendable {
    typealias Apply = @Sendable (inout Scope, DirectiveUse) throws(ConfigDiagnostic) -> Void

    /// What the product does with it.
    package enum Kind: Sendable, Equatable {
        case applied
        /// Checked for place and number of arguments only, with the reason why nothing more is needed.
        case accepted(String)
        /// Accepted when its value is `off`, as what it would turn on is not supported.
        case onlyOff
    }

    /// What ends it.
    package enum Form: Sendable, Equatable {
        /// `;`
        case simple
        /// Directives in braces.
        case block
        /// Lua in braces.
        case script
    }

    /// A level's directives are applied phase by phase, so that what a phase needs of its level is complete
    /// whatever the order in which it was written.
    enum Phase: Int, CaseIterable {
        /// What other directives of the level refer to by name.
        case names
        /// Values that blocks inside the level inherit.
        case settings
        /// The rewrite module's, `if` included: in the order written.
        case rewrites
        /// Blocks that `server` blocks refer to.
        case tables
        /// Blocks that inherit.
        case blocks
    }

    package let name: String
    package let contexts: Contexts
    package let arity: Arity
    /// The arguments as documentation writes them.
    package let syntax: String
    /// As it would be written; empty where there is none.
    package let defaultValue: String
    /// One sentence.
    package let note: String
    package let kind: Kind
    package let form: Form
    /// May stand more than once at a level.
    package let isRepeatable: Bool
    let phase: Phase
    let apply: Apply

    init(
        _ name: String, _ syntax: String, in contexts: Contexts, takes arity: Arity,
        default defaultValue: String = "",
        _ note: String, kind: Kind = .applied, form: Form = .simple,
        repeats isRepeatable: Bool = false,
        phase: Phase = .settings, apply: @escaping Apply
    ) {
        self.name = name
        self.syntax = syntax
        self.contexts = contexts
        self.arity = arity
        self.defaultValue = defaultValue
        self.note = note
        self.kind = kind
        self.form = form
        self.isRepeatable = isRepeatable
        self.phase = phase
        self.apply = apply
    }
}
