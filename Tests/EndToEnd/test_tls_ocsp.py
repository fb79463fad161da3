"""Certificates of clients that are checked by OCSP: `openssl ocsp` and others as responders."""

import contextlib
import socket
import time

import pytest

from harness import ocsp, ports
from harness.backend import Backend, reply
from harness.certificates import Authority
from harness.dns import NameServer
from harness.http2 import HTTP2Client
from harness.proxy import PRELUDE, default_kind
from harness.tls import V12, V13, ask, context, get, open_tls
from harness.wire import wait_for

VERSIONS = [V12, V13]


def checking(rsa, authority, text="ssl_ocsp on;", mode="on", listen="", log="/dev/null"):
    return (
        f"log_format verify '$ssl_client_verify|$ssl_client_s_dn|$status|$ssl_session_reused'; access_log {log} verify;"
        f"server {{ listen 127.0.0.1:<port> ssl {listen}; server_name localhost; ssl_certificate {rsa};"
        f"ssl_certificate_key {rsa.key}; ssl_verify_client {mode}; ssl_client_certificate {authority}; {text}\n"
        "location / { return 200 '$ssl_client_verify|$ssl_client_s_dn'; } }")


def client(authority, name="good", url=None):
    extensions = f"authorityInfoAccess=OCSP;URI:{url}\n" if url else ""
    return authority.issue(subject=f"/CN={name}", kind="ec", extensions=extensions)


def status(made, authority, certificate, **rest):
    return get(made.port, context(authority, certificate, **rest))


@contextlib.contextmanager
def answering(directory, authority, certificate, state="V", **rest):
    """A responder that says the same each time, and keeps the requests."""
    answer = ocsp.response(directory, authority, certificate, state, **rest)
    with ocsp.told(lambda: answer) as responder:
        yield responder




@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["on", "optional"])
def test_good_and_revoked(proxy, authority, rsa, tmp_path, version, mode):
    port = ports.free_port()
    good, bad, odd = (client(authority, name, f"http://127.0.0.1:{port}") for name in ("good", "bad", "odd"))
    made = proxy(checking(rsa, authority, mode=mode, log="<dir>/verify.log"))
    with ocsp.responder(tmp_path, authority, ("V", good), ("R", bad), port=port):
        answer = status(made, authority, good, least=version, most=version)
        assert (answer.status, answer.text) == (200, "SUCCESS|CN=good")
        for certificate in (bad, odd):
            answer = status(made, authority, certificate, least=version, most=version)
            assert answer.status == 400
            assert "<title>400 The SSL certificate error</title>" in answer.text
    assert "client SSL certificate verify error: certificate revoked" in made.log()
    assert "client SSL certificate verify error: certificate status unknown" in made.log()
    lines = made.directory / "verify.log"
    wait_for(lambda: len(lines.read_text().splitlines()) == 3, 5, "three lines")
    assert lines.read_text().splitlines() == [
        "SUCCESS|CN=good|200|.", "FAILED:certificate revoked|CN=bad|400|.",
        "FAILED:certificate status unknown|CN=odd|400|."]


def test_a_client_without_a_certificate_has_nobody_asked(proxy, authority, rsa, backend):
    made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{backend};", mode="optional"))
    assert get(made.port, context(authority)).text == "NONE|"
    assert backend.requests == []


def test_a_bad_certificate_has_nobody_asked(proxy, authority, stranger, rsa, backend):
    made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{backend};"))
    assert status(made, authority, client(stranger)).status == 400
    assert backend.requests == []


def test_the_configured_responder_and_its_requests(proxy, authority, rsa, tmp_path):
    certificate = client(authority, url="http://127.0.0.1:1/")
    with answering(tmp_path, authority, certificate) as responder:
        made = proxy(checking(
            rsa, authority, f"ssl_ocsp leaf; ssl_ocsp_responder http://{responder}/path;"))
        with open_tls(made.port, context(authority, certificate)) as sock:
            # One question for each connection, however many requests it has.
            for _ in range(3):
                assert ask(sock).text == "SUCCESS|CN=good"
        assert len(responder.requests) == 1
        assert status(made, authority, certificate).status == 200
        assert len(responder.requests) == 2
        assert responder.requests[0].method == "GET"
        assert responder.requests[0].target.startswith("/path/M")


@pytest.mark.switchyard_only
def test_a_responder_by_name(proxy, authority, rsa, tmp_path):
    port = ports.free_port()
    certificate = client(authority, url=f"http://ocsp.example:{port}/")
    with ocsp.responder(tmp_path, authority, ("V", certificate), port=port), NameServer(
            {"ocsp.example": ["127.0.0.1"]}) as names:
        made = proxy(checking(rsa, authority, f"ssl_ocsp on; resolver {names};"))
        assert status(made, authority, certificate).status == 200
        assert names.asked("ocsp.example") == 1


@pytest.mark.parametrize("which,asked,codes", [("on", 2, (200, 400)), ("leaf", 1, (200, 200))])
def test_the_whole_chain_or_the_leaf(proxy, authority, rsa, tmp_path, which, asked, codes):
    ports_of = ports.free_port(), ports.free_port()
    middle = Authority(tmp_path / "ca", "middle", authority, f"authorityInfoAccess=OCSP;URI:http://127.0.0.1:{ports_of[0]}\n")
    certificate = client(middle, "below", f"http://127.0.0.1:{ports_of[1]}")
    leaf = certificate.text
    certificate.path.write_text(leaf + middle.text)
    made = proxy(checking(rsa, authority, f"ssl_ocsp {which}; ssl_verify_depth 3;"))
    for state, code in zip("VR", codes):
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
        with ocsp.responder(tmp_path / "a", authority, (state, middle), port=ports_of[0]), ocsp.responder(
                tmp_path / "b", middle, ("V", certificate), port=ports_of[1]):
            assert status(made, authority, certificate).status == code
    if which == "on":
        assert "verify error: certificate revoked" in made.log()


FAILURES = {
    "garbage": b"\x30\x03garbage", "empty": b"", "unsuccessful": b"\x30\x03\x0a\x01\x06", "too_long": b"\0" * 100_000}


@pytest.mark.parametrize("fault", FAILURES)
def test_a_response_that_will_not_do(proxy, authority, rsa, fault):
    certificate = client(authority)
    with ocsp.told(lambda: FAILURES[fault]) as responder:
        made = proxy(checking(
            rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder}; ssl_ocsp_cache shared:a:1m;"))
        for _ in range(2):
            assert status(made, authority, certificate).status == 400
        # It is not kept either.
        assert len(responder.requests) == 2
    assert "client SSL certificate verify error: certificate status request failed" in made.log()


@pytest.mark.parametrize("fault", ["another", "signer", "expired", "status", "type"])
def test_an_answer_that_is_none(proxy, authority, stranger, rsa, tmp_path, fault):
    certificate = client(authority)
    answer = reply(body=b"", headers=[ocsp.TYPE])
    signer = authority.issue(subject="/O=Test/CN=responder", extensions="extendedKeyUsage=OCSPSigning\n")
    good = ocsp.response(tmp_path, authority, certificate, "V", signer)
    if fault == "another":
        good = ocsp.response(tmp_path, authority, client(authority, "other"), "V", signer)
    elif fault == "signer":
        good = ocsp.response(tmp_path, authority, certificate, "V", stranger)
    elif fault == "expired":
        good = ocsp.expired(good, signer.key, tmp_path)
    answer = reply(
        500 if fault == "status" else 200, good,
        headers=[("Content-Type", "text/html") if fault == "type" else ocsp.TYPE])
    with Backend(lambda request: answer) as responder:
        made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder};"))
        assert status(made, authority, certificate).status == 400
    assert "verify error: certificate status request failed" in made.log()
    if fault in ("another", "signer", "expired"):
        assert "while requesting certificate status" in made.log()
    if fault == "type":
        assert 'OCSP responder sent invalid "Content-Type" header: "text/html" while requesting' in made.log()


def test_an_answer_that_does_not_say_what_it_is(proxy, authority, rsa, tmp_path):
    certificate = client(authority)
    signer = authority.issue(subject="/O=Test/CN=responder", extensions="extendedKeyUsage=OCSPSigning\n")
    answer = reply(body=ocsp.response(tmp_path, authority, certificate, "V", signer))
    assert b"content-type" not in answer.lower()
    with Backend(lambda request: answer) as responder:
        made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder};"))
        assert status(made, authority, certificate).status == 200


def test_an_answer_by_a_delegate(proxy, authority, rsa, tmp_path):
    """A certificate for signing responses, of the same authority, signs in its place."""
    certificate = client(authority)
    signer = authority.issue(subject="/O=Test/CN=responder", extensions="extendedKeyUsage=OCSPSigning\n")
    with answering(tmp_path, authority, certificate, signer=signer) as responder:
        made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder};"))
        assert status(made, authority, certificate).status == 200


def test_a_responder_that_cannot_be_reached(proxy, authority, rsa):
    certificate, silent = client(authority, url=f"http://127.0.0.1:{ports.free_port()}"), client(authority)
    made = proxy(checking(rsa, authority, log="<dir>/verify.log"))
    assert status(made, authority, certificate).status == 400
    # Nor one that nobody names.
    assert status(made, authority, silent).status == 400
    assert "no OCSP responder URL in" in made.log()
    lines = made.directory / "verify.log"
    wait_for(lambda: len(lines.read_text().splitlines()) == 2, 5, "two lines")
    assert lines.read_text().splitlines() == ["FAILED:certificate status request failed|CN=good|400|."] * 2


@pytest.mark.clocked
def test_others_do_not_wait_for_a_slow_responder(proxy, authority, rsa, backend, tmp_path):
    certificate = client(authority)
    body = ocsp.response(tmp_path, authority, certificate)
    backend.answer = [1.5, reply(body=body, headers=[ocsp.TYPE])]
    made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{backend};", mode="optional"))
    began = time.monotonic()
    with open_tls(made.port, context(authority, certificate)) as sock:
        # The handshake is over, for all that the client can tell; the request waits.
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        backend.wait_requests(1)
        for _ in range(5):
            assert get(made.port, context(authority)).text == "NONE|"
        assert time.monotonic() - began < 1.4
        assert b"SUCCESS|CN=good" in sock.recv(4096)
        assert time.monotonic() - began >= 1.4


def test_a_responder_that_never_answers(proxy, authority, rsa, backend):
    """The connection is closed, once the client has had as long as it may take for a request's head."""
    certificate = client(authority)
    backend.answer = [20.0, b""]
    made = proxy(checking(
        rsa, authority, f"ssl_ocsp on; client_header_timeout 1s; ssl_ocsp_responder http://{backend};"))
    with open_tls(made.port, context(authority, certificate)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(4096) == b""
    assert "client timed out" in made.log()
    assert get(made.port, context(authority)).status == 400


def test_a_client_that_leaves_before_the_answer(proxy, authority, rsa, backend, tmp_path):
    certificate = client(authority)
    body = ocsp.response(tmp_path, authority, certificate)
    backend.answer = [0.3, reply(body=body, headers=[ocsp.TYPE])]
    made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{backend};"))
    for number, ends in enumerate((False, True), 1):
        sock = open_tls(made.port, context(authority, certificate))
        backend.wait_requests(number)
        if ends:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)
        sock.close()
    assert status(made, authority, certificate).status == 200


@pytest.mark.parametrize("state", ["V", "R"])
def test_http2(proxy, authority, rsa, tmp_path, state):
    certificate = client(authority)
    with answering(tmp_path, authority, certificate, state) as responder:
        listen = "http2" if default_kind() == "nginx" else ""
        text = "" if listen else "http2 on;"
        made = proxy(checking(
            rsa, authority, f"{text} ssl_ocsp on; ssl_ocsp_responder http://{responder};", listen=listen))
        with HTTP2Client(made.port, tls=context(authority, certificate)) as peer:
            for _ in range(2):
                stream = peer.begin(fields=peer.pseudo("/", scheme="https", authority="localhost"))
                answer = peer.response(stream)
                if state == "V":
                    assert (answer.status, answer.text) == (200, "SUCCESS|CN=good")
                else:
                    assert answer.status == 400
                    assert "The SSL certificate error" in answer.text
                    break
        assert len(responder.requests) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_that_is_resumed_is_checked_anew(proxy, authority, rsa, tmp_path, version):
    certificate = client(authority)
    answers = {state: ocsp.response(tmp_path, authority, certificate, state) for state in "VR"}
    said = ["V"]
    with ocsp.told(lambda: answers[said[0]]) as responder:
        made = proxy(checking(
            rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder}; ssl_session_cache shared:s:1m;",
            log="<dir>/verify.log"))
        mine = context(authority, certificate, least=version, most=version)
        with open_tls(made.port, mine) as sock:
            assert ask(sock).status == 200
            session = sock.session
        with open_tls(made.port, mine, session=session) as sock:
            assert sock.session_reused
            assert ask(sock).text == "SUCCESS|CN=good"
            session = sock.session
        said[0] = "R"
        with open_tls(made.port, mine, session=session) as sock:
            assert sock.session_reused
            assert ask(sock).status == 400
        assert len(responder.requests) == 3
    lines = made.directory / "verify.log"
    wait_for(lambda: len(lines.read_text().splitlines()) == 3, 5, "three lines")
    assert lines.read_text().splitlines()[-1] == "FAILED:certificate revoked|CN=good|400|r"


def test_a_refused_session_leaves_the_cache(proxy, authority, rsa, tmp_path):
    certificate = client(authority)
    with answering(tmp_path, authority, certificate, "R") as responder:
        made = proxy(checking(
            rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder}; ssl_session_cache shared:s:1m;"
            "ssl_session_tickets off;"))
        mine = context(authority, certificate, most=V12)
        with open_tls(made.port, mine) as sock:
            assert ask(sock).status == 400
            session = sock.session
        with open_tls(made.port, mine, session=session) as sock:
            assert not sock.session_reused


@pytest.mark.parametrize("state,code", [("V", 200), ("R", 400)])
def test_answers_are_kept_for_all_workers(proxy, authority, rsa, tmp_path, state, code):
    certificate, other = client(authority), client(authority, "other")
    with answering(tmp_path, authority, certificate, state) as responder:
        text = checking(
            rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder}; ssl_ocsp_cache shared:answers:64k;")
        made = proxy(config=PRELUDE.replace("worker_processes 1", "worker_processes 3") + "http { include <dir>/paths.conf;"
                     + text.replace("<port> ssl", "<port> ssl reuseport") + "}")
        for _ in range(12):
            assert status(made, authority, certificate).status == code
        assert len(responder.requests) == 1
        # By certificate.
        assert status(made, authority, other).status == 400
        assert len(responder.requests) == 2
        assert "certificate status request failed" in made.log()
        made.reload()
        if made.kind != "nginx":
            wait_for(lambda: "configuration 2 runs" in made.log(), 5, "the reload")
        for _ in range(4):
            assert status(made, authority, certificate).status == code
        assert len(responder.requests) == 2


def test_without_a_cache_each_connection_asks(proxy, authority, rsa, tmp_path):
    certificate = client(authority)
    with answering(tmp_path, authority, certificate) as responder:
        made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{responder}; ssl_ocsp_cache off;"))
        for _ in range(3):
            assert status(made, authority, certificate).status == 200
        assert len(responder.requests) == 3


@pytest.mark.parametrize("text,message", [
    ("ssl_ocsp_responder https://a/;", 'invalid URL prefix in OCSP responder "https://a/"'),
    ("ssl_verify_client optional_no_ca;", 'is incompatible with "ssl_verify_client optional_no_ca"'),
])
def test_what_cannot_be(proxy, authority, rsa, text, message):
    mode = "" if "verify_client" in text else "ssl_verify_client on;"
    made = proxy(
        f"server {{ listen 127.0.0.1:<port> ssl; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};\n"
        f"{mode} ssl_client_certificate {authority}; ssl_ocsp on;\n{text} }}", start=False)
    done = made.run("-t")
    assert done.returncode == 1
    assert message in done.stderr
    if made.kind != "nginx":
        assert "proxy.conf:" in done.stderr and "ssl_ocsp" in done.stderr


def test_nobody_is_asked_where_no_certificates_are_wanted(proxy, authority, rsa, backend):
    made = proxy(checking(rsa, authority, f"ssl_ocsp on; ssl_ocsp_responder http://{backend};", mode="off"))
    assert status(made, authority, client(authority)).text == "NONE|"
    assert backend.requests == []
