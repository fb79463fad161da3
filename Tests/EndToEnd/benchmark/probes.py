"""The ways to measure: each makes one run against one proxy, and gives a number for each of its rows."""

import json
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field

from . import process
from .peers import binary

HEADERS = ["accept: text/html,application/xhtml+xml,*/*;q=0.8", "accept-language: en-GB,en;q=0.7",
           "accept-encoding: gzip, deflate", "referer: http://localhost/start", "cookie: session=4f3c2a1b; theme=dark",
           "cache-control: max-age=0", "dnt: 1", "priority: u=0, i"]


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    unit: str
    # Whether more is better.
    ascends: bool = False
    # Whether a peer that is ahead is a bar that is missed; not where numbers are too small to be compared.
    compared: bool = True


class Failed(Exception):
    """A run did not do what it was to do."""


class Generator:
    """Runs the load generator, away from the proxy's processor."""

    def __init__(self, program):
        self.program = program

    def run(self, arguments, check=True, pinned=True):
        result = subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, timeout=150,
            preexec_fn=process.leave_first_core if pinned else None)
        if check and result.returncode != 0 or not result.stdout.startswith("{"):
            raise Failed(f"{' '.join(arguments)}: {result.stdout}{result.stderr}")
        return json.loads(result.stdout)

    def steps(self, arguments, measured, pause=0.0):
        """Runs a load that stops when its connections are open, and when its messages have returned: gives what `measured`
        gives in both."""
        running = self.start(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        found = []
        for word in ("ready", "done"):
            line = running.stdout.readline()
            if line != word + "\n":
                raise Failed(f"{' '.join(arguments)}: {line}{running.communicate()[1]}")
            time.sleep(pause)
            found.append(measured())
            running.stdin.write("\n")
            running.stdin.flush()
        output, errors = running.communicate(timeout=150)
        if running.returncode != 0:
            raise Failed(f"{' '.join(arguments)}: {output}{errors}")
        return found

    def start(self, arguments, **rest):
        return subprocess.Popen(
            [self.program, *arguments], stdout=subprocess.PIPE, text=True, preexec_fn=process.leave_first_core, **rest)


@dataclass
class Probe:
    """Something to be measured at every contender of a group, or at some."""

    # Names of contenders, where it is not for all.
    only: tuple = field(default=(), kw_only=True)

    @property
    def rows(self):
        raise NotImplementedError

    def measure(self, bench, name):
        """One value for each row."""
        raise NotImplementedError


@dataclass
class Load(Probe):
    """CPU time of the proxy for what `switchyard-bench` does `count` times."""

    name: str
    count: int
    arguments: list
    counted: str = "messages"

    @property
    def rows(self):
        return [Row(self.name, f"CPU µs per {self.counted[:-1]}")]

    def command(self, port, count):
        return [*self.arguments, f"--{self.counted}={count}", f"--connect=127.0.0.1:{port}", "--timeout=120"]

    def microseconds(self, bench, name):
        proxy = bench.proxy(name)
        count = max(self.least, int(self.count * bench.scale))
        # Where most of it is opening connections, once is enough.
        if self.least < 100 or bench.round == 0:
            bench.generator.run(self.command(proxy.port, max(self.least, count // 10)))
        command = self.command(proxy.port, count)
        if command[0] == "ws":
            # Opening and closing is measured in rows of its own.
            before, after = bench.generator.steps(
                [*command, "--stepwise"], lambda: process.cpu_nanoseconds(proxy.worker_pids))
        else:
            before = process.cpu_nanoseconds(proxy.worker_pids)
            bench.generator.run(command)
            after = process.cpu_nanoseconds(proxy.worker_pids)
        return (after - before) / count / 1000

    @property
    def least(self):
        """So many that every connection of the load does something."""
        found = [int(text.split("=")[1]) for text in self.arguments if text.startswith("--connections=")]
        return found[0] if found else 1

    def measure(self, bench, name):
        return [self.microseconds(bench, name)]


@dataclass
class Handshakes(Load):
    """How many of them a second of CPU time is enough for."""

    @property
    def rows(self):
        return [Row(self.name, "per CPU second", ascends=True)]

    def measure(self, bench, name):
        return [1e6 / self.microseconds(bench, name)]


@dataclass
class H2Load(Probe):
    """CPU time for a request over HTTP/2, without TLS, of a program that is not ours."""

    name: str
    count: int
    connections: int
    streams: int
    path: str = "/"

    @property
    def rows(self):
        return [Row(self.name, "CPU µs per request")]

    def request(self, port, count):
        fields = [part for line in HEADERS for part in ("-H", line)]
        result = subprocess.run(
            [shutil.which("h2load"), f"-n{count}", f"-c{self.connections}", f"-m{self.streams}", "-t1", *fields,
             f"http://127.0.0.1:{port}{self.path}"],
            capture_output=True, text=True, timeout=150, preexec_fn=process.leave_first_core)
        done = re.search(r"(\d+) succeeded, (\d+) failed", result.stdout)
        if not done or int(done[1]) != count or f"{count} 2xx" not in result.stdout:
            raise Failed(f"h2load: {result.stdout}{result.stderr}")

    def measure(self, bench, name):
        proxy = bench.proxy(name)
        least = self.connections * self.streams
        count = max(least, int(self.count * bench.scale))
        self.request(proxy.port, max(least, count // 10))
        before = process.cpu_nanoseconds(proxy.worker_pids)
        self.request(proxy.port, count)
        return [(process.cpu_nanoseconds(proxy.worker_pids) - before) / count / 1000]


@dataclass
class Latency(Probe):
    """Percentiles of what is due at a fixed rate, from when it was due."""

    name: str
    rate: int
    seconds: float
    arguments: list
    counted: str

    @property
    def rows(self):
        return [Row(f"{self.name}, {which}", "µs") for which in ("p50", "p99", "p99.9")]

    def measure(self, bench, name):
        port = bench.proxy(name).port

        def run(seconds):
            count = max(50, int(self.rate * seconds * min(1, bench.scale * 2)))
            return bench.generator.run([
                *self.arguments, f"--rate={self.rate}", f"--{self.counted}={count}", f"--connect=127.0.0.1:{port}"])

        run(self.seconds / 10)
        found = run(self.seconds)
        return [found["p50_us"], found["p99_us"], found["p999_us"]]


# Seconds before memory is looked at: what a proxy frees once its tunnels are idle is no tunnel's either.
QUIET = 2


@dataclass
class Memory(Probe):
    """Private memory for each of many idle tunnels: after their handshakes, and after messages on each."""

    tunnels: int
    options: tuple = ()

    @property
    def rows(self):
        return [Row(f"idle tunnel of {self.tunnels}, {when}", "bytes") for when in ("fresh", "after traffic")]

    def measure(self, bench, name):
        with bench.start(name) as proxy:
            hold = ["hold", f"--connect=127.0.0.1:{proxy.port}", "--messages-then=5", "--size=16384", "--timeout=120",
                    *self.options]

            def held(tunnels):
                return bench.generator.steps(
                    [*hold, f"--connections={tunnels}"], lambda: process.private_bytes(proxy.worker_pids), pause=QUIET)

            # What is set up once, with the first tunnel, is no tunnel's.
            held(1)
            before = process.private_bytes(proxy.worker_pids)
            return [(after - before) / self.tunnels for after in held(self.tunnels)]


@dataclass
class Scaling(Probe):
    """As much as goes through with one worker and with two, which share the processors with the load."""

    name: str
    count: int
    arguments: list
    counted: str

    @property
    def rows(self):
        thing = self.counted[:-1]
        return [Row(f"{self.name}, 1 worker", f"{self.counted} per second", ascends=True),
                Row(f"{self.name}, 2 workers", f"{self.counted} per second", ascends=True),
                Row(f"{self.name}, 2 workers of 1", f"{self.counted} per second, ratio", ascends=True, compared=False),
                Row(f"{self.name}, 1 worker, CPU", f"CPU µs per {thing}"),
                Row(f"{self.name}, 2 workers, CPU", f"CPU µs per {thing}")]

    def measure(self, bench, name):
        rates, costs = [], []
        for workers in (1, 2):
            proxy = bench.proxy(name, workers=workers, pinned=False)
            count = max(64, int(self.count * bench.scale))
            command = [*self.arguments, f"--connect=127.0.0.1:{proxy.port}"]
            bench.generator.run([*command, f"--{self.counted}={max(64, count // 10)}"], pinned=False)
            before = process.cpu_nanoseconds(proxy.worker_pids)
            found = bench.generator.run([*command, f"--{self.counted}={count}"], pinned=False)
            costs.append((process.cpu_nanoseconds(proxy.worker_pids) - before) / count / 1000)
            rates.append(count / found["seconds"])
        return [*rates, rates[1] / rates[0], *costs]


@dataclass
class Reload(Probe):
    """Requests at a fixed rate over kept connections while the configuration is loaded anew, again and again."""

    rate: int
    seconds: float
    interval: float

    @property
    def rows(self):
        return [Row("requests that failed", "of 10000", compared=False),
                Row("requests to be sent again", "of 10000", compared=False),
                Row("request, p99", "µs"), Row("request, p99.9", "µs")]

    def measure(self, bench, name):
        proxy = bench.proxy(name)
        seconds = max(0.5, self.seconds * min(1, bench.scale * 2))
        count = int(self.rate * seconds)
        over = threading.Event()

        def reload():
            while not over.wait(min(self.interval, seconds / 3)):
                proxy.reload()

        thread = threading.Thread(target=reload, daemon=True)
        thread.start()
        try:
            found = bench.generator.run(
                ["http", "--headers=10", "--connections=16", f"--rate={self.rate}", f"--requests={count}",
                 f"--connect=127.0.0.1:{proxy.port}"], check=False)
        finally:
            over.set()
            thread.join(20)
        # Those that served before the last reload are done with their connections.
        time.sleep(0.3)
        of = 10000 / count
        return [found["errors"] * of, found["retried"] * of, found["p99_us"], found["p999_us"]]


def missing(kinds):
    """Of programs that are wanted, those that are not there."""
    return [kind for kind in kinds if not (shutil.which(kind) if kind == "h2load" else binary(kind))]
