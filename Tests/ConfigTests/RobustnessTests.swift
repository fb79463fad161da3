import Config
import Testing

/// A configuration with most of the grammar in it, for cutting.
private let sample = #"""
    worker_processes auto; error_log logs/e.log warn;
    events { worker_connections 10; }
    http {
        log_format f escape=json '{"a":"$uri"}' "\t${host}";
        map $http_upgrade $c { default "up"; '' close; ~^(?<n>x+)$ $n; }
        set_by_lua_block $t "default=a b" { return { '}' }[1] --[[ } ]] }
        map_by_lua_block $uri $v { return [=[ } ]=] .. value }
        upstream u { server 127.0.0.1:1 weight=2; server unix:/s backup; keepalive 4; }
        server {
            listen [::1]:80 so_keepalive=1m::3; server_name ~^(?<s>.+)\.x$ *.y .z;
            if ($host = "a;b") { return 301 http://$s$request_uri; }
            location ~* "^/a{2}" { proxy_pass http://u; proxy_set_header A "x # y"; }
            location / { proxy_pass http://u/x/; limit_except GET { allow 10.0.0.0/8; deny all; }
                expires @15h30m; error_page 404 =200 /x; resolver [::1]:53; # end
                location /n { rewrite ^/(.*)$ /y/$1? last; log_by_lua_block { x = "{" } access_log l/$host.log f; }
            }
        }
    }
    """#

@Suite struct RobustnessTests {
    private func compile(_ bytes: some Sequence<UInt8>) -> ConfigurationCompiler.Result {
        let text = String(decoding: Array(bytes), as: UTF8.self)
        let none = ConfigurationFiles(
            read: { _ in .failure(FileFailure(reason: "none")) }, glob: { _ in .success([]) })
        return ConfigurationCompiler.compile(
            text: text, name: "cut",
            environment: CompilationEnvironment(prefix: "/p", builtinVariables: testVariables), files: none)
    }

    @Test("the sample itself is without a fault")
    func sampleIsSound() {
        #expect(compile(sample.utf8).diagnostics.map(\.description) == [])
    }

    @Test("a configuration cut anywhere yields a configuration or a message, and never traps")
    func cutsAnywhere() {
        let bytes = Array(sample.utf8)
        for end in 0...bytes.count {
            let result = compile(bytes[..<end])
            #expect((result.configuration == nil) == result.diagnostics.contains { $0.severity == .error })
            // Only a whole number of blocks is a whole file.
            let opened = bytes[..<end].count { $0 == UInt8(ascii: "{") }
            if opened > 2, end < bytes.count { #expect(!result.diagnostics.isEmpty, "cut at \(end)") }
        }
    }

    @Test("a configuration without its beginning never traps")
    func cutsBeginnings() {
        let bytes = Array(sample.utf8)
        for start in 1..<bytes.count {
            let result = compile(bytes[start...])
            #expect((result.configuration == nil) == result.diagnostics.contains { $0.severity == .error })
        }
    }

    @Test("a byte changed anywhere never traps", arguments: ["\0", "\"", "{", "}", "$"])
    func changesBytes(_ replacement: String) {
        let bytes = Array(sample.utf8)
        let byte = Array(replacement.utf8)
        for index in bytes.indices {
            let result = compile(bytes[..<index] + byte + bytes[(index + 1)...])
            #expect((result.configuration == nil) == result.diagnostics.contains { $0.severity == .error })
        }
    }

    @Test("messages are in the order of the text")
    func sortsMessages() {
        let result = compile("http { server { a; location / { b; } c; } d; } e;".utf8)
        #expect(result.diagnostics.map(\.directive) == ["a", "b", "c", "d", "e"])
    }

    @Test("files included in files without end are refused")
    func limitsIncludes() {
        let endless = ConfigurationFiles(
            read: { path in .success(Array("include \(path)x;".utf8)) }, glob: { _ in .success([]) })
        let result = ConfigurationCompiler.compile(
            rootPath: "/x", environment: CompilationEnvironment(prefix: "/p", builtinVariables: []),
            files: endless)
        #expect(
            result.diagnostics.map(\.message) == ["found files included more than 32 deep"])
        #expect(result.sources.count == 33)
    }

    @Test("blocks nested without end are refused")
    func limitsNesting() {
        let result = compile(String(repeating: "http {", count: 100_000).utf8)
        #expect(result.configuration == nil)
        #expect(result.diagnostics.contains { $0.message.contains("nested more than 64 deep") })
    }
}
