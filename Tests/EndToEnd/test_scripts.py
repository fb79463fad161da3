"""Scripts in a running proxy: every stage in every form, what they decide, variables, tunnels, reloads, errors."""

import json
import math
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import time
from random import Random
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness import ports
from harness.backend import CLOSE, Backend, chunked, reply
from harness.dns import NameServer
from harness.proxy import ROOT, whole
from harness.tls import context, get
from harness.websocket import WEBSOCKET, WebSocketServer, frame, handshake, switching
from harness.wire import Client, fetch, wait_for

pytestmark = pytest.mark.switchyard_only

STAGES = ["init", "request", "upgrade", "response", "request_body", "response_body", "open", "close", "drain", "log"]
ARGUMENTS = {"init": "", "request_body": "flow, chunk, last", "response_body": "flow, chunk, last",
             "close": "flow, info"}


def note(text):
    """Lua that leaves a word in the error log; `text` is an expression."""
    return f"sy.log.info('<<' .. {text} .. '>>')"


def notes(made):
    """The words that scripts left, in order."""
    return re.findall(r"<<(.*?)>>", made.log())


def wait_for_notes(made, *expected):
    wait_for(lambda: notes(made) == list(expected), 5, f"the notes {expected}, of {notes(made)},")


def wait_for_note(made, text, seconds=5.0):
    wait_for(lambda: text in notes(made), seconds, f"the note {text!r}")


@pytest.fixture
def server():
    """A WebSocket server that echoes, and closes where it is told to."""

    async def handler(connection):
        async for message in connection:
            if message.startswith("close "):
                await connection.close(int(message.split()[1]), "as you wish")
            elif message == "vanish":
                connection.transport.abort()
            else:
                await connection.send(message)

    with WebSocketServer(handler) as made:
        yield made


@pytest.fixture
def tunnel(simple, server):
    """A proxy before `server` with `location` text, and a way to open a tunnel through it."""

    def make(location, **rest):
        made = simple(location=WEBSOCKET + location, values={"backend": server}, **rest)
        made.open = lambda **options: connect(f"ws://127.0.0.1:{made.port}/", **options)
        return made

    return make


def closing(socket, within=5.0):
    """Code and reason by which the peer closes."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(within)
    return closed.value.rcvd.code, closed.value.rcvd.reason


# Stages


def hooks(form, bodies, directory):
    """(text for http, text for a location) that gives each stage of `bodies` its Lua, in one of three forms."""
    outer, inner = [], []
    if form == "plugin":
        functions = "".join(
            f"{stage} = function({ARGUMENTS.get(stage, 'flow')}) {body} end,\n" for stage, body in bodies.items())
        (directory / "hooks.lua").write_text(f"return {{ {functions} }}")
        inner.append(f"plugin {directory}/hooks.lua;")
    for stage, body in bodies.items() if form != "plugin" else ():
        if form == "file":
            (directory / f"{stage}.lua").write_text(body)
            text = f"{stage}_by_lua_file {directory}/{stage}.lua;"
        else:
            text = f"{stage}_by_lua_block {{ {body} }}"
        (outer if stage == "init" else inner).append(text)
    return "\n".join(outer), "\n".join(inner)


@pytest.fixture(params=["block", "file", "plugin"])
def form(request):
    return request.param


@pytest.fixture(params=["", "sy.sleep(0.05)"], ids=["at once", "waiting"])
def wait(request):
    return request.param


@pytest.fixture
def every_stage(form, wait, tmp_path):
    return hooks(form, {stage: f"{wait} {note(repr(stage))}" for stage in STAGES}, tmp_path)


def test_every_stage_of_a_request(simple, every_stage):
    outer, inner = every_stage
    made = simple(http=outer, location=inner)
    response = made.fetch("/", method="POST", body=b"a body")
    assert (response.status, response.body, made.backend.requests[0].body) == (200, b"ok", b"a body")
    wait_for_note(made, "log")
    seen = [word for at, word in enumerate(notes(made)) if word not in notes(made)[:at]]
    assert sorted(seen[:2]) == ["init", "request"]
    assert seen[2:] == ["request_body", "response", "response_body", "log"]


def test_every_stage_of_a_tunnel(tunnel, every_stage):
    outer, inner = every_stage
    made = tunnel(inner, http=outer)
    with made.open() as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"
    wait_for_note(made, "log")
    assert sorted(notes(made)[:2]) == ["init", "request"]
    assert notes(made)[2:] == ["upgrade", "response", "open", "close", "log"]


def test_counts_of_messages_outlive_the_tunnel(tunnel):
    line = "sy.log.warn(%s, flow.client.messages_in, flow.client.messages_out, flow.upstream.messages_in)"
    made = tunnel(
        f"close_by_lua_block {{ {line % repr('closed')} }} log_by_lua_block {{ {line % repr('logged')} }}"
        "message_by_lua_block { if msg.data == 'b' then return false end }")
    with made.open() as socket:
        for word in ("a", "b", "c"):
            socket.send(word)
        assert [socket.recv(5), socket.recv(5)] == ["a", "c"]
    for word in ("closed", "logged"):
        wait_for(lambda: f"{word} 3 2 2" in made.log() or f"{word}\t3\t2\t2" in made.log(), what=word)


@pytest.mark.parametrize("script", [
    "flow:deadline(sy.now() - 1)", "flow:deadline(sy.now() + 0.1) sy.sleep(5)", "flow:after(0.05, function() flow:close(1008, 'over') end)",
    "sy.spawn(function() sy.sleep(0.05) flow:close() end)"])
@pytest.mark.parametrize("stage", ["request", "response"])
def test_a_request_whose_time_is_over_is_answered(proxy, script, stage):
    """There is no tunnel to be closed: the client gets a 503, and the log says why."""
    with Backend(answer=lambda request: [0.7, reply()]) as slow:
        made = proxy(f"""
            log_format l '$status'; access_log <dir>/access.log l;
            server {{
                listen 127.0.0.1:<port>;
                location / {{ proxy_pass http://<slow>; {stage}_by_lua_block {{ {script} sy.sleep(0.5) }} }}
            }}
        """, values={"slow": slow})
        with Client(made.port) as client:
            for _ in range(2):
                assert client.fetch("/").status == 503
    assert made.log_lines("access.log", 2) == ["503", "503"]
    assert "a script closed the exchange: " in made.log()


def test_fields_of_an_answer_take_the_place_of_the_proxys_own(proxy):
    made = proxy("""server { listen 127.0.0.1:<port>; location / {
        request_by_lua_block { return flow:respond{ headers = { server = "mine", Date = "never" }, body = "x" } } } }""")
    response = made.fetch("/")
    assert (response.values("Server"), response.values("Date")) == ([b"mine"], [b"never"])


def test_fetch_asks_the_next_server_of_an_upstream(proxy, backend):
    made = proxy("""
        upstream half { server 127.0.0.1:1; server <backend>; }
        server { listen 127.0.0.1:<port>; location / { request_by_lua_block {
            local answer, reason = sy.fetch{ url = "http://half/" }
            return flow:respond{ body = answer and tostring(answer.status) or reason } } } }
    """, values={"backend": backend})
    assert [made.fetch("/").text for _ in range(4)] == ["200"] * 4
    told = [line for line in made.log().splitlines() if "temporarily disabled" in line]
    assert len(told) == 1 and "[warn]" in told[0]
    assert told[0].endswith(' upstream server temporarily disabled while fetching, upstream: "127.0.0.1:1"')


def test_fetch_goes_by_directives_wherever_it_is_called(proxy, backend, authority, rsa):
    """Those of http where there is no server, as in init hooks, and of the server in a handshake."""
    ask = """
        local function ask(name, place)
            local answer, reason = sy.fetch{ url = "http://" .. name .. ":<behind>/" }
            local socket, fault = sy.tcp.connect(name, <behind>)
            sy.log.warn("asked", name, place, answer and answer.status or reason, socket and "open" or fault)
        end
    """
    outer_names = {"outer.test": ["127.0.0.1"], "localhost": ["127.0.0.1"]}
    with NameServer(outer_names) as outer, NameServer({"inner.test": ["127.0.0.1"]}) as inner:
        made = proxy(f"""
            resolver <outer> ipv6=off;
            proxy_ssl_trusted_certificate {authority};
            init_by_lua_block {{
                {ask} ask("outer.test", "init") ask("inner.test", "init")
                sy.spawn(function()
                    local answer, reason
                    for _ = 1, 50 do
                        sy.sleep(0.1)
                        answer, reason = sy.fetch{{ url = "https://localhost:<tls>/" }}
                        if answer then break end
                    end
                    sy.log.warn("asked", "localhost", "trusted", answer and answer.status or reason, "open")
                end)
            }}
            server {{
                listen 127.0.0.1:<tls> ssl; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};
                resolver <inner> ipv6=off;
                certificate_by_lua_block {{ {ask} ask("inner.test", "handshake") }}
                return 200 "";
            }}
            server {{
                listen 127.0.0.1:<port>;
                location / {{
                    resolver <inner> ipv6=off;
                    request_by_lua_block {{
                        {ask}
                        sy.spawn(function() sy.sleep(0.01) ask("inner.test", "spawned") end)
                        return flow:respond{{ status = 204 }}
                    }}
                }}
            }}""", values={"outer": outer, "inner": inner, "behind": backend.port, "tls": ports.free_port()})
        assert made.fetch("/").status == 204
        get(made.values["tls"], context(authority))
        expected = {"init", "handshake", "spawned", "trusted"}
        wait_for(
            lambda: set(re.findall(r"asked\t\S+\t(\w+)\t200\topen", made.log())) == expected, 8,
            "a good end of all that is asked")
    assert "asked\tinner.test\tinit\tname could not be resolved" in made.log()


@pytest.mark.clocked
def test_a_tunnel_is_drained(tunnel, form, tmp_path):
    _, inner = hooks(form, {"drain": f"{note(repr('drain'))} sy.sleep(0.05) return 0.2"}, tmp_path)
    made = tunnel(inner)
    with made.open() as socket:
        started = time.monotonic()
        made.signal(signal.SIGQUIT)
        wait_for_notes(made, "drain")
        socket.send("hello")
        assert socket.recv(5) == "hello"
        assert closing(socket) == (1001, "")
        assert 0.2 < time.monotonic() - started < 4
    assert made.wait_exit() == 0


def test_a_drain_hook_closes_by_itself(tunnel):
    made = tunnel("drain_by_lua_block { flow:close(1012, 'back soon') }")
    with made.open() as socket:
        made.signal(signal.SIGQUIT)
        assert closing(socket) == (1012, "back soon")
    assert made.wait_exit() == 0


def test_init_runs_once_for_each_worker_before_it_accepts(proxy, backend):
    made = proxy("""
        lua_shared_dict counts 1m;
        init_by_lua_block { sy.sleep(0.2) sy.shared.counts:incr("inits", 1, 0) }
        server { listen 127.0.0.1:<port>; return 200 $count; set_by_lua_block $count { return sy.shared.counts:get("inits") } }
    """, config=None, main="")
    assert made.fetch("/").text == "1"


def test_outer_levels_come_first(simple, tmp_path):
    (tmp_path / "word.lua").write_text(
        f"return function(config) return {{ request = function(flow) {note('config.word')} end }} end")

    def level(name):
        return (f"plugin {tmp_path}/word.lua word={name}1; request_by_lua_block {{ {note(repr(name + '2'))} }}"
                f"plugin {tmp_path}/word.lua word={name}3;")

    made = simple(http=level("http"), server=level("server"), location=level("location"))
    assert made.fetch("/").status == 200
    wait_for_notes(made, *(f"{name}{n}" for name in ("http", "server", "location") for n in (1, 2, 3)))


def test_the_first_answer_ends_the_stage(simple):
    made = simple(
        server="request_by_lua_block { sy.sleep(0.01) return flow:respond{ status = 403 } }",
        location=f"request_by_lua_block {{ {note(repr('never'))} }} log_by_lua_block {{ {note(repr('log'))} }}")
    assert made.fetch("/").status == 403
    wait_for_notes(made, "log")
    assert made.backend.requests == []


def test_hooks_of_an_if_run_where_it_holds(simple):
    made = simple(location=f"request_by_lua_block {{ {note(repr('location'))} }}"
                  f"if ($arg_a) {{ request_by_lua_block {{ {note(repr('if'))} }} proxy_pass http://<backend>; }}")
    made.fetch("/")
    wait_for_notes(made, "location")
    made.fetch("/?a=1")
    wait_for_notes(made, "location", "location", "if")


@pytest.mark.parametrize("directive", ["access_by_lua_block { }", "init_by_lua_block { }"])
def test_what_has_no_place_in_a_location_is_refused(simple, directive):
    made = simple(location=directive, start=False)
    tested = made.run("-t")
    assert tested.returncode != 0
    assert directive.split()[0] in tested.stderr


def test_plugins_require_modules(simple, tmp_path):
    (tmp_path / "greeting.lua").write_text("local count = 0 return function() count = count + 1 return 'hello ' .. count end")
    (tmp_path / "plugin.lua").write_text(
        "local greet = require 'greeting' return { request = function(flow) flow.req.headers['X-Word'] = greet() end }")
    made = simple(http=f'lua_package_path "{tmp_path}/?.lua;;";', location=f"plugin {tmp_path}/plugin.lua;")
    for count in (1, 2):
        made.fetch("/")
        assert made.backend.requests[-1].get("X-Word") == f"hello {count}"


def test_a_module_that_requires_itself_is_named(simple, tmp_path):
    (tmp_path / "one.lua").write_text("local two = require 'two' return {}")
    (tmp_path / "two.lua").write_text("local one = require 'one' return {}")
    (tmp_path / "plugin.lua").write_text("#!/usr/bin/env lua\nlocal one = require 'one' return {}")
    made = simple(http=f'lua_package_path "{tmp_path}/?.lua;;";', location=f"plugin {tmp_path}/plugin.lua;", start=False)
    tested = made.run("-t")
    assert tested.returncode != 0
    assert 'module "one" is being loaded already' in tested.stderr and "two.lua:1" in tested.stderr
    (tmp_path / "two.lua").write_text("local three = require 'a.three' return {}")
    stderr = made.run("-t").stderr
    assert f'module "a.three" not found: no field package.preload["a.three"], no file "{tmp_path}/a/three.lua"' in stderr
    # As Lua's own loader: a byte order mark, and a first line that begins with #, are no part of it.
    (tmp_path / "two.lua").write_text("\ufeff#!/usr/bin/env lua\nreturn {}")
    assert made.run("-t").returncode == 0


def test_libraries_in_c_are_for_scripts_outside_of_the_sandbox(simple):
    script = "require('cjson').encode({ 1, { 'two' } })"
    location = f"request_by_lua_block {{ return flow:respond{{ body = {script} }} }}"
    made = simple(http="lua_sandbox off;", location=location)
    assert made.fetch("/").body == b'[1,["two"]]'
    made = simple(location=location)
    assert made.fetch("/").status == 500
    assert 'module "cjson" not found, sy.json is here instead: no field package.preload["cjson"]' in made.log()


def test_what_libraries_in_c_make_is_no_object_of_ours(simple, tmp_path):
    """Parts of a flow are numbers within pointers: others of that kind are told from them."""
    (tmp_path / "pointers.c").write_text("""
        #include <lua.h>
        static int values(lua_State *L) {
            unsigned long long flow = 1, none = 31;
            lua_pushlightuserdata(L, (void *)-1);
            lua_pushlightuserdata(L, (void *)(flow << 58));
            lua_pushlightuserdata(L, (void *)(none << 58));
            return 3;
        }
        int luaopen_pointers(lua_State *L) {
            lua_pushcfunction(L, values);
            return 1;
        }""")
    compiler = pathlib.Path(shutil.which("swift")).resolve().parent / "clang"
    subprocess.run([compiler, "-shared", "-fPIC", "-I", ROOT / ".build-lua" / "include", "-o", tmp_path / "pointers.so",
                    tmp_path / "pointers.c"], check=True)
    made = simple(http="lua_sandbox off;", location=f"""request_by_lua_block {{
        package.cpath = "{tmp_path}/?.so"
        local lines = {{}}
        local function note(...) lines[#lines + 1] = table.concat({{ ... }}, " ") end
        for _, value in ipairs({{ require("pointers")() }}) do
            note(type(value), tostring(value):match("^%a+"))
            note(select(2, pcall(function() return value.headers end)))
            note(select(2, pcall(function() value.headers = 1 end)))
            note(select(2, pcall(pairs, value)))
            note(select(2, pcall(flow.req.body, value)))
        end
        return flow:respond{{ body = table.concat(lines, "\\n") }}
    }}""")
    lines = made.fetch("/").text.splitlines()
    assert len(lines) == 15
    for first in (0, 5, 10):
        assert lines[first] == "userdata userdata"
        assert lines[first + 1].endswith("attempt to index a userdata value")
        assert lines[first + 2].endswith("attempt to index a userdata value")
        assert lines[first + 3].endswith("(table expected, got userdata)")
        assert "found userdata, expected flow.req" in lines[first + 4]
    assert made.process.poll() is None


def test_modules_from_elsewhere_outside_of_the_sandbox(simple):
    made = simple(http="lua_sandbox off;", location="""request_by_lua_block {
        table.insert(package.searchers, 2, function(name)
            if name == "made.up" then return function(...) return table.concat({ ... }, " ") end, "here" end
            return "nothing made up for " .. name
        end)
        local lines = { require("made.up"), select(2, require("made.up")) or "-" }
        for _, name in ipairs({ "cjson.none", "none.at.all", "cjson-2.1" }) do
            local works, result = pcall(require, name)
            lines[#lines + 1] = works and type(result.encode) or result
        end
        return flow:respond{ body = table.concat(lines, "\\n") }
    }""")
    lines = made.fetch("/").body.decode().splitlines()
    assert lines[:2] == ["made.up here", "-"]
    # In the library of its first name, but not there.
    assert "cjson.none" in lines[2] and "cjson.so" in lines[2] and "luaopen_cjson_none" in lines[2]
    assert "/none/at/all.so" in lines[3] and "/none.so" in lines[3]
    assert lines[3].endswith(", nothing made up for none.at.all")
    assert 'no file "' in lines[4] and "/cjson-2/1.so" in lines[4]


# MARK: sy.json, beside Python's


def json_value(random, depth):
    kinds = ["int", "big", "float", "word", "flag", "none"] + (["list", "dict"] if depth < 4 else [])
    match random.choice(kinds):
        case "int": return random.randrange(-1000, 1000)
        case "big": return random.randrange(-(1 << 63), 1 << 63)
        case "float":
            value = struct.unpack("d", random.randbytes(8))[0]
            return value if math.isfinite(value) else random.random()
        case "word": return "".join(chr(random.choice((random.randrange(128), 0xe9, 0x20ac, 0x1f600))) for _ in range(8))
        case "flag": return random.random() < 0.5
        case "none": return None
        case "list": return [json_value(random, depth + 1) for _ in range(random.randrange(5))]
        # An empty object is a table like any other.
        case _: return {f"k{n}": json_value(random, depth + 1) for n in range(random.randrange(5))}


def test_json_is_what_python_takes_it_for(simple):
    made = simple(location="""request_by_lua_block {
        local ok, value = pcall(sy.json.decode, flow.req:body())
        return flow:respond{ status = ok and 200 or 422, body = ok and sy.json.encode(value) or value } }""")
    random = Random(5)
    with Client(made.port) as client:
        for number in range(300):
            value = json_value(random, 0)
            text = json.dumps(value, ensure_ascii=number % 2 == 0, indent=number % 3 or None)
            answer = client.fetch("/", "POST", body=text.encode())
            assert answer.status == 200, (text, answer.text)
            assert json.loads(answer.body) == value


def test_json_that_python_refuses_is_refused(simple):
    made = simple(location="""request_by_lua_block {
        local ok, value = pcall(sy.json.decode, flow.req:body())
        return flow:respond{ status = ok and 200 or 422, body = "" } }""")
    random = Random(6)

    def refuse(name):
        raise ValueError(name)

    def is_json(text):
        try:
            # Python takes NaN and Infinity, rounds what is too large to them, and takes halves of surrogate pairs.
            value = json.loads(text.decode(), parse_constant=refuse)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
            return True
        except ValueError:
            return False

    seeds = [b'{"a":[1,-2.5e+3,true,false,null,"\\u00e9\\n\xc3\xa9"],"b":{}}', b'[0,-0,1E5,"\\ud83d\\ude00",[[]]]']
    with Client(made.port) as client:
        for _ in range(900):
            text = bytearray(random.choice(seeds))
            for _ in range(random.randrange(1, 3)):
                place = random.randrange(len(text))
                match random.randrange(3):
                    case 0: text[place] = random.choice(b'0123456789{}[]",:.eE+-\\ \t\n\x00\x1f\x7f\xc3\xff' + bytes([random.randrange(256)]))
                    case 1: del text[place]
                    case _: text.insert(place, random.choice(b'0{}[]",:.-\\u\n\x80'))
            expected = 200 if is_json(bytes(text)) else 422
            assert client.fetch("/", "POST", body=bytes(text)).status == expected, bytes(text)


@pytest.mark.parametrize("stage", ["request", "response"])
@pytest.mark.parametrize("result", ["403", "false", "{ status = 403 }", "'no'"])
def test_a_result_that_means_nothing_lets_nothing_pass(simple, stage, result):
    made = simple(location=f"{stage}_by_lua_block {{ return {result} }}")
    assert made.fetch("/").status == 500
    assert f"{stage} hook of" in made.log() and "expected nothing, or the result of flow:respond" in made.log()


def test_what_scripts_log_forges_no_line(simple):
    made = simple(location="""request_by_lua_block { sy.log.error(flow.req.args.a) error(flow.req.args.a) }""")
    made.fetch("/?a=" + quote("x\n2026 forged\x1b[2J"))
    lines = wait_for(lambda: [line for line in made.log().splitlines() if "forged" in line], 5, "the lines")
    assert lines and all(re.match(r"\d{4}/\d\d/\d\d .*(lua:|request)|\t", line) for line in lines)
    assert "\x1b" not in made.log()


def test_plugins_do_not_share_globals(simple):
    made = simple(location="""
        request_by_lua_block { counter = (counter or 0) + 1 flow.req.headers["X-A"] = tostring(counter) }
        request_by_lua_block { flow.req.headers["X-B"] = tostring(counter) }
    """)
    made.fetch("/")
    made.fetch("/")
    assert (made.backend.requests[-1].get("X-A"), made.backend.requests[-1].get("X-B")) == ("2", "nil")


@pytest.mark.clocked
def test_others_go_on_while_a_hook_waits(simple):
    made = simple(location="request_by_lua_block { if flow.req.path == '/slow' then sy.sleep(1) end }")
    with Client(made.port) as slow:
        slow.request("/slow")
        started = time.monotonic()
        for _ in range(20):
            assert made.fetch("/").status == 200
        assert time.monotonic() - started < 0.9
        assert slow.read_response().status == 200


def test_requests_behind_a_waiting_one_stay_in_order(simple):
    made = simple(location="request_by_lua_block { if flow.req.path == '/1' then sy.sleep(0.1) end }")
    made.backend.answer = lambda request: reply(body=request.target.encode())
    with Client(made.port) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(1, 4)))
        assert [client.read_response().text for _ in range(3)] == ["/1", "/2", "/3"]


# What a request hook decides


def test_respond(simple):
    made = simple(location="""request_by_lua_block {
        return flow:respond{ status = 418, headers = { ["X-A"] = { "1", "2" }, ["Content-Type"] = "text/x" }, body = "no" }
    }""")
    with Client(made.port) as client:
        for method in ("GET", "POST", "GET"):
            response = client.fetch("/", method=method, body=b"a body" if method == "POST" else b"")
            assert (response.status, response.body, response.values("X-A")) == (418, b"no", [b"1", b"2"])
            assert response.get("Content-Type") == "text/x"
    assert made.backend.requests == []


@pytest.mark.parametrize("call, status", [("'/b'", 302), ("'https://a.example/', 308", 308)])
def test_redirect(simple, call, status):
    response = simple(location=f"request_by_lua_block {{ return flow:redirect({call}) }}").fetch("/")
    assert response.status == status
    assert response.get("Location").endswith(call.split("'")[1])


def test_an_internal_redirect_chooses_the_location_again(proxy, backend):
    made = proxy("""
        server {
            listen 127.0.0.1:<port>;
            location / { request_by_lua_block { sy.sleep(0.01) return flow:internal_redirect("/inner/a?b=c") } }
            location = /named { request_by_lua_block { return flow:internal_redirect("@name") } }
            location /loop { request_by_lua_block { return flow:internal_redirect("/loop") } }
            location /inner/ {
                internal;
                proxy_pass http://<backend>;
                request_by_lua_block { flow.req.headers["X-Location"] = flow.location }
            }
            location @name { return 200 "named $uri"; }
        }
    """, values={"backend": backend})
    assert made.fetch("/x", method="POST", body=b"kept").status == 200
    request = backend.requests[0]
    assert (request.target, request.body, request.get("X-Location")) == ("/inner/a?b=c", b"kept", "/inner/")
    assert made.fetch("/named").text == "named /named"
    assert made.fetch("/loop").status == 500
    assert made.fetch("/").status == 200


@pytest.fixture
def routed(proxy, backends):
    """A proxy that routes to what the header X-To says, words of it being a list."""
    first, second, dead = (backends(reply(body=name)) for name in (b"first", b"second", b"dead"))
    dead.stop()
    made = proxy("""
        upstream first { server <first>; }
        upstream second { server <second>; }
        upstream dead { server <dead>; server <dead> backup; }
        server {
            listen 127.0.0.1:<port>;
            request_by_lua_block {
                local list = {}
                for word in (flow.req.headers["X-To"] or ""):gmatch("%S+") do list[#list + 1] = word end
                if flow.req.path:find("wait") then sy.sleep(0.02) end
                flow:route(#list == 1 and list[1] or list)
            }
            location / { }
            location /passed/ { proxy_pass http://first/base/; }
        }
    """, values={"first": first, "second": second, "dead": dead})
    made.first, made.second, made.dead = first, second, dead

    def ask(to, target="/", **rest):
        return made.fetch(target, headers=[("X-To", to)], **rest)

    made.ask = ask
    return made


@pytest.mark.parametrize("target", ["/", "/wait", "/passed/x"])
def test_route_to_a_name_a_url_or_the_first_of_a_list_that_answers(routed, target):
    first, dead = f"http://{routed.first}", f"http://{routed.dead}"
    for to, chosen in [
            ("first", "first"), ("second", "second"), ("SeCond", "second"), (first, "first"), ("dead second", "second"),
            ("dead dead first second", "first"), (f"{dead} {first}", "first"), (f"dead {dead} second", "second")]:
        assert routed.ask(to, target).text == chosen
    assert routed.ask("dead", target).status == 502
    assert routed.ask(f"dead {dead}", target).status == 502


def test_the_log_says_what_could_not_be_connected_to(proxy):
    """As nginx: also where that is known before anything was waited for."""
    made = proxy("""
        upstream none { server unix:<dir>/none; server unix:<dir>/neither; }
        server {
            listen 127.0.0.1:<port>;
            location /routed { request_by_lua_block { flow:route("http://unix:" .. "<dir>/none") } }
            location / { proxy_pass http://none; }
        }""")
    assert made.fetch("/routed").status == made.fetch("/group").status == 502
    lines = [line for line in made.log().splitlines() if "connect() failed (2:" in line or "disabled" in line]
    assert [re.search('upstream: "(.*?)"', line)[1].replace(str(made.directory), "") for line in lines] == [
        "http://unix:/none:/routed"] + ["http://unix:/none:/group"] * 2 + ["http://unix:/neither:/group"] * 2


def test_a_routed_request_is_sent_whole(routed):
    assert routed.ask("dead second", "/a%20b?c=d", method="POST", body=b"x" * 20000).text == "second"
    [request] = routed.second.requests
    assert (request.method, request.target, request.body) == ("POST", "/a%20b?c=d", b"x" * 20000)
    routed.ask("second", "/passed/x")
    assert routed.second.requests[-1].target == "/base/x"


def test_an_upgrade_is_routed(proxy, server, backends):
    dead = backends()
    dead.stop()
    made = proxy(f"""
        upstream dead {{ server <dead>; }}
        upstream living {{ server <server>; }}
        server {{
            listen 127.0.0.1:<port>;
            location / {{
                proxy_http_version 1.1;
                {WEBSOCKET}
                proxy_pass http://dead;
                upgrade_by_lua_block {{ sy.sleep(0.01) flow:route{{ "dead", "living" }} }}
            }}
        }}
    """, values={"dead": dead, "server": server})
    with connect(f"ws://127.0.0.1:{made.port}/") as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"


@pytest.mark.parametrize("to", ["unknown", "http://", "ftp://a", ""])
def test_a_route_that_leads_nowhere_is_an_error(routed, to):
    assert routed.ask(to).status == 500
    assert "route: " in routed.log()


# The request


def test_what_a_script_sets_goes_upstream_and_is_seen_by_variables(simple):
    made = simple(
        location="""
            add_header X-Seen "$http_x_set $request_method $arg_b";
            request_by_lua_block {
                flow.req.headers["X-Set"] = "set"
                flow.req.headers["X-Gone"] = nil
                flow.req.headers:add("X-Twice", "1")
                flow.req.headers:add("X-Twice", "2")
                flow.req.method = "PUT"
                flow.req.path = "/other place"
                flow.req.args.b = "2"
            }""")
    response = made.fetch("/path?a=1", headers=[("X-Set", "client's"), ("X-Gone", "1")])
    [request] = made.backend.requests
    assert (request.method, request.target) == ("PUT", "/other%20place?a=1&b=2")
    assert request.values("X-Set") == [b"set"]
    assert request.values("X-Twice") == [b"1", b"2"]
    assert "X-Gone" not in request
    assert response.get("X-Seen") == "set PUT 2"


BODIES = {
    "none": [],
    "length": [("Content-Length", "11")],
    "chunked": [("Transfer-Encoding", "chunked")],
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("kind", BODIES)
def test_a_request_body_is_read_and_replaced(proxy, backend, kind, version):
    made = proxy("""server {
        listen 127.0.0.1:<port>;
        request_by_lua_block {
            local body = flow.req:body()
            if flow.req.path == "/set" then flow.req:set_body("set for " .. body) end
            flow.req.headers["X-Body"] = body
        }
        location / { proxy_http_version <version>; proxy_pass http://<backend>; }
    }""", values={"version": version, "backend": backend})
    body = b"" if kind == "none" else b"hello world"
    sent = chunked(b"hello", b" world") if kind == "chunked" else body
    for path, expected in [("/", body), ("/set", b"set for " + body), ("/", body)]:
        assert made.fetch(path, method="POST", headers=BODIES[kind], body=sent).status == 200
        request = backend.requests[-1]
        assert (request.body, request.get("X-Body", "")) == (expected, body.decode())


def test_a_body_that_comes_slowly_is_waited_for(simple):
    made = simple(location="request_by_lua_block { flow.req.headers['X-Length'] = tostring(#flow.req:body()) }")
    with Client(made.port) as client:
        client.request("/", method="POST", headers=[("Content-Length", "100000")])
        for _ in range(10):
            client.send(b"x" * 10000)
            time.sleep(0.01)
        assert client.read_response().status == 200
    assert made.backend.requests[0].get("X-Length") == "100000"
    assert made.backend.requests[0].body == b"x" * 100000


def test_a_body_that_is_too_large_is_refused(simple):
    made = simple(location=f"""client_max_body_size 10k; request_by_lua_block {{
        local body = flow.req:body() {note("'read'")}
    }}""")
    body = chunked(b"x" * 20000)
    assert made.fetch("/", method="POST", headers=BODIES["chunked"], body=body).status == 413
    assert notes(made) == []
    assert made.backend.requests == []


def test_a_request_body_is_rewritten_as_it_streams(simple):
    made = simple(location="""request_body_by_lua_block {
        if last then return "[end]" end
        if chunk:find("drop") then return false end
        return chunk:upper()
    }""")
    with Client(made.port) as client:
        client.request("/", method="POST", headers=[("Transfer-Encoding", "chunked")])
        for piece in (b"one ", b"drop me", b"two "):
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(0.05)
        client.send(b"0\r\n\r\n")
        assert client.read_response().status == 200
    assert made.backend.requests[0].body == b"ONE TWO [end]"


# The response


def test_a_response_is_changed(simple):
    made = simple(location="""response_by_lua_block {
        flow.res.status = 201
        flow.res.headers["X-A"] = flow.res.headers["X-A"] .. "!"
        flow.res.headers["X-Gone"] = nil
        flow.res.headers:add("Set-Cookie", "b=2")
    }""")
    made.backend.answer = reply(headers=[("X-A", "1"), ("X-Gone", "1"), ("Set-Cookie", "a=1")])
    response = made.fetch("/")
    assert (response.status, response.get("X-A"), response.body) == (201, "1!", b"ok")
    assert response.values("Set-Cookie") == [b"a=1", b"b=2"]
    assert "X-Gone" not in response


def test_hooks_see_cookies_as_the_upstream_sets_them(simple):
    """What they write themselves is not changed any more; what they leave is, in a 101 as well."""
    made = simple(
        WEBSOCKET + """proxy_cookie_path / /app/; proxy_cookie_flags ~ secure;
        response_by_lua_block {
            flow.res.headers["X-Seen"] = table.concat(flow.res.headers:all("Set-Cookie"), " | ")
            if flow.req.args.set then flow.res.headers["Set-Cookie"] = "own=1; Path=/" end
            flow.res.headers:add("Set-Cookie", "more=1; Path=/")
        }
        """)
    fields = [("Set-Cookie", "a=1; Path=/x"), ("Set-Cookie", "b=2")]
    made.backend.answer = reply(200, b"ok", fields)
    kept = [b"a=1; Path=/app/x; Secure", b"b=2; Secure", b"more=1; Path=/"]
    got = made.fetch("/")
    assert got.get("x-seen") == "a=1; Path=/x | b=2" and got.values("set-cookie") == kept
    assert made.fetch("/?set=1").values("set-cookie") == [b"own=1; Path=/", b"more=1; Path=/"]
    made.backend.answer = None
    made.backend.program = lambda connection: connection.send(
        switching(connection.next_request().get("sec-websocket-key"), fields))
    with Client(made.port) as client:
        client.send(handshake())
        head = client.read_response_head()
        assert (head.status, head.get("x-seen"), head.values("set-cookie")) == (101, "a=1; Path=/x | b=2", kept)


def test_a_response_is_replaced(simple):
    made = simple(location="""response_by_lua_block {
        sy.sleep(0.01)
        if flow.res.status >= 500 then return flow:respond{ status = 200, body = "all is well\\n" } end
    }""")
    with Client(made.port) as client:
        for status, body in [(503, b"all is well\n"), (200, b"ok"), (500, b"all is well\n")]:
            made.backend.answer = reply(status)
            response = client.fetch("/")
            assert (response.status, response.body) == (200, body)


@pytest.mark.parametrize("answer", [
    reply(body=b"one two three"),
    reply(headers=[("Transfer-Encoding", "chunked")], body=chunked(b"one ", b"two ", b"three"), length=False),
    [reply(body=b"one two three", length=False), CLOSE],
], ids=["length", "chunked", "until close"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_response_body_is_rewritten_as_it_streams(simple, answer, waits):
    made = simple(location="response_body_by_lua_block {" + ("sy.sleep(0.005)" if waits else "") + """
        if last then return chunk:upper() .. "!" end
        return chunk:upper()
    }""")
    made.backend.answer = answer
    with Client(made.port) as client:
        for _ in range(2):
            assert client.fetch("/").body == b"ONE TWO THREE!"


@pytest.mark.parametrize("script, tags, ranges", [
    ("response_body_by_lua_block { return chunk:upper() }", {'"one"': 'W/"one"', 'W/"two"': 'W/"two"', "odd": "odd"}, None),
    ("response_body_by_lua_block { } response_by_lua_block { flow.res.headers.etag = '\"three\"' }", {'"one"': '"three"'}, None),
    ("response_by_lua_block { }", {'"one"': '"one"'}, "bytes"),
])
def test_the_entity_tag_of_a_body_that_scripts_change_is_weak(simple, script, tags, ranges):
    made = simple(location=script)
    for tag, seen in tags.items():
        for method in ("GET", "HEAD"):
            made.backend.answer = reply(headers=[("ETag", tag), ("Accept-Ranges", "bytes")], body=b"one")
            response = made.fetch("/", method=method)
            assert (response.get("ETag"), response.get("Accept-Ranges")) == (seen, ranges)


@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 304), ("GET", 204)])
@pytest.mark.parametrize("wait_call", ["", "sy.sleep(0.01)"])
def test_a_response_without_a_body_keeps_its_connection(simple, method, status, wait_call):
    made = simple(location=f"""
        response_by_lua_block {{ {wait_call} flow.res.headers["X-A"] = "1" }}
        response_body_by_lua_block {{ {wait_call} return "body" }}""")
    # Status 204 and 304 have no Content-Length, a HEAD's response has that of a GET's.
    made.backend.answer = reply(status, body=b"ok")[:-2] if status == 200 else reply(status, body=b"")
    with Client(made.port) as client:
        for _ in range(3):
            response = client.fetch("/", method=method)
            assert (response.status, response.body, response.get("X-A")) == (status, b"", "1")


def test_a_large_response_passes_a_waiting_hook_whole(simple):
    made = simple(location="response_body_by_lua_block { sy.sleep(0.001) }")
    body = bytes(range(256)) * 20000
    made.backend.answer = reply(body=body)
    assert made.fetch("/", timeout=30).body == body


# Variables

EVERYWHERE = """
    lua_shared_dict counts 1m;
    log_format words '$word $mapped';
    map $word $mapped { hello mapped; default missed; }
    map_by_lua_block $arg_a $doubled default=none { if value ~= "" then return value .. value end }
    set_by_lua_block $word {
        sy.shared.counts:incr(flow.req.path, 1, 0)
        return flow.req.headers["X-Word"]
    }
    upstream hello { server <backend>; }
    server {
        listen 127.0.0.1:<port>;
        access_log <dir>/access.log words;
        location / {
            proxy_pass http://$word/base/$word;
            proxy_set_header X-Word $word;
            proxy_set_header X-Mapped $mapped;
            add_header X-Word "$word-$doubled";
        }
        location /return { return 200 "$word $mapped $doubled"; }
        location /if { if ($word = hello) { return 200 yes; } return 200 no; }
        location /set { set $other "<$word>"; return 200 $other; }
        location /rewrite { rewrite ^ /to/$word? redirect; }
        location /script {
            request_by_lua_block { return flow:respond{ status = 200, body = flow.var.word .. flow.var.mapped } }
        }
        location /count { return 200 $count; access_log off; }
        set_by_lua_block $count { return sy.shared.counts:get(flow.req.args.of) or 0 }
    }
"""


@pytest.fixture
def words(proxy, backend):
    made = proxy(EVERYWHERE, values={"backend": backend})

    def ask(target):
        return made.fetch(target, headers=[("X-Word", "hello")])

    made.ask = ask
    return made


def test_variables_of_scripts_are_used_in_proxying(words, backend):
    response = words.ask("/x?a=b")
    assert response.get("X-Word") == "hello-bb"
    [request] = backend.requests
    assert (request.target, request.get("X-Word"), request.get("X-Mapped")) == ("/base/hello", "hello", "mapped")
    assert words.log_lines("access.log", 1) == ["hello mapped"]
    assert words.fetch("/count?of=/x").text == "1"


@pytest.mark.parametrize("target, body", [
    ("/return", "hello mapped none"), ("/return?a=b", "hello mapped bb"), ("/if", "yes"), ("/set", "<hello>"),
    ("/script", "hellomapped")])
def test_variables_of_scripts_are_used_everywhere(words, target, body):
    assert words.ask(target).text == body


def test_variables_of_scripts_are_used_in_redirects(words):
    assert words.ask("/rewrite").get("Location").endswith("/to/hello")


def test_a_variable_is_computed_only_when_asked_for(words):
    words.ask("/count?of=/none")
    assert words.fetch("/count?of=/count").text == "0"


def test_variables_wait_where_they_can(simple):
    made = simple(
        server="set_by_lua_block $slow default=never { sy.sleep(0.05) return 'waited' }",
        location="proxy_set_header X-Slow $slow; request_by_lua_block { flow.req.headers['X-Read'] = flow.var.slow }")
    assert made.fetch("/").status == 200
    assert made.backend.requests[0].get("X-Slow") == "waited"
    assert made.backend.requests[0].get("X-Read") == "waited"


def test_variables_wait_for_the_requests_and_the_responses_head(proxy, backend):
    made = proxy("""
        set_by_lua_block $early { sy.sleep(0.02) return "early" }
        set_by_lua_block $late { sy.sleep(0.02) return "late" .. flow.res.status }
        server {
            listen 127.0.0.1:<port>;
            location / {
                proxy_pass http://<backend>/$early; proxy_set_header X-Early $early; proxy_set_body "body $early";
                add_header X-Late "$late $early";
            }
        }
    """, values={"backend": backend})
    response = made.fetch("/", method="POST", body=b"client's")
    assert (response.status, response.get("X-Late")) == (200, "late200 early")
    [request] = backend.requests
    assert (request.target, request.get("X-Early"), request.body) == ("/early", "early", b"body early")


def test_a_variable_that_cannot_wait_has_its_default(proxy):
    made = proxy("""
        set_by_lua_block $slow default=never { sy.sleep(0.01) return "waited" }
        server { listen 127.0.0.1:<port>; return 200 $slow; }
    """)
    assert made.fetch("/").text == "never"
    assert re.search(r'variable "slow" of \S+:\d+ failed: it waits, and where it is used that cannot be waited for', made.log())


def test_a_variable_that_fails_has_its_default(proxy):
    made = proxy("""
        set_by_lua_block $faulty default=fallback { error("broken") }
        set_by_lua_block $empty { error("broken") }
        server { listen 127.0.0.1:<port>; return 200 "$faulty,$empty"; }
    """)
    assert made.fetch("/").text == "fallback,"
    assert re.findall(r'variable "(\w+)" of \S+ failed: \S*proxy\.conf:\d+: broken', made.log()) == ["faulty", "empty"]


# Tunnels


def test_an_upgrade_is_denied(tunnel, server):
    made = tunnel("upgrade_by_lua_block { sy.sleep(0.01) return flow:respond{ status = 403, body = 'no' } }")
    with pytest.raises(InvalidStatus) as refused:
        made.open()
    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"no")
    assert server.requests == []


def test_an_offer_is_changed(tunnel, server):
    made = tunnel("""upgrade_by_lua_block {
        flow.req.headers["X-Offer"] = table.concat(flow.offer.subprotocols, ",") .. " " .. tostring(flow.offer.deflate)
        flow.offer.origin = "https://changed.example"
        flow.offer.deflate = false
        flow.offer.subprotocols = { "chat.v2" }
    }""")
    with made.open(origin="https://a.example", subprotocols=["chat.v1", "chat.v2"]) as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"
    headers = server.requests[0].headers
    assert headers["X-Offer"] == "chat.v1,chat.v2 true"
    assert headers["Origin"] == "https://changed.example"
    assert headers["Sec-WebSocket-Protocol"] == "chat.v2"
    assert "permessage-deflate" not in headers.get("Sec-WebSocket-Extensions", "")


@pytest.mark.parametrize("hook, expected", [
    ("flow:after(0.1, function() flow:close(4001, 'time is up') end)", (4001, "time is up")),
    ("flow:after(0.1, function() sy.sleep(0.05) flow:close() end)", (1000, "")),
    ("local n = 0 flow:every(0.03, function() n = n + 1 if n == 3 then flow:close(4000 + n, 'ticks') end end)",
     (4003, "ticks")),
    ("flow:deadline(sy.now() + 0.1, 4008, 'deadline')", (4008, "deadline")),
    ("sy.sleep(0.05) flow:close(1008, 'at once')", (1008, "at once")),
    ("flow:close(4000, ('ü'):rep(61))", (4000, "ü" * 61)),
])
def test_a_script_closes_an_open_tunnel(tunnel, hook, expected):
    made = tunnel(f"open_by_lua_block {{ {hook} }} close_by_lua_block {{ " + note("info.code .. ' ' .. info.by") + "}")
    with made.open() as socket:
        assert closing(socket) == expected
    wait_for_notes(made, f"{expected[0]} proxy")


def test_a_close_frame_never_cuts_a_message(tunnel, server):
    made = tunnel("open_by_lua_block { flow:after(0.1, function() flow:close(4001) end) }")
    made_client = Client(made.port)
    with made_client as client:
        client.send(handshake())
        client.read_response_head()
        whole_frame = frame(b"x" * 1000, masked=True)
        client.send(whole_frame[:500])
        time.sleep(0.3)
        client.send(whole_frame[500:])
        assert client.read_exactly(4) == b"\x88\x02" + (4001).to_bytes(2, "big")
    wait_for(lambda: len(server.requests) == 1, 5)


@pytest.mark.parametrize("when", ["with the request", "while the hook waits"])
@pytest.mark.parametrize("decision", ["flow:close(4000)", "error('no')"])
def test_an_open_hook_holds_back_what_comes_of_another_protocol(simple, backend, decision, when):
    received = []

    def program(connection):
        connection.next_request()
        connection.send(switching(accept="", upgrade="own") + b"from the upstream")
        while connection.fill():
            pass
        received.append(bytes(connection.buffer))

    backend.program = program
    made = simple(WEBSOCKET + "proxy_upgrade_protocols any; open_by_lua_block { " + note("'waits'")
                  + f" sy.sleep(0.2) return {decision} }}")
    with Client(made.port) as client:
        early = b"from the client"
        client.send(handshake(upgrade="own") + (early if when == "with the request" else b""))
        wait_for_notes(made, "waits")
        if when == "while the hook waits":
            client.send(early)
        assert client.read_response_head().status == 101
        assert client.is_closed()
    wait_for(lambda: received, 5, "the upstream's end")
    assert received == [b""]


INFO = note("info.code .. ' ' .. info.reason .. ' ' .. info.by .. ' ' .. tostring(info.clean)")


def test_the_client_closes(tunnel):
    made = tunnel(f"close_by_lua_block {{ {INFO} }}")
    with made.open() as socket:
        socket.close(4001, "bye")
    wait_for_notes(made, "4001 bye client true")


def test_the_upstream_closes(tunnel):
    made = tunnel(f"close_by_lua_block {{ {INFO} }}")
    with made.open() as socket:
        socket.send("close 4002")
        assert closing(socket) == (4002, "as you wish")
    wait_for_notes(made, "4002 as you wish upstream true")


@pytest.mark.parametrize("way", ["close", "reset"])
def test_the_client_vanishes(tunnel, way):
    made = tunnel(f"close_by_lua_block {{ {INFO} }}")
    client = Client(made.port)
    client.send(handshake())
    assert client.read_response_head().status == 101
    getattr(client, way)()
    wait_for_notes(made, "1006  client false")


def test_the_upstream_vanishes(tunnel):
    made = tunnel(f"close_by_lua_block {{ {INFO} }}")
    with made.open() as socket:
        socket.send("vanish")
        with pytest.raises(ConnectionClosed):
            socket.recv(5)
    wait_for_notes(made, "1006  upstream false")


def test_a_tunnel_knows_its_ends(tunnel):
    made = tunnel("log_by_lua_block { " + note(
        "flow.client.address .. ' ' .. flow.upstream.port .. ' ' .. tostring(flow.client.bytes_in > 0 "
        "and flow.upstream.bytes_out > 0) .. ' ' .. tostring(flow.subprotocol)") + "}")
    with made.open() as socket:
        socket.send("hello")
        socket.recv(5)
    wait_for(lambda: notes(made), 5, "the log hook")
    address, port, counted, subprotocol = notes(made)[0].split()
    assert (address, counted, subprotocol) == ("127.0.0.1", "true", "nil")
    assert made.values["backend"].port == int(port)


def test_timers_end_with_the_tunnel(tunnel):
    made = tunnel("open_by_lua_block { flow:every(0.05, function() " + note("'tick'") + " end) }")
    with made.open():
        wait_for(lambda: len(notes(made)) >= 2, 5, "two ticks")
    time.sleep(0.2)
    count = len(notes(made))
    time.sleep(0.3)
    assert len(notes(made)) == count


# Reload


def test_a_reload_changes_scripts(simple, tmp_path):
    script = tmp_path / "plugin.lua"

    def write(word):
        script.write_text(f"return {{ response = function(flow) flow.res.headers['X-Word'] = '{word}' end }}")

    write("one")
    made = simple(location=f"plugin {script};")
    with Client(made.port) as kept:
        assert kept.fetch("/").get("X-Word") == "one"
        write("two")
        made.reload()
        wait_for(lambda: made.fetch("/").get("X-Word") == "two", 5, "the new script")
        assert kept.fetch("/").get("X-Word") == "two"


@pytest.mark.parametrize("text, message", [
    ("return {\n  request = function(flow)\n    return flow:\n  end\n}", r"plugin\.lua:4: "),
    ("return {\n  request = function() end,\n  rekuest = function() end }", r"rekuest.*plugin\.lua"),
    ("local t = nil\nreturn { request = t.x }", r"plugin\.lua:2: "),
    ("return 7", r"number.*plugin\.lua"),
    ("while true do end", r"plugin\.lua:1: "),
    ("return { request = ('x'):rep(1e9) }", r"plugin\.lua:1: .*not enough memory"),
])
def test_a_faulty_script_keeps_the_old_one(simple, tmp_path, text, message):
    script = tmp_path / "plugin.lua"
    script.write_text("return { response = function(flow) flow.res.headers['X-Word'] = 'old' end }")
    made = simple(location=f"plugin {script};")
    script.write_text(text)
    tested = made.run("-t")
    assert tested.returncode != 0
    assert re.search(message, tested.stderr)
    made.reload()
    wait_for(lambda: re.search(message, made.log()), 5, "the message")
    assert made.fetch("/").get("X-Word") == "old"
    assert made.is_running


def serving(word, *ports, init=""):
    """The text of an `http` block that answers with `word`, on further ports by their names."""
    listens = "".join(f"listen 127.0.0.1:<{port}>; " for port in ("port", *ports))
    return init + "server { " + listens + 'return 200 "' + word + '"; }'


WAITING = "init_by_lua_block { " + note("'waits'") + " sy.sleep(600) }"


@pytest.mark.parametrize("first, second, message", [
    ("sy.metrics.counter('things')", "sy.metrics.gauge('things')", r"other\.lua:1: .*another kind"),
    ("local kept = ('x'):rep(700000)", "local kept = ('x'):rep(700000)", r"other\.lua:1: .*not enough memory"),
])
def test_scripts_that_do_not_load_together_are_refused(simple, tmp_path, first, second, message):
    script, other = tmp_path / "plugin.lua", tmp_path / "other.lua"
    body = "return { response = function(flow) flow.res.headers['X-Word'] = kept and 'none' or 'WORD' end }"
    script.write_text(body.replace("WORD", "old"))
    other.write_text("return {}")
    made = simple(location=f"plugin {script}; plugin {other};", http="lua_memory_limit 1m;")
    script.write_text(first + "\n" + body + "\n")
    other.write_text(second + "\nreturn { log = function() return kept end }\n")
    tested = made.run("-t")
    assert tested.returncode != 0
    assert re.search(message, tested.stderr), tested.stderr
    made.reload()
    wait_for(lambda: re.search(message, made.log()), 5, "the message")
    assert made.fetch("/").get("X-Word") == "old"
    other.write_text("return {}")
    script.write_text(body.replace("WORD", "new"))
    made.reload()
    wait_for(lambda: made.fetch("/").get("X-Word") == "new", 5, "the repaired scripts")


def test_a_script_that_does_not_go_with_what_runs_is_refused(simple, tmp_path):
    script = tmp_path / "plugin.lua"
    text = ("for i = 1, 300 do sy.metrics.counter('old_' .. i) end\n"
            "return { response = function(flow) flow.res.headers['X-Word'] = 'old' end }")
    script.write_text(text)
    made = simple(location=f"plugin {script};")
    script.write_text(text.replace("old", "new"))
    made.reload()
    wait_for(lambda: re.search(r"\[emerg\] .*plugin\.lua:1: .*more than 500 metrics", made.log()), 5, "the message")
    assert made.fetch("/").get("X-Word") == "old"


def test_a_metric_that_a_reload_defines_otherwise_begins_at_zero(simple, tmp_path):
    script = tmp_path / "plugin.lua"
    text = ("local seconds = sy.metrics.histogram('seconds', 'of it', { 1, 2 })\n"
            "local requests = sy.metrics.counter('requests')\n"
            "return { request = function(flow) if flow.req.path == '/slow' then NOTE sy.sleep(1) end\n"
            "  seconds:observe(1.5) requests:inc() return flow:respond{ body = 'old' } end }")
    script.write_text(text.replace("NOTE", note("'waits'")))
    made = simple(location=f"plugin {script};", server="location = /metrics { prometheus_metrics; }")
    answers = [made.fetch("/").text]
    slow = Client(made.port)
    slow.request("/slow")
    wait_for_notes(made, "waits")
    script.write_text(text.replace("NOTE", "").replace("1, 2", "1").replace("old", "new"))
    made.reload()
    wait_for(lambda: answers.append(made.fetch("/").text) or answers[-1] == "new", 5, "the new script")
    message = 'histogram "seconds" begins at zero, in place of histogram "seconds" that was defined in another way'
    wait_for(lambda: made.log().count(message) == 1, 5, "the notice")
    answers.append(slow.read_response().text)
    assert answers[0] == answers[-1] == "old"
    page = made.fetch("/metrics").text
    assert f"\nrequests {len(answers)}\n" in page
    assert f"\nseconds_count {answers.count('new')}\n" in page
    assert 'seconds_bucket{le="2"}' not in page


def test_nothing_is_let_through_by_a_worker_without_its_scripts(simple, tmp_path):
    script = tmp_path / "plugin.lua"
    # What a worker finds at its second load is nothing that could be tried beforehand.
    script.write_text("if sy.shared.loads:incr('count', 1, 0) == 2 then error('not again') end\n"
                      "return { request = function(flow) return flow:respond{ status = 401 } end }")
    made = simple(location=f"plugin {script};", server="location = /own { return 200; } error_page 500 /own;",
                  http="lua_shared_dict loads 1m;")
    assert made.fetch("/").status == 401
    made.reload()
    wait_for(lambda: made.fetch("/").status == 500, 5, "the refusal")
    assert made.fetch("/own").status == 500
    assert made.backend.requests == []
    assert re.search(r"\[alert\] .*plugin\.lua.*not again", made.log())
    made.reload()
    wait_for(lambda: made.fetch("/").status == 401, 5, "the scripts")


def test_a_reload_overtakes_one_whose_init_hooks_wait(proxy):
    made = proxy(serving("first"), values={"more": ports.free_port(), "gone": ports.free_port()})
    made.reload(whole(serving("second", "more", "gone", init=WAITING)))
    wait_for_notes(made, "waits")
    assert made.fetch("/").text == "first"
    made.reload(whole(serving("third", "more")))
    wait_for(lambda: made.fetch("/").text == "third", 5, "the third configuration")
    assert fetch(made.values["more"]).text == "third"
    assert not ports.is_listening(made.values["gone"])


def test_a_reload_is_told_once_its_init_hooks_have_ended(proxy):
    def page(made):
        text = made.fetch("/metrics").text
        return [re.search(rf"^switchyard_{name} (.*)$", text, re.M)[1]
                for name in ("configuration_generation", r'configuration_reloads_total\{result="success"\}')]

    def version(word, hook):
        return (hook + "server { listen 127.0.0.1:<port>; location = /metrics { prometheus_metrics; } location / { return 200 "
                + word + "; } }")

    def of(workers, text):
        return whole(text).replace("worker_processes 1;", f"worker_processes {workers};")

    made = proxy(config=of(2, version("first", "")))
    made.reload(of(3, version("second", WAITING)))
    wait_for(lambda: "configuration 2 waits for its init hooks, requests go to configuration 1" in made.log(), 5, "the notice")
    assert made.fetch("/").text == "first" and page(made) == ["1", "0"]
    made.reload(of(2, version("third", "init_by_lua_block { sy.sleep(0.3) }")))
    wait_for(lambda: "configuration 3 waits" in made.log(), 5, "the second notice")
    assert "configuration 3 runs" not in made.log()
    wait_for(lambda: "configuration 3 runs" in made.log(), 5, "the third configuration")
    assert {made.fetch("/").text for _ in range(10)} == {"third"}
    assert page(made) == ["3", "1"]
    assert "configuration 2 is given up before it runs" in made.log()
    assert "configuration 2 runs" not in made.log()
    assert made.log().count("waits for its init hooks") == 2


def test_a_reload_is_told_as_run_if_it_took_over_while_the_next_was_loaded(proxy, tmp_path):
    slow = tmp_path / "slow.lua"
    slow.write_text("local start = os.clock() while os.clock() - start < 0.8 do end return {}")
    made = proxy(serving("first"))
    made.reload(whole(serving("second", init="init_by_lua_block { sy.sleep(0.4) }")))
    wait_for(lambda: "configuration 2 waits" in made.log(), 5, "the notice")
    made.reload(whole(serving("third", init=f"lua_hook_timeout 1s; plugin {slow}; init_by_lua_block {{ sy.sleep(0.7) }}")))
    wait_for(lambda: "configuration 3 runs" in made.log(), 10, "the third configuration")
    said = re.findall(r"configuration \d (?:is|runs|waits.*)\b.*", made.log())
    assert said == [
        "configuration 2 waits for its init hooks, requests go to configuration 1", "configuration 2 runs",
        "configuration 3 waits for its init hooks, requests go to configuration 2", "configuration 3 runs",
    ]


def test_a_reload_waits_on_when_the_first_configuration_gets_ready(proxy):
    made = proxy(serving("first", init="init_by_lua_block { " + note("'waits'") + " sy.sleep(0.7) }"), wait=False)
    wait_for_notes(made, "waits")
    made.reload(whole(serving("second", init=WAITING)))
    wait_for(lambda: "configuration 2 waits for its init hooks, and so do requests, for no configuration runs yet" in made.log(),
             5, "the notice")
    assert made.fetch("/").text == "first"
    time.sleep(0.1)
    assert "configuration 2 runs" not in made.log()
    made.reload(whole(serving("third")))
    wait_for(lambda: "configuration 3 runs" in made.log(), 5, "the third configuration")
    assert "configuration 2 is given up before it runs" in made.log()


def test_nothing_is_kept_of_what_a_reload_overtakes(proxy):
    def resident():
        return int(re.search(r"VmRSS:\s+(\d+)", (pathlib.Path("/proc") / str(made.pid) / "status").read_text())[1])

    made = proxy(serving("first"))
    before = resident()
    text = whole(serving("next", init="init_by_lua_block { kept = ('x'):rep(8 << 20) sy.sleep(600) }"))
    for number in range(2, 22):
        made.reload(text)
        wait_for(lambda: f"configuration {number} waits" in made.log(), 5, "the notice")
    assert resident() - before < 80 << 10


def test_what_scripts_say_goes_to_the_log_of_where_they_are(proxy):
    script = """
        sy.log.warn("<<hook>>")
        sy.spawn(function()
            sy.log.warn("<<spawned>>") sy.sleep(0.01) sy.log.warn("<<spawned later>>")
            error("<<fault>>")
        end)
        return flow:respond{ body = "fine" }"""
    made = proxy(f"""
        error_log <dir>/http.log info;
        init_by_lua_block {{
            sy.log.warn("<<init>>")
            sy.spawn(function() sy.sleep(0.01) sy.log.warn("<<of init>>") error("<<failed>>") end)
        }}
        server {{
            listen 127.0.0.1:<port>; error_log <dir>/server.log info;
            location / {{ request_by_lua_block {{ {script} }} }}
            location /own/ {{ error_log <dir>/own.log info; request_by_lua_block {{ {script} }} }}
        }}""")
    for target in ("/", "/own/"):
        assert made.fetch(target).text == "fine"
    said = {"http.log": ["init", "of init", "failed"], "server.log": ["hook", "spawned", "spawned later", "fault"]}
    for name, words in {**said, "own.log": said["server.log"]}.items():
        wait_for(lambda: re.findall("<<(.*?)>>", made.log(name)) == words, 5, f"{words} in {name}")
    assert notes(made) == []


def test_print_says_where(simple):
    made = simple(location="request_by_lua_block {\n print('<<a>>', 1)\n}")
    line = made.config_path.read_text().split("print(")[0].count("\n") + 1
    made.fetch("/")
    wait_for_notes(made, "a")
    assert re.search(rf"\[notice\] .*lua: \S+:{line}: <<a>>\t1, client", made.log()), made.log()


@pytest.mark.parametrize("stage", ["request", "response"])
def test_a_script_answers_with_444(simple, stage):
    made = simple(location=f"access_log <dir>/access.log; {stage}_by_lua_block {{ return flow:respond{{ status = 444 }} }}")
    with Client(made.port) as client:
        client.request("/")
        assert client.read_rest() == b""
    [line] = made.log_lines("access.log", 1)
    assert " 444 0 " in line


def test_a_reload_replaces_a_first_configuration_whose_init_hooks_wait(proxy):
    made = proxy(serving("first", init=WAITING), wait=False)
    wait_for_notes(made, "waits")
    made.reload(whole(serving("second")))
    # Until then, connections wait to be accepted.
    assert made.fetch("/").text == "second"


def test_quit_does_not_wait_for_the_init_hooks_of_a_reload(proxy):
    made = proxy(serving("first"), values={"more": ports.free_port()})
    made.reload(whole(serving("second", "more", init=WAITING)))
    wait_for_notes(made, "waits")
    made.signal(signal.SIGQUIT)
    assert made.wait_exit() == 0


def test_init_hooks_of_a_reload_know_what_time_it_is(proxy):
    made = proxy(serving("first"))
    time.sleep(2.5)
    made.reload(whole(serving(
        "second", init="init_by_lua_block { " + note("tostring(os.time() - sy.now() < 1.5)") + " }")))
    wait_for_notes(made, "true")


def test_the_last_tunnels_close_hooks_are_waited_for(tunnel):
    made = tunnel("access_log <dir>/access.log; close_by_lua_block { sy.sleep(0.3) " + note("'closed'") + " }"
                  "log_by_lua_block { " + note("'logged'") + " }")
    with made.open() as socket:
        made.signal(signal.SIGQUIT)
        assert closing(socket) == (1001, "")
    assert made.wait_exit() == 0
    assert notes(made) == ["closed", "logged"]
    made.log_lines("access.log", 1)


def test_a_tunnel_whose_close_hooks_are_given_up_is_logged(tunnel):
    made = tunnel("access_log <dir>/access.log; close_by_lua_block { " + note("'waits'") + " sy.sleep(600) }")
    with made.open() as socket:
        socket.close()
    wait_for_notes(made, "waits")
    made.signal(signal.SIGTERM)
    assert made.wait_exit() == 0
    made.log_lines("access.log", 1)


def test_a_fault_in_a_block_carries_the_configurations_line(simple):
    made = simple(location="", start=False)
    text = made.config_path.read_text()
    made.config_path.write_text(text.replace("location / {", 'location / {\nrequest_by_lua_block {\n  local a = "}"\n  x x\n}\n'))
    line = 1 + made.config_path.read_text().split("  x x")[0].count("\n")
    tested = made.run("-t")
    assert tested.returncode != 0
    assert f"proxy.conf:{line}: " in tested.stderr


def test_an_open_tunnel_survives_reloads_with_its_script(tunnel, tmp_path):
    script = tmp_path / "plugin.lua"
    made_of = ("return { open = function(flow) flow.ctx.word = %r end, close = function(flow) "
               + note("flow.ctx.word .. ' closed'") + " end }")
    script.write_text(made_of % "old")
    made = tunnel(f"plugin {script};")
    with made.open() as socket:
        for number in range(3):
            script.write_text(made_of % f"new{number}")
            made.reload()
            time.sleep(0.3)
            socket.send("still here")
            assert socket.recv(5) == "still here"
    wait_for_notes(made, "old closed")
    with made.open() as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"
    wait_for_notes(made, "old closed", "new2 closed")


def test_a_waiting_hook_survives_a_reload(simple):
    made = simple(location="request_by_lua_block { sy.sleep(1) }")
    with Client(made.port) as client:
        client.request("/")
        time.sleep(0.2)
        made.reload()
        assert client.read_response().status == 200


# Errors


@pytest.mark.parametrize("stage", ["request", "upgrade", "response"])
@pytest.mark.parametrize("waits", ["", "sy.sleep(0.01) "], ids=["at once", "after a wait"])
def test_an_error_before_the_upgrade_is_a_500(tunnel, stage, waits):
    made = tunnel(f"{stage}_by_lua_block {{ {waits}error('broken') }}")
    with pytest.raises(InvalidStatus) as refused:
        made.open()
    assert refused.value.response.status_code == 500
    assert b"broken" not in (refused.value.response.body or b"")
    log = made.log()
    assert re.search(rf"{stage} hook of .*proxy\.conf:\d+ failed: .*proxy\.conf:\d+: broken", log)
    assert "stack traceback:" in log and "exchange " in log


@pytest.mark.parametrize("waits", ["", "sy.sleep(0.01) "], ids=["at once", "after a wait"])
def test_an_error_after_the_upgrade_closes_with_1011(tunnel, waits):
    made = tunnel(f"open_by_lua_block {{ {waits}error('broken') }}")
    with made.open() as socket:
        assert closing(socket)[0] == 1011


@pytest.mark.parametrize("stage", ["request", "upgrade", "response", "open", "close", "log"])
@pytest.mark.parametrize("waits", ["", "sy.sleep(0.01) "], ids=["at once", "after a wait"])
def test_lua_on_error_open_goes_on(tunnel, stage, waits):
    made = tunnel(f"lua_on_error open; {stage}_by_lua_block {{ {waits}error('broken') }}")
    with made.open() as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"
    wait_for(lambda: "broken" in made.log(), 5, "the message")


def test_an_error_in_a_request_body_hook(simple):
    made = simple(location="request_body_by_lua_block { error('broken') }")
    assert made.fetch("/", method="POST", body=b"a body").status == 500
    assert made.fetch("/").status in (200, 500)


def test_an_error_in_a_response_body_hook_breaks_the_response_off(simple):
    made = simple(location="response_body_by_lua_block { if chunk:find('2') then error('broken') end }")
    made.backend.answer = [reply(headers=[("Content-Length", "2")], body=b"1", length=False), 0.1, b"2"]
    with Client(made.port) as client:
        client.request("/")
        assert b"\r\n0\r\n" not in client.read_rest()


@pytest.mark.parametrize("value", [
    "{ code = 7 }", "nil", "7", "setmetatable({}, { __tostring = function() return 'shown' end })",
    "setmetatable({}, { __tostring = function() error('again') end })", "print", "flow"])
def test_an_error_may_be_any_value(simple, value):
    made = simple(location=f"request_by_lua_block {{ error({value}) }}", server="location = /calm { return 200 calm; }")
    for _ in range(20):
        assert made.fetch("/").status == 500
    assert "request hook of" in made.log()
    if "shown" in value:
        assert "shown" in made.log()
    assert made.fetch("/calm").status == 200


def test_an_error_in_a_log_hook_harms_nobody(simple):
    made = simple(location="log_by_lua_block { error('broken') }")
    with Client(made.port) as client:
        for _ in range(10):
            assert client.fetch("/").status == 200
    wait_for(lambda: made.log().count("broken") >= 10, 5, "the messages")


def test_log_hooks_outlive_their_client(simple):
    made = simple(location="log_by_lua_block { sy.sleep(0.2) " + note("flow.req.path .. flow.res.status") + "}")
    assert made.fetch("/a").status == 200
    assert made.fetch("/b").status == 200
    wait_for(lambda: sorted(notes(made)) == ["/a200", "/b200"], 5, "the notes")


@pytest.mark.parametrize("wait_call", ["sy.sleep(30)", "flow.req:body()", "sy.fetch{ url = 'http://<hole>/' }"])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_client_that_vanishes_cancels_its_hook(simple, backends, wait_call, way):
    hole = backends(program=lambda connection: time.sleep(20))
    made = simple(location=f"""request_by_lua_block {{
        local guard <close> = setmetatable({{}}, {{ __close = function() {note("'cancelled'")} end }})
        {note("'waits'")}
        {wait_call}
        {note("'never'")}
    }} log_by_lua_block {{ {note("'log'")} }}""", values={"hole": hole})
    client = Client(made.port)
    client.request("/", method="POST", headers=[("Content-Length", "10")])
    wait_for_notes(made, "waits")
    getattr(client, way)()
    wait_for_notes(made, "waits", "cancelled", "log")


@pytest.mark.parametrize("stage", ["request", "upgrade", "response", "open"])
def test_a_client_that_vanishes_cancels_hooks_of_a_tunnel(tunnel, stage):
    made = tunnel(f"""{stage}_by_lua_block {{
        local guard <close> = setmetatable({{}}, {{ __close = function() {note("'cancelled'")} end }})
        {note("'waits'")}
        sy.sleep(30)
        {note("'never'")}
    }} log_by_lua_block {{ {note("'log'")} }}""")
    client = Client(made.port)
    client.send(handshake())
    wait_for_notes(made, "waits")
    client.reset()
    wait_for_notes(made, "waits", "cancelled", "log")


@pytest.mark.parametrize("asks", ["", "local _ = flow.var.x"])
def test_a_variable_is_that_of_the_location_that_a_request_is_sent_to(simple, asks):
    made = simple(server="location /b { set_by_lua_block $x { sy.log.info('<<b>>') return 'b' }"
                  " request_by_lua_block { return flow:respond{ body = flow.var.x .. flow.var.x } } }",
                  location="set_by_lua_block $x { return 'a' } request_by_lua_block { "
                  + asks + " return flow:internal_redirect('/b') }")
    assert made.fetch("/").body == b"bb"
    assert notes(made) == ["b"]


@pytest.mark.parametrize("wait", ["sy.sleep(0.3)", "sy.sleep(0.1) sy.sleep(0.2)"])
def test_log_hooks_that_wait_outlive_reloads(simple, wait):
    made = simple(http="lua_shared_dict d 32k;", server="location = /count {"
                  " request_by_lua_block { return flow:respond{ body = tostring(sy.shared.d:get('n')) } } }",
                  location="request_by_lua_block { return flow:respond{ body = 'ok' } }"
                  " log_by_lua_block { " + wait + " sy.shared.d:incr('n', 1, 0) }")
    for round in range(4):
        with Client(made.port) as client:
            for _ in range(20):
                assert client.fetch("/").body == b"ok"
        made.reload()
        wait_for(lambda: f"configuration {round + 2} runs" in made.log(), 5, "the next configuration")
    wait_for(lambda: made.fetch("/count").body == b"80", 5, "80 log hooks")
    # A shutdown waits for those of former configurations as well.
    with Client(made.port) as client:
        assert client.fetch("/").body == b"ok"
    made.reload()
    time.sleep(0.1)
    made.signal(signal.SIGQUIT)
    made.process.wait(5)
    assert "[error]" not in made.log()


@pytest.mark.parametrize("ping", [
    "flow.client:ping()", "flow:after(0, function() busy() flow.client:ping() end)",
    "flow.client:ping('own') flow.client:ping() flow.client:send('x')"])
def test_a_ping_to_a_client_that_has_gone_harms_nobody(tunnel, ping):
    # That it has gone is found by sending to it, while the hook runs.
    made = tunnel("""message_by_lua_block {
        if msg.data == "ok" or msg.from == "upstream" then return end
        function busy() local began = os.clock() while os.clock() - began < 0.02 do end end
        busy() """ + ping + """
    } close_by_lua_block { sy.sleep(0.001) }""")
    for _ in range(8):
        client = Client(made.port)
        client.send(handshake())
        assert client.read_response_head().status == 101
        client.send(frame(b"x", masked=True))
        time.sleep(0.008)
        client.reset()
        with made.open() as other:
            for _ in range(3):
                other.send("ok")
                assert other.recv(5) == "ok"
    assert "[error]" not in made.log() and "[alert]" not in made.log()


@pytest.mark.parametrize("stage", ["request_body", "response_body"])
def test_a_client_that_vanishes_cancels_hooks_of_a_body(simple, stage):
    made = simple(location=f"""{stage}_by_lua_block {{
        local guard <close> = setmetatable({{}}, {{ __close = function() {note("'cancelled'")} end }})
        sy.sleep(30)
    }} log_by_lua_block {{ {note("'log'")} }}""")
    client = Client(made.port)
    client.request("/", method="POST", body=b"a body")
    time.sleep(0.3)
    client.reset()
    wait_for_notes(made, "cancelled", "log")


def test_a_flow_that_is_kept_is_nobody_elses(simple):
    made = simple(location="""request_by_lua_block {
        local path = flow.req.path
        if path == "/keep" then kept, headers = flow, flow.req.headers
        elseif path == "/field" then return flow:respond{ status = 200, body = kept.req.path }
        elseif path == "/headers" then return flow:respond{ status = 200, body = headers["X-Secret"] or "none" }
        elseif path == "/write" then headers["X-Secret"] = "stolen"
        elseif path == "/call" then kept:respond{ status = 200, body = "stolen" }
        elseif path == "/timer" then kept:after(0, function() end)
        end
    }""")
    assert made.fetch("/keep").status == 200
    for path in ("/field", "/headers", "/write", "/call", "/timer"):
        assert made.fetch(path, headers=[("X-Secret", "mine")]).status == 500
    assert len(re.findall(r"request hook of .* failed: .*exchange", made.log())) == 5
    assert made.fetch("/other").status == 200
