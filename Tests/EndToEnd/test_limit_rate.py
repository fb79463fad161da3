"""`limit_rate`, `limit_rate_after`, `proxy_limit_rate`: responses that are to be slower than they could be."""

import concurrent.futures
import signal
import time

import pytest

from harness.backend import chunked, reply
from harness.http2 import HTTP2Client
from harness.websocket import MAP, RECIPE, frame, opened, switching
from harness.wire import Client, fetch, wait_for

SIZE = 60 << 10
BODY = bytes(range(256)) * (SIZE // 256)
# Of 60 KB, the first 20 go at once.
SLOW, FAST = (1.8, 3.5), (0, 0.9)
LOCATIONS = {
    "none": ("", FAST),
    "literal": ("limit_rate 20k;", SLOW),
    "zero": ("limit_rate 0;", FAST),
    "after": ("limit_rate 20k; limit_rate_after 50k;", FAST),
    "set": ("set $limit_rate 20k;", SLOW),
    "unset": ("limit_rate 20k; set $limit_rate 0;", FAST),
    "variable": ("limit_rate $arg_rate; limit_rate_after $arg_after;", SLOW),
    "if": ("if ($arg_rate) { limit_rate 20k; }", SLOW),
    "accel": ("limit_rate 1k; proxy_set_header X-Rate 20480;", SLOW),
    "accel-0": ("limit_rate 1k; proxy_set_header X-Rate 0;", FAST),
    "accel-off": ("limit_rate 20k; proxy_set_header X-Rate off;", SLOW),
    "accel-ignored": ("limit_rate 20k; proxy_set_header X-Rate 1; proxy_ignore_headers X-Accel-Limit-Rate;", SLOW),
    "proxy": ("proxy_limit_rate 20k;", SLOW),
    "both": ("limit_rate 100m; proxy_limit_rate 20k;", SLOW),
}


def answer(request):
    fields = [("X-Accel-Limit-Rate", request.get("X-Rate"))] if request.get("X-Rate") else []
    if request.get("X-Chunks"):
        return reply(200, chunked(BODY), [*fields, ("Transfer-Encoding", "chunked")], length=False)
    return reply(200, BODY, fields)


@pytest.fixture(scope="module")
def limited(module_proxy):
    from harness.backend import Backend
    with Backend(answer=answer) as backend:
        locations = "".join(
            f"location /{name} {{ proxy_pass http://<backend>; proxy_buffers 64 4k; {text} }}\n" for name, (text, _) in LOCATIONS.items())
        yield module_proxy("server { listen 127.0.0.1:<port>; proxy_http_version 1.1; " + locations + "}", values={"backend": backend})


def timed(made, name, **rest):
    began = time.monotonic()
    response = fetch(made.port, f"/{name}?rate=20k&after=0", timeout=30, **rest)
    return response, time.monotonic() - began


@pytest.mark.clocked
@pytest.mark.parametrize("fields", [[], [("X-Chunks", "yes")]], ids=["length", "chunks"])
def test_the_time_that_a_response_takes(limited, fields):
    with concurrent.futures.ThreadPoolExecutor(len(LOCATIONS)) as pool:
        found = {name: pool.submit(timed, limited, name, headers=fields) for name in LOCATIONS}
    for name, (_, (least, most)) in LOCATIONS.items():
        response, seconds = found[name].result()
        assert response.body == BODY, name
        assert response.get("X-Accel-Limit-Rate") is None
        assert least <= seconds <= most, (name, seconds)


@pytest.mark.clocked
def test_it_comes_evenly(limited):
    """Not the whole at the end, nor what is beyond the rate at any time."""
    with Client(limited.port) as client:
        began = time.monotonic()
        client.send(b"GET /literal HTTP/1.1\r\nHost: a\r\n\r\n")
        seen = []
        while len(client.buffer) < SIZE:
            assert client.fill()
            seen.append((time.monotonic() - began, len(client.buffer)))
    for seconds, count in seen:
        # nginx counts whole seconds.
        assert count <= 20480 * (seconds + 2) + 512, (seconds, count)
    assert any(0.9 < seconds < 1.6 for seconds, _ in seen)


@pytest.mark.clocked
@pytest.mark.switchyard_only
def test_streams_are_slowed_down_alone(proxy, backends):
    made = proxy("server { listen 127.0.0.1:<port>; http2 on; location / { proxy_pass http://<backend>; }"
                 "location /slow { proxy_pass http://<backend>; limit_rate 20k; } }", values={"backend": backends(answer=answer)})
    with HTTP2Client(made.port) as client:
        began = time.monotonic()
        slow = client.begin("/slow")
        for _ in range(3):
            assert client.fetch("/").body == BODY
        assert time.monotonic() - began < 1
        assert client.response(slow).body == BODY
        assert 1.8 <= time.monotonic() - began <= 3.5


def test_a_slow_response_outlives_the_upstreams_timeouts(proxy, backends):
    """What is not read does not time out."""
    made = proxy("server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; proxy_read_timeout 500ms; proxy_buffers 2 4k;"
                 "proxy_busy_buffers_size 4k; limit_rate 20k; } }", values={"backend": backends(answer=answer)})
    assert fetch(made.port, "/", timeout=30).body == BODY


@pytest.mark.switchyard_only
def test_scripts_set_it_for_one_request(proxy, backends):
    made = proxy("server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; set $limit_rate '';"
                 "request_by_lua_block { flow.var.limit_rate = flow.req.args.rate } } }", values={"backend": backends(answer=answer)})
    began = time.monotonic()
    assert fetch(made.port, "/?rate=20k", timeout=30).body == BODY
    assert time.monotonic() - began >= 1.8
    began = time.monotonic()
    assert fetch(made.port, "/?rate=fast", timeout=30).body == BODY
    assert time.monotonic() - began < 1
    wait_for(lambda: 'invalid size "fast"' in made.log(), 5, "the log")


def test_a_reload_finds_what_is_wrong(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; limit_rate 5x; return 200; }", start=False)
    result = made.run("-t")
    assert result.returncode != 0
    assert "limit_rate" in result.stderr


@pytest.mark.clocked
def test_websockets_are_not_slowed_down(proxy, backend):
    def program(connection):
        connection.send(switching(connection.read_request().get("sec-websocket-key")) + frame(BODY[:60000], opcode=2))
        connection.fill()

    backend.program = program
    made = proxy(MAP + "server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; proxy_http_version 1.1; limit_rate 1k;"
                 "proxy_limit_rate 1k;" + RECIPE + "} }", values={"backend": backend})
    with opened(made.port, target="/") as client:
        began = time.monotonic()
        while len(client.buffer) < 60000:
            assert client.fill()
        assert time.monotonic() - began < 2


@pytest.mark.clocked
def test_a_rate_goes_along_with_a_redirect(proxy, backends):
    def program(request):
        if request.target == "/first":
            return reply(200, b"", [("X-Accel-Redirect", "/second"), ("X-Accel-Limit-Rate", "20480")])
        return reply(200, BODY)

    made = proxy("server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; proxy_buffer_size 4k; proxy_buffers 8 4k;"
                 " proxy_busy_buffers_size 8k; } }", values={"backend": backends(answer=program)})
    began = time.monotonic()
    assert fetch(made.port, "/first", timeout=30).body == BODY
    assert time.monotonic() - began >= 1.8


@pytest.mark.clocked
def test_an_answer_is_not_cut_off_by_an_upload_that_goes_on(proxy, backend):
    def program(connection):
        while b"\r\n\r\n" not in connection.buffer:
            connection.fill()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        time.sleep(4)

    backend.program = program
    made = proxy("server { listen 127.0.0.1:<port>; client_max_body_size 0; location / { proxy_pass http://<backend>; proxy_http_version 1.1;"
                 "proxy_request_buffering off; limit_rate 20k; } }", values={"backend": backend})
    with Client(made.port, timeout=20) as client:
        began = time.monotonic()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n" + bytes(1 << 20))
        response = client.read_response("POST")
        assert response.body == BODY
        assert time.monotonic() - began >= 1.8


# Answers of our own, 30 KB long: of those, the first 10 go at once.
PIECE = "0123456789" * 100
OWN = {
    "return": ("limit_rate 10k; return 200 $text;", SLOW),
    "error": ("limit_rate 10k; return 404 $text;", SLOW),
    "page": ("error_page 403 /own/return; return 403;", SLOW),
    "after": ("limit_rate 10k; limit_rate_after 25k; return 200 $text;", FAST),
    "set": ("set $limit_rate 10k; return 200 $text;", SLOW),
    "unset": ("limit_rate 10k; set $limit_rate 0; return 200 $text;", FAST),
    "none": ("return 200 $text;", FAST),
    "long": ("limit_rate 4k; return 200 $text;", (5.5, 8)),
}


@pytest.fixture(scope="module")
def own(module_proxy):
    locations = "".join(f"location /own/{name} {{ {text} }}\n" for name, (text, _) in OWN.items())
    yield module_proxy(
        f"log_format sent '$uri $status $body_bytes_sent $request_completion'; server {{ listen 127.0.0.1:<port>; access_log <dir>/a.log sent;"
        f"set $piece {PIECE}; set $ten {'$piece' * 10}; set $text $ten$ten$ten; {locations} }}")


@pytest.mark.clocked
def test_our_own_answers_are_slowed_down(own):
    with concurrent.futures.ThreadPoolExecutor(len(OWN)) as pool:
        found = {name: pool.submit(timed, own, f"own/{name}") for name in OWN}
    for name, (_, (least, most)) in OWN.items():
        response, seconds = found[name].result()
        assert response.body == PIECE.encode() * 30, name
        assert response.status == {"error": 404, "page": 403}.get(name, 200), name
        assert least <= seconds <= most, (name, seconds)


@pytest.mark.clocked
def test_what_comes_behind_a_slow_answer_waits_for_it(own):
    """Requests that are pipelined, and a request's own body."""
    with Client(own.port, timeout=20) as client:
        began = time.monotonic()
        client.send(b"POST /own/return HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        time.sleep(0.2)
        client.send(b"hello" + b"GET /own/none HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response("POST").body == PIECE.encode() * 30
        assert time.monotonic() - began >= 1.8
        assert client.read_response("GET").body == PIECE.encode() * 30


@pytest.mark.clocked
def test_the_body_of_a_request_that_stops_does_not_cut_the_answer_off(own):
    """It is waited for no longer than 5 s; the answer takes 6.5."""
    with Client(own.port, timeout=20) as client:
        client.send(b"POST /own/long HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert client.read_response("POST").body == PIECE.encode() * 30


@pytest.mark.clocked
def test_a_client_that_leaves_a_slow_answer(own):
    """What had to wait has not been sent."""
    with Client(own.port, timeout=20) as client:
        client.send(b"GET /own/return?left HTTP/1.1\r\nHost: a\r\n\r\n")
        while len(client.buffer) < 5000:
            assert client.fill()
    line = wait_for(lambda: next((line for line in own.log_lines("a.log", 1) if line.startswith("/own/return 200") and line.endswith(" ")), None),
                    10, "the log line")
    assert 5000 <= int(line.split()[2]) < 25000


@pytest.mark.clocked
@pytest.mark.switchyard_only
def test_answers_of_scripts_are_slowed_down(proxy, backends):
    """And what they make of a body, gathered whole; over HTTP/2 as well, where others on the connection are not."""
    made = proxy(
        "server { listen 127.0.0.1:<port>; http2 on; limit_rate 20k; location / { proxy_pass http://<backend>; "
        "response_body_by_lua_block { if not last then flow.ctx.all = (flow.ctx.all or '') .. chunk; return false end; return flow.ctx.all } }"
        f" location /respond {{ request_by_lua_block {{ return flow:respond{{ body = string.rep('0123456789', {SIZE // 10}) }} }} }}"
        " location /fast { limit_rate 0; return 200 fast; } }", values={"backend": backends(answer=answer)})
    for target, body in [("/", BODY), ("/respond", b"0123456789" * (SIZE // 10))]:
        began = time.monotonic()
        assert fetch(made.port, target, timeout=30).body == body
        assert SLOW[0] <= time.monotonic() - began <= SLOW[1], target
        with HTTP2Client(made.port) as client:
            began = time.monotonic()
            slow = client.begin(target)
            for _ in range(3):
                assert client.fetch("/fast").body == b"fast"
            assert time.monotonic() - began < 1
            assert client.response(slow).body == body
            assert SLOW[0] <= time.monotonic() - began <= SLOW[1], target


@pytest.mark.clocked
@pytest.mark.switchyard_only
def test_a_slow_answer_ends_with_its_stream_or_outlives_a_shutdown(proxy):
    made = proxy(f"log_format sent '$status $body_bytes_sent $request_completion'; server {{ listen 127.0.0.1:<port>; http2 on; limit_rate 10k;"
                 f"access_log <dir>/a.log sent; set $piece {PIECE}; set $ten {'$piece' * 10}; location / {{ return 200 $ten$ten$ten; }} }}")
    with HTTP2Client(made.port) as client:
        stream = client.begin("/")
        time.sleep(0.3)
        client.reset(stream)
        status, sent, *completion = made.log_lines("a.log", 1)[0].split()
        assert (status, completion) == ("200", []) and 5000 < int(sent) < 20000
        stream = client.begin("/")
        time.sleep(0.3)
        made.signal(signal.SIGQUIT)
        assert client.response(stream).body == PIECE.encode() * 30
    assert made.wait_exit() == 0
    assert made.log_lines("a.log", 2)[1] == "200 30000 OK"


@pytest.fixture
def large(proxy):
    """Answers with 10 MB of its own."""
    text = "set $p " + "0123456789" * 100 + "; " + "".join(
        f'set ${made} "{("$" + name) * 10}"; ' for name, made in (("p", "q"), ("q", "r"), ("r", "s"), ("s", "t")))
    return lambda settings: proxy(
        "log_format f '$uri $body_bytes_sent [$request_completion]'; access_log <dir>/a.log f; "
        "server { listen 127.0.0.1:<port>; " + settings + text + "location / { return 200 $t; } }")


def test_an_answer_is_sent_whole_though_the_request_stops(large):
    """To a client that takes its time with it."""
    made = large("send_timeout 60s; client_body_timeout 1s; lingering_timeout 1s; ")
    with Client(made.port, timeout=20, receive_buffer=4096) as client:
        client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        time.sleep(3)
        assert len(client.read_response("POST").body) == 10_000_000
    assert made.log_lines("a.log", 1)[0].endswith(" 10000000 [OK]")


def test_an_answer_that_nobody_takes_is_not_complete(large):
    made = large("send_timeout 1s; ")
    with Client(made.port, timeout=20, receive_buffer=4096) as client:
        client.send(b"GET /stopped HTTP/1.1\r\nHost: a\r\n\r\n")
        line = made.log_lines("a.log", 1)[0]
    assert line.startswith("/stopped ") and line.endswith(" []")
    assert int(line.split()[1]) < 10_000_000
