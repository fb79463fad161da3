"""What directives do over time and across requests; single exchanges are scripts/compare-nginx's."""

import ctypes
import errno
import json
import math
import os
import re
import socket
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness import ports
from harness.backend import CLOSE, Backend, chunked, reply
from harness.dns import NameServer
from harness.proxy import default_kind
from harness.websocket import handshake, switching
from harness.wire import Client, Closed, wait_for

KIND = default_kind()
SILENT = [30.0]


def elapsed(function):
    began = time.monotonic()
    result = function()
    return result, time.monotonic() - began


# MARK: Timeouts


@pytest.mark.clocked
def test_proxy_read_timeout_before_the_response(simple):
    proxy = simple("proxy_read_timeout 1s;")
    proxy.backend.answer = SILENT
    response, seconds = elapsed(proxy.fetch)
    assert response.status == 504 and 0.8 < seconds < 3


@pytest.mark.clocked
def test_proxy_read_timeout_within_the_response(simple):
    proxy = simple("proxy_read_timeout 1s; proxy_buffering off;")
    proxy.backend.answer = [reply(200, b"", [("Content-Length", "9")], length=False) + b"part", 30.0]
    began = time.monotonic()
    with pytest.raises((Closed, ConnectionResetError)):
        proxy.fetch()
    assert 0.8 < time.monotonic() - began < 3


def test_proxy_read_timeout_is_between_reads(simple):
    proxy = simple("proxy_read_timeout 1s; proxy_buffering off;")
    proxy.backend.answer = [reply(200, b"", [("Content-Length", "6")], length=False), *([0.4, b"x"] * 6)]
    response, seconds = elapsed(proxy.fetch)
    assert response.body == b"xxxxxx" and seconds > 2


@pytest.mark.clocked
def test_proxy_connect_timeout(proxy):
    with ports.full_listener() as full:
        made = proxy(
            "server { listen 127.0.0.1:<port>; location / { proxy_pass http://<full>;"
            " proxy_connect_timeout 1s; } }", values={"full": full})
        response, seconds = elapsed(made.fetch)
        assert response.status == 504 and 0.8 < seconds < 3


@pytest.mark.clocked
def test_proxy_send_timeout(proxy):
    def program(connection):
        connection.next_head()
        time.sleep(10)

    with Backend(program=program, receive_buffer=8192) as backend:
        made = proxy(
            "server { listen 127.0.0.1:<port>; client_max_body_size 0; location / { proxy_pass http://<backend>;"
            " proxy_send_timeout 1s; proxy_http_version 1.1; proxy_request_buffering off; } }",
            values={"backend": backend})
        with Client(made.port, timeout=10) as client:
            client.sock.settimeout(10)
            client.request(method="POST", headers=[("Content-Length", str(64 << 20))])
            began = time.monotonic()
            writer = threading.Thread(target=send_until_refused, args=(client, 64 << 20), daemon=True)
            writer.start()
            assert client.read_response().status == 504
            assert 0.5 < time.monotonic() - began < 6


def send_until_refused(client, count):
    try:
        for _ in range(count >> 16):
            client.send(b"x" * 65536)
    except OSError:
        pass


def test_send_timeout_gives_up_a_client_that_does_not_read(simple):
    proxy = simple("proxy_buffering off;", server="send_timeout 1s;")
    ended = threading.Event()

    def program(connection):
        connection.next_request()
        connection.sock.settimeout(20)
        try:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
            for _ in range(1024):
                connection.send(b"x" * 65536)
        except OSError:
            ended.set()

    proxy.backend.program = program
    with Client(proxy.port, receive_buffer=8192) as client:
        client.request()
        assert ended.wait(8)


@pytest.mark.clocked
def test_client_header_timeout(simple):
    proxy = simple(server="client_header_timeout 1s;")
    with Client(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost:")
        began = time.monotonic()
        client.read_rest()
        assert 0.8 < time.monotonic() - began < 3
    assert proxy.backend.requests == []


def test_what_came_of_a_head_in_time_is_in_the_log(proxy):
    made = proxy("""
        log_format l '$status|$request|$request_method|$uri|$args|$host|$server_name|$server_protocol|$http_x';
        access_log <dir>/a.log l;
        client_header_timeout 1s;
        server { listen 127.0.0.1:<port>; server_name first; }
        server { listen 127.0.0.1:<port>; server_name second; }
    """)
    heads = [b"GE", b"GET /a%20?b HTTP/1.1\r\nHost: sec", b"GET /a%20?b HTTP/1.1\r\nHost: second\r\nX: y\r\nY"]
    for number, head in enumerate(heads):
        with Client(made.port) as client:
            client.send(head)
            client.read_rest()
        made.log_lines("a.log", number + 1)
    assert made.log("a.log").splitlines() == [
        "408|GE|-|-|-|first|first|-|-",
        "408|GET /a%20?b HTTP/1.1|GET|/a |b|first|first|HTTP/1.1|-",
        "408|GET /a%20?b HTTP/1.1|GET|/a |b|second|second|HTTP/1.1|y",
    ]


@pytest.mark.clocked
def test_client_body_timeout(simple):
    proxy = simple(server="client_body_timeout 1s;")
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Content-Length", "10")])
        client.send(b"half")
        began = time.monotonic()
        rest = client.read_rest()
        assert 0.8 < time.monotonic() - began < 3
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


def end_of(client):
    """What the client still gets, and whether the connection is reset then."""
    rest = b""
    try:
        while piece := client.sock.recv(65536):
            rest += piece
    except ConnectionResetError:
        return rest, True
    return rest, False


@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("request_text", [
    b"GET / HTTP/1.1\r\nHost:", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"], ids=["head", "body"])
def test_a_request_that_times_out_is_reset_where_that_is_asked_for(simple, request_text, resets):
    proxy = simple(
        http="access_log <dir>/a.log; client_header_timeout 1s; client_body_timeout 1s;",
        server="reset_timedout_connection on;" if resets else "")
    with Client(proxy.port) as client:
        client.send(request_text)
        rest, was_reset = end_of(client)
        assert was_reset == resets
        assert not rest if resets or KIND == "nginx" else rest.startswith(b"HTTP/1.1 408 ")
    assert " 408 " in proxy.log_lines("a.log", 1)[0]


@pytest.mark.parametrize("resets", [True, False])
def test_a_response_that_times_out_is_reset_where_that_is_asked_for(simple, resets):
    proxy = simple(
        "reset_timedout_connection on;" if resets else "",
        http="access_log <dir>/a.log; send_timeout 1s; proxy_max_temp_file_size 0;")
    proxy.backend.answer = reply(200, b"x" * (32 << 20))
    with Client(proxy.port, receive_buffer=8192) as client:
        client.request()
        proxy.log_lines("a.log", 1, seconds=10)
        assert end_of(client)[1] == resets


# MARK: What waits, and what does not


def test_proxy_buffers_take_a_response_from_an_upstream_before_the_client_does(simple):
    size = 40 << 20
    proxy = simple("proxy_buffers 1000 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;")
    body = bytes(range(251)) * (size // 251)
    sent = threading.Event()

    def program(connection):
        connection.next_request()
        connection.send(reply(200, body))
        sent.set()
        connection.next_request()

    proxy.backend.program = program
    with Client(proxy.port, receive_buffer=8192) as client:
        client.request()
        assert sent.wait(10)
        client.sock.settimeout(60)
        assert client.read_response().body == body


def delays(proxy, client):
    """Whether small packets wait at the proxy's end of the client's connection: its descriptor is borrowed to ask."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(proxy.worker_pids[0] if KIND == "nginx" else proxy.pid)
    try:
        for number in range(3, 256):
            # pidfd_getfd, the same on every architecture.
            descriptor = libc.syscall(438, process, number, 0)
            if descriptor < 0:
                if ctypes.get_errno() in (errno.ENOSYS, errno.EPERM):
                    pytest.skip("descriptors of another process cannot be had here")
                continue
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                continue
            with socket.socket(fileno=descriptor) as theirs:
                try:
                    if theirs.getpeername() == client.sock.getsockname():
                        return theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
                except OSError:
                    continue
    finally:
        os.close(process)
    raise AssertionError("the proxy has no such connection")


def test_tcp_nodelay_is_that_of_the_location_that_answers(proxy, backend):
    made = proxy("""
        server {
            listen 127.0.0.1:<port>;
            location / { return 200 x; }
            location /delayed { tcp_nodelay off; return 200 x; }
            location /proxied { tcp_nodelay off; proxy_pass http://<backend>; }
        }
        server {
            listen 127.0.0.1:<other>;
            tcp_nodelay off;
            location / { return 200 x; }
            location /proxied { tcp_nodelay on; proxy_pass http://<backend>; }
        }""", values={"backend": backend, "other": ports.free_port()})
    cases = [(made.port, "/", False), (made.port, "/delayed", True), (made.port, "/proxied", True),
             (made.values["other"], "/", True), (made.values["other"], "/proxied", False)]
    for port, target, expected in cases:
        with Client(port) as client:
            client.request(target)
            assert client.read_response().status == 200
            wait_for(lambda: delays(made, client) == expected, what=f"{expected} for {target}")
    with Client(made.port) as client:
        for target, expected in [("/", False), ("/delayed", True), ("/", False)]:
            client.request(target)
            client.read_response()
            assert KIND == "nginx" or delays(made, client) == expected, target


# MARK: Upstreams


BUSY = reply(503, b"busy")


def upstream(proxy, servers, location="", group="", **rest):
    """A proxy before a group of servers, whose text holds `<name>` for `values`."""
    return proxy(
        f"upstream group {{ {servers} {group} }} server {{ listen 127.0.0.1:<port>; location / {{"
        f" proxy_pass http://group; proxy_http_version 1.1; {location} }} }}", **rest)


def test_servers_are_taken_in_turn_by_weight(proxy, backends):
    made = [backends(answer=reply(200, name)) for name in (b"a", b"b", b"c")]
    it = upstream(proxy, "server <a> weight=3; server <b>; server <c> weight=2;", values=dict(zip("abc", made)))
    answers = [it.fetch().text for _ in range(12)]
    assert sorted(answers) == ["a"] * 6 + ["b"] * 2 + ["c"] * 4
    assert all(answers[i:i + 3] != ["a"] * 3 for i in range(12)), "weights are spread"


def test_a_server_that_is_down_is_not_taken(proxy, backends):
    made = [backends(answer=reply(200, name)) for name in (b"a", b"b")]
    it = upstream(proxy, "server <a> down; server <b>;", values=dict(zip("ab", made)))
    assert {it.fetch().text for _ in range(6)} == {"b"}


def test_a_backup_serves_when_the_others_fail(proxy, backends):
    backup = backends(answer=reply(200, b"backup"))
    first = backends(answer=reply(200, b"first"))
    it = upstream(proxy, "server <first>; server <backup> backup;", values={"first": first, "backup": backup})
    assert it.fetch().text == "first"
    first.stop()
    assert it.fetch().text == "backup"


def test_a_server_that_failed_is_left_alone_for_fail_timeout(proxy, backends):
    failing = backends(answer=[CLOSE])
    working = backends(answer=reply(200, b"working"))
    it = upstream(proxy, "server <failing> max_fails=1 fail_timeout=1s; server <working>;",
                  values={"failing": failing, "working": working})
    assert all(it.fetch().text == "working" for _ in range(8))
    assert len(failing.requests) == 1
    warnings = [line for line in it.log().splitlines() if "temporarily disabled" in line]
    assert len(warnings) == 1
    assert "[warn]" in warnings[0] and (
        " upstream server temporarily disabled while reading response header from upstream, client: 127.0.0.1,"
        in warnings[0]) and f'upstream: "http://127.0.0.1:{failing.port}/"' in warnings[0]
    failing.answer = reply(200, b"back")
    time.sleep(2.1)
    assert "back" in {it.fetch().text for _ in range(4)}


def test_max_fails_0_never_leaves_a_server_alone(proxy, backends):
    failing = backends(answer=[CLOSE])
    working = backends(answer=reply(200, b"working"))
    it = upstream(proxy, "server <failing> max_fails=0; server <working>;",
                  values={"failing": failing, "working": working})
    assert all(it.fetch().text == "working" for _ in range(6))
    assert len(failing.requests) >= 3


def test_nobody_left_is_a_502(proxy):
    it = upstream(proxy, "server 127.0.0.1:<one>; server 127.0.0.1:<two>;",
                  values={"one": ports.free_port(), "two": ports.free_port()})
    assert it.fetch().status == 502
    assert it.fetch().status == 502
    assert "no live upstreams" in it.log()


@pytest.mark.parametrize("condition, answer", [
    ("error", [CLOSE]), ("timeout", SILENT), ("invalid_header", [b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n", CLOSE]),
    ("http_500", reply(500)), ("http_502", reply(502)), ("http_503", reply(503)), ("http_504", reply(504)),
    ("http_403", reply(403)), ("http_404", reply(404)), ("http_429", reply(429))])
def test_proxy_next_upstream(proxy, backends, condition, answer):
    first = backends(answer=answer)
    second = backends(answer=reply(200, b"second"))
    text = f"proxy_read_timeout 1s; proxy_next_upstream {condition};"
    it = upstream(proxy, "server <first> max_fails=0; server <second> max_fails=0;", text,
                  values={"first": first, "second": second})
    assert {it.fetch().text for _ in range(2)} == {"second"}
    assert len(first.requests) == 1


def test_proxy_next_upstream_off(proxy, backends):
    first, second = backends(answer=[CLOSE]), backends(answer=reply(200, b"second"))
    it = upstream(proxy, "server <first> max_fails=0; server <second> max_fails=0;", "proxy_next_upstream off;",
                  values={"first": first, "second": second})
    assert sorted(it.fetch().status for _ in range(4)) == [200, 200, 502, 502]


@pytest.mark.parametrize("text, expected", [("error", {200, 502}), ("error non_idempotent", {200})])
def test_a_post_moves_on_only_when_non_idempotent_is_said(proxy, backends, text, expected):
    first, second = backends(answer=[CLOSE]), backends(answer=reply(200, b"second"))
    it = upstream(proxy, "server <first> max_fails=0; server <second> max_fails=0;", f"proxy_next_upstream {text};",
                  values={"first": first, "second": second})
    assert {it.fetch(method="POST", body=b"hello").status for _ in range(4)} == expected
    assert {request.body for request in first.requests + second.requests} == {b"hello"}


def test_an_answer_that_cannot_be_improved_on_is_passed_on(proxy, backends):
    busy = [backends(answer=reply(503, b"busy")) for _ in range(2)]
    it = upstream(proxy, "server <a> max_fails=0; server <b> max_fails=0;", "proxy_next_upstream http_503;",
                  values={"a": busy[0], "b": busy[1]})
    assert it.fetch(method="PUT", body=b"x" * 500000).body == b"busy"
    assert it.fetch().body == b"busy"


@pytest.mark.clocked
def test_proxy_next_upstream_timeout(proxy, backends):
    made = [backends(answer=SILENT) for _ in range(3)]
    it = upstream(proxy, "".join(f"server <s{n}> max_fails=0; " for n in range(3)),
                  "proxy_read_timeout 1s; proxy_next_upstream_timeout 1500ms;",
                  values={f"s{n}": each for n, each in enumerate(made)})
    response, seconds = elapsed(it.fetch)
    assert response.status == 504 and seconds < 2.8
    assert sum(len(each.requests) for each in made) == 2


def connections_of(backend):
    return len(backend.connections)


def test_upstream_connections_are_kept(proxy, backend):
    it = upstream(proxy, "server <backend>;", 'proxy_set_header Connection "";', "keepalive 2;", values={"backend": backend})
    assert all(it.fetch().status == 200 for _ in range(10))
    assert connections_of(backend) == 1


def test_no_more_connections_are_kept_than_keepalive_says(proxy, backend):
    it = upstream(proxy, "server <backend>;", 'proxy_set_header Connection "";', "keepalive 2;", values={"backend": backend})
    barrier = threading.Barrier(6)

    def answer(request):
        barrier.wait(10)
        return reply()

    backend.answer = answer
    with ThreadPoolExecutor(6) as pool:
        assert [r.status for r in pool.map(lambda _: it.fetch(), range(6))] == [200] * 6
    wait_for(lambda: sum(c.is_open for c in backend.connections) == 2, what="two connections left")


def test_upstream_keepalive_requests(proxy, backend):
    it = upstream(proxy, "server <backend>;", 'proxy_set_header Connection "";', "keepalive 2; keepalive_requests 3;",
                  values={"backend": backend})
    assert all(it.fetch().status == 200 for _ in range(9))
    assert connections_of(backend) == 3


def test_upstream_keepalive_timeout(proxy, backend):
    it = upstream(proxy, "server <backend>;", 'proxy_set_header Connection "";', "keepalive 2; keepalive_timeout 1s;",
                  values={"backend": backend})
    assert it.fetch().status == 200
    assert backend.connections[0].is_open
    wait_for(lambda: not backend.connections[0].is_open, 4, "the idle connection's end")


def test_a_kept_connection_that_the_backend_closed_costs_no_request(proxy, backend):
    it = upstream(proxy, "server <backend>;", 'proxy_set_header Connection "";', "keepalive 2;", values={"backend": backend})
    backend.answer = [reply(), 0.02, CLOSE]
    assert all(it.fetch().status == 200 for _ in range(20))


def test_without_keepalive_each_request_has_its_connection(simple):
    proxy = simple()
    assert all(proxy.fetch().status == 200 for _ in range(4))
    assert connections_of(proxy.backend) == 4


# MARK: Client connections and requests


def test_invalid_and_underscored_names_can_be_let_through(simple):
    proxy = simple(http="underscores_in_headers on;")
    assert proxy.fetch(headers=[("X_Under", "1")]).status == 200
    assert proxy.backend.requests[0].get("x_under") == "1"


def test_merge_slashes_off_keeps_them(proxy, backend):
    made = proxy(
        "merge_slashes off; server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>/x/; } }",
        values={"backend": backend})
    made.fetch("/a//b")
    assert backend.requests[0].target == "/x/a//b"


def test_keepalive_time_ends_a_connection(simple):
    proxy = simple(server="keepalive_time 1s;")
    with Client(proxy.port) as client:
        assert client.fetch().get("connection") == "keep-alive"
        time.sleep(1.2)
        assert client.fetch().get("connection") == "close"
        assert client.is_closed()


def test_many_workers_serve(proxy, backend):
    made = proxy(
        config="daemon off; pid <dir>/proxy.pid; error_log <dir>/error.log; worker_processes 3; events {} http {"
        " include <dir>/paths.conf; access_log off; server { listen 127.0.0.1:<port>; location / {"
        " proxy_pass http://<backend>; } } }", values={"backend": backend})
    with ThreadPoolExecutor(16) as pool:
        assert [r.status for r in pool.map(lambda n: made.fetch(f"/{n}"), range(200))] == [200] * 200
    assert sorted(int(r.target[1:]) for r in backend.requests) == list(range(200))


def test_allow_and_deny(proxy):
    made = proxy(
        "server { listen 127.0.0.1:<port>; location / { return 200; }"
        " location /yes { proxy_pass http://127.0.0.1:<port>/; allow 127.0.0.0/8; deny all; }"
        " location /no { proxy_pass http://127.0.0.1:<port>/; deny 127.0.0.1; allow all; } }")
    assert (made.fetch("/yes").status, made.fetch("/no").status) == (200, 403)


def test_an_included_glob(proxy):
    made = proxy("include <dir>/sites-*.conf;", start=False, values={"second": ports.free_port()})
    for name, port in (("a", made.port), ("b", made.values["second"])):
        (made.directory / f"sites-{name}.conf").write_text(f"server {{ listen 127.0.0.1:{port}; return 200 {name}; }}")
    made.start()
    wait_for(lambda: ports.is_listening(made.values["second"]), what="the second site")
    assert made.fetch().text == "a"
    with Client(made.values["second"]) as client:
        assert client.fetch().text == "b"


# MARK: Logs


COMBINED = re.compile(
    r'127\.0\.0\.1 - (\S+) \[\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4}\] "([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"')


def test_the_combined_format(simple):
    proxy = simple(server="access_log <dir>/access.log;")
    proxy.fetch("/x?y", headers=[("User-Agent", "agent"), ("Referer", "there"), ("Authorization", "Basic bWU6eA==")])
    [line] = proxy.log_lines("access.log", 1)
    assert COMBINED.fullmatch(line).groups() == ("me", "GET /x?y HTTP/1.1", "200", "2", "there", "agent")


def test_variables_of_a_log(simple):
    proxy = simple(
        http="log_format own '$status|$bytes_sent|$body_bytes_sent|$request_length|$request_time|"
        "$upstream_addr|$upstream_status|$upstream_response_time|$upstream_connect_time|$upstream_header_time|"
        "$upstream_response_length|$upstream_bytes_sent|$upstream_bytes_received|$connection_requests|$msec|$pipe|"
        "$sent_http_x_one|$request_completion';",
        server="access_log <dir>/access.log own;")
    proxy.backend.answer = reply(200, b"12345", [("X-One", "1")])
    with Client(proxy.port) as client:
        response = client.fetch("/x")
        sent = len(response.raw) + 5
        request = len(b"GET /x HTTP/1.1\r\nHost: test.example\r\n\r\n")
    [line] = proxy.log_lines("access.log", 1)
    fields = line.split("|")
    assert fields[:4] == ["200", str(sent), "5", str(request)]
    assert fields[5:7] == [str(proxy.backend), "200"]
    assert all(re.fullmatch(r"\d+\.\d{3}", fields[index]) for index in (4, 7, 8, 9))
    assert fields[10] == "5"
    assert fields[11] == str(len(proxy.backend.requests[0].raw))
    assert int(fields[12]) == len(reply(200, b"12345", [("X-One", "1")]))
    assert fields[13] == "1" and abs(float(fields[14]) - time.time()) < 60
    assert fields[15:] == [".", "1", "OK"]


@pytest.mark.parametrize("escape, expected", [
    ("", r"a\x22b\x5Cc - \xC3\xBC"), ("escape=default ", r"a\x22b\x5Cc - \xC3\xBC"),
    ("escape=json ", 'a\\"b\\\\c  ü'), ("escape=none ", 'a"b\\c  ü')])
def test_escapes_of_a_log(simple, escape, expected):
    proxy = simple(http=f"log_format own {escape}'$http_x_a $http_x_none $http_x_b';",
                   server="access_log <dir>/access.log own;")
    proxy.fetch(headers=[("X-A", 'a"b\\c'), ("X-B", "ü".encode().decode("latin-1"))])
    [line] = proxy.log_lines("access.log", 1)
    assert line == expected


def test_a_log_counts_the_framing_of_chunks(simple):
    proxy = simple(
        location="add_trailer X-Late $arg_late;", http="log_format own '$bytes_sent $body_bytes_sent';",
        server="access_log <dir>/access.log own; location /text { add_trailer X-Late 1; return 200 text; }")
    proxy.backend.answer = reply(200, chunked(b"one", b"two" * 4000), [("Transfer-Encoding", "chunked")], length=False)
    for number, target in enumerate(["/", "/?late=more", "/text"], 1):
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            received = b"".join(iter(lambda: client.recv(65536), b""))
        body = received.split(b"\r\n\r\n", 1)[1]
        assert body.endswith(b"0\r\nX-Late: more\r\n\r\n" if "late" in target else b"\r\n\r\n")
        assert proxy.log_lines("access.log", number)[-1] == f"{len(received)} {len(body)}"


def test_a_head_that_is_cut_off_is_logged(simple):
    proxy = simple(http="log_format own '$status $body_bytes_sent $request';", server="access_log <dir>/access.log own;")
    for part in (b"GET /part HTTP/1.1\r\nHo", b"GET /par", b""):
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            client.sendall(part)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
    assert proxy.fetch("/whole").status == 200
    assert proxy.log_lines("access.log", 3) == [
        "400 0 GET /part HTTP/1.1", "400 0 GET /par", "200 2 GET /whole HTTP/1.1"]
    wait_for(lambda: proxy.log().count("client prematurely closed connection while reading client request") == 2,
             what="the error log")


def test_a_cycle_of_maps_is_logged(simple):
    proxy = simple(http="map $one $two { default $one; } map $two $one { default $two; }",
                   server="location = /cycle { return 200 [$one]; }")
    assert proxy.fetch("/cycle").body == b"[]"
    wait_for(lambda: 'cycle while evaluating variable "one"' in proxy.log(), 5, "a message")


def test_a_log_counts_the_chunks_of_an_upstreams_response(simple):
    proxy = simple(http="log_format own '$upstream_response_length';", server="access_log <dir>/access.log own;")
    proxy.backend.answer = reply(200, b"", [("Transfer-Encoding", "chunked")], length=False) + chunked(b"abc")
    assert proxy.fetch().body == b"abc"
    proxy.backend.answer = [
        reply(200, b"", [("Transfer-Encoding", "chunked")], length=False), b"3", 0.1, b"\r\nab", 0.1, b"c\r", 0.1, b"\n0\r\n\r\n"]
    assert proxy.fetch().body == b"abc"
    assert proxy.log_lines("access.log", 2) == ["13", "13"]


def test_a_log_counts_what_the_system_took_of_a_response(simple):
    proxy = simple(http="log_format own '$status $bytes_sent $body_bytes_sent $upstream_response_length';",
                   server="access_log <dir>/access.log own;")
    sent = []

    def program(connection):
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        # Until the client has gone.
        while True:
            connection.send(b"x" * 65536)
            sent.append(65536)

    def is_stalled():
        before = len(sent)
        time.sleep(0.3)
        return before == len(sent) > 0

    proxy.backend.program = program
    with Client(proxy.port, receive_buffer=65536, timeout=30) as client:
        client.request()
        head = len(client.read_response_head().raw)
        wait_for(is_stalled, what="a response that nobody takes")
    [line] = proxy.log_lines("access.log", 1)
    status, all_bytes, body, received = map(int, line.split())
    # The rest was read of the upstream, but never taken by the system.
    assert status == 200 and 0 < body < received and all_bytes == head + body


def test_a_log_of_a_map_of_what_is_sent(simple):
    proxy = simple(
        location="add_header X-Kind $kind;",
        http="map $sent_http_content_type $kind { default other; ~image/ picture; } log_format own '$kind';",
        server="access_log <dir>/access.log own;")
    for number, (media_type, kind) in enumerate([("image/png", "picture"), ("text/plain", "other")], 1):
        proxy.backend.answer = reply(200, b"", [("Content-Type", media_type)])
        assert proxy.fetch().get("x-kind") == kind
        assert proxy.log_lines("access.log", number)[-1] == kind


KNOWN = b"Host: a.test\r\nUser-Agent: agent\r\n"


@pytest.mark.parametrize("head, logged", [
    (b"GET /x?y HTTP/1.1\r\n" + KNOWN + b"X-A : 1\r\nX-B: 1\r\n\r\n", "GET /x?y a.test agent - -"),
    (b"GET /x?y HTTP/1.1\r\n" + KNOWN + b"X-B: 1\r\nHost: b.test\r\n\r\n", "GET /x?y a.test agent 1 -"),
    (b"\r\nGET /x?y HTTP/1.1\r\nUser-Agent: agent\r\n\r\n", "GET /x?y - agent - -"),
    (b"POST /x HTTP/1.1\r\n" + KNOWN + b"Content-Length: 3x\r\n\r\n", "POST /x a.test agent - -"),
    (b"GET /x HTTP/1.1\r\n" + KNOWN + b"X-A: " + b"a" * 9000 + b"\r\n\r\n", "GET /x a.test agent - -"),
    (b"get /x HTTP/1.1\r\n" + KNOWN + b"\r\n", "- - - - - -")])
def test_a_log_of_what_is_known_of_refused_requests(simple, head, logged):
    proxy = simple(
        http="log_format own '$request_method $request_uri $http_host $http_user_agent $http_x_b $http_x_a"
        " $connection_requests $status';", server="access_log <dir>/access.log own;")
    with Client(proxy.port) as client:
        client.fetch("/")
        client.send(head)
        assert client.read_response().status == 400
    assert proxy.log_lines("access.log", 2)[1] == logged + " 2 400"


def test_an_error_page_gets_what_is_known_of_a_refused_request(simple):
    proxy = simple(server="error_page 400 /bad; location = /bad { proxy_pass http://<backend>/page; }")
    with Client(proxy.port) as client:
        client.send(b"POST /x HTTP/1.1\r\n" + KNOWN + b"Connection: X-B\r\nContent-Length: 3\r\nX-B: 1\r\nContent-Length: 4\r\n\r\nabc")
        assert client.read_response().status == 400
    [request] = proxy.backend.requests
    assert (request.target, request.get("user-agent"), request.body) == ("/page", "agent", b"")
    assert request.get("content-length") in (None, "0") and not request.get("transfer-encoding")


def test_a_log_of_requests_that_no_upstream_was_asked_for(proxy):
    with NameServer() as server:
        made = proxy("""
            log_format own '$uri $status $upstream_addr $upstream_status $upstream_response_time';
            upstream down { server 127.0.0.1:<dead> down; server 127.0.0.1:<dead> backup down; }
            server {
                listen 127.0.0.1:<port>;
                access_log <dir>/access.log own;
                location /empty { set $to ""; proxy_pass http://$to; }
                location /unresolved { set $to absent.test; proxy_pass http://$to; resolver <dns> ipv6=off; }
                location /no-resolver { set $to absent.test; proxy_pass http://$to; }
                location /down { proxy_pass http://down; }
            }""", values={"dns": server, "dead": ports.free_port()})
        targets = ["/empty", "/unresolved", "/no-resolver", "/down"]
        statuses = [made.fetch(target).status for target in targets]
        assert made.log_lines("access.log", 4) == [
            f"/empty {statuses[0]} - - -", "/unresolved 502 - - -", "/no-resolver 502 - - -",
            "/down 502 down 502 0.000"]


def test_names_are_asked_of_the_resolver_and_their_addresses_take_turns(proxy, backend):
    with NameServer({"two.test": ["127.0.0.1", "127.0.0.9"], "localhost": ["127.0.0.1"]}) as server:
        made = proxy("""
            log_format own '$uri $status $upstream_addr';
            server {
                listen 127.0.0.1:<port>;
                access_log <dir>/access.log own;
                resolver <dns> ipv6=off;
                location /two { set $to two.test; proxy_pass http://$to:<backend_port>; }
                location /localhost { set $to localhost; proxy_pass http://$to:<backend_port>; }
                location /blanks { set $to "  "; proxy_pass http://$to:<backend_port>; }
            }""", values={"dns": server, "backend_port": backend.port})
        assert [made.fetch("/two").status for _ in range(40)] == [200] * 40
        assert made.fetch("/localhost").status == 200
        assert made.fetch("/blanks").status == 502
        assert (server.asked("two.test"), server.asked("localhost")) == (1, 1)
        lines = made.log_lines("access.log", 42)
    port = backend.port
    assert {line.split()[2].rstrip(",") for line in lines[:40]} == {f"127.0.0.1:{port}", f"127.0.0.9:{port}"}
    assert lines[40:] == [f"/localhost 200 127.0.0.1:{port}", "/blanks 502 -"]


def test_a_large_body_does_not_follow_x_accel_redirect(simple):
    """It was not kept; what asks for it by GET needs none."""
    if KIND == "nginx":
        pytest.skip("nginx writes the body to a file first")
    proxy = simple(server="""
        location /page { internal; proxy_pass http://<backend>/inner; }
        location @named { rewrite ^ /inner break; proxy_pass http://<backend>; }""")
    proxy.backend.answer = lambda request: (
        reply(200, b"inner") if request.target == "/inner"
        else reply(200, b"", [("X-Accel-Redirect", request.get("x-to"))]))
    body = b"x" * 100_000
    page = proxy.fetch(method="POST", body=body, headers=[("X-To", "/page")])
    assert (page.status, page.body) == (200, b"inner")
    assert [request.body for request in proxy.backend.requests] == [body, b""]
    assert proxy.fetch(method="POST", body=body, headers=[("X-To", "@named")]).status == 502


@pytest.mark.parametrize("target", ["elsewhere", "/../x", "/a/../../x", "?x", ".."])
def test_an_error_page_is_for_a_bad_x_accel_redirect(simple, target):
    proxy = simple(server="error_page 404 /page; location /page { return 200 page; }")
    proxy.backend.answer = reply(200, b"", [("X-Accel-Redirect", target)])
    response = proxy.fetch()
    assert response.status == 404 and response.text == "page"


def test_a_log_of_request_bodies(simple):
    proxy = simple(http="log_format own '$request_body|$request_length';",
                   server="access_log <dir>/access.log own;")
    with Client(proxy.port) as client:
        client.fetch("/", method="POST", body=b"a=1&b=2")
        client.fetch("/")
        client.fetch("/", method="POST", body=b"x" * 20_000)
    lines = proxy.log_lines("access.log", 3)
    assert [line.split("|")[0] for line in lines] == ["a=1&b=2", "-", "-"]
    assert [request.body for request in proxy.backend.requests] == [b"a=1&b=2", b"", b"x" * 20_000]


def test_the_body_of_a_request_that_nobody_took_is_in_the_log_where_it_was_for_an_upstream(proxy):
    made = proxy("""
        log_format own '$status|$request_body'; access_log <dir>/access.log own;
        server {
            listen 127.0.0.1:<port>;
            location / { return 200 x; }
            location /dead { proxy_pass http://127.0.0.1:<dead>; }
        }""", values={"dead": ports.free_port()})
    for target, body in [("/", b"a=1"), ("/dead", b"a=2"), ("/dead", b""), ("/dead", b"x" * 20_000)]:
        made.fetch(target, method="POST", body=body)
    assert made.log_lines("access.log", 4) == ["200|-", "502|a=2", "502|-", "502|-"]


def test_a_log_of_json(simple):
    proxy = simple(http="""log_format own escape=json '{"request":"$request","agent":"$http_user_agent"}';""",
                   server="access_log <dir>/access.log own;")
    proxy.fetch('/"\\x', headers=[("User-Agent", 'tab\there "quoted"')])
    [line] = proxy.log_lines("access.log", 1)
    assert json.loads(line) == {"request": 'GET /"\\x HTTP/1.1', "agent": 'tab\there "quoted"'}


def test_a_log_under_a_condition(simple):
    proxy = simple(http="map $status $is_loud { ~^[23] 0; default 1; }",
                   server="access_log <dir>/access.log combined if=$is_loud;")
    proxy.fetch("/quiet")
    proxy.backend.answer = reply(500)
    proxy.fetch("/loud")
    [line] = proxy.log_lines("access.log", 1)
    assert "/loud" in line


def test_a_buffered_log_is_written_in_time(simple):
    proxy = simple(server="access_log <dir>/access.log combined buffer=64k flush=1s;")
    proxy.fetch()
    assert proxy.log("access.log") == ""
    assert len(proxy.log_lines("access.log", 1, 4)) == 1


def test_a_buffered_log_is_written_at_the_end(simple):
    proxy = simple(server="access_log <dir>/access.log combined buffer=64k;")
    for _ in range(3):
        proxy.fetch()
    assert proxy.log("access.log") == ""
    proxy.stop()
    assert proxy.log("access.log").count("\n") == 3


def test_a_buffered_log_is_written_when_full(simple):
    proxy = simple(server="access_log <dir>/access.log combined buffer=1k;")
    for number in range(40):
        proxy.fetch(f"/{number}")
    wait_for(lambda: proxy.log("access.log"), what="a full buffer's lines")
    assert all(COMBINED.fullmatch(line) for line in proxy.log("access.log").splitlines())


def test_lines_of_a_file_stay_in_order_where_one_of_its_logs_is_buffered(simple):
    proxy = simple(http="log_format short $uri;",
                   server="access_log <dir>/access.log short; location /b { return 200; access_log <dir>/access.log short buffer=64k; }")
    for target in ("/b", "/a", "/b", "/a"):
        proxy.fetch(target)
    assert proxy.log("access.log") == ""
    proxy.stop()
    assert proxy.log("access.log").split() == ["/b", "/a", "/b", "/a"]


def test_several_logs_and_none(proxy):
    made = proxy(
        "log_format short $uri; access_log <dir>/outer.log short; server { listen 127.0.0.1:<port>;"
        " location / { return 200; } location /off { access_log off; return 200; }"
        " location /own { access_log <dir>/one.log short; access_log <dir>/two.log short; return 200; } }")
    for target in ("/outer", "/off", "/own"):
        made.fetch(target)
    assert made.log_lines("one.log", 1) == made.log_lines("two.log", 1) == ["/own"]
    assert made.log_lines("outer.log", 1) == ["/outer"]


def test_a_refused_request_is_logged(simple):
    proxy = simple(server="access_log <dir>/access.log;")
    with Client(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.read_response().status == 400
    [line] = proxy.log_lines("access.log", 1)
    assert " 400 " in line


# MARK: Names


def by_name(proxy, server, name, extra="", **rest):
    return proxy(
        f"resolver {server} {extra}; server {{ listen 127.0.0.1:<port>; location / {{"
        f" set $name {name}; proxy_pass http://$name:<behind>; }} }}", **rest)


def test_a_name_in_a_variable_is_resolved(proxy, backend):
    with NameServer({"app.internal.test": ["127.0.0.1"]}) as server:
        made = by_name(proxy, server, "app.internal.test", "ipv6=off", values={"behind": backend.port})
        assert [made.fetch().status for _ in range(5)] == [200] * 5
        assert server.asked("app.internal.test") == 1, "the answer is kept for its time to live"
    assert backend.requests[0].get("host") == f"app.internal.test:{backend.port}"


def test_valid_overrides_the_time_to_live(proxy):
    port = ports.free_port()
    with Backend(answer=reply(200, b"one"), host="127.0.0.1", port=port), Backend(
            answer=reply(200, b"two"), host="127.0.0.2", port=port):
        with NameServer({"moving.test": ["127.0.0.1"]}, ttl=3600) as server:
            made = by_name(proxy, server, "moving.test", "valid=1s ipv6=off", values={"behind": port})
            assert made.fetch().text == "one"
            server.records["moving.test"] = ["127.0.0.2"]
            wait_for(lambda: made.fetch().text == "two", 6, "the new address")


def test_a_name_that_does_not_exist_is_a_502(proxy):
    with NameServer() as server:
        made = by_name(proxy, server, "absent.test", "ipv6=off", values={"behind": 1})
        assert made.fetch().status == 502


@pytest.mark.clocked
def test_resolver_timeout(proxy):
    with NameServer({"silent.test": None}) as server:
        made = by_name(proxy, server, "silent.test", "ipv6=off; resolver_timeout 1s", values={"behind": 1})
        response, seconds = elapsed(made.fetch)
        assert response.status == 502 and 0.8 < seconds < 4


@pytest.mark.clocked
def test_a_slow_name_does_not_block_others(proxy, backend):
    with NameServer({"silent.test": None}) as server:
        made = proxy(
            f"resolver {server} ipv6=off; resolver_timeout 3s; server {{ listen 127.0.0.1:<port>;"
            " location /slow { set $name silent.test; proxy_pass http://$name; }"
            " location / { proxy_pass http://<backend>; } }", values={"backend": backend})
        with Client(made.port) as slow:
            slow.request("/slow")
            wait_for(lambda: server.asked("silent.test"), what="the question")
            _, seconds = elapsed(lambda: [made.fetch().status for _ in range(20)])
            assert seconds < 2


# MARK: Status and metrics


def test_stub_status(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; location / { return 200; } location /status { stub_status; } }")
    for _ in range(3):
        made.fetch("/")
    with Client(made.port) as idle:
        idle.fetch("/")
        response = made.fetch("/status")
    match = re.fullmatch(
        r"Active connections: (\d+) \nserver accepts handled requests\n (\d+) (\d+) (\d+) \n"
        r"Reading: (\d+) Writing: (\d+) Waiting: (\d+) \n", response.text)
    assert [int(number) for number in match.groups()] == [2, 5, 5, 5, 0, 1, 1]
    assert response.get("content-type") == "text/plain"


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse_metrics(text):
    """The samples of Prometheus's text format 0.0.4, by name and labels; refuses what breaks its rules."""
    types, helps, samples, closed, current = {}, set(), {}, set(), None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helps, f"{name} has two HELP lines"
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types and kind in ("counter", "gauge", "histogram")
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            name, labels, value = match.groups()
            family = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
            assert family in types and family in helps, f"{name} has no HELP and TYPE before it"
            if family != current:
                assert family not in closed, f"{family}'s samples do not stand together"
                closed.add(family)
                current = family
            pairs = tuple(sorted(LABEL.findall(labels or "")))
            assert "".join(f'{key}="{value}",' for key, value in LABEL.findall(labels or ""))[:-1] == (labels or "").rstrip(",")
            assert (name, pairs) not in samples, f"{line} stands twice"
            samples[name, pairs] = float(value)
            if types[family] == "counter":
                assert name.endswith("_total") and float(value) >= 0
    for family, kind in types.items():
        if kind == "histogram":
            check_histogram(family, samples)
    return types, samples


def check_histogram(family, samples):
    series = {}
    for (name, labels), value in samples.items():
        if name == family + "_bucket":
            rest = tuple(pair for pair in labels if pair[0] != "le")
            bound = dict(labels)["le"]
            series.setdefault(rest, []).append((math.inf if bound == "+Inf" else float(bound), value))
    for labels, buckets in series.items():
        buckets.sort()
        assert buckets[-1][0] == math.inf
        assert [count for _, count in buckets] == sorted(count for _, count in buckets), f"{family} is not cumulative"
        assert samples[family + "_count", labels] == buckets[-1][1]
        assert samples[family + "_sum", labels] >= 0


METRICS = """
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
upstream "odd-name" { server <backend>; }
server {
    listen 127.0.0.1:<port>;
    location / {
        proxy_pass http://odd-name; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }
    location /metrics { prometheus_metrics; }
}
"""


@pytest.mark.switchyard_only
def test_metrics_are_well_formed_and_count(proxy, backend):
    made = proxy(METRICS, values={"backend": backend})
    response = made.fetch("/metrics")
    assert response.get("content-type").startswith("text/plain; version=0.0.4")
    types, before = parse_metrics(response.text)
    assert set(types.values()) == {"counter", "gauge", "histogram"}
    for _ in range(7):
        made.fetch("/x")
    backend.answer = reply(503)
    made.fetch("/y")
    looks = 0
    after = {}

    def grown(pattern):
        return {key: after[key] - before.get(key, 0) for key in after if re.search(pattern, str(key))}

    def is_counted():
        """An exchange is counted when it has ended, which may be after its client has the response."""
        nonlocal looks, after
        looks += 1
        _, after = parse_metrics(made.fetch("/metrics").text)
        return any(value == 1 for value in grown(r"5xx|'5\d\d'").values())

    wait_for(is_counted, what="a 503 that is counted by its class")
    # Eight, and the looks at the metrics.
    counted = range(8, 9 + looks)
    assert any(value in counted for value in grown(r"requests_total").values()), "requests are counted"
    assert any(value in counted for value in grown(r"seconds_count").values()), "durations are observed"
    assert any("odd-name" in str(key) for key in after), "upstreams have their own samples"


@pytest.mark.switchyard_only
def test_metrics_follow_a_tunnel(proxy, backend):
    made = proxy(METRICS, values={"backend": backend})

    def program(connection):
        request = connection.next_request()
        connection.send(switching(request.get("sec-websocket-key")))
        while connection.fill():
            connection.send(bytes(connection.buffer))
            connection.buffer.clear()

    backend.program = program

    def tunnels():
        types, samples = parse_metrics(made.fetch("/metrics").text)
        return sum(value for (name, _), value in samples.items() if "tunnel" in name and types.get(name) == "gauge")

    assert tunnels() == 0
    with Client(made.port) as client:
        client.send(handshake())
        assert client.read_response_head().status == 101
        client.send(b"x" * 1000)
        client.read_exactly(1000)
        wait_for(lambda: tunnels() == 1, what="one open tunnel")
    wait_for(lambda: tunnels() == 0, what="no open tunnel")
    _, samples = parse_metrics(made.fetch("/metrics").text)
    assert any("tunnel" in name and "bytes" in name and value >= 1000 for (name, _), value in samples.items())


# MARK: Clients that others wrote


@pytest.fixture
def tools(proxy, backend):
    """A proxy's URL before a backend with kept connections."""
    backend.answer = lambda request: reply(200, request.body or b"hello\n", [("Content-Type", "text/plain")])
    made = proxy(
        'upstream u { server <backend>; keepalive 16; } server { listen 127.0.0.1:<port>; client_max_body_size 0;'
        ' location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; } }',
        values={"backend": backend})
    return f"http://127.0.0.1:{made.port}"


def run_tool(*command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# Regular expressions that are given up


@pytest.mark.parametrize("path", ["/location/", "/if/", "/rewrite/", "/not/"])
def test_a_rule_that_is_given_up_is_not_passed_by(proxy, backend, path):
    made = proxy("""
        server {
            listen 127.0.0.1:<port>;
            location ~ ^/location/(a+)+$ { return 403; }
            location / {
                if ($uri ~ ^/if/(a+)+$) { return 403; }
                if ($uri !~ ^(?!/not/)|^/not/(a+)+$) { return 403; }
                rewrite ^/rewrite/(a+)+$ /elsewhere;
                proxy_pass http://<backend>;
            }
        }
    """, values={"backend": backend})
    text = path + "a" * 40
    assert made.fetch(text + "!").status == 500
    assert not backend.requests
    assert made.fetch("/other").status == 200
    assert made.fetch(text).status == (403 if path in ("/location/", "/if/") else 200)


@pytest.mark.switchyard_only
def test_what_could_not_be_found_out_is_logged(proxy, backend):
    made = proxy("""
        map $arg_q $kind { default none; ~^(a+)+$ all; }
        server {
            listen 127.0.0.1:<port>;
            location / { add_header X-Kind $kind; proxy_pass http://<backend>; }
            location /cycle { rewrite ^ /cycle?again; }
        }
        server {
            listen 127.0.0.1:<port>; server_name ~^(?<all>(b+)+)$;
            location / { return 200 "$all"; }
        }
    """, values={"backend": backend})
    assert made.fetch("/?q=aa").get("X-Kind") == "all"
    assert made.fetch("/?q=" + "a" * 40 + "!").get("X-Kind") == "none"
    wait_for(lambda: 'expression "^(a+)+$" was given up' in made.log(), 2, "the fault of a map in the log")
    assert made.fetch("/", headers=[("Host", "bb")]).text == "bb"
    assert made.fetch("/", headers=[("Host", "b" * 40 + "-")]).status == 500
    assert 'expression "^(?<all>(b+)+)$" was given up' in made.log()
    assert made.fetch("/cycle").status == 500
    assert 'redirection cycle while processing "/cycle"' in made.log()


def test_curl(tools, tmp_path):
    assert run_tool("curl", "-sSf", tools + "/x", tools + "/y") == "hello\nhello\n"
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 20000)
    for extra in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        run_tool("curl", "-sSf", "-o", str(tmp_path / "back"), *extra, "--data-binary", f"@{upload}", tools + "/echo")
        assert (tmp_path / "back").read_bytes() == upload.read_bytes()
    assert "200" in run_tool("curl", "-sS", "-I", tools).split("\n")[0]
    assert run_tool("curl", "-sSf", "--http1.0", tools) == "hello\n"


def test_httpx(tools):
    with httpx.Client(base_url=tools) as client:
        assert [client.get(f"/{n}").text for n in range(20)] == ["hello\n"] * 20
        assert client.post("/", content=b"x" * 500000).content == b"x" * 500000
        assert client.post("/", content=iter([b"one", b"two"])).text == "onetwo"
        assert client.head("/").status_code == 200


def test_h2load(tools):
    output = run_tool("h2load", "--h1", "-n", "2000", "-c", "10", "-m", "4", tools + "/")
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in output
    assert "status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx" in output


def test_wrk(tools):
    output = run_tool("wrk", "-t", "1", "-c", "8", "-d", "2s", tools + "/")
    assert "Socket errors" not in output and "Non-2xx" not in output
    assert int(re.search(r"(\d+) requests in", output)[1]) > 100


def test_refusals_are_in_the_error_log(simple):
    """In that of the location which refuses, whatever an error page leads to."""
    proxy = simple(
        server="location /denied { deny all; }"
        "location /own { error_log <dir>/own.log; error_page 403 = @page; deny all; }"
        "location @page { error_log <dir>/page.log; return 200 page; }"
        "location /quiet { error_log <dir>/quiet.log crit; deny all; }"
        "location /gets { limit_except GET { deny all; } proxy_pass http://<backend>; }"
        "location /small { client_max_body_size 1; proxy_pass http://<backend>; }")
    for path in ("/denied", "/own", "/quiet"):
        proxy.fetch(path)
    proxy.fetch("/gets", method="POST", headers=[("Content-Length", "0")])
    proxy.fetch("/small", method="POST", body=b"12345")
    proxy.fetch("/fields", headers=[("X_Odd", "a b"), ("X-Plain", "c"), ("X.Odd", "")])
    proxy.fetch("/trace", method="TRACE")
    with Client(proxy.port) as client:
        client.send(b"GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 400

    def said(name="error.log"):
        return [line for line in proxy.log(name).splitlines() if "client: 127.0.0.1" in line and "recv()" not in line]

    wait_for(lambda: len(said()) >= 7, 5, "lines of the error log")
    for line, (level, text, request) in zip(said(), [
        ("error", "access forbidden by rule", "GET /denied"),
        ("error", "access forbidden by rule", "POST /gets"),
        ("error", "client intended to send too large body: 5 bytes", "POST /small"),
        ("info", 'client sent invalid header line: "X_Odd: a b" while reading client request headers', "GET /fields"),
        ("info", 'client sent invalid header line: "X.Odd: " while reading client request headers', "GET /fields"),
        ("info", "client sent TRACE method while reading client request headers", "TRACE /trace"),
        ("info", "client sent invalid request while reading client request line", "GET /a%zz"),
    ], strict=True):
        assert re.search(rf'\[{level}\] \S+ \*\d+ {re.escape(text)}, client: .*, request: "{re.escape(request)} HTTP', line)
    assert ["forbidden by rule" in line for line in said("own.log")] == [True]
    assert said("page.log") == said("quiet.log") == []


def test_broken_messages_are_told_of_in_words(simple):
    proxy = simple("proxy_next_upstream off;")

    def send(head, rest=b""):
        with Client(proxy.port) as client:
            client.send(head + b"\r\n" + rest)
            return client.read_response().status

    assert send(b"GET / HTTP/1.1\r\nHost: a\r\nX y: 1\r\n") == 400
    assert send(b"GET / HTTP/1.1\r\n") == 400
    assert send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n") == 400
    assert send(b"GET / HTTP/5.0\r\n") == 505
    assert send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"zz\r\n") == 400
    proxy.backend.answer = [b"HTTP/1.1 200 OK\r\nbad\x01 x\r\n\r\n", CLOSE]
    assert send(b"GET / HTTP/1.1\r\nHost: a\r\n") == 502
    texts = [
        'client sent invalid header line: "X',
        'client sent HTTP/1.1 request without "Host" header while reading client request headers, ',
        'client sent duplicate header line: "Content-Length: 1"',
        "client sent invalid version while reading client request line, ",
        "client sent invalid chunked body",
        'upstream sent invalid header: "bad\\x01..." while reading response header from upstream, ',
    ]
    wait_for(lambda: texts[-1] in proxy.log(), 5, "the last line")
    assert [proxy.log().count(text) for text in texts] == [1] * len(texts)
