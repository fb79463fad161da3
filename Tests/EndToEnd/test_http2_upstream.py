"""HTTP/2 towards upstreams (`proxy_http_version 2`), before python h2: requests, bodies, trailers, flow control, shared
connections, and what is made again elsewhere. Clients speak HTTP/1.1 or HTTP/2."""

import select
import threading
import time

import pytest

from harness import ports
from harness.backend import Connection
from harness.http2 import DATA, GOAWAY, RST_STREAM, WINDOW_UPDATE, HTTP2Backend, HTTP2Client, StreamSocket, frame, headers_frame
from harness.websocket import switching
from harness.wire import Client, fetch, wait_for

pytestmark = pytest.mark.switchyard_only


@pytest.fixture
def upstream(proxy):
    """A proxy before an upstream over HTTP/2."""
    made = []

    def make(location="", server="", http="", peers=1, group="keepalive 8;", **options):
        backends = [HTTP2Backend(**options) for _ in range(peers)]
        made.extend(backends)
        lines = "".join(f"server {backend};" for backend in backends)
        result = proxy(
            "log_format l '$status $upstream_addr $upstream_status $request_completion'; access_log <dir>/access.log l;"
            f"upstream two {{ {lines} {group} }} {http}"
            "server { listen 127.0.0.1:<port>; http2 on; " + server
            + "location / { proxy_pass http://two; proxy_http_version 2; " + location + " } }")
        result.backends = backends
        result.backend = backends[0]
        return result

    yield make
    for backend in made:
        backend.__exit__()


def test_request_and_response(upstream):
    proxy = upstream("proxy_set_header Host example.org; proxy_set_header X-Own a;")
    proxy.backend.answer = lambda server, request, stream: server.respond(
        stream, b"hello", 201, [("x-answer", "b"), ("set-cookie", "c=1"), ("set-cookie", "d=2")])
    got = fetch(proxy.port, "/a/b?c", headers=[("Cookie", "e=1"), ("Connection", "x-drop"), ("X-Drop", "1")])
    assert (got.status, got.reason, got.body, got.get("x-answer")) == (201, "Created", b"hello", "b")
    assert got.values("set-cookie") == [b"c=1", b"d=2"]
    [request] = proxy.backend.requests
    assert request.headers[:4] == [
        (":method", "GET"), (":scheme", "http"), (":path", "/a/b?c"), (":authority", "example.org")]
    names = [name for name, _ in request.headers]
    assert request.get("x-own") == "a" and request.get("cookie") == "e=1"
    assert not {"host", "connection", "transfer-encoding", "x-drop", "upgrade", "keep-alive"} & set(names)
    assert proxy.log_lines("access.log", 1) == [f"201 {proxy.backend} 201 OK"]


def test_cookies_are_rewritten(upstream):
    proxy = upstream("proxy_cookie_domain two a.test; proxy_cookie_path / /app/; proxy_cookie_flags ~ secure;")
    proxy.backend.answer = lambda server, request, stream: server.respond(
        stream, b"hello", 200, [("set-cookie", "c=1; path=/x; domain=two"), ("set-cookie", "d=2;secure"), ("set-cookie", "e")])
    expected = ["c=1; path=/app/x; domain=a.test; Secure", "d=2; secure", "e"]
    assert fetch(proxy.port).values("set-cookie") == [value.encode() for value in expected]
    with HTTP2Client(proxy.port) as client:
        assert [value for name, value in client.fetch("/").headers if name == "set-cookie"] == expected


def test_connections_are_shared_and_kept(upstream):
    proxy = upstream()
    for _ in range(5):
        assert fetch(proxy.port).body == b"ok"
    assert len(proxy.backend.servers) == 1
    gate = threading.Event()
    held = []

    def answer(server, request, stream):
        held.append((server, stream))
        if len(held) == 50:
            for one, number in held:
                one.respond(number)

    proxy.backend.answer = answer
    with HTTP2Client(proxy.port) as client:
        streams = [client.begin(f"/{n}") for n in range(50)]
        assert all(client.response(stream).body == b"ok" for stream in streams)
    assert len(proxy.backend.servers) == 1
    gate.set()


def test_without_keepalive_a_connection_ends_with_its_last_stream(upstream):
    proxy = upstream(group="")
    for _ in range(3):
        assert fetch(proxy.port).body == b"ok"
    wait_for(lambda: all(server.closed for server in proxy.backend.servers), 5, "their ends")
    assert len(proxy.backend.servers) == 3


def test_no_more_idle_connections_are_kept_than_keepalive_says(upstream):
    proxy = upstream(
        peers=3, group="keepalive 2;", server="location = /metrics { prometheus_metrics; }")
    for _ in range(3):
        assert fetch(proxy.port).body == b"ok"
    first, *others = proxy.backends
    wait_for(lambda: first.servers[0].closed, 5, "the end of the one used least recently")
    idle = 'upstream_connections_idle{upstream="two"} 2'
    assert idle in fetch(proxy.port, "/metrics").body.decode()
    for backend in others:
        assert not backend.servers[0].closed


@pytest.mark.parametrize("limit", ["keepalive_requests 3;", "keepalive_time 1ms;"])
def test_a_connection_that_is_used_up_ends(upstream, limit):
    proxy = upstream(group="keepalive 8; " + limit)
    for _ in range(12):
        assert fetch(proxy.port).body == b"ok"
        time.sleep(0.01)
    servers = proxy.backend.servers
    assert len(servers) >= 4
    wait_for(lambda: all(server.closed for server in servers[:-1]), 5, "their ends")


def test_a_kept_connection_whose_time_went_by_is_not_left_over(upstream):
    proxy = upstream(group="keepalive 8; keepalive_time 100ms;")
    fetch(proxy.port)
    time.sleep(0.15)
    fetch(proxy.port)
    wait_for(lambda: proxy.backend.servers[0].closed, 5, "its end")


def test_more_streams_than_the_peer_takes(upstream):
    proxy = upstream(settings={3: 4})
    fetch(proxy.port)
    proxy.backend.answer = lambda server, request, stream: (time.sleep(0.01), server.respond(stream))
    with HTTP2Client(proxy.port) as client:
        streams = [client.begin(f"/{n}") for n in range(40)]
        assert [client.response(stream).status for stream in streams] == [200] * 40


@pytest.mark.parametrize("limit", [0, 1])
def test_no_request_waits_for_a_stream_that_the_peer_does_not_take(upstream, limit):
    """The peer says how many it takes while requests are at hand already: they go elsewhere, or fail at once."""
    proxy = upstream("proxy_read_timeout 3s;", settings={3: limit}, enforces=False)
    proxy.backend.answer = lambda server, request, stream: threading.Timer(
        0.1, lambda: server.tasks.append(lambda server: server.respond(stream))).start()
    for _ in range(12):
        clients = [Client(proxy.port) for _ in range(8)]
        began = time.monotonic()
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        statuses = {client.read_response().status for client in clients}
        for client in clients:
            client.close()
        assert statuses <= ({200} if limit else {200, 502})
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("location", [
    "proxy_set_header Host $http_host;", 'proxy_set_header Host "";', "proxy_set_header Host $nothing;"])
def test_every_request_has_an_authority(upstream, location):
    """RFC 9113 §8.3.1, whatever its client or the configuration left out."""
    proxy = upstream(location, http="map a $nothing { b c; }")
    with Client(proxy.port) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_response().body == b"ok"
    assert proxy.backend.requests[0].get(":authority") == "two"
    assert len(proxy.backend.servers) == 1


@pytest.mark.parametrize("location,fields,sent", [
    ("", [("te", "trailers")], "trailers"), ("", [("TE", "trailers, deflate;q=0.5"), ("Connection", "TE")], "trailers"),
    ("", [("TE", "deflate"), ("Connection", "TE")], None), ("", [], None),
    ("proxy_set_header TE gzip;", [], None), ("proxy_set_header TE trailers;", [], "trailers"),
    ('proxy_set_header TE "";', [("te", "trailers")], None)])
def test_te_says_nothing_but_trailers(upstream, location, fields, sent):
    """RFC 9113 §8.2.2; that much is what gRPC asks for."""
    proxy = upstream(location)
    assert fetch(proxy.port, headers=fields).status == 200
    assert proxy.backend.requests[0].get("te") == sent
    if fields == [("te", "trailers")]:
        with HTTP2Client(proxy.port) as client:
            assert client.fetch(headers=fields).status == 200
        assert proxy.backend.requests[1].get("te") == sent


def test_connect_names_nothing_but_an_authority(upstream):
    """RFC 9113 §8.5."""
    proxy = upstream("proxy_method CONNECT;")
    assert fetch(proxy.port).status == 200
    assert proxy.backend.requests[0].headers[:2] == [(":method", "CONNECT"), (":authority", "two")]
    assert proxy.backend.requests[0].get(":path") is None and proxy.backend.requests[0].get(":scheme") is None


def test_bodies(upstream):
    proxy = upstream("client_max_body_size 0;")
    proxy.backend.answer = lambda server, request, stream: server.respond(
        stream, request.body, headers=[("x-length", str(request.get("content-length")))])
    body = bytes(range(256)) * 8000
    got = fetch(proxy.port, method="POST", body=body)
    assert (got.body, got.get("x-length")) == (body, str(len(body)))
    with HTTP2Client(proxy.port) as client:
        got = client.fetch("/", "POST", body=body)
        assert (got.body, got.get("x-length")) == (body, "None")
        assert client.fetch("/", "POST", body=b"").body == b""


def test_responses_without_length_and_trailers(upstream):
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: server.respond(
        stream, b"x" * 100_000, length=False, trailers=[("x-sum", "1")])
    got = fetch(proxy.port)
    assert (got.body, got.was_chunked, got.trailers) == (b"x" * 100_000, True, [(b"x-sum", b"1")])
    with HTTP2Client(proxy.port) as client:
        got = client.fetch()
        assert (got.body, got.trailers) == (b"x" * 100_000, [("x-sum", "1")])


def test_request_trailers(upstream):
    proxy = upstream()
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", end=False)
        client.write(stream, b"body")
        client.trailers(stream, [("x-up", "1")])
        assert client.response(stream).status == 200
    assert (proxy.backend.requests[0].body, proxy.backend.requests[0].trailers) == (b"body", [("x-up", "1")])


def test_head_and_no_content(upstream):
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: server.head(stream, 200, [("content-length", "7")], end=True)
    got = fetch(proxy.port, method="HEAD")
    assert (got.status, got.get("content-length")) == (200, "7")
    for status in (204, 304):
        proxy.backend.answer = lambda server, request, stream: server.head(stream, status, end=True)
        assert fetch(proxy.port).status == status
    proxy.backend.answer = lambda server, request, stream: server.head(stream, 200, end=True)
    assert fetch(proxy.port).get("content-length") == "0"


def test_interim_heads(upstream):
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: (
        server.head(stream, 103, [("link", "</a>")]), server.respond(stream))
    got = fetch(proxy.port)
    assert [interim.status for interim in got.interim] == [103]
    assert got.body == b"ok"


def test_a_client_that_does_not_read_closes_its_streams_window(upstream):
    proxy = upstream()
    size = 16 << 20
    proxy.backend.answer = lambda server, request, stream: server.respond(
        stream, b"x" * (size if request.get(":path") == "/slow" else 2))
    with HTTP2Client(proxy.port, acknowledge=False) as client:
        client.connection.increment_flow_control_window(1 << 30)
        client.flush()
        slow = client.begin("/slow")
        client.wait(lambda: len(client.streams[slow].body) == 65_535)
        for _ in range(10):
            assert client.fetch("/fast").body == b"xx"
        server = proxy.backend.servers[0]
        wait_for(lambda: server.unsent, 5, "something that waits")
        before = len(next(iter(server.unsent.values()))[0])
        client.quiet(0.3)
        assert before == len(next(iter(server.unsent.values()))[0]) > size // 2
        client.connection.increment_flow_control_window(1 << 30, slow)
        client.flush()
        assert len(client.response(slow, 30).body) == size


def test_an_upstream_that_does_not_read_holds_up_its_stream(upstream):
    proxy = upstream("client_max_body_size 0; proxy_send_timeout 1s; proxy_read_timeout 1s;", acknowledge=False)
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", end=False)
        sent = 0
        while sent < 16 << 20:
            room = min(client.connection.local_flow_control_window(stream), 16_384)
            if room == 0 and not client.receive(0.5):
                break
            if room:
                client.connection.send_data(stream, b"x" * room)
                client.flush()
                sent += room
        assert sent < 16 << 20
        assert client.response(stream).status == 504
        assert client.fetch().status == 200


@pytest.mark.parametrize("length", [True, False])
def test_an_answer_before_the_requests_end_when_the_connection_breaks(upstream, length):
    """What stands in the socket behind a failed write is read: an answer that is whole, or the others' among it."""

    def answer(server, request, stream):
        # The proxy has more to write than the socket takes.
        time.sleep(0.3)
        server.respond(stream, b"too much", 413, length=length)
        server.socket.close()

    proxy = upstream("client_max_body_size 0;", on_head=answer, settings={4: 1 << 30}, window=1 << 30)
    for _ in range(3):
        response = fetch(proxy.port, method="POST", body=b"x" * (24 << 20))
        assert (response.status, response.body) == (413, b"too much")


def test_a_broken_response(upstream):
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: (
        server.head(stream, 200, [("content-length", "10")]), server.data(stream, b"hello", end=False), server.reset(stream, 2))
    with HTTP2Client(proxy.port) as client:
        got = client.fetch()
        assert (got.status, got.ended, got.reset) == (200, False, 2)
    proxy.backend.answer = lambda server, request, stream: server.reset(stream, 2)
    assert fetch(proxy.port).status == 502


@pytest.mark.parametrize("fields", [
    [], [(":status", "2000")], [(":status", "200"), (":status", "200")], [(":status", "101")], [(":status", "abc")],
    [(":status", "200"), ("connection", "close")], [(":status", "200"), ("transfer-encoding", "chunked")],
    [(":status", "200"), ("X-Upper", "a")], [(":status", "200"), ("x", "a\r\nb: c")], [("x", "y"), (":status", "200")],
    [(":status", "200"), (":path", "/")], [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
    [(":status", "200"), ("content-length", "5")]])
def test_malformed_responses(upstream, fields):
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: server.raw(headers_frame(stream, fields))
    assert fetch(proxy.port).status == 502
    proxy.backend.answer = lambda server, request, stream: server.respond(stream)
    assert fetch(proxy.port).body == b"ok"


@pytest.mark.parametrize("trailers", [
    [(":status", "200")], [("x", "a" * 9000)], [("x", str(n)) for n in range(101)], "no end"])
@pytest.mark.parametrize("at_once", [True, False])
def test_content_before_malformed_trailers_is_content(upstream, trailers, at_once):
    """And no framing of its own, whatever it looks like: the response is cut (RFC 9113 §8.1.1)."""
    proxy = upstream(enforces=False)
    content = b"5\r\nHELLO\r\n0\r\n\r\n"

    def answer(server, request, stream):
        end = trailers != "no end"
        pieces = [headers_frame(stream, [(":status", "200")], end=False), frame(DATA, 0, stream, content),
                  headers_frame(stream, trailers if end else [("x", "y")], end=end)]
        if at_once:
            return server.raw(b"".join(pieces))
        for piece in pieces:
            server.raw(piece)
            time.sleep(0.1)

    proxy.backend.answer = answer
    with HTTP2Client(proxy.port) as client:
        got = client.fetch()
        assert (got.ended, got.reset) == (False, 2)
        assert content.startswith(got.body)
    with Client(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.read_to_the_end()
        assert not answer.endswith(b"0\r\n\r\n") or answer.endswith(content + b"\r\n"), answer
        assert b"\r\n\r\n5\r\nHELLO" not in answer
    wait_for(lambda: proxy.log().count("upstream sent a malformed response: ") == 2, 5, "the log")
    assert "invalid chunked response" not in proxy.log()


@pytest.mark.parametrize("what,message", [
    ("reset", "upstream sent RST_STREAM with error 2 (INTERNAL_ERROR) while reading response header from upstream"),
    ("unknown code", "upstream sent RST_STREAM with error 77 while reading response header from upstream"),
    ("reset in body", "upstream sent RST_STREAM with error 8 (CANCEL) while reading upstream"),
    ("goaway", "upstream sent GOAWAY with error 11 (ENHANCE_YOUR_CALM) while reading response header from upstream"),
    ("malformed", "upstream sent a malformed response: a connection-specific field while reading response header"),
    ("no status", "upstream sent a malformed response: a pseudo-header field missing while reading response header"),
    ("interim", "upstream sent a malformed response: too many interim heads while reading response header"),
    ("length", 'upstream sent a malformed response: a body of another length than "content-length" says while reading upstream'),
    ("protocol", "upstream broke the protocol of HTTP/2 with error 1 (PROTOCOL_ERROR): DATA: stream in idle while reading"),
    ("closed", "upstream prematurely closed connection while reading response header from upstream"),
    ("window", "upstream broke the protocol of HTTP/2 with error 3 (FLOW_CONTROL_ERROR) while reading response header"),
    ("flood", "upstream floods its connection with frames while reading response header from upstream"),
])
def test_the_log_says_what_an_upstream_did(upstream, what, message):
    proxy = upstream()

    def answer(server, request, stream):
        if what in ("reset", "unknown code"):
            server.raw(frame(RST_STREAM, 0, stream, (2 if what == "reset" else 77).to_bytes(4, "big")))
        elif what == "reset in body":
            server.head(stream)
            server.data(stream, b"x", end=False)
            server.reset(stream, 8)
        elif what == "goaway":
            server.raw(frame(GOAWAY, 0, 0, stream.to_bytes(4, "big") + b"\0\0\0\x0b"))
            server.socket.shutdown(1)
        elif what == "malformed":
            server.raw(headers_frame(stream, [(":status", "200"), ("connection", "close")]))
        elif what == "no status":
            server.raw(headers_frame(stream, [("x", "y")]))
        elif what == "interim":
            server.raw(headers_frame(stream, [(":status", "103"), ("x", "y")], end=False) * 5000)
        elif what == "length":
            server.raw(headers_frame(stream, [(":status", "200"), ("content-length", "1")], end=False)
                       + frame(DATA, 1, stream, b"xy"))
        elif what == "protocol":
            server.raw(frame(DATA, 1, 99, b"x"))
        elif what == "closed":
            server.socket.shutdown(1)
        elif what == "window":
            server.raw(frame(WINDOW_UPDATE, 0, stream, (0x7fffffff).to_bytes(4, "big")))
        elif what == "flood":
            server.raw(frame(0xbe, 0, 0, b"x" * 10_000) * 100)

    proxy.backend.answer = answer
    with HTTP2Client(proxy.port) as client:
        stream = client.begin()
        client.wait(lambda: client.streams[stream].is_over)
    wait_for(lambda: message in proxy.log(), 5, message)
    assert "recv() failed" not in proxy.log()


def test_a_client_that_leaves_resets_its_stream(upstream):
    proxy = upstream()
    seen = threading.Event()
    proxy.backend.answer = lambda server, request, stream: seen.set()
    with Client(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert seen.wait(5)
        client.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
    wait_for(lambda: proxy.backend.resets, 5, "a reset")
    assert proxy.backend.resets[0][1] == 8
    proxy.backend.answer = lambda server, request, stream: server.respond(stream)
    assert fetch(proxy.port).body == b"ok"
    assert len(proxy.backend.servers) == 1


def left_downloads(proxy, count):
    """Requests whose clients leave, and one that waits for its answer: its client, its place, and the streams of the others."""
    held = []
    proxy.backend.answer = lambda server, request, stream: request.get(":path") == "/slow" and held.append((server, stream))
    client = Client(proxy.port)
    client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    for number in range(count):
        with Client(proxy.port) as leaving:
            leaving.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(lambda: len(proxy.backend.requests) == 2 + number, 5, "the request")
            leaving.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
    wait_for(lambda: len(proxy.backend.resets) == count and held, 5, "their resets")
    assert len(proxy.backend.servers) == 1
    return client, held[0], [stream for stream, _ in proxy.backend.resets]


def test_what_was_under_way_to_clients_that_left_harms_nobody(upstream):
    """As much as each stream's window had room for (RFC 9113 §5.1, "closed"), and no more than that."""
    proxy = upstream()
    client, (server, slow), left = left_downloads(proxy, 12)
    late = [headers_frame(stream, [(":status", "200")], end=False) + frame(DATA, 0, stream, b"x" * 16_000) * 16 for stream in left]
    server.tasks.append(lambda server: server.raw(b"".join(late)))
    server.tasks.append(lambda server: server.respond(slow, b"fine"))
    assert client.read_response().body == b"fine"
    assert fetch_from(proxy, b"again") and len(proxy.backend.servers) == 1
    client.close()


def test_who_sends_beyond_the_windows_of_ended_streams_is_left(upstream):
    proxy = upstream()
    client, (server, _), left = left_downloads(proxy, 2)
    server.tasks.append(lambda server: server.raw(frame(DATA, 0, left[0], b"x" * 16_000) * 100))
    assert client.read_response().status == 502
    wait_for(lambda: server.closed, 5, "its end")
    assert fetch_from(proxy, b"again") and len(proxy.backend.servers) == 2
    client.close()


def fetch_from(proxy, body):
    proxy.backend.answer = lambda server, request, stream: server.respond(stream, body)
    return fetch(proxy.port).body == body


@pytest.mark.parametrize("code", [0, 7])
def test_streams_that_the_upstream_resets_harm_no_others(upstream, code):
    """Be it after an early answer (RFC 9113 §8.1), or because it has too much to do."""
    proxy = upstream("proxy_request_buffering off;", server="keepalive_requests 10000;", group="keepalive 8; keepalive_requests 10000;")
    held = []

    def answer(server, request, stream):
        if request.get(":path") == "/slow":
            held.append((server, stream))
        elif code:
            server.reset(stream, code)

    def early(server, request, stream):
        if not code and request.get(":path") != "/slow":
            server.head(stream, 401, [("content-length", "0")], end=True)
            server.reset(stream, 0)

    proxy.backend.answer, proxy.backend.on_head = answer, early
    with HTTP2Client(proxy.port) as client:
        slow = client.begin("/slow")
        # Streams that have not ended are reset a moment after their answer, and no more than 128 may be open.
        for _ in range(300 if code else 120):
            stream = client.begin("/", "GET" if code else "POST", end=bool(code))
            assert client.response(stream).status == (502 if code else 401)
        assert len(proxy.backend.servers) == 1
        held[0][0].tasks.append(lambda server: server.respond(held[0][1], b"fine"))
        assert client.response(slow).body == b"fine"


# What is made again


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_stream_is_made_again(upstream, method):
    """Of whatever method: the upstream has done nothing for it (RFC 9113 §8.7)."""
    proxy = upstream()
    refused = []

    def answer(server, request, stream):
        if len(refused) < 2:
            refused.append(stream)
            server.reset(stream, 7)
        else:
            server.respond(stream, request.body)

    proxy.backend.answer = answer
    got = fetch(proxy.port, method=method, body=b"body" if method == "POST" else b"")
    assert (got.status, got.body) == (200, b"body" if method == "POST" else b"")
    assert len(refused) == 2


@pytest.mark.parametrize("how", ["reset", "goaway"])
def test_what_every_peer_refused_once_is_made_again(upstream, how):
    proxy = upstream(peers=2)
    refused = []

    def answer(server, request, stream):
        if len(refused) == 2:
            return server.respond(stream)
        refused.append(request.get("host"))
        if how == "reset":
            server.reset(stream, 7)
        else:
            server.raw(frame(GOAWAY, 0, 0, bytes(8)))

    for backend in proxy.backends:
        backend.answer = answer
    assert fetch(proxy.port).status == 200
    assert [len(backend.requests) for backend in proxy.backends] in ([2, 1], [1, 2])


def test_who_always_refuses_is_believed(upstream):
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: server.reset(stream, 7)
    assert fetch(proxy.port).status == 502
    assert 2 <= len(proxy.backend.requests) <= 6


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("code", [0, 1, 2, 8, 11, 13])
def test_a_reset_stream_is_a_failed_try(upstream, method, code):
    """The connection lives on: that it was there before makes nothing of the try undone."""
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: (
        server.reset(stream, code) if request.get(":path") == "/reset" else server.respond(stream))
    assert fetch(proxy.port).status == 200
    for _ in range(3):
        assert fetch(proxy.port, "/reset", method=method, body=b"body" if method != "GET" else b"").status == 502
    assert fetch(proxy.port).status == 200
    assert [request.get(":path") for request in proxy.backend.requests] == ["/", "/reset", "/reset", "/reset", "/"]
    assert len(proxy.backend.servers) == 1


def test_a_connection_that_always_ends_is_believed(upstream):
    proxy = upstream()
    fetch(proxy.port)
    proxy.backend.answer = lambda server, request, stream: server.socket.shutdown(2)
    assert fetch(proxy.port).status == 502
    assert 2 <= len(proxy.backend.requests) <= 6


def test_goaway_moves_what_was_not_seen(upstream):
    """Streams above the last that the upstream names are made again on another connection, the others go on."""
    proxy = upstream()
    fetch(proxy.port)
    first = proxy.backend.servers[0]
    held = []

    def answer(server, request, stream):
        if server is first:
            held.append(stream)
            if len(held) == 4:
                # Two were seen, two were not.
                server.raw(frame(GOAWAY, 0, 0, held[1].to_bytes(4, "big") + b"\0\0\0\0"))
                for number in held[:2]:
                    server.respond(number, b"old")
        else:
            server.respond(stream, b"new")

    proxy.backend.answer = answer
    with HTTP2Client(proxy.port) as client:
        streams = [client.begin("/", "POST", end=True) for _ in range(4)]
        assert sorted(client.response(stream).body for stream in streams) == [b"new", b"new", b"old", b"old"]
    assert len(proxy.backend.servers) == 2
    assert fetch(proxy.port).body == b"new"


def test_a_connection_that_was_closed_is_replaced(upstream):
    proxy = upstream()
    fetch(proxy.port)
    proxy.backend.servers[0].socket.shutdown(2)
    wait_for(lambda: proxy.backend.servers[0].closed, 5, "its end")
    for _ in range(3):
        assert fetch(proxy.port).body == b"ok"


class Deaf:
    """Answers until it is told to hear nothing more, on connections that it keeps open; others are answered."""

    def __init__(self, backend):
        self.backend = backend
        backend.answer = lambda server, request, stream: server.respond(stream)
        # Held until the end, when threads that hear nothing are let go.
        self.gate = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.gate.set()

    def turn(self):
        """Those that there are hear nothing from now on."""
        for server in self.backend.servers:
            server.tasks.append(lambda server: self.gate.wait(60))
        time.sleep(0.1)


@pytest.mark.clocked
def test_a_connection_that_went_deaf_is_left_after_a_timeout(upstream):
    """Its host may be lost without a FIN, and TCP takes long to say so."""
    proxy = upstream("proxy_read_timeout 500ms;")
    with Deaf(proxy.backend) as deaf:
        assert fetch(proxy.port).status == 200
        deaf.turn()
        assert [fetch(proxy.port).status for _ in range(4)] == [504, 200, 200, 200]
        assert len(proxy.backend.servers) == 2
        wait_for(lambda: has_ended(proxy.backend.servers[0]), 5, "its end")


def has_ended(server):
    """The other side of a connection that is not read any more has closed it."""
    poll = select.poll()
    poll.register(server.socket, select.POLLRDHUP)
    return bool(poll.poll(0))


@pytest.mark.clocked
def test_a_timeout_leaves_other_streams_alone(upstream):
    """One whose connection has been quiet for as long, since its own time is longer."""
    proxy = upstream("proxy_read_timeout 500ms;", server="location /slow { proxy_pass http://two; proxy_http_version 2; }")
    held = []
    proxy.backend.answer = lambda server, request, stream: (
        server.respond(stream) if request.get(":path") == "/" else held.append((server, stream)))
    with HTTP2Client(proxy.port) as client:
        slow = client.begin("/slow")
        wait_for(lambda: held, 5, "the request")
        # Nothing but that is under way any more.
        client.quiet(0.2)
        assert client.fetch("/dead").status == 504
        assert client.fetch("/").status == 200
        assert len(proxy.backend.servers) == 2
        server, stream = held[0]
        server.tasks.append(lambda server: server.respond(stream, b"late"))
        assert client.response(slow).body == b"late"
        wait_for(lambda: server.closed, 5, "the end of the first connection")


@pytest.mark.clocked
def test_a_timeout_on_a_connection_that_speaks_is_the_streams_own(upstream):
    proxy = upstream("proxy_read_timeout 600ms;")
    proxy.backend.answer = lambda server, request, stream: request.get(":path") != "/dead" and server.respond(stream)
    with HTTP2Client(proxy.port) as client:
        dead = client.begin("/dead")
        while not client.streams[dead].is_over:
            assert client.fetch("/").status == 200
            client.quiet(0.05)
        assert client.streams[dead].status == 504
        assert client.fetch("/").status == 200
    assert len(proxy.backend.servers) == 1


@pytest.mark.clocked
def test_a_connection_that_went_deaf_is_left_though_clients_do_not_wait(upstream):
    """For a timeout of the proxy's that is longer than their patience: it asks by PING, and once."""
    proxy = upstream()

    def impatient():
        with Client(proxy.port, timeout=0.4) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                return client.read_response().status
            except TimeoutError:
                client.reset()
                return None

    with Deaf(proxy.backend) as deaf:
        assert impatient() == 200
        deaf.turn()
        answers = [impatient() for _ in range(8)]
        assert answers[0] is None and answers[-3:] == [200, 200, 200], answers
        assert len(proxy.backend.servers) == 2


@pytest.mark.clocked
def test_clients_that_leave_have_a_living_connection_kept(upstream):
    proxy = upstream()
    proxy.backend.answer = lambda server, request, stream: request.get(":path") != "/slow" and server.respond(stream)
    for _ in range(5):
        with Client(proxy.port) as client:
            client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.3)
            client.reset()
        assert fetch(proxy.port).status == 200
    assert len(proxy.backend.servers) == 1


def test_the_next_peer_is_tried(upstream):
    proxy = upstream(peers=2)
    for backend in proxy.backends[:1]:
        backend.__exit__()
    for _ in range(4):
        assert fetch(proxy.port).body == b"ok"


def test_nobody_listens(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; location / { proxy_pass http://127.0.0.1:<none>; proxy_http_version 2; } }",
                 values={"none": ports.free_port()})
    assert fetch(made.port).status == 502
    assert fetch(made.port).status == 502


def test_upgrades_go_over_http1(proxy, backend):
    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")))
        while connection.fill():
            connection.send(bytes(connection.buffer))
            connection.buffer.clear()

    backend.program = program
    made = proxy("server { listen 127.0.0.1:<port>; http2 on; location / { proxy_pass http://<backend>; proxy_http_version 2;"
                 "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }",
                 values={"backend": backend})
    with HTTP2Client(made.port) as client:
        socket = StreamSocket(client)
        socket.send("x")
        client.wait(lambda: socket.stream.body)
    assert backend.requests[0].raw.startswith(b"GET / HTTP/1.1\r\n")


def test_reload_under_streams(upstream):
    proxy = upstream()
    held = []
    proxy.backend.answer = lambda server, request, stream: held.append((server, stream))
    with HTTP2Client(proxy.port) as client:
        stream = client.begin()
        wait_for(lambda: held, 5, "the request")
        proxy.reload()
        client.wait(lambda: len(client.goaways) == 2)
        held[0][0].tasks.append(lambda server: server.respond(held[0][1], b"late"))
        assert client.response(stream).body == b"late"
    wait_for(lambda: proxy.backend.servers[0].closed, 5, "the end of the old connection")
    proxy.backend.answer = lambda server, request, stream: server.respond(stream)
    assert fetch(proxy.port).body == b"ok"


def test_a_request_that_comes_to_its_upstream_after_a_reload_leaves_no_connection(upstream):
    """The group's connections are made when first one is needed, here once the configuration has been replaced."""
    proxy = upstream("request_by_lua_block { sy.sleep(1) }")
    with Client(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)
        proxy.reload()
        assert client.read_response().status == 200
        wait_for(lambda: proxy.backend.servers[0].closed, 5, "the end of the connection")


@pytest.mark.clocked
def test_a_response_is_slowed_down_for_its_client_alone(upstream):
    """Streams share a connection: what is read slowly of one keeps no other back."""
    body = bytes(60 << 10)
    proxy = upstream("if ($arg_slow) { limit_rate 20k; }")
    proxy.backend.answer = lambda server, request, stream: server.respond(stream, body)
    with Client(proxy.port, timeout=20) as client:
        began = time.monotonic()
        client.send(b"GET /?slow=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(3):
            assert fetch(proxy.port).body == body
        assert time.monotonic() - began < 1
        assert client.read_response().body == body
        assert 1.8 <= time.monotonic() - began <= 3.5
    assert len(proxy.backend.servers) == 1
