"""WebSocket pieces: bytes for tests that speak it by hand, and a server of the `websockets` library."""

import asyncio
import base64
import hashlib
import os
import struct
import threading

from websockets.asyncio.server import serve

from . import ports
from .wire import Client

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def accept_key(key=KEY):
    """RFC 6455 §4.2.2."""
    return base64.b64encode(
        hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def handshake(target="/ws/", headers=(), key=KEY, method="GET", connection="Upgrade", upgrade="websocket",
              version="13", http="1.1"):
    """A client's opening handshake; None leaves a field out."""
    lines = [f"{method} {target} HTTP/{http}", "Host: test.example"]
    for name, value in (
            ("Connection", connection), ("Upgrade", upgrade), ("Sec-WebSocket-Version", version),
            ("Sec-WebSocket-Key", key)):
        if value is not None:
            lines.append(f"{name}: {value}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def switching(key=KEY, headers=(), accept=None, upgrade="websocket", connection="Upgrade"):
    """A server's 101 for `key`; `""` leaves a field out."""
    lines = ["HTTP/1.1 101 Switching Protocols"]
    accept = accept_key(key) if accept is None else accept
    for name, value in (("Upgrade", upgrade), ("Connection", connection), ("Sec-WebSocket-Accept", accept)):
        if value:
            lines.append(f"{name}: {value}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


# nginx's recipe, as everybody pastes it.
RECIPE = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"
# Without the map: every request says that it upgrades.
WEBSOCKET = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"


def opened(address, target="/ws/", timeout=10.0, receive_buffer=None, **rest):
    """A client whose WebSocket is open; `rest` goes to `handshake`."""
    client = Client(address, timeout, receive_buffer)
    client.send(handshake(target, **rest))
    response = client.read_response_head()
    assert response.status == 101, response.raw
    return client


def echoing(answer=None):
    """A backend program: answers the handshake, then echoes bytes until the client's end."""

    def program(connection):
        request = connection.next_request()
        if request is None:
            return
        connection.send(answer if answer is not None else switching(request.get("sec-websocket-key") or ""))
        connection.tunnelled = b""
        connection.sock.settimeout(None)
        while connection.buffer or connection.fill():
            data = bytes(connection.buffer)
            connection.buffer.clear()
            connection.tunnelled += data
            connection.send(data)
        connection.finish()

    return program


def holding(connection):
    """A backend program: opens every WebSocket and says nothing there, and answers everything else."""
    while request := connection.next_request():
        if "upgrade" in request:
            connection.send(switching(request.get("sec-websocket-key")))
            return connection.read_rest()
        if not connection.perform(connection.backend.answer):
            return


def frame(payload, opcode=1, masked=False, final=True):
    """One frame, RFC 6455 §5.2."""
    head = bytearray([opcode | (0x80 if final else 0)])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head.append(len(payload) | bit)
    elif len(payload) < 65536:
        head += struct.pack("!BH", 126 | bit, len(payload))
    else:
        head += struct.pack("!BQ", 127 | bit, len(payload))
    if masked:
        mask = os.urandom(4)
        head += mask
        payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return bytes(head) + payload


async def echo(connection):
    async for message in connection:
        await connection.send(message)


class WebSocketServer:
    """A `websockets` server in a thread of its own. `options` go to `websockets.asyncio.server.serve`."""

    def __init__(self, handler=echo, port=None, **options):
        self.handler = handler
        self.port = port or ports.free_port()
        self.options = {"max_size": 16 << 20, "ping_interval": None, **options}
        self.requests = []
        self.ready = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.ready.wait(10)

    def __str__(self):
        return f"127.0.0.1:{self.port}"

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())

    async def _handle(self, connection):
        self.requests.append(connection.request)
        await self.handler(connection)

    async def _serve(self):
        self.done = asyncio.Event()
        async with serve(self._handle, "127.0.0.1", self.port, backlog=2048, **self.options):
            self.ready.set()
            await self.done.wait()

    def stop(self):
        if self.loop.is_running():
            self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
