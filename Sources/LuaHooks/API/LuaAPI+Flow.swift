internal import Config
internal import ProxyCore
internal import Wire

extension LuaAPI {
    static let flowFunctions: [LuaFunction] = [
        LuaFunction("req", .part(of: .flow, .request), type: "Request", "The client's request."),
        LuaFunction(
            "res", .part(of: .flow, .response), type: "Response",
            "The response on its way to the client."),
        LuaFunction(
            "var", .part(of: .flow, .variables), type: "Variables",
            "Every variable of the configuration."),
        LuaFunction(
            "client", .part(of: .flow, .client, position: 1), type: "Leg", "The client's connection."),
        LuaFunction(
            "upstream", .part(of: .flow, .upstream, position: 2), type: "Leg", "The upstream's connection."),
        LuaFunction(
            "offer", .part(of: .flow, .offer), type: "Offer",
            "What the client's upgrade asks for."),
        LuaFunction(
            "ctx", .ownTable(of: .flow, position: LuaType.contextPart), type: "table",
            "A table for this exchange, of the script's own: hooks of one plugin share it, other plugins and blocks "
                + "have theirs."),
        LuaFunction("id", .getter(.flow), "", returns: "string", "The exchange's `$request_id`.") {
            call throws(LuaError) in
            call.push(try call.exchange(.flow).requestIDText)
        },
        LuaFunction(
            "location", .getter(.flow), "", returns: "string?",
            "The location that the exchange is in, as configured: `/chat/`, `= /`, `@fallback`; nil "
                + "outside of any."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.flow)
            return call.push(LocationName.text(of: exchange.location, in: exchange.server))
        },
        LuaFunction(
            "started", .getter(.flow), "", returns: "number",
            "When the first byte of the request came, in seconds since 1970."
        ) { call throws(LuaError) in
            call.push(Double(try call.exchange(.flow).startedAt.unix) / 1000)
        },
        LuaFunction(
            "tag", .method(.flow), "name: string",
            "Puts the exchange's tunnel among those of this name; up to 64 names of up to 255 bytes."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            let tag = try call.tagName(2)
            if flow.tags.contains(tag) { return .none }
            guard flow.tags.count < ScriptFlow.maxTags else { throw call.tooManyTags }
            call.interpreter.tag(flow, tag)
            return .none
        },
        LuaFunction(
            "tags", .getter(.flow), "", returns: "string[]",
            "The names that it was given by `tag`, in that order; changing the list changes nothing else."
        ) { call throws(LuaError) in
            call.push(list: try call.flow(1, .flow).tags)
        },
        LuaFunction(
            "is_remote", .getter(.flow), "", returns: "boolean",
            "False: see `remote flow`, which `sy.flows` may give."
        ) { call throws(LuaError) in
            _ = try call.flow(1, .flow)
            return call.push(false)
        },
        LuaFunction(
            "flows", .module("sy"), "options?: { tag: string }", returns: "(Flow|RemoteFlow)[]",
            "The open tunnels of this node, or those with a tag: first those of this worker, each as its `flow`, then "
                + "those of other workers, and those that stayed with an older configuration, as `remote flow` objects."
        ) { call throws(LuaError) in
            var tag: [UInt8]?
            if call.isGiven(1) {
                try call.table(1, "flows")
                try call.checkOptions(1, "flows", ["tag"])
                if call.stack.pushField("tag", of: 1) != .nil {
                    tag = try call.tagName(call.stack.top, "flows")
                }
                call.stack.pop()
            }
            let flows = call.interpreter.openTunnels(tagged: tag)
            let remotes = call.interpreter.shared.tunnels.tunnels(
                tagged: tag, besides: call.interpreter.number)
            call.stack.pushTable(array: flows.count + remotes.count)
            for (index, flow) in flows.enumerated() {
                call.interpreter.push(flow, on: call.stack)
                call.stack.setElement(index + 1, of: -2)
            }
            for (index, tunnel) in remotes.enumerated() {
                call.stack.push(tunnel)
                call.stack.setElement(flows.count + index + 1, of: -2)
            }
            return .one
        },
        LuaFunction(
            "publish", .module("sy"), "tag: string, text: string",
            "Sends a text message to the client of every open tunnel with this tag, on all workers, and on the other nodes where `shared_state` is set. Hooks of scripts further "
                + "on see it, as what `send` sends. An error where the text is not UTF-8, and in a hook that was called for what a script has sent (`injected`)."
        ) { call throws(LuaError) in
            let tag = try call.bytes(1, "publish")
            let text = try call.bytes(2, "publish")
            guard UTF8Validator.accepts(text.span) else {
                throw LuaError("publish: the text is not UTF-8")
            }
            guard call.interpreter.injectionDepth == 0 else {
                throw LuaError("publish: not by a hook that sees what a script has sent")
            }
            var message = ScriptMessage(isText: true, payload: text)
            message.sender = call.interpreter.sender
            call.interpreter.host.publish(tag, message)
            return .none
        },
    ]
}

extension LuaCall {
    /// The name of a tag.
    func tagName(_ index: Int, _ name: StaticString = "tag") throws(LuaError) -> [UInt8] {
        let tag = try bytes(index, name)
        guard (1...ScriptFlow.maxTagLength).contains(tag.count) else {
            throw LuaError("tag: found \(tag.count) bytes, expected 1 to \(ScriptFlow.maxTagLength)")
        }
        return tag
    }

    var tooManyTags: LuaError { LuaError("tag: the exchange has \(ScriptFlow.maxTags) tags already") }

    func push(list: [[UInt8]]) -> LuaResult {
        stack.push(list: list) { stack.push($0) }
        return .one
    }
}
