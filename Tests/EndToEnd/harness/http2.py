"""An HTTP/2 client on a bare socket, by python `h2`: with prior knowledge, many streams at a time, WebSockets by RFC 8441,
and frames that no client should send.

    with HTTP2Client(port) as client:
        response = client.fetch("/path", headers=[("x", "y")], body=b"...")
        stream = client.begin("/path")                 # a stream's id
        client.write(stream, b"...", end=True)
        client.response(stream)                        # until the stream's end
"""

import socket
import struct
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

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
    """One connection. `acknowledge=False` leaves windows as they are: the peer may send what they allow, and no more."""

    def __init__(self, port, host="127.0.0.1", acknowledge=True, settings=None, greet=True, timeout=10.0):
        self.socket = socket.create_connection((host, port), timeout)
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

    def flush(self):
        data = self.connection.data_to_send()
        if data:
            try:
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
        self.connection.reset_stream(stream, code)
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
