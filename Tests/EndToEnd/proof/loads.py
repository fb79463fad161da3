"""Kinds of ordinary traffic that go on for long; each is a thread that makes one step after the other."""

import threading
import time

from harness.websocket import frame, handshake
from harness.wire import Client, Closed, WireError
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from .traffic import piece, read_message

# Seconds within which everything is answered.
PATIENCE = 15.0


class Gate:
    """Lets loads pass, or has them wait between two steps."""

    def __init__(self):
        self.open = threading.Event()
        self.over = False

    def rest(self, loads):
        """Returns once every load waits; the names of those that do not within a while."""
        self.open.clear()
        end = time.monotonic() + 2 * PATIENCE
        return [load.name for load in loads if not load.resting.wait(max(0, end - time.monotonic()))]


class Load:
    """`step` makes some exchanges on `client`, which is opened anew after each failure and by who has none."""

    pause = 0.02
    kept = True

    def __init__(self, gate, port, numbers, dice):
        self.gate = gate
        self.port = port
        self.numbers = numbers
        self.dice = dice
        self.client = None
        self.requests = self.messages = 0
        self.times = []
        self.failures = []
        self.resting = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def name(self):
        return self.__doc__.split("\n")[0].rstrip(".")

    def _run(self):
        while not self.gate.over:
            if not self.gate.open.is_set() and (self.client or not self.kept or self.resting.is_set()):
                if not self.kept:
                    self.end()
                self.resting.set()
                self.gate.open.wait(0.2)
                continue
            try:
                # Who was cut off is there again before it rests: samples count the same connections.
                if self.client is None:
                    self.client = self.begin()
                if not self.gate.open.is_set():
                    continue
                self.resting.clear()
                if not self.gate.open.is_set():
                    continue
                self.step()
                if not self.kept:
                    self.end()
            except (Closed, WireError, OSError, ValueError, WebSocketException, TimeoutError) as error:
                self.failures.append(f"{self.name}: {type(error).__name__} {error}"[:300])
                self.end()
                if not self.gate.open.is_set():
                    self.resting.set()
                time.sleep(0.1)
            time.sleep(self.pause)
        self.end()

    def begin(self):
        return Client(self.port, timeout=PATIENCE)

    def end(self):
        client, self.client = self.client, None
        if client:
            client.close()

    def timed(self, work):
        started = time.perf_counter()
        result = work()
        self.times.append(time.perf_counter() - started)
        return result

    def ask(self, target, size=200, body_size=0, status=200):
        number = self.numbers.next()
        body = piece(number, body_size)
        response = self.timed(lambda: self.client.fetch(
            target, "POST" if body else "GET", [("X-Number", str(number)), ("X-Size", str(size))], body))
        self.client.log.clear()
        self.requests += 1
        if response.status != status:
            raise WireError(f"{target}: status {response.status}, expected {status}")
        if status == 200 and (response.get("x-number") != str(number) or response.body != piece(number, size)):
            raise WireError(f"cross-talk at {target}: {number} got {response.get('x-number')}, {response.body[:60]}")


class Kept(Load):
    """requests on a kept connection"""

    def step(self):
        self.ask("/plain/", self.dice.choice((2, 200, 5000)), self.dice.choice((0, 0, 300)))


class Fresh(Load):
    """requests on new connections"""

    kept = False

    def step(self):
        self.ask("/plain/")


class Large(Load):
    """large bodies"""

    pause = 0.1

    def step(self):
        self.ask("/plain/", self.dice.choice((100, 1 << 20)), self.dice.choice((0, 300000, 1 << 20)))
        self.times.clear()


class Scripted(Load):
    """requests with scripts, shared dictionaries and timers"""

    def step(self):
        self.ask("/script/", self.dice.choice((200, 5000)), self.dice.choice((0, 300)))


class Fetching(Load):
    """requests whose scripts fetch"""

    pause = 0.05

    def step(self):
        self.ask("/fetch/")


class Failing(Load):
    """requests that fail"""

    pause = 0.05
    # A 500 closes the connection, as in nginx.
    kept = False

    def step(self):
        target, status = self.dice.choice((("/error/script", 500), ("/error/missing", 404), ("/error/dead", 502)))
        self.ask(target, status=status)
        with Client(self.port, timeout=PATIENCE) as other:
            other.send(self.dice.choice((b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\r\n\r\n", b"GET /\r\nHost : a\r\n\r\n")))
            other.read_to_the_end()
            self.requests += 1


class Abandoned(Load):
    """requests and handshakes that clients give up"""

    pause = 0.1
    kept = False

    def step(self):
        number = self.numbers.next()
        data = self.dice.choice((handshake("/tunnel/"), b"GET /plain/ HTTP/1.1\r\nHost: a\r\n"
                                 b"X-Size: 500000\r\nX-Number: %d\r\n\r\n" % number))
        self.client.send(data[:self.dice.choice((1, 20, len(data)))])
        time.sleep(self.dice.choice((0, 0.01)))
        self.client.reset()
        self.client = None
        self.requests += 1


class Opaque(Load):
    """messages through a tunnel that nobody looks at, written by hand"""

    target = "/tunnel/"

    def begin(self):
        client = Client(self.port, timeout=PATIENCE)
        client.send(handshake(self.target))
        if (status := client.read_response_head().status) != 101:
            client.close()
            raise WireError(f"{self.target}: status {status}")
        return client

    def step(self):
        message = piece(self.numbers.next(), self.dice.choice((20, 500, 3000)))

        def exchange():
            self.client.send(frame(message, masked=True))
            return read_message(self.client, lambda payload: self.client.send(frame(payload, opcode=10, masked=True)))

        answer = self.timed(exchange)
        self.client.log.clear()
        self.messages += 1
        if answer != message:
            raise WireError(f"cross-talk: {message[:20]} was answered by {(answer or b'a close')[:60]}")


class Sockets(Load):
    """messages of the websockets library"""

    target = "/tunnel/"
    compression = None
    suffix = ""
    sizes = (20, 500, 20000)

    @property
    def name(self):
        return f"messages of the websockets library at {self.target}"

    def begin(self):
        return connect(f"ws://127.0.0.1:{self.port}{self.target}", compression=self.compression, max_size=16 << 20,
                       open_timeout=PATIENCE, close_timeout=PATIENCE, ping_interval=None, proxy=None)

    def step(self):
        message = piece(self.numbers.next(), self.dice.choice(self.sizes)).decode()

        def exchange():
            self.client.send(message)
            while (answer := self.client.recv(PATIENCE)) == "tick":
                self.messages += 1
            return answer

        answer = self.timed(exchange)
        self.messages += 1
        if answer != message + self.suffix:
            raise WireError(f"cross-talk: {message[:20]} was answered by {answer[:60]}")


class Hooked(Sockets):
    target, suffix = "/hook/", "!"


class Deflated(Sockets):
    target, compression = "/tunnel/deflated/", "deflate"


class DeflatedHooked(Sockets):
    target, compression, suffix = "/hook/deflated/", "deflate", "!"


class OurDeflate(Sockets):
    target, compression = "/deflate/", "deflate"


class Pinged(Sockets):
    target, pause = "/pings/", 0.1


class Ticking(Sockets):
    target, pause = "/timers/", 0.05


class Short(Sockets):
    """Ten messages, and another WebSocket: of each kind in turn."""

    kept = False
    pause = 0.05

    def begin(self):
        self.target, self.compression, self.suffix = self.dice.choice((
            ("/tunnel/", None, ""), ("/hook/", None, "!"), ("/hook/deflated/", "deflate", "!"), ("/deflate/", "deflate", ""),
            ("/timers/", None, "")))
        return super().begin()

    def step(self):
        for _ in range(10):
            super().step()


LOADS = {
    "requests": [Kept, Kept, Fresh, Large], "errors": [Failing, Abandoned], "scripts": [Scripted, Fetching],
    "websockets": [Opaque, Sockets, Hooked, Deflated, DeflatedHooked, OurDeflate, Pinged, Ticking, Short, Short]}
