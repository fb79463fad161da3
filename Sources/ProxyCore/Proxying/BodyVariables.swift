internal import Config

/// The variables of a configuration whose values the request's body may be a part of: `$request_body`, and maps that it is
/// looked up in. What is sent upstream with one of these waits for the body.
struct BodyVariables: Sendable {
    private var positions: Set<Int>
    /// What upstreams choose their servers by, at the upstreams' positions.
    private let balancingKeys: [Template?]

    init(_ configuration: Configuration) {
        let variables = configuration.variables
        balancingKeys = configuration.upstreams.map(\.method.key)
        positions = Set(variables.indices.filter { variables[$0].name == "request_body" })
        guard !positions.isEmpty else { return }
        // A map may be the key, or a value, of another one.
        var isGrowing = true
        while isGrowing {
            isGrowing = false
            for index in variables.indices where !positions.contains(index) {
                guard let map = variables[index].source.map, configuration.maps.indices.contains(map),
                    configuration.maps[map].templates.contains(where: mentioned)
                else { continue }
                positions.insert(index)
                isGrowing = true
            }
        }
    }

    /// Whether some upstream chooses its servers by one of them, as the one may that a script sends a request to.
    var areKeys: Bool { !positions.isEmpty && balancingKeys.contains { $0.map(mentioned) == true } }

    /// Whether one of them is in what is written besides the body, or in what the server is chosen by.
    func areMentioned(in settings: Settings.Values, _ pass: ProxyPass) -> Bool {
        if positions.isEmpty { return false }
        var templates = settings.proxySetHeaders.map(\.value)
        if let body = settings.proxySetBody { templates.append(body) }
        switch pass.target {
        case .upstream(let index): if let key = balancingKeys[index] { templates.append(key) }
        // Which upstream it is, if any, is not known before.
        case .template(let url): templates += [url] + balancingKeys.compactMap { $0 }
        }
        return templates.contains(where: mentioned)
    }

    private func mentioned(in template: Template) -> Bool {
        template.parts.contains { part in
            if case .variable(let variable) = part { positions.contains(variable.index) } else { false }
        }
    }
}
