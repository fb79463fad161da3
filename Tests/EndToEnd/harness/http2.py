"""An HTTP/2 client on a bare socket, by python `h2`: with prior knowledge, many streams at a time, WebSockets by RFC 8441,
and frames that no client should send.

    with HTTP2Client(port) as client:
        response = client.fetch("/path", headers=[("x", "y")], body=b"...")
        stream = client.begin("/path")                 # a stream's id
        client.write(stream, b"...", end=True)
        client.response(stream)                        # until the stream's end
"""

import base64
import hashlib
import select
import socket
import struct
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from . import websocket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4


class Stream:
    """What has come on one stream."""

    def __init__(self):
        self.interim = []
        self.headers = None
        self.body = b""
        self.trailers = []
        self.ended = False
        self.reset = None
        self.unacknowledged = 0

    @property
    def status(self):
        return int(self.get(":status")) if self.headers is not None else None

    def get(self, name, default=None):
        values = [value for key, value in self.headers or [] if key == name]
        return ", ".join(values) if values else default

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def is_over(self):
        return self.ended or self.reset is not None


class HTTP2Client:
    """One connection, over TLS with an SSL context. `acknowledge=False` leaves windows as they are: the peer may send what
    they allow, and no more."""

    def __init__(self, port, host="127.0.0.1", acknowledge=True, settings=None, greet=True, timeout=10.0, tls=None,
                 name="localhost"):
        self.socket = socket.create_connection((host, port), timeout)
        if tls:
            tls.set_alpn_protocols(["h2"])
            self.socket = tls.wrap_socket(self.socket, server_hostname=name)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.acknowledge = acknowledge
        self.authority = f"{host}:{port}"
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="latin-1", validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=True))
        for name, value in (settings or {}).items():
            self.connection.local_settings[name] = value
        self.connection.local_settings.acknowledge()
        self.streams = {}
        self.buffer = b""
        self.goaway = None
        self.goaways = []
        self.closed = False
        self.finished = False
        self.pings = []
        self.has_settings = False
        if greet:
            self.connection.initiate_connection()
            self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.socket.close()

    # Sending

    def finish(self):
        """Ends the sending side: what the library would send from here on is dropped."""
        self.flush()
        self.finished = True
        self.socket.shutdown(socket.SHUT_WR)

    def flush(self):
        data = self.connection.data_to_send()
        if self.finished:
            return
        if self.socket.fileno() < 0:
            self.closed = True
        elif data:
            try:
                self.socket.settimeout(self.timeout)
                self.socket.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                self.closed = True

    def raw(self, data):
        """Bytes past the library."""
        self.flush()
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True

    def pseudo(self, path, method="GET", scheme="http", authority=None):
        return [(":method", method), (":scheme", scheme), (":authority", authority or self.authority), (":path", path)]

    def begin(self, path="/", method="GET", headers=(), end=True, fields=None):
        """Sends a request's head; `fields` in place of all of it."""
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(
            stream, list(fields) if fields is not None else self.pseudo(path, method) + list(headers), end_stream=end)
        self.streams[stream] = Stream()
        self.flush()
        return stream

    def connect(self, path="/", headers=(), protocol="websocket", version="13", end=False):
        """An extended CONNECT (RFC 8441 §5)."""
        self.wait(lambda: self.has_settings)
        fields = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"),
                  (":authority", self.authority), (":path", path)]
        if version:
            fields.append(("sec-websocket-version", version))
        return self.begin(fields=fields + list(headers), end=end)

    def write(self, stream, data, end=False):
        """Sends content, waiting for windows."""
        while data:
            self.wait(lambda: self.connection.local_flow_control_window(stream) > 0 or self.streams[stream].is_over)
            if self.streams[stream].is_over:
                return
            room = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
            piece, data = data[:room], data[room:]
            self.connection.send_data(stream, piece, end_stream=end and not data)
            self.flush()
            end = end and bool(data)
        if end:
            self.connection.end_stream(stream)
            self.flush()

    def trailers(self, stream, fields):
        self.connection.send_headers(stream, fields, end_stream=True)
        self.flush()

    def reset(self, stream, code=h2.errors.ErrorCodes.CANCEL):
        try:
            self.connection.reset_stream(stream, code)
        except h2.exceptions.StreamClosedError:
            return
        self.flush()

    def open_windows(self, stream, count):
        self.connection.increment_flow_control_window(count)
        if stream is not None:
            self.connection.increment_flow_control_window(count, stream)
        self.flush()

    # Receiving

    def receive(self, seconds):
        """Takes what comes within `seconds`; false when nothing does."""
        self.socket.settimeout(max(0.001, seconds))
        try:
            data = self.socket.recv(1 << 18)
        except (TimeoutError, BlockingIOError):
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.buffer += data
        while len(self.buffer) >= 9 and len(self.buffer) >= 9 + int.from_bytes(self.buffer[:3], "big"):
            length = 9 + int.from_bytes(self.buffer[:3], "big")
            one, self.buffer = self.buffer[:length], self.buffer[length:]
            if one[3] == GOAWAY:
                # The library takes nothing more after it, while streams go on (RFC 9113 §6.8).
                last, code = struct.unpack("!II", one[9:17])
                self.goaway = (code, last)
                self.goaways.append(self.goaway)
                continue
            for event in self.connection.receive_data(one):
                self.handle(event)
        self.flush()
        return True

    def handle(self, event):
        number = getattr(event, "stream_id", None)
        stream = self.streams.get(number)
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.has_settings = True
        elif isinstance(event, h2.events.PingAckReceived):
            self.pings.append(event.ping_data)
        elif stream is None:
            pass
        elif isinstance(event, h2.events.InformationalResponseReceived):
            stream.interim.append(list(event.headers))
        elif isinstance(event, h2.events.ResponseReceived):
            stream.headers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if self.acknowledge:
                self.connection.acknowledge_received_data(event.flow_controlled_length, number)
            else:
                stream.unacknowledged += event.flow_controlled_length
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code)

    def wait(self, condition, seconds=None, what="something"):
        """Receives until `condition()` holds."""
        end = time.monotonic() + (seconds or self.timeout)
        while not condition():
            left = end - time.monotonic()
            if left <= 0 or self.closed:
                assert condition(), f"{what} did not come: closed={self.closed}, goaway={self.goaway}, " + repr(
                    {key: (s.headers, s.body[:100], s.ended, s.reset) for key, s in self.streams.items()})
                return
            self.receive(left)

    def response(self, stream, seconds=None):
        self.wait(lambda: self.streams[stream].is_over, seconds, f"the end of stream {stream}")
        return self.streams[stream]

    def head(self, stream, seconds=None):
        got = self.streams[stream]
        self.wait(lambda: got.headers is not None or got.is_over, seconds, f"the head on stream {stream}")
        return got

    def fetch(self, path="/", method="GET", headers=(), body=None, fields=None):
        stream = self.begin(path, method, headers, end=body is None, fields=fields)
        if body is not None:
            self.write(stream, body, end=True)
        return self.response(stream)

    def wait_closed(self, seconds=None):
        end = time.monotonic() + (seconds or self.timeout)
        while not self.closed and time.monotonic() < end:
            self.receive(end - time.monotonic())
        assert self.closed, "the connection was not closed"

    def quiet(self, seconds):
        """Receives for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.closed:
            self.receive(end - time.monotonic())


def frame(kind, flags=0, stream=0, payload=b""):
    """A frame's bytes (RFC 9113 §4.1)."""
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def literal(name, value):
    """A field that enters no table (RFC 7541 §6.2.2)."""

    def text(data):
        data = data.encode("latin-1") if isinstance(data, str) else data
        if len(data) < 127:
            return bytes([len(data)]) + data
        rest, out = len(data) - 127, bytearray([127])
        while rest >= 128:
            out.append(rest & 127 | 128)
            rest >>= 7
        out.append(rest)
        return bytes(out) + data

    return b"\0" + text(name) + text(value)


def headers_frame(stream, fields, end=True):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, b"".join(literal(*f) for f in fields))


class StreamSocket:
    """A WebSocket on a stream of `client`, its frames made and read by hand."""

    def __init__(self, client, path="/", headers=(), accepted=True):
        self.client = client
        self.number = client.connect(path, headers)
        self.stream = client.head(self.number)
        if accepted:
            assert self.stream.status == 200, (self.stream.headers, self.stream.reset)

    def send(self, payload, opcode=1, final=True):
        payload = payload.encode() if isinstance(payload, str) else payload
        self.client.write(self.number, websocket.frame(payload, opcode, masked=True, final=final))

    def receive(self, seconds=None):
        """(opcode, payload) of the next frame; None where the stream ends instead."""
        stream = self.stream

        def whole():
            if len(stream.body) < 2:
                return None
            length, start = stream.body[1] & 127, 2
            if length >= 126:
                size = 2 if length == 126 else 8
                if len(stream.body) < 2 + size:
                    return None
                length, start = int.from_bytes(stream.body[2:2 + size], "big"), 2 + size
            return (start, start + length) if len(stream.body) >= start + length else None

        self.client.wait(lambda: whole() or stream.is_over, seconds, f"a frame on stream {self.number}")
        found = whole()
        if not found:
            return None
        opcode, payload = stream.body[0] & 15, stream.body[found[0]:found[1]]
        stream.body = stream.body[found[1]:]
        return opcode, payload

    def text(self, seconds=None):
        opcode, payload = self.receive(seconds)
        assert opcode == 1, (opcode, payload)
        return payload.decode()

    def close_code(self, seconds=None):
        """Of the close frame that comes next but for other frames."""
        while frame := self.receive(seconds):
            if frame[0] == 8:
                return int.from_bytes(frame[1][:2], "big")
        return None

    def end(self):
        self.client.write(self.number, b"", end=True)


class Bridge:
    """Lets a client of WebSocket over HTTP/1.1 speak to a proxy over HTTP/2: what it opens here becomes streams of one
    connection (RFC 8441), with their own flow control. A client that does not read is not read for; one that breaks its
    connection resets its stream."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.RLock()
        self.client = None
        self.ends = {}
        self.opened = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()
        with self.lock:
            if self.client:
                self.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _connection(self):
        """One that takes streams."""
        with self.lock:
            if self.client is None or self.client.closed or self.client.goaway:
                client = self.client = HTTP2Client(self.target, acknowledge=False, timeout=30)
                client.wait(lambda: client.has_settings)
                threading.Thread(target=self._receive, args=(client,), daemon=True).start()
            return self.client

    def _receive(self, client):
        while not client.closed:
            try:
                readable, _, _ = select.select([client.socket], [], [], 1)
                if readable:
                    with self.lock:
                        client.receive(0.001)
                        self._changed(client)
            except (OSError, ValueError):
                client.closed = True  # by `stop`
        with self.lock:
            for stream in client.streams.values():
                stream.reset = stream.reset if stream.is_over else 2
            self._changed(client)

    def _changed(self, client):
        for condition in [c for (owner, _), c in self.ends.items() if owner is client]:
            with condition:
                condition.notify_all()

    def _serve(self, sock):
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(65536)
            if not data:
                return sock.close()
            head += data
        head, early = head.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        fields = [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in lines[1:])]
        key = dict(fields).get("sec-websocket-key", "")
        skipped = {"host", "connection", "upgrade", "sec-websocket-key", "sec-websocket-version"}
        with self.lock:
            client = self._connection()
            number = client.connect(
                lines[0].split(" ")[1], [field for field in fields if field[0] not in skipped],
                version=dict(fields).get("sec-websocket-version"))
            stream = client.streams[number]
            condition = self.ends[client, number] = threading.Condition(self.lock)
            self.opened += 1
        writer = threading.Thread(target=self._write, args=(sock, client, number, condition, key), daemon=True)
        writer.start()
        self._read(sock, client, number, condition, early)
        writer.join()
        with self.lock:
            del self.ends[client, number]
            if not stream.is_over and not client.closed:
                client.reset(number)
        sock.close()

    def _read(self, sock, client, number, condition, data):
        """From the client to the stream."""
        stream = client.streams[number]
        while not stream.is_over or not stream.reset:
            with condition:
                while data and stream.reset is None and not client.closed:
                    try:
                        room = min(client.connection.local_flow_control_window(number),
                                   client.connection.max_outbound_frame_size, len(data))
                        if room > 0:
                            client.connection.send_data(number, data[:room])
                            client.flush()
                            data = data[room:]
                        else:
                            condition.wait(0.5)
                    except h2.exceptions.ProtocolError:
                        return
                if stream.reset is not None or client.closed:
                    return
            try:
                data = sock.recv(65536)
            except OSError:
                with self.lock:
                    if not stream.is_over:
                        client.reset(number)
                return
            if not data:
                with self.lock:
                    if stream.reset is None and not client.closed:
                        try:
                            client.connection.end_stream(number)
                            client.flush()
                        except h2.exceptions.ProtocolError:
                            pass
                return

    def _write(self, sock, client, number, condition, key):
        """From the stream to the client."""
        stream, sent_head = client.streams[number], False
        try:
            while True:
                with condition:
                    while not (stream.body or stream.is_over or stream.headers and not sent_head):
                        condition.wait()
                    body, stream.body = stream.body, b""
                    is_over, reset = stream.is_over, stream.reset
                if stream.headers and not sent_head:
                    sent_head = True
                    sock.sendall(self._head(stream, key))
                if body:
                    sock.sendall(body)
                    with self.lock:
                        if not client.closed and stream.unacknowledged:
                            count, stream.unacknowledged = stream.unacknowledged, 0
                            try:
                                client.connection.acknowledge_received_data(count, number)
                                client.flush()
                            except h2.exceptions.ProtocolError:
                                pass
                elif is_over:
                    if reset:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        sock.shutdown(socket.SHUT_RD)
                    else:
                        sock.shutdown(socket.SHUT_WR)
                    return
        except OSError:
            with self.lock:
                if not stream.is_over and not client.closed and client.socket.fileno() >= 0:  # not ended by `stop`
                    client.reset(number)

    @staticmethod
    def _head(stream, key):
        fields = [(name, value) for name, value in stream.headers if name != ":status"]
        if stream.status == 200:
            accept = base64.b64encode(hashlib.sha1(
                (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                     f"Sec-WebSocket-Accept: {accept}"]
        else:
            lines = [f"HTTP/1.1 {stream.status} Refused", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in fields]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class Request:
    """What a backend over HTTP/2 got on one stream."""

    def __init__(self, headers):
        self.headers = headers
        self.body = b""
        self.trailers = []
        self.ended = False

    def get(self, name):
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


class HTTP2Backend:
    """A server over HTTP/2, with prior knowledge; a thread for each connection. `answer(server, request, stream)` is called
    at the end of each request, from the connection's thread: it answers by `server.respond`, `server.reset`, …

    `on_head` is called with the same when a request's head has come."""

    class Server:
        """One connection, with python `h2` at its end."""

        def __init__(self, backend, sock):
            self.backend = backend
            self.socket = sock
            self.connection = h2.connection.H2Connection(h2.config.H2Configuration(
                client_side=False, header_encoding="latin-1", validate_outbound_headers=False))
            # As initial values: others would be told to nobody before the first ones were acknowledged.
            self.connection.local_settings = h2.settings.Settings(
                client=False, initial_values={**self.connection.local_settings, **backend.settings})
            self.requests = {}
            self.unsent = {}
            self.closed = False
            self.tasks = []

        def flush(self):
            data = self.connection.data_to_send()
            if data:
                self.socket.sendall(data)

        def head(self, stream, status=200, headers=(), end=False):
            self.connection.send_headers(stream, [(":status", str(status)), *headers], end_stream=end)
            self.flush()

        def data(self, stream, data, end=True, trailers=None):
            """Sends as windows allow."""
            self.unsent[stream] = [self.unsent.get(stream, [b""])[0] + data, end, trailers]
            self.push(stream)

        def push(self, stream):
            while stream in self.unsent:
                data, end, trailers = self.unsent[stream]
                room = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
                piece, rest = data[:room], data[room:]
                if data and not piece:
                    break
                ends = end and not rest and not trailers
                if piece or ends:
                    self.connection.send_data(stream, piece, end_stream=ends)
                if rest:
                    self.unsent[stream][0] = rest
                    continue
                if trailers:
                    self.connection.send_headers(stream, trailers, end_stream=True)
                del self.unsent[stream]
            self.flush()

        def respond(self, stream, body=b"ok", status=200, headers=(), trailers=None, length=True):
            fields = [("content-length", str(len(body))), *headers] if length else list(headers)
            self.head(stream, status, fields)
            self.data(stream, body, trailers=trailers)

        def reset(self, stream, code):
            self.connection.reset_stream(stream, code)
            self.flush()

        def raw(self, data):
            self.flush()
            self.socket.sendall(data)

        def run(self):
            self.connection.initiate_connection()
            if self.backend.window:
                self.connection.increment_flow_control_window(self.backend.window)
            if not self.backend.enforces:
                self.connection.local_settings = h2.settings.Settings(client=False)
            self.flush()
            self.socket.settimeout(0.02)
            while not self.closed:
                while self.tasks:
                    self.tasks.pop(0)(self)
                try:
                    data = self.socket.recv(1 << 18)
                except TimeoutError:
                    continue
                if not data:
                    return
                for event in self.connection.receive_data(data):
                    self.handle(event)
                self.flush()

        def handle(self, event):
            number = getattr(event, "stream_id", None)
            request = self.requests.get(number)
            if isinstance(event, h2.events.RequestReceived):
                request = self.requests[number] = Request(list(event.headers))
                self.backend.requests.append(request)
                if self.backend.on_head:
                    self.backend.on_head(self, request, number)
            elif isinstance(event, h2.events.DataReceived):
                request.body += event.data
                if self.backend.acknowledge:
                    self.connection.acknowledge_received_data(event.flow_controlled_length, number)
            elif isinstance(event, h2.events.TrailersReceived):
                request.trailers = list(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                request.ended = True
                self.backend.answer(self, request, number)
            elif isinstance(event, h2.events.StreamReset):
                self.backend.resets.append((number, int(event.error_code)))
                self.unsent.pop(number, None)
            elif isinstance(event, h2.events.WindowUpdated):
                for stream in [number] if number else list(self.unsent):
                    self.push(stream)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.closed = True

    def __init__(self, answer=None, on_head=None, settings=None, acknowledge=True, enforces=True, window=0,
                 host="127.0.0.1", port=0):
        # How much more a connection may have under way than it may from the start.
        self.window = window
        self.answer = answer or (lambda server, request, stream: server.respond(stream))
        self.on_head = on_head
        self.settings = settings or {}
        # Whether clients are held to the settings.
        self.enforces = enforces
        self.acknowledge = acknowledge
        self.requests = []
        self.resets = []
        self.servers = []
        self.listener = socket.create_server((host, port), backlog=256)
        self.host, self.port = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def __str__(self):
        return f"{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.close()
        for server in self.servers:
            server.closed = True
            server.socket.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = self.Server(self, sock)
            self.servers.append(server)
            threading.Thread(target=self._run, args=(server,), daemon=True).start()

    @staticmethod
    def _run(server):
        try:
            server.run()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            server.closed = True
            server.socket.close()
