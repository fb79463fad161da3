"""Counts what the proxy executes under a load: the same on every machine, unlike the time that it takes.

Valgrind's processor is the same everywhere, and what was counted before and after the load is left out.
"""

import collections
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from . import ports

CONFIGURATION = """\
daemon off;
pid DIRECTORY/proxy.pid;
error_log DIRECTORY/error.log error;
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream backend { server 127.0.0.1:BACKEND; keepalive 64; keepalive_requests 1000000; }
    server {
        listen 127.0.0.1:PORT;
        SERVER
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        location / {
            proxy_pass http://backend;
            LOCATION
        }
    }
}
"""
# The hooks whose cost is followed: one reads a field and sets one, the other looks at each message.
HEADER_HOOK = "request_by_lua_block { if flow.req.headers['Accept'] then flow.req.headers['X-Seen'] = 'yes' end }"
MESSAGE_HOOK = "message_by_lua_block { if #msg.data == 0 then seen = true end }"
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}


class Counts:
    """What callgrind's file says."""

    def __init__(self, text):
        # Instructions by function, of those that it executed by itself.
        self.by_function = collections.Counter()
        self.allocations = 0
        names, current, callee, calls = {}, None, None, 0
        for line in text.splitlines():
            if match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
                called, number, name = match.groups()
                if name is not None:
                    # A function called from within itself has a number behind its name.
                    names[number] = name.split("'")[0]
                if called:
                    callee = names[number]
                else:
                    current = names[number]
            elif line.startswith("calls="):
                calls = int(line[6:].split()[0])
                if callee in ALLOCATORS:
                    self.allocations += calls
            elif current and line[:1] in "+-*0123456789" and len(parts := line.split()) > 1:
                # The line after a call has what the call took, inner calls included.
                if not calls:
                    self.by_function[current] += int(parts[1])
                calls = 0

    @property
    def instructions(self):
        return sum(self.by_function.values())


def need_valgrind():
    if shutil.which("valgrind") is None:
        raise SystemExit(f"{pathlib.Path(sys.argv[0]).name}: needs valgrind (apt-get install valgrind)")


def strip(binary, directory):
    """A copy without debug information, as valgrind does not read all that Swift writes of it."""
    stripped = directory / "switchyard"
    subprocess.run(["strip", "-g", "-o", str(stripped), str(binary)], check=True)
    return stripped


def count(binary, bench, directory, location, load):
    """The `Counts` of one run of the load, an equal one having gone before it.

    `binary` comes from `strip`; `load` is what `switchyard-bench` is told, but for where to connect; or, after `h2load`,
    what that is told."""
    port, backend_port = ports.free_port(), ports.free_port()
    text = CONFIGURATION
    is_http2 = load[0] == "h2load"
    for name, value in (("DIRECTORY", directory), ("PORT", port), ("BACKEND", backend_port), ("LOCATION", location),
                        ("SERVER", "http2 on;" if is_http2 else "")):
        text = text.replace(name, str(value))
    (directory / "conf").write_text(text)
    counts = directory / "counts"
    counts.unlink(missing_ok=True)
    # The count of what is allocated would depend on arenas otherwise, which are made by threads that meet.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    with subprocess.Popen([bench, "backend", f"--listen=127.0.0.1:{backend_port}"], stdout=subprocess.DEVNULL) as backend, \
            subprocess.Popen(
                ["valgrind", "--tool=callgrind", "--demangle=no", "--instr-atstart=no", f"--callgrind-out-file={counts}",
                 str(binary), "-c", str(directory / "conf")], stderr=subprocess.DEVNULL, env=environment) as proxy:
        try:
            while not (ports.is_listening(port) and ports.is_listening(backend_port)):
                if proxy.poll() is not None or backend.poll() is not None:
                    raise SystemExit(f"a server ended: {(directory / 'error.log').read_text() or 'without a word'}")
                time.sleep(0.1)
            command = ([*load, f"http://127.0.0.1:{port}/"] if is_http2 else
                       [bench, *load, f"--connect=127.0.0.1:{port}", "--timeout=120"])
            # What happens once is not counted.
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            for switch in ("on", "off"):
                subprocess.run(["callgrind_control", "-i", switch, str(proxy.pid)], check=True, capture_output=True)
                if switch == "on":
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        finally:
            proxy.send_signal(signal.SIGTERM)
            backend.terminate()
    return Counts(counts.read_text(errors="replace"))
