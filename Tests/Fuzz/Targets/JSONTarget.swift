import EventLoop
import ScriptTesting
import Wire

/// What a script takes for JSON is read, and written again, to the same; the rest is refused with a place in the text.
///
/// The input is the body of a request, which a script reads by `sy.json.decode`.
enum JSONTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        // Holds because: libFuzzer tries one input after the other, on one thread.
        let proxy = unsafe shared
        guard let client = try? proxy.connect() else { return check(false, "the proxy takes no connection") }
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: \(input.count)\r\n\r\n")
        client.send(input)
        _ = proxy.loop.runUntilIdle(turns: 500)
        let response = client.receive()
        client.close()
        _ = proxy.loop.runUntilIdle(turns: 500)
        let (progress, head) = Heads.parseResponse(response, isHead: false)
        guard case .complete(let length) = progress else {
            return check(false, "the client is sent \(progress): \(response.text)")
        }
        let body = response[length...]
        check(head.status == 200 || head.status == 400, "\(head.status): \(proxy.takeErrors())")
        if head.status == 400 {
            check(
                body.starts(with: Array("decode: ".utf8))
                    || body.starts(with: Array("not enough memory".utf8)),
                "\([UInt8](body).text)")
        }
    }

    /// One for all inputs, as an interpreter is for all requests.
    nonisolated(unsafe) private static let shared: ProxyUnderTest = {
        var options = ProxyUnderTest.Options()
        options.machine = SealedMachine.with(files: ["json.lua": Array(script.utf8)])
        do {
            return try ProxyUnderTest(configuration, options: options)
        } catch {
            fatalError("the proxy does not start: \(error)")
        }
    }()

    private static let configuration = """
        events {}
        http {
            access_log off;
            lua_memory_limit 8m;
            server { listen 80; plugin json.lua; }
        }
        """

    private static let script = """
        local function same(a, b)
            if type(a) ~= "table" or type(b) ~= "table" then return a == b end
            for key, value in pairs(a) do if not same(value, b[key]) then return false end end
            for key in pairs(b) do if a[key] == nil then return false end end
            return true
        end
        return {request = function(flow)
            local is_json, value = pcall(sy.json.decode, flow.req:body())
            if not is_json then return flow:respond{status = 400, body = tostring(value)} end
            local text = sy.json.encode(value)
            assert(same(value, sy.json.decode(text)), text)
            return flow:respond{body = text}
        end}
        """
}
