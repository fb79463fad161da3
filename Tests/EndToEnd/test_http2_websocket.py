"""WebSockets over HTTP/2 (RFC 8441): the handshake, many on one connection, flow control, ends, reloads.

What hooks, pings, deadlines and compression do is tested by `test_websocket_plane.py`, which runs over HTTP/2 as well."""

import re
import signal
import socket
import struct
import threading
import time

import pytest

from harness.backend import Connection, reply
from harness.http2 import HTTP2Client, StreamSocket
from harness.websocket import MAP, RECIPE, WebSocketServer, echoing, frame, switching
from harness.wire import wait_for

pytestmark = pytest.mark.switchyard_only


@pytest.fixture
def recipe(simple):
    """nginx's recipe, as it is; HTTP/2 is on, and that is all."""

    def make(location="", http="", server="", **rest):
        proxy = simple(RECIPE + location, http=MAP + http, server="http2 on; " + server, **rest)
        proxy.backend.program = echoing()
        return proxy

    return make


@pytest.fixture(scope="module")
def server():
    with WebSocketServer() as made:
        yield made


# The handshake


def test_handshake(recipe):
    proxy = recipe(http="log_format w '$status $request $server_protocol $http2 $http_upgrade $http_connection $connection_upgrade';"
                   "access_log <dir>/access.log w;")
    with HTTP2Client(proxy.port) as client:
        client.wait(lambda: client.has_settings)
        # SETTINGS_ENABLE_CONNECT_PROTOCOL
        assert client.connection.remote_settings[8] == 1
        number = client.connect("/chat?x", [
            ("origin", "http://a"), ("sec-websocket-protocol", "chat"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")])
        got = client.head(number)
        assert got.status == 200
        for name in ("upgrade", "connection", "sec-websocket-accept", "content-length", "transfer-encoding"):
            assert got.get(name) is None
        client.write(number, b"bytes", end=True)
        assert client.response(number).body == b"bytes"
        assert (got.ended, got.reset) == (True, None)
    [request] = proxy.backend.requests
    assert request.raw.startswith(b"GET /chat?x HTTP/1.1\r\n")
    assert (request.get("upgrade"), request.get("connection").lower()) == ("websocket", "upgrade")
    assert request.get("sec-websocket-version") == "13"
    assert request.get("origin") == "http://a"
    # One of the proxy's own: the client's means nothing here.
    [key] = request.values("sec-websocket-key")
    assert len(key) == 24 and key != b"dGhlIHNhbXBsZSBub25jZQ=="
    # The log has the status by which the upstream switched; the client's of the same meaning is 200.
    assert proxy.log_lines("access.log", 1) == ["101 GET /chat?x HTTP/2.0 HTTP/2.0 h2c websocket Upgrade upgrade"]


def test_keys_differ(recipe):
    proxy = recipe()
    with HTTP2Client(proxy.port) as client:
        for _ in range(20):
            client.head(client.connect())
    assert len({request.get("sec-websocket-key") for request in proxy.backend.requests}) == 20


def test_subprotocol_and_other_fields_of_the_answer(recipe):
    proxy = recipe()
    proxy.backend.program = lambda connection: (
        connection.send(switching(connection.next_request().get("sec-websocket-key"),
                                  [("Sec-WebSocket-Protocol", "chat"), ("X-Own", "1")])), connection.fill())
    with HTTP2Client(proxy.port) as client:
        got = client.head(client.connect(headers=[("sec-websocket-protocol", "chat, other")]))
    assert (got.status, got.get("sec-websocket-protocol"), got.get("x-own")) == (200, "chat", "1")


@pytest.mark.parametrize("answer", [
    lambda key: switching(key, accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="), lambda key: switching(key, accept=""),
    lambda key: switching(key, upgrade="h2c"), lambda key: switching(key, connection=""),
    lambda key: switching(key, [("Sec-WebSocket-Protocol", "never-offered")])])
def test_a_101_that_is_wrong_is_502(recipe, answer):
    proxy = recipe()
    proxy.backend.program = lambda connection: (
        connection.send(answer(connection.next_request().get("sec-websocket-key"))), connection.fill())
    with HTTP2Client(proxy.port) as client:
        got = client.head(client.connect())
        assert got.status == 502
        proxy.backend.program = echoing()
        StreamSocket(client)


def test_a_refusal_is_the_upstreams(recipe):
    proxy = recipe()
    proxy.backend.program = Connection.serve
    proxy.backend.answer = reply(403, b"no", [("X-Why", "because")])
    with HTTP2Client(proxy.port) as client:
        number = client.connect()
        got = client.response(number)
        assert (got.status, got.body, got.get("x-why")) == (403, b"no", "because")
        proxy.backend.answer = reply(200, b"page")
        got = client.response(client.connect())
        # A 200 of an upstream that did not switch must not pass for the one of RFC 8441.
        assert got.status == 502


def test_other_protocols_and_no_protocol(recipe):
    proxy = recipe()
    with HTTP2Client(proxy.port) as client:
        assert client.response(client.connect(protocol="connect-udp", version=None)).status == 501
        assert client.response(client.begin(fields=[(":method", "CONNECT"), (":authority", "a:1")], end=False)).status == 405
        assert client.response(client.connect(version="12")).status == 426
        assert client.response(client.connect(version=None)).status == 426
    assert proxy.backend.requests == []


def test_a_page_of_ours_is_no_websocket(recipe):
    proxy = recipe(
        http="log_format s '$status $uri'; access_log <dir>/access.log s;",
        server="location = /page { return 200 hello; } location = /gone { return 410; }")
    with HTTP2Client(proxy.port) as client:
        got = client.response(client.connect("/page"))
        assert got.status == 502 and b"hello" not in got.body
        assert client.response(client.connect("/gone")).status == 410
    assert proxy.log_lines("access.log", 2) == ["502 /page", "410 /gone"]
    assert "cannot be answered with 200" in proxy.log()


def test_upgrade_without_the_recipe(simple):
    proxy = simple(server="http2 on;")
    proxy.backend.answer = reply(404, b"no websocket here")
    with HTTP2Client(proxy.port) as client:
        assert client.response(client.connect()).status == 404
    assert "upgrade" not in proxy.backend.requests[0]


def test_upgrade_hooks(recipe):
    proxy = recipe("upgrade_by_lua_block { if flow.req.headers['x-token'] ~= 'good' then return flow:respond{ status = 401 } end "
                   "flow.req.headers['X-User'] = flow.client.http }")
    with HTTP2Client(proxy.port) as client:
        assert client.response(client.connect()).status == 401
        socket = StreamSocket(client, headers=[("x-token", "good")])
        socket.send("x")
        socket.client.wait(lambda: socket.stream.body)
    assert [request.get("x-user") for request in proxy.backend.requests] == ["2"]


# Many on one connection


def test_many_websockets_beside_requests(recipe, server):
    proxy = recipe("message_by_lua_block { if msg.data == 'drop' then return false end "
                   "if msg.data == 'who' then return flow.req.path end }", values={"backend": server})
    with HTTP2Client(proxy.port) as client:
        sockets = [StreamSocket(client, f"/{n}") for n in range(100)]
        for round_ in range(3):
            for n, socket in enumerate(sockets):
                socket.send(f"{round_} {n}")
                socket.send("drop")
                socket.send("who")
        for round_ in range(3):
            for n, socket in enumerate(sockets):
                assert [socket.text(), socket.text()] == [f"{round_} {n}", f"/{n}"]
        for n, socket in enumerate(sockets):
            socket.send((4000 + n).to_bytes(2, "big") + b"bye", opcode=8)
        for n, socket in enumerate(sockets):
            assert socket.close_code() == 4000 + n
            client.response(socket.number)
            # Nothing more is wanted of a client that has yet to end its side.
            assert socket.stream.ended and socket.stream.reset in (None, 0)


def test_one_that_is_not_read_stops_nobody(recipe):
    """Its upstream is not read on either."""
    proxy = recipe("websocket_max_message 1m;")
    sent = []

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")))
        if request.target == "/slow":
            for _ in range(300):
                connection.send(frame(b"x" * 65_000, opcode=2))
                sent.append(1)
            connection.fill()
        else:
            while connection.fill():
                connection.buffer.clear()
                connection.send(frame(b"pong"))

    proxy.backend.program = program
    with HTTP2Client(proxy.port, acknowledge=False) as client:
        client.connection.increment_flow_control_window(1 << 30)
        client.flush()
        slow, fast = StreamSocket(client, "/slow"), StreamSocket(client, "/fast")
        client.wait(lambda: len(slow.stream.body) == 65_535)
        for _ in range(50):
            fast.send("ping")
            assert fast.text() == "pong"
        client.quiet(0.3)
        before = len(sent)
        client.quiet(0.3)
        assert len(sent) == before < 300
        client.connection.increment_flow_control_window(1 << 30, slow.number)
        client.flush()
        got = [slow.receive() for _ in range(300)]
        assert all(one == (2, b"x" * 65_000) for one in got)


def test_an_upstream_that_does_not_read_stops_its_stream_alone(recipe):
    proxy = recipe("websocket_max_message 16m;")
    gate = threading.Event()

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")))
        connection.sock.settimeout(None)
        total = 0
        if request.target == "/slow":
            gate.wait(20)
        while connection.fill():
            total += len(connection.buffer)
            connection.buffer.clear()
            connection.send(frame(str(total).encode()))

    proxy.backend.program = program
    with HTTP2Client(proxy.port) as client:
        slow, fast = StreamSocket(client, "/slow"), StreamSocket(client, "/fast")
        piece, total = frame(b"x" * 8000, opcode=2, masked=True), 0
        while True:
            if client.connection.local_flow_control_window(slow.number) < len(piece) and not client.receive(1):
                break
            if client.connection.local_flow_control_window(slow.number) >= len(piece):
                client.connection.send_data(slow.number, piece)
                client.flush()
                total += len(piece)
                assert total < 64 << 20, "nothing held the client back"
        for _ in range(20):
            fast.send("x" * 1000)
            assert fast.text()
        gate.set()
        while int(slow.text()) < total:
            pass


# Ends


def test_a_reset_ends_its_tunnel_alone(recipe):
    proxy = recipe("websocket_ping_interval 20s; websocket_close_timeout 300ms;")
    with HTTP2Client(proxy.port) as client:
        one, other = StreamSocket(client), StreamSocket(client)
        client.reset(one.number)
        wait_for(lambda: not proxy.backend.connections[0].is_open, 5, "the upstream's end")
        # The upstream was told by a close frame.
        assert proxy.backend.connections[0].tunnelled[:1] == b"\x88"
        other.send("x", opcode=2)
        other.client.wait(lambda: other.stream.body)


@pytest.mark.parametrize("directives", ["", "websocket_ping_interval 1h;", "message_by_lua_block { sy.sleep(5) }"])
def test_a_reset_is_in_the_error_log(recipe, directives):
    proxy = recipe(directives)
    with HTTP2Client(proxy.port) as client:
        stream = StreamSocket(client)
        stream.send("hi")
        if "lua" not in directives:
            client.wait(lambda: stream.stream.body)
        client.reset(stream.number)
        line = "recv() failed (104: Connection reset by peer) while proxying upgraded connection, client: 127.0.0.1, "
        wait_for(lambda: re.search(r"\*\d+ " + re.escape(line), proxy.log()), 5, "the log")


def test_the_connections_end_ends_all(recipe):
    proxy = recipe()
    client = HTTP2Client(proxy.port)
    for _ in range(10):
        StreamSocket(client)
    client.close()
    wait_for(lambda: not any(c.is_open for c in proxy.backend.connections), 5, "the upstreams' ends")


def test_an_upstream_that_vanishes_resets_an_opaque_stream(recipe):
    proxy = recipe()

    def program(connection):
        connection.send(switching(connection.next_request().get("sec-websocket-key")))
        connection.fill()

    proxy.backend.program = program
    with HTTP2Client(proxy.port) as client:
        socket = StreamSocket(client)
        socket.send("end")
        client.response(socket.number)
        assert socket.stream.is_over
        proxy.backend.program = echoing()
        StreamSocket(client)


def test_an_upstreams_reset_is_one_of_an_opaque_stream(recipe):
    """RFC 8441 §5: CANCEL, behind what was sent before."""
    proxy = recipe()

    def program(connection):
        connection.send(switching(connection.next_request().get("sec-websocket-key")) + b"bytes")
        connection.fill()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sock.close()

    proxy.backend.program = program
    with HTTP2Client(proxy.port) as client:
        opened = StreamSocket(client)
        client.wait(lambda: opened.stream.body)
        opened.send("end")
        got = client.response(opened.number)
        assert (got.body, got.ended, got.reset) == (b"bytes", False, 8)
        # The connection goes on.
        proxy.backend.program = echoing()
        StreamSocket(client)


def test_what_a_client_did_not_take_in_time_is_cut_off_by_a_reset(recipe):
    proxy = recipe("send_timeout 300ms; websocket_close_timeout 300ms; websocket_ping_interval 20s;")

    def program(connection):
        connection.send(switching(connection.next_request().get("sec-websocket-key")))
        connection.send(frame(b"x" * 1_000_000, opcode=2))
        connection.fill()

    proxy.backend.program = program
    with HTTP2Client(proxy.port, acknowledge=False) as client:
        opened = StreamSocket(client)
        got = client.response(opened.number)
        assert (got.ended, got.reset) == (False, 8)


def test_half_closed(recipe):
    """Each side may end by itself, where nobody looks at frames."""
    proxy = recipe()
    done = threading.Event()

    def program(connection):
        connection.send(switching(connection.next_request().get("sec-websocket-key")))
        connection.sock.settimeout(10)
        while connection.fill():
            pass
        connection.send(b"all of %d" % len(connection.buffer))
        done.set()

    proxy.backend.program = program
    with HTTP2Client(proxy.port) as client:
        socket = StreamSocket(client)
        client.write(socket.number, b"12345", end=True)
        got = client.response(socket.number)
        assert (got.body, got.ended) == (b"all of 5", True)


def test_pings_of_the_proxy_and_a_client_that_does_not_answer(recipe):
    proxy = recipe("websocket_ping_interval 200ms; websocket_pong_timeout 300ms; websocket_ping_to client; websocket_close_timeout 300ms;")
    with HTTP2Client(proxy.port) as client:
        dead, alive = StreamSocket(client), StreamSocket(client)
        end = time.monotonic() + 1.5
        pings = 0
        while time.monotonic() < end:
            client.receive(0.05)
            while len(alive.stream.body) >= 2:
                opcode, payload = alive.receive()
                if opcode == 9:
                    pings += 1
                    alive.send(payload, opcode=10)
        assert pings >= 3
        assert not alive.stream.is_over
        assert dead.receive()[0] == 9
        assert dead.stream.is_over or dead.close_code() is not None


# Reloads


def test_reload_with_tunnels_that_go_on(recipe, server):
    proxy = recipe("message_by_lua_block { if msg.from == 'client' then return 'one ' .. msg.data end }",
                   values={"backend": server})
    with HTTP2Client(proxy.port) as client:
        sockets = [StreamSocket(client) for _ in range(5)]
        for socket in sockets:
            socket.send("a")
            assert socket.text() == "one a"
        proxy.reload(proxy.config_path.read_text().replace("'one '", "'two '"))
        client.wait(lambda: len(client.goaways) == 2)
        assert client.goaways[1] == (0, sockets[-1].number)
        for socket in sockets:
            # Scripts move with the tunnel to the new configuration.
            socket.send("b")
            assert socket.text() == "two b"
        with HTTP2Client(proxy.port) as another:
            fresh = StreamSocket(another)
            fresh.send("c")
            assert fresh.text() == "two c"
        for socket in sockets:
            socket.send((1000).to_bytes(2, "big"), opcode=8)
        client.wait_closed()
        assert all(socket.stream.ended for socket in sockets)


def test_drain_at_shutdown(recipe):
    proxy = recipe("websocket_drain_jitter 100ms;", main="worker_shutdown_timeout 5s;")
    proxy.backend.program = lambda connection: (
        connection.send(switching(connection.next_request().get("sec-websocket-key"))), connection.fill(), connection.fill())
    with HTTP2Client(proxy.port) as client:
        sockets = [StreamSocket(client) for _ in range(10)]
        proxy.signal(signal.SIGQUIT)
        for socket in sockets:
            assert socket.close_code() in (1001, 1012)
            socket.send((1001).to_bytes(2, "big"), opcode=8)
        client.wait(lambda: client.goaway is not None)
    assert proxy.wait_exit(15) == 0


def test_metrics_and_logs(recipe, server):
    proxy = recipe("websocket_ping_interval 20s;", http="log_format t '$status $websocket_close_code $server_protocol'; access_log <dir>/access.log t;",
                   values={"backend": server})
    with HTTP2Client(proxy.port) as client:
        socket = StreamSocket(client)
        socket.send("x")
        assert socket.text() == "x"
        socket.send((4001).to_bytes(2, "big"), opcode=8)
        assert socket.close_code() == 4001
    line = proxy.log_lines("access.log", 1)[0]
    assert line == "101 4001 HTTP/2.0"
