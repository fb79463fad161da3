/// Servers of a test that speak something else than HTTP.
extension LuaAPI {
    /// What is the same of all places that the proxy connects to.
    static func hostFunctions(_ type: LuaType) -> [LuaFunction] {
        [
            LuaFunction(
                "connections", .getter(type), "", returns: "integer", "How many connections there have been."
            ) { call throws(LuaError) in
                call.push(try call.testHost(type).connections)
            },
            LuaFunction("refuse", .method(type), "", "Refuses connections from now on.") {
                call throws(LuaError) in
                try call.testHost(type).refuse()
                return .none
            },
            LuaFunction(
                "stay_silent", .method(type), "",
                "Leaves connections from now on without an answer, as a host that is gone."
            ) { call throws(LuaError) in
                try call.testHost(type).staySilent()
                return .none
            },
        ]
    }

    static let testServerFunctions: [LuaFunction] =
        [
            LuaFunction(
                "expect_connection", .method(.testServer), "", returns: "TestSocket",
                "Takes the connection that has waited longest; an error when there is none."
            ) { call throws(LuaError) in
                guard let connection = try call.testServer().takeConnection() else {
                    throw LuaError("expect_connection: no connection has come")
                }
                return try call.push(.socket(connection))
            },
            LuaFunction(
                "expect_none", .method(.testServer), "",
                "An error when a connection waits that was not taken."
            ) { call throws(LuaError) in
                guard try call.testServer().takeConnection() == nil else {
                    throw LuaError("expect_none: found a connection, expected none")
                }
                return .none
            },
        ] + hostFunctions(.testServer)

    static let testSocketFunctions: [LuaFunction] = [
        LuaFunction("send", .method(.testSocket), "data: string", "Sends bytes as they are.") {
            call throws(LuaError) in
            let socket = try call.testSocket()
            let data = try call.bytes(2, "send")
            try attempt { () throws(TestFault) in try socket.send(data) }
            return .none
        },
        LuaFunction(
            "receive", .method(.testSocket), "", returns: "string?",
            "Takes all that has come and was not taken; nil where that is nothing."
        ) { call throws(LuaError) in
            let socket = try call.testSocket()
            guard !socket.received.isEmpty else { return call.push(nil) }
            defer { socket.received = [] }
            return call.push(socket.received)
        },
        LuaFunction(
            "expect", .method(.testSocket), "data: string",
            "What has come begins with this, which is taken; the rest is there for the next call."
        ) { call throws(LuaError) in
            let socket = try call.testSocket()
            let data = try call.bytes(2, "expect")
            guard socket.received.starts(with: data) else {
                let found = socket.received.isEmpty ? "nothing" : "\(LuaValue.string(socket.received))"
                throw LuaError("expected \(LuaValue.string(data)), found \(found)")
            }
            socket.received.removeFirst(data.count)
            return .none
        },
        LuaFunction("expect_none", .method(.testSocket), "", "Nothing has come that was not taken.") {
            call throws(LuaError) in
            let found = try call.testSocket().received
            guard !found.isEmpty else { return .none }
            throw LuaError("expected nothing, found \(LuaValue.string(found))")
        },
        LuaFunction(
            "closed", .getter(.testSocket), "", returns: "boolean", "The script has closed, or is gone."
        ) { call throws(LuaError) in
            call.push(try call.testSocket().isClosed)
        },
        LuaFunction("close", .method(.testSocket), "", "Closes the connection.") { call throws(LuaError) in
            try call.testSocket().close()
            return .none
        },
        LuaFunction(
            "vanish", .method(.testSocket), "", "Breaks the connection off, as a server does that dies."
        ) { call throws(LuaError) in
            try call.testSocket().reset()
            return .none
        },
    ]
}
