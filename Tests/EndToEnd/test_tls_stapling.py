"""OCSP responses that are fetched: `openssl ocsp` and others as responders, `openssl s_client -status` as the client."""

import time

import pytest

from harness import ocsp, ports
from harness.backend import reply
from harness.dns import NameServer
from harness.tls import V12, ask, context, open_tls, server
from harness.wire import wait_for


@pytest.fixture(scope="module")
def signer(authority):
    """Signs responses in the authority's place, with a key of RSA."""
    return authority.issue(
        subject="/O=Test/CN=responder", extensions="extendedKeyUsage=OCSPSigning\n")


def chained(certificate, authority):
    """The certificate with its issuer behind it, as it is to be installed."""
    if authority.text not in certificate.text:
        certificate.path.write_text(certificate.text + authority.text)
    return certificate


def issued(authority, url=None):
    extensions = f"authorityInfoAccess=OCSP;URI:{url}\n" if url else ""
    return chained(authority.issue("localhost", extensions=extensions), authority)


def stapled(made, authority, seconds=10):
    """Waits until a handshake carries a response."""
    wait_for(lambda: ocsp.status(made.port, authority) != "none", seconds, "a stapled response")
    return ocsp.status(made.port, authority)


@pytest.mark.parametrize("options", [["-tls1_2"], ["-tls1_3"]])
def test_a_response_is_fetched_from_whom_the_certificate_names(proxy, authority, tmp_path, options):
    port = ports.free_port()
    certificate = issued(authority, f"http://127.0.0.1:{port}")
    with ocsp.responder(tmp_path, authority, ("V", certificate), port=port):
        made = proxy(server(certificate, "ssl_stapling on;"))
        assert ocsp.status(made.port, authority, *options) == "none"
        assert stapled(made, authority) == "good"
        assert ocsp.status(made.port, authority, *options) == "good"
    # The response is kept.
    assert ocsp.status(made.port, authority, *options) == "good"


@pytest.mark.switchyard_only
def test_a_responder_by_a_name_and_one_request_for_all(proxy, authority, tmp_path):
    certificate = issued(authority, "http://127.0.0.1:1/")
    answer = ocsp.response(tmp_path, authority, certificate)
    with ocsp.told(lambda: answer) as responder, NameServer({"ocsp.example": ["127.0.0.1"]}) as names:
        made = proxy(server(
            certificate, f"ssl_stapling on; resolver {names}; ssl_stapling_responder "
            f"http://ocsp.example:{responder.port}/path;"))
        assert stapled(made, authority) == "good"
        for _ in range(3):
            assert ocsp.status(made.port, authority) == "good"
        assert len(responder.requests) == 1
        request = responder.requests[0]
        assert request.method == "GET"
        assert request.target.startswith("/path/M")
        assert request.get("host").startswith("ocsp.example")
        assert names.asked("ocsp.example") == 1


@pytest.mark.switchyard_only
def test_a_response_is_kept_across_a_reload(proxy, authority, tmp_path):
    certificate = issued(authority)
    answer = ocsp.response(tmp_path, authority, certificate)
    with ocsp.told(lambda: answer) as responder:
        made = proxy(
            server(certificate, f"ssl_stapling on; ssl_stapling_responder http://{responder};"),
            main="worker_shutdown_timeout 1s;")
        assert stapled(made, authority) == "good"
        made.reload()
        wait_for(lambda: "configuration 2 runs" in made.log(), 5, "the reload")
        assert ocsp.status(made.port, authority) == "good"
        assert len(responder.requests) == 1


def test_a_certificate_of_each_kind_has_its_own_response(proxy, authority, tmp_path):
    first, second = issued(authority), chained(authority.issue("localhost", kind="ec"), authority)
    with ocsp.responder(tmp_path, authority, ("V", first), ("V", second)) as port:
        made = proxy(server(
            first, f"ssl_certificate {second}; ssl_certificate_key {second.key}; ssl_stapling on;"
            f"ssl_stapling_responder http://127.0.0.1:{port};"))
        for ciphers in ("ECDHE+aRSA", "ECDHE+ECDSA"):
            options = ("-tls1_2", "-cipher", ciphers)
            wait_for(lambda: ocsp.status(made.port, authority, *options) == "good", 10, "a response")


FAULTS = {
    "garbage": (lambda *_: b"\x30\x03garbage", "d2i_OCSP_RESPONSE() failed"),
    "empty": (lambda *_: b"", "d2i_OCSP_RESPONSE() failed"),
    "unsuccessful": (lambda *_: b"\x30\x03\x0a\x01\x06", "OCSP response not successful (6: unauthorized)"),
    "another": (
        lambda directory, authority, _, signer: ocsp.response(
            directory, authority, authority.issue("localhost"), "V", signer),
        "certificate status not found in the OCSP response"),
    "revoked": (
        lambda directory, authority, certificate, signer: ocsp.response(
            directory, authority, certificate, "R", signer),
        'certificate status "revoked" in the OCSP response'),
    "expired": (
        lambda directory, authority, certificate, signer: ocsp.expired(
            ocsp.response(directory, authority, certificate, "V", signer), signer.key, directory),
        "OCSP_check_validity() failed"),
    "forged": (
        lambda directory, authority, certificate, signer: ocsp.response(
            directory, authority, certificate, "V", signer).replace(b"\x80\x00\x18\x0f", b"\x82\x00\x18\x0f"),
        "OCSP_basic_verify() failed"),
    "too_long": (lambda *_: b"\0" * 100_000, "response too large"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_response_that_will_not_do(proxy, authority, signer, tmp_path, fault):
    certificate = issued(authority)
    make, reason = FAULTS[fault]
    answer = make(tmp_path, authority, certificate, signer)
    with ocsp.told(lambda: answer) as responder:
        made = proxy(server(certificate, f"ssl_stapling on; ssl_stapling_responder http://{responder};"))
        assert ocsp.status(made.port, authority) == "none"
        wait_for(lambda: "while requesting certificate status" in made.log(), 5, "a line in the log")
        for _ in range(3):
            assert ocsp.status(made.port, authority) == "none"
        # Said once, and not tried again at once.
        assert made.log().count("while requesting certificate status") == 1
        assert len(responder.requests) == 1
        if made.kind != "nginx" or fault in ("revoked", "another"):
            assert reason in made.log()


@pytest.mark.switchyard_only
@pytest.mark.parametrize("answer,reason", [
    (reply(500, b"no"), "responder answered with status 500"),
    (reply(200, b"no", headers=[("Content-Type", "text/html")]), 'responder sent invalid "Content-Type" header'),
    (b"nonsense\r\n\r\n", "invalid response head"),
])
def test_a_responder_that_is_none(proxy, authority, backend, answer, reason):
    backend.answer = answer
    certificate = issued(authority)
    made = proxy(server(certificate, f"ssl_stapling on; ssl_stapling_responder http://{backend};"))
    assert ocsp.status(made.port, authority) == "none"
    wait_for(lambda: "while requesting certificate status" in made.log(), 5, "a line in the log")
    assert reason in made.log()


@pytest.mark.clocked
def test_a_slow_responder_delays_nobody(proxy, authority, backend, tmp_path):
    certificate = issued(authority)
    answer = ocsp.response(tmp_path, authority, certificate)
    backend.answer = [2.0, reply(body=answer, headers=[ocsp.TYPE])]
    made = proxy(server(certificate, f"ssl_stapling on; ssl_stapling_responder http://{backend};"))
    began = time.monotonic()
    assert ocsp.status(made.port, authority) == "none"
    backend.wait_requests(1)
    for _ in range(10):
        with open_tls(made.port, context(authority)) as sock:
            assert ask(sock).status == 200
    assert time.monotonic() - began < 1.8
    assert stapled(made, authority) == "good"
    assert len(backend.requests) == 1


@pytest.mark.switchyard_only
def test_the_next_try_succeeds_after_a_while(proxy, authority, tmp_path):
    certificate = issued(authority)
    answers = [b"garbage", ocsp.response(tmp_path, authority, certificate)]
    with ocsp.told(lambda: answers.pop(0) if len(answers) > 1 else answers[0]) as responder:
        made = proxy(server(certificate, f"ssl_stapling on; ssl_stapling_responder http://{responder};"))
        assert ocsp.status(made.port, authority) == "none"
        wait_for(lambda: "next try after 10 s" in made.log(), 5, "a line in the log")
        assert stapled(made, authority, 20) == "good"


def test_who_signed_a_response_is_verified(proxy, authority, stranger, tmp_path):
    certificate = issued(authority)
    good = ocsp.response(tmp_path, authority, certificate)
    bad = ocsp.response(tmp_path, authority, certificate, "V", stranger)
    answers = {"good": good, "bad": bad}
    for name in ("good", "bad"):
        with ocsp.told(lambda: answers[name]) as responder:
            made = proxy(server(
                certificate, f"ssl_stapling on; ssl_stapling_verify on; ssl_trusted_certificate {authority};"
                f"ssl_stapling_responder http://{responder};"))
            if name == "good":
                assert stapled(made, authority) == "good"
            else:
                assert ocsp.status(made.port, authority) == "none"
                wait_for(lambda: "OCSP_basic_verify() failed" in made.log(), 5, "a line in the log")
                assert ocsp.status(made.port, authority) == "none"


def test_what_there_can_be_no_response_for(proxy, authority):
    """Told when the configuration is loaded; handshakes go on without."""
    alone, silent = authority.issue("localhost"), issued(authority)
    other, nowhere = issued(authority, "ldap://127.0.0.1/"), issued(authority, "http:///")
    for certificate, reason in [
            (alone, "issuer certificate not found"), (silent, "no OCSP responder URL in the certificate"),
            (other, 'invalid URL prefix in OCSP responder "ldap://127.0.0.1/"'), (nowhere, "no host in OCSP responder")]:
        made = proxy(server(certificate, "ssl_stapling on;"))
        done = made.run("-t")
        assert done.returncode == 0
        assert "ignored, " + reason in done.stderr
        assert ocsp.status(made.port, authority) == "none"


def test_the_issuer_among_trusted_certificates(proxy, authority, tmp_path):
    certificate = authority.issue("localhost")
    with ocsp.responder(tmp_path, authority, ("V", certificate)) as port:
        made = proxy(server(
            certificate, f"ssl_stapling on; ssl_trusted_certificate {authority};"
            f"ssl_stapling_responder http://127.0.0.1:{port};"))
        assert stapled(made, authority) == "good"


def test_clients_that_do_not_ask_have_nothing_fetched(proxy, authority, backend):
    certificate = issued(authority)
    made = proxy(server(certificate, f"ssl_stapling on; ssl_stapling_responder http://{backend};"))
    with open_tls(made.port, context(authority, most=V12)) as sock:
        assert ask(sock).status == 200
    assert backend.requests == []
