"""A Redis server as a process, on a free port, that keeps nothing on disk."""

import re
import shutil
import socket
import subprocess

from . import ports
from .wire import wait_for

AVAILABLE = shutil.which("redis-server") is not None


class Redis:
    def __init__(self, *options, port=None):
        self.port = port or ports.free_port()
        self.options = options
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             *self.options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        wait_for(lambda: ports.is_listening(self.port), 10, "a Redis that listens")

    def stop(self):
        """Ends it at once, with its connections."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, *words):
        """A command, by a connection of its own, and what comes first for it."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            return connection.recv(65536)

    def names(self):
        """The numbers of the connections, but for the one that asks."""
        return re.findall(rb"\bid=(\d+) ", self.ask("CLIENT", "LIST", "TYPE", "normal"))[:-1]

    def clients(self):
        """How many connections there are, but for the one that asks."""
        return len(self.names())

    def __str__(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
