extension DirectiveTable {
    static let process: [Directive] = [
        Directive(
            "worker_processes", "number | auto", in: .main, takes: .one, default: "1",
            "Worker threads; auto is one for each processor."
        ) { scope, call throws(ConfigDiagnostic) in
            let word = call.arguments[0]
            scope.compilation.process.workerProcesses =
                word.text == "auto" ? nil : try call.number(word, in: 1...1024)
        },
        Directive(
            "worker_rlimit_nofile", "number", in: .main, takes: .one,
            "Open files of the process, all workers together; without it the limit is what the process was started with."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.process.workerFileLimit = try call.number(call.arguments[0], in: 1...Int.max)
        },
        Directive(
            "daemon", "on | off", in: .main, takes: .one, default: "on",
            "Whether to go on in the background; a reload changes nothing of it."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.process.daemon = try call.flag(call.arguments[0])
        },
        Directive(
            "pid", "file", in: .main, takes: .one, default: "/run/switchyard.pid",
            "Where the process id is kept."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.process.pidFile = scope.compilation.path(call.arguments[0])
        },
        Directive(
            "user", "user [group]", in: .main, takes: .between(1, 2),
            "Whom the process becomes when root starts it; the group is the user's own unless given. A reload changes nothing of it."
        ) { scope, call throws(ConfigDiagnostic) in
            let environment = scope.compilation.environment
            guard environment.isPrivileged else {
                return scope.compilation.report(
                    call.warning(
                        "makes sense only if the process runs with super-user privileges, ignored"))
            }
            guard environment.hasUser(call.arguments[0].text) else {
                throw call.failure(found: call.arguments[0], expected: "a user of this machine")
            }
            if call.arguments.count > 1, !environment.hasGroup(call.arguments[1].text) {
                throw call.failure(found: call.arguments[1], expected: "a group of this machine")
            }
            scope.compilation.process.user = call.arguments[0].text
            scope.compilation.process.group = call.arguments.count > 1 ? call.arguments[1].text : nil
        },
        Directive(
            "worker_shutdown_timeout", "time", in: .main, takes: .one,
            "How long a graceful shutdown, or a reload, waits for requests and tunnels of before; without it, to their end."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.process.workerShutdownTimeout = try call.time(call.arguments[0])
        },
    ]

    static let connections: [Directive] = [
        Directive(
            "events", "{ … }", in: .main, takes: .none, "Holds what concerns connections as such.",
            form: .block,
            phase: .blocks
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.hasEvents = true
            var events = scope.child(.events)
            DirectiveCompiler.apply(call.body, to: &events)
        },
        Directive(
            "worker_connections", "number", in: .events, takes: .one, default: "512",
            "Connections of one worker, those to upstreams included. Idle ones give way to others; where there are none, new clients wait."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.compilation.process.workerConnections = try call.number(call.arguments[0], in: 1...Int.max)
        },
    ]
}
