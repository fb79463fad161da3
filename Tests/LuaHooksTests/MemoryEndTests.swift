import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("At the end of memory")
struct MemoryEndTests {
    /// Each uses up all memory first, in blocks that get smaller, and goes on as it is.
    private static let filler = """
        local kept = {}
        for _, size in ipairs{1 << 18, 1 << 14, 1 << 10, 64, 16} do
          while true do
            local made, text = pcall(string.rep, "x", size)
            if not made or not pcall(function() kept[#kept + 1] = text .. #kept end) then break end
          end
        end

        """

    @Test(
        "what Lua says outside of protected calls needs no memory",
        arguments: [
            "coroutine.resume(dead)", "coroutine.resume(dead, 1, 2)", "pcall(wrapped)",
            "local function f() return coroutine.wrap(f)() end pcall(f)",
            "pcall(error, setmetatable({}, {__tostring = function() error('again') end}))",
            "coroutine.wrap(function() coroutine.resume(coroutine.running()) end)()",
        ])
    func messages(text: String) throws {
        var settings = LuaSettings()
        settings.memoryLimit = 2 << 20
        settings.hookTimeout = 60_000
        let prepared = """
            if reached then sy.log.warn("reached") end
            reached = false
            local dead = coroutine.create(function() end)
            coroutine.resume(dead)
            local wrapped = coroutine.wrap(function() end)
            wrapped()

            """
        let fixture = try ScriptFixture(
            .request, prepared + Self.filler + "reached = true " + text, settings: settings)
        // Whether it fails is no matter: that the process goes on is. Each run says of the one before that it came to it.
        for _ in 0..<4 { _ = fixture.run() }
        #expect(fixture.host.lines.count { $0.contains("reached") } == 3)
        fixture.interpreter.collectGarbage()
        #expect(fixture.interpreter.memory <= 2 << 20)
    }
}
