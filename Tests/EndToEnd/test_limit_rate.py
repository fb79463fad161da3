"""`limit_rate`, `limit_rate_after`, `proxy_limit_rate`: responses that are to be slower than they could be."""

import concurrent.futures
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
        # nginx counts whole seconds, and what it has read of the response before it knows better goes out as well.
        assert count <= 20480 * (seconds + 2) + 4096, (seconds, count)
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
    # What comes with the second head goes out at once here.
    assert time.monotonic() - began >= (1.8 if made.kind == "nginx" else 1)


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
