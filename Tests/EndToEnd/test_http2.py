"""HTTP/2 for clients, with prior knowledge: requests, bodies, trailers, windows, what is malformed, floods, and how
connections end. Clients are python h2, curl, nghttp, h2load and httpx."""

import re
import signal
import subprocess
import threading
import time

import httpx
import pytest

from harness import ports
from harness.backend import CLOSE, Connection, chunked, reply
from harness.http2 import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, HTTP2Client, frame, headers_frame, literal)
from harness.wire import Client, fetch, wait_for
from proof import watch

pytestmark = pytest.mark.switchyard_only

LOG = ('log_format h2 "$status $request_method $request_uri $server_protocol $http2 $connection_requests '
       '[$request] $request_completion";')


@pytest.fixture
def plain(simple):
    """A proxy with HTTP/2 on, before a backend that answers "ok"."""

    def make(location="", server="", http="", **rest):
        return simple(location, server="http2 on; access_log <dir>/access.log h2; " + server, http=LOG + http, **rest)

    return make


def echo_body(request):
    """Answers with what was asked."""
    return reply(200, request.body, [("X-Was-Chunked", str(request.was_chunked)), ("X-Line", request.raw.split(b"\r\n")[0].decode())])


def curl(proxy, *args, path="/"):
    done = subprocess.run(
        ["curl", "-s", "-S", "--max-time", "20", "--http2-prior-knowledge", *args, f"http://127.0.0.1:{proxy.port}{path}"],
        capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Requests


def test_get(plain):
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        got = client.fetch("/a?b=c", headers=[("x-test", "1"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert (got.status, got.body) == (200, b"ok")
    assert got.get("content-length") == "2"
    assert got.reset is None
    assert [name for name, _ in got.headers] == [name.lower() for name, _ in got.headers]
    for name in ("connection", "keep-alive", "transfer-encoding"):
        assert got.get(name) is None
    [request] = proxy.backend.requests
    assert request.raw.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert request.get("x-test") == "1"
    assert request.get("cookie") == "a=1; b=2"
    assert "transfer-encoding" not in request
    assert proxy.log_lines("access.log", 1) == ["200 GET /a?b=c HTTP/2.0 h2c 1 [GET /a?b=c HTTP/2.0] OK"]


def test_a_cookie_of_many_crumbs(plain):
    """Each field may be as long as a line of HTTP/1.1, and all of them as a head."""
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        for count, status in ((9, 200), (20, 200), (40, 400)):
            got = client.fetch(headers=[("cookie", f"c{n}=" + "v" * 1000) for n in range(count)])
            assert got.status == status, count
        assert client.fetch(headers=[("cookie", "v" * 9000)]).status == 400
    whole = "; ".join(f"c{n}=" + "v" * 1000 for n in range(20))
    assert proxy.backend.requests[1].get("cookie") == whole
    assert len(proxy.backend.requests) == 2


def test_curl(plain):
    proxy = plain()
    assert curl(proxy, "-w", "%{http_version} %{http_code}") == b"ok2 200"
    assert curl(proxy, "--head").startswith(b"HTTP/2 200")


def test_http1_on_the_same_listener(plain):
    proxy = plain()
    assert fetch(proxy.port).status == 200
    # A method that begins as the preface does.
    for method in ("PUT", "POST", "PROPFIND", "PRI"):
        with Client(proxy.port) as client:
            client.send(b"P")
            time.sleep(0.02)
            client.send(f"{method[1:]} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
            assert client.read_response().status == 200


def test_preface_in_pieces(plain):
    proxy = plain()
    with HTTP2Client(proxy.port, greet=False) as client:
        client.connection.initiate_connection()
        data = client.connection.data_to_send()
        for byte in data:
            client.socket.sendall(bytes([byte]))
        assert client.fetch().status == 200


def test_no_preface_without_the_directive(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        client.send(PREFACE)
        assert client.read_response().status in (400, 505)


def test_listen_parameter(proxy, backend):
    made = proxy("server { listen 127.0.0.1:<port> http2; return 200 $http2; }")
    assert curl(made) == b"h2c"
    assert "deprecated" in made.logs()


def test_obsolete_directives(proxy):
    made = proxy(
        "http2_max_requests 5; http2_push on; http2_max_field_size 4k;"
        "server { listen 127.0.0.1:<port>; http2 on; http2_max_header_size 16k; return 200 ok; }")
    assert curl(made) == b"ok"
    assert 'the "http2_max_requests" directive is obsolete, use the "keepalive_requests" directive' in made.logs()


def test_many_streams(plain):
    proxy = plain()
    proxy.backend.answer = echo_body
    with HTTP2Client(proxy.port) as client:
        streams = [client.begin(f"/{n}", "POST", end=False) for n in range(100)]
        for n, stream in reversed(list(enumerate(streams))):
            client.write(stream, b"body %d" % n, end=True)
        for n, stream in enumerate(streams):
            got = client.response(stream)
            assert (got.status, got.body, got.reset) == (200, b"body %d" % n, None)


def test_head_and_statuses_without_content(plain):
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
            proxy.backend.answer = (
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" if method == "HEAD" else reply(status, b""))
            got = client.fetch(method=method)
            assert (got.status, got.body, got.ended, got.reset) == (status, b"", True, None)
            if method == "HEAD":
                assert got.get("content-length") == "5"


def test_interim_responses(plain):
    proxy = plain()
    proxy.backend.answer = [b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n", reply()]
    with HTTP2Client(proxy.port) as client:
        got = client.fetch()
    assert got.interim == [[(":status", "103"), ("link", "</a>")]]
    assert got.status == 200


def test_expect_continue(plain):
    proxy = plain()
    proxy.backend.answer = echo_body
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", [("expect", "100-continue"), ("content-length", "5")], end=False)
        client.wait(lambda: client.streams[stream].interim, what="100")
        assert client.streams[stream].interim == [[(":status", "100")]]
        client.write(stream, b"hello", end=True)
        assert client.response(stream).body == b"hello"


def test_local_responses(plain):
    proxy = plain(server="error_page 404 /e; location = /e { internal; return 404 gone; } location = /n { return 404; }"
                  "location = /t { add_trailer X-Sum 5; return 200 hello; } location = /d { return 444; } location = /r { return 301 /x; }"
                  "location = /s { request_by_lua_block { return flow:respond{ status = 444 } } }")
    with HTTP2Client(proxy.port) as client:
        assert (client.fetch("/n").status, client.fetch("/n").body) == (404, b"gone")
        got = client.fetch("/t")
        assert (got.body, got.trailers) == (b"hello", [("x-sum", "5")])
        assert client.fetch("/d").reset == client.fetch("/s").reset is not None
        assert client.fetch("/r").get("location") == f"http://127.0.0.1:{proxy.port}/x"


def test_refused_by_http(plain):
    """Well-formed, and answered by a status."""
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        assert client.fetch(fields=[(":method", "GET"), (":scheme", "http"), (":path", "/")]).status == 400
        assert client.fetch("/a#b").status == 400
        assert client.fetch("/../..").status == 400
        assert client.fetch(fields=[(":method", "CONNECT"), (":authority", "a:1")]).status == 405
        assert client.fetch(fields=[(":method", "get"), *client.pseudo("/")[1:]]).status == 400
        big = client.fetch(headers=[("x", "y" * 9000)])
        assert big.status == 400 and b"Too Large" in big.body
        assert client.fetch("/" + "x" * 9000).status == 414
        assert client.fetch().status == 200
    requests = [re.search(r"\[(.*)\]", line)[1] for line in proxy.log_lines("access.log", 8)]
    assert requests[1] == "GET /a#b HTTP/2.0"
    assert not any("HTTP/1.1" in request for request in requests), requests
    assert not [r for r in proxy.backend.requests if b"x" * 100 in r.raw]


# Bodies


def test_bodies_with_and_without_length(plain):
    proxy = plain("client_max_body_size 0;")
    proxy.backend.answer = echo_body
    body = bytes(range(256)) * 4000
    with HTTP2Client(proxy.port) as client:
        got = client.fetch("/", "POST", body=body)
        assert (got.body, got.get("x-was-chunked")) == (body, "True")
        got = client.fetch("/", "POST", [("content-length", str(len(body)))], body=body)
        assert (got.body, got.get("x-was-chunked")) == (body, "False")
        got = client.fetch("/", "POST", body=b"")
        assert (got.status, got.body) == (200, b"")
        got = client.fetch("/", "POST", [("content-length", "0")], body=b"")
        assert got.status == 200


def test_body_for_http1_0(plain):
    proxy = plain(server="location = /old { proxy_pass http://<backend>; proxy_http_version 1.0; }")
    proxy.backend.answer = echo_body
    with HTTP2Client(proxy.port) as client:
        got = client.fetch("/old", "POST", body=b"x" * 100_000)
    assert (got.body, got.get("x-was-chunked")) == (b"x" * 100_000, "False")


def test_trailers_both_ways(plain):
    proxy = plain()
    proxy.backend.answer = lambda request: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        + chunked(b"hello", trailers=[("X-Sum", str(request.trailers)), ("Content-Length", "3")]))
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", [("te", "trailers")], end=False)
        client.write(stream, b"body")
        client.trailers(stream, [("x-up", "1")])
        got = client.response(stream)
    assert (got.status, got.body) == (200, b"hello")
    assert got.trailers == [("x-sum", "[(b'x-up', b'1')]")]
    assert proxy.backend.requests[0].body == b"body"


def test_response_until_close(plain):
    proxy = plain()
    proxy.backend.answer = [b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 100_000, CLOSE]
    with HTTP2Client(proxy.port) as client:
        got = client.fetch()
    assert (got.body, got.ended, got.reset) == (b"a" * 100_000, True, None)


@pytest.mark.parametrize("head", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_broken_response_is_reset(plain, head):
    proxy = plain()
    proxy.backend.answer = [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", b"5\r\nhello\r\n", CLOSE]
    with HTTP2Client(proxy.port) as client:
        got = client.fetch()
        assert (got.status, got.ended, got.reset) == (200, False, 2)
        proxy.backend.answer = reply()
        assert client.fetch().status == 200


def test_too_large_a_body(plain):
    proxy = plain("client_max_body_size 1k;")
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", [("content-length", "5000")], end=False)
        got = client.response(stream)
        assert got.status == 413
        # The rest is not needed (RFC 9113 §8.1).
        client.wait(lambda: got.reset is not None)
        assert got.reset == 0
        stream = client.begin("/", "POST", end=False)
        client.write(stream, b"x" * 5000)
        assert client.response(stream).status == 413
        assert client.fetch().status == 200


@pytest.mark.clocked
@pytest.mark.parametrize("text", [
    "return 403;", "return 302 /x;", "deny all;", "request_by_lua_block { return flow:respond{ status = 403 } }",
    "proxy_http_version 1.1; proxy_pass http://127.0.0.1:1;"])
def test_an_own_answer_ends_at_once(proxy, text):
    """Though the request has not ended, and its client may wait for the end before it goes on: RFC 9113 §8.1."""
    made = proxy(f"server {{ listen 127.0.0.1:<port>; http2 on; location / {{ {text} }} }}")
    with HTTP2Client(made.port) as client:
        for _ in range(3):
            stream = client.begin("/", "POST", end=False)
            client.write(stream, b"abc")
            began = time.monotonic()
            got = client.response(stream)
            assert got.ended
            client.wait(lambda: got.reset is not None)
            assert got.reset == 0
            assert time.monotonic() - began < 2


def test_client_resets(plain):
    proxy = plain()
    seen = threading.Event()

    def program(connection):
        connection.next_request()
        seen.set()
        connection.fill()

    proxy.backend.program = program
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/")
        seen.wait(5)
        client.reset(stream)
        wait_for(lambda: not proxy.backend.connections[0].is_open, 5, "the upstream's end")
        assert proxy.log_lines("access.log", 1)[0].startswith("499 ")
        proxy.backend.program = Connection.serve
        assert client.fetch().status == 200


RESET = b"\0\0\0\x08"


def reset_at_once(client, stream, path="/", **options):
    """A request and its reset, in one write."""
    client.raw(headers_frame(stream, client.pseudo(path), **options) + frame(RST_STREAM, 0, stream, RESET))


def test_a_request_that_is_reset_along_with_its_head_is_logged(plain):
    """As by nginx with 499; but no rule, hook or upstream is asked for it."""
    proxy = plain(
        "request_by_lua_block { sy.log.warn('a request hook ran') } log_by_lua_block { sy.log.warn('logged ' .. flow.var.status) }",
        server="error_page 400 = /page; location /else { access_log <dir>/else.log h2; return 200; } "
               "location /limited { limit_req zone=one; proxy_pass http://<backend>; }",
        http="limit_req_zone $server_name zone=one:1m rate=1r/m; ")
    with HTTP2Client(proxy.port) as client:
        reset_at_once(client, 1, "/a?b")
        reset_at_once(client, 3, "/post", end=False)
        reset_at_once(client, 5, "/else")
        reset_at_once(client, 7, "/limited")
        # Neither a URI nor a head that is refused has it answered.
        reset_at_once(client, 9, "/../..")
        client.raw(headers_frame(11, [(":method", "GET"), (":path", "/bad")]) + frame(RST_STREAM, 0, 11, RESET))
        # What breaks its own stream.
        client.raw(headers_frame(13, [*client.pseudo("/long"), ("content-length", "1")], end=False)
                   + frame(DATA, 0, 13, b"long"))
        lines = proxy.log_lines("access.log", 6)
        assert [re.sub(r"\[.*\] ", "", line) for line in lines] == [
            "499 GET /a?b HTTP/2.0 h2c 1 ",
            "499 GET /post HTTP/2.0 h2c 2 ",
            "499 GET /limited HTTP/2.0 h2c 4 ",
            "400 GET /../.. HTTP/2.0 h2c 5 ",
            "400 - - HTTP/2.0 h2c 6 ",
            "400 GET /long HTTP/2.0 h2c 7 ",
        ]
        assert proxy.log_lines("else.log", 1)[0].startswith("499 GET /else ")
    with HTTP2Client(proxy.port) as client:
        assert client.fetch("/limited").status == 200
    assert len(proxy.backend.requests) == 1
    assert proxy.log().count("a request hook ran") == 0
    assert proxy.log().count("logged 499") == 2
    assert proxy.log().count("client sent malformed request") == 2


def test_connection_ends_under_streams(plain):
    proxy = plain()
    proxy.backend.program = lambda connection: (connection.next_request(), connection.fill())
    client = HTTP2Client(proxy.port)
    for n in range(10):
        client.begin(f"/{n}")
    proxy.backend.wait_requests(10)
    client.close()
    assert all(line.startswith("499 ") for line in proxy.log_lines("access.log", 10))


@pytest.mark.parametrize("greeted", [True, False])
def test_client_half_closes(plain, greeted):
    """What it asked for whole is answered, at once or later, and then the connection ends."""
    proxy = plain(server="location /v { return 200 own; }")
    proxy.backend.answer = [0.3, reply(200, b"later" * 1000)]
    with HTTP2Client(proxy.port) as client:
        if greeted:
            client.wait(lambda: client.has_settings)
        streams = [client.begin(path) for path in ["/v", "/a", "/b", *["/v"] * 20]]
        client.finish()
        client.wait_closed(5)
        got = [client.streams[stream] for stream in streams]
        assert [one.body for one in got] == [b"own", b"later" * 1000, b"later" * 1000, *[b"own"] * 20]
        assert all(one.ended and one.reset is None for one in got)
    assert sorted(line[:4] for line in proxy.log_lines("access.log", 23)) == ["200 "] * 23


def test_client_half_closes_an_idle_connection(plain):
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        assert client.fetch().status == 200
        client.finish()
        client.wait_closed(3)


def test_client_half_closes_within_a_body(plain):
    proxy = plain("client_body_timeout 60s;")
    with HTTP2Client(proxy.port) as client:
        client.begin("/whole", "POST", [("content-length", "3")], end=False)
        client.write(1, b"abc", end=True)
        client.begin("/part", "POST", [("content-length", "9")], end=False)
        client.write(3, b"abc")
        proxy.backend.wait_requests(1)
        client.finish()
        client.wait_closed(5)
        assert client.streams[1].body == b"ok"
    assert sorted(line.split(" [")[0] for line in proxy.log_lines("access.log", 2)) == [
        "200 POST /whole HTTP/2.0 h2c 1", "499 POST /part HTTP/2.0 h2c 2"]


def test_client_half_closes_with_a_window_that_is_full(plain):
    """It will not open any more, which is not waited for."""
    proxy = plain("send_timeout 60s;")
    proxy.backend.answer = lambda request: reply(200, b"x" * (200_000 if request.target == "/large" else 9))
    with HTTP2Client(proxy.port, acknowledge=False) as client:
        large = client.begin("/large")
        client.wait(lambda: len(client.streams[large].body) == 65_535)
        client.finish()
        client.wait_closed(5)
        assert not client.streams[large].ended
    assert proxy.log_lines("access.log", 1)[0].startswith("200 GET /large")


@pytest.mark.parametrize("ignores", ["off", "on"])
def test_client_half_closes_while_a_hook_waits(plain, ignores):
    """As over HTTP/1.1: a hook is not kept waiting for nobody."""
    proxy = plain("request_by_lua_block { sy.sleep(1) }" + f"proxy_ignore_client_abort {ignores};")
    with HTTP2Client(proxy.port) as client:
        stream = client.begin()
        client.quiet(0.2)
        client.finish()
        client.wait_closed(5)
        assert client.streams[stream].body == (b"ok" if ignores == "on" else b"")
    assert proxy.log_lines("access.log", 1)[0].startswith("200 " if ignores == "on" else "499 ")


# Windows


def test_a_stream_that_is_not_read_stops_nobody(plain):
    proxy = plain()
    size = 8 << 20
    sent = []

    def program(connection):
        while request := connection.next_request():
            if request.target == "/slow":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size >> 14):
                    connection.send(b"x" * (1 << 14))
                    sent.append(1 << 14)
            else:
                connection.send(reply(200, b"fast"))

    proxy.backend.program = program
    with HTTP2Client(proxy.port, acknowledge=False) as client:
        # Room for the others on the connection.
        client.connection.increment_flow_control_window(16 << 20)
        client.flush()
        slow = client.begin("/slow")
        client.wait(lambda: len(client.streams[slow].body) == 65_535)
        for _ in range(20):
            assert client.fetch("/fast").body == b"fast"
        client.quiet(0.3)
        # The upstream is not read on: what it could send is in sockets' buffers.
        assert sum(sent) < size
        before = sum(sent)
        client.quiet(0.3)
        assert sum(sent) == before
        assert len(client.streams[slow].body) == 65_535
        client.connection.increment_flow_control_window(2 * size, slow)
        client.flush()
        assert len(client.response(slow).body) == size


def test_upstream_that_does_not_read_closes_the_streams_window(plain):
    proxy = plain("client_max_body_size 0;")
    gate = threading.Event()
    proxy.backend.program = slow_program(gate)
    size = 32 << 20
    with HTTP2Client(proxy.port) as client:
        slow = client.begin("/slow", "POST", [("content-length", str(size))], end=False)
        sent = 0
        deadline = time.monotonic() + 10
        # As much as windows and buffers take.
        while sent < size and time.monotonic() < deadline:
            room = min(client.connection.local_flow_control_window(slow), 16_384)
            if room == 0:
                if not client.receive(0.5):
                    break
                continue
            client.connection.send_data(slow, b"x" * min(room, size - sent))
            sent += min(room, size - sent)
            client.flush()
        assert sent < size, "nothing held the client back"
        # The connection's window has room for the others.
        for _ in range(5):
            assert client.fetch("/fast", "POST", body=b"y" * 100_000).status == 200
        gate.set()
        client.write(slow, b"x" * (size - sent), end=True)
        assert client.response(slow, 20).body == str(size).encode()


def slow_program(gate):
    def program(connection):
        while request := connection.next_head():
            length = request.get("content-length")
            if request.target == "/slow":
                gate.wait(20)
                left = int(length) - len(connection.buffer)
                connection.buffer.clear()
                while left > 0:
                    data = connection.sock.recv(1 << 20)
                    if not data:
                        return
                    left -= len(data)
                connection.send(reply(200, length.encode()))
            else:
                body = b""
                while not body.endswith(b"0\r\n\r\n"):
                    if not connection.buffer:
                        connection.buffer += connection.sock.recv(1 << 20)
                    body += bytes(connection.buffer)
                    connection.buffer.clear()
                connection.send(reply())

    return program


def test_zero_windows_run_into_the_send_timeout(plain):
    proxy = plain("send_timeout 1s;")
    proxy.backend.answer = reply(200, b"x" * 1000)
    with HTTP2Client(proxy.port, settings={4: 0}) as client:
        stream = client.begin()
        got = client.response(stream, 8)
        assert got.status == 200 and got.reset is not None
        assert not client.closed


def test_tiny_windows(plain):
    proxy = plain()
    proxy.backend.answer = reply(200, b"0123456789" * 20)
    with HTTP2Client(proxy.port, settings={4: 7}, acknowledge=False) as client:
        stream = client.begin()
        got = client.streams[stream]
        for n in range(1, 100):
            client.wait(lambda: len(got.body) >= min(7 * n, 200))
            if got.ended:
                break
            client.open_windows(stream, 7)
        assert got.body == b"0123456789" * 20


def test_tiny_windows_hold_little_memory(plain):
    """Of a large answer no more is read from the upstream than a frame's worth, where the client takes next to nothing."""
    proxy = plain()
    proxy.backend.answer = reply(200, b"x" * 1_000_000)
    with HTTP2Client(proxy.port, settings={4: 1}, acknowledge=False) as client:
        first = client.begin()
        client.wait(lambda: client.streams[first].body)
        before = watch.private_bytes(proxy.pid)
        streams = [client.begin() for _ in range(99)]
        client.wait(lambda: all(client.streams[stream].body for stream in streams))
        assert watch.private_bytes(proxy.pid) - before < 99 * 48 * 1024


def test_downloads_that_are_not_read_hold_little_memory(plain):
    """Whatever windows their client gives, and however many there are of them on its connection."""
    proxy = plain()
    proxy.backend.answer = reply(200, b"x" * 4_000_000)
    with HTTP2Client(proxy.port, settings={4: 2**31 - 1}, acknowledge=False) as client:
        client.open_windows(None, 2**31 - 1 - 65_535)
        client.fetch("/first")
        before = watch.private_bytes(proxy.pid)
        for _ in range(100):
            client.begin()
        proxy.backend.wait_requests(101)
        # Nothing is read meanwhile: what comes stands in the socket, and then in the proxy.
        time.sleep(1)
        assert watch.private_bytes(proxy.pid) - before < 5 << 20


def test_window_change_by_settings(plain):
    proxy = plain()
    proxy.backend.answer = reply(200, b"x" * 50_000)
    with HTTP2Client(proxy.port, settings={4: 100}, acknowledge=False) as client:
        stream = client.begin()
        client.wait(lambda: len(client.streams[stream].body) == 100)
        client.connection.update_settings({4: 60_000})
        client.flush()
        assert len(client.response(stream).body) == 50_000


# What is malformed


def malformed_heads():
    get = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]

    def with_(*more):
        return get + list(more)

    def without(name):
        return [field for field in get if field[0] != name]

    def replacing(name, value):
        return [(key, value if key == name else old) for key, old in get]

    yield from [
        [(":status", "200"), *get], [(":x", "y"), *get], [(":", "y"), *get],
        *([(name, value), *get] for name, value in get),
        *(without(name) for name in (":method", ":scheme", ":path")),
        [*without(":path"), ("x", "y"), (":path", "/")],
        replacing(":method", ""), replacing(":method", "GET / HTTP/1.1\r\nX: y"), replacing(":method", "G ET"),
        replacing(":scheme", ""), replacing(":scheme", "gopher"), replacing(":scheme", "http://evil/"),
        replacing(":path", ""), replacing(":path", "a"), replacing(":path", "*"), replacing(":path", "http://evil/"),
        replacing(":path", "/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /x"), replacing(":path", "/a b"),
        replacing(":path", "/\0"), replacing(":path", "/\x7f"), replacing(":path", "/\n"),
        replacing(":authority", ""), replacing(":authority", "a\r\nx: y"), replacing(":authority", "u@a"),
        replacing(":authority", "a b"), replacing(":authority", "a/x"), replacing(":authority", "a:x"),
        [*without(":authority"), ("host", "a"), ("host", "b")], with_(("host", "evil")),
        with_(("", "x")), with_(("x y", "z")), with_(("x\r\ny", "z")), with_(("x:", "z")), with_(("X", "z")),
        with_(("Host", "a")), with_(("x\0", "z")), with_(("\xe9", "z")),
        with_(("x", "a\r\ny: z")), with_(("x", "a\ny: z")), with_(("x", "a\r")), with_(("x", "\0")), with_(("x", "a\x08")),
        with_(("x", " a")), with_(("x", "a ")), with_(("cookie", "a\r\nx: y")),
        with_(("connection", "close")), with_(("connection", "x-forwarded-for")), with_(("keep-alive", "1")),
        with_(("proxy-connection", "a")), with_(("transfer-encoding", "chunked")), with_(("transfer-encoding", "identity")),
        with_(("upgrade", "websocket")), with_(("upgrade", "h2c")), with_(("te", "chunked")), with_(("te", "trailers, deflate")),
        with_(("content-length", "x")), with_(("content-length", "-1")), with_(("content-length", "0x1")),
        with_(("content-length", "1")), with_(("content-length", "")),
        with_(("content-length", "0"), ("content-length", "0")), with_(("content-length", "1"), ("content-length", "2")),
        [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")], [(":method", "CONNECT")],
        [(":protocol", "websocket"), *get],
        [(":method", "CONNECT"), (":protocol", "websocket"), (":authority", "a"), (":path", "/")],
        [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/")],
        [(":method", "CONNECT"), (":protocol", ""), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    ]


def test_malformed_heads(plain):
    proxy = plain()
    heads = list(malformed_heads())
    assert len(heads) >= 60
    for fields in heads:
        with HTTP2Client(proxy.port) as client:
            client.raw(headers_frame(1, fields))
            answer = raw_frames(client, lambda frames: any(kind == RST_STREAM for kind, *_ in frames))
            resets = [payload for kind, _, _, payload in answer if kind == RST_STREAM]
            assert resets == [b"\0\0\0\x01"], fields
            # It is a matter of the stream alone: the connection goes on.
            client.raw(headers_frame(3, [*client.pseudo("/fine")]))
            answer = raw_frames(client, lambda frames: any(kind == DATA and s == 3 for kind, _, s, _ in frames))
            assert any(kind == HEADERS and s == 3 for kind, _, s, _ in answer), fields
    assert {request.target for request in proxy.backend.requests} == {"/fine"}
    assert len(proxy.backend.requests) == len(heads)
    wait_for(lambda: proxy.log("access.log").count("400 ") >= len(heads), 5, "lines for what was refused")


def test_no_body_answers_a_head_that_is_malformed(plain):
    proxy = plain()
    long = "/" + "x" * 12_000
    for path, more, status in (
            ("", [], 400), ("/a b", [], 400), ("/\0", [], 400), ("*", [], 400), ("/", [("connection", "x")], 400),
            ("", [("connection", "x")], 400), (long, [], 414)):
        for method, has_body in (("HEAD", False), ("GET", True)):
            with HTTP2Client(proxy.port) as client:
                client.raw(headers_frame(1, [
                    (":method", method), (":scheme", "http"), (":authority", "a"), (":path", path), *more]))
                # What ends either.
                client.raw(headers_frame(3, [*client.pseudo("/fine")]))
                answer = raw_frames(client, lambda frames: any(kind == DATA and s == 3 for kind, _, s, _ in frames))
                assert any(kind == HEADERS and s == 1 for kind, _, s, _ in answer), (method, path, more)
                body = b"".join(payload for kind, _, s, payload in answer if kind == DATA and s == 1)
                assert (b"<html>" in body) == has_body, (method, path, more, body)
    assert {line[:3] for line in proxy.log_lines("access.log", 28)} == {"200", "400", "414"}


def raw_frames(client, until, seconds=5.0):
    """Frames as they come, past the library."""
    frames, buffer, end = [], getattr(client, "rest", b""), time.monotonic() + seconds
    while True:
        while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
            length = int.from_bytes(buffer[:3], "big")
            frames.append((buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big") & 0x7fffffff, buffer[9:9 + length]))
            buffer = buffer[9 + length:]
        client.rest = buffer
        if until(frames):
            return frames
        client.socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = client.socket.recv(65536)
        except (TimeoutError, ConnectionResetError):
            data = b""
        if not data:
            return frames
        buffer += data


@pytest.mark.parametrize("length,body", [(4, b"hello"), (6, b"hello"), (5, b"")])
def test_content_length_mismatch(plain, length, body):
    proxy = plain("proxy_request_buffering off;")
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", [("content-length", str(length))], end=False)
        # It is under way before it turns out to be malformed.
        client.quiet(0.2)
        client.write(stream, body, end=True)
        got = client.response(stream)
        assert (got.reset, got.headers) == (1, None)
        assert client.fetch("/fine").status == 200
    # Its client has not left.
    assert proxy.log_lines("access.log", 2)[0].startswith("400 ")
    assert "client sent malformed request: " in proxy.log()
    # No request that is whole ever gets there.
    assert [request.target for request in proxy.backend.requests] == ["/fine"]


def test_malformed_trailers(plain):
    proxy = plain()
    for fields in ([(":path", "/")], [("x", "a\r\nb")], [("X", "a")], [("transfer-encoding", "chunked")], [("connection", "x")]):
        with HTTP2Client(proxy.port) as client:
            stream = client.begin("/", "POST", end=False)
            client.write(stream, b"x")
            client.raw(headers_frame(stream, fields))
            assert client.response(stream).reset == 1, fields
    assert proxy.backend.requests == []


def test_trailers_cannot_smuggle(plain):
    """Names that mean something in a head are left out."""
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", end=False)
        client.write(stream, b"x")
        client.trailers(stream, [("content-length", "9"), ("host", "evil"), ("authorization", "a"), ("x-fine", "1")])
        assert client.response(stream).status == 200
    assert proxy.backend.requests[0].trailers == [(b"x-fine", b"1")]


# Floods


def flooded(client):
    """Waits for the end of the connection, and returns the code of its GOAWAY."""
    client.wait_closed(10)
    return client.goaway and client.goaway[0]


def test_rapid_reset(plain):
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        for n in range(3000):
            stream = 2 * n + 1
            client.raw(headers_frame(stream, client.pseudo("/")) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
            if client.closed:
                break
        client.closed = False
        answer = raw_frames(client, lambda frames: any(kind == 7 for kind, *_ in frames))
    goaways = [payload for kind, _, _, payload in answer if kind == 7]
    assert goaways and goaways[-1][4:8] == b"\0\0\0\x0b"
    assert "http2 flood detected" in proxy.log()
    assert fetch(proxy.port).status == 200
    # Of all these, hardly any was worth a connection to the upstream.
    assert len(proxy.backend.connections) < 400


@pytest.mark.parametrize("what", ["ping", "settings", "priority", "empty", "unknown", "window", "continuation", "malformed"])
def test_floods(plain, what):
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        client.raw(headers_frame(1, client.pseudo("/", "POST"), end=False))
        open_head = frame(HEADERS, END_STREAM, 3, b"".join(literal(*f) for f in client.pseudo("/")))
        if what == "continuation":
            client.raw(open_head)
        for n in range(400):
            client.raw({
                "ping": frame(PING, 0, 0, b"12345678"),
                "settings": frame(SETTINGS),
                "priority": frame(PRIORITY, 0, 5, b"\0\0\0\0\1"),
                "empty": frame(DATA, 0, 1),
                "unknown": frame(0xbe, 0, 0, b"x" * 100),
                "window": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
                "continuation": frame(CONTINUATION, 0, 3, literal("x", "y")),
                "malformed": headers_frame(2 * n + 5, [(":method", "GET")]),
            }[what] * (1 if what == "malformed" else 20))
            if client.closed:
                break
        answer = raw_frames(client, lambda frames: any(kind == 7 for kind, *_ in frames))
        goaways = [payload for kind, _, _, payload in answer if kind == 7]
        assert goaways and goaways[-1][4:8] == b"\0\0\0\x0b", answer[-3:]
    assert fetch(proxy.port).status == 200


def test_peer_that_does_not_read(plain):
    """Answers to PINGs do not pile up for one that takes none."""
    proxy = plain("send_timeout 2s;", server="send_timeout 2s;")
    with HTTP2Client(proxy.port) as client:
        client.socket.settimeout(5)
        end = time.monotonic() + 10
        with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
            while time.monotonic() < end:
                client.socket.sendall(frame(PING, 0, 0, b"12345678") * 100)
    assert fetch(proxy.port).status == 200


def test_frames_that_break_the_protocol(plain):
    proxy = plain()
    for data in (
            frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS, 2, literal(":method", "GET")),
            frame(SETTINGS, 0, 1), frame(SETTINGS, 0, 0, b"x"), frame(PING, 0, 0, b"x"), frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
            # What was passed over was never there (RFC 9113 §5.1.1).
            headers_frame(5, [(":method", "POST")], end=False) + headers_frame(3, [(":method", "GET")]),
            frame(PRIORITY, 0, 0, b"\0\0\0\0\1"),
            frame(RST_STREAM, 0, 7, b"\0\0\0\0"), frame(CONTINUATION, 0, 1, b"x"), frame(5, 0, 1, b"\0\0\0\2"),
            frame(HEADERS, END_HEADERS, 1, b"\xff" * 10), b"\xff\xff\xff" + b"\0" * 6 + b"x" * 100):
        with HTTP2Client(proxy.port) as client:
            client.raw(data)
            answer = raw_frames(client, lambda frames: any(kind == 7 for kind, *_ in frames))
            assert [payload for kind, _, _, payload in answer if kind == 7], data
    with Client(proxy.port) as client:
        client.send(PREFACE + b"GET / HTTP/1.1\r\n\r\n" + b"x" * 10_000)
        client.sock.settimeout(5)
        while client.sock.recv(1000):
            pass
    assert fetch(proxy.port).status == 200


def test_trailers_of_a_stream_that_was_reset_are_passed_over(plain):
    """Unlike a head below others, of a stream that never was."""
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        for stream in (1, 7):
            client.raw(headers_frame(stream, client.pseudo("/", "POST"), end=False) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
            client.raw(headers_frame(stream, [("x", "y")]))
        client.raw(headers_frame(9, client.pseudo("/")))
        answer = raw_frames(client, lambda frames: any(kind == DATA for kind, *_ in frames))
        assert any(kind == DATA and stream == 9 for kind, _, stream, _ in answer), answer
        client.raw(headers_frame(5, client.pseudo("/")))
        answer = raw_frames(client, lambda frames: any(kind == 7 for kind, *_ in frames))
        assert [payload[4:8] for kind, _, _, payload in answer if kind == 7] == [b"\0\0\0\1"]


def test_header_list_bomb(plain):
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        value = b"x" * 4000
        block = b"".join(literal(*f) for f in client.pseudo("/")) + b"\x40" + literal("x", value)[1:]
        block += bytes([0x80 | 62]) * 12_000
        client.raw(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
        answer = raw_frames(client, lambda frames: any(kind in (HEADERS, RST_STREAM, 7) for kind, *_ in frames))
        assert any(kind in (HEADERS, RST_STREAM) for kind, *_ in answer)
    assert proxy.backend.requests == []


@pytest.mark.parametrize("count,size,preread", [(60, 60_000, ""), (1, 1_000_000, "http2_body_preread_size 1m;")])
def test_uploads_that_are_answered_early_harm_no_others(plain, count, size, preread):
    """What a client sends before it knows of the answer (RFC 9113 §5.1, "closed"), as far as it was allowed to."""
    proxy = plain("if ($request_method = POST) { return 413; }", server="client_max_body_size 10; " + preread)
    gate = held(proxy)
    with HTTP2Client(proxy.port) as client:
        client.wait(lambda: client.has_settings)
        slow = client.begin("/held")
        uploads = [client.begin("/", "POST", end=False) for _ in range(count)]
        client.flush()
        # Nothing that comes is looked at before all is sent.
        window = (1 << 20) if preread else 65_535
        data = b"".join(frame(DATA, 0, stream, b"x" * 10_000) for stream in uploads for _ in range(min(size, window) // 10_000))
        client.socket.settimeout(10)
        client.socket.sendall(data)
        assert [client.head(stream).status for stream in uploads] == [413] * count
        gate.set()
        assert client.response(slow).body == b"helloworld"
        assert client.goaway is None
        # What was not allowed is a flood.
        client.raw(frame(DATA, 0, uploads[0], b"x" * 10_000) * 500)
        client.raw(frame(DATA, 0, uploads[0], b"x" * 10_000) * 500)
        client.wait_closed(10)
    assert "http2 flood detected" in proxy.log()


def test_a_stream_above_the_limit_is_refused(plain):
    """And no other is (RFC 9113 §5.1.2), before and after our settings were acknowledged."""
    proxy = plain(server="http2_max_concurrent_streams 2;")
    gate = held(proxy)
    with HTTP2Client(proxy.port, greet=False) as client:
        client.socket.sendall(PREFACE + frame(SETTINGS))
        begin = [headers_frame(stream, client.pseudo("/held"), end=stream != 7) for stream in (1, 3, 5, 7)]
        client.socket.sendall(begin[0] + begin[1] + begin[2])
        got = raw_frames(client, lambda frames: any(kind == RST_STREAM for kind, *_ in frames))
        # The limit that was announced.
        assert b"\0\3\0\0\0\2" in next(payload for kind, flags, _, payload in got if kind == SETTINGS and not flags)
        client.socket.sendall(frame(SETTINGS, 1) + begin[3] + frame(DATA, END_STREAM, 7, b"x" * 1000))
        got += raw_frames(client, lambda frames: any(kind == RST_STREAM for kind, *_ in frames))
        assert [(stream, payload) for kind, _, stream, payload in got if kind == RST_STREAM] == [
            (5, b"\0\0\0\7"), (7, b"\0\0\0\7")]
        gate.set()
        got += raw_frames(client, lambda frames: sum(kind == DATA and flags & 1 for kind, flags, *_ in frames) == 2)
        assert {stream for kind, flags, stream, _ in got if kind == DATA and flags & 1} == {1, 3}
        client.socket.sendall(headers_frame(9, client.pseudo("/")))
        got = raw_frames(client, lambda frames: any(kind == DATA for kind, *_ in frames))
        assert any(kind == DATA and stream == 9 for kind, _, stream, _ in got) and not any(kind == 7 for kind, *_ in got)


def test_a_page_that_is_left(plain):
    """Its requests are given up together, which is no rapid reset where they were under way for a while."""
    proxy = plain()
    gate = held(proxy)
    with HTTP2Client(proxy.port) as client:
        for _ in range(3):
            streams = [client.begin("/held") for _ in range(100)]
            for stream in streams:
                client.head(stream)
            client.quiet(0.2)
            for stream in streams:
                client.reset(stream)
        assert client.fetch().body == b"ok"
        assert client.goaway is None
    gate.set()


def test_messages_with_windows_and_pings_for_each(plain):
    """As some clients measure delays, and give leave for more."""
    proxy = plain()
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/", "POST", end=False)
        for count in range(100, 2100, 100):
            client.raw((frame(DATA, 0, stream, b"x") + frame(PING, 0, 0, b"12345678")) * 100)
            client.wait(lambda: len(client.pings) == count)
        client.raw(frame(DATA, END_STREAM, stream))
        assert client.response(stream).status == 200
        assert client.goaway is None


# The connection's end


def test_keepalive_timeout(plain):
    proxy = plain(server="keepalive_timeout 1s;")
    with HTTP2Client(proxy.port) as client:
        assert client.fetch().status == 200
        client.wait_closed(5)
        assert client.goaway == (0, 1)


def test_keepalive_requests(plain):
    proxy = plain(server="keepalive_requests 3;")
    with HTTP2Client(proxy.port) as client:
        for _ in range(3):
            assert client.fetch().status == 200
        client.wait_closed(5)
        assert client.goaway[0] == 0


def test_preface_timeout(plain):
    proxy = plain(server="client_header_timeout 1s;")
    with Client(proxy.port) as client:
        client.send(PREFACE[:10])
        client.sock.settimeout(5)
        assert client.sock.recv(100) == b""
    with HTTP2Client(proxy.port) as client:
        client.wait_closed(5)


def test_lengths_are_those_of_http_1(plain):
    proxy = plain(http="log_format lengths '$request_method $request_length $bytes_sent';",
                  server="access_log <dir>/lengths.log lengths;")
    authority = f"127.0.0.1:{proxy.port}"
    with HTTP2Client(proxy.port) as client:
        assert client.fetch("/", headers=[("x", "y")]).body == b"ok"
        assert client.fetch("/", "POST", body=b"12345678").body == b"ok"
    with Client(proxy.port) as client:
        for head, body in (("GET / HTTP/1.1\r\nHost: {}\r\nx: y\r\n\r\n", ""),
                           ("POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\n12345678\r\n0\r\n\r\n")):
            client.send((head.format(authority) + body).encode())
            assert client.read_response().body == b"ok"
    lines = proxy.log_lines("lengths.log", 4)
    assert lines[:2] == lines[2:]


def test_half_a_head_times_out(plain):
    proxy = plain(server="client_header_timeout 1s; keepalive_timeout 1s;")
    text = "client timed out (110: Connection timed out) while reading client request headers, client: 127.0.0.1"
    with Client(proxy.port) as client:
        client.send(PREFACE + frame(SETTINGS) + frame(HEADERS, END_STREAM, 1, literal(":method", "GET")))
        client.sock.settimeout(3)
        while client.sock.recv(1000):
            pass
    wait_for(lambda: text in proxy.log(), 5, "the log")
    with HTTP2Client(proxy.port) as client:
        assert client.fetch().status == 200
        client.raw(frame(HEADERS, END_STREAM, 3, literal(":method", "GET")))
        client.wait_closed(3)
        assert client.goaway[0] == 0
    wait_for(lambda: proxy.log().count(text) == 2, 5, "the log")


def held(proxy):
    """A backend's answer that waits for the test."""
    gate = threading.Event()

    def program(connection):
        while request := connection.next_request():
            if request.target == "/held":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                gate.wait(20)
                connection.send(b"world")
            else:
                connection.send(reply())

    proxy.backend.program = program
    return gate


def test_reload_says_goaway_and_finishes(plain):
    proxy = plain()
    gate = held(proxy)
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/held")
        client.wait(lambda: client.streams[stream].body == b"hello")
        proxy.reload()
        client.wait(lambda: len(client.goaways) >= 2, 10)
        # First that there is an end, then where it was (RFC 9113 §6.8).
        assert client.goaways == [(0, 0x7fffffff), (0, stream)]
        assert not client.closed
        gate.set()
        client.wait_closed()
        assert client.streams[stream].body == b"helloworld"
        assert client.streams[stream].ended
    with HTTP2Client(proxy.port) as client:
        assert client.fetch().status == 200


def test_shutdown_finishes_what_is_under_way(plain):
    proxy = plain()
    gate = held(proxy)
    with HTTP2Client(proxy.port) as client, HTTP2Client(proxy.port) as idle:
        stream = client.begin("/held")
        client.wait(lambda: client.streams[stream].body == b"hello")
        assert idle.fetch().status == 200
        proxy.signal(signal.SIGQUIT)
        idle.wait_closed()
        assert idle.goaway[0] == 0
        client.wait(lambda: client.goaway is not None)
        gate.set()
        client.wait_closed()
        assert client.streams[stream].body == b"helloworld"
    assert proxy.wait_exit() == 0


def test_what_goes_on_without_its_client_ends_before_its_worker(plain):
    proxy = plain("proxy_ignore_client_abort on; log_by_lua_block { sy.sleep(0.3); sy.log.warn('logged') }")
    gate = held(proxy)
    with HTTP2Client(proxy.port) as client:
        stream = client.begin("/held")
        client.wait(lambda: client.streams[stream].body == b"hello")
    proxy.signal(signal.SIGQUIT)
    time.sleep(0.5)
    assert proxy.is_running
    gate.set()
    assert proxy.wait_exit() == 0
    assert proxy.log_lines("access.log", 1)[0].startswith("200 ")
    assert "logged" in proxy.log()


def test_listener_that_goes(proxy, backend):
    made = proxy("server { listen 127.0.0.1:<port>; listen 127.0.0.1:<other>; http2 on; return 200 ok; }",
                 values={"other": ports.free_port()})
    with HTTP2Client(made.values["other"]) as client:
        assert client.fetch().status == 200
        made.reload(made.config_path.read_text().replace(f"listen 127.0.0.1:{made.values['other']};", ""))
        client.wait_closed()
        assert client.goaway[0] == 0


# Other clients


def test_nghttp(plain):
    proxy = plain()
    done = subprocess.run(
        ["nghttp", "-nv", f"http://127.0.0.1:{proxy.port}/a", f"http://127.0.0.1:{proxy.port}/b"],
        capture_output=True, text=True, timeout=20)
    assert done.stdout.count(":status: 200") == 2, done.stdout


def test_h2load(plain):
    proxy = plain(server="keepalive_requests 100000;")
    done = subprocess.run(
        ["h2load", "-n", "2000", "-c", "4", "-m", "20", f"http://127.0.0.1:{proxy.port}/"],
        capture_output=True, text=True, timeout=60)
    assert "2000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


def test_httpx(plain):
    proxy = plain()
    proxy.backend.answer = echo_body
    with httpx.Client(http1=False, http2=True) as client:
        for _ in range(3):
            response = client.post(f"http://127.0.0.1:{proxy.port}/x", content=b"y" * 100_000)
            assert (response.status_code, response.http_version) == (200, "HTTP/2")
            assert response.content == b"y" * 100_000


def test_scripts_know(simple):
    proxy = simple(
        server="http2 on; location = /v { proxy_pass http://<backend>; request_by_lua_block {"
        " return flow:respond{ status = 200, body = flow.client.http .. ' ' .. flow.req.version } } }")
    with HTTP2Client(proxy.port) as client:
        assert client.fetch("/v").body == b"2 2"
    assert fetch(proxy.port, "/v").body == b"1.1 1.1"


def test_stub_status(plain):
    proxy = plain(server="location = /s { stub_status; }")
    with HTTP2Client(proxy.port) as one, HTTP2Client(proxy.port) as two:
        assert one.fetch().status == 200
        text = two.fetch("/s").text
    assert re.search(r"Active connections: 2 ", text)
    assert re.search(r"Reading: 0 Writing: 1 Waiting: 1 ", text)


def test_stub_status_beside_many_streams(plain):
    proxy = plain(server="location = /s { stub_status; }")
    gate = held(proxy)
    with HTTP2Client(proxy.port) as busy, HTTP2Client(proxy.port) as idle, HTTP2Client(proxy.port) as asking:
        streams = [busy.begin("/held") for _ in range(10)]
        busy.wait(lambda: all(busy.streams[stream].body == b"hello" for stream in streams))
        assert idle.fetch().status == 200
        assert re.search(r"Active connections: 3 [^R]*Reading: 0 Writing: 11 Waiting: 1 ", asking.fetch("/s").text, re.S)
        gate.set()
        for stream in streams:
            assert busy.response(stream).body == b"helloworld"
        assert re.search(r"Active connections: 3 [^R]*Reading: 0 Writing: 1 Waiting: 2 ", asking.fetch("/s").text, re.S)
