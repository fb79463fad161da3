internal import Config

extension LuaAPI {
    /// The reference of the API in Markdown: hooks, then object by object, then the module.
    package static func reference() -> String { reference(of: functions) }

    static func reference(of functions: [LuaFunction]) -> String {
        let document = APIDocument(functions)
        var text = "# Lua API\n"
        text +=
            "\nFunctions marked ⏸ may suspend the hook that calls them; other traffic goes on meanwhile.\n"
        text += hooksText()
        text += recordText("What a plugin may have besides hooks", HookDocument.plugin)
        for section in document.sections { text += sectionText(section) }
        for hook in HookDocument.hooks where hook.filterName != nil {
            text += recordText(
                "A `\(hook.stage.name)` hook as a table",
                HookDocument.filter(hook.stage, run: hook.functionType))
        }
        text += recordText("The argument of `flow:respond`", HookDocument.answer)
        text += recordText("`info` of `close` hooks", HookDocument.closeInfo)
        text += recordText("`hello` of `certificate` hooks", HookDocument.hello)
        text += recordText("What `sy.fetch` gives", HookDocument.fetched)
        text += recordText("What `sy.peers` lists", HookDocument.peer)
        return text + testsText()
    }

    /// What files of tests can use besides.
    private static func testsText() -> String {
        let document = APIDocument(testFunctions)
        var text =
            "\n# Tests\n\nIn files of tests, which `switchyard test` runs, there is all of `sy` and this.\n"
        for section in document.sections where section.isModule { text += sectionText(section) }
        text += recordText("The argument of `proxy`", HookDocument.testSetup)
        text += recordText("Requests and responses of tests", HookDocument.testMessage)
        text += recordText("The argument of `p:websocket`", HookDocument.testHandshake)
        text += recordText(
            "Further fields of what `p:request`, `p:send`, `p:websocket` and `p:connect` are given",
            HookDocument.testConnection)
        text += recordText("`tls` of these", HookDocument.testTLS)
        text += recordText(
            "Frames of `ws:send_frame`, `ws:receive_frame` and `ws:expect_frame`", HookDocument.testFrame)
        for section in document.sections where !section.isModule { text += sectionText(section) }
        return text
    }

    private static func hooksText() -> String {
        var text = "\n## Hooks\n\n| hook | when | what it returns |\n|---|---|---|\n"
        for hook in HookDocument.hooks {
            let arguments = hook.stage.parameters.joined(separator: ", ")
            text += "| `\(hook.stage.name)(\(arguments))` | \(hook.summary) | \(hook.meaning) |\n"
        }
        return text
    }

    private static func sectionText(_ section: APIDocument.Section) -> String {
        let paths = section.paths.map { "`\($0)`" }.joined(separator: ", ")
        var text = "\n## " + (section.name.isEmpty ? "Functions" : paths) + "\n"
        if !section.fields.isEmpty {
            text += "\n| field | type | |\n|---|---|---|\n"
            for field in section.fields {
                let name = field.isDynamic ? "`\(field.name)`" : "`.\(field.name)`"
                var note = field.note
                if field.isIterable { note += " `pairs` goes through all of them." }
                text +=
                    "| \(name)\(field.waits ? " ⏸" : "") | `\(escaped(field.type))` | \(escaped(note)) |\n"
            }
        }
        for method in section.methods {
            let owner = !section.isModule ? ":" : section.name.isEmpty ? "" : "\(section.name)."
            let ways = [method.parameters, method.overload].compactMap(\.self).map { parameters in
                let names = parameters.map { $0.isOptional ? "[\($0.name)]" : $0.name }
                return "**`\(owner)\(method.name)(\(names.joined(separator: ", ")))`**"
            }
            text += "\n- " + ways.joined(separator: ", ")
            if !method.returns.isEmpty { text += " → `\(method.returns)`" }
            if method.waits { text += " ⏸" }
            text += "  \n  \(method.summary)\n"
            for parameter in method.parameters { text += "  - `\(parameter.name)`: `\(parameter.type)`\n" }
        }
        return text
    }

    private static func recordText(
        _ title: String, _ fields: [(name: String, type: String, summary: String)]
    ) -> String {
        var text = "\n## \(title)\n\n| field | type | |\n|---|---|---|\n"
        for field in fields {
            text += "| `\(field.name)` | `\(escaped(field.type))` | \(field.summary) |\n"
        }
        return text
    }

    /// A bar would end the cell of a table.
    private static func escaped(_ text: String) -> String { text.replacing("|", with: "\\|") }
}
