import Synchronization
import Testing

@testable import Config

@Suite struct ScriptTests {
    private func configuration(_ text: String) throws -> Configuration {
        let (configuration, diagnostics) = Configuration.parse(text, builtinVariables: testVariables)
        #expect(diagnostics.map(\.description) == [])
        return try #require(configuration)
    }

    @Test("a variable that no text mentions has a place, since scripts may ask for it by name")
    func placesUnmentionedVariables() throws {
        let found = try configuration(
            """
            http {
                map $uri $mapped { default 1; }
                set_by_lua_block $Scripted { return 1 }
                server { set $assigned 1; set_by_lua_block $both { return 1 } set $both 2; }
            }
            """)
        let sources = Dictionary(
            found.variables.map { ($0.name, $0.source) }, uniquingKeysWith: { first, _ in first })
        #expect(sources["mapped"] == .map(0))
        #expect(sources["scripted"] == .script(slot: 0, assigned: nil))
        #expect(sources["both"] == .script(slot: 1, assigned: 1))
        #expect(sources["assigned"] == .assigned(slot: 0))
        #expect(found.scriptSlots == 2)
        #expect(found.assignedSlots == 2)
    }

    @Test("each script is looked into once, with the settings of the whole configuration")
    func probesOnce() throws {
        let seen = Mutex<[String]>([])
        var environment = CompilationEnvironment(prefix: "/p", builtinVariables: testVariables)
        environment.scripts = ScriptProbe { script, settings in
            seen.withLock {
                $0.append("\(script.text.file):\(script.text.line) within \(settings.hookTimeout)")
            }
            return .success(ScriptOutline())
        }
        let files = ConfigurationFiles(
            read: { path in .success(path == "/c/x.conf" ? Array(Self.probed.utf8) : []) },
            glob: { _ in .success([]) })
        let result = ConfigurationCompiler.compile(
            rootPath: "/c/x.conf", environment: environment, files: files)
        #expect(result.diagnostics.map(\.description) == [])
        #expect(
            seen.withLock { $0.sorted() } == [
                "/abs/b.lua:1 within 7", "/c/a.lua:1 within 7", "/c/a.lua:1 within 7", "/c/x.conf:1 within 7",
                "/c/x.conf:7 within 7",
            ])
        #expect(
            result.configuration?.lua.packagePath
                == "/c/lib/?.lua;/c/?.lua;/c/?/init.lua;/usr/local/share/lua/5.4/?.lua;"
                + "/usr/local/share/lua/5.4/?/init.lua;/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua"
        )
    }

    @Test("every hook has its two directives")
    func hooksHaveDirectives() {
        for stage in HookStage.allCases {
            for form in ["block", "file"] {
                #expect(DirectiveTable.names.contains("\(stage.name)_by_lua_\(form)"), "\(stage.name)")
            }
            #expect(HookStage(name: stage.name) == stage)
        }
        #expect(HookStage(name: "access") == nil)
    }

    private static let probed = """
        init_by_lua_block { } events { }
        http {
            plugin a.lua;
            lua_package_path "lib/?.lua;;";
            lua_hook_timeout 7ms;
            server { plugin a.lua; location / { log_by_lua_file /abs/b.lua; } }
            map_by_lua_block $uri $x { }
        }
        """
}
