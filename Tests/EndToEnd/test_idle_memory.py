"""What a burst of traffic leaves in memory, once it is over."""

import contextlib

import pytest

from harness.backend import chunked
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
