"""TLS with upstreams: Python's ssl and `openssl s_server` are the servers."""

import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest
from websockets.sync.client import connect

from harness import ports
from harness.backend import Backend, Connection, reply
from harness.certificates import background
from harness.proxy import binary
from harness.tls import V12, V13, ask, context, open_tls
from harness.websocket import WEBSOCKET, WebSocketServer
from harness.wire import fetch, wait_for


class TLSBackend(Backend):
    """A backend over TLS. `facts` has what each handshake came to."""

    def __init__(self, certificate, answer=None, program=None, version=None, clients=None, protocols=None, **rest):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.path, certificate.key)
        if version:
            self.context.minimum_version = self.context.maximum_version = version
        if clients:
            self.context.load_verify_locations(str(clients))
            self.context.verify_mode = ssl.CERT_REQUIRED
        if protocols:
            self.context.set_alpn_protocols(protocols)
        self.names = []
        self.facts = []
        self.failures = []
        self.context.sni_callback = lambda sock, name, context: self.names.append(name)
        inner = program or Connection.serve

        def run(connection):
            try:
                connection.sock = self.context.wrap_socket(connection.sock, server_side=True)
                # A peer that was gone already leaves a socket that never shook hands, and no error.
                connection.sock.getpeername()
            except (ssl.SSLError, OSError) as error:
                self.failures.append(error)
                connection.sock.close()
                return
            self.facts.append({
                "version": connection.sock.version(), "reused": connection.sock.session_reused,
                "cipher": connection.sock.cipher()[0], "certificate": connection.sock.getpeercert()})
            inner(connection)

        super().__init__(answer=answer, program=run, **rest)


def location(text="", url="https://<backend>"):
    return (
        "server { listen 127.0.0.1:<port>; location / { proxy_pass " + url + "; proxy_http_version 1.1; " + text
        + " } }")


@pytest.mark.parametrize("version", [V12, V13])
def test_a_request_over_tls(proxy, rsa, version):
    with TLSBackend(rsa, version=version) as backend:
        made = proxy(location(), values={"backend": backend})
        answer = made.fetch("/path")
        assert (answer.status, answer.text) == (200, "ok")
        assert backend.requests[0].target == "/path"
        assert backend.requests[0].get("host") == str(backend)
        assert backend.facts[0]["version"] == version.name.replace("_", ".")
        assert backend.names == [None]


@pytest.mark.switchyard_only
@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_proxy_without_a_file_speaks_tls(rsa, scheme):
    port = ports.free_port()
    with TLSBackend(rsa) as backend:
        process = subprocess.Popen(
            [binary("switchyard"), "proxy", "--listen", f"127.0.0.1:{port}", "--to", f"{scheme}://localhost:{backend.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: ports.is_listening(port) or process.poll() is not None, what="listening")
            assert fetch(port, "/path").text == "ok"
            assert backend.requests[0].target == "/path"
            assert backend.names == ["localhost"]
        finally:
            process.terminate()
            process.wait(10)


def test_large_bodies_both_ways(proxy, rsa):
    payload = os.urandom(5 << 20)
    with TLSBackend(rsa, answer=lambda request: reply(200, request.body)) as backend:
        made = proxy(location("client_max_body_size 0;"), values={"backend": backend})
        assert made.fetch("/", method="POST", body=payload, timeout=30).body == payload


def test_the_server_name(proxy, rsa):
    with TLSBackend(rsa) as backend:
        made = proxy(
            location("proxy_ssl_server_name on; proxy_ssl_name backend.example:444;"), values={"backend": backend})
        assert made.fetch("/").status == 200
        assert backend.names == ["backend.example"]


def test_no_address_is_sent_as_a_name(proxy, rsa):
    with TLSBackend(rsa) as backend:
        made = proxy(location("proxy_ssl_server_name on;"), values={"backend": backend})
        assert made.fetch("/").status == 200
        assert backend.names == [None]


def test_a_name_with_variables(proxy, rsa):
    with TLSBackend(rsa) as backend:
        made = proxy(
            location("proxy_ssl_server_name on; proxy_ssl_name $arg_name;"), values={"backend": backend})
        for name in ("one.example", "two.example"):
            assert made.fetch("/?name=" + name).status == 200
        assert backend.names == ["one.example", "two.example"]


@pytest.mark.parametrize("url,status", [("https://<backend>$request_uri", 200), ("$arg_scheme://<backend>", 200)])
def test_a_url_with_variables(proxy, rsa, url, status):
    with TLSBackend(rsa) as backend:
        made = proxy(location(url=url), values={"backend": backend})
        assert made.fetch("/?scheme=https").status == status


def test_an_upstream_block(proxy, rsa):
    with TLSBackend(rsa) as backend:
        made = proxy(
            "upstream group { server <backend>; keepalive 4; }\n"
            + location("proxy_set_header Connection ''; proxy_ssl_verify on; proxy_ssl_name localhost;"
                       "proxy_ssl_trusted_certificate <authority>;", url="https://group"),
            values={"backend": backend, "authority": rsa.path.parent / "authority.crt"})
        for _ in range(5):
            assert made.fetch("/").status == 200
        # One connection: tickets that come while it is idle do not end it.
        assert len(backend.facts) == 1


@pytest.mark.switchyard_only
def test_pools_keep_settings_apart(proxy, rsa):
    with TLSBackend(rsa) as backend:
        text = (
            "upstream group { server <backend>; keepalive 8; }\n"
            "server { listen 127.0.0.1:<port>; proxy_http_version 1.1; proxy_set_header Connection '';\n"
            "location /a { proxy_pass https://group; }\n"
            "location /b { proxy_pass https://group; proxy_ssl_name b.example; proxy_ssl_server_name on; }\n"
            "location /c { proxy_pass https://group; proxy_ssl_verify on; proxy_ssl_name localhost;"
            " proxy_ssl_trusted_certificate <authority>; }\n"
            "location /n { proxy_pass https://group; proxy_ssl_name $arg_n; proxy_ssl_server_name on; } }")
        made = proxy(text, values={"backend": backend, "authority": rsa.path.parent / "authority.crt"})
        for target in ("/a", "/b", "/c", "/n?n=x.example", "/n?n=y.example") * 2:
            assert made.fetch(target).status == 200
        assert len(backend.facts) == 5


# Verification


@pytest.mark.switchyard_only
@pytest.mark.parametrize("text,failure", [
    ("proxy_ssl_name localhost;", None),
    ("proxy_ssl_name 127.0.0.1;", None),
    ("", None),
    ("proxy_ssl_name other.example;", r'upstream SSL certificate does not match "other.example"'),
])
def test_a_certificate_that_is_verified(proxy, authority, rsa, text, failure):
    with TLSBackend(rsa) as backend:
        made = proxy(
            location(f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; {text}"),
            values={"backend": backend})
        answer = made.fetch("/")
        assert answer.status == (502 if failure else 200)
        if failure:
            assert re.search(failure + " while SSL handshaking to upstream", made.log())
            assert not backend.requests


@pytest.mark.switchyard_only
def test_a_certificate_of_a_stranger(proxy, authority, stranger):
    with TLSBackend(stranger.issue("localhost")) as backend:
        made = proxy(
            location(f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; proxy_ssl_name localhost;"),
            values={"backend": backend})
        assert made.fetch("/").status == 502
        assert re.search(r"upstream SSL certificate verify error: \(\d+:unable to get", made.log())
        assert not backend.requests


def test_a_certificate_that_has_expired(proxy, authority):
    with TLSBackend(authority.issue("localhost", days=-1)) as backend:
        made = proxy(
            location(f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; proxy_ssl_name localhost;"),
            values={"backend": backend})
        assert made.fetch("/").status == 502
        assert "upstream SSL certificate verify error: (10:certificate has expired)" in made.log()


def test_a_certificate_that_was_revoked(proxy, authority):
    good, bad = authority.issue("localhost"), authority.issue("localhost")
    revoked = authority.revocation_list(bad)
    for certificate, status in ((good, 200), (bad, 502)):
        with TLSBackend(certificate) as backend:
            made = proxy(
                location(f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; proxy_ssl_crl {revoked};"
                         "proxy_ssl_name localhost;"), values={"backend": backend})
            assert made.fetch("/").status == status
    assert "upstream SSL certificate verify error: (23:certificate revoked)" in made.log()


def test_the_proxys_own_certificate(proxy, authority, rsa):
    own = authority.issue(subject="/O=Proxies/CN=proxy", password="secret")
    for text, status in ((f"proxy_ssl_certificate {own}; proxy_ssl_certificate_key {own.key};"
                          "proxy_ssl_password_file <dir>/passwords;", 200), ("", 502)):
        with TLSBackend(rsa, clients=authority, version=V12) as backend:
            made = proxy(location(text), values={"backend": backend}, start=False)
            (made.directory / "passwords").write_text("wrong\nsecret\n")
            made.start()
            assert made.fetch("/").status == status
            if status == 200:
                assert (("commonName", "proxy"),) in backend.facts[0]["certificate"]["subject"]


def test_versions_and_ciphers_of_the_proxy(proxy, rsa):
    with TLSBackend(rsa) as backend:
        made = proxy(
            location("proxy_ssl_protocols TLSv1.2; proxy_ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256;"),
            values={"backend": backend})
        assert made.fetch("/").status == 200
        assert backend.facts[0]["version"] == "TLSv1.2"
        assert backend.facts[0]["cipher"] == "ECDHE-RSA-AES128-GCM-SHA256"
    with TLSBackend(rsa) as backend:
        made = proxy(
            location("proxy_ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;"),
            values={"backend": backend})
        assert made.fetch("/").status == 200
        assert backend.facts[0]["cipher"] == "TLS_CHACHA20_POLY1305_SHA256"


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("text,reused", [("", True), ("proxy_ssl_session_reuse off;", False)])
def test_resumption(proxy, rsa, version, text, reused):
    with TLSBackend(rsa, version=version) as backend:
        made = proxy(location(text), values={"backend": backend})
        for _ in range(3):
            assert made.fetch("/").status == 200
        assert [fact["reused"] for fact in backend.facts] == [False, reused, reused]


# Failures


def test_a_server_without_tls_is_tried_as_a_connect_error(proxy, rsa):
    def refuse(connection):
        connection.sock.recv(1000)
        connection.send(reply(400, b"what?"))

    with Backend(program=refuse) as plain, TLSBackend(rsa) as backend:
        made = proxy(
            "upstream group { server <plain>; server <backend>; }\n" + location(url="https://group"),
            values={"backend": backend, "plain": plain})
        for _ in range(3):
            assert made.fetch("/").status == 200
        assert re.search(r"SSL_do_handshake\(\) failed \(SSL: error:.*wrong version number.*"
                         r"while SSL handshaking to upstream.*upstream: \"https://" + re.escape(str(plain)), made.log())


def test_a_server_that_closes_at_once(proxy, rsa):
    with Backend(program=lambda connection: connection.sock.recv(10000)) as backend:
        made = proxy(location(), values={"backend": backend})
        assert made.fetch("/").status == 502
        assert "peer closed connection in SSL handshake while SSL handshaking to upstream" in made.log()


def test_a_server_that_says_nothing(proxy, rsa):
    done = threading.Event()
    with Backend(program=lambda connection: done.wait(10)) as backend:
        made = proxy(location("proxy_connect_timeout 300ms;"), values={"backend": backend})
        assert made.fetch("/").status == 504
        assert "upstream timed out (110: Connection timed out) while SSL handshaking to upstream" in made.log()
        done.set()


def ending(body):
    """A backend program: the response ends with the connection, and but for `/whole` without close_notify."""

    def program(connection):
        request = connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        if request.target != "/whole":
            os.close(connection.sock.detach())
            return
        try:
            connection.sock.unwrap()
        except OSError:
            pass

    return program


@pytest.mark.switchyard_only
def test_a_response_that_is_cut_off(proxy, rsa):
    """RFC 9112 §9.8: without close_notify, a response that ends with the connection is not whole."""
    with TLSBackend(rsa, program=ending(b"all of it")) as backend:
        made = proxy(location(), values={"backend": backend})
        with pytest.raises(Exception):
            made.fetch("/cut")
        assert "upstream prematurely closed connection while reading upstream" in made.log()
        assert made.fetch("/whole").text == "all of it"


@pytest.mark.switchyard_only
def test_a_fetched_response_that_is_cut_off(proxy, rsa):
    with TLSBackend(rsa, program=ending(b"some of it")) as backend:
        made = proxy("""server { listen 127.0.0.1:<port>; location / { request_by_lua_block {
            local res, err = sy.fetch{ url = "https://<backend>" .. flow.req.path, verify = false }
            return flow:respond{ body = res and res.body or err }
        } } }""", values={"backend": backend})
        assert made.fetch("/whole").text == "some of it"
        assert made.fetch("/cut").text == "connection closed while reading the response"


def answering_early(connection):
    """Does not read the request's body, so that the connection ends with a reset."""
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.next_head()
    connection.send(reply(413, b"too much", [("Connection", "close")]))
    os.close(connection.sock.detach())


# nginx loses such an answer with what it could not send.
@pytest.mark.switchyard_only
def test_an_answer_before_the_requests_end(proxy, rsa):
    with TLSBackend(rsa, program=answering_early) as backend:
        made = proxy(location("client_max_body_size 0;"), values={"backend": backend})
        for _ in range(10):
            response = made.fetch("/", method="POST", body=b"x" * (4 << 20))
            assert (response.status, response.text) == (413, "too much")


@pytest.mark.switchyard_only
def test_an_answer_before_the_end_of_what_is_fetched(proxy, rsa):
    with TLSBackend(rsa, program=answering_early) as backend:
        made = proxy("""lua_memory_limit 256m; server { listen 127.0.0.1:<port>; location / { request_by_lua_block {
            local body = ("x"):rep(4 << 20)
            local res, err = sy.fetch{ url = "https://<backend>/", method = "POST", body = body, verify = false }
            return flow:respond{ body = res and res.body or err }
        } } }""", values={"backend": backend})
        for _ in range(10):
            assert made.fetch("/").text == "too much"


def test_a_response_with_a_length_needs_no_alert(proxy, rsa):
    def cut(connection):
        connection.next_request()
        connection.send(reply(200, b"whole"))
        os.close(connection.sock.detach())

    with TLSBackend(rsa, program=cut) as backend:
        made = proxy(location(), values={"backend": backend})
        assert made.fetch("/").text == "whole"


# WebSockets, redirects, s_server


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def test_wss_upstream(proxy, rsa):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(rsa.path, rsa.key)
    with WebSocketServer(echo, ssl=context) as backend:
        made = proxy(location(WEBSOCKET), values={"backend": backend})
        with connect(f"ws://127.0.0.1:{made.port}/", max_size=None, compression=None) as sock:
            for message in ("hello", "x" * 70000, os.urandom(2 << 20)):
                sock.send(message)
                assert sock.recv(20) == message


def test_redirects_of_the_upstream(proxy, rsa):
    with TLSBackend(rsa) as backend:
        backend.answer = lambda request: reply(302, b"", [("Location", f"https://{backend}/there")])
        made = proxy(location(), values={"backend": backend})
        assert made.fetch("/", headers=[("Host", "front.example")]).get("location").endswith("/there")
        assert "127.0.0.1:" + str(backend.port) not in made.fetch("/").get("location")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_server(proxy, authority, rsa, version):
    port = ports.free_port()
    with background(
            "s_server", "-accept", f"127.0.0.1:{port}", "-cert", rsa.path, "-key", rsa.key, version, "-www",
            ready="ACCEPT"):
        made = proxy(
            location(f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority};"
                     "proxy_ssl_name localhost; proxy_ssl_server_name on;"), values={"backend": f"127.0.0.1:{port}"})
        for expected in ("New", "Reused"):
            answer = made.fetch("/")
            assert answer.status == 200
            assert f"\n{expected}, " in answer.text


# What scripts and metrics are told


TOLD = (
    "response_by_lua_block { local t = flow.upstream.tls"
    " flow.res.headers['x-tls'] = t and table.concat({ t.version, t.cipher, t.sni or '-', t.alpn or '-',"
    " tostring(t.resumed), t.server_subject }, ' ') or 'none' }")


@pytest.mark.switchyard_only
def test_scripts_are_told_of_the_upstreams_tls(proxy, rsa):
    more = "proxy_ssl_server_name on; proxy_ssl_name backend.example;" + TOLD
    with TLSBackend(rsa, version=V12) as backend:
        made = proxy(location(more), values={"backend": backend})
        for resumed in ("false", "true"):
            assert re.fullmatch(
                rf"TLSv1\.2 ECDHE\S+ backend\.example - {resumed} CN=localhost", made.fetch("/").get("x-tls"))
    with Backend() as backend:
        made = proxy(location(more, url="http://<backend>"), values={"backend": backend})
        assert made.fetch("/").get("x-tls") == "none"


@pytest.mark.switchyard_only
def test_handshakes_are_counted(proxy, authority, rsa):
    with TLSBackend(rsa, version=V12) as backend:
        made = proxy(
            f"server {{ listen 127.0.0.1:<port>; listen 127.0.0.1:<tls> ssl; ssl_certificate {rsa};"
            f"ssl_certificate_key {rsa.key}; location /metrics {{ prometheus_metrics; }}"
            "location / { proxy_pass https://<backend>; } }", values={"backend": backend, "tls": ports.free_port()})

        def count(leg, result):
            text = made.fetch("/metrics").text
            return int(re.search(f'handshakes_total{{leg="{leg}",result="{result}"}} (\\d+)', text)[1])

        tls = context(authority, most=V12)
        with open_tls(made.values["tls"], tls) as sock:
            assert ask(sock).status == 200
            session = sock.session
        with open_tls(made.values["tls"], tls, session=session) as sock:
            assert ask(sock).status == 200
        assert (count("client", "full"), count("client", "resumed")) == (1, 1)
        assert (count("upstream", "full"), count("upstream", "resumed")) == (1, 1)
        assert count("client", "failed") == count("upstream", "failed") == 0
        with socket.create_connection(("127.0.0.1", made.values["tls"])) as sock:
            sock.sendall(b"\x16\x03\x01\x00\x05hello")
            while sock.recv(100):
                pass
        assert count("client", "failed") == 1
        backend.stop()
        text = made.fetch("/metrics").text
        assert 'tls_handshake_duration_seconds_count{leg="client"} 2' in text


# What scripts fetch


@pytest.mark.switchyard_only
def test_fetch(proxy, authority, rsa):
    def fetching(options, more=""):
        return (
            "server { listen 127.0.0.1:<port>; location / { " + more + " request_by_lua_block {"
            " local res, err = sy.fetch{ url = 'https://<backend>/x', " + options + " }"
            " return flow:respond{ body = res and res.body or err } } } }")

    with TLSBackend(rsa) as backend:
        trusted = f"proxy_ssl_trusted_certificate {authority};"
        for options, more, answer in (
                ("", trusted, "ok"), ("verify = false", "", "ok"),
                ("", "", "upstream SSL certificate verify error: (20:unable to get local issuer certificate)")):
            made = proxy(fetching(options, more), values={"backend": backend})
            for _ in range(3):
                assert made.fetch("/").text == answer
        # Connections are kept: one for each of the first two proxies, and one for each failure.
        assert len(backend.facts) + len(backend.failures) <= 2 + 3


@pytest.mark.switchyard_only
@pytest.mark.parametrize("other", ["speaks no TLS", "says nothing", "cannot be reached"])
def test_fetch_goes_on_to_the_next_peer(proxy, rsa, other):
    """A peer that fails before anything was sent has no more time than it has with the proxy."""

    def no_tls(connection):
        if other == "says nothing":
            return time.sleep(5)
        connection.fill()
        connection.send(reply(400))

    failing = ports.full_listener() if other == "cannot be reached" else Backend(program=no_tls)
    with failing as first, TLSBackend(rsa) as second:
        made = proxy("""
            upstream two { server <first> max_fails=0; server <second> backup; }
            server {
                listen 127.0.0.1:<port>; proxy_connect_timeout 500ms;
                request_by_lua_block {
                    local res, err = sy.fetch{ url = "https://two/", verify = false, timeout = 4 }
                    return flow:respond{ body = res and res.body or err }
                }
            }
        """, values={"first": first, "second": second})
        assert made.fetch("/").text == "ok"


@pytest.mark.switchyard_only
def test_a_connection_for_fetches_serves_those_that_ask_the_same_of_it(proxy, authority, stranger, rsa):
    with TLSBackend(rsa) as backend:
        made = proxy("""server {
            listen 127.0.0.1:<port>;
            request_by_lua_block {
                local response, problem = sy.fetch{ url = "https://<backend>/", verify = flow.req.args.verify ~= "no" }
                return flow:respond{ body = response and response.body or problem }
            }
            location /good { proxy_ssl_trusted_certificate %s; }
            location /other { proxy_ssl_trusted_certificate %s; }
            location /system { }
        }""" % (authority, stranger), values={"backend": backend})
        for _ in range(3):
            assert made.fetch("/good").text == "ok"
            assert made.fetch("/other?verify=no").text == "ok"
            for path in ("/other", "/system"):
                assert "certificate verify error" in made.fetch(path).text


@pytest.mark.switchyard_only
def test_fetch_checks_the_name(proxy, authority):
    with TLSBackend(authority.issue("other.example")) as backend:
        made = proxy(
            "server { listen 127.0.0.1:<port>; location / { proxy_ssl_trusted_certificate " + str(authority) + ";"
            " request_by_lua_block { local res, err = sy.fetch{ url = 'https://<backend>/' }"
            " return flow:respond{ body = res and res.body or err } } } }", values={"backend": backend})
        assert made.fetch("/").text == 'upstream SSL certificate does not match "127.0.0.1"'
        assert not backend.requests


# Certificates by variables

BY_NAME = "proxy_ssl_certificate $arg_who; proxy_ssl_certificate_key $arg_key;"


def common_name(facts):
    return dict(pair[0] for pair in facts["certificate"]["subject"])["commonName"]


def asking(certificate):
    return f"/?who={certificate.path}&key={certificate.key}"


@pytest.mark.switchyard_only
def test_a_certificate_by_variables(proxy, authority, rsa):
    alice, bob = (authority.issue(subject=f"/O=Clients/CN={name}", kind="ec") for name in ("alice", "bob"))
    with TLSBackend(rsa, clients=authority) as backend:
        made = proxy(location(BY_NAME), values={"backend": backend})
        for who in (alice, bob, alice):
            assert made.fetch(asking(who)).status == 200
        # A session of one is not resumed as the other, as it is by nginx.
        assert [common_name(facts) for facts in backend.facts] == ["alice", "bob", "alice"]


@pytest.mark.switchyard_only
def test_connections_are_kept_by_certificate(proxy, authority, rsa):
    """nginx keeps connections of different certificates in one pool."""
    alice, bob = (authority.issue(subject=f"/O=Clients/CN={name}", kind="ec") for name in ("alice", "bob"))
    with TLSBackend(rsa, clients=authority) as backend:
        made = proxy(
            "upstream group { server <backend>; keepalive 4; }\n"
            + location(BY_NAME + "proxy_set_header Connection '';", url="https://group"), values={"backend": backend})
        for who in (alice, bob, alice, bob, alice):
            assert made.fetch(asking(who)).status == 200
        assert [common_name(facts) for facts in backend.facts] == ["alice", "bob"]
        alice.path.write_text("gone")
        assert made.fetch(asking(alice)).status == 200  # kept in memory


@pytest.mark.switchyard_only
@pytest.mark.parametrize("text,kept", [
    ("", False), ("proxy_ssl_certificate_cache off;", False), ("proxy_ssl_certificate_cache max=2 valid=1h;", True)])
def test_a_cache_of_certificates(proxy, authority, rsa, text, kept):
    alice, bob = (authority.issue(subject=f"/O=Clients/CN={name}", kind="ec") for name in ("alice", "bob"))
    with TLSBackend(rsa, clients=authority) as backend:
        outer = "proxy_ssl_certificate_cache max=100;\n" if text else ""
        made = proxy(outer + location(BY_NAME + text), values={"backend": backend})
        pem = alice.text
        assert made.fetch(asking(alice)).status == 200
        alice.path.write_text("gone")
        assert made.fetch(asking(alice)).status == (200 if kept else 500)
        # Another one takes its place.
        assert made.fetch(asking(bob)).status == 200
        assert made.fetch(asking(alice)).status == 500
        alice.path.write_text(pem)
        assert made.fetch(asking(alice)).status == 200
        assert common_name(backend.facts[-1]) == "alice"


@pytest.mark.switchyard_only
def test_a_session_is_resumed_for_the_same_certificate_read_again(proxy, authority, rsa):
    alice, bob = (authority.issue(subject=f"/O=Clients/CN={name}", kind="ec") for name in ("alice", "bob"))
    with TLSBackend(rsa, clients=authority) as backend:
        made = proxy(location(BY_NAME + "proxy_ssl_protocols TLSv1.2;"), values={"backend": backend})
        for who in (alice, alice, bob, alice):
            assert made.fetch(asking(who)).status == 200
        assert [facts["reused"] for facts in backend.facts] == [False, True, False, True]
        # Another certificate in the same file is another client.
        alice.path.write_text(bob.text)
        alice.key.write_text(bob.key.read_text())
        assert made.fetch(asking(alice)).status == 200
        assert common_name(backend.facts[-1]) == "bob"


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
def test_a_log_of_keys(proxy, rsa, tmp_path, version):
    with TLSBackend(rsa, version=version) as backend:
        backend.context.keylog_filename = str(tmp_path / "theirs.log")
        made = proxy(location("proxy_ssl_key_log keys.log;"), values={"backend": backend})
        assert made.fetch("/").status == 200

        def keys(path):
            return sorted(line for line in path.read_text().splitlines() if line and not line.startswith("#"))

        assert keys(made.directory / "keys.log") == keys(tmp_path / "theirs.log")
        assert len(keys(tmp_path / "theirs.log")) == (1 if version == V12 else 5)


def test_an_empty_certificate_is_none(proxy, authority, rsa):
    with TLSBackend(rsa) as backend:
        made = proxy(location(BY_NAME), values={"backend": backend})
        assert made.fetch("/").status == 200
    with TLSBackend(rsa, clients=authority) as backend:
        made = proxy(location(BY_NAME), values={"backend": backend})
        assert made.fetch("/").status == 502


@pytest.mark.switchyard_only
def test_a_certificate_as_data_by_a_map(proxy, authority, rsa):
    who = authority.issue(subject="/O=Clients/CN=carol", kind="ec")
    with TLSBackend(rsa, clients=authority) as backend:
        made = proxy(
            f'map $arg_who $pem {{ carol "data:{who.text}"; }}\nmap $arg_who $secret {{ carol "data:'
            f'{who.key.read_text()}"; }}\n' + location(
                "proxy_ssl_certificate $pem; proxy_ssl_certificate_key $secret;"), values={"backend": backend})
        assert made.fetch("/?who=carol").status == 200
        assert common_name(backend.facts[0]) == "carol"


def test_a_certificate_by_variables_that_is_no_good(proxy, authority, rsa):
    alice, bob = (authority.issue(subject=f"/O=Clients/CN={name}", kind="ec") for name in ("alice", "bob"))
    with TLSBackend(rsa) as backend:
        made = proxy(location(BY_NAME), values={"backend": backend})
        assert made.fetch("/?who=/nowhere&key=/nowhere").status == 500
        assert re.search(r"cannot load certificate \"/nowhere\": .*No such file", made.log())
        # The key of another.
        assert made.fetch(f"/?who={alice.path}&key={bob.key}").status == 500
        assert "mismatch" in made.log() and str(bob.key) in made.log()
        assert made.fetch(asking(alice)).status == 200


@pytest.mark.parametrize("version", ["1.1", pytest.param("2", marks=pytest.mark.switchyard_only)])
def test_what_cannot_be_sent_is_no_fault_of_a_peer(proxy, authority, rsa, version):
    alice, bob = (authority.issue(subject=f"/O=Clients/CN={name}", kind="ec") for name in ("alice", "bob"))
    with TLSBackend(rsa) as one, TLSBackend(rsa) as two:
        made = proxy(
            "upstream group { server <one>; server <two>; }\n"
            + location(BY_NAME + "proxy_ssl_server_name on; proxy_ssl_name $arg_name;", url="https://group").replace(
                "proxy_http_version 1.1;", f"proxy_http_version {version};"), values={"one": one, "two": two})
        for _ in range(3):
            assert made.fetch(f"/?name=a&who={alice.path}&key={bob.key}").status == 500
            assert made.fetch("/?name=" + "x" * 300).status == 500
        assert "no live upstreams" not in made.log() and "temporarily disabled" not in made.log()
        if version == "1.1":
            assert made.fetch("/?name=" + "x" * 255).status == 200
            assert made.fetch("/?name=a&" + asking(alice)[2:]).status == 200
            assert set(one.names + two.names) == {"x" * 255, "a"}


@pytest.mark.parametrize("way", ["1.1", pytest.param("2", marks=pytest.mark.switchyard_only)])
def test_a_certificate_that_openssl_refuses_is_no_fault_of_a_peer(proxy, authority, rsa, way):
    weak = authority.issue(subject="/O=Clients/CN=weak", bits=1024)
    with TLSBackend(rsa) as one, TLSBackend(rsa) as two:
        made = proxy(
            "upstream group { server <one>; server <two>; }\n" + location(BY_NAME, url="https://group").replace(
                "proxy_http_version 1.1;", f"proxy_http_version {way};"), values={"one": one, "two": two})
        for _ in range(3):
            assert made.fetch(asking(weak)).status == 500
        assert "key too small" in made.log()
        assert "no live upstreams" not in made.log() and "temporarily disabled" not in made.log()
