"""Clients and backends that do whatever comes into their heads, all at once, through one proxy.

Every request carries a number of its own, and so does every byte of every answer: whatever else happens, nobody
may ever get a piece of another's, and once it is over the proxy serves as before. The seed is printed; CHAOS_SEED
and CHAOS_SECONDS repeat or extend a run.
"""

import os
import random
import threading
import time

import pytest

from harness.backend import RESET, chunked, reply
from harness.proxy import whole
from harness.websocket import handshake, switching
from harness.wire import Client, Closed, WireError, wait_for

SECONDS = float(os.environ.get("CHAOS_SECONDS", "4"))
CLIENTS = 12
CONFIGURATION = """
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
upstream kept { server <one> max_fails=0; server <two> max_fails=0; keepalive 4; }
upstream single { server <one> max_fails=0; server <two> max_fails=0; }
server {
    listen 127.0.0.1:<port>;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_read_timeout 5s;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    location / { proxy_pass http://kept; }
    location /single { proxy_pass http://single; proxy_set_header Connection close; }
    location /old { proxy_pass http://single; proxy_http_version 1.0; proxy_set_header Connection close; }
    location /pages { proxy_pass http://kept; proxy_intercept_errors on; error_page 404 503 /local; }
    location /again { proxy_pass http://kept; proxy_next_upstream error timeout http_503 non_idempotent; }
    location = /local { return 200 "local page"; }
    location = /alive { return 200 alive; }
    location = /status { stub_status; }
}
"""


def piece(number, size):
    """`size` bytes that belong to one request and no other."""
    pattern = b"<%d>" % number
    return (pattern * (size // len(pattern) + 1))[:size]


class Chaos:
    def __init__(self, seed):
        self.seed = seed
        self.lock = threading.Lock()
        self.next = 100000
        self.failures = []
        self.counts = {}
        self.over = time.monotonic() + SECONDS

    def number(self):
        with self.lock:
            self.next += 1
            return self.next

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    # MARK: The backend's side

    def program(self, connection):
        dice = random.Random(f"{self.seed}-{id(connection)}")
        connection.sock.settimeout(10)
        while (request := connection.read_request_head()) is not None:
            number = int(request.get("x-number"))
            size = int(request.get("x-size"))
            fields = [("X-Number", str(number))]
            if "upgrade" in request:
                return self.tunnel(connection, request, number, dice)
            mood = dice.random()
            if mood < 0.03:
                return  # without reading the body, without an answer
            if mood < 0.07 and request.method != "HEAD":
                # An answer before the body was read, and the end.
                connection.send(reply(413, piece(number, 100), fields + [("Connection", "close")]))
                return
            connection.read_request_body(request)
            if request.body != piece(number, len(request.body)):
                self.failures.append(f"the backend got another's body with {number}: {request.body[:60]}")
            body = b"" if request.method == "HEAD" else piece(number, size)
            if mood < 0.10:
                connection.perform([reply(200, body, fields)[:-max(1, size // 2)], RESET])
                return
            if mood < 0.15:
                connection.send(b"HTTP/1.1 103 Early Hints\r\nX-Number: %d\r\n\r\n" % number)
            if mood < 0.20:
                time.sleep(dice.random() / 20)
            status = dice.choice((200, 200, 200, 200, 404, 503))
            form = dice.random()
            if request.method == "HEAD":
                connection.send(reply(status, b"", fields + [("Content-Length", str(size))], length=False))
            elif form < 0.4:
                self.send_in_pieces(connection, reply(status, body, fields), dice)
            elif form < 0.8 and request.version == 1:
                cut = dice.randrange(size + 1)
                chunks = [part for part in (body[:cut], body[cut:]) if part]
                self.send_in_pieces(connection, reply(
                    status, chunked(*chunks), fields + [("Transfer-Encoding", "chunked")], length=False), dice)
            else:
                connection.send(reply(status, body, fields + [("Connection", "close")], length=False))
                return
            if request.version == 0 or (request.get("connection") or "").lower() == "close" or dice.random() < 0.05:
                return

    def send_in_pieces(self, connection, data, dice):
        if dice.random() < 0.5:
            return connection.send(data)
        at = 0
        while at < len(data):
            step = dice.choice((1, 10, 100, 5000, 100000))
            connection.send(data[at:at + step])
            at += step
            if dice.random() < 0.1:
                time.sleep(0.002)

    def tunnel(self, connection, request, number, dice):
        if dice.random() < 0.2:
            connection.send(reply(403, piece(number, 50), [("X-Number", str(number)), ("Connection", "close")]))
            return
        connection.send(switching(request.get("sec-websocket-key"), [("X-Number", str(number))]) + piece(number, 30))
        while connection.buffer or connection.fill():
            data = bytes(connection.buffer)
            connection.buffer.clear()
            connection.log.clear()
            if dice.random() < 0.02:
                return
            connection.send(data)

    # MARK: The client's side

    def client(self, port, index):
        dice = random.Random(f"{self.seed}-{index}")
        while time.monotonic() < self.over:
            try:
                with Client(port, timeout=10) as client:
                    self.converse(client, dice)
            except (Closed, ConnectionResetError, BrokenPipeError):
                self.count("broken off")
            except (WireError, TimeoutError, AssertionError, ValueError) as error:
                self.failures.append(f"client: {type(error).__name__} {error}")
            except OSError as error:
                self.failures.append(f"client: {error!r}")

    def converse(self, client, dice):
        for _ in range(dice.randrange(1, 8)):
            if dice.random() < 0.1:
                return self.speak_through_a_tunnel(client, dice)
            batch = [self.request(dice) for _ in range(dice.choice((1, 1, 1, 2, 5)))]
            data = b"".join(request for request, *_ in batch)
            if dice.random() < 0.06:
                client.send(data[:dice.randrange(len(data))])
                self.count("given up while sending")
                return
            if dice.random() < 0.3:
                cut = dice.randrange(len(data))
                client.send(data[:cut])
                if dice.random() < 0.3:
                    time.sleep(0.002)
                client.send(data[cut:])
            else:
                client.send(data)
            for _, number, method, size in batch:
                if dice.random() < 0.04:
                    if dice.random() < 0.5:
                        client.reset()
                    self.count("given up while waiting")
                    return
                response = client.read_response(method)
                self.check(response, number, method, size)
                if (response.get("connection") or "").lower() == "close":
                    return

    def request(self, dice):
        number = self.number()
        size = dice.choice((1, 20, 1000, 5000, 70000))
        method = dice.choice(("GET", "GET", "GET", "POST", "PUT", "HEAD"))
        target = dice.choice(("/", "/", "/single", "/old", "/pages", "/again")) + f"?{number}"
        lines = [f"{method} {target} HTTP/1.1", "Host: a", f"X-Number: {number}", f"X-Size: {size}"]
        body = b""
        if method in ("POST", "PUT"):
            body = piece(number, dice.choice((0, 1, 100, 3000, 40000)))
            if dice.random() < 0.5:
                lines.append(f"Content-Length: {len(body)}")
            else:
                lines.append("Transfer-Encoding: chunked")
                body = chunked(body) if body else chunked()
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body, number, method, size

    def check(self, response, number, method, size):
        self.count(response.status)
        named = response.get("x-number")
        for interim in response.interim:
            if interim.get("x-number") != str(number):
                self.failures.append(f"an interim response of {interim.get('x-number')} for {number}")
        if named is not None and named != str(number):
            self.failures.append(f"{number} got the answer to {named}")
        if named is None:
            if response.status not in (400, 408, 502, 504) and response.body != b"local page" and method != "HEAD":
                self.failures.append(f"{number}: an answer {response.status} to {method} that is nobody's: {response.raw!r}")
        elif method != "HEAD":
            length = {413: 100, 403: 50}.get(response.status, size)
            if response.body != piece(number, length):
                self.failures.append(f"{number}: wrong body of {len(response.body)}: {response.body[:80]}")

    def speak_through_a_tunnel(self, client, dice):
        number = self.number()
        early = piece(number, 40) if dice.random() < 0.3 else b""
        client.send(handshake(f"/?{number}", [("X-Number", str(number)), ("X-Size", "10")]) + early)
        response = client.read_response_head()
        if response.status != 101:
            client.read_response_body(response)
            self.check(response, number, "GET", 10)
            assert client.is_closed(5), "a connection is kept after a refused handshake"
            return
        self.count(101)
        assert response.get("x-number") == str(number)
        expected = piece(number, 30) + early
        for _ in range(dice.randrange(6)):
            assert client.read_exactly(len(expected)) == expected, f"{number}: another's bytes in a tunnel"
            expected = piece(number, dice.choice((1, 200, 20000, 100000)))
            client.send(expected)
        if dice.random() < 0.5:
            client.finish()
            rest = client.read_rest()
            assert expected.startswith(rest), f"{number}: another's bytes at a tunnel's end"


@pytest.mark.switchyard_only  # nginx 1.22 takes a 103 for the answer
@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, 3])
def test_nobody_gets_what_is_anothers(proxy, backends, workers):
    seed = os.environ.get("CHAOS_SEED") or str(random.randrange(1 << 32))
    print(f"CHAOS_SEED={seed}")
    chaos = Chaos(seed)
    made = proxy(
        config=whole(CONFIGURATION).replace("worker_processes 1", f"worker_processes {workers}"),
        values={"one": backends(program=chaos.program), "two": backends(program=chaos.program)})
    before = len(os.listdir(f"/proc/{made.pid}/fd"))
    threads = [threading.Thread(target=chaos.client, args=(made.port, index)) for index in range(CLIENTS)]
    for thread in threads:
        thread.start()
    reloads = 0
    while time.monotonic() < chaos.over:
        time.sleep(min(1.5, SECONDS / 5))
        made.reload()
        reloads += 1
    for thread in threads:
        thread.join(30)
    assert made.is_running
    print("\n".join(chaos.failures), chaos.counts)
    assert not chaos.failures
    assert chaos.counts.get(200, 0) > 100 and chaos.counts.get(101, 0) > 5 and reloads > 2
    assert made.fetch("/alive").text == "alive"
    # Nothing is left behind: this connection, and the few kept ones to the backends.
    wait_for(lambda: made.fetch("/status").text.startswith("Active connections: 1 \n"), 10, "one connection left")
    wait_for(lambda: len(os.listdir(f"/proc/{made.pid}/fd")) < before + 4 + 8 * workers, 10, "descriptors given back")
