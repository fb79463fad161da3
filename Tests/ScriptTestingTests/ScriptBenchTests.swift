import EventLoop
import LuaHooks
import Testing

@testable import ScriptTesting

@Suite("What scripts' tests do with a proxy", .timeLimit(.minutes(1)))
struct ScriptBenchTests {
    @Test("a backend answers everywhere until a test makes one")
    func anyBackend() {
        scriptPasses(
            """
            local p = proxy{}
            local res = p:request{ method = "POST", body = "x" }
            expect(res.status):equals(200)
            expect(res.body):equals("")
            expect(p:access_log()):matches('"POST / HTTP/1.1" 200 0')
            expect(p:log()):equals{}
            """)
    }

    @Test("a request arrives with what the proxy made of it, and is answered by the test")
    func expectedRequest() {
        scriptPasses(
            """
            local p = proxy{ location = "proxy_set_header X-Set here;" }
            local backend = p:backend("backend:80")
            local client = p:connect("203.0.113.9:4000")
            client:send{ method = "PUT", path = "/a/b?c=d", headers = { ["X-Two"] = { "1", "2" } }, body = "body" }
            expect(client:response()):is_nil()
            local request = backend:expect_request()
            expect(request.method):equals("PUT")
            expect(request.uri):equals("/a/b?c=d")
            expect(request.path):equals("/a/b")
            expect(request.query):equals("c=d")
            expect(request.headers["x-set"]):equals("here")
            expect(request.headers:all("X-Two")):equals{ "1", "2" }
            expect(request.body):equals("body")
            request:respond{ status = 404, headers = { ["X-B"] = "b" }, body = "none" }
            local res = client:response()
            expect(res.status):equals(404)
            expect(res.headers["x-b"]):equals("b")
            expect(res.body):equals("none")
            expect(function() request:respond() end):raises("has been answered")
            expect(p:access_log()[1]):matches("^203%.0%.113%.9 ")
            expect(backend.connections):equals(1)
            backend:expect_none()
            expect(function() backend:expect_request() end):raises("no request has come")
            """)
    }

    @Test("what init hooks fetch is answered by the proxy's own function, or by the backend for all")
    func fetchesOfInit() {
        scriptPasses(
            """
            local init = [[init_by_lua_block {
                local res, why = sy.fetch{ url = "http://conf/" }
                sy.log.error(res and res.status .. res.body or why)
            }]]
            expect(proxy{ http = init }:log()[1]):contains("200")
            local p = proxy{ http = init, on_fetch = function(request)
                expect(function() advance(1) end):raises("no time passes")
                return { status = 201, body = request.url }
            end }
            expect(p:log()[1]):contains("201http://conf/")
            expect(function() proxy{ on_fetch = 5 } end):raises("on_fetch: found number, expected a function")
            """)
    }

    @Test("a client chooses among the listeners as the configuration writes them")
    func listeners() {
        scriptPasses(
            """
            local function answering(text) return "location / { return 200 " .. text .. "$server_addr:$server_port; }" end
            local p = proxy{ config = "events {} http {" ..
                "server { listen 10.0.0.5:8080; " .. answering("a") .. "}" ..
                "server { listen 8080; listen [::]:8081; " .. answering("b") .. "}" ..
                "server { listen unix:/run/s; " .. answering("c") .. "} }" }
            local function body(listener) return p:request{ listener = listener }.body end
            expect(body()):equals("a10.0.0.5:8080")
            expect(body("10.0.0.5:8080")):equals("a10.0.0.5:8080")
            expect(body("8080")):equals("b127.0.0.1:8080")
            expect(body("*:8080")):equals("b127.0.0.1:8080")
            expect(body("localhost:8080")):equals("b127.0.0.1:8080")
            expect(body("192.0.2.1:8080")):equals("b192.0.2.1:8080")
            expect(body("8081")):equals("b::1:8081")
            expect(body("unix:/run/s")):contains("c")
            expect(p:send{ listener = "8081" }:response().body):equals("b::1:8081")
            local client = p:connect{ listener = "8081", address = "[2001:db8::1]:99" }
            expect(client:request().body):equals("b::1:8081")
            expect(p:access_log()[10]):contains("2001:db8::1")
            expect(p:websocket{ listener = "8081" }.response.body):equals("b::1:8081")
            expect(function() body("81") end):raises(
                'found "81", expected one of 10.0.0.5:8080, 0.0.0.0:8080, %[::%]:8081, unix:/run/s')
            expect(function() body("x") end):raises('found "x", expected a port, address:port or unix:/path')
            expect(function() body("unix:/run/t") end):raises('found "unix:/run/t", expected one of')
            expect(function() client:send{ listener = "8081" } end):raises('found "listener", expected method')
            expect(proxy{ config = "events {} http { server { listen unix:/s; return 204; } }" }:request().status)
                :equals(204)
            """)
    }

    @Test("the TLS of a client is as the test says, where the listener has it")
    func tls() {
        scriptPasses(
            """
            local p = proxy{ config = [[events {} http { server {
                listen 443 ssl;
                listen 80;
                ssl_certificate $name.pem;
                ssl_certificate_key $name.key;
                set $name "a";
                ssl_verify_client optional_no_ca;
                location / { request_by_lua_block {
                    local tls = flow.client.tls or {}
                    return flow:respond{ body = table.concat({ flow.var.scheme, flow.var.https or "-", tls.version or "-",
                        tls.cipher or "-", tls.sni or "-", tls.client_subject or "-", tostring(tls.verified),
                        tostring(tls.resumed), flow.var.ssl_client_verify or "-", flow.var.ssl_client_serial or "-" }, " ") }
                } }
                location /plain { return 200; }
            } }]] }
            local function seen(tls, listener) return p:request{ tls = tls, listener = listener }.body end
            expect(seen()):equals("https on TLSv1.3 TLS_AES_256_GCM_SHA384 - - nil false NONE -")
            expect(seen(nil, "80")):equals("http  - - - - nil nil - -")
            expect(seen{ version = "TLSv1.2", server_name = "a.test", client_subject = "CN=ann", client_serial = "07" })
                :equals("https on TLSv1.2 TLS_AES_256_GCM_SHA384 a.test CN=ann true false SUCCESS 07")
            expect(seen{ client_subject = "CN=eve", verified = false })
                :contains("CN=eve false false FAILED:unable to verify the first certificate")
            expect(p:connect{ tls = { server_name = "b" } }:request().body):contains(" b ")
            expect(p:websocket{ path = "/plain", tls = {} }.response.status):equals(200)
            expect(function() seen({}, "80") end):raises("tls: the listener on 0.0.0.0:80 has no ssl")
            expect(function() seen{ sni = "a" } end):raises('tls: found "sni", expected verified, version, cipher,')
            expect(function() seen{ verified = 1 } end):raises("verified: found number, expected a boolean")
            """)
    }

    @Test("responses to requests that were sent as bytes are told by their methods")
    func bytes() {
        scriptPasses(
            """
            local p = proxy{}
            p:backend("backend:80", function(request) return { body = request.method .. request.body } end)
            local client = p:connect()
            client:send("HEAD / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            local res = client:response()
            expect(res.status):equals(200)
            expect(res.headers["Content-Length"]):equals("4")
            expect(res.body):equals("")
            expect(client:response().body):equals("GET")
            client:send("POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 5\\r\\n\\r\\nHE")
            client:send("AD HEAD / HTTP/1.1\\r\\nHost: x\\r")
            expect(client:response().body):equals("POSTHEAD ")
            client:send("\\n\\r\\n")
            client:send{ method = "HEAD" }
            client:send{}
            expect(client:response().body):equals("")
            expect(client:response().body):equals("")
            expect(client:response().body):equals("GET")
            client:send("no request\\r\\n\\r\\n")
            expect(client:response().body):contains("400 Bad Request")
            """)
    }

    @Test("what answers a fetch is read as a server's response is")
    func fetchedResponses() {
        scriptPasses(
            """
            local p = proxy{ location = [[request_by_lua_block {
                local res, why = sy.fetch{ url = "http://a/", method = flow.req.method }
                return flow:respond{ body = res and table.concat({ res.status, #res.body,
                    res.headers["Content-Length"] or "-" }, " ") or why }
            }]] }
            local function fetched(answer, method)
                p:on_fetch(function() return answer end)
                return p:request{ method = method }.body
            end
            expect(fetched{ body = "four" }):equals("200 4 4")
            expect(fetched{ body = { "one", "two" } }):equals("200 6 -")
            p:on_fetch(function(request) return { status = 200, body = request.method } end)
            local client = p:connect()
            client:send("HEAD / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
            expect(client:response().headers["Content-Length"]):equals("7")
            expect(fetched{ status = 204, body = "B" }):equals("204 0 -")
            expect(fetched{ status = 304, body = "B" }):equals("304 0 -")
            expect(fetched{ status = 999 }):equals("999 0 0")
            expect(fetched{ status = 101 }):equals("unexpected response with status 101")
            """)
    }

    @Test("a line that goes on with a message is no line of its own, whatever it looks like")
    func forgedLines() {
        scriptPasses(
            """
            local p = proxy{ location = [[request_by_lua_block {
                sy.log.error("one\\n2026/11/29 16:16:50 [emerg] 1#1: forged")
                sy.log.error("two")
                return flow:respond{}
            }]] }
            p:request()
            local log = p:log()
            expect(#log):equals(2)
            expect(log[1]):contains("[error] lua: proxy:16: one\\n\\t2026/11/29 16:16:50 [emerg] 1#1: forged")
            expect(log[2]):contains("two")
            """)
    }

    @Test("a function answers at an address, and elsewhere nobody does but the one for all")
    func addresses() {
        scriptPasses(
            """
            local p = proxy{ config = [[
                events {}
                http {
                    upstream two { server other.test:9000; }
                    server { listen 8080; location / { proxy_pass http://two; } location /x { proxy_pass http://x; } }
                }]] }
            p:backend("other.test:9000", function(request) return { body = "other " .. request.path } end)
            expect(p:request{ path = "/1" }.body):equals("other /1")
            expect(p:request{ path = "/x" }.body):equals("")
            p:backend(function() return { status = 202 } end)
            expect(p:request{ path = "/x" }.status):equals(202)
            expect(p:request{ path = "/1" }.status):equals(200)
            """)
    }

    @Test("backends that refuse, are silent or break off are what the proxy makes of them")
    func failingBackends() {
        scriptPasses(
            """
            local p = proxy{ location = "proxy_connect_timeout 3s;" }
            local backend = p:backend()
            backend:refuse()
            expect(p:request().status):equals(502)
            backend:stay_silent()
            local client = p:send()
            advance(2.999)
            expect(client:response()):is_nil()
            advance(0.001)
            expect(client:response().status):equals(504)
            backend = p:backend()
            client = p:send()
            backend:expect_request():vanish()
            expect(client:response().status):equals(502)
            expect(p:log()):matches("Connection reset by peer")
            """)
    }

    @Test("a response that waits for something else is an error of request, and no response of send")
    func waiting() {
        scriptPasses(
            """
            local p = proxy{ location = "request_by_lua_block { sy.sleep(2) }" }
            expect(function() p:request() end):raises("no response yet")
            local client = p:send()
            advance(1.9)
            expect(client:response()):is_nil()
            advance(0.1)
            expect(client:response().status):equals(200)
            """)
    }

    @Test("a client that vanishes cancels the hook that waits for it")
    func vanishing() {
        scriptPasses(
            """
            local p = proxy{
                http = "lua_shared_dict d 1m; error_log logs/error.log warn;",
                location = "request_by_lua_block { sy.sleep(2) sy.shared.d:set('went', 'on') sy.log.error('went on') }"
            }
            local client = p:send()
            advance(1)
            client:vanish()
            advance(10)
            expect(p:log()):equals{}
            """)
    }

    @Test("a script that asks for what waits gets the value of what it asked for")
    func pendingVariables() {
        scriptPasses(
            """
            local p = proxy{
                http = [[
                    map $a $mapped { default none; A one; }
                    map $a$b $both { default none; AB two; }
                    map_by_lua_block $a $made { return value .. "!" }
                ]],
                location = [[
                    set_by_lua_block $a { sy.sleep(2) return "A" }
                    set_by_lua_block $b { sy.sleep(1) return "B" }
                    request_by_lua_block {
                        local a
                        sy.spawn(function() a = flow.var.a end)
                        local b = flow.var[flow.req.args.read]
                        sy.sleep(5)
                        return flow:respond{ body = a .. " " .. b }
                    }
                ]]
            }
            local function read(name)
                local client = p:send{ path = "/?read=" .. name }
                advance(10)
                return client:response().body
            end
            expect(read("b")):equals("A B")
            expect(read("mapped")):equals("A one")
            expect(read("both")):equals("A two")
            expect(read("made")):equals("A A!")
            """)
    }

    @Test(
        "variables that wait for each other are reported, and come to their defaults",
        arguments: [
            "set_by_lua_block $v { sy.sleep(1) local name = 'v' return flow.var[name] }",
            """
            set_by_lua_block $v { local name = 'w' return flow.var[name] }
            set_by_lua_block $w { sy.sleep(1) local name = 'v' return flow.var[name] }
            """,
            """
            set_by_lua_block $v { sy.sleep(1) local name = 'w' return flow.var[name] }
            set_by_lua_block $w { sy.sleep(1) local name = 'v' return flow.var[name] }
            """,
        ])
    func waitingCycles(variables: String) {
        scriptPasses(
            """
            for _, use in ipairs{ "add_header X $v;", "request_by_lua_block { local v = flow.var.v }" } do
                local p = proxy{ location = [[ \(variables) ]] .. use }
                local client = p:send()
                advance(10)
                expect(client:response().status):equals(200)
                expect(p:log()):matches("its value depends on itself")
            end
            """)
    }

    @Test("whoever waits for a variable goes on when the exchange ends or goes elsewhere")
    func abandonedVariables() {
        scriptPasses(
            """
            local p = proxy{ config = [[
                events {}
                error_log e.log notice;
                http {
                    lua_max_waiting 4;
                    server {
                        listen 80;
                        location /gone {
                            set_by_lua_block $v { sy.sleep(1) return "A" }
                            request_by_lua_block {
                                sy.spawn(function() sy.log.error("found", flow.var.v) end)
                                return flow:respond{ body = "x" }
                            }
                        }
                        location /from {
                            set_by_lua_block $v { sy.sleep(1) return "A" }
                            request_by_lua_block {
                                sy.spawn(function() sy.log.error("found", flow.var.v) end)
                                return flow:internal_redirect("/to")
                            }
                        }
                        location /to {
                            set_by_lua_block $v { return "B" }
                            request_by_lua_block {
                                local v = flow.var.v
                                sy.sleep(1)
                                return flow:respond{ body = v }
                            }
                        }
                        location /waits { request_by_lua_block { sy.sleep(1) return flow:respond{ body = "waited" } } }
                    }
                }]] }
            for _ = 1, 20 do
                expect(p:request{ path = "/gone" }.body):equals("x")
                advance(0.001)
                expect(p:log()):matches("found%s+nil")
            end
            local client = p:send{ path = "/from" }
            advance(3)
            expect(client:response().body):equals("B")
            expect(p:log()):matches("found%s+B")
            client = p:send{ path = "/waits" }
            advance(3)
            expect(client:response().body):equals("waited")
            """)
    }

    @Test("scripts that go on without time passing fail the test that lets it pass")
    func endlessMoments() {
        scriptPasses(
            """
            local p = proxy{ http = "init_by_lua_block { sy.spawn(function() while true do sy.sleep(0) end end) }" }
            expect(function() advance(1) end):raises("without time passing")
            """)
    }

    @Test("a connection serves several requests; raw bytes go as they are")
    func connections() {
        scriptPasses(
            """
            local p = proxy{}
            local client = p:connect()
            expect(client:request{ path = "/1" }.status):equals(200)
            expect(client:request{ method = "HEAD" }.status):equals(200)
            expect(client.closed):equals(false)
            client:send("GET / HTTP/1.1\\r\\n\\r\\n")
            expect(client:response().status):equals(400)
            expect(client.closed):equals(true)
            client:close()
            """)
    }

    @Test("sy.fetch is answered by the test, fails as it says, or goes to a backend")
    func fetching() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                request_by_lua_block {
                    local res, err = sy.fetch{ url = "http://accounts/who", method = "POST", body = "b", headers = { ["X-K"] = "k" } }
                    return flow:respond{ status = res and res.status or 503, body = res and res.body or err }
                }]] }
            local seen
            p:on_fetch(function(request)
                seen = request
                return { status = 201, body = "me" }
            end)
            local res = p:request()
            expect(res.status):equals(201)
            expect(res.body):equals("me")
            expect(seen.url):equals("http://accounts/who")
            expect(seen.method):equals("POST")
            expect(seen.body):equals("b")
            expect(seen.headers["x-k"]):equals("k")
            p:on_fetch(function() return nil, "it is down" end)
            expect(p:request().body):equals("it is down")
            p:on_fetch(function() end)
            p:backend("accounts:80", function(request) return { status = 203, body = request.body .. request.path } end)
            res = p:request()
            expect(res.status):equals(203)
            expect(res.body):equals("b/who")
            """)
    }

    @Test("what sy.fetch refuses to send is not answered by a test")
    func refusedFetches() {
        scriptPasses(
            """
            local p = proxy{ location = [[request_by_lua_block {
                local a = { sy.fetch{ url = "htp://q/" } }
                local b = { sy.fetch{ url = "http://q/", headers = { X = "a\\r\\nb" } } }
                return flow:respond{ body = tostring(a[1]) .. a[2] .. tostring(b[1]) .. b[2] }
            }]] }
            p:on_fetch(function() return { body = "answered" } end)
            local body = p:request().body
            expect(body):contains("invalid URL prefix")
            expect(body):contains("CR, LF or NUL")
            """)
    }

    @Test("hooks see an empty body once, and none where there is no body")
    func emptyBodies() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                request_by_lua_block {
                    if flow.req.path:find("set") then flow.req:set_body("") end
                    if flow.req.path:find("read") then flow.req:body() end
                }
                request_body_by_lua_block {
                    if flow.req.path:find("wait") then sy.sleep(1) end
                    if flow.req.path:find("fail") then error("no") end
                    if flow.req.path:find("plain") then return end
                    return "<" .. chunk .. (last and "." or "") .. ">"
                }]] }
            p:backend(function(request)
                return { body = request.body, headers = { ["X-Length"] = request.headers["Content-Length"] or "none" } }
            end)
            local function sent(path, message)
                message.path = path
                message.method = message.method or "POST"
                local client = p:send(message)
                if path:find("wait") then
                    expect(client:response()):is_nil()
                    advance(1)
                end
                local res = client:response()
                return res.status .. " " .. res.body .. " " .. (res.headers["X-Length"] or "")
            end
            for _, wait in ipairs{ "/", "/wait/" } do
                expect(sent(wait, { body = "" })):equals("200 <.> 3")
                expect(sent(wait, { method = "GET", body = "" })):equals("200 <.> 3")
                expect(sent(wait .. "read", { body = "" })):equals("200 <.> 3")
                expect(sent(wait .. "set", { body = "" })):equals("200 <.> 3")
                expect(sent(wait .. "set", { body = "gone" })):equals("200 <.> 3")
                expect(sent(wait .. "set", { method = "GET" })):equals("200 <.> 3")
                expect(sent(wait .. "set/read", { body = "gone" })):equals("200 <.> 3")
            end
            expect(sent("/read", { headers = { ["Transfer-Encoding"] = "chunked" }, body = "0\\r\\n\\r\\n" })):equals("200 <.> 3")
            expect(sent("/", { headers = { ["Transfer-Encoding"] = "chunked" }, body = "0\\r\\n\\r\\n" })):equals("200 <.> none")
            expect(sent("/", { method = "GET" })):equals("200  none")
            expect(sent("/read", { method = "GET" })):equals("200  none")
            expect(sent("/plain", { body = "" })):equals("200  0")
            expect(sent("/plain/set", { body = "gone" })):equals("200  0")
            expect(sent("/fail", { body = "" }):sub(1, 4)):equals("500 ")
            expect(sent("/", { body = "one" })):equals("200 <one><.> none")
            """)
    }

    @Test("what a test answers a fetch with is held to its max_size, as what a server sends is")
    func fetchedSize() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                request_by_lua_block {
                    local res, err = sy.fetch{ url = "http://accounts/", max_size = 4 }
                    return flow:respond{ body = res and res.body or err }
                }]] }
            p:on_fetch(function() return { body = "four" } end)
            expect(p:request().body):equals("four")
            local function answer() return { body = "fives" } end
            p:on_fetch(answer)
            local found = p:request().body
            expect(found):equals("response too large: its body is over 4 bytes")
            p:on_fetch(function() end)
            p:backend("accounts:80", answer)
            expect(p:request().body):equals(found)
            """)
    }

    @Test("bodies given as lists arrive piece by piece, in both directions")
    func pieces() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                request_body_by_lua_block { if not last then return "<" .. chunk .. ">" end }
                response_body_by_lua_block { if not last then return "[" .. chunk .. "]" end }]] }
            p:backend(function(request) return { body = { "a", "b", request.body } } end)
            expect(p:request{ method = "POST", body = { "1", "", "23" } }.body):equals("[a][b][<1><23>]")
            local backend = p:backend()
            local client = p:send()
            backend:expect_request():respond{ headers = { Connection = "close" }, body = { "x", "y" } }
            expect(client:response().body):equals("[x][y]")
            """)
    }

    @Test("a script routes to a name, and talks to a backend over a socket of its own")
    func otherServers() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                request_by_lua_block {
                    if flow.req.path == "/route" then return flow:route("http://other.test:81") end
                    local socket = sy.tcp.connect("redis.test", 6379)
                    socket:send("GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                    return flow:respond{ body = socket:receive("*l") }
                }]] }
            p:backend("other.test:81", function() return { body = "other" } end)
            p:backend("redis.test:6379", function() return { status = 204 } end)
            expect(p:request{ path = "/route" }.body):equals("other")
            expect(p:request().body):equals("HTTP/1.1 204 ")
            expect(p:log()):equals{}
            """)
    }

    @Test("what fails in a function of the test's fails the test")
    func failingFunctions() {
        for body in [
            "p:backend(function(request) expect(request.path):equals('/b') end)",
            "p:backend(function() return { stats = 1 } end)",
        ] {
            var lines: [String] = []
            var run = ScriptTestRun { lines.append($0) }
            run.run(
                Array("test('it', function() local p = proxy{} \(body) pcall(p.request, p) end)".utf8),
                name: "t.lua", directory: "/nowhere")
            #expect(run.totals == ScriptTestRun.Totals(failed: 1))
        }
        scriptPasses(
            """
            local p = proxy{}
            p:backend(function() expect(function() advance(1) end):raises("no time passes") return {} end)
            expect(p:request().status):equals(200)
            """)
    }

    @Test("a WebSocket opens through a plugin's hooks, which see and change the offer")
    func webSocket() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                upgrade_by_lua_block {
                    if flow.req.headers["Origin"] == "http://evil" then return flow:respond{ status = 403, body = "no" } end
                    flow.req.headers["X-User"] = "ann"
                }
                close_by_lua_block { sy.log.error("closed by ", info.by, " with ", info.code) }]] }
            local backend = p:backend()
            local ws = p:websocket{ path = "/chat", protocols = { "a", "b" } }
            expect(ws.response):is_nil()
            expect(ws.open):equals(false)
            local request = backend:expect_request()
            expect(request.path):equals("/chat")
            expect(request.headers["X-User"]):equals("ann")
            local server = request:accept_websocket{ protocol = "b" }
            expect(ws.response.status):equals(101)
            expect(ws.response.headers["Sec-WebSocket-Protocol"]):equals("b")
            ws:send("hello")
            server:expect("hello")
            server:send_binary("\\0\\1")
            ws:expect("\\0\\1", "binary")
            ws:expect_none()
            server:send(("x"):rep(100000))
            local text, kind = ws:receive()
            expect(#text):equals(100000)
            expect(kind):equals("text")
            expect(ws:receive()):is_nil()
            ws:close(1001, "going")
            server:expect_close(1001, "going")
            ws:expect_close(1001)
            expect(ws.open):equals(false)
            expect(function() ws:send("x") end):raises("is closed")
            expect(p:log()):matches("closed by%s+client%s+with%s+1001")

            local denied = p:websocket{ headers = { Origin = "http://evil" } }
            expect(denied.response.status):equals(403)
            expect(denied.response.body):equals("no")
            expect(function() denied:send("x") end):raises("refused, with status 403")
            """)
    }

    @Test("WebSockets echo where no backend is made, and fail with what was found")
    func echo() {
        scriptPasses(
            """
            local p = proxy{}
            local ws = p:websocket{ protocols = "chat" }
            ws:send("one")
            ws:expect("one")
            ws:send("two")
            expect(function() ws:expect("three") end):raises('expected text "three", found text "two"')
            expect(function() ws:expect("four") end):raises('found nothing')
            expect(function() ws:expect_close() end):raises('expected a close frame, found nothing')
            local backend = p:backend()
            local other = p:websocket()
            local server = backend:expect_request():accept_websocket()
            other:vanish()
            expect(({ server:receive() })[2]):equals("end")
            """)
    }

    @Test("a shutdown asks tunnels to end, and drain hooks for their grace")
    func draining() {
        scriptPasses(
            """
            local p = proxy{ location = "drain_by_lua_block { return 5 }" }
            local ws = p:websocket()
            p:drain()
            ws:send("still here")
            ws:expect("still here")
            expect(function() p:request() end):raises("does not listen")
            """)
    }

    @Test("what is wrong with a configuration is an error with its place")
    func configurations() {
        scriptPasses(
            """
            expect(function() proxy{ config = "events {} http { nonsense; }" } end):raises("config:1:%d+: \\"nonsense\\"")
            expect(function() proxy{ location = "request_by_lua_block { local = }" } end):raises("proxy:%d+")
            expect(function() proxy{ plugin = "none.lua" } end):raises("/nowhere/none.lua")
            expect(function() proxy{ plgin = "x" } end):raises("plgin")
            expect(function() proxy{ args = { a = 1 } } end):raises("there is none")
            expect(function() proxy{ config = "x", file = "y" } end):raises("expected one of")
            expect(function() proxy{ config = "x", http = "y" } end):raises("no place")
            expect(function() proxy{}:backend("a:b:c") end):raises("expected an address")
            expect(function() proxy{}:connect("nobody") end):raises("expected a numeric address")
            expect(function() proxy{}:request{ pth = "/" } end):raises("pth")
            """)
    }

    @Test("names have addresses of their own, the same each time")
    func names() {
        #expect(TestNames.address(of: "App.test") == TestNames.address(of: "app.test"))
        #expect(TestNames.address(of: "app.test") != TestNames.address(of: "app2.test"))
        #expect(TestNames.address("app.test:81", defaultPort: 80)?.port == 81)
        #expect(TestNames.address("[::1]:81", defaultPort: 80)?.description == "[::1]:81")
        #expect(TestNames.address("unix:/a", defaultPort: 80)?.description == "unix:/a")
        #expect(TestNames.address("a:x", defaultPort: 80) == nil)
    }
}

@Suite("What a test of scripts leaves behind")
struct ScriptBenchLifetimeTests {
    @Test("a proxy goes with its test, whatever was done with it")
    func lifetime() throws {
        let bench = ScriptBench(directory: "/nowhere") { _ in }
        weak var worker: AnyObject?
        do {
            var setup = TestSetup()
            setup.location = "request_by_lua_block { sy.tcp.connect('redis', 6379):send('x') sy.sleep(1) }"
            let proxy = try #require(try bench.makeProxy(setup, answeringFetches: nil) as? ScriptedProxy)
            worker = proxy.worker
            let server = try proxy.addServer(at: "redis:6379") { _ in nil }
            let client = try proxy.connect(TestConnection())
            client.send(TestMessage())
            let webSocket = try proxy.openWebSocket(TestHandshake(), TestConnection())
            _ = try proxy.addBackend(at: nil) { _ in nil }
            proxy.answerFetches { _ in nil }
            try bench.advance(byMilliseconds: 1_000) { false }
            #expect(webSocket.isOpen == false)
            #expect(server.takeConnection()?.received == [UInt8(ascii: "x")])
            #expect(worker != nil)
            proxy.end()
            bench.begin()
        }
        #expect(worker == nil)
    }
}
