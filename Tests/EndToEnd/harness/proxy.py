"""The proxy under test as a process: Switchyard, or nginx where `PROXY=nginx` is set.

A configuration is given as text with `<name>` where a port, an address or the directory belongs.
"""

import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time

from . import ports
from .wire import fetch, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
NGINX = os.environ.get("NGINX", "/usr/sbin/nginx")


def raise_file_limit(wanted=65536):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0 and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def switchyard_binary():
    given = os.environ.get("SWITCHYARD")
    if given:
        return given
    for build in ("release", "debug"):
        path = ROOT / ".build" / build / "switchyard"
        if path.exists():
            return str(path)
    raise RuntimeError("no switchyard binary: build it, or set SWITCHYARD")


def binary(kind):
    return NGINX if kind == "nginx" else switchyard_binary()


def default_kind():
    return os.environ.get("PROXY", "switchyard")


def substitute(text, values):
    """Replaces each `<name>` that is in `values`. Named groups of patterns keep theirs by other names."""
    return re.sub(r"<([a-z0-9_]+)>", lambda m: str(values[m[1]]) if m[1] in values else m[0], text)


PRELUDE = """\
daemon off;
pid <dir>/proxy.pid;
error_log <dir>/error.log info;
worker_processes 1;
events { worker_connections 4096; }
"""


def whole(http, main=""):
    """A whole configuration around what stands in its `http` block."""
    return PRELUDE + main + "http {\n    include <dir>/paths.conf;\n" + http + "\n}\n"


class Proxy:
    """A running proxy. `port` is the port of `<port>`; further ports by `values`."""

    def __init__(self, config, directory, kind=None, values=None, args=(), start=True, wait=True, environment=None):
        self.kind = kind or default_kind()
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        os.chmod(self.directory, 0o777)
        # Where logs go of which a configuration does not speak.
        (self.directory / "logs").mkdir(exist_ok=True)
        self.values = {"port": None, "dir": str(self.directory), **(values or {})}
        if self.values["port"] is None:
            self.values["port"] = ports.free_port()
        self.port = self.values["port"]
        self.args = list(args)
        # Variables beside those that this process has.
        self.environment = environment or {}
        self.process = None
        self.config_path = self.directory / "proxy.conf"
        paths = ""
        if self.kind == "nginx":
            names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            paths = "".join(f"{name}_temp_path {self.directory}/{name}_temp;\n" for name in names)
            # What later versions of nginx do without being told.
            paths += "ssl_protocols TLSv1.2 TLSv1.3;\nproxy_ssl_protocols TLSv1.2 TLSv1.3;\n"
        (self.directory / "paths.conf").write_text(paths)
        self.write(config)
        if start:
            self.start(wait)

    def write(self, config):
        """(Re)writes the configuration file; a `reload` makes it effective."""
        text = substitute(config, self.values)
        if self.kind == "nginx" and os.geteuid() == 0 and not re.search(r"^user ", text, re.M):
            text = "user root;\n" + text
        self.config_path.write_text(text)

    def command(self, *args):
        return [binary(self.kind), "-c", str(self.config_path), "-p", str(self.directory), *args]

    def run(self, *args, timeout=20):
        """Runs the binary beside the process with the same file, as `-t` or `-s reload` do."""
        return subprocess.run(
            self.command(*args), capture_output=True, text=True, timeout=timeout, errors="replace")

    def start(self, wait=True):
        raise_file_limit()
        self.output = open(self.directory / "output.txt", "ab")
        self.process = subprocess.Popen(
            self.command(*self.args), stdout=self.output, stderr=self.output, cwd=self.directory,
            env={**os.environ, **self.environment})
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.stop()
                raise

    def wait_ready(self, seconds=15.0):
        end = time.monotonic() + seconds
        while not ports.is_listening(self.port):
            if self.process.poll() is not None:
                raise AssertionError(f"the proxy ended with {self.process.returncode}:\n{self.logs()}")
            if time.monotonic() > end:
                raise AssertionError(f"the proxy does not listen after {seconds} s:\n{self.logs()}")
            time.sleep(0.005)

    def logs(self):
        found = []
        for name in ("output.txt", "error.log"):
            path = self.directory / name
            if path.exists():
                found.append(f"--- {name}\n{path.read_text(errors='replace')[-6000:]}")
        return "\n".join(found)

    def log(self, name="error.log"):
        path = self.directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def log_lines(self, name, count, seconds=5.0):
        """The lines of a log, once there are `count`."""
        wait_for(lambda: self.log(name).count("\n") >= count, seconds, f"{count} lines in {name}")
        return self.log(name).splitlines()

    @property
    def pid(self):
        return self.process.pid

    @property
    def worker_pids(self):
        """The processes that serve: nginx's workers, or Switchyard's one process."""
        if self.kind != "nginx":
            return [self.pid]
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as children:
            return [int(pid) for pid in children.read().split()]

    def signal(self, number):
        os.kill(self.pid, number)

    def reload(self, config=None):
        """Signals HUP, having rewritten the file where `config` is given."""
        if config is not None:
            self.write(config)
        self.signal(signal.SIGHUP)

    def fetch(self, target="/", **rest):
        return fetch(self.port, target, **rest)

    def wait_exit(self, seconds=10.0):
        return self.process.wait(seconds)

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Ends the process, for good where it does not go by itself; returns its exit code."""
        if self.process is None:
            return None
        if self.is_running:
            workers = self.worker_pids
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                if self.kind == "nginx":
                    for pid in workers:
                        try:
                            os.kill(pid, signal.SIGKILL)
                        except ProcessLookupError:
                            pass
        self.output.close()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def discard(self):
        shutil.rmtree(self.directory, ignore_errors=True)
