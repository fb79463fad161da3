"""What a burst of traffic leaves in memory, once it is over."""

import contextlib
import time

import pytest

from harness.backend import chunked
from harness.http2 import HTTP2Client
from harness.websocket import MAP, RECIPE, frame, opened, switching
from harness.wire import Client, wait_for
from proof import watch

pytestmark = pytest.mark.switchyard_only

MEGABYTE = 1 << 20
TUNNELS = 60


@pytest.mark.timeout(120)
def test_memory_of_a_burst_goes_back_when_its_tunnels_fall_quiet(simple):
    received = []

    def take(connection):
        request = connection.read_request()
        connection.send(switching(request.get("sec-websocket-key")))
        connection.sock.settimeout(None)
        while connection.buffer or connection.fill():
            received.append(len(connection.buffer))
            connection.buffer.clear()
        connection.finish()

    proxy = simple(RECIPE + "websocket_max_message 2m; message_by_lua_block { seen = #msg.data }", http=MAP)
    proxy.backend.program = take
    message = frame(bytes(MEGABYTE), opcode=2, masked=True)
    half = len(message) // 2
    with contextlib.ExitStack() as stack:
        tunnels = [stack.enter_context(opened(proxy.port)) for _ in range(TUNNELS)]
        before = watch.private_bytes(proxy.pid)
        # Each has half of its message in the proxy before any has the rest.
        for tunnel in tunnels:
            tunnel.send(message[:half])
        wait_for(lambda: watch.private_bytes(proxy.pid) > before + TUNNELS * half // 2, 20, "messages in memory")
        for tunnel in tunnels:
            tunnel.send(message[half:])
        wait_for(lambda: sum(received) >= TUNNELS * MEGABYTE, 30, "messages at the backend")
        wait_for(lambda: watch.private_bytes(proxy.pid) < before + 8 * MEGABYTE, 20, "the return of memory")


@pytest.mark.timeout(120)
def test_memory_of_a_body_that_was_gathered_goes_back(proxy, backend):
    made = proxy("server { listen 127.0.0.1:<port>; client_max_body_size 0; location / { proxy_pass http://<backend>; } }",
                 values={"backend": backend})
    assert made.fetch("/", method="POST", body=b"warm").status == 200
    before, highest = watch.private_bytes(made.pid), watch.peak_bytes(made.pid)
    body = bytes(48 * MEGABYTE)
    with Client(made.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body))
        assert client.read_response("POST").status == 200
    assert len(backend.requests[-1].body) == len(body)
    # The body, and what of it the socket had no room for.
    assert watch.peak_bytes(made.pid) < highest + 2.5 * len(body)
    wait_for(lambda: watch.private_bytes(made.pid) < before + 8 * MEGABYTE, 20, "the return of memory")


@pytest.mark.timeout(120)
def test_memory_of_connections_goes_back_when_they_close(proxy):
    """Closing them is little work: fewer events than make a burst of traffic."""
    made = proxy("server { listen 127.0.0.1:<port>; http2 on; return 200 ok; }")
    with HTTP2Client(made.port) as client:
        assert client.fetch().status == 200
    before = watch.private_bytes(made.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            assert stack.enter_context(HTTP2Client(made.port)).fetch().status == 200
        # What opened them is over by then.
        time.sleep(2.5)
        assert watch.private_bytes(made.pid) > before + 6 * MEGABYTE
    wait_for(lambda: watch.private_bytes(made.pid) < before + 4 * MEGABYTE, 20, "the return of memory")


@pytest.mark.timeout(120)
def test_memory_of_configurations_goes_back_though_their_last_hooks_are_given_up(proxy, backend):
    """Access logs with a script's variable are written then, by the interpreter that is shut down."""
    backend.program = lambda connection: (
        connection.send(switching(connection.read_request().get("sec-websocket-key"))), connection.fill())
    text = (MAP + "set_by_lua_block $word { return 'word' } log_format l '$status $word'; access_log <dir>/access.log l;"
            "server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; " + RECIPE +
            "close_by_lua_block { ballast = string.rep('x', 4 << 20) sy.sleep(60) } } }")
    made = proxy(text, main="worker_shutdown_timeout 100ms;", values={"backend": backend})
    before = watch.private_bytes(made.pid)
    for count in range(1, 11):
        with opened(made.port):
            pass
        made.reload()
        assert made.log_lines("access.log", count)[-1] == "101 word"
    wait_for(lambda: watch.private_bytes(made.pid) < before + 16 * MEGABYTE, 20, "the return of memory")
