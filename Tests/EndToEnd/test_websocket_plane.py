"""The WebSocket plane in a running proxy, before and behind python `websockets`: hooks for messages and frames, pings,
permessage-deflate by leg, idle timeouts, drains, what scripts send, and what logs say.

Each test is made twice: with clients that speak HTTP/1.1, and with the same over HTTP/2, where their WebSockets are
streams of one connection (RFC 8441)."""

import contextlib
import os
import re
import signal
import socket
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from harness.http2 import Bridge
from harness.websocket import WEBSOCKET, WebSocketServer, frame, handshake, opened, switching
from harness.wire import Client, wait_for
from proof import watch

pytestmark = pytest.mark.switchyard_only


async def handler(connection):
    """Echoes; obeys a few words."""
    async for message in connection:
        if message == "extensions":
            await connection.send(connection.response.headers.get("Sec-WebSocket-Extensions", "none"))
        elif message == "vanish":
            connection.transport.abort()
        elif isinstance(message, str) and message.startswith("close "):
            await connection.close(int(message.split()[1]), "as you wish")
        else:
            await connection.send(message)


@pytest.fixture(scope="module")
def server():
    with WebSocketServer(handler) as made:
        yield made


@pytest.fixture
def stack():
    """Tunnels that a test holds open."""
    with contextlib.ExitStack() as made:
        yield made


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def simple(simple, request, stack):
    """As everywhere, and with the port that clients of the proxy connect to."""

    def make(location="", server="", **rest):
        over_http2 = request.param == "HTTP/2"
        made = simple(location=location, server=("http2 on; " if over_http2 else "") + server, **rest)
        made.client_port = stack.enter_context(Bridge(made.port)).port if over_http2 else made.port
        return made

    return make


@pytest.fixture
def tunnel(simple, server, stack):
    """A proxy before `server` with `location` text, and ways to open a tunnel through it, and to hold one."""

    def make(location="", backend=server, workers=1, **rest):
        made = simple(location=WEBSOCKET + location, values={"backend": backend}, start=False, **{
            key: value for key, value in rest.items() if key != "start"})
        if workers > 1:
            text = made.config_path.read_text()
            made.config_path.write_text(text.replace("worker_processes 1;", f"worker_processes {workers};"))
        if rest.get("start", True):
            made.start()
        made.open = lambda path="/", **options: connect(
            f"ws://127.0.0.1:{made.client_port}{path}", **{"compression": None, "ping_interval": None, **options})
        made.hold = lambda path="/": stack.enter_context(made.open(path))
        return made

    return make


def closing(socket, within=5.0):
    """Code and reason by which the peer closes."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(within)
    return closed.value.rcvd.code, closed.value.rcvd.reason


def exchange(socket, *messages):
    """Sends each, and receives as many."""
    for message in messages:
        socket.send(message)
    return [socket.recv(5) for _ in messages]


# Hooks


def test_messages_pass_are_dropped_replaced_and_split(tunnel):
    made = tunnel("""message_by_lua_block {
        if msg.from == "upstream" then return end
        if msg.data == "drop" then return false end
        if msg.data == "replace" then return "replaced" end
        if msg.data == "assign" then msg.data = "assigned" return end
        if msg.data == "split" then return { "one", "two", "three" } end
    }""")
    with made.open() as socket:
        for word in ("pass", "drop", "replace", "assign", "split", b"\x00\xff"):
            socket.send(word)
        received = [socket.recv(5) for _ in range(7)]
    assert received == ["pass", "replaced", "assigned", "one", "two", "three", b"\x00\xff"]


def test_hooks_see_whole_messages_of_both_sides(tunnel):
    made = tunnel("""message_by_lua_block {
        sy.log.info(("<<%s %s %d %s>>"):format(msg.from, msg.type, msg.size, tostring(msg.injected)))
    }""")
    with made.open() as socket:
        socket.send(["a" * 1000, "b" * 70000, "c"])
        assert len(socket.recv(5)) == 71001
        socket.send(b"")
        assert socket.recv(5) == b""
    assert re.findall("<<(.*?)>>", made.log()) == [
        "client text 71001 false", "upstream text 71001 false", "client binary 0 false", "upstream binary 0 false"]


def test_filters_keep_the_rest_out_of_lua(tunnel, tmp_path):
    (tmp_path / "filtered.lua").write_text("""
        return { message = { from = "client", type = "text", max_size = 10, run = function(flow, msg)
            return "<" .. msg.data .. ">"
        end } }""")
    made = tunnel(f"plugin {tmp_path}/filtered.lua;")
    with made.open() as socket:
        assert exchange(socket, "short", b"short", "longer than that", "0123456789") == [
            "<short>", b"short", "longer than that", "<0123456789>"]


@pytest.mark.parametrize("table, what", [
    ('from = "server"', 'from = "server"'), ('type = "ping"', 'type = "ping"'), ("max_size = -1", "max_size = -1"),
    ("size = 4", '"size"')])
def test_a_wrong_filter_is_an_error_of_the_configuration(tunnel, tmp_path, table, what):
    (tmp_path / "wrong.lua").write_text("return { message = { %s, run = function() end } }" % table)
    made = tunnel(f"plugin {tmp_path}/wrong.lua;", start=False)
    tested = made.run("-t")
    assert tested.returncode != 0
    assert "wrong.lua" in tested.stderr and f"message: found {what}" in tested.stderr


def test_order_holds_while_hooks_wait_and_the_other_direction_goes_on(tunnel):
    made = tunnel("""message_by_lua_block {
        if msg.from == "client" and msg.data:sub(1, 4) == "slow" then sy.sleep(0.3) end
        if msg.data == "tick" then flow.client:send("tock") end
    }""")
    with made.open() as socket:
        started = time.monotonic()
        for word in ("slow 1", "2", "slow 3", "4"):
            socket.send(word)
        assert [socket.recv(5) for _ in range(4)] == ["slow 1", "2", "slow 3", "4"]
        # Timers count in whole milliseconds.
        assert time.monotonic() - started >= 0.59


def test_a_script_sends_either_way_and_from_timers(tunnel):
    made = tunnel("""
        open_by_lua_block {
            flow.client:send("welcome")
            flow:after(0.05, function(flow) flow.upstream:send("from a timer") flow.client:send_binary("\\0bin") end)
        }
        message_by_lua_block {
            if msg.data == "both" and msg.from == "client" then
                flow.client:send("to the client") flow.upstream:send("to the upstream")
            end
        }""")
    with made.open() as socket:
        assert socket.recv(5) == "welcome"
        received = {socket.recv(5) for _ in range(2)}
        assert received == {"from a timer", b"\x00bin"}
        socket.send("both")
        assert [socket.recv(5) for _ in range(3)] == ["to the client", "to the upstream", "both"]


def test_what_is_sent_is_marked_for_later_hooks_alone(tunnel, tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.lua").write_text(f"""
            return {{ message = function(flow, msg)
                if msg.from == "client" then
                    sy.log.info("<<{name} " .. msg.data .. " " .. tostring(msg.injected) .. ">>")
                    if "{name}" == "first" and not msg.injected then flow.upstream:send("extra") end
                end
            end }}""")
    made = tunnel(f"plugin {tmp_path}/first.lua; plugin {tmp_path}/second.lua;")
    with made.open() as socket:
        socket.send("own")
        assert [socket.recv(5) for _ in range(2)] == ["extra", "own"]
    assert re.findall("<<(.*?)>>", made.log()) == [
        "first own false", "second own false", "second extra true"]


def test_what_is_published_is_seen_by_later_hooks_alone(tunnel, tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.lua").write_text(f"""
            return {{
                open = function(flow) flow:tag("all") end,
                message = function(flow, msg)
                    if msg.injected then sy.log.info("<<{name} " .. msg.data .. " " .. msg.from .. ">>") end
                    if "{name}" == "first" then sy.publish("all", "extra") end
                end,
            }}""")
    made = tunnel(f"plugin {tmp_path}/first.lua; plugin {tmp_path}/second.lua;")
    with made.open() as socket, made.open() as other:
        socket.send("own")
        assert sorted(socket.recv(5) for _ in range(3)) == ["extra", "extra", "own"]
        assert [other.recv(5) for _ in range(2)] == ["extra", "extra"]
    assert re.findall("<<(.*?)>>", made.log()) == ["second extra upstream"] * 4


def test_a_later_hook_that_waits_with_what_was_sent_keeps_the_order(tunnel, tmp_path):
    (tmp_path / "first.lua").write_text("""
        return { message = { from = "client", run = function(flow, msg)
            flow.upstream:send("before " .. msg.data)
            if msg.data == "b" then sy.sleep(0.01) end
            if msg.data == "c" then return { "c", "c!" } end
        end } }""")
    (tmp_path / "second.lua").write_text("""
        return { message = { from = "client", run = function(flow, msg)
            if msg.injected then sy.sleep(0.05) end
        end } }""")
    made = tunnel(f"plugin {tmp_path}/first.lua; plugin {tmp_path}/second.lua;")
    with made.open() as socket:
        for text in "abc":
            socket.send(text)
        assert [socket.recv(5) for _ in range(7)] == [
            "before a", "a", "before b", "b", "before c", "c", "c!"]


@pytest.mark.parametrize("wait", ["", "sy.sleep(0.02)"])
def test_what_a_hook_sends_goes_before_a_piece_or_what_was_sent(tunnel, tmp_path, wait):
    (tmp_path / "first.lua").write_text("""return { message = { from = "client", run = function(flow, msg)
        if msg.data == "go" then flow.upstream:send("a1") end
        if msg.data == "split" then return { "s1", "s2" } end
    end } }""")
    (tmp_path / "second.lua").write_text(f"""return {{ message = {{ from = "client", run = function(flow, msg)
        {wait} flow.upstream:send("c-" .. msg.data)
    end }} }}""")
    made = tunnel(f"plugin {tmp_path}/first.lua; plugin {tmp_path}/second.lua;")
    with made.open() as socket:
        for word in ("go", "split"):
            socket.send(word)
        assert [socket.recv(5) for _ in range(8)] == ["c-a1", "a1", "c-go", "go", "c-s1", "s1", "c-s2", "s2"]


@pytest.mark.parametrize("policy, end", [("closed", "return"), ("open", "error('b')")])
def test_a_close_is_that_of_the_hook_that_asked_for_it(tunnel, policy, end):
    made = tunnel(f"""lua_on_error {policy}; message_by_lua_block {{
        if msg.from == "upstream" then sy.sleep(0.2) {end} end
        if msg.data == "stop" then flow:close(4001, "x") sy.sleep(0.6) end
    }}""")
    with made.open() as socket:
        socket.send("late")
        socket.send("stop")
        assert socket.recv(5) == "late"
        assert closing(socket) == (4001, "x")


def test_a_hook_closes_both_sides(tunnel):
    made = tunnel("message_by_lua_block { return flow:close(4003, 'enough') }")
    with made.open() as socket:
        socket.send("x")
        assert closing(socket) == (4003, "enough")


def test_a_script_closes_one_side_with_a_code_of_its_own(tunnel):
    made = tunnel("message_by_lua_block { flow.client:close(4004, 'you') }")
    with made.open() as socket:
        socket.send("x")
        assert closing(socket) == (4004, "you")


@pytest.mark.parametrize("policy, outcome", [("closed", "closed"), ("open", "goes on")])
def test_a_faulty_hook_ends_its_own_tunnel_alone(tunnel, policy, outcome):
    made = tunnel(f"lua_on_error {policy}; message_by_lua_block {{ if msg.data == 'bad' then error('oh') end }}")
    with made.open() as other, made.open() as socket:
        socket.send("bad")
        if outcome == "closed":
            assert closing(socket) == (1011, "")
        else:
            assert socket.recv(5) == "bad"
        assert exchange(other, "still here") == ["still here"]
    assert re.search(r"lua: message hook of .*proxy.conf:\d+ failed: .*: oh\n\tstack traceback:", made.log())


@pytest.mark.parametrize("fault", ["error('x')", "sy.sleep(0.01) error('x')", "return print", "return { {} }"])
def test_what_a_faulty_hook_assigned_is_not_applied(tunnel, tmp_path, fault):
    (tmp_path / "faulty.lua").write_text(f"""return {{ message = {{ from = "client", run = function(flow, msg)
        if msg.data == "bad" then msg.data = "CHANGED" {fault} end
        msg.data = msg.data .. "!"
    end }} }}""")
    (tmp_path / "next.lua").write_text("""return { message = { from = "client", run = function(flow, msg)
        sy.log.info("<<" .. msg.data .. ">>")
    end } }""")
    made = tunnel(f"lua_on_error open; plugin {tmp_path}/faulty.lua; plugin {tmp_path}/next.lua;")
    with made.open() as socket:
        assert exchange(socket, "bad", "good") == ["bad", "good!"]
    assert re.findall("<<(.*?)>>", made.log()) == ["bad", "good!"]


def test_frames_are_seen_as_on_the_wire(tunnel):
    made = tunnel("""frame_by_lua_block {
        sy.log.info(("<<%s %s %s %d %s>>"):format(
            frame.from, frame.type, tostring(frame.fin), frame.size, tostring(frame.code)))
        if frame.type == "continuation" and frame.from == "client" then return frame.data:upper() end
    }""")
    with made.open() as socket:
        socket.send(["one ", "two"])
        assert socket.recv(5) == "one TWO"
        assert socket.ping(b"p").wait(5)
        socket.close(4000, "done")
    wait_for(lambda: made.log().count("close true") == 2, what="both close frames")
    seen = re.findall("<<(.*?)>>", made.log())
    assert seen[:3] == ["client text false 4 nil", "client continuation false 3 nil",
                        "client continuation true 0 nil"]
    assert "client ping true 1 nil" in seen and "upstream pong true 1 nil" in seen
    assert "client close true 6 4000" in seen


@pytest.mark.parametrize("result", [r"'\xff\xfe'", r"{ '\xe2', '\x82' }"])
def test_a_text_frame_that_a_hook_spoils_is_the_hooks_error(tunnel, result):
    made = tunnel(f"frame_by_lua_block {{ if frame.type == 'text' and frame.from == 'client' then return {result} end }}")
    with made.open() as socket:
        socket.send("x")
        assert closing(socket) == (1011, "")
    assert re.search(r"lua: frame hook of .*proxy.conf:\d+ failed: the text is not UTF-8", made.log())


def test_a_character_may_be_cut_between_the_frames_that_a_hook_returns(tunnel):
    made = tunnel(r"frame_by_lua_block { if frame.from == 'client' and frame.data == 'euro' then return { '\xe2\x82', '\xac' } end }")
    with made.open() as socket:
        assert exchange(socket, "euro") == ["€"]
        socket.send(["eu", "ro"])
        assert socket.recv(5) == "euro"


def test_a_close_frame_that_a_hook_spoils_is_the_hooks_error(tunnel):
    made = tunnel("frame_by_lua_block { if frame.type == 'close' and frame.from == 'client' then return 'bye' end }")
    with made.open() as socket:
        socket.close(1000)
        assert socket.protocol.close_rcvd.code == 1011
    assert re.search(
        r"lua: frame hook of .*proxy.conf:\d+ failed: found what no close frame may say: invalid close code",
        made.log())


# Liveness


def test_pings_keep_a_tunnel_open_past_the_read_timeout_and_are_not_passed_on(tunnel):
    made = tunnel("proxy_read_timeout 400ms; websocket_ping_interval 100ms; websocket_pong_timeout 2s;",
                  http="log_format w '$websocket_rtt_client $websocket_rtt_upstream $websocket_close_code';"
                       "access_log <dir>/access.log w;")
    with made.open() as socket:
        time.sleep(1.2)
        assert exchange(socket, "alive") == ["alive"]
    client, upstream, code = made.log_lines("access.log", 1)[0].split()
    assert 0 < int(client) < 1_000_000 and 0 < int(upstream) < 1_000_000 and code == "1000"


def raw_tunnel(made, target="/ws/"):
    return opened(made.client_port, target, timeout=20)


def read_frame(client):
    """(opcode, payload) of the next frame from the proxy, to either side."""
    first, second = client.read_exactly(2)
    length = second & 127
    if length >= 126:
        length = int.from_bytes(client.read_exactly(2 if length == 126 else 8), "big")
    key = client.read_exactly(4) if second & 128 else bytes(4)
    return first & 15, bytes(byte ^ key[index % 4] for index, byte in enumerate(client.read_exactly(length)))


def read_close(client):
    while True:
        opcode, payload = read_frame(client)
        if opcode == 8:
            return int.from_bytes(payload[:2], "big"), payload[2:].decode()


class DeafUpstream:
    """Switches protocols and never answers anything; keeps what it is sent."""

    def __init__(self, backend):
        self.received = bytearray()
        self.ended = threading.Event()
        backend.program = self.serve

    def serve(self, connection):
        request = connection.next_request()
        connection.sock.settimeout(None)
        connection.send(switching(request.get("sec-websocket-key")))
        self.read(connection)

    def read(self, connection):
        while connection.fill():
            self.received += connection.buffer
            connection.buffer.clear()
        self.ended.set()

    def close_code(self):
        """Of the close frame at the end of what came, which are control frames alone."""
        at = 0
        while self.received[at] != 0x88:
            at += 6 + (self.received[at + 1] & 0x7F)
        key = self.received[at + 2:at + 6]
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(self.received[at + 6:]))
        return int.from_bytes(payload[:2], "big")


@pytest.mark.clocked
def test_a_dead_upstream_is_found_and_the_client_told(simple, backend):
    DeafUpstream(backend)
    made = simple(location=WEBSOCKET + "websocket_ping_interval 200ms; websocket_pong_timeout 300ms;"
                                       "websocket_ping_to upstream;")
    with raw_tunnel(made) as client:
        started = time.monotonic()
        assert read_close(client) == (1014, "upstream: ping timeout")
        assert time.monotonic() - started < 1.5


def test_a_dead_client_is_found_and_the_upstream_told(simple, backend):
    upstream = DeafUpstream(backend)
    made = simple(location=WEBSOCKET + "websocket_ping_interval 200ms; websocket_pong_timeout 300ms;"
                                       "websocket_ping_to client; websocket_close_timeout 500ms;")
    with raw_tunnel(made):
        assert upstream.ended.wait(5)
    assert upstream.close_code() == 1011


def test_a_vanished_upstream_is_no_bare_end_of_file(tunnel):
    made = tunnel("websocket_ping_interval 20s;")
    with made.open() as socket:
        socket.send("vanish")
        assert closing(socket) == (1014, "upstream: the connection was lost")


def test_a_vanished_client_is_told_to_the_upstream(simple, backend):
    upstream = DeafUpstream(backend)
    made = simple(location=WEBSOCKET + "websocket_ping_interval 20s; websocket_close_timeout 300ms;")
    raw_tunnel(made).sock.close()
    assert upstream.ended.wait(5)
    assert upstream.close_code() == 1011


def go(client, going):
    if going == "reset":
        client.reset()
    else:
        client.sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("stage", ["message", "frame"])
@pytest.mark.parametrize("going", ["reset", "end"])
def test_a_client_that_goes_ends_the_wait_of_a_hook(simple, backend, stage, going):
    upstream = DeafUpstream(backend)
    made = simple(location=WEBSOCKET + f"""{stage}_by_lua_block {{
        local guard <close> = setmetatable({{}}, {{ __close = function() sy.log.warn("<ended>") end }})
        sy.log.warn("<waits>")
        sy.sleep(30)
    }} websocket_close_timeout 300ms;""")
    with raw_tunnel(made) as client:
        client.send(frame(b"m", masked=True))
        wait_for(lambda: "<waits>" in made.log(), 5, "a hook that waits")
        go(client, going)
        wait_for(lambda: "<ended>" in made.log(), 5, "the end of the wait")
    assert upstream.ended.wait(5)
    assert upstream.close_code() == 1011


@pytest.mark.parametrize("stage", ["message", "frame"])
@pytest.mark.parametrize("going", ["reset", "end"])
def test_a_client_that_goes_ends_the_wait_of_a_hook_with_what_is_for_it(simple, backend, stage, going):
    ended = threading.Event()

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")) + frame(b"m"))
        connection.sock.settimeout(20)
        while not connection.buffer.startswith(b"\x88") and connection.fill():
            pass
        connection.send(b"\x88\x02" + (1011).to_bytes(2, "big"))
        connection.fill()
        ended.set()

    backend.program = program
    made = simple(location=WEBSOCKET + f"""{stage}_by_lua_block {{
        if {"msg" if stage == "message" else "frame"}.type ~= "text" then return end
        local guard <close> = setmetatable({{}}, {{ __close = function() sy.log.warn("<ended>") end }})
        sy.log.warn("<waits>")
        sy.sleep(30)
        sy.log.warn("<went on>")
    }} websocket_close_timeout 30s;""")
    with raw_tunnel(made) as client:
        wait_for(lambda: "<waits>" in made.log(), 5, "a hook that waits")
        go(client, going)
        wait_for(lambda: "<ended>" in made.log(), 5, "the end of the wait")
        assert ended.wait(5)
    assert "<went on>" not in made.log()


@pytest.mark.parametrize("stage", ["message", "frame"])
def test_a_clients_end_ends_the_wait_of_a_hook(simple, backend, stage):
    upstream = DeafUpstream(backend)
    made = simple(location=WEBSOCKET + f"""{stage}_by_lua_block {{
        local guard <close> = setmetatable({{}}, {{ __close = function() sy.log.warn("<ended>") end }})
        sy.sleep(30)
    }} websocket_close_timeout 300ms;""")
    with raw_tunnel(made) as client:
        client.send(frame(b"m", masked=True))
        client.finish()
        wait_for(lambda: "<ended>" in made.log(), 5, "the end of the wait")
    assert upstream.ended.wait(5)
    assert upstream.close_code() == 1011


@pytest.mark.parametrize("stage", ["message", "frame"])
def test_what_a_client_sent_before_its_end_is_heard_however_long_hooks_wait(simple, backend, stage):
    heard = []

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")))
        while connection.fill():
            pass
        heard.append(bytes(connection.buffer))

    backend.program = program
    made = simple(location=WEBSOCKET + f"{stage}_by_lua_block {{ sy.sleep(0.1) }} websocket_close_timeout 300ms;")
    with raw_tunnel(made) as client:
        client.send(b"".join(frame(word, masked=True) for word in (b"one", b"two", b"three"))
                    + frame(BYE, opcode=8, masked=True))
        client.finish()
        assert read_close(client) == (1000, "bye")
    wait_for(lambda: heard, 5, "the upstream's end")
    rest, words = heard[0], []
    while rest:
        length = rest[1] & 127
        key, body = rest[2:6], rest[6:6 + length]
        words.append(bytes(byte ^ key[index % 4] for index, byte in enumerate(body)))
        rest = rest[6 + length:]
    assert words == [b"one", b"two", b"three", BYE]


def test_a_client_that_takes_nothing_is_given_up_and_the_upstream_told(simple, backend):
    upstream = DeafUpstream(backend)

    def flood(connection):
        request = connection.next_request()
        connection.sock.settimeout(10)
        connection.send(switching(request.get("sec-websocket-key")))
        reader = threading.Thread(target=upstream.read, args=[connection])
        reader.start()
        try:
            for _ in range(1000):
                connection.send(frame(b"x" * 100_000, opcode=2))
        except OSError:
            pass
        reader.join(10)

    backend.program = flood
    made = simple(location=WEBSOCKET + "send_timeout 500ms; websocket_ping_interval 20s; websocket_close_timeout 300ms;")
    with raw_tunnel(made):
        assert upstream.ended.wait(10)
    assert upstream.close_code() == 1011


@pytest.mark.clocked
def test_idle_tunnels_end_with_1001(tunnel):
    made = tunnel("websocket_idle_timeout 300ms messages; websocket_ping_interval 50ms;")
    with made.open() as socket:
        started = time.monotonic()
        for _ in range(4):
            time.sleep(0.15)
            assert exchange(socket, "busy") == ["busy"]
        assert closing(socket) == (1001, "idle")
        assert 0.8 < time.monotonic() - started < 3


def test_the_read_timeout_ends_a_followed_tunnel_by_close_frames(tunnel):
    made = tunnel("proxy_read_timeout 300ms; websocket_max_message 1m;")
    with made.open() as socket:
        assert closing(socket) == (1001, "nothing came within proxy_read_timeout")


def test_a_script_measures_the_round_trip(tunnel):
    made = tunnel("""message_by_lua_block {
        if msg.from == "client" then
            local client, upstream = flow.client:ping("mine"), flow.upstream:ping()
            return ("%s %s"):format(client > 0 and client < 1, upstream > 0 and upstream < 1)
        end
    }""")
    with made.open() as socket:
        assert exchange(socket, "measure") == ["true true"]


class HeldUpstream:
    """Switches protocols, and leaves each connection, by its target, to the test; answers what asks for no upgrade."""

    def __init__(self, backend, answer=b""):
        self.connections = {}
        self.answer = answer
        self.over = threading.Event()
        backend.program = self.serve

    def serve(self, connection):
        request = connection.next_request()
        if "sec-websocket-key" not in request:
            return connection.send(self.answer)
        connection.send(switching(request.get("sec-websocket-key")))
        self.connections[request.target] = connection
        self.over.wait(20)

    def read(self, target):
        """The next frame's payload."""
        return read_frame(self.connections[target])[1]


WAITS_FOR_A_PONG = """
    open_by_lua_block { if flow.req.path == "/b" then flow:tag("b") end }
    message_by_lua_block {
        if msg.data == "wait" then flow.upstream:ping("p") end
        if msg.data == "close" then for _, other in ipairs(sy.flows{ tag = "b" }) do other:close(4000) end end
    }
    response_by_lua_block {
        if flow.req.path == "/http" then for _, other in ipairs(sy.flows{ tag = "b" }) do other:close(4000) end end
    }"""


@pytest.fixture
def held(simple, backend):
    upstream = HeldUpstream(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n" + b"y" * 60)
    made = simple(location=WEBSOCKET + WAITS_FOR_A_PONG)
    clients = []

    def open_at(target):
        client = raw_tunnel(made, target)
        clients.append(client)
        wait_for(lambda: target in upstream.connections, what="the upstream's side")
        return client

    yield made, upstream, open_at
    upstream.over.set()
    for client in clients:
        client.close()


def test_what_lies_unread_behind_a_hook_is_read_by_nobody_else(held):
    """The answer to a hook's ping comes with messages of its side, while the client's wait for the hook."""
    made, upstream, open_at = held
    client = open_at("/a")
    client.send(frame(b"wait", masked=True))
    assert upstream.read("/a") == b"p"
    client.send(frame(b"of the client", masked=True))
    time.sleep(0.1)
    upstream.connections["/a"].send(frame(b"p", opcode=10) + frame(b"first") + frame(b"second"))
    assert [read_frame(client), read_frame(client)] == [(1, b"first"), (1, b"second")]
    assert [upstream.read("/a"), upstream.read("/a")] == [b"wait", b"of the client"]


def test_a_tunnel_that_another_closes_leaves_its_bytes_to_itself(held):
    made, upstream, open_at = held
    one, other = open_at("/a"), open_at("/b")
    other.send(frame(b"wait", masked=True))
    assert upstream.read("/b") == b"p"
    other.send(frame(b"secret of b", masked=True) * 2)
    time.sleep(0.1)
    one.send(frame(b"close", masked=True) + frame(b"hello of a ", masked=True))
    assert [upstream.read("/a"), upstream.read("/a")] == [b"close", b"hello of a "]
    assert read_close(other)[0] == 4000


def test_a_response_whose_hook_closes_a_tunnel_has_none_of_its_bytes(held):
    made, upstream, open_at = held
    other = open_at("/b")
    other.send(frame(b"wait", masked=True))
    assert upstream.read("/b") == b"p"
    other.send(frame(b"secret of b" * 30, masked=True))
    time.sleep(0.1)
    assert made.fetch("/http").body == b"y" * 60
    assert read_close(other)[0] == 4000


def test_a_session_ends_when_its_token_does(tunnel):
    made = tunnel("open_by_lua_block { flow:deadline(sy.now() + 0.3, 4001, 'token expired') }")
    with made.open() as socket:
        assert exchange(socket, "hello") == ["hello"]
        assert closing(socket) == (4001, "token expired")


# permessage-deflate


def offered():
    return {"extensions": [ClientPerMessageDeflateFactory(client_max_window_bits=True)]}


@pytest.mark.parametrize("directives, client, upstream", [
    ("", "permessage-deflate", "permessage-deflate"),
    ("websocket_deflate off;", None, "none"),
    ("websocket_deflate on client;", "permessage-deflate", "none"),
    ("websocket_deflate on upstream;", None, "permessage-deflate"),
    ("websocket_deflate on;", "permessage-deflate", "permessage-deflate"),
    ("websocket_deflate on client context_takeover=off window_bits=10;",
     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; "
     "client_max_window_bits=10", "none"),
])
@pytest.mark.parametrize("hook", ["", "message_by_lua_block { if msg.data == 'x' then return 'y' end }"])
def test_deflate_is_agreed_on_by_leg(tunnel, directives, client, upstream, hook):
    made = tunnel(directives + hook)
    with made.open(**offered()) as socket:
        answer = socket.response.headers.get("Sec-WebSocket-Extensions")
        if client is None or ";" in client:
            assert (answer and set(answer.split("; "))) == (client and set(client.split("; ")))
        else:
            assert answer.startswith(client)
        assert exchange(socket, "extensions")[0].startswith(upstream)
        texts = ["hello", "hello", "", "x" * 100_000, "grüße ☃", "x", "hello"]
        expected = ["y" if hook and text == "x" else text for text in texts]
        assert exchange(socket, *texts) == expected
        data = os.urandom(70_000)
        assert exchange(socket, data) == [data]


def test_an_inflated_message_is_capped_while_it_is_inflated(tunnel):
    made = tunnel("websocket_deflate on client; websocket_max_message 1m;")
    before = watch.peak_bytes(made.pid)
    with made.open(**offered()) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.send("0" * (200 << 20))
            socket.recv(10)
        assert closed.value.rcvd.code == 1009
    assert watch.peak_bytes(made.pid) - before < 20_000 * 1024


@pytest.mark.parametrize("mode", [
    "websocket_deflate on client;", "websocket_deflate on client; message_by_lua_block { }", "message_by_lua_block { }"])
def test_a_message_that_does_not_get_shorter_is_measured_inflated(tunnel, mode):
    made = tunnel(mode + "websocket_max_message 100k;")
    with made.open(max_size=None, **offered()) as socket:
        whole = os.urandom(100 << 10)
        socket.send(whole)
        assert socket.recv(5) == whole
        socket.send(bytes((100 << 10) + 1))
        assert closing(socket) == (1009, "message too big")


# Ends


@pytest.mark.parametrize("mode", ["websocket_ping_interval 20s;", "message_by_lua_block { }"])
def test_close_handshakes_go_both_ways(tunnel, mode):
    made = tunnel(mode, http="log_format w '$websocket_close_code'; access_log <dir>/access.log w;")
    with made.open() as socket:
        socket.send("close 4002")
        assert closing(socket) == (4002, "as you wish")
    with made.open() as socket:
        socket.close(4005, "mine")
        assert socket.protocol.close_rcvd.code == 4005
    assert made.log_lines("access.log", 2) == ["4002", "4005"]


BYE = b"\x03\xe8bye"
FOLLOWED = ["websocket_ping_interval 20s;", "message_by_lua_block { }",
            "frame_by_lua_block { if frame.type == 'close' then sy.sleep(0.05) end }"]


@pytest.mark.parametrize("mode", FOLLOWED)
def test_a_client_that_ends_its_side_behind_its_close_frame_has_the_answer(simple, backend, mode):
    asked, told = threading.Event(), threading.Event()

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")))
        assert read_close(connection) == (1000, "bye")
        asked.set()
        assert told.wait(5)
        connection.send(frame(BYE, opcode=8))
        connection.fill()

    backend.program = program
    made = simple(location=WEBSOCKET + mode + "close_by_lua_block { sy.log.warn('<', info.code, info.by, info.clean, '>') }")
    with raw_tunnel(made) as client:
        client.send(frame(BYE, opcode=8, masked=True))
        client.finish()
        assert asked.wait(5)
        told.set()
        assert read_close(client) == (1000, "bye")
        assert client.is_closed()
    wait_for(lambda: "<" in made.log(), 5, "the close hook")
    assert re.search("<\\s*1000\\s*client\\s*true\\s*>", made.log())


@pytest.mark.parametrize("mode", FOLLOWED)
def test_an_upstream_that_ends_its_side_behind_its_close_frame_has_the_answer(simple, backend, mode):
    answers = []

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")) + frame(BYE, opcode=8))
        connection.sock.shutdown(socket.SHUT_WR)
        answers.append(read_close(connection))

    backend.program = program
    made = simple(location=WEBSOCKET + mode)
    with raw_tunnel(made) as client:
        assert read_close(client) == (1000, "bye")
        client.send(frame(b"\x0f\xa0yes", opcode=8, masked=True))
        assert client.is_closed(5)
    wait_for(lambda: answers, 5, "the answer")
    assert answers == [(4000, "yes")]


def test_a_client_that_ends_its_side_behind_its_close_frame_is_told_when_time_is_over(simple, backend):
    DeafUpstream(backend)
    made = simple(location=WEBSOCKET + "websocket_ping_interval 20s; websocket_close_timeout 300ms;")
    with raw_tunnel(made) as client:
        client.send(frame(BYE, opcode=8, masked=True))
        client.finish()
        assert read_close(client) == (1000, "bye")


# What comes before an open hook has ended


@pytest.mark.parametrize("decision, code", [("return flow:close(4000, 'no')", 4000), ("error('no')", 1011)])
@pytest.mark.parametrize("waits", [False, True])
def test_an_open_hook_that_denies_holds_back_what_has_come(simple, backend, decision, code, waits):
    upstream = DeafUpstream(backend)

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")) + frame(b"secret") + frame(BYE, opcode=8))
        upstream.read(connection)

    backend.program = program
    made = simple(location=WEBSOCKET + f"""open_by_lua_block {{
        flow.client:send("to the client")
        {"sy.sleep(0.1)" if waits else ""}
        {decision}
    }} message_by_lua_block {{ sy.log.warn("<seen>" .. msg.data .. "<") }}""")
    with Client(made.client_port) as client:
        client.send(handshake() + frame(b"early", masked=True) + frame(BYE, opcode=8, masked=True))
        assert client.read_response_head().status == 101
        assert read_frame(client) == (1, b"to the client")
        assert read_close(client)[0] == code
        assert client.is_closed()
    assert upstream.ended.wait(5)
    assert upstream.close_code() == code and b"early" not in upstream.received
    assert re.findall("<seen>(.*?)<", made.log()) == ["to the client"]


@pytest.mark.parametrize("ending, code, by, status", [
    ("reset", 1006, "client", 499), ("end", 1006, "client", 499), ("timer", 4001, "proxy", 503),
    ("worker", 1006, "proxy", 101)])
@pytest.mark.parametrize("waits", [False, True])
def test_each_tunnel_that_open_hooks_began_with_has_its_close_hooks_once(simple, backend, ending, code, by, status, waits):
    upstream = DeafUpstream(backend)

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")))
        upstream.read(connection)

    backend.program = program
    made = simple(location=WEBSOCKET + f"""open_by_lua_block {{
        local guard <close> = setmetatable({{}}, {{ __close = function() sy.log.warn("<<given up>>") end }})
        sy.log.warn("<<open>>")
        {"flow:after(0.1, function() flow:close(4001, 'late') end)" if ending == "timer" else ""}
        sy.sleep(30)
    }} close_by_lua_block {{
        {"sy.sleep(0.05)" if waits and ending != "worker" else ""}
        sy.log.warn(("<<close %d %s %s>>"):format(info.code, info.by, tostring(info.clean)))
    }} log_by_lua_block {{ sy.log.warn("<<log " .. flow.res.status .. ">>") }}""")
    with Client(made.client_port) as client:
        client.send(handshake())
        wait_for(lambda: "<<open>>" in made.log(), what="a hook that waits")
        if ending == "timer":
            assert client.read_response_head().status == 503
        elif ending == "worker":
            made.signal(signal.SIGTERM)
        else:
            go(client, ending)
        wait_for(lambda: "<<log " in made.log(), what="the end")
    assert upstream.ended.wait(5)
    said = re.findall("<<(.*?)>>", made.log())
    assert said == ["open", "given up", f"close {code} {by} false", f"log {status}"]


@pytest.mark.parametrize("rest", [
    frame(b"one") + frame(b"two"), frame(b"one", final=False) + frame(b"two", opcode=0),
    frame(b"one") + frame(BYE, opcode=8)])
def test_what_an_open_hook_sends_follows_the_101_at_once(simple, backend, rest):
    upstream = DeafUpstream(backend)

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")) + rest)
        upstream.read(connection)

    backend.program = program
    made = simple(location=WEBSOCKET + """open_by_lua_block {
        flow.client:send("first") sy.sleep(0.05) flow.upstream:send("first")
    } websocket_close_timeout 300ms;""")
    with Client(made.client_port) as client:
        client.send(handshake() + frame(b"early", masked=True))
        assert client.read_response_head().status == 101
        assert read_frame(client) == (1, b"first")
        assert client.read_exactly(len(rest)) == rest
    assert upstream.ended.wait(5)
    key, payload = upstream.received[2:6], upstream.received[6:11]
    assert bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)) == b"first"


def test_an_open_hook_sends_as_much_as_others(tunnel):
    made = tunnel("""open_by_lua_block {
        local size = 3 * 2^20 // 1 | 0
        assert(flow.client:send_binary(("c"):rep(size)))
        assert(flow.upstream:send_binary(("u"):rep(size)))
        local sent, why = flow.client:send("more")
        assert(not sent and why == "too much waits to be sent")
    }""")
    with made.open(max_size=None) as socket:
        assert [len(socket.recv(10)), len(socket.recv(10))] == [3 << 20, 3 << 20]
        assert exchange(socket, "on") == ["on"]


@pytest.mark.clocked
def test_an_upstream_that_does_not_answer_a_close_is_not_waited_for(simple, backend):
    upstream = DeafUpstream(backend)
    made = simple(location=WEBSOCKET + "websocket_ping_interval 20s; websocket_close_timeout 300ms;")
    with raw_tunnel(made) as client:
        started = time.monotonic()
        client.send(frame(b"\x03\xe8bye", opcode=8, masked=True))
        assert read_close(client) == (1000, "bye")
        assert 0.2 < time.monotonic() - started < 2
    assert upstream.ended.wait(5)


def test_close_information_reaches_the_close_hook(tunnel):
    made = tunnel("close_by_lua_block { sy.log.info(('<<%d %s %s %s>>'):format("
                  "info.code, info.reason, info.by, tostring(info.clean))) }")
    with made.open() as socket:
        socket.close(4005, "mine")
    with made.open() as socket:
        socket.send("close 4002")
        closing(socket)
    with made.open() as socket:
        socket.send("vanish")
        closing(socket)
    wait_for(lambda: len(re.findall("<<(.*?)>>", made.log())) == 3, what="three close hooks")
    assert re.findall("<<(.*?)>>", made.log()) == [
        "4005 mine client true", "4002 as you wish upstream true", "1006  upstream false"]


def test_a_shutdown_closes_followed_tunnels_with_1001_within_the_jitter(tunnel):
    made = tunnel("websocket_ping_interval 20s; websocket_drain_jitter 1s;", main="worker_shutdown_timeout 5s;")
    tunnels = [made.hold() for _ in range(20)]
    started = time.monotonic()
    ends = []

    def watch(socket):
        assert closing(socket) == (1001, "")
        ends.append(time.monotonic() - started)

    threads = [threading.Thread(target=watch, args=[socket]) for socket in tunnels]
    for thread in threads:
        thread.start()
    made.signal(signal.SIGQUIT)
    for thread in threads:
        thread.join(10)
    assert len(ends) == 20 and max(ends) < 2.5
    # Twenty moments within a second: all in one half would be one in a thousand thousand.
    assert max(ends) - min(ends) > 0.2
    assert made.wait_exit() == 0


@pytest.mark.clocked
def test_a_shutdown_within_its_timeout_whatever_hooks_ask_for(tunnel):
    made = tunnel("drain_by_lua_block { return 60 }", main="worker_shutdown_timeout 1s;")
    with made.open() as socket:
        started = time.monotonic()
        made.signal(signal.SIGQUIT)
        assert closing(socket) == (1001, "")
        assert time.monotonic() - started < 1.5
    assert made.wait_exit() == 0


@pytest.mark.clocked
def test_every_drain_hook_is_asked_and_the_longest_grace_is_given(tunnel):
    made = tunnel("""
        lua_on_error open; drain_by_lua_block { return 0.1 } drain_by_lua_block { flow.client:send("goodbye") return 0.6 }
        drain_by_lua_block { return -1 } drain_by_lua_block { return "soon" }
    """)
    with made.open() as socket:
        started = time.monotonic()
        made.signal(signal.SIGQUIT)
        assert socket.recv(5) == "goodbye"
        assert closing(socket) == (1001, "")
        assert 0.5 < time.monotonic() - started < 3
    assert made.wait_exit() == 0
    for found in ("-1", "string"):
        assert f"found {found}, expected nothing, or seconds of grace" in made.log()


# Tags


def test_a_text_is_published_to_tunnels_of_all_workers_and_generations(tunnel):
    text = ("open_by_lua_block { flow:tag(flow.req.args.room) }"
            "message_by_lua_block { if msg.from == 'client' then sy.publish('a', msg.data) return false end }")
    made = tunnel(text, workers=3)
    members = [made.hold("/?room=a") for _ in range(6)]
    other = made.hold("/?room=b")
    made.reload()
    members += [made.hold("/?room=a") for _ in range(6)]
    members[0].send("hello")
    assert [member.recv(5) for member in members] == ["hello"] * 12
    other.send("again")
    assert [member.recv(5) for member in members] == ["again"] * 12
    with pytest.raises(TimeoutError):
        other.recv(0.2)


# Logs


def test_what_logs_say_of_messages(tunnel):
    made = tunnel("message_by_lua_block { if msg.data == 'drop' then return false end }",
                  http="log_format w '$websocket_messages_from_client $websocket_messages_to_upstream "
                       "$websocket_messages_from_upstream $websocket_messages_to_client $websocket_close_code "
                       "$websocket_rtt_client'; access_log <dir>/access.log w;")
    with made.open() as socket:
        socket.send("drop")
        exchange(socket, "a", "b")
    assert made.log_lines("access.log", 1) == ["3 2 2 2 1000 -"]


def test_a_browser_like_client_with_a_slow_reader_loses_nothing(tunnel):
    """Backpressure: a client that does not read stops the upstream, and gets everything in the end."""
    made = tunnel("message_by_lua_block { if msg.from == 'upstream' then return msg.data .. '!' end }")
    with made.open(max_size=None, max_queue=2) as socket:
        payload = "x" * 100_000
        writer = threading.Thread(target=lambda: [socket.send(payload) for _ in range(100)])
        writer.start()
        time.sleep(0.5)
        for _ in range(100):
            assert socket.recv(10) == payload + "!"
        writer.join(5)


# What idle tunnels keep


# More than stay whole: see WholeExchanges.
MANY = 120
ASKING = """
    local function describe(flow)
        local headers = {}
        for name, value in flow.req.headers:each() do headers[#headers + 1] = name .. "=" .. value end
        for name, value in flow.res.headers:each() do headers[#headers + 1] = name .. "=" .. value end
        return table.concat({
            table.concat(headers, "; "), flow.id, flow.location, flow.started, flow.req.method, flow.req.uri,
            flow.req.args.number, flow.req.headers["X-Number"], flow.res.status, flow.client.address, flow.client.port,
            flow.upstream.address, flow.upstream.port, flow.var.number, flow.var.computed, flow.var.request,
            flow.var.mapped, flow.var.sent_http_upgrade, flow.var.upstream_addr, flow.var.remote_port, flow.var.connection,
            flow.var.http_cookie }, " | ")
    end
    return {
        request = function(flow)
            flow.req.headers["X-Edited"] = "by " .. flow.req.args.number
            flow.req.headers["User-Agent"] = nil
        end,
        response = function(flow) flow.res.headers["X-Answer"] = flow.req.args.number end,
        open = function(flow) flow.ctx.asked = 0 end,
        message = function(flow, msg)
            if msg.from == "upstream" then return end
            if msg.data == "assign" then
                flow.var.number = "assigned " .. flow.req.args.number
                flow.ctx.first = describe(flow)
                return "assigned"
            end
            flow.ctx.asked = flow.ctx.asked + 1
            local now = describe(flow)
            flow.ctx.first = flow.ctx.first or now
            if now ~= flow.ctx.first then return "was " .. flow.ctx.first .. ", is " .. now end
            return "WORD " .. flow.ctx.asked .. " " .. flow.req.headers["X-Number"] .. " " .. #flow.var.computed
        end,
        close = function(flow, info)
            sy.log.info(("<<closed %s %d %d>>"):format(flow.req.args.number, info.code, flow.ctx.asked))
        end,
        log = function(flow)
            sy.log.info(("<<logged %s %s %s>>"):format(flow.req.headers["X-Edited"], flow.var.number, flow.var.status))
        end,
        MORE
    }"""


def test_what_scripts_ask_of_many_idle_tunnels_is_what_it_was(tunnel, tmp_path, stack):
    script = tmp_path / "asking.lua"
    script.write_text(ASKING.replace("WORD", "same").replace("MORE", ""))
    made = tunnel(
        f"set $number $arg_number; plugin {script}; access_log <dir>/access.log numbered;",
        http="""map $http_x_number $mapped { default "mapped $http_x_number"; }
            set_by_lua_block $computed { return flow.req.headers["X-Number"] .. "-" .. math.random(1 << 50) }
            log_format numbered "$arg_number $number $http_x_edited $sent_http_x_answer $upstream_http_upgrade $status "
                "$websocket_messages_from_client $websocket_close_code $mapped $body_bytes_sent $computed";""")
    sockets = []
    for number in range(MANY):
        sockets.append(stack.enter_context(made.open(f"/?number={number}", additional_headers={
            "X-Number": str(number), "Cookie": f"session=secret{number}"})))
        assert exchange(sockets[-1], "ask")[0].startswith("same 1 ")

    def ask(word, times):
        for socket in sockets:
            socket.send("ask")
        for number, socket in enumerate(sockets):
            answer = socket.recv(5).split(" ")
            assert answer[:3] == [word, str(times), str(number)], answer

    ask("same", 2)
    for socket in sockets[::2]:
        assert exchange(socket, "assign") == ["assigned"]
    ask("same", 3)
    script.write_text(ASKING.replace("WORD", "moved").replace(
        "MORE", "migrate = function(ctx, flow) return { asked = ctx.asked + 100, first = describe(flow) } end"))
    made.reload()
    asked = [3] * MANY

    def has_moved():
        moved = 0
        for number, socket in enumerate(sockets):
            socket.send("ask")
            word, count, name, length = socket.recv(5).split(" ")
            assert word in ("same", "moved") and name == str(number)
            moved += word == "moved"
            asked[number] = int(count)
        return moved == MANY

    wait_for(has_moved, what="all tunnels with the new script")
    assert all(count > 103 for count in asked)
    for socket in sockets:
        socket.close()
    lines = {line.split(" ")[0]: line for line in made.log_lines("access.log", MANY)}
    for number in range(MANY):
        text = lines[str(number)]
        assigned = f"assigned {number}" if number % 2 == 0 else str(number)
        assert text.startswith(f"{number} {assigned} by {number} {number} websocket 101 "), text
        assert re.search(rf" 1000 mapped {number} \d+ {number}-\d+$", text), text
    wait_for(lambda: made.log().count("<<logged") == MANY, what="the log hooks")
    said = made.log()
    for number in range(MANY):
        assigned = f"assigned {number}" if number % 2 == 0 else str(number)
        assert f"<<closed {number} 1000 {asked[number]}>>" in said
        assert f"<<logged by {number} {assigned} 101>>" in said


# Reloads


COUNTING = """
    return {
        open = function(flow) flow.ctx.count = 0 flow:tag("all") flow:deadline(sy.now() + %s, 4001, "over") end,
        message = function(flow, msg)
            if msg.from == "upstream" then return end
            if msg.data == "slow" then sy.sleep(0.3) end
            flow.ctx.count = flow.ctx.count + 1
            return "%s " .. flow.ctx.count .. " " .. tostring(flow.ctx.note) .. " " .. (flow.var.word or "")
        end,
        %s
    }"""


@pytest.fixture
def counted(tunnel, tmp_path):
    """A tunnel whose messages are counted by a plugin, and a way to write another and reload."""
    script = tmp_path / "counting.lua"

    def make(seconds=60, **rest):
        script.write_text(COUNTING % (seconds, "old", ""))
        made = tunnel(f"set $word kept; plugin {script};", **rest)

        def change(extra="", word="new"):
            script.write_text(COUNTING % (seconds, word, extra))
            made.reload()

        made.change = change
        return made

    return make


def test_open_tunnels_move_to_reloaded_scripts_with_their_context(counted):
    made = counted()
    with made.open() as socket:
        assert exchange(socket, "a", "b") == ["old 1 nil kept", "old 2 nil kept"]
        made.change()
        wait_for(lambda: exchange(socket, "c")[0].startswith("new"), what="the new script")
        count = int(exchange(socket, "d")[0].split()[1])
        assert count >= 4
        made.change("migrate = function(ctx, flow) return { count = ctx.count * 100, note = 'moved' } end", "newer")
        wait_for(lambda: exchange(socket, "e")[0].startswith("newer"), what="the newer script")
        word, number, note, kept = exchange(socket, "f")[0].split()
        assert (note, kept) == ("moved", "kept") and int(number) > 400


@pytest.mark.parametrize("body, said", [
    ("error('no')", "no"), ("sy.sleep(0.01) return {}", "cannot wait while a tunnel moves"),
    ("return 3", "found number, expected a table"), ("ctx.note = 'changed'", None),
    ("ctx.note = 'changed' error('no')", "no")])
def test_a_context_is_not_lost_with_its_migration(counted, body, said):
    made = counted()
    with made.open() as socket:
        exchange(socket, "a", "b")
        made.change(f"migrate = function(ctx, flow) {body} end")
        wait_for(lambda: exchange(socket, "c")[0].startswith("new"), what="the new script")
        word, number, note, kept = exchange(socket, "d")[0].split()
        assert int(number) >= 4 and kept == "kept"
        assert note == ("changed" if "changed" in body else "nil")
        assert said is None or said in made.log()


LOOPING = """
    return {
        open = function(flow)
            local a = { name = "a", print = print }
            a.x, a.y, a.list = a, { a, a }, sy.json.array{ sy.json.null, sy.json.empty_array, sy.json.array{} }
            a[a] = "itself"
            flow.ctx.a, flow.ctx.b = a, a
            local deep = flow.ctx
            for i = 1, 5000 do deep.next = {} deep = deep.next end
        end,
        message = function(flow, msg)
            if msg.from == "upstream" then return end
            local a, depth, deep = flow.ctx.a, 0, flow.ctx
            while deep.next do depth, deep = depth + 1, deep.next end
            local same = a.x == a and a.y[1] == a and a.y[2] == a and a[a] == "itself" and flow.ctx.b == a
            return ("WORD %s %d %s %s %s"):format(same, depth, a.name, a.print, sy.json.encode(a.list))
        end
    }"""


def test_a_context_within_itself_moves_as_it_is(tunnel, tmp_path):
    script = tmp_path / "looping.lua"
    script.write_text(LOOPING.replace("WORD", "old"))
    made = tunnel(f"plugin {script};")
    with made.open() as socket:
        assert re.match("old true 5000 a function", exchange(socket, "a")[0])
        script.write_text(LOOPING.replace("WORD", "new"))
        made.reload()
        wait_for(lambda: exchange(socket, "b")[0].startswith("new"), what="the new script")
        assert exchange(socket, "c") == ["new true 5000 a nil [null,[],[]]"]


@pytest.mark.parametrize("content", [
    "for i = 1, 200000 do flow.ctx[i] = i end", "flow.ctx.text = ('x'):rep(5000000)"])
def test_a_tunnel_whose_context_is_too_large_stays_with_the_old_script(tunnel, tmp_path, content):
    script = tmp_path / "large.lua"

    def write(word, content=""):
        script.write_text(f"""return {{
            open = function(flow) {content} end,
            message = function(flow, msg)
                if msg.from == "client" then return "{word} " .. tostring(flow.ctx[7] or flow.ctx.text and 7) end
            end }}""")

    write("old", content)
    # The old interpreter may have what the new one may not.
    made = tunnel(f"plugin {script};", http="lua_memory_limit 64m;")
    with made.open() as socket:
        assert exchange(socket, "a") == ["old 7"]
        write("new")
        made.config_path.write_text(made.config_path.read_text().replace("limit 64m", "limit 4m"))
        made.reload()
        wait_for(lambda: '"ctx" is too large to be copied' in made.log(), what="what is said of it")
        assert exchange(socket, "b") == ["old 7"]
        with made.open() as other:
            assert exchange(other, "c") == ["new nil"]


def test_migrate_finds_the_tags_that_the_tunnel_had(tunnel, tmp_path):
    script = tmp_path / "tagging.lua"

    def write(extra):
        script.write_text("""return {
            open = function(flow) flow:tag("first") flow:tag("second") end,
            message = function(flow, msg)
                if msg.from == "client" then return (flow.ctx.seen or "-") .. " " .. table.concat(flow.tags, ",") end
            end, %s }""" % extra)

    write("")
    made = tunnel(f"plugin {script};")
    with made.open() as socket:
        assert exchange(socket, "a") == ["- first,second"]
        write("""migrate = function(ctx, flow)
            ctx.seen = table.concat(flow.tags, "+") .. "+" .. #sy.flows{ tag = "first" }
            flow:tag("third")
            return ctx
        end""")
        made.reload()
        wait_for(lambda: exchange(socket, "b")[0][0] != "-", what="the new script")
        assert exchange(socket, "c") == ["first+second+1 first,second,third"]


def test_a_hook_that_waits_comes_to_its_end_before_the_tunnel_moves(counted):
    made = counted()
    with made.open() as socket:
        socket.send("slow")
        socket.send("behind")
        time.sleep(0.1)
        made.change()
        assert socket.recv(5) == "old 1 nil kept"
        assert socket.recv(5).split()[1] == "2"
        wait_for(lambda: exchange(socket, "c")[0].startswith("new"), what="the new script")


@pytest.mark.clocked
def test_deadlines_and_tags_move_too(counted):
    made = counted(seconds=2)
    with made.open() as socket:
        started = time.monotonic()
        made.change("request = function(flow) sy.publish('all', 'hello') return flow:respond{ status = 204 } end")
        wait_for(lambda: exchange(socket, "c")[0].startswith("new"), what="the new script")
        assert made.fetch("/").status == 204
        assert socket.recv(5) == "hello"
        assert closing(socket) == (4001, "over")
        assert 1.5 < time.monotonic() - started < 4


def test_a_tunnel_whose_script_is_gone_stays_with_the_old_one(counted):
    made = counted()
    text = made.config_path.read_text()
    with made.open() as socket:
        assert exchange(socket, "a") == ["old 1 nil kept"]
        made.config_path.write_text(re.sub(r"plugin [^;]*;", "message_by_lua_block { }", text))
        made.reload()

        def passes():
            with made.open() as fresh:
                return exchange(fresh, "x") == ["x"]

        wait_for(passes, what="a new tunnel without the plugin")
        assert exchange(socket, "b")[0].startswith("old 2")


def test_moved_tunnels_outlive_the_shutdown_timeout_of_what_they_moved_from(counted):
    made = counted(main="worker_shutdown_timeout 500ms;")
    with made.open() as socket:
        exchange(socket, "a")
        made.change()
        wait_for(lambda: exchange(socket, "c")[0].startswith("new"), what="the new script")
        time.sleep(1)
        assert exchange(socket, "d")[0].startswith("new")


def test_no_message_is_lost_across_many_reloads(counted):
    made = counted()
    with made.open() as socket:
        stop = threading.Event()
        received = []

        def talk():
            number = 0
            while not stop.is_set():
                received.extend(exchange(socket, str(number)))
                number += 1

        talker = threading.Thread(target=talk)
        talker.start()
        for turn in range(10):
            made.change(word=f"version{turn}")
            time.sleep(0.1)
        wait_for(lambda: received and received[-1].startswith("version9"), 10, "the last version")
        stop.set()
        talker.join(5)
    assert [int(line.split()[1]) for line in received] == list(range(1, len(received) + 1))
