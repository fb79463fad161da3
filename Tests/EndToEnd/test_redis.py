"""`sy.redis` against a real server: commands, pipelines, logins, messages, and what is left when either side goes."""

import json
import subprocess
import threading
import time

import pytest

from harness.dns import NameServer
from harness.proxy import switchyard_binary
from harness.redis import AVAILABLE, Redis
from harness.wire import Client, wait_for

pytestmark = [
    pytest.mark.switchyard_only, pytest.mark.skipif(not AVAILABLE, reason="there is no redis-server")]


@pytest.fixture(scope="module")
def shared_redis():
    with Redis("--enable-debug-command", "yes") as made:
        yield made


@pytest.fixture
def redis(shared_redis):
    """A server without any data."""
    shared_redis.ask("FLUSHALL")
    yield shared_redis
    shared_redis.ask("CLIENT", "UNPAUSE")


@pytest.fixture
def ask(proxy, redis):
    """Runs Lua in a request hook, `r` being a connection, and returns what it returns, as JSON."""

    def make(text, connect='sy.redis.connect("redis://<redis>", 5)', **rest):
        made = proxy("""
            server { listen 127.0.0.1:<port>;
                location / { request_by_lua_block {
                    local r, why = %s
                    local function run() %s end
                    return flow:respond{ body = sy.json.encode(table.pack(run())) }
                } } }""" % (connect, text), values={"redis": redis, **rest})
        return made

    return make


def answer(made, target="/"):
    response = made.fetch(target)
    assert response.status == 200, made.logs()
    found = json.loads(response.text)
    count = found.pop("n")
    return [found.get(str(n + 1)) for n in range(count)]


def test_replies_of_every_kind(ask, redis):
    made = ask("""
        local big = string.rep("x", 100) .. "\\r\\n\\0\\255"
        local found = {
            r:call("SET", "k", big), r:call("GET", "k") == big, r:call("STRLEN", "k"), math.type(r:call("INCR", "n")),
            select("#", r:call("GET", "none")), r:call("INCRBY", "n", -10), r:call("INCRBYFLOAT", "f", 1.5),
            r:call("RPUSH", "list", "a", 2, 3.5), r:call("LRANGE", "list", 0, -1), r:call("MGET", "n", "none"),
            #r:call("LRANGE", "none", 0, -1), r:call("EVAL", "return {1, {2, redis.error_reply('ERR x')}, false}", 0),
        }
        local value, why = r:call("INCR", "list")
        found[#found + 1] = { value == nil, why }
        value, why = r:call("NONSENSE")
        found[#found + 1] = { value == nil, why }
        return found, r.closed
    """)
    found, closed = answer(made)
    assert found == [
        "OK", True, 104, "integer", 1, -9, "1.5", 3, ["a", "2", "3.5"], ["-9", False], 0,
        [1, [2, {"err": "ERR x"}], False],
        [True, "WRONGTYPE Operation against a key holding the wrong kind of value"],
        [True, "ERR unknown command 'NONSENSE', with args beginning with: "]]
    assert closed is False


def test_values_up_to_a_limit(ask):
    made = ask("""
        local value = sy.random(65536):rep(15)
        assert(r:call("SET", "k", value) == "OK")
        local found = { r:call("GET", "k") == value, #r:pipeline{ {"STRLEN", "k"}, {"GET", "k"} }[2] }
        r:call("APPEND", "k", value)
        local nothing, why = r:call("GET", "k")
        found[#found + 1], found[#found + 2] = why, r.closed
        local other = sy.redis.connect("redis://<redis>", 5, 4 << 20)
        found[#found + 1] = other:call("GET", "k") == value .. value
        return found
    """)
    assert answer(made) == [[True, 15 * 65536, "too large", True, True]]


def test_many_small_replies(ask):
    made = ask("""
        local commands = {}
        for i = 1, 20000 do commands[i] = { "INCRBY", "n", i } end
        local replies = r:pipeline(commands)
        local right, sum = 0, 0
        for i = 1, 20000 do
            sum = sum + i
            if replies[i] == sum then right = right + 1 end
        end
        return right, #r:call("EVAL", "local t = {} for i = 1, 5000 do t[i] = i end return t", 0)
    """)
    assert answer(made) == [20000, 5000]


def test_pipelines_and_transactions(ask):
    made = ask("""
        return r:pipeline{ {"SET", "a", 1}, {"INCR", "a"}, {"LPUSH", "a", 1}, {"GET", "none"}, {"GET", "a"} },
            r:pipeline{ {"MULTI"}, {"INCR", "a"}, {"LPUSH", "a", 1}, {"EXEC"} },
            r:pipeline{}
    """)
    error = {"err": "WRONGTYPE Operation against a key holding the wrong kind of value"}
    assert answer(made) == [["OK", 2, error, False, "2"], ["OK", "QUEUED", "QUEUED", [3, error]], {}]


def test_logins_and_databases(ask, tmp_path):
    path = tmp_path / "redis.sock"
    with Redis("--requirepass", "s3 cret", "--unixsocket", str(path)) as locked:
        made = ask("""
            local found = {}
            for _, url in ipairs{
                "redis://<locked>", "redis://:s3%20cret@<locked>/2", "redis://default:s3%20cret@<locked>",
                "redis://:wrong@<locked>", "redis://:s3%20cret@<locked>/99", "unix:<path>", "redis://127.0.0.1:1",
            } do
                local redis, why = sy.redis.connect(url, 5)
                if redis then
                    local _, refused = redis:call("SET", "k", 1)
                    why = refused or redis:call("CLIENT", "INFO"):match("db=%d+")
                end
                found[#found + 1] = why
            end
            return found
        """, locked=locked, path=path)
        assert answer(made) == [[
            "NOAUTH Authentication required.", "db=2", "db=0",
            "WRONGPASS invalid username-password pair or user is disabled.", "ERR DB index is out of range",
            "NOAUTH Authentication required.", "connect() failed (111: Connection refused)"]]
    assert "s3" not in made.log()


def test_names_are_looked_up(proxy, redis):
    with NameServer({"redis.test": ["127.0.0.1"]}) as names:
        made = proxy("""
            server { listen 127.0.0.1:<port>; resolver <names> ipv6=off;
                location / { request_by_lua_block {
                    local redis = assert(sy.redis.connect("redis://redis.test:<number>", 5))
                    return flow:respond{ body = redis:call("PING") }
                } } }""", values={"names": names, "number": redis.port})
        assert made.fetch("/").text == "PONG"
    wait_for(lambda: redis.clients() == 0, 5, "that the connection is closed with its exchange")


def test_what_is_no_redis(ask):
    made = ask(
        'return why, { r:call("GET", "a") }, r.closed', connect='sy.redis.connect("redis://127.0.0.1:<port>", 5)')
    found = answer(made)
    assert found[1:] == [[None, 'Protocol error, got "H" as reply type byte'], True]


def test_a_server_that_starts_anew(proxy):
    with Redis() as server:
        made = proxy("""
            server { listen 127.0.0.1:<port>;
                location / { plugin <dir>/kept.lua; } }""", values={"redis": server}, start=False)
        (made.directory / "kept.lua").write_text("""
            local kept
            return { request = function(flow)
                local result
                if flow.req.path == "/connect" then
                    local done
                    sy.spawn(function() kept, result = sy.redis.connect("redis://%s", 5) done = true end)
                    while not done do sy.sleep(0.001) end
                else
                    local _
                    result, _ = kept:call("INCR", "n")
                    result = result or _
                end
                return flow:respond{ body = tostring(result) .. " " .. tostring(kept and kept.closed) }
            end }""" % server)
        made.start()
        assert made.fetch("/connect").text == "nil false"
        assert [made.fetch("/").text for _ in range(2)] == ["1 false", "2 false"]
        server.stop()
        assert made.fetch("/").text in ("closed true", "recv() failed (104: Connection reset by peer) true")
        assert made.fetch("/").text == "closed true"
        assert made.fetch("/connect").text == "connect() failed (111: Connection refused) nil"
        server.start()
        assert made.fetch("/connect").text == "nil false"
        assert made.fetch("/").text == "1 false"


@pytest.mark.clocked
def test_timeouts(ask, redis):
    made = ask("""
        local other = sy.redis.connect("redis://<redis>", 5)
        other:call("CLIENT", "PAUSE", 700)
        local started = sy.monotonic()
        local found = { { r:call("SET", "k", 1) } }
        found[2] = { r:call("SET", "k", 1) }
        return found, sy.monotonic() - started
    """, connect='sy.redis.connect("redis://<redis>", 0.2)')
    found, took = answer(made)
    assert found == [[None, "timeout"], [None, "closed"]]
    assert 0.19 < took
    assert took < 0.6


def test_a_slow_login_times_out(proxy):
    with Redis("--requirepass", "p", "--enable-debug-command", "yes") as slow:
        made = proxy("""
            server { listen 127.0.0.1:<port>;
                location / { request_by_lua_block {
                    local one = assert(sy.redis.connect("redis://:p@<slow>"))
                    sy.spawn(function() one:call("DEBUG", "SLEEP", 1) end)
                    local redis, why = sy.redis.connect("redis://:p@<slow>", 0.2)
                    return flow:respond{ body = why }
                } } }""", values={"slow": slow})
        assert made.fetch("/").text == "timeout"


def test_messages(ask, redis):
    made = ask("""
        local writer = sy.redis.connect("redis://<redis>", 5)
        local found = { { r:receive() }, r:call("SUBSCRIBE", "a", "b"), r:call("PSUBSCRIBE", "c*") }
        for _, channel in ipairs{ "a", "b", "cc", "d" } do writer:call("PUBLISH", channel, "to " .. channel) end
        for _ = 1, 3 do found[#found + 1] = r:receive() end
        found[#found + 1] = { r:receive(0.05) }
        writer:call("PUBLISH", "a", "later")
        found[#found + 1] = r:receive()
        found[#found + 1] = r:call("PING")
        found[#found + 1] = { (select(2, r:call("GET", "a"))):match("^ERR Can't execute 'get'") }
        found[#found + 1] = r:call("UNSUBSCRIBE", "a", "b")
        found[#found + 1] = r:call("PUNSUBSCRIBE", "c*")
        found[#found + 1] = { r:receive() }
        return found, r:call("SET", "k", 1)
    """)
    found, last = answer(made)
    assert found == [
        [None, "not subscribed"], ["subscribe", "b", 2], ["psubscribe", "c*", 3], ["message", "a", "to a"],
        ["message", "b", "to b"], ["pmessage", "c*", "cc", "to cc"], [None, "timeout"], ["message", "a", "later"],
        ["pong", ""], ["ERR Can't execute 'get'"], ["unsubscribe", "b", 1], ["punsubscribe", "c*", 0],
        [None, "not subscribed"]]
    assert last == "OK"


def test_messages_for_clients(proxy, redis):
    """A worker's own connection, by a function that was spawned, hands on what Redis says."""
    made = proxy("""
        init_by_lua_block {
            sy.spawn(function()
                local redis = assert(sy.redis.connect("redis://<redis>"))
                redis:call("SUBSCRIBE", "news")
                while true do
                    local message, why = redis:receive(60)
                    if message then sy.log.warn("<<" .. message[3] .. ">>") elseif why ~= "timeout" then return end
                end
            end)
        }
        server { listen 127.0.0.1:<port>; return 204; }""", values={"redis": redis})
    wait_for(lambda: redis.ask("PUBLISH", "news", "first") == b":1\r\n", 5, "a subscriber")
    for number in range(50):
        redis.ask("PUBLISH", "news", f"n{number}")
    wait_for(lambda: "<<n49>>" in made.log(), 5, "the last message")
    assert made.log().count("<<n") == 50


def test_monitor(ask):
    made = ask("""
        local writer = sy.redis.connect("redis://<redis>", 5)
        local found = { r:call("MONITOR") }
        writer:call("GET", "a key")
        found[2] = r:receive():match('"GET" "a key"')
        found[3] = { r:call("GET", "x") }
        return found
    """)
    assert answer(made) == [["OK", '"GET" "a key"', [None, "busy"]]]


def test_many_requests_at_once(ask, redis):
    made = ask("""
        local key = flow.req.args.key
        local right = 0
        for i = 1, 20 do
            r:call("SET", key .. i, key)
            if r:call("GET", key .. i) == key then right = right + 1 end
        end
        return right
    """)
    found = []

    def work(number):
        found.extend(answer(made, f"/?key=k{number}_{n}_")[0] for n in range(5))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 60
    wait_for(lambda: redis.clients() == 0, 5, "that all connections are closed")


def test_many_hooks_on_one_connection(ask, redis):
    made = ask("""
        local right, left = 0, 200
        for i = 1, 200 do
            sy.spawn(function()
                for j = 1, 20 do
                    if r:call("ECHO", i * 100 + j) == tostring(i * 100 + j) then right = right + 1 end
                end
                left = left - 1
            end)
        end
        while left > 0 do sy.sleep(0.001) end
        return right
    """)
    assert answer(made) == [4000]


def test_a_client_that_leaves(ask, redis):
    made = ask('return r:call("BLPOP", "queue", 60)', connect='sy.redis.connect("redis://<redis>", 60)')
    client = Client(made.port)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: redis.clients() == 1, 5, "a hook that waits on Redis")
    client.close()
    wait_for(lambda: redis.clients() == 0, 5, "that its connection is closed")
    assert redis.ask("RPUSH", "queue", "x") == b":1\r\n"
    assert answer(made) == [["queue", "x"]]


def test_a_reload_ends_the_connections_of_before(proxy, redis):
    made = proxy("""
        init_by_lua_block { redis = assert(sy.redis.connect("redis://<redis>")) }
        server { listen 127.0.0.1:<port>; return 204; }""", values={"redis": redis})
    wait_for(lambda: redis.clients() == 1, 5, "a connection")
    [first] = redis.names()
    made.reload()
    wait_for(lambda: first not in redis.names() and redis.clients() == 1, 5, "another in its place")
    made.stop()
    wait_for(lambda: redis.clients() == 0, 5, "the end of it")


def test_replies_count_as_the_memory_of_scripts(proxy, redis):
    made = proxy("""
        lua_memory_limit 8m;
        server { listen 127.0.0.1:<port>;
            location / { request_by_lua_block {
                local redis = assert(sy.redis.connect("redis://<redis>"))
                redis:call("SET", "k", ("x"):rep(1000000))
                local kept = {}
                for i = 1, tonumber(flow.req.args.count) do kept[i] = redis:call("GET", "k") end
                return flow:respond{ body = tostring(#kept) }
            } } }""", values={"redis": redis})
    assert made.fetch("/?count=3").text == "3"
    assert made.fetch("/?count=30").status == 500
    assert "not enough memory" in made.log()
    assert made.fetch("/?count=3").text == "3"
    wait_for(lambda: redis.clients() == 0, 5, "that all connections are closed")


def test_redis_within_tests_of_scripts(tmp_path):
    (tmp_path / "hits.lua").write_text("""
        return { request = function(flow)
            local redis, why = sy.redis.connect("redis://:pw@redis.test/1", 2)
            if not redis then return flow:respond{ status = 503, body = why } end
            local count, why = redis:call("INCR", "hits")
            return flow:respond{ body = tostring(count) .. " " .. tostring(why) }
        end }""")
    (tmp_path / "hits_test.lua").write_text(r"""
        local login = "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"
        test("it counts", function()
            local p = proxy{ plugin = "hits.lua" }
            local redis = p:server("redis.test:6379")
            local client = p:send{}
            local connection = redis:expect_connection()
            connection:expect(login)
            connection:send("+OK\r\n+OK\r\n")
            connection:expect("*2\r\n$4\r\nINCR\r\n$4\r\nhits\r\n")
            connection:send(":4")
            connection:send("2\r\n")
            expect(client:response().body):equals("42 nil")
        end)
        test("it gives up", function()
            local p = proxy{ plugin = "hits.lua" }
            local redis = p:server("redis.test:6379")
            local client = p:send{}
            redis:expect_connection():expect(login)
            advance(2)
            expect(client:response().body):equals("timeout")
            redis:refuse()
            expect(p:request{}.body):equals("connect() failed (111: Connection refused)")
        end)
    """)
    result = subprocess.run(
        [switchyard_binary(), "test", "hits_test.lua"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.clocked
def test_nothing_else_waits(ask, redis):
    """A hook that waits on Redis holds up no other."""
    made = ask("""
        if flow.req.path == "/slow" then return r:call("BLPOP", "none", 1) end
        return r:call("PING")
    """)
    slow = threading.Thread(target=lambda: made.fetch("/slow"))
    slow.start()
    wait_for(lambda: redis.clients() == 1, 5, "a hook that waits on Redis")
    started = time.monotonic()
    assert answer(made) == ["PONG"]
    assert time.monotonic() - started < 0.5
    slow.join()
