/// A `log_format`.
struct LogFormat {
    var template: Template
    var escape: AccessLog.Escape
}

extension DirectiveTable {
    static let logging: [Directive] = [
        Directive(
            "error_log", "file | stderr [level]", in: [.main, .http, .server, .location],
            takes: .between(1, 2), default: "logs/error.log error",
            "Where messages of a level (debug to emerg) and above go. A message has 2 KB at most, as in nginx, one of a script 16 KB, and each thing said of the request behind it 1 KB; what was cut says so.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let log = try errorLog(call, scope.compilation)
            if scope.context == .main {
                scope.compilation.process.errorLogs.append(log)
            }
            if call.isFirst { scope.settings.errorLogs = [] }
            scope.settings.errorLogs.append(log)
        },
        Directive(
            "log_format", "name [escape=default|json|none] text …", in: .http, takes: .atLeast(2),
            default: "combined …", "A format for access_log.", repeats: true, phase: .names
        ) { scope, call throws(ConfigDiagnostic) in
            let name = call.arguments[0]
            guard scope.compilation.logFormats[name.text] == nil, name.text != "combined" else {
                throw call.failure("duplicate log format \"\(name.text)\"", at: name)
            }
            // Its uses are not to be reported as well where it is wrong.
            scope.compilation.logFormats[name.text] = LogFormat(
                template: Template(literal: []), escape: .default)
            scope.compilation.logFormats[name.text] = try logFormat(call, scope.compilation)
        },
        Directive(
            "access_log", "file [format [buffer=size] [flush=time] [if=condition]] | off",
            in: [.http, .server, .location, .ifInLocation, .limitExcept], takes: .atLeast(1),
            default: "logs/access.log combined",
            "Where each request is logged; /dev/stdout and /dev/stderr are the process's own. A file has one buffer: lines of all "
                + "logs that name it stay in order, and those with buffer= agree.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.settings.accessLogs = [] }
            if call.arguments[0].text == "off" {
                guard call.arguments.count == 1 else {
                    throw call.failure(found: call.arguments[1], expected: "nothing behind \"off\"")
                }
                scope.accessLogIsOff = true
                scope.settings.accessLogs = []
                return
            }
            let log = try accessLog(call, scope.compilation)
            if !scope.accessLogIsOff { scope.settings.accessLogs.append(log) }
        },
        .flag(
            "log_subrequest", \.logSubrequest, default: "off",
            "Writes lines for subrequests of auth_request as well, to the logs of their locations. Internal redirects are part of their request."
        ),
    ]

    // MARK: error_log

    private static func errorLog(_ call: DirectiveUse, _ compilation: Compilation) throws(ConfigDiagnostic)
        -> ErrorLog
    {
        let file = call.arguments[0]
        var level = LogLevel.error
        if call.arguments.count == 2 {
            let name = call.arguments[1]
            // nginx's debug_http and its kin select parts of it; there is one kind here.
            let isDebug = name.text.hasPrefix("debug_")
            guard let known = LogLevel.allCases.first(where: { $0.name == (isDebug ? "debug" : name.text) })
            else {
                throw call.failure(
                    found: name, expected: DirectiveUse.listing(LogLevel.allCases.map { "\"\($0.name)\"" }))
            }
            level = known
        }
        return ErrorLog(destination: try errorLogDestination(file, call, compilation), level: level)
    }

    private static func errorLogDestination(
        _ file: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> ErrorLog.Destination {
        for kind in ["syslog:", "memory:"] where file.text.hasPrefix(kind) {
            throw call.failure(found: file, expected: "a file or \"stderr\": \"\(kind)\" is not supported")
        }
        guard file.text != "stderr", file.text != "/dev/stderr" else { return .standardError }
        return .file(compilation.path(file))
    }

    // MARK: log_format

    private static func logFormat(_ call: DirectiveUse, _ compilation: Compilation) throws(ConfigDiagnostic)
        -> LogFormat
    {
        var texts = call.arguments.dropFirst()
        var escape = AccessLog.Escape.default
        if let first = texts.first, let name = first.value(after: "escape=") {
            escape = try call.choice(
                name, ["default": AccessLog.Escape.default, "json": .json, "none": .none])
            texts = texts.dropFirst()
        }
        var parts: [Template.Part] = []
        for text in texts {
            for part in try compilation.template(text, in: call.name).parts {
                // As nginx has it: what a pattern of the location caught is no variable here.
                if case .capture(let group) = part {
                    throw call.failure("unknown \"\(group)\" variable", at: text)
                }
                parts.append(part)
            }
        }
        return LogFormat(template: Template(parts: parts), escape: escape)
    }

    // MARK: access_log

    private static func accessLog(_ call: DirectiveUse, _ compilation: Compilation) throws(ConfigDiagnostic)
        -> AccessLog
    {
        let file = call.arguments[0]
        guard !file.text.hasPrefix("syslog:") else {
            throw call.failure(found: file, expected: "a file: \"syslog:\" is not supported")
        }
        var options = call.arguments.dropFirst()
        var format = compilation.combinedFormat(at: call.position)
        if let name = options.first {
            options = options.dropFirst()
            if name.text != "combined" {
                guard let known = compilation.logFormats[name.text] else {
                    throw call.failure("unknown log format \"\(name.text)\"", at: name)
                }
                format = known
            }
        }
        var log = AccessLog(
            destination: accessLogDestination(file, compilation), format: format.template,
            escape: format.escape)
        if TemplateParser.hasVariables(file.bytes) {
            let path = file.replacing(Array(compilation.path(file).utf8))
            log.pathTemplate = try compilation.template(path, in: call.name)
        }
        var buffering = LogBuffering()
        for option in options { try apply(option, to: &log, &buffering, call, compilation) }
        if buffering.flushInterval > 0, buffering.size == 0 {
            throw call.failure("found \"flush=\" without \"buffer=\"")
        }
        guard buffering.size > 0 else { return log }
        guard log.pathTemplate == nil else {
            throw call.failure("found \"buffer=\" with variables in the file's name")
        }
        if let known = compilation.logBuffers[log.destination], known != buffering {
            throw call.failure(
                "found \"\(file.text)\" already defined with conflicting parameters: one file has one buffer",
                at: file)
        }
        compilation.logBuffers[log.destination] = buffering
        return log
    }

    private static func apply(
        _ option: Word, to log: inout AccessLog, _ buffering: inout LogBuffering, _ call: DirectiveUse,
        _ compilation: Compilation
    ) throws(ConfigDiagnostic) {
        if let value = option.value(after: "buffer=") {
            buffering.size = try call.bufferSize(value)
        } else if let value = option.value(after: "flush=") {
            buffering.flushInterval = try call.time(value)
            guard buffering.flushInterval > 0 else {
                throw call.failure(found: value, expected: "a time above 0")
            }
        } else if let value = option.value(after: "if=") {
            log.condition = try compilation.template(value, in: call.name)
        } else if option.text == "gzip" || option.text.hasPrefix("gzip=") {
            throw call.failure(
                "found \"\(option.text)\": an option of nginx that Switchyard does not support", at: option)
        } else {
            throw call.failure(found: option, expected: "\"buffer=\", \"flush=\" or \"if=\"")
        }
    }

    private static func accessLogDestination(_ file: Word, _ compilation: Compilation)
        -> AccessLog.Destination
    {
        switch file.text {
        case "/dev/stdout": .standardOutput
        case "/dev/stderr": .standardError
        default: .file(compilation.path(file))
        }
    }
}

extension Compilation {
    /// A file's path; relative ones are under the prefix.
    func path(_ word: Word) -> String { Paths.path(word.text, under: environment.prefix) }

    func combinedFormat(at position: SourcePosition) -> LogFormat {
        if let known = logFormats["combined"] { return known }
        let text =
            "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent "
            + "\"$http_referer\" \"$http_user_agent\""
        let word = Word(bytes: Array(text.utf8), position: position)
        // The text above is well-formed; a variable of it that is unknown is reported as any other.
        let template = (try? template(word, in: "access_log")) ?? Template(literal: [])
        let format = LogFormat(template: template, escape: .default)
        logFormats["combined"] = format
        return format
    }

    /// What is logged where no `access_log` says otherwise.
    func defaultAccessLog(at position: SourcePosition) -> AccessLog {
        let format = combinedFormat(at: position)
        return AccessLog(
            destination: .file(Paths.path("logs/access.log", under: environment.prefix)),
            format: format.template, escape: format.escape)
    }
}
