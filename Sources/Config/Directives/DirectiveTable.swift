/// Every directive that the product knows.
package enum DirectiveTable {
    /// In the order of the documentation.
    package static let rows: [Directive] =
        process + connections + structure + listening + http2 + tls + tlsVerification + requests + realIP
        + clients + limits + authentication
        + responses + rewriting + maps + upstreams
        + proxying + cookies + nextUpstream + proxyTLS + webSockets + logging + handlers + scripts + hooks
        + scriptLimits
        + acceptedCore + acceptedHTTP + acceptedProxying + offOnly

    package static let names: [String] = Array(Set(rows.map(\.name))).sorted()

    private static let byName: [String: [Directive]] = Dictionary(grouping: rows, by: \.name)

    /// The row for a name; of several (`server`, `keepalive_timeout`) the one that belongs in `context`.
    static func row(_ name: String, in context: Contexts) -> Directive? {
        guard let candidates = byName[name] else { return nil }
        return candidates.first { $0.contexts.contains(context) } ?? candidates.first
    }

    /// Every context in which some row of this name may stand.
    static func contexts(of name: String) -> Contexts {
        byName[name, default: []].reduce(into: []) { $0.formUnion($1.contexts) }
    }
}

// MARK: Rows of the common kinds

extension Directive {
    typealias Setting<Value> = any WritableKeyPath<Settings.Values, Value> & Sendable
    typealias ConnectionSetting<Value> = any WritableKeyPath<ConnectionSettings, Value> & Sendable

    /// `on` or `off`.
    static func flag(
        _ name: String, _ setting: Setting<Bool>, in contexts: Contexts = .levels,
        default defaultValue: String,
        _ note: String
    ) -> Directive {
        Directive(name, "on | off", in: contexts, takes: .one, default: defaultValue, note) {
            scope, call throws(ConfigDiagnostic) in
            scope.settings[keyPath: setting] = try call.flag(call.arguments[0])
        }
    }

    /// `on` or `off`, for what is decided before a location is known.
    static func connectionFlag(
        _ name: String, _ setting: ConnectionSetting<Bool>, default defaultValue: String, _ note: String
    ) -> Directive {
        Directive(name, "on | off", in: .httpAndServer, takes: .one, default: defaultValue, note) {
            scope, call throws(ConfigDiagnostic) in
            scope.connection[keyPath: setting] = try call.flag(call.arguments[0])
        }
    }

    /// Milliseconds.
    static func time(
        _ name: String, _ setting: Setting<Int>, in contexts: Contexts = .levels,
        default defaultValue: String,
        _ note: String
    ) -> Directive {
        Directive(name, "time", in: contexts, takes: .one, default: defaultValue, note) {
            scope, call throws(ConfigDiagnostic) in
            scope.settings[keyPath: setting] = try call.time(call.arguments[0])
        }
    }

    /// Bytes.
    static func size(
        _ name: String, _ setting: Setting<Int>, in contexts: Contexts = .levels,
        default defaultValue: String,
        _ note: String
    ) -> Directive {
        Directive(name, "size", in: contexts, takes: .one, default: defaultValue, note) {
            scope, call throws(ConfigDiagnostic) in
            scope.settings[keyPath: setting] = try call.size(call.arguments[0])
        }
    }

    /// Bytes, which may come of variables; `nil` for 0, the default.
    static func sizeTemplate(
        _ name: String, _ setting: Setting<Template?>, in contexts: Contexts = .levels, _ note: String
    ) -> Directive {
        Directive(name, "size", in: contexts, takes: .one, default: "0", note) {
            scope, call throws(ConfigDiagnostic) in
            let template = try scope.compilation.template(call.arguments[0], in: name)
            let isNothing = template.constant != nil ? try call.size(call.arguments[0]) == 0 : false
            scope.settings[keyPath: setting] = isNothing ? nil : template
        }
    }

    static func number(
        _ name: String, _ setting: Setting<Int>, in contexts: Contexts = .levels,
        default defaultValue: String,
        _ note: String
    ) -> Directive {
        Directive(name, "number", in: contexts, takes: .one, default: defaultValue, note) {
            scope, call throws(ConfigDiagnostic) in
            scope.settings[keyPath: setting] = try call.number(call.arguments[0])
        }
    }

    /// Checked for place and arity, and otherwise without effect.
    static func accepted(
        _ name: String, in contexts: Contexts, takes arity: Arity = .one, form: Form = .simple, why: String
    ) -> Directive {
        Directive(
            name, "…", in: contexts, takes: arity, why, kind: .accepted(why), form: form, repeats: true
        ) { _, _ in }
    }

    /// Accepted as `off` only.
    static func offOnly(
        _ name: String, in contexts: Contexts, _ what: String, instead remedy: String? = nil
    ) -> Directive {
        let refusal = "\(what) is not supported yet" + (remedy.map { ", \($0)" } ?? "")
        return Directive(
            name, "off", in: contexts, takes: .atLeast(1), default: "off",
            refusal.prefix(1).uppercased() + refusal.dropFirst() + ".",
            kind: .onlyOff
        ) { _, call throws(ConfigDiagnostic) in
            guard call.arguments.count == 1, call.arguments[0].bytes.lowercased() == Array("off".utf8) else {
                throw call.failure(found: call.arguments[0], expected: "\"off\": \(refusal)")
            }
        }
    }
}
