"""The rules of an upgrade, one test each, with both ends spoken by hand."""

import threading
import time

import pytest

from harness import ports
from harness.backend import Connection, reply
from harness.wire import Client, wait_for, wait_until_still
from harness.websocket import KEY, MAP, RECIPE, accept_key, echoing, frame, handshake, opened, switching


@pytest.fixture
def recipe(simple):
    def make(location="", http="", **rest):
        proxy = simple(RECIPE + location, http=MAP + http, **rest)
        proxy.backend.program = echoing()
        return proxy

    return make


def upgraded(proxy, data, method="GET"):
    """The response's head to a handshake's bytes."""
    with Client(proxy.port) as client:
        client.send(data)
        return client.read_response(method)


def assert_echo(client, data=b"through the tunnel"):
    client.send(data)
    assert client.read_exactly(len(data)) == data


# MARK: The handshake that passes


def test_the_tunnel_opens_and_carries_bytes_both_ways(recipe):
    proxy = recipe()
    with opened(proxy.port) as client:
        assert_echo(client)
        assert_echo(client, bytes(range(256)) * 1000)


@pytest.mark.switchyard_only
def test_an_upgrade_without_the_connection_option_is_an_ordinary_request_and_logged(simple):
    proxy = simple(RECIPE, http=MAP)
    proxy.backend.answer = reply(200, b"ok")
    with Client(proxy.port) as client:
        client.send(handshake().replace(b"Connection: Upgrade\r\n", b""))
        assert client.read_response().status == 200
    request = proxy.backend.requests[0]
    assert "upgrade" not in request
    wait_for(lambda: 'client sent "Upgrade" without "Connection: upgrade", which is not passed on' in proxy.log(), 5, "a line")


@pytest.mark.switchyard_only
@pytest.mark.parametrize("location, lacking", [
    ("proxy_http_version 1.1;", '"proxy_set_header Upgrade $http_upgrade" and "proxy_set_header Connection upgrade"'),
    ("proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;", '"proxy_set_header Connection upgrade"'),
    ("proxy_http_version 1.0;" + RECIPE, '"proxy_http_version 1.1"'),
])
def test_a_location_that_passes_no_upgrade_on_says_so_at_info(simple, location, lacking):
    proxy = simple(http=MAP, server=f"location /ws/ {{ proxy_pass http://<backend>; {location} }}")
    proxy.backend.answer = reply(404, b"no")
    with Client(proxy.port) as client:
        client.send(handshake())
        assert client.read_response().status == 404
    line = f"client asked for a WebSocket, which this location does not pass on without {lacking},"
    wait_for(lambda: line in proxy.log(), 5, "a line")
    assert proxy.log().count("client asked for a WebSocket") == 1


def test_the_client_gets_the_fields_of_the_101(recipe):
    proxy = recipe()
    with Client(proxy.port) as client:
        client.send(handshake())
        response = client.read_response_head()
    assert response.status == 101
    assert response.get("upgrade") == "websocket"
    assert response.get("connection").lower() == "upgrade"
    assert response.get("sec-websocket-accept") == accept_key()
    assert "content-length" not in response and "transfer-encoding" not in response


def test_the_backend_gets_the_handshake(recipe):
    proxy = recipe()
    with opened(proxy.port, headers=[("Sec-WebSocket-Protocol", "a, b"), ("Origin", "http://x")]):
        pass
    [request] = proxy.backend.requests
    assert request.method == "GET" and request.version == 1
    assert request.get("upgrade") == "websocket"
    assert request.get("connection") == "upgrade"
    assert request.get("sec-websocket-key") == KEY
    assert request.get("sec-websocket-version") == "13"
    assert request.get("sec-websocket-protocol") == "a, b"
    assert request.get("origin") == "http://x"


@pytest.mark.parametrize("connection", [
    "Upgrade", "upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade, keep-alive", "keep-alive,upgrade",
    "keep-alive ,\tuPgRaDe", "close, x, Upgrade"])
def test_connection_may_hold_upgrade_in_any_case_and_order(recipe, connection):
    proxy = recipe()
    with opened(proxy.port, connection=connection) as client:
        assert_echo(client)


def test_connection_may_come_in_several_fields(recipe):
    proxy = recipe()
    with opened(proxy.port, connection="keep-alive", headers=[("Connection", "Upgrade")]) as client:
        assert_echo(client)


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "WEBSOCKET"])
def test_the_protocol_is_compared_without_case(recipe, upgrade):
    proxy = recipe()
    with opened(proxy.port, upgrade=upgrade) as client:
        assert_echo(client)


def test_a_handshake_may_arrive_a_byte_at_a_time(recipe):
    proxy = recipe()
    with Client(proxy.port) as client:
        for byte in handshake():
            client.send(bytes([byte]))
        assert client.read_response_head().status == 101
        assert_echo(client)


def test_a_101_may_arrive_a_byte_at_a_time(recipe):
    proxy = recipe()

    def program(connection):
        connection.next_request()
        for byte in switching() + b"first":
            connection.send(bytes([byte]))
        connection.read_rest()

    proxy.backend.program = program
    with opened(proxy.port) as client:
        assert client.read_exactly(5) == b"first"


def test_a_handshake_may_follow_an_ordinary_request(recipe):
    proxy = recipe()

    def program(connection):
        while request := connection.next_request():
            if "sec-websocket-key" in request:
                connection.send(switching())
                connection.send(connection.read_exactly(4))
                return
            connection.send(reply())
            if request.get("connection") == "close":
                return

    proxy.backend.program = program
    with Client(proxy.port) as client:
        assert client.fetch().body == b"ok"
        client.send(handshake())
        assert client.read_response_head().status == 101
        client.send(b"echo")
        assert client.read_exactly(4) == b"echo"


def test_bytes_in_one_packet_with_the_101_are_not_lost(recipe):
    proxy = recipe()
    proxy.backend.program = echoing(switching() + frame(b"first") + frame(b"second"))
    with opened(proxy.port) as client:
        expected = frame(b"first") + frame(b"second")
        assert client.read_exactly(len(expected)) == expected
        assert_echo(client)


@pytest.mark.switchyard_only
def test_an_interim_response_may_precede_the_101(recipe):
    proxy = recipe()
    proxy.backend.program = echoing(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + switching())
    with opened(proxy.port) as client:
        assert_echo(client)


# MARK: What must not be sent before the 101


def test_nothing_is_sent_on_before_the_101(recipe):
    seen = []
    gate = threading.Event()

    def program(connection):
        connection.next_request()
        gate.wait(5)
        connection.sock.settimeout(0.3)
        try:
            connection.fill()
        except TimeoutError:
            pass
        seen.append(bytes(connection.buffer))
        connection.sock.settimeout(5)
        connection.send(switching())
        seen.append(connection.read_exactly(5))
        connection.send(b"done!")

    proxy = recipe()
    proxy.backend.program = program
    with Client(proxy.port) as client:
        client.send(handshake() + b"ea")
        time.sleep(0.1)
        client.send(b"rly")
        time.sleep(0.1)
        gate.set()
        assert client.read_response_head().status == 101
        assert client.read_exactly(5) == b"done!"
    assert seen == [b"", b"early"]


@pytest.mark.switchyard_only
def test_bytes_after_a_refused_handshake_are_never_taken_for_a_request(recipe):
    proxy = recipe()
    proxy.backend.program = lambda connection: [
        connection.send(reply(403, b"no")) for _ in iter(connection.next_request, None)]
    with Client(proxy.port) as client:
        client.send(handshake() + b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 403
        assert client.is_closed()
    assert [r.target for r in proxy.backend.requests] == ["/ws/"]


@pytest.mark.switchyard_only
def test_a_refusal_with_bytes_of_doubt_is_not_kept_for_reuse(simple):
    proxy = simple(
        RECIPE.replace("<backend>", ""), http=MAP + " upstream u { server <backend>; keepalive 4; }",
        server="location /pool { proxy_pass http://u; proxy_http_version 1.1;"
        " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop; }"
        " set $hop ''; if ($http_upgrade) { set $hop upgrade; }")

    def program(connection):
        while request := connection.next_request():
            if "upgrade" in request:
                connection.send(reply(403, b"no") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            else:
                connection.send(reply(200, b"good"))

    proxy.backend.program = program
    assert upgraded(proxy, handshake("/pool")).status == 403
    for _ in range(3):
        assert proxy.fetch("/pool").body == b"good"


def test_a_refusal_reaches_the_client_with_its_body(recipe):
    proxy = recipe()
    proxy.backend.program = echoing(reply(404, b"no such room", [("X-Why", "gone")]))
    response = upgraded(proxy, handshake())
    assert (response.status, response.body, response.get("x-why")) == (404, b"no such room", "gone")


def test_a_backends_own_426_is_passed_on(recipe):
    proxy = recipe()
    proxy.backend.program = echoing(reply(426, b"", [("Sec-WebSocket-Version", "13")]))
    response = upgraded(proxy, handshake())
    assert response.status == 426 and response.get("sec-websocket-version") == "13"


# MARK: Checks of the request


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", ["12", "8", "14", "013", "13, 8", "x", "", None])
def test_a_wrong_version_is_a_426(recipe, version):
    proxy = recipe()
    response = upgraded(proxy, handshake(version=version))
    assert response.status in ((426,) if version is not None else (400, 426))
    if response.status == 426:
        assert response.get("sec-websocket-version") == "13"
        assert response.get("upgrade", "websocket").lower() == "websocket"
    assert proxy.backend.requests == []


@pytest.mark.switchyard_only
@pytest.mark.parametrize("key", [
    None, "", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ==x",
    "dGhlIHNhbXBsZSBub25jZSE=", "!!hlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="])
def test_a_bad_key_is_a_400(recipe, key):
    proxy = recipe()
    assert upgraded(proxy, handshake(key=key)).status == 400
    assert proxy.backend.requests == []


@pytest.mark.switchyard_only
def test_a_repeated_key_is_a_400(recipe):
    proxy = recipe()
    assert upgraded(proxy, handshake(headers=[("Sec-WebSocket-Key", KEY)])).status == 400
    assert proxy.backend.requests == []


@pytest.mark.switchyard_only
@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
def test_a_handshake_of_another_method_is_refused(recipe, method):
    proxy = recipe()
    assert upgraded(proxy, handshake(method=method), method).status in (400, 405)
    assert proxy.backend.requests == []


@pytest.mark.switchyard_only
def test_a_handshake_with_a_body_does_not_open_a_tunnel(recipe):
    proxy = recipe()
    assert upgraded(proxy, handshake(headers=[("Content-Length", "3")]) + b"abc").status != 101


@pytest.mark.switchyard_only
def test_http_1_0_cannot_upgrade(recipe):
    proxy = recipe()
    with Client(proxy.port) as client:
        client.send(handshake(http="1.0"))
        assert client.read_response_head().status != 101


@pytest.mark.switchyard_only
def test_upgrade_without_connection_upgrade_asks_for_nothing(recipe):
    """RFC 9110 §7.8: Upgrade counts only when Connection names it."""
    proxy = recipe()
    response = upgraded(proxy, handshake(connection="keep-alive"))
    assert response.status == 502  # the backend answered 101 regardless


# MARK: Checks of the answer


@pytest.mark.switchyard_only
@pytest.mark.parametrize("answer", [
    switching(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="), switching(accept=""), switching(accept=accept_key() + "x"),
    switching(accept=accept_key().lower()), switching(upgrade=""), switching(connection=""),
    switching(upgrade="foo"), switching(connection="close"),
    switching(headers=[("Sec-WebSocket-Accept", accept_key())])],
    ids=["wrong accept", "no accept", "longer accept", "accept in lower case", "no Upgrade", "no Connection",
         "another protocol", "Connection: close", "accept twice"])
def test_a_wrong_101_is_a_502(recipe, answer):
    proxy = recipe()
    proxy.backend.program = echoing(answer)
    assert upgraded(proxy, handshake()).status == 502


@pytest.mark.switchyard_only
@pytest.mark.parametrize("offered, chosen", [
    ([], ["a"]), (["a, b"], ["c"]), (["a, b"], ["a, b"]), (["a"], ["A"]), (["a"], [""]), (["a, b"], ["a", "b"]),
    (["ab"], ["a"])])
def test_a_subprotocol_that_was_not_offered_is_a_502(recipe, offered, chosen):
    proxy = recipe()
    name = "Sec-WebSocket-Protocol"
    proxy.backend.program = echoing(switching(headers=[(name, value) for value in chosen]))
    assert upgraded(proxy, handshake(headers=[(name, value) for value in offered])).status == 502


@pytest.mark.parametrize("offered, chosen", [
    (["a, b"], "b"), (["a", "b"], "b"), (["a,b ,\tc"], "c"), (["a"], None)])
def test_a_subprotocol_that_was_offered_passes(recipe, offered, chosen):
    proxy = recipe()
    name = "Sec-WebSocket-Protocol"
    proxy.backend.program = echoing(switching(headers=[(name, chosen)] if chosen else []))
    with Client(proxy.port) as client:
        client.send(handshake(headers=[(name, value) for value in offered]))
        response = client.read_response_head()
        assert response.status == 101 and response.get("sec-websocket-protocol") == chosen
        assert_echo(client)


@pytest.mark.switchyard_only
def test_a_101_that_nobody_asked_for_is_a_502(recipe):
    proxy = recipe()
    response = upgraded(proxy, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert response.status == 502


@pytest.mark.switchyard_only
def test_a_101_is_a_502_where_the_configuration_does_not_pass_the_upgrade_on(simple):
    proxy = simple()
    proxy.backend.program = echoing()
    assert upgraded(proxy, handshake()).status == 502
    assert "upgrade" not in proxy.backend.requests[0]


def test_without_the_recipe_a_handshake_is_an_ordinary_request(simple):
    proxy = simple()
    response = upgraded(proxy, handshake())
    assert (response.status, response.body) == (200, b"ok")
    assert "upgrade" not in proxy.backend.requests[0]


@pytest.mark.switchyard_only
def test_the_fixed_recipe_answers_502_to_a_101_for_an_ordinary_request(simple):
    proxy = simple('proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";')
    proxy.backend.program = echoing()
    assert upgraded(proxy, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 502


def test_the_fixed_recipe_serves_ordinary_requests(simple):
    proxy = simple('proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";')
    assert proxy.fetch().body == b"ok"
    [request] = proxy.backend.requests
    assert request.get("connection") == "upgrade" and "upgrade" not in request


def test_the_map_recipe_closes_for_ordinary_requests(recipe):
    proxy = recipe()
    proxy.backend.program = Connection.serve
    assert proxy.fetch().body == b"ok"
    assert proxy.backend.requests[0].get("connection") == "close"


# MARK: Other protocols


def test_any_other_protocol_is_tunnelled_without_websocket_checks(recipe):
    proxy = recipe()
    proxy.backend.program = echoing(switching(upgrade="foo/2", accept=""))
    with opened(proxy.port, upgrade="foo/2", key=None, version=None) as client:
        assert_echo(client)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("protocol", ["h2c", "H2C", "TLS/1.0", "TLS/1.2", "foo, h2c"])
def test_h2c_and_tls_are_never_tunnelled(recipe, protocol):
    proxy = recipe()
    chosen = protocol.split(", ")[-1]
    proxy.backend.program = echoing(switching(upgrade=chosen, accept=""))
    response = upgraded(proxy, handshake(
        upgrade=protocol, key=None, version=None, headers=[("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")]))
    assert response.status != 101
    for request in proxy.backend.requests:
        assert chosen.lower() not in (request.get("upgrade") or "").lower()
        assert "http2-settings" not in request


@pytest.mark.switchyard_only
def test_proxy_upgrade_protocols_websocket_admits_no_other(recipe):
    proxy = recipe("proxy_upgrade_protocols websocket;")
    with opened(proxy.port) as client:
        assert_echo(client)
    proxy.backend.program = echoing(switching(upgrade="foo", accept=""))
    assert upgraded(proxy, handshake(upgrade="foo", key=None, version=None)).status == 502
    assert "upgrade" not in proxy.backend.requests[-1]


@pytest.mark.switchyard_only
def test_proxy_upgrade_protocols_off_never_upgrades(recipe):
    proxy = recipe("proxy_upgrade_protocols off;")
    assert upgraded(proxy, handshake()).status == 502
    assert "upgrade" not in proxy.backend.requests[-1]
    proxy.backend.program = echoing(reply(200, b"plain"))
    assert upgraded(proxy, handshake()).body == b"plain"


@pytest.mark.switchyard_only
def test_proxy_upgrade_protocols_may_list_several(recipe):
    proxy = recipe("proxy_upgrade_protocols websocket foo;")
    proxy.backend.program = echoing(switching(upgrade="FOO", accept=""))
    with opened(proxy.port, upgrade="Foo", key=None, version=None) as client:
        assert_echo(client)


# MARK: The tunnel


def test_the_tunnel_carries_what_is_no_websocket_frame(recipe):
    proxy = recipe()
    with opened(proxy.port) as client:
        assert_echo(client, b"\xff" * 1000 + b"\0" * 1000 + b"GET / HTTP/1.1\r\n\r\n")


def test_a_close_by_the_backend_closes_the_client(recipe):
    proxy = recipe()

    def program(connection):
        connection.next_request()
        connection.send(switching() + b"bye")

    proxy.backend.program = program
    with opened(proxy.port) as client:
        assert client.read_rest() == b"bye"


def test_a_close_by_the_client_closes_the_backend(recipe):
    proxy = recipe()
    client = opened(proxy.port)
    assert_echo(client)
    client.close()
    wait_for(lambda: not proxy.backend.connections[0].is_open, what="the backend's end")


def test_a_reset_by_the_client_closes_the_backend(recipe):
    proxy = recipe()
    client = opened(proxy.port)
    assert_echo(client)
    client.reset()
    wait_for(lambda: not proxy.backend.connections[0].is_open, what="the backend's end")


@pytest.mark.switchyard_only
def test_a_half_close_by_the_client_lets_the_backend_finish(recipe):
    proxy = recipe()

    def program(connection):
        connection.next_request()
        connection.send(switching())
        data = connection.read_rest()
        time.sleep(0.3)
        connection.send(b"after the end: " + data)

    proxy.backend.program = program
    with opened(proxy.port) as client:
        client.send(b"data")
        client.finish()
        assert client.read_rest() == b"after the end: data"


@pytest.mark.switchyard_only
def test_a_half_close_by_the_backend_lets_the_client_finish(recipe):
    proxy = recipe()
    got = []

    def program(connection):
        connection.next_request()
        connection.send(switching() + b"last")
        connection.finish()
        got.append(connection.read_rest())

    proxy.backend.program = program
    with opened(proxy.port) as client:
        assert client.read_rest() == b"last"
        time.sleep(0.3)
        client.send(b"still here")
        client.finish()
        wait_for(lambda: got, what="the backend's reading")
    assert got == [b"still here"]


def test_a_tunnel_holds_back_a_fast_backend(recipe):
    size = 64 << 20
    sent = [0]

    def program(connection):
        connection.next_request()
        connection.sock.settimeout(30)
        connection.send(switching())
        block = b"x" * 65536
        while sent[0] < size:
            connection.send(block)
            sent[0] += len(block)

    proxy = recipe()
    proxy.backend.program = program
    client = Client(proxy.port, receive_buffer=65536, timeout=30)
    with client:
        client.send(handshake())
        assert client.read_response_head().status == 101
        assert wait_until_still(lambda: sent[0], what="the bytes sent") < size / 2
        received = len(client.buffer)
        while received < size:
            data = client.sock.recv(1 << 20)
            assert data
            received += len(data)
    assert received == size


def test_a_tunnel_carries_megabytes_both_ways_at_once(recipe):
    proxy = recipe()
    payload = bytes(range(256)) * 65536
    with opened(proxy.port) as client:
        client.sock.settimeout(30)
        sender = threading.Thread(target=client.send, args=(payload,), daemon=True)
        sender.start()
        assert client.read_exactly(len(payload)) == payload
        sender.join(10)


@pytest.mark.clocked
def test_proxy_read_timeout_closes_a_silent_tunnel(recipe):
    proxy = recipe("proxy_read_timeout 1s;")
    with opened(proxy.port) as client:
        began = time.monotonic()
        assert client.is_closed(within=5)
        assert 0.7 < time.monotonic() - began < 3


def test_upstream_data_keeps_a_tunnel_open_past_proxy_read_timeout(recipe):
    def program(connection):
        connection.next_request()
        connection.send(switching())
        for _ in range(6):
            time.sleep(0.4)
            connection.send(b".")

    proxy = recipe("proxy_read_timeout 1s;")
    proxy.backend.program = program
    with opened(proxy.port) as client:
        assert client.read_rest() == b"......"


def test_a_client_that_reads_late_gets_everything(recipe):
    """While the client takes nothing the upstream is not read, which is no silence of its."""
    size = 16 << 20

    def program(connection):
        connection.next_request()
        connection.send(switching() + b"x" * size)
        connection.next_request()

    proxy = recipe("proxy_read_timeout 500ms;")
    proxy.backend.program = program
    with Client(proxy.port, receive_buffer=65536, timeout=20) as client:
        client.send(handshake())
        assert client.read_response_head().status == 101
        time.sleep(1.5)
        assert client.read_exactly(size) == b"x" * size


@pytest.mark.switchyard_only
@pytest.mark.clocked
def test_proxy_send_timeout_closes_a_tunnel_whose_upstream_takes_nothing(recipe):
    def program(connection):
        connection.next_request()
        connection.send(switching())
        time.sleep(5)

    proxy = recipe("proxy_send_timeout 1s;")
    proxy.backend.program = program
    with opened(proxy.port) as client:
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < 4:
                client.send(b"x" * 65536)
        assert 0.7 < time.monotonic() - began < 3
    wait_for(lambda: "upstream timed out (110: Connection timed out) while proxying upgraded" in proxy.log(), 5, "a message")


def test_a_tunnel_outlives_the_clients_timeouts(recipe):
    proxy = recipe(server="client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s; send_timeout 1s;")
    with opened(proxy.port) as client:
        time.sleep(2.2)
        assert_echo(client)


def test_the_log_counts_a_tunnels_bytes(recipe):
    proxy = recipe(
        http="log_format t '$status $bytes_sent $body_bytes_sent $upstream_status $upstream_bytes_received"
        " $upstream_bytes_sent $request_length $connection_upgrade';",
        server="access_log <dir>/t.log t;")
    with Client(proxy.port) as client:
        client.send(handshake())
        head = client.read_response_head().raw
        assert_echo(client, b"z" * 5000)
    [line] = proxy.log_lines("t.log", 1)
    status, sent, body, upstream_status, received, upstream_sent, _, mapped = line.split()
    assert (status, upstream_status, mapped) == ("101", "101", "upgrade")
    assert int(sent) == len(head) + 5000 and int(body) == 5000
    assert int(received) >= 5000 + len(switching())
    assert int(upstream_sent) >= 5000 + len(handshake()) - 50


def test_an_upgrade_through_an_upstream_block_with_keepalive(simple):
    proxy = simple(
        http=MAP + " upstream u { server <backend>; keepalive 2; }",
        server=f"location /ws/ {{ proxy_pass http://u; proxy_http_version 1.1; {RECIPE} }}")
    proxy.backend.program = echoing()
    for _ in range(3):
        with opened(proxy.port) as client:
            assert_echo(client)
    assert len(proxy.backend.connections) == 3


def test_a_tunnels_bytes_never_reach_another_request(simple):
    """The upstream connection of a finished tunnel is closed, not kept."""
    proxy = simple(
        http="upstream u { server <backend>; keepalive 2; }",
        server="location /ws/ { proxy_pass http://u; proxy_http_version 1.1;"
        ' proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; }'
        ' location /plain { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }')

    def program(connection):
        request = connection.next_request()
        if request is None:
            return
        if "upgrade" in request:
            connection.send(switching())
            while connection.fill():
                pass
            connection.finish()
        else:
            connection.send(reply(200, b"plain"))

    proxy.backend.program = program
    with opened(proxy.port) as client:
        client.send(b"GET /plain HTTP/1.1\r\n")
    assert proxy.fetch("/plain").body == b"plain"


def test_a_handshake_to_a_dead_backend_is_a_502(proxy):
    made = proxy(
        MAP + "server { listen 127.0.0.1:<port>; location / { proxy_pass http://127.0.0.1:<dead>;"
        f" proxy_http_version 1.1; {RECIPE} }} }}", values={"dead": ports.free_port()})
    assert upgraded(made, handshake()).status == 502


def test_a_handshake_moves_on_to_the_next_backend(proxy, backends):
    first = backends(program=lambda connection: connection.next_request())
    second = backends(program=echoing())
    made = proxy(
        MAP + "upstream u { server <first>; server <second>; } server { listen 127.0.0.1:<port>; location / {"
        f" proxy_pass http://u; proxy_http_version 1.1; {RECIPE} }} }}",
        values={"first": first, "second": second})
    for _ in range(2):
        with opened(made.port) as client:
            assert_echo(client)
