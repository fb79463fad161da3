"""A proxy with one worker, the demo's backend behind it, and what bystanders see while others flood it."""

import contextlib
import subprocess
import time

from harness import ports
from harness.proxy import Proxy, switchyard_binary, whole

from . import floods, measured

CONFIGURATION = """
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
upstream large { server 127.0.0.1:<large>; }
upstream demo { server 127.0.0.1:<backend>; keepalive 16; }
access_log off;
keepalive_requests 1000000000;
keepalive_time 10h;
client_header_timeout <patience>;
server {
    listen 127.0.0.1:<port>;
    listen 127.0.0.1:<tls> ssl;
    http2 on;
    ssl_certificate <certificate>;
    ssl_certificate_key <key>;
    # What attackers ask for, of a backend that bystanders do not wait for.
    location /bytes { proxy_pass http://large; }
    location /slow { proxy_pass http://large; }
    location /echo { proxy_pass http://large; proxy_http_version 1.1; }
    location / {
        proxy_pass http://demo;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }
}
"""


class World:
    """`prefixes` are commands to run the proxy, the others, and the attackers under: `taskset`, `nice`."""

    def __init__(self, directory, certificate, patience="1s", prefixes=((), (), ())):
        self.prefixes = prefixes
        tls = ports.free_port()
        self.backend_ports = [ports.free_port(), ports.free_port()]
        self.backends = [
            subprocess.Popen(
                [*prefix, switchyard_binary(), "echo", "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            for prefix, port in zip(prefixes[1:], self.backend_ports)]
        self.proxy = Proxy(whole(CONFIGURATION), directory, kind="switchyard", values={
            "backend": self.backend_ports[0], "large": self.backend_ports[1], "tls": tls, "certificate": certificate, "key": certificate.key,
            "patience": patience}, start=False)
        self.ports = [self.proxy.port, tls]

    def __enter__(self):
        until = time.monotonic() + 10
        while not all(map(ports.is_listening, self.backend_ports)) and time.monotonic() < until:
            time.sleep(0.01)
        self.proxy.start()
        if self.prefixes[0]:
            # Its threads too.
            subprocess.run(
                ["taskset", "-a", "-p", "-c", self.prefixes[0][-1], str(self.proxy.pid)], check=True,
                stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *exc):
        self.proxy.stop()
        for backend in self.backends:
            backend.kill()
            backend.wait()

    def look(self, row, seconds, rate=0):
        """Bystanders' times by kind, failures, and what the attackers of `row` counted; without one, nobody else is there."""
        with contextlib.ExitStack() as stack:
            counts = {}
            if row:
                counts = stack.enter_context(floods.attack(row, self.ports, rate, self.prefixes[2]))
                time.sleep(0.5)
            with measured.clients(self.proxy.port, seconds, self.prefixes[1]) as result:
                times, failures = result()
        return times, failures, counts
