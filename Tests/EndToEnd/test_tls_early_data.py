"""Early data of TLS 1.3 (0-RTT): `openssl s_client` sends requests with its first message."""

import socket
import subprocess
import threading

import pytest

from harness import ports
from harness.backend import reply
from harness.http2 import frame, headers_frame
from harness.wire import wait_for

REQUEST = "GET /early HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def server(certificate, text="", location='return 200 "early=$ssl_early_data reused=$ssl_session_reused;";'):
    return (
        f"server {{ listen 127.0.0.1:<port> ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate.key};"
        f"ssl_early_data on; {text}\nlocation / {{ {location} }} }}\n")


class Client:
    """`openssl s_client` with a session of its own."""

    def __init__(self, port, authority, directory, *options):
        self.session = directory / "session.pem"
        self.data = directory / "early"
        self.base = ["openssl", "s_client", "-servername", "localhost", "-CAfile", str(authority), "-ign_eof", *options]
        self.port = port

    def run(self, *options, port=None, request=None, **rest):
        done = subprocess.run(
            [*self.base, "-connect", f"127.0.0.1:{port or self.port}", *map(str, options)],
            input=request.encode() if isinstance(request, str) else request or b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, **rest)
        return done.stdout.decode(errors="replace")

    def begin(self):
        text = self.run("-sess_out", self.session, request=REQUEST)
        assert "HTTP/1.1 200 " in text and self.session.exists()
        return text

    def again(self, early=REQUEST, **rest):
        self.data.write_bytes(early.encode() if isinstance(early, str) else early)
        return self.run("-sess_in", self.session, "-early_data", self.data, **rest)


class Relay:
    """Stands between client and proxy, records what the client sends, and may hold its second flight back."""

    def __init__(self, port, holds=False):
        self.target = port
        self.holds = holds
        self.may_go_on = threading.Event()
        self.port = ports.free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.flights = []
        self.answer = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        client, _ = self.listener.accept()
        with client, socket.create_connection(("127.0.0.1", self.target)) as proxy:
            threading.Thread(target=self.back, args=(proxy, client), daemon=True).start()
            # ClientHello and early data come before anything of the proxy's does.
            while data := client.recv(65536):
                if self.answer:
                    if self.holds:
                        self.may_go_on.wait(15)
                self.flights.append(data)
                try:
                    proxy.sendall(data)
                except OSError:
                    return

    def back(self, proxy, client):
        try:
            while data := proxy.recv(65536):
                self.answer += data
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.may_go_on.set()
        self.listener.close()


def held_back(client, made, **rest):
    """What the client says whose last message of the handshake comes after the response."""
    with Relay(made.port, holds=True) as relay:
        timer = threading.Timer(1.0, relay.may_go_on.set)
        timer.start()
        return client.again(port=relay.port, **rest)


def test_a_request_with_the_first_message(proxy, authority, rsa, tmp_path):
    made = proxy(server(rsa))
    client = Client(made.port, authority, tmp_path)
    text = client.begin()
    assert "early= reused=.;" in text
    assert "Max Early Data: 16384" in text
    text = held_back(client, made)
    assert "Early data was accepted" in text
    assert "early=1 reused=r;" in text


def test_it_is_off_unless_asked_for(proxy, authority, rsa, tmp_path):
    made = proxy(server(rsa).replace("ssl_early_data on;", ""))
    client = Client(made.port, authority, tmp_path)
    assert "Max Early Data: 0" in client.begin()


def test_what_follows_is_not_early(proxy, authority, rsa, tmp_path):
    made = proxy(server(rsa))
    client = Client(made.port, authority, tmp_path)
    client.begin()
    text = client.again(early=REQUEST.replace("Connection: close\r\n", ""), request=REQUEST)
    assert text.count("HTTP/1.1 200") == 2
    assert text.split("reused=r;")[1].endswith("early= ")


def test_early_data_and_an_answer_of_any_size(proxy, authority, rsa, tmp_path, backend):
    """The answer goes out before the handshake is over."""
    backend.answer = lambda request: reply(200, b"x" * 300_000 + request.body + b"end of it")
    made = proxy(
        server(rsa, location="proxy_pass http://<backend>; proxy_set_header Early-Data $ssl_early_data;"),
        values={"backend": backend})
    client = Client(made.port, authority, tmp_path)
    client.begin()
    body = "y" * 12_000
    text = held_back(client, made, early=(
        f"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"))
    assert "Early data was accepted" in text
    assert text.count("y") >= len(body)
    assert "end of it" in text
    assert backend.requests[-1].get("early-data") == "1"
    assert backend.requests[0].get("early-data") is None


def test_425_goes_to_the_client(proxy, authority, rsa, tmp_path, backend):
    """RFC 8470: an upstream that will not take the risk says so."""
    backend.answer = lambda request: reply(425 if request.get("early-data") == "1" else 200, b"what?")
    made = proxy(
        server(rsa, location="proxy_pass http://<backend>; proxy_set_header Early-Data $ssl_early_data;"),
        values={"backend": backend})
    client = Client(made.port, authority, tmp_path)
    client.begin()
    assert "HTTP/1.1 425 " in held_back(client, made)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("reloads", [False, True])
def test_it_is_taken_once(proxy, authority, rsa, tmp_path, backend, reloads):
    """What was recorded on the way is sent again; nginx takes it again."""
    made = proxy(server(rsa, location="proxy_pass http://<backend>;"), values={"backend": backend})
    client = Client(made.port, authority, tmp_path)
    client.begin()
    with Relay(made.port) as relay:
        assert "Early data was accepted" in client.again(port=relay.port)
        recorded = relay.flights
    assert len(backend.requests) == 2
    if reloads:
        made.reload()
        wait_for(lambda: "configuration 2 runs" in made.log(), 5, "the reload")
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", made.port), 5) as sock:
            sock.settimeout(2)
            for flight in recorded:
                try:
                    sock.sendall(flight)
                except OSError:
                    break
            try:
                while sock.recv(65536):
                    pass
            except OSError:
                pass
    assert len(backend.requests) == 2
    assert client.begin()


@pytest.mark.switchyard_only
def test_a_session_is_used_for_it_again_by_the_client_itself(proxy, authority, rsa, tmp_path):
    """Another ClientHello with the same ticket is no replay."""
    made = proxy(server(rsa))
    client = Client(made.port, authority, tmp_path)
    client.begin()
    for _ in range(2):
        assert "Early data was accepted" in client.again()


@pytest.mark.switchyard_only
def test_keys_of_files_are_older_than_the_process(proxy, authority, rsa, tmp_path):
    """A process that has just begun does not know what was taken before it."""
    key = tmp_path / "key"
    key.write_bytes(bytes(range(80)))
    made = proxy(server(rsa, f"ssl_session_ticket_key {key};"))
    client = Client(made.port, authority, tmp_path)
    client.begin()
    text = client.again(request=REQUEST)
    assert "Early data was rejected" in text
    assert "early= reused=r;" in text


def test_garbage_in_place_of_the_end(proxy, authority, rsa, tmp_path, backend):
    """The handshake breaks after the request has been answered; nothing else does."""
    made = proxy(server(rsa, location="proxy_pass http://<backend>;"), values={"backend": backend})
    client = Client(made.port, authority, tmp_path)
    client.begin()
    with Relay(made.port) as relay:
        client.again(port=relay.port, early=REQUEST.replace("Connection: close\r\n", ""), request=REQUEST)
        first = relay.flights[0]
    for flight in (first, first[:-20], first + b"\x17\x03\x03\x00\x10" + b"z" * 16):
        with socket.create_connection(("127.0.0.1", made.port), 5) as sock:
            sock.sendall(flight)
            sock.settimeout(0.5)
            try:
                while sock.recv(65536):
                    pass
            except OSError:
                pass
    assert client.begin()


@pytest.mark.switchyard_only
def test_a_script_that_chooses_the_certificate(proxy, authority, rsa, tmp_path):
    """The handshake waits for it with the early data behind it."""
    made = proxy(server(
        rsa, f"certificate_by_lua_block {{ sy.sleep(0.05) return {{ certificate = '{rsa}', key = '{rsa.key}' }} }}"))
    client = Client(made.port, authority, tmp_path)
    client.begin()
    assert "Early data was accepted" in client.again()


@pytest.mark.switchyard_only
def test_http2(proxy, authority, rsa, tmp_path):
    made = proxy(server(rsa, "http2 on;"))
    client = Client(made.port, authority, tmp_path, "-alpn", "h2")
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")]
    opening = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4) + headers_frame(1, fields)
        # GOAWAY, so that the connection ends.
        + frame(7, payload=bytes(8)))
    assert "early= reused=.;" in client.run("-sess_out", client.session, request=opening)
    text = held_back(client, made, early=opening)
    assert "Early data was accepted" in text
    assert "early=1 reused=r;" in text
