"""A client that does one thing again and again at a steady pace, and says how long each took: over HTTP/1.1, over HTTP/2, or
through a WebSocket. In a process of its own, with as little work of its own as can be."""

import contextlib
import json
import pathlib
import socket
import struct
import subprocess
import sys
import time

from harness.http2 import END_STREAM, GOAWAY, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, headers_frame
from harness.websocket import frame as message_frame
from harness.websocket import handshake

KINDS = ("HTTP/1.1", "HTTP/2", "WebSocket")
# Seconds between two, and those within which each is answered.
PACE = 0.004
PATIENCE = 15.0


class HTTP1:
    def __init__(self, sock):
        self.sock = sock
        self.request = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def exchange(self):
        self.sock.sendall(self.request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += received(self.sock)
        head, body = data.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += received(self.sock)


class HTTP2:
    def __init__(self, sock):
        self.sock = sock
        self.stream = 1
        self.data = b""
        self.fields = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/hello")]
        sock.sendall(PREFACE + frame(SETTINGS) + frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1 << 30)))

    def exchange(self):
        self.sock.sendall(headers_frame(self.stream, self.fields))
        while True:
            while len(self.data) < 9 or len(self.data) < 9 + int.from_bytes(self.data[:3], "big"):
                self.data += received(self.sock)
            size = 9 + int.from_bytes(self.data[:3], "big")
            kind, flags, stream = self.data[3], self.data[4], int.from_bytes(self.data[5:9], "big")
            payload, self.data = self.data[9:size], self.data[size:]
            if kind == SETTINGS and not flags & 1:
                self.sock.sendall(frame(SETTINGS, 1))
            elif kind == PING and not flags & 1:
                self.sock.sendall(frame(PING, 1, payload=payload))
            assert kind not in (GOAWAY, RST_STREAM), (kind, payload)
            if stream == self.stream and flags & END_STREAM and kind in (0, 1):
                self.stream += 2
                return


class WebSocket:
    def __init__(self, sock):
        self.sock = sock
        sock.sendall(handshake("/ws/echo"))
        data = b""
        while b"\r\n\r\n" not in data:
            data += received(sock)
        assert data.startswith(b"HTTP/1.1 101 "), data
        self.message = message_frame(b"x" * 100, masked=True)

    def exchange(self):
        self.sock.sendall(self.message)
        data = b""
        while len(data) < 102:
            data += received(self.sock)
        assert data == b"\x81\x64" + b"x" * 100, data


def received(sock):
    data = sock.recv(1 << 16)
    assert data, "the proxy ended the connection"
    return data


def measure(kind, port, seconds):
    """Latencies in seconds, and what failed."""
    times, failures = [], []
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client = {"HTTP/1.1": HTTP1, "HTTP/2": HTTP2, "WebSocket": WebSocket}[kind](sock)
                while time.monotonic() < over:
                    started = time.perf_counter()
                    client.exchange()
                    took = time.perf_counter() - started
                    times.append(took)
                    time.sleep(max(0.0, PACE - took))
        except (OSError, AssertionError, ValueError, IndexError) as error:
            failures.append(f"{kind}: {type(error).__name__} {error}"[:300])
            time.sleep(0.05)
    return times, failures


@contextlib.contextmanager
def clients(port, seconds, prefix=()):
    """Runs one of each kind; yields a function that waits for them, and gives their times by kind, and all failures."""
    processes = {
        kind: subprocess.Popen(
            [*prefix, sys.executable, "-m", "proof.measured", kind, str(port), str(seconds)],
            cwd=pathlib.Path(__file__).resolve().parents[1], stdout=subprocess.PIPE, text=True)
        for kind in KINDS}

    def result():
        times, failures = {}, []
        for kind, process in processes.items():
            output, _ = process.communicate(timeout=seconds + 3 * PATIENCE)
            times[kind], failed = json.loads(output)
            failures += failed
        return times, failures

    try:
        yield result
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
