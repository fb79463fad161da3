"""`limit_req` and `limit_conn`: who waits, who is refused, and what is said of it."""

import contextlib
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import ports
from harness.backend import reply
from harness.http2 import HTTP2Client
from harness.websocket import RECIPE, handshake, holding, opened
from harness.wire import Client, wait_for

LOG = ('log_format limits "$status $limit_req_status $limit_conn_status $request_uri";'
       "access_log <dir>/access.log limits;")
BY_ARGUMENT = "limit_req_zone $arg_k zone=rate:1m rate=1r/m; limit_conn_zone $arg_k zone=open:1m;"


@pytest.fixture
def limited(simple):
    """A proxy with zones by `$arg_k`, one request a minute in the first; `location` stands in its location."""

    def make(location="", server="", http="", **rest):
        return simple(location, server, LOG + BY_ARGUMENT + http, **rest)

    return make


def statuses(made, count, target="/?k=a"):
    return [made.fetch(target).status for _ in range(count)]


def wait_line(made, text):
    wait_for(lambda: text in made.log(), what=f"{text} in the log")
    return next(line for line in made.log().splitlines() if text in line)


class Held:
    """Backends' answers wait until the test says so."""

    def __init__(self, made):
        self.made = made
        made.backend.program = self.program
        self.go = False

    def program(self, connection):
        while connection.next_request():
            wait_for(lambda: self.go, 20, "the test")
            connection.send(reply())

    def begin(self, stack, target="/?k=a", count=1):
        """Requests that are under way until `go`."""
        clients = [stack.enter_context(Client(self.made.port)) for _ in range(count)]
        reached = len(self.made.backend.requests)
        for client in clients:
            client.request(target)
        self.made.backend.wait_requests(reached + count)
        return clients


# limit_req


def test_what_is_beyond_the_burst_is_refused(limited):
    made = limited("limit_req zone=rate burst=2 nodelay;")
    assert statuses(made, 5) == [200, 200, 200, 503, 503]
    assert statuses(made, 1, "/?k=b") == [200]
    line = wait_line(made, "limiting requests")
    assert 'limiting requests, excess: 3.000 by zone "rate", client: 127.0.0.1, server: , request: "GET /?k=a HTTP/1.1"' in line \
        or 'limiting requests, excess: 2.99' in line
    assert "[error]" in line
    assert len(made.backend.requests) == 4


def test_without_a_burst_the_second_is_refused(limited):
    assert statuses(limited("limit_req zone=rate;"), 3) == [200, 503, 503]


def test_a_rate_lets_in_again(simple):
    made = simple("limit_req zone=r;", http="limit_req_zone $arg_k zone=r:1m rate=2r/s;")
    assert statuses(made, 2) == [200, 503]
    time.sleep(0.6)
    assert statuses(made, 2) == [200, 503]


@pytest.mark.clocked
def test_a_burst_waits_for_the_rate(simple):
    made = simple("limit_req zone=r burst=4;", http=LOG + "limit_req_zone $arg_k zone=r:1m rate=10r/s;")
    with ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        found = sorted(pool.map(lambda _: (made.fetch("/?k=a").status, time.monotonic() - begun), range(7)))
    times = [seconds for status, seconds in found if status == 200]
    assert [status for status, _ in found] == [200] * 5 + [503] * 2
    for number, seconds in enumerate(times):
        assert seconds > 0.1 * number - 0.02
    assert times[-1] < 1.5
    line = wait_line(made, "delaying request")
    assert "[warn]" in line and ', by zone "r", client: 127.0.0.1, server: , request: "GET /?k=a HTTP/1.1"' in line
    lines = sorted(made.log_lines("access.log", 7))
    assert lines == ["200 DELAYED - /?k=a"] * 4 + ["200 PASSED - /?k=a"] + ["503 REJECTED - /?k=a"] * 2


@pytest.mark.clocked
def test_delay_lets_some_go_at_once(simple):
    made = simple("limit_req zone=r burst=5 delay=3;", http=LOG + "limit_req_zone $arg_k zone=r:1m rate=5r/s;")
    with ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        found = sorted(pool.map(lambda _: (made.fetch("/?k=a").status, time.monotonic() - begun), range(8)))
    assert [status for status, _ in found] == [200] * 6 + [503] * 2
    assert found[4][1] > 0.15 and found[5][1] > 0.35
    assert found[3][1] < 0.15
    lines = sorted(made.log_lines("access.log", 8))
    assert lines == ["200 DELAYED - /?k=a"] * 2 + ["200 PASSED - /?k=a"] * 4 + ["503 REJECTED - /?k=a"] * 2


def test_a_status_and_a_level_of_its_own(limited):
    made = limited("limit_req zone=rate; limit_req_status 429; limit_req_log_level notice;")
    assert statuses(made, 2) == [200, 429]
    assert "[notice]" in wait_line(made, "limiting requests")


@pytest.mark.parametrize("status", [408, 444, 499])
@pytest.mark.parametrize("limit", ["limit_req zone=rate; limit_req_status {};", "limit_conn open 1; limit_conn_status {};"])
def test_a_status_that_nobody_is_answered_with(limited, limit, status):
    made = limited(limit.format(status), "error_page 408 444 =200 /page; location /page { return 200 page; }")
    held = Held(made)
    with contextlib.ExitStack() as stack:
        held.begin(stack)
        client = stack.enter_context(Client(made.port))
        client.request("/?k=a")
        assert client.is_closed()
        held.go = True
    assert made.log_lines("access.log", 1)[0].startswith(f"{status} ")


def test_a_dry_run_refuses_nothing_and_keeps_none_waiting(limited):
    made = limited(
        "limit_req zone=rate burst=1; limit_req_dry_run on; limit_conn open 1; limit_conn_dry_run on;")
    assert statuses(made, 3) == [200] * 3
    assert [line for line in made.log_lines("access.log", 3)] == [
        "200 PASSED PASSED /?k=a", "200 DELAYED_DRY_RUN PASSED /?k=a", "200 REJECTED_DRY_RUN PASSED /?k=a"]
    wait_line(made, "delaying request, dry run, excess: ")
    wait_line(made, "limiting requests, dry run, excess: ")


def test_an_empty_key_is_not_counted(limited):
    made = limited("limit_req zone=rate; limit_conn open 1;")
    assert statuses(made, 3, "/none") == [200] * 3
    assert made.log_lines("access.log", 3) == ["200 - - /none"] * 3


def test_a_key_that_is_too_long_is_not_counted(limited):
    made = limited("limit_conn open 1;")
    held = Held(made)
    with contextlib.ExitStack() as stack:
        held.begin(stack, "/?k=" + "x" * 256, 2)
        held.begin(stack, "/?k=" + "x" * 255)
        assert made.fetch("/?k=" + "x" * 255).status == 503
        held.go = True
    assert made.fetch("/?k=" + "y" * 5000).status == 200
    line = wait_line(made, 'more than 255 bytes: "' + "y" * 1024)
    assert made.kind == "nginx" or "y" * 1025 not in line.partition(", client: ")[0]
    assert "[error]" in wait_line(made, 'the value of the "$arg_k" key is more than 255 bytes: "' + "x" * 256 + '"')


def test_all_limits_of_a_location_hold(simple):
    made = simple(
        "limit_req zone=each burst=1 nodelay; limit_req zone=all burst=3 nodelay;",
        http=LOG + "limit_req_zone $arg_k zone=each:1m rate=1r/m; limit_req_zone $server_port zone=all:1m rate=1r/m;")
    assert statuses(made, 3, "/?k=a") == [200, 200, 503]
    # What one refuses, the other has not counted.
    assert statuses(made, 3, "/?k=b") == [200, 200, 503]
    assert statuses(made, 1, "/?k=c") == [503]
    zones = [line.split('zone "')[1].split('"')[0] for line in made.log().splitlines() if "limiting requests" in line]
    assert zones == ["each", "each", "all"]


@pytest.mark.clocked
def test_the_longest_wait_counts(simple):
    made = simple(
        "limit_req zone=slow burst=3; limit_req zone=fast burst=3;",
        http="limit_req_zone $arg_k zone=slow:1m rate=2r/s; limit_req_zone $arg_k zone=fast:1m rate=100r/s;")
    assert statuses(made, 1) == [200]
    begun = time.monotonic()
    assert statuses(made, 1) == [200]
    assert time.monotonic() - begun > 0.3
    assert 'by zone "slow"' in wait_line(made, "delaying request, excess: ")


def test_a_level_with_limits_of_its_own_has_no_others(simple):
    made = simple(
        server="limit_req zone=rate burst=1 nodelay; limit_req_status 429; location /own {"
               " limit_req zone=other burst=2 nodelay; proxy_pass http://<backend>; }"
               " location /inner { proxy_pass http://<backend>; if ($arg_x) { set $y 1; } }",
        http=BY_ARGUMENT + "limit_req_zone $arg_k zone=other:1m rate=1r/m;")
    assert statuses(made, 3) == [200, 200, 429]
    assert statuses(made, 4, "/own?k=a") == [200] * 3 + [429]
    assert statuses(made, 1, "/inner?k=a&x=1") == [429]


def test_a_request_is_looked_at_once(limited):
    made = limited(
        server="limit_req zone=rate burst=1 nodelay; error_page 503 /sorry?$args; error_page 404 /there?$args;"
               " location /there { proxy_pass http://<backend>; }"
               " location /sorry { proxy_pass http://<backend>; }"
               " location /moved { rewrite ^ /there last; }"
               " location /missing { proxy_intercept_errors on; proxy_pass http://<backend>; }")
    made.backend.answer = lambda request: reply(404 if "missing" in request.target else 200)
    # Two of these would be three requests, were the page counted as well.
    assert statuses(made, 3, "/missing?k=a") == [404, 404, 503]
    assert [request.target for request in made.backend.requests] == [
        "/missing?k=a", "/there?k=a", "/missing?k=a", "/there?k=a", "/sorry?k=a"]
    assert statuses(made, 3, "/moved?k=b") == [200, 200, 503]
    assert made.log_lines("access.log", 6)[2] == "503 REJECTED - /missing?k=a"


def test_where_a_redirect_leads_counts_what_was_not_counted(limited):
    made = limited(
        server="error_page 404 /there?$args; location /there { limit_req zone=rate; proxy_pass http://<backend>; }"
               " location /missing { return 404; }")
    assert statuses(made, 2, "/missing?k=a") == [404, 503]


def test_what_rewriting_answers_is_not_counted(limited):
    made = limited(server="limit_req zone=rate; location /fixed { return 200; }")
    assert statuses(made, 3, "/fixed?k=a") == [200] * 3


def test_limits_come_before_access(limited):
    made = limited("limit_req zone=rate; deny all;")
    assert statuses(made, 2) == [403, 503]


def test_keys_are_made_of_where_the_client_is(limited):
    made = limited(
        "limit_req zone=there;", server="set_real_ip_from 127.0.0.1;",
        http="limit_req_zone $binary_remote_addr$uri zone=there:1m rate=1r/m;")
    asked = [("203.0.113.1", "/"), ("203.0.113.1", "/"), ("203.0.113.2", "/"), ("203.0.113.1", "/b")]
    found = [made.fetch(uri, headers=[("X-Real-IP", address)]).status for address, uri in asked]
    assert found == [200, 503, 200, 200]


@pytest.mark.clocked
def test_a_body_and_what_follows_wait_with_the_request(simple):
    made = simple("limit_req zone=r burst=5;", http="limit_req_zone $arg_k zone=r:1m rate=4r/s;")
    assert statuses(made, 1) == [200]
    with Client(made.port) as client:
        client.request("/one?k=a", method="POST", body=b"x" * 100_000)
        client.request("/two?k=b")
        time.sleep(0.05)
        assert len(made.backend.requests) == 1
        assert client.read_response().status == 200
        assert client.read_response().status == 200
    assert [(request.target, len(request.body)) for request in made.backend.requests[1:]] == [
        ("/one?k=a", 100_000), ("/two?k=b", 0)]


@pytest.mark.parametrize("rest", [{"body": b"hello"}, {"headers": [("Content-Length", "5")], "body": b"he"}, {}])
def test_a_client_that_leaves_behind_more_than_a_head_waits_no_more(simple, rest):
    made = simple("limit_req zone=r burst=5;", http=LOG + "limit_req_zone $arg_k zone=r:1m rate=10r/m;")
    assert statuses(made, 1) == [200]
    with Client(made.port) as client:
        client.request("/left?k=a", method="POST", **rest)
        if not rest:
            client.request("/pipelined?k=a")
        wait_line(made, "delaying request")
    assert made.log_lines("access.log", 2)[1] == "499 DELAYED - /left?k=a"
    assert len(made.backend.requests) == 1


def test_a_client_that_leaves_waits_no_more(simple):
    made = simple("limit_req zone=r burst=5;", http=LOG + "limit_req_zone $arg_k zone=r:1m rate=10r/m;")
    assert statuses(made, 1) == [200]
    for end in ("close", "reset", "finish"):
        client = Client(made.port)
        client.request(f"/{end}?k=a")
        wait_for(lambda: made.log().count("delaying request") == ("close", "reset", "finish").index(end) + 1)
        getattr(client, end)()
    lines = made.log_lines("access.log", 4)
    assert lines[1:] == [f"499 DELAYED - /{end}?k=a" for end in ("close", "reset", "finish")]
    assert "[info]" in wait_line(made, "client prematurely closed connection, client: ")
    assert len(made.backend.requests) == 1


def test_where_there_is_no_room_the_oldest_goes(simple):
    made = simple("limit_req zone=r;", http="limit_req_zone $arg_k zone=r:32k rate=1r/m;")

    def asks(*names):
        with Client(made.port) as client:
            return [client.fetch(f"/?k=k{name:06}").status for name in names]

    # As many states as nginx has room for.
    assert set(asks(*range(191))) == {200}
    assert asks(0, 1, 190) == [503] * 3
    # These are used least now: 2 makes room for 191, which 2 itself then takes of 3.
    assert asks(191, 2, 3, 0, 1, 190) == [200, 200, 200, 503, 503, 503]


# limit_conn


def test_so_many_requests_at_once(limited):
    made = limited("limit_conn open 2;")
    held = Held(made)
    with contextlib.ExitStack() as stack:
        clients = held.begin(stack, count=2)
        assert made.fetch("/?k=a").status == 503
        held.begin(stack, "/?k=b")
        line = wait_line(made, "limiting connections")
        assert 'limiting connections by zone "open", client: 127.0.0.1, server: , request: "GET /?k=a HTTP/1.1"' in line
        assert "[error]" in line
        held.go = True
        assert [client.read_response().status for client in clients] == [200, 200]
        # Idle connections are not counted.
        assert [client.fetch("/?k=a").status for client in clients] == [200, 200]
    assert "503 - REJECTED /?k=a" in made.log_lines("access.log", 6)


def test_a_client_that_leaves_is_not_counted_any_more(limited):
    made = limited("limit_conn open 1; limit_conn_status 429; limit_conn_log_level warn;")
    held = Held(made)
    with contextlib.ExitStack() as stack:
        held.begin(stack)
        assert made.fetch("/?k=a").status == 429
    assert "[warn]" in wait_line(made, "limiting connections")
    held.go = True
    wait_for(lambda: made.fetch("/?k=a").status == 200, what="the count to go down")


def test_what_one_limit_refuses_no_other_counts(limited):
    made = limited("limit_conn open 2; limit_conn all 1;", http="limit_conn_zone $server_port zone=all:1m;")
    held = Held(made)
    with contextlib.ExitStack() as stack:
        (client,) = held.begin(stack)
        for _ in range(3):
            assert made.fetch("/?k=a").status == 503
        assert {line.split('zone "')[1].split('"')[0] for line in made.log().splitlines() if "limiting conn" in line} == {"all"}
        held.go = True
        assert client.read_response().status == 200
    assert statuses(made, 3) == [200] * 3


def test_a_dry_run_counts_none_that_it_would_refuse(limited):
    made = limited("limit_conn open 1; limit_conn_dry_run on;")
    held = Held(made)
    with contextlib.ExitStack() as stack:
        clients = held.begin(stack) + held.begin(stack)
        held.go = True
        assert [client.read_response().status for client in clients] == [200, 200]
    wait_line(made, 'limiting connections, dry run, by zone "open"')
    assert sorted(made.log_lines("access.log", 2)) == ["200 - PASSED /?k=a", "200 - REJECTED_DRY_RUN /?k=a"]


def test_a_zone_that_is_full_refuses(simple):
    made = simple(
        RECIPE + "limit_conn open 1;",
        http="map $http_upgrade $connection_upgrade { default upgrade; '' close; } limit_conn_zone $arg_k zone=open:32k;")
    made.backend.program = holding
    with contextlib.ExitStack() as stack:
        # As many states as nginx has room for.
        sockets = [stack.enter_context(opened(made.port, f"/?k={number:04}")) for number in range(383)]
        assert made.fetch("/?k=more").status == 503
        assert "[crit]" in wait_line(made, 'ngx_slab_alloc() failed: no memory in limit_conn_zone "open"')
        sockets[200].close()
        wait_for(lambda: made.fetch("/?k=more").status == 200, what="room")


def test_a_websocket_counts_for_as_long_as_it_is_open(limited):
    made = limited(
        RECIPE + "limit_conn open 2;", http="map $http_upgrade $connection_upgrade { default upgrade; '' close; }")
    made.backend.program = holding
    with contextlib.ExitStack() as stack:
        first = opened(made.port, "/?k=a")
        stack.enter_context(opened(made.port, "/?k=a"))
        time.sleep(0.1)
        assert made.fetch("/?k=a").status == 503
        with Client(made.port) as late:
            late.send(handshake("/?k=a"))
            assert late.read_response().status == 503
        first.close()
        wait_for(lambda: made.fetch("/?k=a").status == 200, what="the first WebSocket's end")


def test_each_stream_counts(limited):
    made = limited("limit_conn open 2;", server="listen 127.0.0.1:<h2> http2;", values={"h2": ports.free_port()})
    held = Held(made)
    with HTTP2Client(made.values["h2"]) as client:
        streams = [client.begin("/?k=a") for _ in range(3)]
        assert client.response(streams[2]).status == 503
        made.backend.wait_requests(2)
        client.reset(streams[0])
        client.flush()
        held.go = True
        assert client.response(streams[1]).status == 200
        wait_for(lambda: client.fetch("/?k=a").status == 200, what="the count to go down")


@pytest.mark.clocked
def test_streams_wait_each_for_itself(simple):
    made = simple(
        "limit_req zone=r burst=5;", server="listen 127.0.0.1:<h2> http2;",
        http="limit_req_zone $arg_k zone=r:1m rate=4r/s;", values={"h2": ports.free_port()})
    with HTTP2Client(made.values["h2"]) as client:
        assert client.fetch("/?k=a").status == 200
        begun = time.monotonic()
        late = client.begin("/late?k=a", method="POST", end=False)
        client.write(late, b"x" * 30_000, end=True)
        later = client.begin("/later?k=a")
        assert client.fetch("/other?k=b").status == 200
        assert time.monotonic() - begun < 0.2
        assert client.response(late).status == 200
        assert client.response(later).status == 200
        assert time.monotonic() - begun > 0.45
    assert [(request.target, len(request.body)) for request in made.backend.requests[1:]] == [
        ("/other?k=b", 0), ("/late?k=a", 30_000), ("/later?k=a", 0)]


def test_a_client_that_waits_to_be_told_is_told_late(simple):
    made = simple("limit_req zone=r burst=5;", http="limit_req_zone $arg_k zone=r:1m rate=4r/s;")
    assert statuses(made, 1) == [200]
    with Client(made.port) as client:
        client.request("/?k=a", method="POST", headers=[("Expect", "100-continue"), ("Content-Length", "4")])
        wait_for(lambda: "delaying request" in made.log())
        client.sock.settimeout(5)
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(b"body")
        assert client.read_response().status == 200
    assert made.backend.requests[1].body == b"body"


def test_a_process_that_ends_lets_those_that_wait_go_on(simple):
    made = simple("limit_req zone=r burst=5;", http="limit_req_zone $arg_k zone=r:1m rate=2r/s;")
    assert statuses(made, 1) == [200]
    with Client(made.port) as client:
        client.request("/?k=a")
        wait_for(lambda: "delaying request" in made.log())
        made.signal(signal.SIGQUIT)
        assert client.read_response().status == 200
    assert made.wait_exit() == 0


def test_a_delayed_stream_that_is_reset_goes_no_further(simple):
    made = simple(
        "limit_req zone=r burst=5;", server="listen 127.0.0.1:<h2> http2;",
        http=LOG + "limit_req_zone $arg_k zone=r:1m rate=10r/m;", values={"h2": ports.free_port()})
    with HTTP2Client(made.values["h2"]) as client:
        assert client.fetch("/?k=a").status == 200
        stream = client.begin("/gone?k=a")
        client.flush()
        wait_line(made, "delaying request")
        client.reset(stream)
        client.flush()
        assert made.log_lines("access.log", 2)[1] == "499 DELAYED - /gone?k=a"
        assert client.fetch("/?k=b").status == 200
    assert len(made.backend.requests) == 2


# Workers and reloads


def test_workers_count_together(limited):
    made = limited("limit_req zone=rate burst=9 nodelay; limit_conn open 3;", start=False)
    made.write(made.config_path.read_text().replace("worker_processes 1;", "worker_processes 2;"))
    made.start()
    held = Held(made)
    with contextlib.ExitStack() as stack:
        clients = held.begin(stack, count=3)
        for _ in range(4):
            assert made.fetch("/?k=a").status == 503
        held.go = True
        assert [client.read_response().status for client in clients] == [200] * 3
    # Three, four and three make ten.
    found = statuses(made, 6)
    assert found == [200] * 3 + [503] * 3


def test_a_reload_keeps_what_was_counted(limited):
    made = limited(
        RECIPE + "limit_req zone=rate burst=2 nodelay; limit_conn open 1;",
        http="map $http_upgrade $connection_upgrade { default upgrade; '' close; }")
    made.backend.program = holding
    text = made.config_path.read_text()
    assert statuses(made, 1) == [200]
    with opened(made.port, "/?k=a"), opened(made.port, "/?k=b"):
        # Another rate and other limits are taken over at once.
        made.reload(text.replace("rate=1r/m", "rate=2r/m").replace("location / {", "location / { add_header New 1; "))
        wait_for(lambda: made.fetch("/none").get("New") == "1", what="the reload")
        assert statuses(made, 2) == [503, 503]
        assert statuses(made, 2, "/?k=b") == [503, 503]
        wait_for(lambda: made.log("access.log").count("\n503") == 4, what="the log")
        assert [line for line in made.log("access.log").splitlines() if line.startswith("503")] == [
            "503 PASSED REJECTED /?k=a", "503 REJECTED - /?k=a", "503 PASSED REJECTED /?k=b", "503 PASSED REJECTED /?k=b"]
    wait_for(lambda: made.fetch("/?k=c").status == 200)
    if made.kind != "nginx":
        wait_for(lambda: "[notice]" in made.log())
        made.reload(text.replace("$arg_k zone=open", "$arg_k$uri zone=open").replace("rate:1m", "rate:2m"))
        wait_line(made, 'limit_req_zone "rate" begins empty: its size was 1048576 and is 2097152 bytes')
        wait_line(made, 'limit_conn_zone "open" begins empty: its key was "$arg_k" and is "$arg_k$uri"')
        wait_for(lambda: made.fetch("/?k=a").status == 200, what="the reload")


# Scripts


@pytest.mark.switchyard_only
def test_keys_of_scripts_are_waited_for(simple):
    made = simple(
        "limit_req zone=scripted burst=1; limit_conn counted 1;",
        server="set_by_lua_block $waits { sy.sleep(0.05) return flow.var.arg_k } "
               "location /count { request_by_lua_block { return flow:respond{ status = 200, body = flow.var.limit_req_status } } "
               "limit_req zone=scripted nodelay burst=5; }",
        http=LOG + "limit_req_zone $waits zone=scripted:1m rate=5r/s; limit_conn_zone $waits zone=counted:1m;")
    begun = time.monotonic()
    assert statuses(made, 2) == [200, 200]
    assert time.monotonic() - begun > 0.2
    assert made.fetch("/count?k=b").text == "PASSED"
    assert statuses(made, 1, "/none") == [200]
    assert made.log_lines("access.log", 4) == [
        "200 PASSED PASSED /?k=a", "200 DELAYED PASSED /?k=a", "200 PASSED - /count?k=b", "200 - - /none"]


# Metrics


def limit_metrics(made):
    found = {}
    for line in made.fetch("/metrics").body.decode().splitlines():
        match = re.fullmatch(r'switchyard_(limit_\w+)_total[{]zone="(\w+)",result="(\w+)"[}] (\d+)', line)
        if match:
            found[match[1], match[2], match[3]] = int(match[4])
    return found


@pytest.mark.switchyard_only
def test_metrics_by_zone(limited):
    made = limited(
        "limit_req zone=rate; limit_conn open 1;",
        server="location /metrics { prometheus_metrics; }"
               "location /delay { limit_req zone=fast burst=5; proxy_pass http://<backend>; }"
               "location /dry { limit_req zone=slow burst=1; limit_conn open 1; limit_req_dry_run on; limit_conn_dry_run on;"
               " proxy_pass http://<backend>; }",
        http="limit_req_zone $arg_k zone=fast:1m rate=20r/s; limit_req_zone $arg_k zone=slow:1m rate=1r/m;")
    # Those that have done nothing are told of as well.
    assert limit_metrics(made) == {
        **{("limit_req", zone, result): 0 for zone in ("rate", "fast", "slow")
           for result in ("delayed", "rejected", "delayed_dry_run", "rejected_dry_run")},
        **{("limit_conn", "open", result): 0 for result in ("rejected", "rejected_dry_run")}}
    assert statuses(made, 4) == [200, 503, 503, 503]
    assert statuses(made, 2, "/delay?k=a") == [200, 200]
    assert statuses(made, 3, "/dry?k=a") == [200] * 3
    with contextlib.ExitStack() as stack:
        held = Held(made)
        held.begin(stack, "/?k=b")
        assert statuses(made, 2, "/?k=b") == [503, 503]
        held.begin(stack, "/dry?k=b")
        held.go = True
    found = limit_metrics(made)
    assert {key: count for key, count in found.items() if count} == {
        ("limit_req", "rate", "rejected"): 5, ("limit_req", "fast", "delayed"): 1, ("limit_req", "slow", "delayed_dry_run"): 1,
        ("limit_req", "slow", "rejected_dry_run"): 1, ("limit_conn", "open", "rejected_dry_run"): 1}
    made.reload()
    assert limit_metrics(made) == found
    assert made.fetch("/?k=a").status == 503
    assert limit_metrics(made)["limit_req", "rate", "rejected"] == 6


@pytest.mark.switchyard_only
def test_metrics_of_limit_conn(limited):
    made = limited("limit_conn open 1;", server="location /metrics { prometheus_metrics; }")
    with contextlib.ExitStack() as stack:
        held = Held(made)
        held.begin(stack)
        assert statuses(made, 3) == [503] * 3
        held.go = True
    assert limit_metrics(made) == {("limit_req", "rate", result): 0 for result in (
        "delayed", "rejected", "delayed_dry_run", "rejected_dry_run")} | {
        ("limit_conn", "open", "rejected"): 3, ("limit_conn", "open", "rejected_dry_run"): 0}
