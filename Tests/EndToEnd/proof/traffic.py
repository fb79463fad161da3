"""Traffic in which every exchange and message has a number, and every byte of an answer tells whose it is."""

import re
import struct
import threading

from harness.websocket import frame, switching
from harness.wire import Closed, WireError

MARK = re.compile(rb"<(\d{12})>")


def piece(number, size):
    """`size` bytes that belong to one exchange and to no other."""
    pattern = b"<%d>" % number
    return (pattern * (size // len(pattern) + 1))[:size]


class Numbers:
    """Numbers that are far from one another, so that a byte that was garbled never makes one of another."""

    def __init__(self, dice):
        self.dice = dice
        self.lock = threading.Lock()
        self.given = set()

    def next(self):
        with self.lock:
            while (number := self.dice.randrange(10**11, 10**12)) in self.given:
                pass
            self.given.add(number)
            return number

    def foreign(self, data, number):
        """Numbers of other exchanges in what this one got."""
        found = {int(match) for match in MARK.findall(data)} - {number}
        return found & self.given


def read_frame(reader):
    """The next frame from a `Reader`: final, opcode, payload without its mask."""
    first, second = reader.read_exactly(2)
    if first & 0x70:
        raise WireError(f"reserved bits in a frame: {first:#x}")
    size = second & 0x7F
    if size == 126:
        [size] = struct.unpack("!H", reader.read_exactly(2))
    elif size == 127:
        [size] = struct.unpack("!Q", reader.read_exactly(8))
    mask = reader.read_exactly(4) if second & 0x80 else None
    payload = reader.read_exactly(size)
    if mask and size:
        # As one number: a loop over bytes is slow.
        key = (mask * (size // 4 + 1))[:size]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return bool(first & 0x80), first & 0xF, payload


def read_message(reader, answer_ping=None):
    """The next message, or None at a close frame; pings are answered by `answer_ping(payload)`."""
    message = bytearray()
    while True:
        final, opcode, payload = read_frame(reader)
        if opcode == 8:
            return None
        if opcode == 9 and answer_ping:
            answer_ping(payload)
        elif opcode < 8:
            message += payload
            if final:
                return bytes(message)


def echo_frames(connection):
    """A backend's side of a WebSocket: every message goes back as it came, until the close frame."""
    while True:
        message = read_message(connection, lambda payload: connection.send(frame(payload, opcode=10)))
        if message is None:
            connection.send(frame(b"\x03\xe8", opcode=8))
            return
        connection.send(frame(message, opcode=1))
        connection.log.clear()


def steady(connection):
    """A backend that does everything right: it answers with `X-Size` bytes of the request's number."""
    while request := connection.next_request():
        with connection.backend.lock:
            connection.backend.requests.clear()
        connection.requests.clear()
        connection.log.clear()
        number = request.get("x-number", "0")
        if "upgrade" in request:
            connection.send(switching(request.get("sec-websocket-key"), [("X-Number", number)]))
            try:
                return echo_frames(connection)
            except Closed:
                return
        body = piece(int(number), int(request.get("x-size", "2")))
        if request.body and request.body != piece(int(number), len(request.body)):
            body = b"the backend got the body of another"
        connection.send(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nX-Number: {number}\r\n\r\n".encode() + body)
