"""A backend that records every byte it gets and answers what a test tells it to.

    with Backend() as backend:                      # "ok" to everything, connections kept alive
    with Backend(answer=reply(404, b"no")) as b:    # one canned answer
    with Backend(answer=lambda request: ...) as b:  # bytes, or a list of bytes (sent piece by piece) or
                                                    # floats (seconds to wait between), or CLOSE
    with Backend(program=run) as b:                 # run(connection): full control
"""

import os
import socket
import threading
import time

from . import ports
from .wire import Closed, Reader, WireError, wait_for

CLOSE = object()
RESET = object()


def reply(status=200, body=b"ok", headers=(), reason="Some", version="1.1", length=True):
    """A response's bytes. `length=False` leaves Content-Length out."""
    lines = [f"HTTP/{version} {status} {reason}"]
    if length and not (100 <= status < 200 or status in (204, 304)):
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*chunks, trailers=()):
    """A chunked body with its end."""
    encoded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("latin-1")
    return encoded + b"0\r\n" + lines + b"\r\n"


class Connection(Reader):
    """One accepted connection."""

    def __init__(self, sock, backend):
        super().__init__(sock)
        self.backend = backend
        self.requests = []
        self.error = None
        self.is_open = True

    def send(self, data):
        self.sock.sendall(data)

    def next_request(self):
        request = self.read_request()
        if request:
            self.record(request)
        return request

    def next_head(self):
        """A request whose body is left unread."""
        request = self.read_request_head()
        if request:
            self.record(request)
        return request

    def record(self, request):
        request.connection = self
        self.requests.append(request)
        with self.backend.lock:
            self.backend.requests.append(request)

    def perform(self, answer):
        """Sends an answer; returns whether the connection stays open."""
        if callable(answer):
            answer = answer(self.requests[-1])
        for part in answer if isinstance(answer, (list, tuple)) else [answer]:
            if part is CLOSE:
                return False
            if part is RESET:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                return False
            if isinstance(part, (int, float)):
                time.sleep(part)
            else:
                self.send(part)
        return True

    def serve(self):
        while request := self.next_request():
            if not self.perform(self.backend.answer):
                return
            if (request.get("connection") or "").lower() == "close" or request.version == 0:
                return

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)


class Backend:
    """Listens on a loopback port (or `path`, a UNIX socket; or `host`) with a thread a connection."""

    def __init__(self, answer=None, program=None, path=None, host="127.0.0.1", port=None, receive_buffer=None):
        self.answer = reply() if answer is None else answer
        self.program = program or Connection.serve
        self.lock = threading.Lock()
        self.connections = []
        self.requests = []
        self.stopping = False
        self.path = path
        self.host = host
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            os.chmod(path, 0o777)
            self.address = f"unix:{path}"
            self.port = None
        else:
            self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer:
                self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.port = port or ports.free_port()
            self.listener.bind((host, self.port))
            self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.listener.listen(1024)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __str__(self):
        return self.address

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def _accept(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(sock, self)
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self.program(connection)
        except (Closed, WireError) as error:
            connection.error = error
        except OSError as error:
            connection.error = error
        finally:
            connection.is_open = False
            connection.sock.close()

    def stop(self):
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self._shut_down()
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)

    def _shut_down(self):
        with self.lock:
            for connection in self.connections:
                try:
                    connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def drop(self):
        """Ends every connection that is open, and goes on listening."""
        self._shut_down()
        with self.lock:
            self.connections[:] = [c for c in self.connections if c.is_open]

    def forget(self):
        """Drops what was recorded, open connections excepted."""
        with self.lock:
            self.requests.clear()
            self.connections[:] = [c for c in self.connections if c.is_open]

    def wait_requests(self, count, seconds=5.0):
        wait_for(lambda: len(self.requests) >= count, seconds, f"{count} requests at the backend")
        return self.requests

    @property
    def received(self):
        """All bytes of all connections, in order of connection."""
        with self.lock:
            return b"".join(bytes(connection.log) for connection in self.connections)

    @property
    def errors(self):
        with self.lock:
            return [c.error for c in self.connections if isinstance(c.error, WireError)]
