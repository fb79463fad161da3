extension DirectiveTable {
    static let http2: [Directive] = [
        Directive(
            "http2", "on | off", in: .httpAndServer, takes: .one, default: "off",
            "HTTP/2 on the server's listeners, beside HTTP/1.1: by ALPN over TLS, else by the connection's first "
                + "bytes. Over TLS the server of the name that is asked for decides, else the listener's default server."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.connection.http2.isOn = try call.flag(call.arguments[0])
        },
        Directive(
            "http2_max_concurrent_streams", "number", in: .httpAndServer, takes: .one, default: "128",
            "Requests and WebSockets that a connection may carry at a time."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.connection.http2.maxConcurrentStreams = try call.number(call.arguments[0], in: 1...65_536)
        },
        Directive(
            "http2_body_preread_size", "size", in: .httpAndServer, takes: .one, default: "64k",
            "Bytes that a stream may send ahead of what the upstream takes: the window of each stream."
        ) { scope, call throws(ConfigDiagnostic) in
            let size = try call.size(call.arguments[0])
            guard (1...Int(Int32.max)).contains(size) else {
                throw call.failure(found: call.arguments[0], expected: "a size from 1 to 2g - 1")
            }
            scope.connection.http2.bodyPrereadSize = size
        },
        Directive(
            "http2_chunk_size", "size", in: .levels, takes: .one, default: "8k",
            "Bytes of a response in one frame, at most."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.http2ChunkSize = try call.bufferSize(call.arguments[0])
        },
        .accepted(
            "http2_recv_buffer_size", in: .http, why: "A worker's connections share one buffer to read into."),
        .accepted("http2_pool_size", in: .httpAndServer, why: "Memory comes from the system's allocator."),
        .accepted("http2_streams_index_size", in: .httpAndServer, why: "Tables size themselves."),
        obsolete("http2_max_requests", in: .httpAndServer, "keepalive_requests"),
        obsolete("http2_max_field_size", in: .httpAndServer, "large_client_header_buffers"),
        obsolete("http2_max_header_size", in: .httpAndServer, "large_client_header_buffers"),
        obsolete("http2_idle_timeout", in: .httpAndServer, "keepalive_timeout"),
        obsolete("http2_recv_timeout", in: .httpAndServer, "client_header_timeout"),
        obsolete("http2_max_concurrent_pushes", in: .httpAndServer, nil),
        obsolete("http2_push", in: .levels, nil),
        obsolete("http2_push_preload", in: .levels, nil),
    ]

    /// Changes nothing, in nginx neither, and says so.
    private static func obsolete(
        _ name: String, in contexts: Contexts, _ successor: String?
    ) -> Directive {
        let why =
            successor.map { "Obsolete in nginx too: `\($0)` takes its place." } ?? "Obsolete in nginx too."
        return Directive(
            name, "…", in: contexts, takes: .one, why, kind: .accepted(why), repeats: true
        ) { scope, call in
            let use = successor.map { ", use the \"\($0)\" directive instead" } ?? ""
            scope.compilation.report(call.warning("the \"\(name)\" directive is obsolete\(use)"))
        }
    }
}
