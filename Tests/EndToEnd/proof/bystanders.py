"""Clients and a backend that do nothing wrong beside all that goes wrong, in a process of their own.

A process of their own, so that what they measure is the proxy's time and not that of the threads that make faults.
"""

import contextlib
import json
import pathlib
import random
import subprocess
import sys
import threading
import time

from harness.backend import Backend
from harness.websocket import frame, handshake
from harness.wire import Client, Closed, WireError

from .traffic import Numbers, piece, read_message, steady

# Seconds within which everything is answered.
PATIENCE = 15.0
PAUSE = 0.01


class Bystander:
    """One client in a thread: `converse` makes exchanges on a connection until it is to rest."""

    def __init__(self, crowd, target):
        self.crowd = crowd
        self.target = target
        self.times = []
        self.failures = []
        self.resting = threading.Event()
        self.resting.set()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            self.crowd.awake.wait()
            self.resting.clear()
            # Looked at again: who is told to rest between the two lines above has rested all the while.
            if not self.crowd.awake.is_set():
                self.resting.set()
                continue
            try:
                with Client(self.crowd.port, timeout=PATIENCE) as client:
                    self.converse(client)
            except (Closed, WireError, OSError, ValueError) as error:
                self.failures.append(f"{self.kind} {self.target}: {type(error).__name__} {error}"[:300])
                time.sleep(0.05)
            finally:
                self.resting.set()

    def go_on(self):
        time.sleep(PAUSE)
        return self.crowd.awake.is_set() and not (self.crowd.only_kept and not self.is_kept)

    is_kept = True


class Requests(Bystander):
    kind = "request"

    def converse(self, client):
        self.exchange(client)
        while self.go_on():
            self.exchange(client)

    def exchange(self, client):
        number = self.crowd.numbers.next()
        size = self.crowd.dice.choice((2, 200, 3000, 20000))
        body = piece(number, self.crowd.dice.choice((0, 0, 100, 9000)))
        started = time.perf_counter()
        response = client.fetch(
            self.target, "POST" if body else "GET", [("X-Number", str(number)), ("X-Size", str(size))], body)
        self.times.append(time.perf_counter() - started)
        client.log.clear()
        if response.status != 200:
            self.failures.append(f"{self.kind} {self.target}: status {response.status} {response.body[:80]}")
        elif response.get("x-number") != str(number) or response.body != piece(number, size):
            self.failures.append(
                f"cross-talk: {number} got the answer to {response.get('x-number')}, {response.body[:60]}")


class NewConnections(Requests):
    kind = "request on a connection of its own"
    is_kept = False

    def converse(self, client):
        if self.crowd.only_kept:
            return time.sleep(PAUSE)
        self.exchange(client)
        time.sleep(PAUSE)


class Messages(Bystander):
    kind = "message"

    def converse(self, client):
        number = self.crowd.numbers.next()
        client.send(handshake(self.target, [("X-Number", str(number))]))
        response = client.read_response_head()
        if response.status != 101 or response.get("x-number") != str(number):
            raise WireError(f"status {response.status}, number {response.get('x-number')} for {number}")
        self.exchange(client, number)
        while self.go_on():
            self.exchange(client, number)
        client.send(frame(b"\x03\xe8", opcode=8, masked=True))
        if read_message(client) is not None:
            raise WireError("a message after the last")

    def exchange(self, client, tunnel):
        number = self.crowd.numbers.next()
        message = piece(tunnel, 20) + piece(number, self.crowd.dice.choice((20, 500, 3000)))
        started = time.perf_counter()
        client.send(frame(message, masked=True))
        answer = read_message(client)
        self.times.append(time.perf_counter() - started)
        client.log.clear()
        if answer is None:
            raise WireError("a close frame")
        if answer != message:
            self.failures.append(f"cross-talk: message {number} of {tunnel} was answered by {answer[:60]}")


class Crowd:
    """The bystanders' process: what it runs, and the commands that it takes."""

    def __init__(self, seed):
        self.dice = random.Random(f"bystanders {seed}")
        self.numbers = Numbers(self.dice)
        self.awake = threading.Event()
        self.only_kept = False
        self.port = None
        self.members = []
        self.backend = Backend(program=steady)

    def serve(self):
        """Takes commands from standard input, a line of JSON each, and answers each with one."""
        for line in sys.stdin:
            command, argument = json.loads(line)
            print(json.dumps(getattr(self, command)(argument)), flush=True)

    def address(self, _):
        return str(self.backend)

    def start(self, argument):
        self.port, kinds = argument
        self.members = [globals()[kind](self, target) for kind, target in kinds]

    def wake(self, only_kept):
        """Everybody begins; or all but those that make connections for each request."""
        self.only_kept = only_kept
        self.awake.set()

    def rest(self, _):
        """Everybody ends what is under way, closes, and so does the backend; returns what has happened since."""
        self.awake.clear()
        end = time.monotonic() + 2 * PATIENCE
        stuck = [f"{member.kind} {member.target}: not over in {2 * PATIENCE} s" for member in self.members
                 if not member.resting.wait(max(0, end - time.monotonic()))]
        self.backend.drop()
        times, failures = [], stuck
        for member in self.members:
            times += member.times
            failures += member.failures
            member.times, member.failures = [], []
        return times, failures


class Bystanders:
    """The way to that process. `address` is its backend's."""

    def __init__(self, seed):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proof.bystanders", str(seed)], cwd=pathlib.Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.call("address")

    def call(self, command, argument=None):
        self.process.stdin.write(json.dumps([command, argument]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(10)


if __name__ == "__main__":
    Crowd(sys.argv[1]).serve()
