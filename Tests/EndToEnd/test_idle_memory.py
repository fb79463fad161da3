"""What a burst of traffic leaves in memory, once it is over."""

import contextlib

import pytest

from harness.websocket import MAP, RECIPE, frame, handshake, switching
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
        tunnels = [stack.enter_context(Client(proxy.port)) for _ in range(TUNNELS)]
        for tunnel in tunnels:
            tunnel.send(handshake())
            assert tunnel.read_response_head().status == 101
        before = watch.private_bytes(proxy.pid)
        # Each has half of its message in the proxy before any has the rest.
        for tunnel in tunnels:
            tunnel.send(message[:half])
        wait_for(lambda: watch.private_bytes(proxy.pid) > before + TUNNELS * half // 2, 20, "messages in memory")
        for tunnel in tunnels:
            tunnel.send(message[half:])
        wait_for(lambda: sum(received) >= TUNNELS * MEGABYTE, 30, "messages at the backend")
        wait_for(lambda: watch.private_bytes(proxy.pid) < before + 8 * MEGABYTE, 20, "the return of memory")
