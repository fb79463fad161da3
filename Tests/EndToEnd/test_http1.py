"""HTTP/1.1 between client and backend: framing, persistence, interim responses, hop-by-hop fields."""

import re
import socket
import threading
import time

import pytest

from harness.backend import CLOSE, Backend, chunked, reply
from harness.wire import Client, Closed, wait_for, wait_until_still

KEEPALIVE = 'proxy_set_header Connection "";'
STREAM = "proxy_request_buffering off; proxy_buffering off;"


def fields_of(request, *names):
    return {name: request.get(name) for name in names}


# MARK: Persistence and pipelining


def test_a_request_reaches_the_backend_and_its_answer_the_client(simple):
    proxy = simple()
    proxy.backend.answer = reply(200, b"hello", [("X-One", "1"), ("X-Two", "2")], reason="Fine")
    response = proxy.fetch("/a/b?c=d", headers=[("X-Mine", "yes")])
    assert (response.status, response.reason, response.body) == (200, "Fine", b"hello")
    assert (response.get("x-one"), response.get("x-two")) == ("1", "2")
    [request] = proxy.backend.requests
    assert (request.method, request.target, request.version) == ("GET", "/a/b?c=d", 1)
    assert request.get("x-mine") == "yes"


def test_a_client_connection_serves_many_requests(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        for number in range(20):
            assert client.fetch(f"/{number}").body == b"ok"
    assert [r.target for r in proxy.backend.requests] == [f"/{n}" for n in range(20)]


def test_pipelined_requests_are_answered_in_order(simple):
    proxy = simple()
    proxy.backend.answer = lambda request: reply(200, request.target.encode())
    with Client(proxy.port) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(30)))
        assert [client.read_response().body for _ in range(30)] == [b"/%d" % n for n in range(30)]


def test_pipelined_requests_are_answered_in_order_over_a_kept_connection(proxy, backend):
    made = proxy(
        "upstream u { server <backend>; keepalive 2; } server { listen 127.0.0.1:<port>; location / {"
        " proxy_pass http://u; proxy_http_version 1.1; " + KEEPALIVE + " } }", values={"backend": backend})
    backend.answer = lambda request: reply(200, request.target.encode())
    with Client(made.port) as client:
        for turn in range(3):
            client.send(b"".join(b"GET /%d-%d HTTP/1.1\r\nHost: a\r\n\r\n" % (turn, n) for n in range(10)))
            assert [client.read_response().body for _ in range(10)] == [b"/%d-%d" % (turn, n) for n in range(10)]
    assert len(backend.connections) == 1


@pytest.mark.switchyard_only
@pytest.mark.parametrize("lasting, status", [(False, 200), (True, 502)])
def test_kept_connections_that_all_peers_have_closed_are_replaced(proxy, lasting, status):
    """nginx asks no peer twice. An end comes with the connections that are kept: each is used up once."""
    gate = threading.Barrier(4)
    closing = threading.Event()

    def program(connection):
        while request := connection.next_request():
            if closing.is_set() and (lasting or len(connection.requests) > 1):
                return
            if request.target == "/fill":
                gate.wait(10)
            connection.send(reply())

    with Backend(program=program) as one, Backend(program=program) as two:
        made = proxy(f"""
            upstream u {{ server <one>; server <two>; keepalive 4; }}
            server {{
                listen 127.0.0.1:<port>; location / {{ proxy_pass http://u; proxy_http_version 1.1; {KEEPALIVE} }}
            }}""", values={"one": one, "two": two})
        clients = [threading.Thread(target=made.fetch, args=("/fill",)) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        closing.set()
        assert made.fetch("/").status == status
        asked = [request.target for request in one.requests + two.requests].count("/")
    assert 2 <= asked <= 6


@pytest.mark.parametrize("location", ["return 200 $pipe;", "proxy_set_header X-Pipe $pipe;"])
def test_a_pipelined_request_is_known_as_one(simple, location):
    proxy = simple(location=location)
    proxy.backend.answer = lambda request: reply(200, request.get("x-pipe").encode())
    with Client(proxy.port) as client:
        for number in (1, 3):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * number)
            found = [client.read_response().body.decode() for _ in range(number)]
            assert found == ["."] + ["p"] * (number - 1)


def test_a_pipelined_request_follows_a_body(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        client.send(
            b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n"
            b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [client.read_response().status for _ in range(3)] == [200, 200, 200]
    assert [(r.target, r.body) for r in proxy.backend.requests] == [
        ("/1", b"hello"), ("/2", b"world"), ("/3", b"")]


def test_a_head_may_arrive_a_byte_at_a_time(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        for byte in b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            client.send(bytes([byte]))
        assert client.read_response().status == 200
    assert proxy.backend.requests[0].body == b"abc"


def test_connection_close_from_the_client_is_obeyed(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        response = client.fetch(headers=[("Connection", "close")])
        assert response.get("connection") == "close"
        assert client.is_closed()


def test_an_http_1_0_client_gets_a_closed_connection(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        response = client.fetch(version="1.0")
        assert response.status == 200 and response.body == b"ok"
        assert client.is_closed()


def test_an_http_1_0_client_may_ask_for_keep_alive(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        for _ in range(2):
            response = client.fetch(version="1.0", headers=[("Connection", "keep-alive")])
            assert response.get("connection") == "keep-alive"
            assert response.body == b"ok"


def test_an_http_1_0_client_is_not_sent_chunks(simple):
    proxy = simple()
    proxy.backend.answer = reply(
        200, chunked(b"one", b"two"), [("Transfer-Encoding", "chunked")], length=False)
    with Client(proxy.port) as client:
        client.request(version="1.0", headers=[("Connection", "keep-alive")])
        response = client.read_response()
        assert "transfer-encoding" not in response
        assert response.body == b"onetwo"
        assert client.is_closed()


def test_an_http_1_0_request_needs_no_host(simple):
    proxy = simple()
    assert proxy.fetch(version="1.0", host=None).status == 200


def test_keepalive_requests_limits_a_connection(simple):
    proxy = simple(server="keepalive_requests 3;")
    with Client(proxy.port) as client:
        assert [client.fetch().get("connection") for _ in range(3)] == ["keep-alive", "keep-alive", "close"]
        assert client.is_closed()


def test_keepalive_timeout_0_closes_after_each_request(simple):
    proxy = simple(server="keepalive_timeout 0;")
    with Client(proxy.port) as client:
        assert client.fetch().get("connection") == "close"
        assert client.is_closed()


@pytest.mark.clocked
def test_keepalive_timeout_closes_an_idle_connection(simple):
    proxy = simple(server="keepalive_timeout 1s 7s;")
    with Client(proxy.port) as client:
        assert client.fetch().get("keep-alive") == "timeout=7"
        began = time.monotonic()
        assert client.is_closed(within=4)
        assert 0.5 < time.monotonic() - began < 3


# MARK: Bodies


def test_content_length_bodies_pass_both_ways(simple):
    proxy = simple(server="client_max_body_size 0;")
    body = bytes(range(256)) * 4096
    proxy.backend.answer = lambda request: reply(200, request.body)
    response = proxy.fetch("/", method="POST", body=body)
    assert response.body == body
    [request] = proxy.backend.requests
    assert request.body == body and request.get("content-length") == str(len(body))


def test_a_chunked_request_body_reaches_the_backend_whole(simple):
    proxy = simple(STREAM)
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Transfer-Encoding", "chunked")])
        for part in (b"5\r\nhello\r\n", b"1;x=y\r\n \r\n", b"5\r\nwor", b"ld\r\n0\r\n", b"\r\n"):
            client.send(part)
            time.sleep(0.02)
        assert client.read_response().status == 200
    assert proxy.backend.requests[0].body == b"hello world"


def test_a_chunked_response_body_stays_chunked(simple):
    proxy = simple()
    proxy.backend.answer = reply(
        200, chunked(b"alpha", b"b" * 70000, b"c"), [("Transfer-Encoding", "chunked")], length=False)
    with Client(proxy.port) as client:
        for _ in range(2):
            response = client.fetch()
            assert response.was_chunked and "content-length" not in response
            assert response.body == b"alpha" + b"b" * 70000 + b"c"


def test_a_response_until_close_is_chunked_for_the_client(simple):
    proxy = simple()
    proxy.backend.answer = [reply(200, b"until the end", length=False), CLOSE]
    with Client(proxy.port) as client:
        response = client.fetch()
        assert response.was_chunked and response.body == b"until the end"
        assert client.fetch().body == b"until the end"


def test_response_bytes_arrive_as_the_backend_sends_them(simple):
    gate = threading.Event()

    def program(connection):
        connection.next_request()
        connection.send(reply(200, b"", [("Content-Length", "10")], length=False) + b"first")
        gate.wait(5)
        connection.send(b"later")

    proxy = simple(STREAM)
    proxy.backend.program = program
    with Client(proxy.port) as client:
        client.request()
        client.read_response_head()
        assert client.read_exactly(5) == b"first"
        gate.set()
        assert client.read_exactly(5) == b"later"


def test_request_bytes_reach_the_backend_as_the_client_sends_them(simple):
    seen = []

    def program(connection):
        connection.next_head()
        seen.append(connection.read_exactly(5))
        seen.append(connection.read_exactly(5))
        connection.send(reply())

    proxy = simple(STREAM)
    proxy.backend.program = program
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Content-Length", "10")])
        client.send(b"first")
        wait_for(lambda: seen == [b"first"], what="the first half at the backend")
        client.send(b"later")
        assert client.read_response().status == 200
    assert seen == [b"first", b"later"]


def test_a_large_response_to_a_slow_reader_is_not_held_in_memory(simple):
    size = 64 << 20
    sent = []

    def program(connection):
        connection.next_request()
        connection.sock.settimeout(30)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 65536
        for _ in range(size // len(block)):
            connection.send(block)
            sent.append(len(block))

    proxy = simple(STREAM)
    proxy.backend.program = program
    before = memory_of(proxy)
    with Client(proxy.port, receive_buffer=65536, timeout=30) as client:
        client.request()
        client.read_response_head()
        stalled = wait_until_still(lambda: sum(sent), what="the bytes sent")
        assert stalled < size / 2, "the backend was not held back"
        assert memory_of(proxy) - before < 8 << 20
        received = len(client.buffer)
        client.buffer.clear()
        while received < size:
            data = client.sock.recv(1 << 20)
            assert data
            received += len(data)
    assert received == size
    assert memory_of(proxy) - before < 8 << 20


def test_pipelined_requests_behind_the_last_lose_no_response(simple):
    made = simple(server="keepalive_requests 100; location = /text { return 200 text; }")
    with Client(made.port, timeout=10) as client:
        client.send(b"GET /text HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
        received = b"".join(iter(lambda: client.sock.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 100


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n", b"POST / HTTP/9.1\r\n\r\n"])
def test_a_refused_head_is_answered_while_more_is_sent(simple, head):
    made = simple()
    with Client(made.port, timeout=10) as client:
        for _ in range(40):
            client.send(head + b"x" * 65536)
            head = b""
            time.sleep(0.005)
        client.sock.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.sock.recv(65536), b""))
    assert re.match(rb"HTTP/1.1 (400|505) ", received)


@pytest.mark.parametrize("name", ["Authorization", "If-None-Match", "If-Modified-Since", "If-Range", "Expect"])
def test_fields_of_one_value_come_once(simple, name):
    made = simple()
    with Client(made.port) as client:
        client.request("/", headers=[(name, "100-continue"), ("X", "y"), (name.lower(), "100-continue")])
        assert client.read_response().status == 400
    assert made.backend.requests == []


def test_a_target_without_a_path_is_that_of_the_root(simple):
    made = simple()
    for target, sent in (("http://a.test?q=1", "/?q=1"), ("http://a.test", "/")):
        assert made.fetch(target).status == 200
        assert made.backend.requests[-1].target == sent


def test_named_groups_of_a_redirect(simple):
    made = simple(location=r"proxy_redirect ~^/x/(?<rest>.*)$ /named/$rest; proxy_redirect ~^/y/(.*)$ /$1$rest;")
    made.backend.answer = lambda request: reply(302, headers=[("Location", request.target)])
    assert made.fetch("/x/y?z").get("location") == f"http://test.example:{made.port}/named/y?z"
    assert made.fetch("/y/1").get("location") == f"http://test.example:{made.port}/1"


def test_a_large_request_to_a_slow_backend_is_not_held_in_memory(proxy):
    size = 64 << 20
    gate = threading.Event()
    received = []

    def program(connection):
        connection.next_head()
        gate.wait(30)
        left = size - len(connection.buffer)
        while left > 0:
            data = connection.sock.recv(1 << 20)
            if not data:
                return
            left -= len(data)
        received.append(size)
        connection.send(reply())

    with Backend(program=program, receive_buffer=65536) as backend:
        made = proxy(
            "client_max_body_size 0; server { listen 127.0.0.1:<port>; location / {"
            f" proxy_pass http://<backend>; proxy_http_version 1.1; {STREAM} }} }}",
            values={"backend": backend})
        before = memory_of(made)
        with Client(made.port, timeout=30) as client:
            client.request(method="PUT", headers=[("Content-Length", str(size))])
            sent = [0]

            def send():
                block = b"y" * 65536
                for _ in range(size // len(block)):
                    client.send(block)
                    sent[0] += len(block)

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            stalled = wait_until_still(lambda: sent[0], what="the bytes sent")
            assert stalled < size / 2, "the client was not held back"
            assert memory_of(made) - before < 8 << 20
            gate.set()
            sender.join(30)
            assert client.read_response().status == 200
            assert received == [size]


def memory_of(proxy):
    """Private bytes of the serving processes."""
    total = 0
    for pid in proxy.worker_pids:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    return total


def test_client_max_body_size_refuses_by_content_length(simple):
    proxy = simple(server="client_max_body_size 10;")
    response = proxy.fetch(method="POST", body=b"x" * 11)
    assert response.status == 413
    assert proxy.fetch(method="POST", body=b"x" * 10).status == 200
    assert [len(r.body) for r in proxy.backend.requests] == [10]


def test_client_max_body_size_refuses_a_chunked_body(simple):
    proxy = simple("proxy_request_buffering on;", server="client_max_body_size 10;")
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Transfer-Encoding", "chunked")])
        client.send(b"b\r\nhello world\r\n0\r\n\r\n")
        assert client.read_response().status == 413
        assert client.is_closed()


# MARK: HEAD, 204, 304


@pytest.mark.parametrize("extra", [[("Content-Length", "5")], [("Transfer-Encoding", "chunked")], []])
def test_a_response_to_head_has_no_body(simple, extra):
    proxy = simple(KEEPALIVE)
    proxy.backend.answer = reply(200, b"", extra, length=False)
    with Client(proxy.port) as client:
        for _ in range(3):
            response = client.fetch(method="HEAD")
            assert response.status == 200
            if extra and extra[0][0] == "Content-Length":
                assert response.get("content-length") == "5"


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_content_leaves_the_connection_in_use(simple, status):
    proxy = simple()
    proxy.backend.answer = reply(status, b"", [("ETag", '"x"')])
    with Client(proxy.port) as client:
        for _ in range(3):
            response = client.fetch()
            assert response.status == status
            assert "transfer-encoding" not in response
            assert response.get("etag") == '"x"'


def test_an_empty_body_keeps_its_length(simple):
    proxy = simple()
    proxy.backend.answer = reply(200, b"")
    with Client(proxy.port) as client:
        for _ in range(2):
            assert client.fetch().get("content-length") == "0"


# MARK: Interim responses


def test_expect_100_continue_is_answered(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Expect", "100-continue"), ("Content-Length", "5")])
        interim = client.read_until(b"\r\n\r\n")
        assert interim.startswith(b"HTTP/1.1 100 ")
        client.send(b"hello")
        assert client.read_response().status == 200
    [request] = proxy.backend.requests
    assert request.body == b"hello"


def test_expect_is_refused_without_100_when_the_body_is_too_large(simple):
    proxy = simple(server="client_max_body_size 3;")
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Expect", "100-continue"), ("Content-Length", "5")])
        response = client.read_response()
        assert response.status == 413 and response.interim == []


def test_expect_from_http_1_0_is_not_answered_with_100(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        client.request(
            method="POST", version="1.0", headers=[("Expect", "100-continue"), ("Content-Length", "2")])
        client.send(b"hi")
        response = client.read_response()
        assert response.status == 200 and response.interim == []


def test_a_backends_100_is_not_taken_for_the_answer(simple):
    proxy = simple()
    proxy.backend.answer = b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, b"final")
    response = proxy.fetch(method="POST", body=b"data")
    assert response.status == 200 and response.body == b"final"


@pytest.mark.switchyard_only
def test_a_103_is_passed_on(simple):
    proxy = simple()
    proxy.backend.answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + reply()
    with Client(proxy.port) as client:
        for _ in range(2):
            response = client.fetch()
            assert response.status == 200
            assert [(i.status, i.get("link")) for i in response.interim] == [(103, "</a.css>; rel=preload")]


@pytest.mark.switchyard_only
def test_a_103_is_not_sent_to_an_http_1_0_client(simple):
    proxy = simple()
    proxy.backend.answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + reply()
    response = proxy.fetch(version="1.0")
    assert response.status == 200 and response.interim == []


@pytest.mark.switchyard_only
def test_several_interim_responses_precede_the_final_one(simple):
    proxy = simple()
    proxy.backend.answer = [
        b"HTTP/1.1 102 Processing\r\n\r\n", 0.05, b"HTTP/1.1 103 Early Hints\r\nLink: <b>\r\n\r\n", 0.05, reply()]
    response = proxy.fetch()
    assert [i.status for i in response.interim] == [102, 103]
    assert response.body == b"ok"


@pytest.mark.switchyard_only
def test_endless_interim_responses_are_a_502(simple):
    proxy = simple()
    proxy.backend.answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000 + reply()
    with Client(proxy.port) as client:
        client.request()
        try:
            assert client.read_response().status == 502
        except Closed:
            pass


# MARK: Trailers


@pytest.mark.switchyard_only
def test_response_trailers_are_passed_on(simple):
    proxy = simple()
    proxy.backend.answer = reply(
        200, chunked(b"body", trailers=[("X-Sum", "42")]),
        [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")], length=False)
    with Client(proxy.port) as client:
        for _ in range(2):
            response = client.fetch(headers=[("TE", "trailers")])
            assert response.body == b"body"
            assert response.trailers == [(b"X-Sum", b"42")]


@pytest.mark.switchyard_only
def test_request_trailers_that_bear_on_framing_or_routing_are_not_passed_on(simple):
    proxy = simple(STREAM)
    with Client(proxy.port) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhi\r\n0\r\nContent-Length: 7\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n")
        status = client.read_response().status
    assert status in (200, 400)
    for request in proxy.backend.requests:
        assert not {n.lower() for n, _ in request.trailers} & {b"content-length", b"host", b"transfer-encoding"}


def test_trailers_do_not_disturb_the_next_request(simple):
    proxy = simple()
    with Client(proxy.port) as client:
        client.send(
            b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n"
            b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [client.read_response().status for _ in range(2)] == [200, 200]
    assert [(r.target, r.body) for r in proxy.backend.requests] == [("/1", b"hi"), ("/2", b"")]


def test_add_trailer_is_sent_after_a_chunked_body(simple):
    proxy = simple("add_trailer X-Late $upstream_status;")
    proxy.backend.answer = reply(
        200, chunked(b"body"), [("Transfer-Encoding", "chunked")], length=False)
    assert proxy.fetch().trailers == [(b"X-Late", b"200")]


# MARK: Early responses and half-close


def test_a_response_before_the_end_of_the_request_body_reaches_the_client(simple):
    def program(connection):
        connection.next_head()
        connection.send(reply(403, b"no need", [("Connection", "close")]))
        time.sleep(0.2)

    proxy = simple(STREAM)
    proxy.backend.program = program
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Content-Length", "100000")])
        client.send(b"only a part")
        response = client.read_response()
        assert (response.status, response.body) == (403, b"no need")


def test_a_connection_is_not_reused_after_an_early_response(simple):
    """What is left of the body must not be read as a request."""

    def program(connection):
        connection.next_head()
        connection.send(reply(403, b"no"))
        connection.read_rest()

    proxy = simple(STREAM)
    proxy.backend.program = program
    with Client(proxy.port) as client:
        client.request(method="POST", headers=[("Content-Length", "1000")])
        assert client.read_response().status == 403
        client.send(b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n")
        client.finish()
        rest = client.read_rest()
        assert b"/inner" not in rest and b"HTTP/1.1 2" not in rest
    assert len(proxy.backend.requests) == 1


def test_a_client_may_half_close_after_its_request(simple):
    proxy = simple(STREAM + "proxy_ignore_client_abort on;")
    proxy.backend.answer = [0.2, reply(200, b"after all")]
    with Client(proxy.port) as client:
        client.request(headers=[("Connection", "close")])
        client.finish()
        assert client.read_response().body == b"after all"


def test_a_backend_may_close_right_after_its_answer(simple):
    proxy = simple(KEEPALIVE)
    proxy.backend.answer = [reply(200, b"x" * 300000), CLOSE]
    with Client(proxy.port) as client:
        for _ in range(5):
            assert len(client.fetch().body) == 300000


def test_a_truncated_response_closes_the_client_connection(simple):
    proxy = simple(STREAM)
    proxy.backend.answer = [reply(200, b"short", [("Content-Length", "100")], length=False), CLOSE]
    with Client(proxy.port) as client:
        client.request()
        client.read_response_head()
        assert client.read_to_the_end() == b"short"


def test_a_truncated_chunked_response_is_not_ended_properly(simple):
    proxy = simple(STREAM)
    proxy.backend.answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 0.05, CLOSE]
    with Client(proxy.port) as client:
        client.request()
        client.read_response_head()
        assert not client.read_to_the_end().endswith(b"0\r\n\r\n")


def test_a_client_that_goes_away_does_not_disturb_others(simple):
    proxy = simple(STREAM)
    proxy.backend.answer = [0.1, reply(200, b"z" * 100000)]
    for kind in ("close", "reset"):
        client = Client(proxy.port)
        client.request()
        getattr(client, kind)()
    assert len(proxy.fetch().body) == 100000
    assert proxy.is_running


# MARK: Hop-by-hop fields


def test_the_host_sent_on_is_proxy_passs(simple):
    proxy = simple()
    proxy.fetch(host="other.example:81")
    assert proxy.backend.requests[0].get("host") == str(proxy.backend)


def test_connection_close_is_sent_on_by_default(simple):
    proxy = simple()
    proxy.fetch(headers=[("Connection", "keep-alive")])
    assert proxy.backend.requests[0].get("connection") == "close"


def test_hop_by_hop_fields_of_a_request_are_removed(simple):
    proxy = simple(KEEPALIVE)
    proxy.fetch(headers=[("Keep-Alive", "timeout=5"), ("Upgrade", "foo"), ("TE", "gzip"), ("X-End", "1")])
    request = proxy.backend.requests[0]
    assert fields_of(request, "keep-alive", "upgrade", "te", "connection", "x-end") == {
        "keep-alive": None, "upgrade": None, "te": None, "connection": None, "x-end": "1"}


@pytest.mark.switchyard_only
def test_fields_nominated_by_connection_are_removed(simple):
    proxy = simple(KEEPALIVE)
    proxy.fetch(headers=[
        ("Connection", "X-Secret, keep-alive"), ("X-Secret", "1"), ("Connection", "x-other"), ("X-Other", "2"),
        ("Proxy-Connection", "keep-alive"), ("X-End", "3")])
    request = proxy.backend.requests[0]
    assert fields_of(request, "x-secret", "x-other", "proxy-connection", "connection", "x-end") == {
        "x-secret": None, "x-other": None, "proxy-connection": None, "connection": None, "x-end": "3"}


@pytest.mark.switchyard_only
def test_connection_cannot_nominate_what_frames_or_routes(simple):
    """Else a client could strip Content-Length or Host off a request (RFC 9110 §7.6.1)."""
    proxy = simple(KEEPALIVE)
    proxy.fetch(
        method="POST", body=b"body", headers=[("Connection", "content-length, host, x-forwarded-for")])
    for request in proxy.backend.requests:
        assert request.body == b"body" and "host" in request


@pytest.mark.switchyard_only
def test_fields_nominated_by_a_responses_connection_are_removed(simple):
    proxy = simple(KEEPALIVE)
    proxy.backend.answer = reply(200, b"ok", [
        ("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=9"), ("Proxy-Connection", "close"),
        ("X-End", "2")])
    response = proxy.fetch()
    assert response.get("x-end") == "2"
    for name in ("x-hop", "keep-alive", "proxy-connection"):
        assert name not in response


def test_an_unasked_upgrade_field_of_a_response_does_no_harm(simple):
    proxy = simple(KEEPALIVE)
    proxy.backend.answer = reply(200, b"ok", [("Upgrade", "h2c"), ("Connection", "upgrade")])
    with Client(proxy.port) as client:
        assert client.fetch().body == b"ok"
        assert client.fetch().body == b"ok"


def test_server_and_date_are_the_proxys_own(simple):
    proxy = simple()
    proxy.backend.answer = reply(200, b"ok", [("Server", "inner"), ("Date", "never")])
    response = proxy.fetch()
    assert response.get("server") != "inner" and len(response.values("server")) == 1
    assert response.get("date") != "never" and len(response.values("date")) == 1


def test_proxy_pass_header_shows_the_backends(simple):
    proxy = simple("proxy_pass_header Server; proxy_pass_header Date;")
    proxy.backend.answer = reply(200, b"ok", [("Server", "inner"), ("Date", "Mon, 01 Jan 2024 00:00:00 GMT")])
    response = proxy.fetch()
    assert response.get("server") == "inner"
    assert response.get("date") == "Mon, 01 Jan 2024 00:00:00 GMT"


def test_proxy_pass_header_shows_that_the_backend_has_none(simple):
    proxy = simple("proxy_pass_header Server; proxy_pass_header Date;")
    proxy.backend.answer = reply(200, b"ok")
    response = proxy.fetch()
    assert "server" not in response and "date" not in response


# MARK: Validation of responses


BAD_RESPONSES = {
    "header without colon": b"HTTP/1.1 200 OK\r\nContent-Length 0\r\n\r\n",
    "closed before the head's end": b"HTTP/1.1 200 OK\r\nContent-",
    "nothing": b"",
    "oversized head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200000 + b"\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
}
STRICT_BAD_RESPONSES = {
    "no status line": b"hello\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of letters": b"HTTP/1.1 2xx OK\r\nContent-Length: 0\r\n\r\n",
    "two content lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "length list that differs": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
    "length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
    "overflowing length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    "unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked from HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"just a body",
    "HTTP/2 in a status line": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "empty header name": b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
    "status out of range": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "control character in the reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_a_malformed_response_is_a_502(simple, name):
    proxy = simple()
    proxy.backend.answer = [BAD_RESPONSES[name], CLOSE]
    assert proxy.fetch().status == 502


@pytest.mark.switchyard_only
@pytest.mark.parametrize("name", STRICT_BAD_RESPONSES)
def test_an_ambiguous_response_is_a_502(simple, name):
    proxy = simple()
    proxy.backend.answer = [STRICT_BAD_RESPONSES[name], CLOSE]
    response = proxy.fetch()
    assert response.status == 502
    assert b"a" != response.body


def test_a_response_head_may_end_lines_with_a_bare_line_feed(simple):
    proxy = simple()
    proxy.backend.answer = b"HTTP/1.1 200 OK\nX-A: 1\nContent-Length: 2\n\nok"
    response = proxy.fetch()
    assert (response.status, response.get("x-a"), response.body) == (200, "1", b"ok")


def test_a_response_may_arrive_a_byte_at_a_time(simple):
    def program(connection):
        connection.next_request()
        for byte in reply(200, chunked(b"abc", b"de"), [("Transfer-Encoding", "chunked")], length=False):
            connection.send(bytes([byte]))

    proxy = simple()
    proxy.backend.program = program
    assert proxy.fetch().body == b"abcde"


@pytest.mark.switchyard_only
@pytest.mark.parametrize("body", [
    b"zz\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"-1\r\n\r\n",
    b"fffffffffffffffff\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n"])
def test_bad_chunk_framing_in_a_response_never_ends_properly(simple, body):
    proxy = simple(STREAM)
    proxy.backend.answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, 0.05, CLOSE]
    with Client(proxy.port) as client:
        client.request()
        response = client.read_response_head()
        rest = client.read_to_the_end()
        assert response.status == 502 or not rest.endswith(b"0\r\n\r\n")


# MARK: Addresses


def test_a_backend_on_a_unix_socket(proxy, tmp_path):
    with Backend(path=str(tmp_path / "b.sock")) as backend:
        tmp_path.chmod(0o755)
        made = proxy(
            "server { listen 127.0.0.1:<port>; location / { proxy_pass http://unix:<path>:/in/; } }",
            values={"path": backend.path})
        assert made.fetch("/x").body == b"ok"
        assert backend.requests[0].target == "/in/x"


def test_listening_on_a_unix_socket(proxy, backend):
    made = proxy(
        "server { listen 127.0.0.1:<port>; listen unix:<dir>/in.sock; location / { proxy_pass http://<backend>;"
        ' proxy_set_header X-Addr "$remote_addr $server_addr"; } }', values={"backend": backend})
    path = str(made.directory / "in.sock")
    with Client(path) as client:
        assert client.fetch().body == b"ok"
    assert backend.requests[0].get("x-addr") == f"unix: unix:{path}"


def test_what_is_no_socket_is_left_where_one_is_to_be(proxy):
    made = proxy("server { listen unix:<dir>/notes.txt; }", start=False)
    path = made.directory / "notes.txt"
    path.write_text("precious")
    result = made.run()
    assert result.returncode == 1 and "98: Address already in use" in result.stderr
    assert path.read_text() == "precious"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_listening_and_connecting_over_ipv6(proxy):
    with Backend(host="::1") as backend:
        made = proxy(
            "server { listen 127.0.0.1:<port>; listen [::1]:<port>; location / { proxy_pass http://<backend>;"
            ' proxy_set_header X-Addr "$remote_addr"; } }', values={"backend": backend})
        with Client(("::1", made.port)) as client:
            assert client.fetch().body == b"ok"
        assert backend.requests[0].get("x-addr") == "::1"
        assert backend.requests[0].get("host") == str(backend)
