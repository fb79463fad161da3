internal import Patterns

/// What `listen` and `server_name` said of a server while its directives are applied.
struct ServerDraft {
    var listens: [ListenDraft] = []
    var names: [ServerNameDraft] = []
    /// `$server_name`: the first name as written, without the dot that stands for subdomains too.
    var primaryName: [UInt8] = []
}

struct ListenDraft {
    var address: ListenAddress
    var arguments = ListenArguments()
    var position: SourcePosition
}

struct ServerNameDraft {
    enum Form {
        case host(HostPattern)
        case regex(Pattern, namedGroups: [NamedGroup])
    }
    var form: Form
    var name: Word
}

/// A server that is complete but for the tables of names of the addresses it listens on.
struct CompiledServer {
    var server: VirtualServer
    var listens: [ListenDraft]
    /// It has no `listen`, not even one that was found wrong.
    var usesDefaultPort: Bool
    var names: [ServerNameDraft]
    var position: SourcePosition
}

/// Gathers the servers of each address.
struct ListenerAssembly {
    private struct Entry {
        var address: ListenAddress
        var options = ListenOptions()
        var optionsSetAt: SourcePosition?
        var defaultServer: VirtualServer
        var defaultSetAt: SourcePosition?
        var names = ServerNameTable()
        var isHTTP2 = false
        var isTLS = false
        var hasProxyProtocol = false
    }

    private let compilation: Compilation
    private var entries: [Entry] = []
    private var positions: [ListenAddress: Int] = [:]

    init(_ compilation: Compilation) { self.compilation = compilation }

    /// The listeners in the order in which their addresses were first met.
    static func listeners(of compilation: Compilation) -> [Listener] {
        var assembly = ListenerAssembly(compilation)
        for server in compilation.servers { assembly.add(server) }
        return assembly.entries.map { entry in
            var listener = Listener(
                address: entry.address, options: entry.options, defaultServer: entry.defaultServer,
                names: entry.names, isHTTP2: entry.isHTTP2)
            listener.isTLS = entry.isTLS
            listener.hasProxyProtocol = entry.hasProxyProtocol
            return listener
        }
    }

    private mutating func add(_ server: CompiledServer) {
        var listens = server.listens
        if server.usesDefaultPort {
            let port: UInt16 = compilation.environment.isPrivileged ? 80 : 8000
            listens = [
                ListenDraft(address: .ipv4(host: "0.0.0.0", port: port), position: server.position)
            ]
        }
        var own: Set<ListenAddress> = []
        for listen in listens {
            guard own.insert(listen.address).inserted else {
                report(listen.position, "found \(listen.address.description) a second time in this server")
                continue
            }
            add(server, at: listen)
        }
    }

    private mutating func add(_ server: CompiledServer, at listen: ListenDraft) {
        let address = listen.address.description
        let index: Int
        if let known = positions[listen.address] {
            index = known
        } else {
            index = entries.count
            positions[listen.address] = index
            entries.append(Entry(address: listen.address, defaultServer: server.server))
        }
        if listen.arguments.isHTTP2 { entries[index].isHTTP2 = true }
        if listen.arguments.isTLS { entries[index].isTLS = true }
        if listen.arguments.hasProxyProtocol { entries[index].hasProxyProtocol = true }
        if listen.arguments.setsOptions {
            if let former = entries[index].optionsSetAt {
                report(
                    listen.position,
                    "duplicate listen options for \(address), first found at \(former.file):\(former.line)")
            } else {
                entries[index].options = listen.arguments.options
                entries[index].optionsSetAt = listen.position
            }
        }
        if listen.arguments.isDefault {
            if let former = entries[index].defaultSetAt {
                report(
                    listen.position,
                    "a duplicate default server for \(address), first found at \(former.file):\(former.line)")
            } else {
                entries[index].defaultServer = server.server
                entries[index].defaultSetAt = listen.position
            }
        }
        // Taken out, so that it is not copied for each name.
        var names = ServerNameTable()
        swap(&names, &entries[index].names)
        for name in server.names { enter(name, server: server.server, into: &names, address) }
        if server.names.isEmpty {
            // As `server_name "";`: found where the request names no host.
            let name = ServerNameDraft(
                form: .host(.exact([])), name: Word(bytes: [], position: server.position))
            enter(name, server: server.server, into: &names, address)
        }
        entries[index].names = names
    }

    private func enter(
        _ name: ServerNameDraft, server: VirtualServer, into table: inout ServerNameTable, _ address: String
    ) {
        let isNew: Bool
        switch name.form {
        case .host(let pattern): isNew = table.enter(server, at: pattern)
        case .regex(let pattern, let groups):
            table.regexes.append(.init(pattern: pattern, namedGroups: groups, value: server))
            isNew = true
        }
        guard !isNew else { return }
        compilation.report(
            ConfigDiagnostic(
                severity: .warning, position: name.name.position, directive: "server_name",
                message: "conflicting server name \"\(name.name.text)\" on \(address), ignored"))
    }

    private func report(_ position: SourcePosition, _ message: String) {
        compilation.report(ConfigDiagnostic(position: position, directive: "listen", message: message))
    }
}
