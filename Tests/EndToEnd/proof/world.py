"""One proxy with the faulty backend behind it and bystanders beside it, and what must hold of it after each fault."""

import os
import pathlib
import random
import subprocess
import threading
import time

from harness.backend import Backend
from harness.proxy import Proxy
from harness.wire import Client, Closed, WireError

from . import watch
from .bystanders import Bystanders
from .names import MoodyNameServer
from .traffic import Numbers, piece

# Every timeout of the configuration, in seconds.
TIMEOUT = 1.0
# Within this long nothing is left of any exchange: connecting, sending, reading and closing may each take their
# timeout, one after the other, and the machine may be busy with other things.
SETTLED = 8 * TIMEOUT
# What private memory may have grown by, over all faults: drivers and buffers are recycled, not given back, and glibc
# keeps something of interpreters that a reload replaced.
TOLERANCE = 8 << 20
# And what by once scripts have taken all that they can: garbage of up to lua_memory_limit waits for its collection in each
# of the two workers' interpreters.
GREEDS = ("table", "text", "strings", "context", "pcall", "rep")
GREEDY_TOLERANCE = TOLERANCE + 2 * (2 << 20)

CONFIGURATION = """\
daemon off;
pid <dir>/proxy.pid;
error_log <dir>/error.log notice;
worker_processes 2;
worker_rlimit_nofile 4096;
events { worker_connections 4096; }
http {
    access_log <dir>/access.log;
    lua_memory_limit 2m;
    lua_hook_timeout 50ms;
    lua_shared_dict seen 1m;
    client_header_timeout 1s;
    client_body_timeout 1s;
    client_max_body_size 0;
    send_timeout 1s;
    keepalive_timeout 30s;
    keepalive_requests 1000000000;
    proxy_http_version 1.1;
    proxy_connect_timeout 1s;
    proxy_send_timeout 1s;
    proxy_read_timeout 1s;
    proxy_next_upstream off;
    websocket_close_timeout 1s;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    upstream steady { server <steady> max_fails=0; keepalive 64; keepalive_requests 1000000000; }
    upstream faulty { server <faulty> max_fails=0; keepalive 8; }
    # Without kept connections, which the faulty backend may close while a request is on its way.
    upstream fresh { server <faulty> max_fails=0; }
    server {
        listen 127.0.0.1:<port> backlog=1024;
        location /steady/ { proxy_pass http://steady; proxy_read_timeout 20s; send_timeout 20s; }
        location /steady/script/ {
            proxy_pass http://steady;
            proxy_read_timeout 20s;
            request_by_lua_block {
                sy.shared.seen:incr("requests", 1, 0)
                flow.req.headers["X-Seen"] = "yes"
            }
        }
        location /steady/hook/ {
            proxy_pass http://steady;
            proxy_read_timeout 20s;
            websocket_ping_interval 2s;
            websocket_pong_timeout 10s;
            message_by_lua_block { sy.shared.seen:incr("messages", 1, 0) }
        }
        location /faulty/ { proxy_pass http://faulty; }
        location /faulty/hook/ { proxy_pass http://faulty; message_by_lua_block { if msg.data == "drop" then return false end } }
        location /faulty/frames/ { proxy_pass http://faulty; frame_by_lua_block { if frame.size == 77 then return false end } }
        location /faulty/pings/ { proxy_pass http://faulty; websocket_ping_interval 300ms; websocket_pong_timeout 300ms; }
        location /faulty/script/ {
            proxy_pass http://faulty;
            request_by_lua_block { flow.req.headers["X-Seen"] = "yes" }
            response_by_lua_block { flow.res.headers["X-Seen"] = "yes" }
            response_body_by_lua_block { if last then sy.shared.seen:incr("bodies", 1, 0) end }
        }
        location /fresh/ { proxy_pass http://fresh; }
        location /fresh/script/ {
            proxy_pass http://fresh;
            request_by_lua_block { flow.req.headers["X-Seen"] = "yes" }
            response_by_lua_block { flow.res.headers["X-Seen"] = "yes" }
        }
        location /greedy/ { proxy_pass http://fresh; request_by_lua_file <dir>/greedy.lua; }
        location /greedy/message/ { proxy_pass http://fresh; message_by_lua_file <dir>/greedy.lua; }
        location /full/ { proxy_pass http://fresh; access_log /dev/full; error_log /dev/full info; }
        location /disk/ { proxy_pass http://fresh; access_log <disk>/access.log; error_log <disk>/error.log info; }
        location /named/ {
            resolver <names> valid=1s;
            resolver_timeout 500ms;
            proxy_pass http://$arg_name:<named>;
        }
        location = /status { stub_status; }
        location = /metrics { prometheus_metrics; }
    }
}
"""
# What a script does to take all the memory there is; the request says which by `X-Greed`.
GREEDY = """\
local greed = flow.req.headers["X-Greed"]
if greed == "table" then local t = {} for i = 1, 1e9 do t[i] = i end
elseif greed == "text" then local s = "x" while true do s = s .. s end
elseif greed == "strings" then local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end
elseif greed == "context" then for i = 1, 1e9 do flow.ctx[i] = ("x"):rep(1000) .. i end
elseif greed == "pcall" then
    local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = {} end end) end
elseif greed == "rep" then return ("x"):rep(1 << 40)
end
"""
BYSTANDERS = [
    ("Requests", "/steady/"), ("Requests", "/steady/script/"), ("NewConnections", "/steady/"),
    ("Messages", "/steady/"), ("Messages", "/steady/hook/")]


class World:
    """What the faults happen in. What breaks is in `broken`, as `(invariant, words)`."""

    def __init__(self, directory, seed, environment=None, patience=SETTLED):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.dice = random.Random(f"world {seed}")
        self.numbers = Numbers(self.dice)
        self.lock = threading.Lock()
        self.broken = []
        self.counts = {}
        self.reloads = 0
        self.share = 0.5
        self.times = []
        self.acts = {}
        self.disk = self._mount()
        # How long after a fault there may be something left of it.
        self.patience = patience
        self.tolerance = TOLERANCE
        self.standstill = Standstill()
        self.bystanders = Bystanders(seed)
        self.faulty = Backend(program=self._act)
        # Backends that names lead to must all listen on the port that the configuration tells.
        self.names = MoodyNameServer(self.dice)
        self.named = Backend(program=self._act)
        self.proxy = Proxy(CONFIGURATION, self.directory, start=False, environment=environment, values={
            "steady": self.bystanders.address, "faulty": self.faulty, "names": self.names,
            "named": self.named.port, "disk": self.disk or self.directory})
        (self.directory / "greedy.lua").write_text(GREEDY)

    def _mount(self):
        """A file system of 64 KB, where this user may make one."""
        if os.geteuid() != 0:
            return None
        path = self.directory / "disk"
        path.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", str(path)], capture_output=True)
        return path if made.returncode == 0 else None

    def __enter__(self):
        try:
            self.proxy.start()
            self.pid = self.proxy.pid
            self.bystanders.call("start", [self.proxy.port, BYSTANDERS])
            self.port = self.proxy.port
            self.warm_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        self.standstill.stop()
        self.bystanders.stop()
        self.proxy.stop()
        self.faulty.stop()
        self.named.stop()
        self.names.stop()
        if self.disk:
            subprocess.run(["umount", str(self.disk)], check=False)

    # MARK: Findings

    def fail(self, invariant, words):
        with self.lock:
            self.broken.append((invariant, words))

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    # MARK: The backend's side

    def _act(self, connection):
        """Each request is answered by what was agreed for its number. What that returns is whether the
        connection is kept."""
        connection.sock.settimeout(3 * SETTLED)
        while (request := connection.read_request_head()) is not None:
            # A client may have garbled it.
            named = request.get("x-number") or ""
            act = self.acts.get(int(named)) if named.isascii() and named.isdigit() else None
            if act is None or not act(connection, request):
                return

    # MARK: The client's side

    def begin(self, act):
        """A number for an exchange that the backend will answer so."""
        number = self.numbers.next()
        self.acts[number] = act
        return number

    def over(self, number):
        self.acts.pop(number, None)

    def head(self, number, target="/faulty/", method="GET", headers=()):
        lines = [f"{method} {target} HTTP/1.1", "Host: faulty.test", f"X-Number: {number}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def connect(self, patience=SETTLED):
        return Client(self.port, timeout=patience)

    def exchange(self, act, target="/faulty/", method="GET", headers=(), body=b"", whole=None, allowed=(502, 504)):
        """One exchange on a connection of its own. Its response must be `whole` with status 200, have a status of
        `allowed`, or be broken off; returns the status, or None. `body` may be a function that is given the client."""
        number = self.begin(act)
        try:
            with self.connect() as client:
                try:
                    if callable(body):
                        client.send(self.head(number, target, method, headers))
                        body(client, number)
                    else:
                        data = piece(number, len(body)) if body else b""
                        fields = list(headers) + ([("Content-Length", str(len(data)))] if data else [])
                        client.send(self.head(number, target, method, fields) + data)
                    response = client.read_response(method)
                    return self.judge(number, response, whole, allowed, target)
                except (Closed, ConnectionResetError, BrokenPipeError):
                    self.count("broken off")
                    return None
                except TimeoutError:
                    self.fail("stuck", f"{target}: nothing more for {SETTLED} s after {bytes(client.log)[:200]!r}")
                except WireError as error:
                    self.fail("answers", f"{target}: {error}")
                finally:
                    self.look_for_others(client, number)
        finally:
            self.over(number)

    def judge(self, number, response, whole, allowed, target="/fresh/"):
        self.count(response.status)
        if response.status == 200 and whole is not None:
            if response.body != whole(number):
                self.fail("answers", f"{number}: {len(response.body)} bytes taken for whole: {response.body[:80]!r}")
        elif allowed is not None and response.status not in allowed:
            self.fail("answers", f"{target}: status {response.status}, expected one of {(200, *allowed)}")
        return response.status

    def look_for_others(self, client, number):
        if others := self.numbers.foreign(bytes(client.log), number):
            self.fail("cross-talk", f"{number} got bytes of {sorted(others)}")

    # MARK: Invariants

    def warm_up(self):
        """Uses everything once, so that what is made at first use is there before the baseline is taken."""
        self.bystanders.call("wake", False)
        for target in ("/fresh/", "/fresh/script/", "/faulty/script/", "/full/", "/disk/", "/greedy/", "/named/?name=one.test"):
            self.exchange(answer_well, target, whole=well, allowed=())
        time.sleep(0.3)
        self.rest()
        # The proxy has seen the ends of all connections by then.
        time.sleep(0.2)
        self.baseline = watch.descriptors(self.pid)
        self.memory = watch.private_bytes(self.pid)
        self.private = self.highest = self.memory

    def rest(self):
        """Has everybody end and close; returns the bystanders' times."""
        times, failures = self.bystanders.call("rest")
        self.times += times
        for failure in failures:
            self.fail("cross-talk" if failure.startswith("cross-talk") else "bystanders", f"{failure}")
        self.faulty.drop()
        self.named.drop()
        return times

    def left(self):
        """What is not over yet, in words; empty when all is."""
        status = self.proxy.fetch("/status", timeout=TIMEOUT * 5).text.split("\n")[0]
        metrics = dict(line.rsplit(" ", 1) for line in self.proxy.fetch("/metrics").text.splitlines()
                       if line and line[0] != "#")
        tunnels = metrics.get("switchyard_tunnels_active", "0")
        found = [] if status.split() == ["Active", "connections:", "1"] else [status.strip()]
        return ", ".join(found + ([f"{tunnels} tunnels"] if tunnels != "0" else []))

    def check(self, name):
        """Lets everybody rest and holds the proxy to all invariants; returns the bystanders' times."""
        known = len(self.broken)
        times = self.rest()
        self._check_life()
        if self.proxy.is_running:
            try:
                self._check_leftovers()
            except (FileNotFoundError, ProcessLookupError):
                self.fail("life", "the proxy ended while it was looked at")
        for at in range(known, len(self.broken)):
            invariant, words = self.broken[at]
            self.broken[at] = (invariant, words if words.startswith(f"{name}: ") else f"{name}: {words}")
        return times

    def _check_life(self):
        if not self.proxy.is_running:
            self.fail("life", f"the proxy ended with {self.proxy.process.returncode}")
        for line in watch.crash_lines(self.proxy)[:5]:
            self.fail("life", line)

    def _check_leftovers(self):
        end = time.monotonic() + self.patience
        left = change = "not looked at"
        while left or change:
            try:
                left = self.left()
            except (Closed, WireError, OSError) as error:
                left = f"its status cannot be had: {error!r}"
            # The connection that asked is about to go.
            time.sleep(0.01)
            change = watch.difference(self.baseline, watch.descriptors(self.pid))
            if time.monotonic() > end:
                break
        if left:
            self.fail("stuck", f"after {self.patience} s: {left}")
        if change:
            self.fail("descriptors", change)
        self.private = watch.private_bytes(self.pid)
        self.highest = max(self.highest, self.private)
        if self.private - self.memory > self.tolerance:
            self.fail("memory", f"{self.memory >> 10} KB before, {self.private >> 10} KB now, "
                      f"tolerance {self.tolerance >> 10} KB")


class Standstill:
    """Notices when the machine, or this process on it, stood still: then timeouts have passed that nobody could keep."""

    LIMIT = 0.8 * TIMEOUT

    def __init__(self):
        self.longest = 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        before = time.monotonic()
        while not self.over.wait(0.05):
            now = time.monotonic()
            self.longest = max(self.longest, now - before)
            before = now

    def take(self):
        """The longest time that it stood still since the last call; 0 where it did not for long."""
        longest, self.longest = self.longest, 0.0
        return longest if longest > self.LIMIT else 0.0

    def stop(self):
        self.over.set()


def well(number):
    return piece(number, 120)


def answer_well(connection, request):
    """What a backend does that has nothing wrong."""
    connection.read_request_body(request)
    number = int(request.get("x-number"))
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 120\r\nX-Number: %d\r\n\r\n" % number + well(number))
    return True
