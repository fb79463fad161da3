internal import Config

/// Runs the directives of nginx's rewrite module: `set`, `rewrite`, `return`, `break` and `if`.
struct RewriteScript {
    enum Outcome {
        case decided(RouteDecision)
        /// The directives came to their end, or were stopped. `uriChanged` asks for a location for the new URI.
        case ended(uriChanged: Bool)
    }

    private let exchange: Exchange
    /// Of a server's own directives, `if` switches no settings.
    private let ofServer: Bool
    private var uriChanged = false
    /// Groups in values are escaped, until a `rewrite` has changed the URI: so it is in nginx, if by accident.
    private var escapesGroups = true

    static func run(
        _ instructions: [RewriteInstruction], _ exchange: Exchange, ofServer: Bool
    ) -> Outcome {
        if instructions.isEmpty { return .ended(uriChanged: false) }
        var script = RewriteScript(exchange: exchange, ofServer: ofServer)
        switch script.run(instructions) {
        case .decided(let decision): return .decided(decision)
        case .goOn, .stop: return .ended(uriChanged: script.uriChanged)
        }
    }

    private init(exchange: Exchange, ofServer: Bool) {
        self.exchange = exchange
        self.ofServer = ofServer
    }

    private enum Flow {
        case goOn
        case stop
        case decided(RouteDecision)
    }

    private mutating func run(_ instructions: [RewriteInstruction]) -> Flow {
        for instruction in instructions {
            let flow: Flow
            switch instruction {
            case .set(let slot, let value):
                assign(value, to: slot)
                flow = .goOn
            case .setArguments(let value):
                var arguments: [UInt8] = []
                exchange.render(value, escapingGroups: escapesGroups, into: &arguments)
                exchange.setArguments(arguments)
                flow = .goOn
            case .rewrite(let rule): flow = rewrite(rule)
            case .return(let action): flow = .decided(Router.perform(action, exchange))
            case .stop:
                if uriChanged { exchange.locationMatchesURI = false }
                uriChanged = false
                flow = .stop
            case .when(let condition, let block):
                guard let holds = condition.holds(exchange, escapingGroups: escapesGroups) else {
                    return .decided(Router.fail(exchange, status: 500))
                }
                guard holds else { continue }
                if !ofServer { Router.enterBlock(block, exchange) }
                flow = run(block.rewrites)
            }
            if case .goOn = flow { continue }
            return flow
        }
        return .goOn
    }

    private func assign(_ value: Template, to slot: Int) {
        if let constant = value.constant {
            exchange.assigned.set(slot, to: constant)
            return
        }
        var buffer = exchange.takeBuffer()
        exchange.render(value, escapingGroups: escapesGroups, into: &buffer)
        exchange.assigned.set(slot, to: buffer)
        exchange.giveBack(buffer)
    }

    // MARK: rewrite

    private mutating func rewrite(_ rule: RewriteRule) -> Flow {
        guard let matches = exchange.match(rule.pattern, exchange.uri, namedGroups: rule.namedGroups) else {
            return .decided(Router.fail(exchange, status: 500))
        }
        guard matches else {
            exchange.forgetGroups()
            return .goOn
        }
        if let status = redirectStatus(rule) { return .decided(redirect(rule, status: status)) }

        escapesGroups = false
        exchange.isInternal = true
        exchange.uriChanged = true
        if rule.flag == .break {
            exchange.locationMatchesURI = false
            uriChanged = false
        } else {
            uriChanged = true
        }
        replaceURI(rule)
        if exchange.uri.isEmpty {
            exchange.note(fault: "the rewritten URI has a zero length")
            return .decided(Router.fail(exchange, status: 500))
        }
        switch rule.flag {
        case .none: return .goOn
        case .last, .break, .redirect, .permanent: return .stop
        }
    }

    private func redirectStatus(_ rule: RewriteRule) -> Int? {
        switch rule.flag {
        case .permanent: 301
        case .redirect: 302
        case .none, .last, .break: rule.isRedirect ? 302 : nil
        }
    }

    private func redirect(_ rule: RewriteRule, status: Int) -> RouteDecision {
        var url: [UInt8] = []
        var hasArguments = false
        for part in rule.replacement.parts {
            if case .literal(let bytes) = part, bytes.contains(ByteText.question) { hasArguments = true }
            exchange.append(part, escapingGroups: true, to: &url)
        }
        URIEscape.unescapeRedirect(&url)
        if rule.keepsArguments, !exchange.arguments.isEmpty {
            url.append(hasArguments ? ByteText.ampersand : ByteText.question)
            url.append(contentsOf: exchange.arguments)
        }
        return Router.fail(exchange, status: status, location: url)
    }

    private func replaceURI(_ rule: RewriteRule) {
        var text = exchange.takeBuffer()
        let argumentsStart = appendReplacement(rule.replacement, to: &text)
        if let start = argumentsStart {
            if rule.keepsArguments, !exchange.arguments.isEmpty {
                text.append(ByteText.ampersand)
                text.append(contentsOf: exchange.arguments)
            }
            exchange.arguments.removeAll(keepingCapacity: true)
            exchange.arguments.append(contentsOf: text[start...])
        } else if !rule.keepsArguments {
            exchange.arguments.removeAll(keepingCapacity: true)
        }
        exchange.uri.removeAll(keepingCapacity: true)
        exchange.uri.append(contentsOf: text[..<(argumentsStart ?? text.count)])
        exchange.giveBack(text)
    }

    /// Appends the replacement without the question mark that begins its arguments, which must be written out: one
    /// in a variable's value is part of the path.
    ///
    /// - Returns: where the arguments begin.
    private func appendReplacement(_ replacement: Template, to text: inout [UInt8]) -> Int? {
        var argumentsStart: Int?
        for part in replacement.parts {
            guard case .literal(let bytes) = part else {
                exchange.append(part, escapingGroups: argumentsStart != nil, to: &text)
                continue
            }
            for byte in bytes {
                if byte == ByteText.question, argumentsStart == nil {
                    argumentsStart = text.count
                } else {
                    text.append(byte)
                }
            }
        }
        return argumentsStart
    }
}
