"""Bad frames from both sides, through a proxy that follows frames, and one that puts messages together: the right close
code to both, and other tunnels untouched."""

import struct
import threading

import pytest
from websockets.sync.client import connect

from harness.websocket import WEBSOCKET, WebSocketServer, frame, handshake, switching
from harness.wire import Client

pytestmark = pytest.mark.switchyard_only

LIMITS = "websocket_max_message 64k; websocket_max_fragments 16; websocket_close_timeout 2s;"
MODES = {"followed": "websocket_ping_interval 20s;", "hooks": "message_by_lua_block { local data = msg.data }",
         "frame hooks": "frame_by_lua_block { local data = frame.data }"}


def raw(first, second, rest=b""):
    """A function that writes these bytes, the mask bit as the side needs it."""
    return lambda masked: bytes([first, second | (0x80 if masked else 0)]) + rest


def frames(*parts):
    return lambda masked: b"".join(frame(payload, opcode, masked, final) for payload, opcode, final in parts)


def close(code, reason=b""):
    return frames((struct.pack("!H", code) + reason, 8, True))


CASES = {
    **{f"opcode {opcode}": (raw(0x80 | opcode, 0), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"reserved bit {bit:#x}": (raw(0x81 | bit, 0), 1002) for bit in (0x40, 0x20, 0x10)},
    **{f"reserved bit {bit:#x} in a ping": (raw(0x89 | bit, 0), 1002) for bit in (0x40, 0x20, 0x10)},
    **{f"control frame {opcode} in fragments": (raw(opcode, 0), 1002) for opcode in (8, 9, 10)},
    **{f"control frame {opcode} of 126 bytes": (raw(0x80 | opcode, 126, b"\0\x7e"), 1002) for opcode in (8, 9, 10)},
    "the wrong mask": (lambda masked: frame(b"x", masked=not masked), 1002),
    "two bytes for a length of 125": (raw(0x82, 126, b"\0\x7d"), 1002),
    "two bytes for a length of 0": (raw(0x82, 126, b"\0\0"), 1002),
    "eight bytes for a length of 65535": (raw(0x82, 127, struct.pack("!Q", 65535)), 1002),
    "a length with its highest bit": (raw(0x82, 127, struct.pack("!Q", 1 << 63)), 1002),
    "a continuation of nothing": (frames((b"x", 0, True)), 1002),
    "a continuation of nothing, not the last": (frames((b"x", 0, False)), 1002),
    "a text within a message": (frames((b"a", 1, False), (b"b", 1, True)), 1002),
    "a binary within a message": (frames((b"a", 1, False), (b"b", 2, True)), 1002),
    "a text in fragments within a message": (frames((b"a", 1, False), (b"b", 1, False)), 1002),
    "a continuation after the last": (frames((b"a", 1, True), (b"b", 0, True)), 1002),
    "a close of one byte": (frames((b"\x03", 8, True)), 1002),
    "a close whose reason is no UTF-8": (close(1000, b"\xff"), 1007),
    **{f"close code {code}": (close(code), 1002)
       for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)},
    "a message above the limit": (frames((b"x" * 65537, 2, True)), 1009),
    "a header above the limit": (
        lambda masked: raw(0x82, 127, struct.pack("!Q", 1 << 40))(masked) + (b"\0\0\0\0" if masked else b""), 1009),
    "fragments above the limit": (frames((b"x" * 40000, 2, False), (b"x" * 40000, 0, True)), 1009),
    "too many fragments": (frames((b"a", 1, False), *[(b"b", 0, False)] * 16), 1009),
    "HTTP": (lambda masked: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1002),
}
TEXTS = {
    "a lone continuation byte": b"\x80", "an overlong slash": b"\xc0\xaf", "c1": b"\xc1\xbf",
    "overlong in three": b"\xe0\x80\xaf", "overlong in four": b"\xf0\x80\x80\xaf", "a surrogate": b"\xed\xa0\x80",
    "a high surrogate": b"\xed\xbf\xbf", "above U+10FFFF": b"\xf4\x90\x80\x80", "f5": b"\xf5\x80\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80", "six bytes": b"\xfc\x84\x80\x80\x80\x80", "ff": b"\xff", "a cut character": b"a\xe2\x82",
    "a bad byte after good ones": b"x" * 1000 + b"\xff",
}
WHOLE = {name: (frames((text, 1, True)), 1007) for name, text in TEXTS.items()}
WHOLE["a character cut by a fragment, and wrong"] = (frames((b"\xe2", 1, False), (b"\x28", 0, False)), 1007)


def test_there_are_enough_kinds():
    assert len(CASES) + len(WHOLE) >= 60


class Legs:
    """Both ends of tunnels through a proxy, as raw sockets."""

    def __init__(self, port, backend):
        self.port = port
        self.opened = threading.Semaphore(0)
        self.connections = []
        self.done = threading.Event()
        backend.program = self.serve

    def serve(self, connection):
        request = connection.next_request()
        connection.sock.settimeout(5)
        connection.send(switching(request.get("sec-websocket-key")))
        self.connections.append(connection)
        self.opened.release()
        self.done.wait(60)

    def open(self):
        client = Client(self.port, timeout=5)
        client.send(handshake())
        assert client.read_response_head().status == 101
        assert self.opened.acquire(timeout=5)
        return client, self.connections[-1]


def read_close(peer, masked, name):
    """The code of the close frame that comes behind whole messages."""
    while True:
        try:
            first, second = peer.read_exactly(2)
        except TimeoutError:
            raise AssertionError(f"{name}: no close frame") from None
        length = second & 127
        if length == 126:
            length = int.from_bytes(peer.read_exactly(2), "big")
        key = peer.read_exactly(4) if masked else bytes(4)
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(peer.read_exactly(length)))
        if first & 15 == 8:
            return int.from_bytes(payload[:2], "big")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["client", "upstream"])
def test_each_bad_frame_has_its_code_and_other_tunnels_go_on(simple, backends, mode, side):
    backend = backends()
    with WebSocketServer() as echo:
        made = simple(
            location=WEBSOCKET + LIMITS + MODES[mode],
            server=f"location /echo {{ proxy_pass http://{echo}; proxy_http_version 1.1; {WEBSOCKET} {MODES[mode]} }}",
            values={"backend": backend})
        legs = Legs(made.port, backend)
        with connect(f"ws://127.0.0.1:{made.port}/echo", compression=None) as bystander:
            for name, (write, code) in {**CASES, **(WHOLE if mode == "hooks" else {})}.items():
                client, upstream = legs.open()
                with client:
                    bad, other = (client, upstream) if side == "client" else (upstream, client)
                    bad.send(write(side == "client"))
                    # The sender reads unmasked frames where it is the client; so does the other the other way.
                    assert read_close(bad, side == "upstream", name) == code, name
                    assert read_close(other, side == "client", name) == code, name
                    other.send(frame(struct.pack("!H", code), 8, masked=side == "upstream"))
                bystander.send(name)
                assert bystander.recv(5) == name
        legs.done.set()
