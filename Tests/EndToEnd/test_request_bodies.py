"""Where a request's body goes when another location, another upstream or a script takes over."""

import threading
import time

import pytest

from harness.backend import Backend, chunked, reply
from harness.http2 import HTTP2Client
from harness.wire import Client, wait_for

BODY = b"my secret"
MASK = 'request_body_by_lua_block { return (chunk:gsub("secret", "******")) }'


def sent(made, path, kind, body=BODY):
    """Sends a POST in one of several ways; its response's status."""
    if kind == "HTTP/2":
        with HTTP2Client(made.port) as client:
            return client.fetch(path, method="POST", body=body).status
    if kind == "chunks":
        text = chunked(body[:3], body[3:])
        with Client(made.port) as client:
            client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + text)
            return client.read_response("POST").status
    return made.fetch(path, method="POST", body=body).status


@pytest.fixture
def refusing():
    with Backend(answer=reply(503, b"busy")) as made:
        yield made


@pytest.mark.parametrize("kind", ["a length", "chunks", "HTTP/2"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("path", [
    "/dead", "/busy", "/returned", "/failed", "/read", "/set", "/routed", "/routed-and-masked", "/masked-and-dead",
    "/masked-there", "/masked-in-both"])
def test_a_body_goes_where_the_request_goes(proxy, backend, refusing, kind, version, path):
    made = proxy(f"""
        upstream dead {{ server 127.0.0.1:1; }}
        upstream good {{ server <backend>; keepalive 4; }}
        server {{
            listen 127.0.0.1:<port>; http2 on; proxy_http_version {version}; proxy_set_header Connection "";
            location /dead {{ proxy_pass http://dead; error_page 502 = @other; }}
            location /busy {{ proxy_pass http://<refusing>; proxy_intercept_errors on; error_page 503 = @other; }}
            location /returned {{ error_page 503 = @other; return 503; }}
            location /failed {{ error_page 500 = @other; request_by_lua_block {{ error("as it should") }} }}
            location /read {{
                proxy_pass http://dead; error_page 502 = @other; request_by_lua_block {{ seen = flow.req:body() }}
            }}
            location /set {{
                proxy_pass http://dead; error_page 502 = @other; request_by_lua_block {{ flow.req:set_body("set secret") }}
            }}
            location /routed {{ request_by_lua_block {{ flow:route{{ "dead", "good" }} }} }}
            location /routed-and-masked {{ request_by_lua_block {{ flow:route{{ "dead", "good" }} }} {MASK} }}
            location /masked-and-dead {{ proxy_pass http://dead; error_page 502 = @other; {MASK} }}
            location /masked-there {{ proxy_pass http://dead; error_page 502 = @masked; }}
            location /masked-in-both {{
                proxy_pass http://<refusing>; proxy_intercept_errors on; error_page 503 = @masked;
                request_body_by_lua_block {{ return chunk:upper() }}
            }}
            location @other {{ proxy_pass http://good; }}
            location @masked {{ proxy_pass http://good; {MASK} }}
        }}
    """, values={"backend": backend, "refusing": refusing})
    # The second time, connections are there to be used again.
    for round in (1, 2):
        assert sent(made, path, kind) == 200
        expected = {
            "/set": b"set secret", "/routed-and-masked": b"my ******", "/masked-there": b"my ******",
            "/masked-in-both": b"MY SECRET"}.get(path, BODY)
        if path == "/masked-and-dead":
            # What an HTTP/1.0 upstream is to get is gathered before it is found to be dead, and has gone through the hook.
            assert backend.requests[-1].body in (BODY, b"my ******")
        else:
            assert backend.requests[-1].body == expected
        assert len(backend.requests) == round


@pytest.mark.parametrize("kind", ["a length", "chunks", "HTTP/2"])
@pytest.mark.parametrize("status", [400, 408, 413])
@pytest.mark.parametrize("path", ["/intercepted", "/returned"])
def test_a_good_body_outlives_statuses_of_bad_ones(proxy, backend, refusing, kind, status, path):
    refusing.answer = reply(status, b"no")
    made = proxy(f"""
        server {{
            listen 127.0.0.1:<port>; http2 on; proxy_http_version 1.1; error_page {status} = @other;
            location /intercepted {{ proxy_pass http://<refusing>; proxy_intercept_errors on; }}
            location /returned {{ return {status}; }}
            location @other {{ proxy_pass http://<backend>; }}
        }}
    """, values={"backend": backend, "refusing": refusing})
    assert sent(made, path, kind) == 200
    assert backend.requests[-1].body == BODY


@pytest.mark.parametrize("method, status", [("POST", 503), ("GET", 200)])
def test_a_body_that_was_too_long_to_be_kept(proxy, backend, refusing, method, status):
    """nginx keeps any body, in a file; here one goes to an upstream as it comes, and what is not kept is not made up."""
    made = proxy("""
        server {
            listen 127.0.0.1:<port>; proxy_http_version 1.1; proxy_intercept_errors on;
            location / { proxy_pass http://<refusing>; error_page 503 = @other; }
            location /more { proxy_pass http://<refusing>; error_page 503 = @other; client_body_buffer_size 100k; }
            location /page { proxy_pass http://<refusing>; error_page 503 = /other; }
            location /other { proxy_pass http://<backend>; }
            location @other { proxy_pass http://<backend>; }
        }
    """, values={"backend": backend, "refusing": refusing})
    body = b"x" * 50_000
    assert made.fetch("/", method=method, body=body).status == status
    assert "larger than client_body_buffer_size" in made.log() or method == "GET"
    assert made.fetch("/more", method=method, body=body).status == 200
    assert backend.requests[-1].body == body
    # A page is fetched by GET, and needs none.
    assert made.fetch("/page", method=method, body=body).status == 200
    assert (backend.requests[-1].method, backend.requests[-1].body) == ("GET", b"")
    assert made.fetch("/", method="POST", body=b"short").status == 200
    assert backend.requests[-1].body == b"short"


@pytest.mark.parametrize("kind", ["a length", "chunks", "HTTP/2"])
def test_a_script_does_not_read_the_rest_for_the_whole(proxy, backend, refusing, kind):
    made = proxy("""
        server {
            listen 127.0.0.1:<port>; http2 on; proxy_http_version 1.1; proxy_intercept_errors on;
            client_body_buffer_size 20k;
            location / { proxy_pass http://<refusing>; error_page 503 = @read; }
            location @read {
                request_by_lua_block {
                    local read, body = pcall(flow.req.body, flow.req)
                    return flow:respond{ body = read and #body .. " bytes" or body }
                }
            }
        }
    """, values={"backend": backend, "refusing": refusing})

    def answer(body):
        if kind == "HTTP/2":
            with HTTP2Client(made.port) as client:
                return client.fetch("/", method="POST", body=body).body
        with Client(made.port) as client:
            head = b"POST / HTTP/1.1\r\nHost: a\r\n"
            if kind == "chunks":
                client.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body[:3], body[3:]))
            else:
                client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return client.read_response("POST").body

    assert answer(b"x" * 19_000) == b"19000 bytes"
    assert b"not kept" in answer(b"x" * 60_000)


@pytest.mark.parametrize("kind", ["a length", "chunks", "HTTP/2"])
@pytest.mark.parametrize("script, seen", [
    ('flow.req:set_body("NEW secret")', b"NEW ******"),
    ('flow.req:body() flow.req:set_body("NEW secret")', b"NEW ******"),
    ('flow.req:set_body(flow.req:body():upper() .. "secret")', b"MY SECRET******"),
    ('assert(flow.req:body() == "my secret")', b"my ******"),
    ('flow.req:set_body("NEW secret") return flow:internal_redirect("/plain")', b"NEW secret"),
    ('flow.req:set_body("NEW secret") return flow:internal_redirect("/masked")', b"NEW ******"),
    ('flow.req:body() flow.req:set_body("NEW secret") return flow:internal_redirect("@masked")', b"NEW ******"),
    ('flow.req:body() return flow:internal_redirect("/masked")', b"my ******"),
    ('flow:route("dead") return flow:internal_redirect("/plain")', BODY),
])
def test_bodies_of_scripts_go_through_hooks(proxy, backend, kind, script, seen):
    made = proxy(f"""
        upstream dead {{ server 127.0.0.1:1; }}
        server {{
            listen 127.0.0.1:<port>; http2 on;
            location / {{ proxy_pass http://<backend>; request_by_lua_block {{ {script} }} {MASK} }}
            location /plain {{ proxy_pass http://<backend>; }}
            location /masked {{ proxy_pass http://<backend>; {MASK} }}
            location @masked {{ proxy_pass http://<backend>; {MASK} }}
        }}
    """, values={"backend": backend})
    for _ in range(2):
        assert sent(made, "/", kind) == 200
        assert backend.requests[-1].body == seen


@pytest.mark.parametrize("kind", ["a length", "chunks", "HTTP/2", "none"])
@pytest.mark.parametrize("before, seen", [("", b"NEW"), ("flow.req:body()", b"NEW")])
def test_a_set_body_is_the_requests_wherever_it_goes(proxy, backend, kind, before, seen):
    made = proxy(f"""
        server {{
            listen 127.0.0.1:<port>; http2 on;
            location / {{
                request_by_lua_block {{ {before} flow.req:set_body("NEW") return flow:internal_redirect("/there") }}
            }}
            location /there {{
                request_by_lua_block {{ flow.req.headers["X-Body"] = flow.req:body() }}
                log_by_lua_block {{ sy.log.info("<" .. flow.req:body() .. ">") }}
                proxy_pass http://<backend>;
            }}
        }}
    """, values={"backend": backend})
    for _ in range(2):
        assert (made.fetch("/").status if kind == "none" else sent(made, "/", kind)) == 200
        assert (backend.requests[-1].body, backend.requests[-1].get("X-Body")) == (seen, seen.decode())
    wait_for(lambda: made.log().count("<NEW>") == 2, 5, "what log hooks see")


@pytest.mark.parametrize("kind", ["a length", "chunks", "HTTP/2"])
def test_what_is_sent_with_the_body_waits_for_it(proxy, backend, kind):
    made = proxy("""
        map $request_body $word { default other; ~secret secret; }
        map $word $kind { default "<$word>"; }
        server {
            listen 127.0.0.1:<port>; http2 on; proxy_http_version 1.1;
            location / { proxy_pass http://<backend>; proxy_set_header X-Body $request_body; proxy_set_header X-Kind $kind; }
            location /set { proxy_pass http://<backend>; proxy_set_body '{"w":"$request_body"}'; }
        }
    """, values={"backend": backend})
    for _ in range(2):
        assert sent(made, "/", kind) == 200
        assert (backend.requests[-1].get("X-Body"), backend.requests[-1].get("X-Kind")) == ("my secret", "<secret>")
        assert backend.requests[-1].body == BODY
        assert sent(made, "/set", kind) == 200
        assert backend.requests[-1].body == b'{"w":"my secret"}'
    assert made.fetch("/").status == 200
    assert (backend.requests[-1].get("X-Body"), backend.requests[-1].get("X-Kind")) == (None, "<other>")


@pytest.fixture
def failing():
    """A backend that reads the beginning of a body, and answers 503 once `gate` is set."""
    with Backend() as made:
        made.gate = threading.Event()

        def program(connection):
            connection.next_head()
            connection.read_until(b"first")
            made.gate.wait(10)
            connection.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

        made.program = program
        yield made
        made.gate.set()


@pytest.mark.parametrize("way", ["next", "route", "page"])
def test_a_try_that_ends_while_a_hook_holds_a_piece(proxy, backend, failing, way):
    """The piece comes once, within the body, or the body goes nowhere."""
    made = proxy("""
        upstream a { server <failing>; }
        upstream b { server <backend>; keepalive 4; }
        upstream both { server <failing>; server <backend>; keepalive 4; }
        server {
            listen 127.0.0.1:<port>; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_next_upstream error http_503; proxy_intercept_errors on;
            request_body_by_lua_block { if chunk:find("second") then sy.sleep(0.6) end }
            location /next { proxy_pass http://both; }
            location /route { request_by_lua_block { flow:route{ "a", "b" } } }
            location /page { proxy_pass http://a; error_page 503 = @page; }
            location @page { proxy_pass http://b; }
            location / { proxy_pass http://b; }
        }
    """, values={"backend": backend, "failing": failing})
    second = b"second: GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    with Client(made.port, timeout=10) as client:
        client.request("/" + way, method="PUT", headers=[("Content-Length", str(5 + len(second)))])
        client.send(b"first")
        wait_for(lambda: failing.connections, what="the first try")
        time.sleep(0.1)
        client.send(second)
        time.sleep(0.1)
        failing.gate.set()
        assert client.read_response().status == (503 if way == "page" else 200)
    assert made.fetch("/after").status == 200
    bodies = [(request.target, request.body) for request in backend.requests]
    assert bodies == ([] if way == "page" else [("/" + way, b"first" + second)]) + [("/after", b"")]


def test_a_hook_that_waits_with_a_response_is_not_overtaken_by_a_timeout(proxy, backend):
    made = proxy("""
        upstream u { server <backend>; keepalive 4; }
        server {
            listen 127.0.0.1:<port>; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 300ms;
            location /held { proxy_pass http://u; response_by_lua_block { sy.sleep(1) } error_page 504 =200 /other; }
            location / { proxy_pass http://u; }
        }
    """, values={"backend": backend})

    def program(connection):
        while (request := connection.next_head()) is not None:
            text = request.target.encode()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            connection.read_exactly(int(request.get("content-length") or 0))

    backend.program = program
    with Client(made.port, timeout=10) as client:
        client.request("/held", method="PUT", headers=[("Content-Length", "10")])
        client.send(b"first")
        time.sleep(0.2)
        client.send(b"later")
        assert client.read_response().body == b"/held"
    assert [made.fetch(target).body for target in ("/1", "/2")] == [b"/1", b"/2"]


def test_nothing_of_a_body_that_does_not_come_goes_to_an_error_page(proxy, backend):
    with Backend(program=lambda connection: connection.next_head() and time.sleep(2)) as silent:
        made = proxy("""
            upstream u { server <backend>; keepalive 4; }
            server {
                listen 127.0.0.1:<port>; proxy_http_version 1.1; proxy_set_header Connection ""; client_body_timeout 300ms;
                location /late { proxy_pass http://<silent>; error_page 408 =200 @page; }
                location /read { request_by_lua_block { flow.req:body() } proxy_pass http://u; error_page 408 =200 @page; }
                location @page { proxy_pass http://u; }
                location / { proxy_pass http://u; }
            }
        """, values={"backend": backend, "silent": silent})
        for target in ("/late", "/read"):
            with Client(made.port, timeout=10) as client:
                client.request(target, method="PUT", headers=[("Content-Length", "60")])
                client.send(b"ten bytes.")
                assert client.read_response().status == 200
            assert made.fetch("/next").status == 200
    assert [(request.target, request.body) for request in backend.requests] == [
        ("/late", b""), ("/next", b""), ("/read", b""), ("/next", b"")]


def test_a_script_that_closes_an_exchange_leaves_no_upstream_behind(proxy, backend):
    ended = threading.Event()

    def program(connection):
        request = connection.next_head()
        if request.target == "/other":
            return connection.send(reply(body=b"other"))
        while connection.fill():
            pass
        ended.set()

    backend.program = program
    made = proxy("""
        server {
            listen 127.0.0.1:<port>;
            location /silent {
                request_by_lua_block { flow:after(0.1, function() flow:close() end) }
                proxy_pass http://<backend>; error_page 503 =200 /other;
            }
            location / { proxy_pass http://<backend>; }
        }
    """, values={"backend": backend})
    assert made.fetch("/silent").body == b"other"
    assert ended.wait(2)


@pytest.mark.parametrize("value", ['""', "$arg_none"])
def test_nothing_of_the_body_follows_one_that_is_set_to_nothing(proxy, backend, value):
    made = proxy(f"""
        upstream u {{ server <backend>; keepalive 4; }}
        server {{
            listen 127.0.0.1:<port>; proxy_http_version 1.1; proxy_set_header Connection "";
            location /first {{ proxy_pass http://u; proxy_set_body {value}; }}
            location /again {{ proxy_pass http://u; proxy_intercept_errors on; error_page 503 = @again; }}
            location @again {{ proxy_pass http://u; proxy_set_body {value}; }}
            location / {{ proxy_pass http://u; }}
        }}
    """, values={"backend": backend})
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    backend.answer = lambda request: reply(503 if request.target == "/again" and request.body else 200)
    for target in ("/first", "/again"):
        response = made.fetch(target, method="PUT", headers=[("Content-Length", str(len(smuggled)))], body=smuggled)
        assert response.status == 200
        assert made.fetch("/next").status == 200
    assert [(request.target, request.body) for request in backend.requests] == [
        ("/first", b""), ("/next", b""), ("/again", smuggled), ("/again", b""), ("/next", b"")]


def test_a_body_set_for_a_request_without_one(proxy, backend):
    made = proxy(f"""
        server {{
            listen 127.0.0.1:<port>;
            location / {{ proxy_pass http://<backend>; request_by_lua_block {{ flow.req:set_body("a secret") }} {MASK} }}
        }}
    """, values={"backend": backend})
    assert made.fetch("/").status == 200
    assert backend.requests[-1].body == b"a ******"


def test_hooks_that_wait_see_a_set_body(proxy, backend):
    made = proxy("""
        server {
            listen 127.0.0.1:<port>; http2 on;
            location / {
                proxy_pass http://<backend>;
                request_by_lua_block { flow.req:set_body("one") }
                request_body_by_lua_block { sy.sleep(0.02) return chunk .. (last and "!" or "?") }
            }
        }
    """, values={"backend": backend})
    for kind in ("a length", "chunks", "HTTP/2"):
        assert sent(made, "/", kind) == 200
        assert backend.requests[-1].body == b"one!"


@pytest.mark.parametrize("form, piece", [("a length", "not last"), ("a length", "last"), ("chunks", "last")])
@pytest.mark.parametrize("end", ["return", "error('too late')"])
def test_an_answer_before_a_hook_lets_go_of_the_bodys_end_keeps_the_connection(proxy, backend, form, piece, end):
    """The request was read to its end, so the next one is answered; the hook ends with the exchange."""

    def program(connection):
        connection.next_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")

    backend.program = program
    made = proxy(f"""
        server {{
            listen 127.0.0.1:<port>; proxy_http_version 1.1; proxy_set_header Connection "";
            location / {{
                proxy_pass http://<backend>;
                request_body_by_lua_block {{ if {piece} then sy.sleep(0.3) sy.log.warn("went on") {end} end }}
            }}
            location /next {{ return 200 next; }}
        }}""", values={"backend": backend})
    if form == "a length":
        body = b"Content-Length: 5\r\n\r\nhello"
    else:
        body = b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hello")
    with Client(made.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + body + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        first = client.read_response("POST")
        assert (first.status, first.body, first.get("connection")) == (200, b"early", "keep-alive")
        assert client.read_response().body == b"next"
        time.sleep(0.5)
        assert client.fetch("/next").body == b"next"
    assert "went on" not in made.log() and "too late" not in made.log()


@pytest.mark.parametrize("condition, method, status", [
    ("http_503", "GET", 200), ("error", "GET", 503), ("http_503", "POST", 503), ("http_503 non_idempotent", "POST", 200)])
def test_a_route_goes_on_as_next_upstream_says(proxy, backend, refusing, condition, method, status):
    made = proxy(f"""
        upstream busy {{ server <refusing>; }}
        upstream good {{ server <backend>; }}
        server {{
            listen 127.0.0.1:<port>; proxy_next_upstream {condition};
            location / {{ request_by_lua_block {{ flow:route{{ "busy", "good" }} }} }}
        }}
    """, values={"backend": backend, "refusing": refusing})
    assert made.fetch("/", method=method, body=b"a body" if method == "POST" else b"").status == status


@pytest.mark.parametrize("path, status", [("/more", 200), ("/unlimited", 413), ("/read", 200)])
def test_a_body_is_gathered_up_to_the_limit_that_is_set(proxy, backend, path, status):
    """Without one, up to 64 MB: it waits in memory."""
    made = proxy("""
        lua_memory_limit 512m;
        server {
            listen 127.0.0.1:<port>; client_max_body_size 0;
            location /more { client_max_body_size 80m; proxy_pass http://<backend>; }
            location /unlimited { proxy_pass http://<backend>; }
            location /read {
                client_max_body_size 80m; proxy_pass http://<backend>;
                request_by_lua_block { size = #flow.req:body() }
            }
        }
    """, values={"backend": backend})
    piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    with Client(made.port, timeout=60) as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(66):
                client.send(piece)
            client.send(b"0\r\n\r\n")
        except OSError:
            assert status == 413
        assert client.read_response("POST").status == status
    if status == 200:
        assert len(backend.requests[-1].body) == 66 << 20
    else:
        assert "has to be gathered in memory, and is larger than the 67108864 bytes" in made.log()
