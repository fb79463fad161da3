"""HTTP/2 over TLS: what ALPN chooses, and WebSockets over that in a browser and from Python's h2."""

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from harness.backend import reply
from harness.browser import Browser
from harness.http2 import PREFACE, SETTINGS, HTTP2Client, StreamSocket, frame, headers_frame
from harness.tls import ask, context, open_tls
from harness.wire import Client, Reader, wait_for
from harness.websocket import WebSocketServer, echoing
from test_browser import chat, serve_page

pytestmark = pytest.mark.switchyard_only

LOG = "log_format protocols '$request_method $uri $server_protocol $http2 $ssl_alpn_protocol $scheme $status';"
RECIPE = """
    proxy_pass http://<backend>; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
"""


def configuration(certificate, http2="http2 on;", listen="", more=""):
    return f"""
        {LOG} map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
        server {{
            listen 127.0.0.1:<port> ssl {listen}; {http2}
            server_name localhost;
            ssl_certificate {certificate}; ssl_certificate_key {certificate.key};
            access_log <dir>/access.log protocols;
            location / {{ return 200 "$http2|$ssl_alpn_protocol|$scheme"; }}
            location /ws/ {{ {RECIPE} }}
            location /page {{ {RECIPE} }}
        }}
        {more}
    """


@pytest.fixture
def secure(proxy, rsa, backend):
    def make(**rest):
        return proxy(configuration(rsa, **rest), values={"backend": backend})

    return make


@pytest.mark.parametrize("how", [{}, {"http2": "", "listen": "http2"}])
@pytest.mark.parametrize("offered, chosen", [
    (["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (None, None), (["h3"], None)])
def test_what_alpn_chooses(secure, authority, how, offered, chosen):
    made = secure(**how)
    try:
        sock = open_tls(made.port, context(authority, protocols=offered))
    except OSError:
        # RFC 7301 §3.2: no_application_protocol.
        assert offered == ["h3"]
        return
    with sock:
        assert sock.selected_alpn_protocol() == chosen
        if chosen != "h2":
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := sock.recv(65536):
                answer += data
            assert answer.endswith(f"|{chosen or ''}|https".encode())


def test_without_http2_it_is_not_offered(secure, authority):
    made = secure(http2="")
    with open_tls(made.port, context(authority, protocols=["h2", "http/1.1"])) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("http2, alpn, offered, chosen", [
    ("on", "h2 http/1.1", ["http/1.1", "h2"], "h2"), ("on", "http/1.1 h2", ["h2", "http/1.1"], "http/1.1"),
    ("on", "http/1.1 h2", ["h2"], "h2"), ("on", "http/1.1", ["h2"], None), ("on", "h2", ["http/1.1"], None),
    ("off", "http/1.0 http/1.1", ["http/1.1", "http/1.0"], "http/1.0"), ("on", "h2", None, "")])
def test_ssl_alpn_says_what_is_offered(secure, authority, http2, alpn, offered, chosen):
    made = secure(http2=f"http2 {http2}; ssl_alpn {alpn};")
    if chosen is None:
        with pytest.raises((ssl.SSLError, ConnectionError), match="(?i)no application protocol|reset"):
            open_tls(made.port, context(authority, protocols=offered))
        return
    with open_tls(made.port, context(authority, protocols=offered)) as sock:
        assert (sock.selected_alpn_protocol() or "") == chosen


def test_the_name_decides_who_offers_it(proxy, authority, rsa, backend):
    """The default server of the listener does not speak it, the one with the name does."""
    certificate = f"ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"
    made = proxy(f"""
        server {{ listen 127.0.0.1:<port> ssl; {certificate} return 200 default; }}
        server {{ listen 127.0.0.1:<port> ssl; server_name backend.example; http2 on; {certificate}
                  return 200 "$http2"; }}""")
    with open_tls(made.port, context(authority, protocols=["h2", "http/1.1"])) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
    with HTTP2Client(made.port, tls=context(authority), name="backend.example") as client:
        client.authority = "backend.example"
        assert client.fetch().body == b"h2"


@pytest.mark.parametrize("offered", [["http/1.1"], None])
@pytest.mark.parametrize("name", ["localhost", "off.example", "one.example"])
def test_what_alpn_chose_is_what_is_spoken(secure, authority, rsa, offered, name):
    """RFC 9113 §3.2: prior knowledge is for connections without TLS."""
    others = "".join(
        f"server {{ listen 127.0.0.1:<port> ssl; server_name {other}; {text} ssl_certificate {rsa};"
        f"ssl_certificate_key {rsa.key}; return 200 $server_protocol; }}\n"
        for other, text in (("off.example", "http2 off;"), ("one.example", "http2 on; ssl_alpn http/1.1;")))
    client = context(authority, protocols=offered)
    client.check_hostname = False
    with open_tls(secure(more=others).port, client, name) as sock:
        sock.sendall(PREFACE + frame(SETTINGS) + headers_frame(1, [
            (":method", "GET"), (":scheme", "https"), (":authority", name), (":path", "/")]))
        assert Reader(sock).read_response().status == 505


def test_what_a_log_has_of_facts_that_are_not(proxy, authority, rsa):
    """As in nginx: the one is known to be empty, the other is not there."""
    made = proxy(f"""
        log_format l '$status $http2|$ssl_early_data';
        server {{ listen 127.0.0.1:<port> ssl; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};
                  access_log <dir>/access.log l; return 200 ok; }}""")
    with open_tls(made.port, context(authority)) as sock:
        assert ask(sock).status == 200
    assert made.log_lines("access.log", 1) == ["200 |-"]


@pytest.mark.parametrize("outer", [True, False])
def test_settings_of_connections_are_those_of_the_name(proxy, authority, rsa, outer):
    """And not those of the listener's default server, which holds for whoever names none or another."""
    certificate = f"listen 127.0.0.1:<port> ssl; http2 on; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"
    one = "http2_max_concurrent_streams 10; http2_body_preread_size 10000; keepalive_requests 3; large_client_header_buffers 4 1k; client_header_buffer_size 1k;"
    two = "http2_max_concurrent_streams 50; http2_body_preread_size 20000; keepalive_requests 8; large_client_header_buffers 4 16k; client_header_buffer_size 4k;"
    if outer:
        one, two = two, one
    made = proxy(f"""
        server {{ {certificate} {one} return 200 default; }}
        server {{ {certificate} {two} server_name backend.example; return 200 named; }}""")
    larger, smaller = (50, 20_000, 8, 200), (10, 10_000, 3, 400)
    for name, expected in (("localhost", larger if outer else smaller), ("backend.example", smaller if outer else larger)):
        with HTTP2Client(made.port, tls=context(authority), name=name) as client:
            client.authority = name
            client.wait(lambda: client.has_settings)
            known = {int(key): value for key, value in client.connection.remote_settings.items()}
            requests = [client.fetch(headers=[("x", "v" * 5000)]).status]
            while not client.goaways:
                requests.append(client.fetch().status)
                client.quiet(0.05)
            assert (known[3], known[4], len(requests), requests[0]) == expected, name
        # A head that is too large ends the connection over HTTP/1.1.
        with open_tls(made.port, context(authority), name) as sock:
            assert ask(sock, host=name, extra=f"X: {'v' * 5000}\r\n").status == expected[3]


def test_plain_http2_is_refused_on_a_port_of_tls(secure):
    with Client(secure().port) as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.read_response().status == 505


@pytest.mark.parametrize("command", [
    ["curl", "-sS", "--cacert", "AUTHORITY", "--http2"], ["nghttp", "--no-verify-peer"]])
def test_commands(secure, authority, command):
    made = secure()
    done = subprocess.run(
        [word.replace("AUTHORITY", str(authority)) for word in command] + [f"https://localhost:{made.port}/"],
        capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "h2|h2|https"
    assert made.log_lines("access.log", 1) == ["GET / HTTP/2.0 h2 h2 https 200"]


@pytest.mark.parametrize("path,status", [
    ("/", 200), ("/denied", 403), ("/small", 413), ("/away", 302), ("/early", 401), ("/dead", 502)])
@pytest.mark.parametrize("what", ["a little", "much", "slowly", "asked for"])
@pytest.mark.clocked
def test_curl_takes_an_answer_that_comes_before_its_upload_is_over(proxy, backend, authority, rsa, tmp_path, path, status, what):
    if (what, status) == ("much", 200):
        pytest.skip("curl 7.88 waits to send all the same, with nginx too")

    def early(connection):
        connection.next_head()
        connection.send(reply(401, b"no", [("Connection", "close")]))
        while connection.sock.recv(65536):
            pass

    backend.program = early
    made = proxy(f"""
        server {{
            listen 127.0.0.1:<port> ssl; http2 on; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};
            client_max_body_size 100m;
            location / {{ return 200 ok; }}
            location /denied {{ deny all; }}
            location /small {{ client_max_body_size 1; proxy_pass http://<backend>; }}
            location /away {{ return 302 /x; }}
            location /early {{ proxy_pass http://<backend>; proxy_request_buffering off; proxy_http_version 1.1; }}
            location /dead {{ proxy_pass http://127.0.0.1:1; proxy_request_buffering off; }}
        }}""", values={"backend": backend})
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    arguments = {
        "a little": ["-d", "xx"], "much": ["--data-binary", f"@{tmp_path}/big"], "slowly": ["-T", "-"],
        "asked for": ["-H", "Expect: 100-continue", "-d", "xx"]}[what]
    url = f"https://localhost:{made.port}{path}"
    command = ["curl", "-sS", "--cacert", str(authority), "--http2", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}",
               *arguments, url]
    running = []
    for _ in range(10):
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if what == "slowly":
            one.stdin.write("xx")
            one.stdin.flush()
            threading.Timer(0.1, one.stdin.close).start()
        running.append(one)
    for one in running:
        one.wait(20)
        assert (one.returncode, one.stdout.read(), one.stderr.read()) == (0, str(status), "")


def test_h2load(secure):
    made = secure()
    done = subprocess.run(
        ["h2load", "-n", "500", "-c", "4", "-m", "10", f"https://127.0.0.1:{made.port}/"], capture_output=True, text=True,
        timeout=60)
    assert "500 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout + done.stderr


def test_bodies_of_both_directions(secure, authority, backend):
    backend.answer = lambda request: reply(200, request.body * 2)
    made = secure()
    body = bytes(range(256)) * 4000
    with HTTP2Client(made.port, tls=context(authority)) as client:
        stream = client.begin("/page", "POST", [("content-length", str(len(body)))], end=False)
        client.write(stream, body, end=True)
        assert client.response(stream).body == body * 2


def test_many_websockets_on_one_connection(secure, authority, backend):
    backend.program = echoing()
    made = secure()
    with HTTP2Client(made.port, tls=context(authority)) as client:
        client.wait(lambda: client.has_settings)
        streams = [client.connect(f"/ws/{number}") for number in range(20)]
        for number, stream in enumerate(streams):
            assert client.head(stream).status == 200
            client.write(stream, b"bytes %d" % number, end=True)
        for number, stream in enumerate(streams):
            assert client.response(stream).body == b"bytes %d" % number
    wait_for(lambda: len(made.log_lines("access.log", 20)) == 20, 5, "their lines")
    assert {line.split()[2:6] == ["HTTP/2.0", "h2", "h2", "https"] for line in made.log_lines("access.log", 20)} == {True}


def test_a_reload_leaves_websockets_alone(secure, authority, backend):
    backend.program = echoing()
    made = secure()
    with HTTP2Client(made.port, tls=context(authority)) as client:
        client.wait(lambda: client.has_settings)
        stream = client.connect("/ws/")
        assert client.head(stream).status == 200
        made.reload()
        client.wait(lambda: client.goaway is not None or client.goaways)
        client.write(stream, b"after", end=True)
        assert client.response(stream).body == b"after"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_a_page_whose_websocket_runs_over_http2(proxy, rsa, tmp_path):
    with WebSocketServer(chat, process_request=serve_page, subprotocols=["chat"]) as server, \
            Browser(str(tmp_path / "profile"), "--ignore-certificate-errors") as browser:
        made = proxy(configuration(rsa), values={"backend": server})
        first, second = (browser.open(f"https://localhost:{made.port}/page") for _ in range(2))
        for page in (first, second):
            page.wait("window.state === 'open'")
            assert page.evaluate("socket.protocol") == "chat"
            assert "permessage-deflate" in page.evaluate("socket.extensions")
        first.evaluate("socket.send('over a stream, grüße')")
        second.wait("received.includes('over a stream, grüße')")
        second.evaluate("socket.send('x'.repeat(300000))")
        first.wait("received.some((text) => text.length === 300000)")
        second.evaluate("socket.send('leave')")
        second.wait("window.state === 'closed 4001'")
        first.evaluate("socket.close(1000)")
        first.wait("window.state === 'closed 1000'")
        # Both pages and their WebSockets came over one connection.
        sockets = [line for line in made.log_lines("access.log", 4) if " /ws/chat " in line]
        assert sockets == ["GET /ws/chat HTTP/2.0 h2 h2 https 101"] * 2


# Upstreams


UPSTREAM = """
    upstream secure {{ server 127.0.0.1:{port}; keepalive 4; }}
    server {{
        listen 127.0.0.1:<port>;
        location / {{
            proxy_pass https://secure; proxy_http_version 2; proxy_set_header Host localhost;
            proxy_ssl_server_name on; proxy_ssl_name {name}; proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority}; {more}
        }}
    }}
"""


@pytest.mark.parametrize("kind", ["switchyard", "nginx"])
def test_an_upstream_over_tls(proxy, authority, rsa, kind):
    text = f"""
        server {{
            listen 127.0.0.1:<port> ssl http2; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};
            location / {{ return 200 "$http2|$server_protocol|$scheme|$connection_requests"; }}
        }}"""
    back = proxy(text, kind=kind)
    front = proxy(UPSTREAM.format(port=back.port, name="localhost", authority=authority, more=""), kind="switchyard")
    with Client(front.port) as client:
        for number in range(1, 5):
            assert client.fetch("/").body == b"h2|HTTP/2.0|https|%d" % number


def test_scripts_are_told_of_the_connection_that_carries_the_stream(proxy, authority, rsa):
    back = proxy(
        f"server {{ listen 127.0.0.1:<port> ssl http2; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"
        "location / { return 200; } }")
    more = (
        "response_by_lua_block { local t = flow.upstream.tls"
        " flow.res.headers['x-tls'] = table.concat({ t.version, t.sni, t.alpn, tostring(t.resumed) }, ' ') }")
    front = proxy(UPSTREAM.format(port=back.port, name="localhost", authority=authority, more=more))
    with Client(front.port) as client:
        for _ in range(2):
            assert client.fetch("/").get("x-tls") == "TLSv1.3 localhost h2 false"


@pytest.mark.parametrize("knows_alpn", [True, False])
def test_an_upstream_over_tls_that_does_not_speak_it(proxy, authority, rsa, knows_alpn):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(str(rsa), str(rsa.key))
    if knows_alpn:
        made.set_alpn_protocols(["http/1.1"])
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock, _ = listener.accept()
            try:
                made.wrap_socket(sock, server_side=True).recv(100)
            except OSError:
                sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        front = proxy(UPSTREAM.format(port=listener.getsockname()[1], name="localhost", authority=authority, more=""))
        with Client(front.port) as client:
            assert client.fetch("/").status == 502
        thread.join(10)
    # Python's server goes on without a protocol where none is in common (RFC 7301 §3.2 would have it end).
    assert "upstream did not choose HTTP/2 by ALPN" in front.log()


def test_an_upstream_over_tls_with_the_wrong_name(proxy, authority, rsa):
    back = proxy(configuration(rsa), values={"backend": "127.0.0.1:1"})
    front = proxy(UPSTREAM.format(port=back.port, name="other.example", authority=authority, more=""))
    with Client(front.port) as client:
        assert client.fetch("/").status == 502
    assert 'upstream SSL certificate does not match "other.example"' in front.log()
