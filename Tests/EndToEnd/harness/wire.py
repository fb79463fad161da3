"""HTTP/1.1 messages as bytes: a strict reader for both ends of the proxy, and a client on a bare socket.

The reader accepts only what RFC 9112 lets a sender produce. A proxy's output that it refuses is a failed test.
"""

import re
import socket
import time
from dataclasses import dataclass, field

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~\x80-\xff]+) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(;[\t -~\x80-\xff]*)?")


class WireError(AssertionError):
    """A message that no conforming sender produces."""


class Closed(Exception):
    """The connection ended where more was due."""


@dataclass
class Message:
    """A request or a response. `raw` is its head as received; `trailers` are a chunked body's."""

    raw: bytes
    version: int
    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)
    was_chunked: bool = False

    def values(self, name):
        wanted = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == wanted]

    def get(self, name, default=None):
        """The field's value as text, several of one name joined by `, `."""
        values = self.values(name)
        return b", ".join(values).decode("latin-1") if values else default

    def names(self):
        return [key.decode("latin-1") for key, _ in self.fields]

    def __contains__(self, name):
        return bool(self.values(name))


@dataclass
class Request(Message):
    method: str = ""
    target: str = ""


@dataclass
class Response(Message):
    status: int = 0
    reason: str = ""
    interim: list = field(default_factory=list)

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


def parse_fields(lines):
    fields = []
    for line in lines:
        match = FIELD_LINE.fullmatch(line)
        if not match:
            raise WireError(f"malformed field line {line!r}")
        fields.append((match[1], match[2]))
    return fields


def parse_head(head):
    """Splits a head, CRLF CRLF included, into start line and fields."""
    if not head.endswith(b"\r\n\r\n"):
        raise WireError(f"head without end: {head!r}")
    lines = head[:-4].split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise WireError(f"control character in {line!r}")
    return lines[0], parse_fields(lines[1:])


def parse_request_head(head):
    line, fields = parse_head(head)
    match = REQUEST_LINE.fullmatch(line)
    if not match:
        raise WireError(f"malformed request line {line!r}")
    return Request(
        raw=head, version=int(match[3]), fields=fields, method=match[1].decode(), target=match[2].decode("latin-1"))


def parse_response_head(head):
    line, fields = parse_head(head)
    match = STATUS_LINE.fullmatch(line)
    if not match:
        raise WireError(f"malformed status line {line!r}")
    return Response(
        raw=head, version=int(match[1]), fields=fields, status=int(match[2]), reason=match[3].decode("latin-1"))


def body_length(message):
    """`"chunked"`, a number of bytes, or None where no field tells."""
    codings = message.values("transfer-encoding")
    lengths = message.values("content-length")
    if codings:
        if lengths:
            raise WireError("both transfer-encoding and content-length")
        if [c.lower() for c in codings] != [b"chunked"]:
            raise WireError(f"transfer-encoding {codings!r}")
        return "chunked"
    if lengths:
        if len(lengths) != 1 or not lengths[0].isdigit():
            raise WireError(f"content-length {lengths!r}")
        return int(lengths[0])
    return None


class Reader:
    """Buffered reading from a socket, and everything that was received in `log`."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.log = bytearray()
        self.at_end = False

    def fill(self):
        if self.at_end:
            return False
        data = self.sock.recv(65536)
        if not data:
            self.at_end = True
            return False
        self.buffer += data
        self.log += data
        return True

    def read_until(self, delimiter):
        start = 0
        while True:
            at = self.buffer.find(delimiter, start)
            if at >= 0:
                end = at + len(delimiter)
                taken = bytes(self.buffer[:end])
                del self.buffer[:end]
                return taken
            start = max(0, len(self.buffer) - len(delimiter) + 1)
            if not self.fill():
                raise Closed(f"connection ended after {bytes(self.buffer)[-200:]!r}")

    def read_exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise Closed(f"connection ended {count - len(self.buffer)} bytes short")
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def read_rest(self):
        while self.fill():
            pass
        taken = bytes(self.buffer)
        self.buffer.clear()
        return taken

    def read_to_the_end(self):
        """What comes until the peer closes or, because a message is not whole, resets."""
        try:
            return self.read_rest()
        except ConnectionResetError:
            return bytes(self.buffer)

    def read_chunked(self):
        body = bytearray()
        while True:
            line = self.read_until(b"\r\n")[:-2]
            match = CHUNK_SIZE.fullmatch(line)
            if not match:
                raise WireError(f"malformed chunk size {line!r}")
            size = int(match[1], 16)
            if size == 0:
                break
            body += self.read_exactly(size)
            if self.read_exactly(2) != b"\r\n":
                raise WireError("chunk does not end in CRLF")
        lines = []
        while True:
            line = self.read_until(b"\r\n")[:-2]
            if not line:
                return bytes(body), parse_fields(lines)
            lines.append(line)

    def read_request_head(self):
        """The next request's head, or None where the connection ended between requests."""
        if not self.buffer and not self.fill():
            return None
        return parse_request_head(self.read_until(b"\r\n\r\n"))

    def read_request_body(self, request):
        length = body_length(request)
        if length == "chunked":
            request.was_chunked = True
            request.body, request.trailers = self.read_chunked()
        elif length:
            request.body = self.read_exactly(length)

    def read_request(self):
        request = self.read_request_head()
        if request:
            self.read_request_body(request)
        return request

    def read_response_head(self, interim=()):
        """The next final response's head; the 1xx before it are in its `interim`. A 101 is final."""
        seen = list(interim)
        while True:
            response = parse_response_head(self.read_until(b"\r\n\r\n"))
            if 100 <= response.status < 200 and response.status != 101:
                seen.append(response)
                continue
            response.interim = seen
            return response

    def read_response_body(self, response, method="GET"):
        if method == "HEAD" or response.status in (101, 204, 304):
            return response
        length = body_length(response)
        if length == "chunked":
            response.was_chunked = True
            response.body, response.trailers = self.read_chunked()
        elif length is not None:
            response.body = self.read_exactly(length)
        else:
            response.body = self.read_rest()
        return response

    def read_response(self, method="GET"):
        return self.read_response_body(self.read_response_head(), method)


class BytesSource:
    """Lets a `Reader` read from bytes."""

    def __init__(self, data):
        self.data = data

    def recv(self, count):
        taken, self.data = self.data[:count], self.data[count:]
        return taken


def parse_requests(data):
    """Every request in `data`, which must hold whole requests and nothing else."""
    reader = Reader(BytesSource(data))
    requests = []
    while request := reader.read_request():
        requests.append(request)
    return requests


class Client(Reader):
    """A client on a bare socket. Every wait ends after `timeout` seconds with TimeoutError."""

    def __init__(self, address, timeout=10.0, receive_buffer=None):
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            if isinstance(address, int):
                address = ("127.0.0.1", address)
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect(address)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, (bytes, bytearray)) else data.encode("latin-1"))

    def finish(self):
        """Half-close: nothing more is sent, reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def request(self, target="/", method="GET", headers=(), body=b"", host="test.example", version="1.1"):
        head = [f"{method} {target} HTTP/{version}"]
        given = {name.lower() for name, _ in headers}
        if host is not None and "host" not in given:
            head.append(f"Host: {host}")
        if body and not given & {"content-length", "transfer-encoding"}:
            head.append(f"Content-Length: {len(body)}")
        head += [f"{name}: {value}" for name, value in headers]
        self.send("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    def fetch(self, target="/", method="GET", headers=(), body=b"", **rest):
        self.request(target, method, headers, body, **rest)
        return self.read_response(method)

    def is_closed(self, within=2.0):
        """Whether the peer closes, with nothing more sent, within so many seconds."""
        self.sock.settimeout(within)
        try:
            return not self.fill()
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True


def fetch(port, target="/", **rest):
    """One request on a connection of its own."""
    timeout = rest.pop("timeout", 10.0)
    with Client(port, timeout=timeout) as client:
        return client.fetch(target, **rest)


def wait_for(condition, seconds=5.0, what="condition"):
    """Polls until `condition()` is true and returns its value; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} not met within {seconds} s")
        time.sleep(0.01)


def wait_until_still(count, quiet=0.5, seconds=10.0, what="the count"):
    """Waits until `count()` has risen and then stays as it is for `quiet` seconds, and returns it."""
    wait_for(count, seconds, f"a rise of {what}")
    end = time.monotonic() + seconds
    last, since = count(), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < end, f"{what} still changes after {seconds} s"
        time.sleep(0.01)
        if (value := count()) != last:
            last, since = value, time.monotonic()
    return last
