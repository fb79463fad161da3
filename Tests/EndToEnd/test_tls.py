"""TLS with clients, against Python's ssl, curl, and the `openssl` command."""

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

import httpx
import pytest
from websockets.sync.client import connect

from harness.backend import Backend, reply
from harness.tls import V12, V13, ask, context, facts, get, open_tls, server
from harness.websocket import WebSocketServer, frame, handshake
from harness.wire import wait_for


# Versions and kinds of keys


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_versions_and_keys(proxy, authority, rsa, ecdsa, version, kind):
    made = proxy(server(rsa if kind == "rsa" else ecdsa))
    found = facts(get(made.port, context(authority, least=version, most=version)))
    assert found["scheme"] == "https"
    assert found["https"] == "on"
    assert found["ssl_protocol"] == version.name.replace("_", ".")
    assert found["ssl_server_name"] == "localhost"
    assert found["ssl_session_reused"] == "."
    assert found["ssl_client_verify"] == "NONE"
    if version == V12:
        assert ("ECDSA" if kind == "ecdsa" else "RSA") in found["ssl_cipher"]


@pytest.mark.parametrize("ciphers,kind", [("ECDHE+aRSA", "RSA"), ("ECDHE+ECDSA", "ECDSA")])
def test_a_certificate_for_each_kind_of_key(proxy, authority, rsa, ecdsa, ciphers, kind):
    made = proxy(server(rsa, f"ssl_certificate {ecdsa}; ssl_certificate_key {ecdsa.key};"))
    found = facts(get(made.port, context(authority, most=V12, ciphers=ciphers)))
    assert kind in found["ssl_cipher"]


def test_alpn(proxy, authority, rsa):
    made = proxy(server(rsa))
    with open_tls(made.port, context(authority, protocols=["http/1.1"])) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
        assert facts(ask(sock))["ssl_alpn_protocol"] == "http/1.1"


@pytest.mark.parametrize("http2", [False, True])
def test_a_flood_of_key_updates(proxy, authority, rsa, http2):
    made = proxy(server(rsa, "http2 on; return 200;"))
    # It asks for new keys at each line that begins so, if that comes by itself.
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-tls1_3"] + ["-alpn", "h2"] * http2
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        with contextlib.suppress(BrokenPipeError):
            for _ in range(300):
                client.stdin.write(b"K\n")
                client.stdin.flush()
                time.sleep(0.01)
                if "TLS flood detected, client: 127.0.0.1" in made.log():
                    break
        wait_for(lambda: "TLS flood detected, client: 127.0.0.1" in made.log(), 5, "the log")
        with contextlib.suppress(BrokenPipeError):
            client.stdin.close()
        client.kill()


def test_curl_and_httpx(proxy, authority, rsa):
    made = proxy(server(rsa))
    url = f"https://localhost:{made.port}/"
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(authority), url, url], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("https|on|TLSv1.3") == 2
    with httpx.Client(verify=context(authority)) as client:
        for _ in range(3):
            assert client.get(url).text.startswith("https|on|")


# The recipe over TLS


async def echo(connection):
    async for message in connection:
        await connection.send(message)


RECIPE = """
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
server {
    listen 127.0.0.1:<port> ssl;
    ssl_certificate <certificate>;
    ssl_certificate_key <key>;
    location / {
        proxy_pass http://<backend>;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        <more>
    }
}
"""


@pytest.mark.parametrize(
    "more", ["", pytest.param("websocket_ping_interval 30s;", marks=pytest.mark.switchyard_only)])
def test_the_recipe_over_wss(proxy, authority, rsa, more):
    with WebSocketServer(echo) as backend:
        made = proxy(RECIPE, values={"backend": backend, "certificate": rsa, "key": rsa.key, "more": more})
        with connect(
                f"wss://localhost:{made.port}/", ssl=context(authority), max_size=None, compression=None) as sock:
            for message in ("hello", "", "x" * 70000, b"\0" * 500, os.urandom(3 << 20)):
                sock.send(message)
                assert sock.recv(20) == message


@pytest.mark.switchyard_only
@pytest.mark.parametrize("going", ["end", "end of TLS", "reset"])
def test_a_client_over_tls_that_goes_ends_the_wait_of_a_hook(proxy, authority, rsa, going):
    waiting = """message_by_lua_block {
        local guard <close> = setmetatable({}, { __close = function() sy.log.warn("<ended>") end })
        sy.log.warn("<waits>") sy.sleep(30)
    }"""
    with WebSocketServer(echo) as backend:
        made = proxy(RECIPE, values={"backend": backend, "certificate": rsa, "key": rsa.key, "more": waiting})
        sock = open_tls(made.port, context(authority))
        sock.sendall(handshake())
        assert b"101 Switching" in sock.recv(4096)
        sock.sendall(frame(b"m", masked=True))
        wait_for(lambda: "<waits>" in made.log(), 5, "a hook that waits")
        if going == "end":
            sock.shutdown(socket.SHUT_WR)
        elif going == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        else:
            sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                sock.unwrap()
            sock.close()
        wait_for(lambda: "<ended>" in made.log(), 5, "the end of the wait")


# Plain HTTP, and what is neither


def test_plain_http_on_a_port_of_tls(proxy, rsa):
    made = proxy(server(rsa))
    answer = made.fetch("/")
    assert answer.status == 400
    assert "<title>400 The plain HTTP request was sent to HTTPS port</title>" in answer.text
    assert "<center>The plain HTTP request was sent to HTTPS port</center>" in answer.text


def test_an_error_page_for_plain_http(proxy, rsa):
    made = proxy(server(rsa, "error_page 497 =301 https://$host:<port>$request_uri;"))
    answer = made.fetch("/path?query", headers=[("Host", "localhost")])
    assert answer.status == 301
    assert answer.get("location") == f"https://localhost:{made.port}/path?query"


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01", b"\x16" + b"\xff" * 600])
def test_garbage_ends_the_connection(proxy, rsa, garbage):
    made = proxy(server(rsa))
    with socket.create_connection(("127.0.0.1", made.port), 5) as sock:
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass
    wait_for(lambda: "while SSL handshaking, client: 127.0.0.1" in made.log(), 5, "a line in the log")


@pytest.mark.clocked
def test_a_handshake_that_does_not_come(proxy, rsa):
    made = proxy(server(rsa, "client_header_timeout 400ms;"))
    for start in (b"", b"\x16\x03\x01\x02\x00"):
        with socket.create_connection(("127.0.0.1", made.port), 5) as sock:
            sock.sendall(start)
            began = time.monotonic()
            assert sock.recv(100) == b""
            assert 0.2 < time.monotonic() - began < 3


def test_a_handshake_byte_by_byte(proxy, authority, rsa):
    """The client's side is kept in memory, and sent in single bytes."""
    made = proxy(server(rsa))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", made.port), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def flush():
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))

        def run(step):
            while True:
                try:
                    result = step()
                    flush()
                    return result
                except ssl.SSLWantReadError:
                    flush()
                    piece = sock.recv(3)
                    assert piece
                    incoming.write(piece)

        run(tls.do_handshake)
        run(lambda: tls.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        answer = b""
        while b"https|on" not in answer:
            answer += run(lambda: tls.read(1000))


# Ends


def test_the_server_ends_with_an_alert(proxy, authority, rsa):
    made = proxy(server(rsa))
    with open_tls(made.port, context(authority)) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := sock.recv(4096):  # an end without close_notify raises
            answer += piece
        assert b"https|on" in answer


def test_a_client_that_ends_without_an_alert(proxy, authority, rsa):
    made = proxy(server(rsa))
    for _ in range(20):
        sock = open_tls(made.port, context(authority))
        ask(sock)
        os.close(sock.detach())
    assert facts(get(made.port, context(authority)))["scheme"] == "https"
    assert "alert" not in made.log().replace("SSL alert", "")


def test_a_client_that_ends_its_side_still_gets_its_answer(proxy, authority, rsa, backend):
    backend.answer = lambda request: [0.2, reply(200, b"late")]
    made = proxy(server(rsa, "location /b { proxy_pass http://<backend>; }"), values={"backend": backend})
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context(authority, most=V13, least=V13).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", made.port), 10) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(16384))
        tls.write(b"GET /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        try:
            tls.unwrap()  # close_notify goes out, and the peer's is not waited for
        except ssl.SSLWantReadError:
            pass
        sock.sendall(outgoing.read())
        received = b""
        while piece := sock.recv(16384):
            received += piece
    assert len(received) > 200  # encrypted; that it was made says the log
    wait_for(lambda: len(backend.requests) == 1, 5, "the request")


# Bodies


def test_large_bodies_both_ways(proxy, authority, rsa, backend):
    payload = os.urandom(6 << 20)

    def answer(request):
        return reply(200, request.body)

    backend.answer = answer
    made = proxy(
        server(rsa, "client_max_body_size 0; location /b { proxy_pass http://<backend>; proxy_http_version 1.1; }"),
        values={"backend": backend})
    with httpx.Client(verify=context(authority), timeout=30) as client:
        for _ in range(2):
            answer = client.post(f"https://localhost:{made.port}/b", content=payload)
            assert answer.content == payload


def test_a_slow_reader_gets_all_of_a_large_response(proxy, authority, rsa, backend):
    payload = os.urandom(8 << 20)
    backend.answer = reply(200, payload)
    made = proxy(
        server(rsa, "location /b { proxy_pass http://<backend>; proxy_http_version 1.1; }"),
        values={"backend": backend})
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.connect(("127.0.0.1", made.port))
    with context(authority).wrap_socket(raw, server_hostname="localhost") as sock:
        sock.settimeout(20)
        sock.sendall(b"GET /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = bytearray()
        while piece := sock.recv(65536):
            received += piece
            if len(received) < 300000:
                time.sleep(0.01)
    assert bytes(received).split(b"\r\n\r\n", 1)[1] == payload


@pytest.mark.switchyard_only
def test_a_client_that_takes_nothing_does_not_fill_memory(proxy, authority, rsa):
    """Backpressure: what the client does not take is not read from the upstream."""
    sent = []

    def program(connection):
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
        connection.sock.settimeout(2)
        try:
            for _ in range(1600):
                connection.send(b"x" * 65536)
                sent.append(65536)
        except (socket.timeout, OSError):
            pass

    with Backend(program=program) as backend:
        made = proxy(
            server(rsa, "location /b { proxy_pass http://<backend>; proxy_http_version 1.1; }"),
            values={"backend": backend})
        with open_tls(made.port, context(authority)) as sock:
            sock.sendall(b"GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(1.5)
            assert sum(sent) < 40 << 20


# Many at once


def test_many_handshakes_at_once(proxy, authority, rsa):
    made = proxy(server(rsa))
    results = []

    def run():
        results.append(facts(get(made.port, context(authority)))["scheme"])

    threads = [threading.Thread(target=run) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == ["https"] * 60
