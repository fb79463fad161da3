"""A small proxy in Python with a fault of one's choice, to show that scripts/chaos and scripts/soak notice it.

    python -m proof.standin FAULT -c FILE …

It reads from the file where to listen and which location goes to which server. Faults, most of them in one of 25 requests:

    none        does nothing wrong
    descriptors leaves connections to backends open
    cross-talk  answers with what another got
    memory      keeps 200 KB of each request
    refusal     answers 500
    stuck       keeps every fifth connection of a client for good once it has ended
    crash       dies at the 250th request, in the words of a Swift program
    half        takes what came of a body in chunks for the whole
"""

import itertools
import os
import re
import select
import signal
import socket
import sys
import threading

from harness.wire import Client, Closed, Reader, WireError, body_length

EVERY = 25


class StandIn:
    def __init__(self, fault, text):
        self.fault = fault
        self.port = int(re.search(r"listen 127\.0\.0\.1:(\d+)", text)[1])
        servers = dict(re.findall(r"upstream (\w+) \{ server ([\d.:]+)", text))
        self.routes = []
        for path, rest in re.findall(r"location (/[\w/]*) \{(.*?)(?=location|\Z)", text, re.S):
            if passed := re.search(r"proxy_pass http://([\w.:$]+)", rest):
                self.routes.append((path, servers.get(passed[1], passed[1].replace("$arg_name", "127.0.0.1"))))
        self.routes.sort(key=lambda route: -len(route[0]))
        self.numbers = itertools.count(1)
        self.ended = itertools.count(1)
        self.lock = threading.Lock()
        self.active = self.tunnels = 0
        self.hoard = []
        self.last = None

    def run(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(1024)
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def change(self, name, by):
        with self.lock:
            setattr(self, name, getattr(self, name) + by)

    def serve(self, sock):
        sock.settimeout(20)
        reader = Reader(sock)
        self.change("active", 1)
        try:
            while (request := reader.read_request()) and self.answer(reader, request):
                reader.log.clear()
        except (Closed, WireError, OSError):
            pass
        finally:
            # Of ended connections alone, since a short run has hundreds of requests and few of these.
            if self.fault == "stuck" and next(self.ended) % 5 == 0:
                threading.Event().wait()
            self.change("active", -1)
            sock.close()

    def answer(self, reader, request):
        """Answers one request; whether the connection is kept."""
        if request.target == "/status":
            return self.reply(reader, 200, f"Active connections: {self.active} \n".encode())
        if request.target == "/metrics":
            return self.reply(reader, 200, f"switchyard_tunnels_active {self.tunnels}\n".encode())
        number = next(self.numbers)
        is_chosen = number % EVERY == 0
        if number == 10 * EVERY and self.fault == "crash":
            os.write(2, b"Fatal error: Index out of range\n")
            os.abort()
        if self.fault == "memory":
            self.hoard.append(b"x" * 200000 + request.target.encode())
        if is_chosen and self.fault == "refusal":
            return self.reply(reader, 500, b"chosen")
        address = next((address for path, address in self.routes if request.target.startswith(path)), None)
        if address is None:
            return self.reply(reader, 404, b"none")
        host, port = address.split(":")
        upstream = None
        try:
            upstream = Client((host, int(port)), timeout=20)
            body = request.body
            fields = [line for line in request.raw[:-4].split(b"\r\n")[1:]
                      if not line.lower().startswith((b"transfer-encoding:", b"content-length:"))]
            if body:
                fields.append(b"Content-Length: %d" % len(body))
            upstream.send(b"\r\n".join([request.raw.split(b"\r\n")[0], *fields]) + b"\r\n\r\n" + body)
            return self.pass_back(reader, request, upstream, is_chosen)
        except (Closed, WireError, OSError):
            return self.reply(reader, 502, b"bad")
        finally:
            if upstream:
                if is_chosen and self.fault == "descriptors":
                    self.hoard.append(upstream)
                else:
                    upstream.close()

    def pass_back(self, reader, request, upstream, is_chosen):
        response = upstream.read_response_head()
        if response.status == 101:
            reader.sock.sendall(response.raw)
            self.tunnel(reader, upstream)
            return False
        try:
            upstream.read_response_body(response, request.method)
        except Closed:
            if self.fault != "half" or body_length(response) != "chunked":
                raise
            response.body = b"what came"
        answer = response.status, response.body, response.get("x-number")
        if self.fault == "cross-talk" and is_chosen and self.last:
            answer, self.last = self.last, answer
        self.last = answer
        return self.reply(reader, *answer)

    def reply(self, reader, status, body, number=None):
        field = f"X-Number: {number}\r\n" if number else ""
        reader.sock.sendall(f"HTTP/1.1 {status} Some\r\nContent-Length: {len(body)}\r\n{field}\r\n".encode() + body)
        return True

    def tunnel(self, one, other):
        self.change("tunnels", 1)
        try:
            for source, sink in ((one, other), (other, one)):
                sink.sock.sendall(bytes(source.buffer))
            while True:
                ready, _, _ = select.select([one.sock, other.sock], [], [], 20)
                for sock in ready:
                    data = sock.recv(65536)
                    if not data:
                        return
                    (other if sock is one.sock else one).sock.sendall(data)
                if not ready:
                    return
        finally:
            self.change("tunnels", -1)


if __name__ == "__main__":
    # A reload changes nothing here.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open(sys.argv[sys.argv.index("-c") + 1]) as file:
        StandIn(sys.argv[1], file.read()).run()
