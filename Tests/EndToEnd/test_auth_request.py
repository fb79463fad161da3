"""`auth_request`: what another location is asked, what its answer does, and what becomes of the request meanwhile."""

import time

import pytest

from harness import ports
from harness.backend import RESET, Backend, chunked, reply
from harness.http2 import HTTP2Backend, HTTP2Client, StreamSocket
from harness.websocket import MAP, RECIPE, echoing, frame, handshake, opened
from harness.wire import Client, wait_for

SERVER = "server { listen 127.0.0.1:<port>; error_log <dir>/error.log info; "
# As nginx's documentation has it, but for an authority that speaks HTTP/1.1.
ASKING = """
    location = /auth {
        internal; proxy_pass http://<authority>; proxy_http_version 1.1;
        proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-Original-URI $request_uri;
        %s
    }
"""


@pytest.fixture
def authority():
    with Backend(answer=reply(200, b"")) as made:
        yield made


@pytest.fixture
def guarded(proxy, backend, authority):
    """A proxy whose `/` asks `/auth`, which is the authority's, before it goes to the backend."""

    def make(location="", server="", auth="", http="", values=None, **rest):
        made = proxy(
            http + SERVER + server + ASKING % auth + "location / { auth_request /auth; proxy_pass http://<backend>;"
            " proxy_http_version 1.1; " + location + " } }",
            values={"backend": backend, "authority": authority, **(values or {})}, **rest)
        made.backend = backend
        made.authority = authority
        return made

    return make


def words(message):
    return [value.decode() for value in message]


def log_line(made, text):
    wait_for(lambda: text in made.log(), what=f"{text} in the log")
    return next(line for line in made.log().splitlines() if text in line)


def test_the_authority_sees_the_request_and_none_of_its_body(guarded):
    made = guarded()
    found = made.fetch("/page?x=1", method="POST", headers=[("Cookie", "id=7"), ("X-Own", "y")], body=b"z" * 1000)
    assert (found.status, found.body) == (200, b"ok")
    (asked,) = made.authority.requests
    assert (asked.method, asked.target, asked.body) == ("GET", "/auth", b"")
    assert (asked.get("cookie"), asked.get("x-own"), asked.get("x-original-uri")) == ("id=7", "y", "/page?x=1")
    assert "content-length" not in asked and "transfer-encoding" not in asked
    (passed,) = made.backend.requests
    assert (passed.method, passed.target, passed.body) == ("POST", "/page?x=1", b"z" * 1000)


@pytest.mark.parametrize("status, seen", [
    (200, 200), (201, 200), (204, 200), (299, 200), (401, 401), (403, 403), (302, 500), (400, 500), (404, 500), (500, 500)])
def test_statuses(guarded, status, seen):
    made = guarded()
    made.authority.answer = reply(status, b"no" if status not in (204,) else b"")
    assert made.fetch("/").status == seen
    assert len(made.backend.requests) == (seen == 200)
    if seen == 500:
        line = log_line(made, f"auth request unexpected status: {status}")
        assert "[error]" in line and ", subrequest" not in line


def test_the_challenge_is_passed_on(guarded):
    made = guarded()
    made.authority.answer = reply(401, b"who are you?", headers=[("WWW-Authenticate", 'Bearer realm="x"'), ("X-Own", "y")])
    found = made.fetch("/")
    assert found.status == 401
    assert words(found.values("WWW-Authenticate")) == ['Bearer realm="x"']
    assert "x-own" not in found and b"401 Authorization Required" in found.body
    made.authority.answer = reply(403, b"", headers=[("WWW-Authenticate", "Bearer")])
    assert "www-authenticate" not in made.fetch("/")


@pytest.mark.switchyard_only
def test_all_challenges_are_passed_on(guarded):
    """nginx 1.22 knows the first."""
    made = guarded("proxy_hide_header WWW-Authenticate;", auth="proxy_hide_header WWW-Authenticate;")
    made.authority.answer = reply(401, headers=[("WWW-Authenticate", "Bearer"), ("WWW-Authenticate", 'Basic realm="x"')])
    assert words(made.fetch("/").values("WWW-Authenticate")) == ["Bearer", 'Basic realm="x"']


@pytest.mark.clocked
def test_a_rate_of_the_answer_is_not_the_responses(guarded):
    made = guarded()
    made.authority.answer = reply(204, b"", [("X-Accel-Limit-Rate", "100")])
    made.backend.answer = reply(200, b"x" * 2000)
    began = time.monotonic()
    assert made.fetch("/").body == b"x" * 2000
    assert time.monotonic() - began < 2


def test_values_of_the_answer(guarded):
    made = guarded(
        location="""
            auth_request_set $user $upstream_http_x_user; auth_request_set $code "$upstream_status $status";
            auth_request_set $where "$uri$is_args$args $request_uri $request_method";
            auth_request_set $sent $sent_http_x_user; auth_request_set $cookie $upstream_cookie_id;
            proxy_set_header X-User $user; proxy_set_header X-Where $where; proxy_set_header X-Code $code;
            add_header X-Sent "$sent $cookie $upstream_status"; """,
        http="log_format user '$user|$code|$upstream_addr|$upstream_http_x_user'; access_log <dir>/access.log user;")
    made.authority.answer = reply(200, b"", headers=[("X-User", "ann"), ("Set-Cookie", "id=8; Path=/")])
    found = made.fetch("/page?x=1", method="PUT")
    (passed,) = made.backend.requests
    assert passed.get("x-user") == "ann"
    assert passed.get("x-where") == "/auth /page?x=1 PUT"
    assert passed.get("x-code") == "200 200"
    assert found.get("x-sent") == "ann 8 200"
    made.authority.answer = reply(403, b"", headers=[("X-User", "bob")])
    assert made.fetch("/").status == 403
    assert made.log_lines("access.log", 2) == [f"ann|200 200|{made.backend}|-", "bob|403 403|-|-"]


def test_variables_before_and_in_other_locations(guarded):
    made = guarded(server="""
        auth_request_set $user $upstream_http_x_user; set $known "no";
        location /open { return 200 "[$user]"; }
        location /page { auth_request /auth; auth_request_set $known $upstream_http_x_user; error_page 404 = /late;
            proxy_intercept_errors on; proxy_pass http://<backend>; }
        location /late { return 200 "[$user] [$known] [$args]"; }
        location /arguments { auth_request /auth; auth_request_set $args a=$upstream_http_x_user; proxy_pass http://<backend>/to; }
        location /whole/ { auth_request /auth; auth_request_set $args a=$upstream_http_x_user; proxy_pass http://<backend>; }
    """)
    made.authority.answer = reply(200, b"", headers=[("X-User", "ann")])
    assert made.fetch("/open").body == b"[]"
    made.backend.answer = reply(404)
    # One at a level replaces those of the outer ones.
    assert made.fetch("/page?q").body == b"[] [no] []"
    made.fetch("/arguments?b=1")
    assert made.backend.requests[-1].target == "/to?a=ann"
    # What the client wrote is not sent on any more.
    made.fetch("/whole/%41?b=1")
    assert made.backend.requests[-1].target == "/whole/A?a=ann"


def test_inherited_and_turned_off(guarded):
    made = guarded(
        http="auth_request /auth;", server="""
        location /open { auth_request off; location /open/within { proxy_pass http://<backend>; } proxy_pass http://<backend>; }
        location /closed { location /closed/within { proxy_pass http://<backend>; } if ($arg_x) { proxy_pass http://<backend>; } }
        location /returned { return 200 returned; }
        """)
    made.authority.answer = reply(403)
    assert [made.fetch(path).status for path in ("/", "/open", "/open/within", "/closed/within", "/closed?x=1", "/returned")] \
        == [403, 200, 200, 403, 403, 200]


def test_answers_of_our_own(guarded):
    made = guarded(server="""
        location /a { auth_request /yes; auth_request_set $how "$status $sent_http_x_how"; add_header X-How "[$how]"; proxy_pass http://<backend>; }
        location = /yes { internal; add_header X-How yes; return 204; }
        location /b { auth_request /no; proxy_pass http://<backend>; }
        location = /no { return 403; }
        location /c { auth_request /nowhere; proxy_pass http://<backend>; }
        location /nowhere { return 404; }
        location /d { auth_request /rewritten; proxy_pass http://<backend>; }
        location /rewritten { rewrite ^ /yes last; }
        location /e { auth_request /wrong; proxy_pass http://<backend>; }
        location /wrong { error_page 404 =401 /login; return 404; }
        location /login { return 200 login; }
        location /f { auth_request /denied; proxy_pass http://<backend>; }
        location /denied { deny all; auth_request /no; return 204; }
    """)
    found = made.fetch("/a")
    assert (found.status, found.get("x-how")) == (200, "[204 ]")
    # As in nginx, a subrequest is let in anywhere.
    assert [made.fetch(f"/{path}").status for path in "bcdef"] == [403, 500, 200, 401, 200]
    assert made.authority.requests == []
    assert made.fetch("/yes").status == 404


def test_satisfy(guarded):
    made = guarded(server="""
        satisfy any; auth_basic_user_file users;
        location /address { allow 127.0.0.1; deny all; auth_request /auth; proxy_pass http://<backend>; }
        location /either { deny all; auth_request /auth; proxy_pass http://<backend>; }
        location /password { auth_basic x; auth_request /auth; proxy_pass http://<backend>; }
        location /both { satisfy all; auth_basic x; auth_request /auth; proxy_pass http://<backend>; }
    """)
    (made.directory / "users").write_text("u:{PLAIN}p\n")
    login = [("Authorization", "Basic dTpw")]
    made.authority.answer = reply(403)
    assert made.fetch("/address").status == 200
    assert made.authority.requests == []
    assert made.fetch("/either").status == 403
    log_line(made, "access forbidden by rule")
    found = made.fetch("/password")
    assert (found.status, found.get("www-authenticate")) == (401, 'Basic realm="x"')
    assert made.fetch("/password", headers=login).status == 200
    assert len(made.authority.requests) == 2
    assert made.fetch("/both", headers=login).status == 403
    made.authority.answer = reply(200, b"")
    assert made.fetch("/either").status == 200
    found = made.fetch("/password")
    assert found.status == 200 and "www-authenticate" not in found
    assert made.fetch("/both").status == 401
    assert made.fetch("/both", headers=login).status == 200
    made.authority.answer = reply(500)
    assert made.fetch("/either").status == 500


def test_an_error_page_for_who_is_not_let_in(guarded):
    made = guarded("error_page 401 = @login;", server='location @login { return 302 /login?to=$uri; }')
    made.authority.answer = reply(401, headers=[("WWW-Authenticate", "Bearer")])
    found = made.fetch("/page?x")
    assert (found.status, found.get("location").partition("/login")[2]) == (302, "?to=/page")
    assert found.get("www-authenticate") == "Bearer"




def test_kept_connections_serve_subrequests(guarded):
    made = guarded(http="upstream kept { server <authority>; keepalive 4; }",
                   server='location = /kept { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection "";'
                          ' proxy_pass_request_body off; proxy_set_header Content-Length ""; }'
                          'location /k { auth_request /kept; proxy_pass http://<backend>; }')
    for _ in range(3):
        assert made.fetch("/k").status == 200
    assert len(made.authority.connections) == 1


@pytest.mark.switchyard_only
@pytest.mark.parametrize("answer", [reply(200, b"let them in"), reply(200, headers=[("Transfer-Encoding", "chunked")], body=chunked(b"a", b"b"), length=False)])
def test_a_body_that_comes_with_the_head_leaves_the_connection(guarded, answer):
    made = guarded(http="upstream kept { server <authority>; keepalive 4; }",
                   server='location = /kept { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection ""; }'
                          'location /k { auth_request /kept; proxy_pass http://<backend>; }')
    made.authority.answer = answer
    for _ in range(3):
        assert made.fetch("/k").body == b"ok"
    assert len(made.authority.connections) == 1


def test_a_long_body_of_the_answer_is_not_waited_for(guarded):
    made = guarded()
    made.authority.answer = [reply(200, b"", headers=[("Content-Length", 1_000_000)], length=False) + b"x" * 100, 3.0]
    began = time.monotonic()
    assert made.fetch("/").body == b"ok"
    assert time.monotonic() - began < 2


def test_an_authority_that_fails(guarded, backends):
    second = backends(answer=reply(204, length=False))
    made = guarded(http="upstream two { server <authority>; server <second> backup; }",
                   server='location = /two { proxy_pass http://two; } location /t { auth_request /two; proxy_pass http://<backend>; }',
                   values={"second": second})
    made.authority.answer = RESET
    assert made.fetch("/t").status == 200
    assert len(second.requests) == 1
    assert made.fetch("/").status == 500
    log_line(made, "auth request unexpected status: 502")
    line = log_line(made, "reading response header from upstream")
    assert 'request: "GET /' in line and ', subrequest: "/' in line and f'upstream: "http://{made.authority}/' in line


def test_an_authority_that_is_slow(guarded):
    made = guarded(auth="proxy_read_timeout 300ms;")
    made.authority.answer = [2.0, reply()]
    assert made.fetch("/", method="POST", body=b"x" * 100).status == 500
    log_line(made, "auth request unexpected status: 504")
    with Client(made.port) as client:
        # What of the body is still to come is not waited for.
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert client.read_response_head().status == 500


def test_a_client_that_goes(guarded):
    made = guarded(http="log_format status '$status $request_uri'; access_log <dir>/access.log status;")
    made.authority.answer = [1.0, reply()]
    client = Client(made.port)
    client.request("/gone")
    made.authority.wait_requests(1)
    client.reset()
    assert made.log_lines("access.log", 1) == ["499 /gone"]
    wait_for(lambda: not made.authority.connections[0].is_open, what="the end of the question")
    assert made.backend.requests == []


def test_uploads_in_chunks_and_expectations(guarded):
    made = guarded()
    made.authority.answer = [0.2, reply(200, b"")]
    with Client(made.port) as client:
        client.send(b"PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        client.send(chunked(b"abc", b"def"))
        assert client.read_response().status == 200
        # The connection goes on.
        client.send(b"PUT /up2 HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"y" * 200_000)
        assert client.read_response().status == 200
    assert [request.body for request in made.backend.requests] == [b"abcdef", b"y" * 200_000]
    made.authority.answer = reply(403)
    with Client(made.port) as client:
        client.send(b"PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        found = client.read_response_head()
        assert (found.status, found.interim) == (403, [])


def test_pipelined_requests(guarded):
    made = guarded()
    with Client(made.port) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(20)))
        for number in range(20):
            assert client.read_response().body == b"ok"
    assert [request.target for request in made.backend.requests] == [f"/{number}" for number in range(20)]


def test_a_head_request(guarded):
    made = guarded()
    with Client(made.port) as client:
        client.request("/", method="HEAD")
        assert client.read_response("HEAD").status == 200
        assert made.authority.requests[0].method == "GET"
        made.authority.answer = reply(401, headers=[("WWW-Authenticate", "Bearer")])
        client.request("/", method="HEAD")
        assert client.read_response("HEAD").status == 401


def test_websockets_are_asked_for_before_the_backend(guarded):
    made = guarded(location=RECIPE, http=MAP)
    made.backend.program = echoing()
    made.authority.answer = reply(403)
    with Client(made.port) as client:
        client.send(handshake())
        assert client.read_response().status == 403
    assert made.backend.connections == []
    assert "upgrade" not in made.authority.requests[0]
    made.authority.answer = reply(204, length=False)
    with opened(made.port) as client:
        sent = frame(b"x", masked=True)
        client.send(sent)
        assert client.read_exactly(len(sent)) == sent


def test_the_log_of_a_tunnel_has_the_values(guarded):
    made = guarded(
        location=RECIPE + "auth_request_set $user $upstream_http_x_user;",
        http=MAP + "log_format user '$status $user $upstream_addr'; access_log <dir>/access.log user;")
    made.backend.program = echoing()
    made.authority.answer = reply(200, b"", headers=[("X-User", "ann")])
    opened(made.port).close()
    assert made.log_lines("access.log", 1) == [f"101 ann {made.backend}"]


def test_streams_of_http2(guarded):
    port = ports.free_port()
    made = guarded(server=f"listen 127.0.0.1:{port} http2;", http="access_log <dir>/access.log;")
    with HTTP2Client(port) as client:
        streams = [client.begin("/page", method="POST", end=False) for _ in range(5)]
        for stream in streams:
            client.write(stream, b"body", end=True)
        assert [client.response(stream).status for stream in streams] == [200] * 5
        made.authority.answer = reply(401, headers=[("WWW-Authenticate", "Bearer")])
        found = client.fetch("/")
        assert (found.status, found.get("www-authenticate")) == (401, "Bearer")
        made.authority.answer = [1.0, reply()]
        asked = len(made.authority.requests)
        stream = client.begin("/gone")
        client.flush()
        made.authority.wait_requests(asked + 1)
        client.reset(stream)
        client.flush()
        wait_for(lambda: '"GET /gone HTTP/2.0" 499' in made.log("access.log"), seconds=0.9, what="the end of the question")
    assert [request.body for request in made.backend.requests] == [b"body"] * 5


@pytest.mark.switchyard_only
def test_websockets_over_http2(guarded):
    port = ports.free_port()
    made = guarded(location=RECIPE, http=MAP, server=f"listen 127.0.0.1:{port} http2;")
    made.backend.program = echoing()
    with HTTP2Client(port) as client:
        made.authority.answer = reply(403)
        stream = client.connect("/ws")
        assert client.head(stream).status == 403
        made.authority.answer = reply(200, b"")
        socket = StreamSocket(client, "/ws")
        socket.send(b"x")
        assert socket.receive() is not None


@pytest.mark.switchyard_only
def test_an_authority_over_http2(guarded):
    with HTTP2Backend() as authority:
        made = guarded(
            server="location = /two { internal; proxy_pass http://<two>; proxy_http_version 2; }"
                   "location /t { auth_request /two; auth_request_set $u $upstream_http_x_user; add_header X-U $u; proxy_pass http://<backend>; }",
            values={"two": authority})
        for _ in range(3):
            assert made.fetch("/t", method="POST", body=b"abc").status == 200


def test_subrequests_in_logs(guarded):
    made = guarded(
        auth="log_subrequest on; access_log <dir>/sub.log sub;",
        http="log_format sub '$status $uri $request_uri $upstream_status'; access_log <dir>/access.log sub;")
    made.authority.answer = reply(403)
    made.fetch("/page")
    assert made.log_lines("sub.log", 1) == ["403 /auth /page 403"]
    assert made.log_lines("access.log", 1) == ["403 /page /page -"]


@pytest.mark.switchyard_only
def test_request_hooks_come_after_it_and_not_for_it(guarded):
    made = guarded(server="""
        lua_shared_dict runs 100k;
        request_by_lua_block { sy.shared.runs:incr(flow.var.uri, 1, 0); flow.req.headers["X-Seen"] = flow.var.user }
        response_by_lua_block { flow.res.headers["X-Hook"] = "yes" }
        location /count { return 200; }
    """.replace("lua_shared_dict runs 100k;", ""), http="lua_shared_dict runs 100k;",
                   location="auth_request_set $user $upstream_http_x_user;")
    made.authority.answer = reply(200, b"", headers=[("X-User", "ann")])
    assert made.fetch("/page").get("x-hook") == "yes"
    assert made.backend.requests[0].get("x-seen") == "ann"
    made.authority.answer = reply(403)
    assert made.fetch("/page").status == 403


def test_a_location_that_closes(guarded):
    made = guarded(
        server="location /x { auth_request /close; proxy_pass http://<backend>; } location = /close { return 444; }",
        http="log_format status '$status $request_uri'; access_log <dir>/access.log status;")
    with Client(made.port) as client:
        client.request("/x")
        assert client.is_closed()
    assert made.log_lines("access.log", 1) == ["444 /x"]


def test_after_an_upstream_has_failed(guarded):
    """The body was read, and goes on behind the question; what the first upstream said does not."""
    made = guarded("proxy_intercept_errors on; error_page 503 = @second;", server="""
        location @second { auth_request /auth; auth_request_set $asked "$upstream_status"; proxy_http_version 1.1;
            proxy_set_header X-Asked $asked; proxy_pass http://<backend>; }
    """, http="log_format tries '$upstream_status'; access_log <dir>/access.log tries;")
    answers = [reply(503), reply(200, b"second")]
    made.backend.answer = lambda request: answers.pop(0)
    found = made.fetch("/x", method="POST", body=b"abc")
    assert (found.status, found.body) == (200, b"second")
    assert [(request.method, request.body, request.get("x-asked")) for request in made.backend.requests] == [
        ("POST", b"abc", None), ("POST", b"abc", "200")]
    assert [request.body for request in made.authority.requests] == [b"", b""]
    assert made.log_lines("access.log", 1) == ["503 : 200"]


def test_a_server_that_ends_meanwhile_answers(guarded):
    made = guarded()
    made.authority.answer = [0.5, reply(200, b"")]
    with Client(made.port) as client:
        client.request("/x", method="POST", body=b"abc")
        made.authority.wait_requests(1)
        made.reload()
        assert client.read_response().status == 200


@pytest.mark.switchyard_only
def test_a_client_that_has_ended_its_side_is_answered(guarded):
    made = guarded()
    made.authority.answer = [0.3, reply(200, b"")]
    with Client(made.port) as client:
        client.request("/x")
        client.finish()
        assert client.read_response().status == 200


@pytest.mark.switchyard_only
def test_variables_of_scripts_may_wait(guarded):
    made = guarded(
        auth="proxy_set_header X-Token $token;", http="set_by_lua_block $token { sy.sleep(0.05) return 'of ' .. flow.var.uri }")
    assert made.fetch("/x", method="POST", body=b"abc").status == 200
    assert made.authority.requests[0].get("x-token") == "of /auth"
    assert made.backend.requests[0].body == b"abc"


def test_names_that_are_looked_up_and_unknown(guarded):
    made = guarded(
        server="resolver 127.0.0.1:9; resolver_timeout 300ms; location /n { auth_request /name; proxy_pass http://<backend>; }"
               "location = /name { set $name nowhere.test; proxy_pass http://$name; }")
    assert made.fetch("/n").status == 500
    log_line(made, "auth request unexpected status: 50")


def test_limits_of_the_location_asked(guarded):
    """A request that is counted in its own location is not counted again; one that is not, is."""
    made = guarded(
        auth="limit_req zone=z;", http="limit_req_zone all zone=z:1m rate=1r/m;",
        server="location /counted { limit_req zone=z burst=5 nodelay; auth_request /auth; proxy_pass http://<backend>; }")
    assert [made.fetch("/counted").status for _ in range(3)] == [200] * 3
    assert made.fetch("/").status == 500
    log_line(made, "auth request unexpected status: 503")
