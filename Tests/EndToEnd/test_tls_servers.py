"""TLS with clients: server names, clients' certificates, sessions, reloads and what is wrong with a configuration."""

import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness.certificates import openssl
from harness.http2 import HTTP2Client
from harness.proxy import whole
from harness.tls import FACTS, V12, V13, ask, context, facts, get, open_tls, server
from harness.wire import wait_for


def shown(port, made, name):
    """The name of the certificate that is shown for `name`."""
    made.check_hostname = False
    with open_tls(port, made, name) as sock:
        return sock.getpeercert()["subject"][0][0][1], ask(sock, host=name or "x")


def named(certificate, name, text="", listen=""):
    return (
        f"server {{ listen 127.0.0.1:<port> ssl {listen}; server_name {name}; ssl_certificate {certificate};"
        f"ssl_certificate_key {certificate.key}; {text} location / {{ return 200 '$server_name|$ssl_server_name'; }} }}\n")


# Server names


def test_the_name_chooses_the_server(proxy, authority):
    one, two, wild, expression = (
        authority.issue(name) for name in ("one.example", "two.example", "*.wild.example", "number.example"))
    made = proxy(
        named(one, "one.example") + named(two, "two.example www.two.*") + named(wild, "*.wild.example")
        + named(
            expression, r"'~^n\d+\.example$'").replace("$server_name|", "expression|"))
    for asked, certificate, answer in (
            ("one.example", "one.example", "one.example|one.example"),
            ("TWO.example", "two.example", "two.example|TWO.example"),
            ("www.two.org", "two.example", "two.example|www.two.org"),
            ("a.b.wild.example", "*.wild.example", "*.wild.example|a.b.wild.example"),
            ("n12.example", "number.example", "expression|n12.example"),
            ("unknown.example", "one.example", "one.example|unknown.example"),
            (None, "one.example", "one.example|")):
        found, response = shown(made.port, context(authority), asked)
        assert (found, response.text) == (certificate, answer)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
def test_a_server_has_versions_and_ciphers_of_its_own(proxy, authority, rsa, version):
    made = proxy(
        named(rsa, "localhost", "ssl_protocols TLSv1.2;") + named(rsa, "backend.example", "ssl_protocols TLSv1.3;"))
    for name, only in (("localhost", V12), ("backend.example", V13)):
        client = context(authority, least=version, most=version)
        if version == only:
            assert get(made.port, client, name).status == 200
        else:
            with pytest.raises(ssl.SSLError):
                get(made.port, client, name)


def test_a_server_that_rejects(proxy, authority, rsa):
    made = proxy(
        "server { listen 127.0.0.1:<port> ssl default_server; ssl_reject_handshake on; }\n" + named(rsa, "localhost"))
    assert get(made.port, context(authority)).text == "localhost|localhost"
    for name in ("other.example", None):
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            client = context(authority)
            client.check_hostname = False
            open_tls(made.port, client, name)
    wait_for(lambda: made.log().count("SSL handshaking") == 2, 5, "lines for both")
    assert len(re.findall(
        r"\[info\] \S+: \*\d+ handshake rejected while SSL handshaking, client: 127\.0\.0\.1, server: ", made.log())) == 2


@pytest.mark.switchyard_only
def test_certificates_by_variables(proxy, authority):
    made = proxy(
        "server { listen 127.0.0.1:<port> ssl; ssl_certificate <dir>/$ssl_server_name.crt;"
        "ssl_certificate_key $ssl_server_name.key; location / { return 200 $ssl_server_name; } }", start=False)
    for name in ("one.example", "two.example"):
        certificate = authority.issue(name)
        (made.directory / f"{name}.crt").write_text(certificate.text)
        (made.directory / f"{name}.key").write_text(certificate.key.read_text())
    made.start()
    for name in ("one.example", "two.example"):
        assert get(made.port, context(authority), name).text == name
    with pytest.raises(ssl.SSLError):
        get(made.port, context(authority), "three.example")
    assert re.search(r"\[error\].*cannot load certificate \"[^\"]*three.example.crt\": No such file", made.log())


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("rsa_name,ec_name", [("$ssl_server_name.rsa", "$ssl_server_name.ec"), ("a.test.rsa", "$ssl_server_name.ec")])
def test_each_kind_of_key_by_variables(proxy, authority, version, rsa_name, ec_name):
    made = proxy(
        "server { listen 127.0.0.1:<port> ssl;"
        + "".join(f"ssl_certificate <dir>/{name}.crt; ssl_certificate_key <dir>/{name}.key;" for name in (rsa_name, ec_name))
        + " location / { return 200 x; } }", start=False)
    for kind in ("rsa", "ec"):
        certificate = authority.issue("a.test", kind=kind)
        (made.directory / f"a.test.{kind}.crt").write_text(certificate.text)
        (made.directory / f"a.test.{kind}.key").write_text(certificate.key.read_text())
    made.start()
    for scheme, kind in (("rsa_pss_rsae_sha256", "rsaEncryption"), ("ecdsa_secp256r1_sha256", "id-ecPublicKey")):
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-servername", "a.test", version, "-sigalgs", scheme],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=20).stdout
        text = subprocess.run(
            ["openssl", "x509", "-noout", "-text"], input=shown, capture_output=True, timeout=20).stdout.decode()
        assert f"Public Key Algorithm: {kind}" in text


def by_name(proxy, text="", outer=""):
    return proxy(
        outer + "server { listen 127.0.0.1:<port> ssl; ssl_certificate <dir>/$ssl_server_name.crt;"
        "ssl_certificate_key <dir>/$ssl_server_name.key; " + text + " location / { return 200 ok; } }")


def install(made, name, certificate):
    (made.directory / f"{name}.crt").write_text(certificate.text)
    (made.directory / f"{name}.key").write_text(certificate.key.read_text())


def served(made, authority, name):
    """The serial of the certificate that a handshake for `name` shows; `None` where it fails."""
    try:
        with open_tls(made.port, context(authority), name) as sock:
            return int(sock.getpeercert()["serialNumber"], 16)
    except (ssl.SSLError, ConnectionError):
        return None


def serial(certificate):
    return int(certificate.show("-serial").split("=")[1], 16)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("text,outer", [("", ""), ("ssl_certificate_cache off;", "ssl_certificate_cache max=10;")])
def test_without_a_cache_a_new_certificate_is_seen_at_once(proxy, authority, text, outer):
    first, second = authority.issue("one.example"), authority.issue("one.example")
    made = by_name(proxy, text, outer)
    for certificate in (first, second):
        install(made, "one.example", certificate)
        assert served(made, authority, "one.example") == serial(certificate)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("outer", ["", "ssl_certificate_cache max=10 valid=1s;"])
def test_a_new_certificate_is_seen_when_the_old_ones_time_is_over(proxy, authority, outer):
    first, second = authority.issue("one.example"), authority.issue("one.example")
    made = by_name(proxy, "" if outer else "ssl_certificate_cache max=10 valid=1s;", outer)
    install(made, "one.example", first)
    assert served(made, authority, "one.example") == serial(first)
    began = time.monotonic()
    install(made, "one.example", second)
    seen = served(made, authority, "one.example")
    assert seen == serial(first) or time.monotonic() - began > 0.9
    wait_for(lambda: served(made, authority, "one.example") == serial(second), 5, "the new certificate")
    assert time.monotonic() - began > 0.9
    # A file that is gone is no certificate any more.
    (made.directory / "one.example.crt").unlink()
    wait_for(lambda: served(made, authority, "one.example") is None, 5, "no certificate")


@pytest.mark.switchyard_only
@pytest.mark.parametrize("text", ["", "ssl_certificate_cache max=4;"])
def test_a_pipe_in_place_of_a_certificate_keeps_nobody_waiting(proxy, authority, text):
    made = by_name(proxy, text)
    install(made, "one.example", authority.issue("one.example"))
    os.mkfifo(made.directory / "pipe.example.crt")
    assert served(made, authority, "pipe.example") is None
    assert f'cannot load certificate "{made.directory}/pipe.example.crt": not a regular file' in made.log()
    assert served(made, authority, "one.example")


@pytest.mark.switchyard_only
def test_the_least_recently_used_certificate_leaves_the_cache(proxy, authority):
    made = by_name(proxy, "ssl_certificate_cache max=4 inactive=1h valid=1h;")
    names = ("one.example", "two.example", "three.example")
    for name in names:
        install(made, name, authority.issue(name))
    assert served(made, authority, names[0]) and served(made, authority, names[1]) and served(made, authority, names[0])
    assert served(made, authority, names[2])
    for name in names:
        (made.directory / f"{name}.crt").unlink()
    # In the order of their places; each that fails leaves the others alone.
    assert served(made, authority, names[1]) is None
    assert served(made, authority, names[0]) and served(made, authority, names[2])


@pytest.mark.switchyard_only
def test_certificates_that_scripts_give_are_kept(proxy, authority):
    certificate = authority.issue("one.example")
    made = by_name(proxy, "ssl_certificate_cache max=4;"
                   "certificate_by_lua_block { return { certificate = '<dir>/given.crt', key = '<dir>/given.key' } }")
    install(made, "given", certificate)
    assert served(made, authority, "one.example") == serial(certificate)
    (made.directory / "given.crt").unlink()
    assert served(made, authority, "one.example") == serial(certificate)


def test_certificates_as_data(proxy, authority):
    certificate = authority.issue("data.example")
    quoted = [text.replace("$", "") for text in (certificate.text, certificate.key.read_text())]
    made = proxy(
        f'server {{ listen 127.0.0.1:<port> ssl; ssl_certificate "data:{quoted[0]}"; '
        f'ssl_certificate_key "data:{quoted[1]}"; location / {{ return 200 fixed; }} }}')
    assert get(made.port, context(authority), "data.example").text == "fixed"
    made = proxy(
        f'map $ssl_server_name $certificate {{ data.example "data:{quoted[0]}"; }}\n'
        f'map $ssl_server_name $key {{ data.example "data:{quoted[1]}"; }}\n'
        "server { listen 127.0.0.1:<port> ssl; ssl_certificate $certificate; ssl_certificate_key $key;"
        "location / { return 200 mapped; } }")
    assert get(made.port, context(authority), "data.example").text == "mapped"


def test_a_key_with_a_password(proxy, authority):
    certificate = authority.issue("localhost", password="open sesame")
    made = proxy(server(certificate, "ssl_password_file <dir>/passwords;"), start=False)
    (made.directory / "passwords").write_text("wrong\nopen sesame\n")
    made.start()
    assert get(made.port, context(authority)).status == 200


# Logs of keys


def keys(path):
    """The lines of a log of keys, without comments."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted(line for line in lines if line and not line.startswith("#"))


LABELS = {
    V12: ["CLIENT_RANDOM"],
    V13: ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "EXPORTER_SECRET",
          "SERVER_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"]}


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
def test_a_log_of_keys(proxy, authority, rsa, tmp_path, version):
    made = proxy(
        named(rsa, "localhost", "ssl_key_log keys.log;") + named(rsa, "backend.example"))
    mine = context(authority, least=version, most=version)
    mine.keylog_filename = str(tmp_path / "mine.log")
    log = made.directory / "keys.log"
    assert log.stat().st_mode & 0o777 == 0o600
    for count in (1, 2):
        assert get(made.port, mine).status == 200
        # As the client says, line by line.
        assert keys(log) == keys(tmp_path / "mine.log")
        assert [line.split()[0] for line in keys(log)] == [label for label in LABELS[version] for _ in range(count)]
    # What another server's connections have is not written, nor what another name's have.
    mine.keylog_filename = None
    mine.check_hostname = False
    before = keys(log)
    assert get(made.port, mine, "backend.example").status == 200
    assert keys(log) == before
    # After a move and a signal, lines go to a new file.
    log.rename(made.directory / "old.log")
    os.kill(made.process.pid, signal.SIGUSR1)
    wait_for(log.exists, 5, "a new file")
    assert log.stat().st_mode & 0o777 == 0o600
    assert get(made.port, mine).status == 200
    assert len(keys(log)) == len(LABELS[version])


@pytest.mark.switchyard_only
def test_a_log_of_keys_goes_on_after_a_reload(proxy, authority, rsa):
    made = proxy(named(rsa, "localhost", "ssl_key_log keys.log;"))
    log = made.directory / "keys.log"
    assert get(made.port, context(authority, most=V12)).status == 200
    made.reload()
    wait_for(lambda: "configuration 2 runs" in made.log(), 5, "the reload")
    log.rename(made.directory / "old.log")
    os.kill(made.process.pid, signal.SIGUSR1)
    wait_for(log.exists, 5, "a new file")
    assert get(made.port, context(authority, most=V12)).status == 200
    assert len(keys(log)) == 1


# Certificates of clients

VERIFYING = (
    "server {{ listen 127.0.0.1:<port> ssl; ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"
    "ssl_verify_client {mode}; {trust} {more}"
    "location / {{ return 200 '$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_serial|"
    "$ssl_client_fingerprint'; }} }}")


@pytest.fixture(scope="module")
def clients(authority, stranger, client_certificate):
    return {
        "good": client_certificate, "none": None,
        "expired": authority.issue(subject="/CN=late", days=-1, kind="ec"),
        "stranger": stranger.issue(subject="/CN=stranger", kind="ec")}


def verifying(rsa, authority, mode, more=""):
    trust = f"ssl_client_certificate {authority};" if mode != "optional_no_ca" else ""
    return VERIFYING.format(rsa=rsa, mode=mode, trust=trust, more=more)


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("mode", ["on", "optional", "optional_no_ca"])
@pytest.mark.parametrize("kind", ["good", "none", "expired", "stranger"])
def test_certificates_of_clients(proxy, authority, rsa, clients, version, mode, kind):
    made = proxy(verifying(rsa, authority, mode))
    certificate = clients[kind]
    answer = get(made.port, context(authority, certificate, least=version, most=version))
    if mode == "optional_no_ca" and kind in ("good", "stranger"):
        # Without an authority, none is found for either of them.
        assert answer.status == 200
        assert re.match("FAILED:(unable to |self-signed certificate in certificate chain)", answer.text)
    elif kind == "good":
        verify, subject, issuer, serial, fingerprint = answer.text.split("|")
        assert (verify, subject, issuer) == ("SUCCESS", "CN=alice,O=Clients", "CN=authority,O=Test")
        assert serial == certificate.show("-serial").split("=")[1]
        assert fingerprint == certificate.fingerprint()
    elif kind == "none":
        if mode == "on":
            assert answer.status == 400
            assert "<title>400 No required SSL certificate was sent</title>" in answer.text
        else:
            assert answer.text == "NONE||||"
    else:
        assert answer.status == 400
        assert "<title>400 The SSL certificate error</title>" in answer.text
        assert "client SSL certificate verify error: (" in made.log()


def test_error_pages_for_bad_certificates(proxy, authority, stranger, rsa):
    made = proxy(verifying(
        rsa, authority, "on", "error_page 495 /bad; error_page 496 =403 /missing; location = /bad { return 200 bad; }"
        "location = /missing { return 200 missing; }"))
    bad = stranger.issue(subject="/CN=x")
    answer = get(made.port, context(authority, bad))
    assert (answer.status, answer.text) == (400, "bad")
    answer = get(made.port, context(authority))
    assert (answer.status, answer.text) == (403, "missing")


def test_every_variable_of_a_certificate(proxy, authority, rsa, client_certificate):
    names = (
        "raw_cert escaped_cert cert s_dn_legacy i_dn_legacy v_start v_end v_remain").split()
    made = proxy(verifying(
        rsa, authority, "on", "".join(f"location = /{name} {{ return 200 $ssl_client_{name}; }}" for name in names)))
    with open_tls(made.port, context(authority, client_certificate)) as sock:
        found = {name: ask(sock, "/" + name).text for name in names}
    pem = client_certificate.text[client_certificate.text.index("-----BEGIN"):]
    assert found["raw_cert"] == pem
    assert found["cert"] == pem.rstrip("\n").replace("\n", "\n\t")
    from urllib.parse import quote
    assert found["escaped_cert"] == quote(pem, safe="-._~")
    assert found["s_dn_legacy"] == "/O=Clients/CN=alice"
    assert found["i_dn_legacy"] == "/O=Test/CN=authority"
    assert found["v_start"] == client_certificate.show("-startdate").split("=")[1]
    assert found["v_end"] == client_certificate.show("-enddate").split("=")[1]
    assert found["v_remain"] in ("9", "10")


def test_a_certificate_that_was_revoked(proxy, authority, rsa):
    good, bad = authority.issue(subject="/CN=good"), authority.issue(subject="/CN=bad")
    revoked = authority.revocation_list(bad)
    made = proxy(verifying(rsa, authority, "on", f"ssl_crl {revoked};"))
    assert get(made.port, context(authority, good)).text.startswith("SUCCESS|CN=good")
    assert get(made.port, context(authority, bad)).status == 400
    assert "(23:certificate revoked)" in made.log()


@pytest.mark.switchyard_only
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("change,stays", [
    ("same", True), ("certificate", True), ("another authority besides", True), ("another authority", False), ("depth", True),
    ("list", True), ("revoked", False), ("names", True), ("another server of the name", False), ("mode", True),
    ("unasked", True), ("responder", False)])
def test_a_connection_that_is_kept_across_a_reload(proxy, authority, stranger, rsa, tmp_path, change, stays, http2):
    """nginx ends it instead. Its client must be one that the new configuration verifies as well."""
    certificate = authority.issue(subject="/CN=kept", kind="ec")
    trusted, own, lists = tmp_path / "trusted.pem", tmp_path / "own.pem", tmp_path / "lists.pem"
    trusted.write_text(authority.text)
    own.write_text(rsa.text + rsa.key.read_text())
    lists.write_text(authority.revocation_list().read_text())
    before = (
        f"http2 on; ssl_certificate {own}; ssl_certificate_key {own};"
        f"server {{ listen 127.0.0.1:<port> ssl; server_name localhost b.example; ssl_verify_client on;"
        f"ssl_client_certificate {trusted}; ssl_crl {lists}; location / {{ return 200 $ssl_client_verify; }} }}")
    made = proxy(before + " server_tokens off;")

    def reload():
        text = before
        if change == "certificate":
            other = authority.issue("localhost")
            own.write_text(other.text + other.key.read_text())
        elif change == "another authority besides":
            trusted.write_text(authority.text + stranger.text)
        elif change == "another authority":
            trusted.write_text(stranger.text)
            lists.write_text(stranger.revocation_list().read_text())
        elif change == "depth":
            text = text.replace("ssl_verify_client on;", "ssl_verify_client on; ssl_verify_depth 2;")
        elif change == "list":
            lists.write_text(authority.revocation_list(authority.issue(subject="/CN=other")).read_text())
        elif change == "revoked":
            lists.write_text(authority.revocation_list(certificate).read_text())
        elif change == "names":
            text = text.replace("localhost b.example", "b.example c.example localhost")
        elif change == "another server of the name":
            text = text.replace("localhost", "c.example") + text[text.index("server {"):].replace(
                "localhost b.example", "localhost").replace(str(trusted), str(stranger)).replace(f"ssl_crl {lists};", "")
        elif change == "mode":
            text = text.replace("ssl_verify_client on;", "ssl_verify_client optional;")
        elif change == "unasked":
            text = text.replace("ssl_verify_client on;", "ssl_verify_client off;")
        elif change == "responder":
            text = text.replace("ssl_verify_client on;", "ssl_verify_client on; ssl_ocsp on;")
        # The header tells when the worker has taken it up.
        made.write(whole(text + " add_header x-new 1 always;"))
        made.reload()
        wait_for(lambda: "configuration 2 runs" in made.log(), 5, "the reload")

    if http2:
        with HTTP2Client(made.port, tls=context(authority, certificate)) as client:
            assert client.fetch().text == "SUCCESS"
            reload()
            if answer := before_it_ends(
                    client, lambda: get(made.port, context(authority, certificate)).get("x-new")):
                assert answer.status == (200 if stays else 421)
            else:
                stays = True
    else:
        with open_tls(made.port, context(authority, certificate)) as sock:
            assert ask(sock).text == "SUCCESS"
            reload()
            answer = until(lambda: ask(sock), lambda answer: answer.get("x-new"))
            assert answer.status == (200 if stays else 421)
            assert answer.get("connection") == ("keep-alive" if stays else "close")
            if stays:
                assert ask(sock).status == 200
            else:
                assert sock.recv(1) == b""
    if not stays:
        assert 'configuration that verified otherwise while reading client request headers, client: 127.0.0.1, ' \
            'server: localhost, request: "GET / HTTP/' in made.log()


def before_it_ends(client, is_new):
    """What a request gets that comes after a reload, and before its client knows that the connection is to end by that;
    nothing where the proxy has not waited for it."""
    wait_for(is_new, 5, "the new configuration")
    stream = client.begin()
    client.wait(lambda: client.streams[stream].is_over or client.closed)
    return client.streams[stream] if client.streams[stream].headers else None


def until(ask, holds, seconds=5):
    """The first answer for which something holds."""
    end = time.monotonic() + seconds
    while not holds(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.01)
    return answer


@pytest.mark.switchyard_only
def test_a_client_that_was_not_asked_before_a_reload(proxy, authority, rsa, client_certificate):
    """It may have a certificate, and come back with that."""
    made = proxy(server(rsa, name="localhost"))
    with open_tls(made.port, context(authority, client_certificate)) as sock:
        assert facts(ask(sock))["ssl_client_verify"] == "NONE"
        made.reload(whole(server(
            rsa, f"ssl_verify_client on; ssl_client_certificate {authority};", name="localhost")))
        answer = until(lambda: ask(sock), lambda answer: answer.status != 200)
        assert (answer.status, answer.get("connection")) == (421, "close")
    assert facts(get(made.port, context(authority, client_certificate)))["ssl_client_verify"] == "SUCCESS"


@pytest.mark.switchyard_only
@pytest.mark.parametrize("http2", [False, True])
def test_a_plain_connection_to_what_a_reload_made_a_listener_of_tls(proxy, authority, rsa, http2):
    """nginx ends it. Nothing of the new server is for it."""
    made = proxy("http2 on; server { listen 127.0.0.1:<port>; location / { return 200 old; } }")
    after = whole("http2 on; " + server(rsa, f"ssl_verify_client on; ssl_client_certificate {authority};"))
    title = "<title>400 The plain HTTP request was sent to HTTPS port</title>"
    if http2:
        with HTTP2Client(made.port) as client:
            assert client.fetch().text == "old"
            made.reload(after)
            if answer := before_it_ends(client, lambda: title in made.fetch().text):
                assert answer.status == 400 and title in answer.text
    else:
        with socket.create_connection(("127.0.0.1", made.port), 5) as sock:
            assert ask(sock).text == "old"
            made.reload(after)
            answer = until(lambda: ask(sock), lambda answer: answer.text != "old")
            assert (answer.status, answer.get("connection")) == (400, "close") and title in answer.text
            assert sock.recv(1) == b""


@pytest.mark.switchyard_only
def test_a_connection_of_tls_to_what_a_reload_made_a_plain_listener(proxy, authority, rsa):
    """Who may ask in clear text may ask over TLS as well."""
    made = proxy(server(rsa, name="localhost"))
    with open_tls(made.port, context(authority)) as sock:
        assert ask(sock).status == 200
        made.reload(whole(
            server(rsa, f"ssl_verify_client on; ssl_client_certificate {authority};").replace(" ssl ;", ";")
            + "add_header x-new 1;"))
        answer = until(lambda: ask(sock), lambda answer: answer.get("x-new"))
        assert facts(answer)["scheme"] == "https"
        assert ask(sock).status == 200
    assert made.fetch().text.startswith("http||")


def test_a_host_that_was_not_negotiated(proxy, authority, rsa):
    made = proxy(
        named(rsa, "localhost") + named(
            rsa, "backend.example", f"ssl_verify_client on; ssl_client_certificate {authority};"))
    with open_tls(made.port, context(authority)) as sock:
        assert ask(sock, host="localhost").status == 200
        assert ask(sock, host="backend.example").status == 421
    client = context(authority)
    client.check_hostname = False
    with open_tls(made.port, client, None) as sock:
        assert ask(sock, host="backend.example").status == 400
    assert "client attempted to request the server name different from the one that was negotiated" in made.log()


def test_who_answers_for_a_host_that_was_not_negotiated(proxy, authority, rsa):
    page = "error_page 421 /page; location = /page {{ return 200 'page of {0}'; }} access_log <dir>/{0}.log one;"
    made = proxy("log_format one '$status $server_name $host'; " + named(rsa, "localhost", page.format("first")) + named(
        rsa, "backend.example",
        f"ssl_verify_client on; ssl_client_certificate {authority};" + page.format("second")))
    with open_tls(made.port, context(authority)) as sock:
        answer = ask(sock, host="backend.example")
        assert (answer.status, answer.text) == (421, "page of first")
    assert made.log_lines("first.log", 1) == ["421 localhost localhost"]
    assert made.log("second.log") == ""


def test_what_the_log_has_of_a_refusal(proxy, authority, stranger, rsa):
    made = proxy(server(rsa, f"ssl_verify_client on; ssl_client_certificate {authority};", name="localhost"))
    get(made.port, context(authority))
    get(made.port, context(authority, stranger.issue(subject="/CN=x")))
    rest = (
        r' while reading client request headers, client: 127\.0\.0\.1, server: localhost, request: "GET / HTTP/1\.1", '
        r'host: "localhost"\n')
    assert re.search(r"client sent no required SSL certificate" + rest, made.log())
    assert re.search(r"client SSL certificate verify error: \(\d+:[^)]*\)" + rest, made.log())


# Sessions


def resumes(port, client, again=None, name="localhost"):
    """Whether a second connection resumes the session of a first."""
    with open_tls(port, client, name) as sock:
        ask(sock)
        session = sock.session
    if again:
        again()
    with open_tls(port, client, name, session=session) as sock:
        said = facts(ask(sock))["ssl_session_reused"]
        assert sock.session_reused == (said == "r")
        return sock.session_reused


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("text,resumed", [
    ("", True),
    ("ssl_session_tickets off;", False),
    ("ssl_session_tickets off; ssl_session_cache shared:one:1m;", True),
    ("ssl_session_tickets off; ssl_session_cache builtin:1000;", True),
    ("ssl_session_tickets off; ssl_session_cache off;", False),
    ("ssl_session_cache shared:two:1m; ssl_session_timeout 10m;", True),
])
def test_resumption(proxy, authority, rsa, version, text, resumed):
    made = proxy(server(rsa, text), main="", values={})
    assert resumes(made.port, context(authority, least=version, most=version)) == resumed


@pytest.mark.parametrize("version,cache", [(V12, "off"), (V13, "off"), (V13, "none")])
def test_a_server_without_sessions_behind_one_that_keeps_them(proxy, authority, rsa, version, cache):
    made = proxy(
        server(rsa, "ssl_session_cache shared:kept:1m;", name="localhost")
        + server(rsa, f"ssl_session_tickets off; ssl_session_cache {cache};", name="backend.example"))
    client = context(authority, least=version, most=version)
    assert not resumes(made.port, client, name="backend.example")
    assert resumes(made.port, client)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("text", ["", "ssl_session_tickets off; ssl_session_cache shared:one:1m;"])
def test_sessions_outlive_a_reload(proxy, authority, rsa, version, text):
    made = proxy(server(rsa, text))

    def reload():
        made.reload()
        wait_for(lambda: "configuration 2 runs" in made.log(), 5, "a reload")

    assert resumes(made.port, context(authority, least=version, most=version), again=reload)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
def test_tickets_beside_a_server_without_them_outlive_a_reload(proxy, authority, rsa, version):
    made = proxy(
        "server { listen 127.0.0.1:<port> ssl default_server; ssl_session_tickets off;"
        f"ssl_certificate {rsa}; ssl_certificate_key {rsa.key}; }}\n" + server(rsa, "server_name localhost;"))

    def reload():
        made.reload()
        wait_for(lambda: "configuration 2 runs" in made.log(), 5, "a reload")

    assert resumes(made.port, context(authority, least=version, most=version), again=reload)


def test_sessions_are_those_of_all_workers(proxy, authority, rsa):
    text = "worker_processes 3;\n" + "daemon off; pid <dir>/p.pid; error_log <dir>/error.log info; events { }\nhttp {\n"
    for more in ("", "ssl_session_tickets off; ssl_session_cache shared:one:1m;"):
        made = proxy(config=text + server(rsa, more, listen="reuseport") + "}")
        assert all(resumes(made.port, context(authority, most=V12)) for _ in range(8))


def test_sessions_end(proxy, authority, rsa):
    made = proxy(server(rsa, "ssl_session_timeout 1s; ssl_session_tickets off; ssl_session_cache shared:one:1m;"))
    assert not resumes(made.port, context(authority, most=V12), again=lambda: time.sleep(2.1))


@pytest.mark.switchyard_only
def test_a_reload_that_fails_leaves_shared_sessions_alone(proxy, authority, rsa):
    made = proxy(server(rsa, "ssl_session_tickets off; ssl_session_cache shared:one:1m;"))
    client = context(authority, most=V12)
    with open_tls(made.port, client) as sock:
        ask(sock)
        first = sock.session
    for _ in range(120):
        get(made.port, client)

    def is_known():
        with open_tls(made.port, client, session=first) as sock:
            return facts(ask(sock))["ssl_session_reused"] == "r"

    small = server(rsa, "ssl_session_tickets off; ssl_session_cache shared:one:32k;")
    made.reload(whole(small + server(None, "ssl_certificate /missing; ssl_certificate_key /missing;", name="other")))
    wait_for(lambda: "cannot load certificate" in made.log(), 5, "a message")
    assert is_known()
    made.reload(whole(small))
    wait_for(lambda: not is_known(), 5, "a smaller cache")


@pytest.mark.parametrize("size", [48, 80])
def test_ticket_keys_of_files(proxy, authority, rsa, size):
    """A process with the key of another's tickets takes them; one without does not."""
    text = "ssl_session_ticket_key <dir>/a.key; ssl_session_ticket_key <dir>/b.key;"
    keys = [os.urandom(size) for _ in range(3)]
    makers = []
    for first, second in ((0, 1), (1, 0), (2, 1)):
        made = proxy(server(rsa, text), start=False)
        (made.directory / "a.key").write_bytes(keys[first])
        (made.directory / "b.key").write_bytes(keys[second])
        made.start()
        makers.append(made)
    client = context(authority, most=V12)
    with open_tls(makers[0].port, client) as sock:
        ask(sock)
        session = sock.session
    for made, reused in ((makers[1], True), (makers[2], False)):
        with open_tls(made.port, client, session=session) as sock:
            assert sock.session_reused == reused


@pytest.mark.switchyard_only
def test_a_session_of_one_server_is_not_one_of_another(proxy, authority, rsa, client_certificate):
    """A session under a server without client certificates must not pass for one with them."""
    made = proxy(
        named(rsa, "localhost")
        + named(rsa, "backend.example", f"ssl_verify_client on; ssl_client_certificate {authority};"))
    client = context(authority, client_certificate, most=V12)
    with open_tls(made.port, client, "localhost") as sock:
        ask(sock)
        session = sock.session
    with open_tls(made.port, client, "backend.example", session=session) as sock:
        assert not sock.session_reused
        assert ask(sock, host="backend.example").status == 200


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("text", ["", "ssl_session_tickets off; ssl_session_cache shared:one:1m;"])
def test_s_client(proxy, authority, rsa, version, text, tmp_path):
    made = proxy(server(rsa, text))

    def run(*args):
        return subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-servername", "localhost", "-CAfile",
             str(authority), "-verify_return_error", "-ign_eof", version, *args],
            input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True, timeout=20).stdout.decode(errors="replace")

    session = str(tmp_path / "session")
    assert "\nNew, " in run("-sess_out", session)
    again = run("-sess_in", session)
    assert "\nReused, " in again
    assert "|r|" in again


@pytest.mark.parametrize("version,kind,scheme", [
    ("-tls1_3", "rsa", "rsa_pss_rsae_sha256"), ("-tls1_3", "rsa", "rsa_pss_rsae_sha384"),
    ("-tls1_3", "rsa-pss", "rsa_pss_pss_sha512"), ("-tls1_3", "ec", "ecdsa_secp256r1_sha256"),
    ("-tls1_3", "ed25519", "ed25519"), ("-tls1_2", "rsa", "rsa_pkcs1_sha256"), ("-tls1_2", "rsa", "rsa_pss_rsae_sha512"),
    ("-tls1_2", "rsa", "rsa_pkcs1_sha224"), ("-tls1_2", "ec", "ecdsa_secp384r1_sha384"), ("-tls1_2", "ed448", "ed448"),
])
def test_signature_schemes(proxy, authority, rsa, tmp_path, version, kind, scheme):
    """openssl is told the one scheme that it may take, for the server's signature and then for the client's."""
    own = authority.issue("localhost", kind=kind)
    session = str(tmp_path / "session")

    def schemes(made, *args):
        out = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-ign_eof", version, *args],
            input=b"GET /schemes HTTP/1.0\r\n\r\n", capture_output=True, timeout=20).stdout.decode(errors="replace")
        return re.search(r"<([a-z0-9_]*)\|([a-z0-9_]*)>", out).groups()

    answer = 'location = /schemes { return 200 "<$ssl_sigalg|$ssl_client_sigalg>"; }'
    made = proxy(server(own, answer))
    assert schemes(made, "-sigalgs", scheme, "-sess_out", session) == (scheme, "")
    assert schemes(made, "-sess_in", session) == ("", "")

    made = proxy(server(
        rsa, f"ssl_verify_client on; ssl_client_certificate {authority}; ssl_conf_command ClientSignatureAlgorithms {scheme};"
        + answer))
    assert schemes(made, "-cert", own.path, "-key", own.key)[1] == scheme


def test_no_renegotiation(proxy, authority, rsa):
    made = proxy(server(rsa))
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-tls1_2"], input=b"R\n", capture_output=True,
        timeout=20)
    assert b"RENEGOTIATING" in done.stdout + done.stderr
    assert b"no renegotiation" in done.stderr
    assert get(made.port, context(authority)).status == 200


# Other settings


def test_curves_and_commands(proxy, authority, rsa):
    made = proxy(server(
        rsa, "ssl_ecdh_curve secp384r1; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;"
        "ssl_conf_command Options PrioritizeChaCha;"))
    found = facts(get(made.port, context(authority)))
    assert found["ssl_curve"] == "secp384r1"
    assert found["ssl_cipher"] == "TLS_AES_128_GCM_SHA256"


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("first,curve", [
    ("", "X25519"), ("ssl_ecdh_curve secp384r1;", "secp384r1"), ("ssl_conf_command Groups P-384;", "secp384r1")])
@pytest.mark.parametrize("second,other", [
    ("", "X25519"), ("ssl_ecdh_curve auto;", "X25519"), ("ssl_ecdh_curve secp521r1;", "secp521r1"),
    ("ssl_conf_command Groups P-521;", "secp521r1"), ("ssl_conf_command curves P-521;", "secp521r1"),
    ("ssl_conf_command ECDHParameters P-521;", "secp521r1")])
def test_a_server_has_curves_of_its_own(proxy, authority, rsa, version, first, curve, second, other):
    made = proxy("".join(
        f"server {{ listen 127.0.0.1:<port> ssl; server_name {name}; ssl_certificate {rsa};"
        f"ssl_certificate_key {rsa.key}; {text} location / {{ return 200 $ssl_curve; }} }}\n"
        for name, text in (("localhost", first), ("backend.example", second))))
    client = context(authority, least=version, most=version)
    for name, wanted in (("localhost", curve), ("backend.example", other)):
        assert get(made.port, client, name).text == wanted


def test_the_servers_order_of_ciphers(proxy, authority, rsa):
    ciphers = "ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384; ssl_protocols TLSv1.2;"
    wanted = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"
    for text, cipher in (
            ("ssl_prefer_server_ciphers on;", "ECDHE-RSA-AES128-GCM-SHA256"), ("", "ECDHE-RSA-AES256-GCM-SHA384")):
        made = proxy(server(rsa, ciphers + text))
        assert facts(get(made.port, context(authority, ciphers=wanted)))["ssl_cipher"] == cipher


def test_diffie_hellman_parameters(proxy, authority, rsa, tmp_path):
    parameters = tmp_path / "dh.pem"
    parameters.write_text(openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"))
    client = context(authority, most=V12, ciphers="DHE-RSA-AES256-GCM-SHA384")
    made = proxy(server(rsa, f"ssl_dhparam {parameters};"))
    assert facts(get(made.port, client))["ssl_cipher"] == "DHE-RSA-AES256-GCM-SHA384"
    made = proxy(server(rsa))
    with pytest.raises(ssl.SSLError):
        get(made.port, client)


def test_lists_of_what_the_client_offers(proxy, authority, rsa):
    made = proxy(server(rsa, "location /c { return 200 $ssl_ciphers; } location /g { return 200 $ssl_curves; }"))
    client = context(authority, most=V12, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    assert get(made.port, client, target="/c").text == "ECDHE-RSA-AES128-GCM-SHA256:TLS_EMPTY_RENEGOTIATION_INFO_SCSV"
    assert "prime256v1" in get(made.port, client, target="/g").text.split(":")


def test_what_a_log_has_of_facts_that_are_not(proxy, authority, rsa):
    made = proxy("log_format one '$ssl_session_id|$ssl_curve|$ssl_curves'; access_log <dir>/one.log one;" + server(
        rsa, "ssl_session_tickets on; ssl_ciphers ALL;"))
    ask_by_command(made.port, "-tls1_2", "-cipher", "AES256-SHA256")
    assert made.log_lines("one.log", 1) == ["-|-|-"]


def ask_by_command(port, *options):
    subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", *map(str, options)],
        input="GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text=True, capture_output=True, timeout=10)


def test_record_sizes(proxy, authority, rsa, backend):
    backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000
    made = proxy(
        server(rsa, "ssl_buffer_size 4k; location /b { proxy_pass http://<backend>; }"), values={"backend": backend})
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-ign_eof", "-msg", "-tls1_2"],
        input=b"GET /b HTTP/1.0\r\n\r\n", capture_output=True, timeout=20)
    sizes = [int(high + low, 16) for high, low in re.findall(rb"\n    17 03 03 (..) (..)", done.stdout)]
    assert sizes and max(sizes) <= 4096 + 64


def test_a_stapled_response(proxy, authority, rsa, tmp_path):
    certificate = authority.issue("localhost")
    index = tmp_path / "index.txt"
    serial = certificate.show("-serial").split("=")[1]
    index.write_text(f"V\t491231000000Z\t\t{serial}\tunknown\t/CN=localhost\n")
    request, response = tmp_path / "request.der", tmp_path / "response.der"
    openssl("ocsp", "-issuer", authority, "-cert", certificate, "-reqout", request, "-no_nonce")
    openssl("ocsp", "-index", index, "-rsigner", authority, "-rkey", authority.key, "-CA", authority, "-reqin",
            request, "-respout", response, "-ndays", "5")
    made = proxy(server(certificate, f"ssl_stapling on; ssl_stapling_file {response};"))
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-status", "-CAfile", str(authority)],
        input=b"", capture_output=True, timeout=20)
    assert b"OCSP Response Status: successful" in done.stdout
    assert b"Cert Status: good" in done.stdout


# Reloads


@pytest.mark.switchyard_only
def test_a_reload_takes_new_certificates(proxy, authority, backend):
    first, second = authority.issue("localhost"), authority.issue("localhost")
    made = proxy(
        "server { listen 127.0.0.1:<port> ssl; ssl_certificate <dir>/c.crt; ssl_certificate_key <dir>/c.key;"
        "location / { return 200 $ssl_session_reused; } }", start=False)

    def install(certificate):
        (made.directory / "c.crt").write_text(certificate.text)
        (made.directory / "c.key").write_text(certificate.key.read_text())

    def fingerprint():
        with open_tls(made.port, context(authority)) as sock:
            return sock.getpeercert(True)

    install(first)
    made.start()
    old = fingerprint()
    with open_tls(made.port, context(authority)) as kept:
        assert ask(kept).status == 200
        install(second)
        made.reload()
        wait_for(lambda: "configuration 2 runs" in made.log(), 5, "a reload")
        wait_for(lambda: fingerprint() != old, 5, "the new certificate")
        # What was open goes on.
        assert ask(kept).status == 200
        # A certificate that is no good leaves everything as it was.
        (made.directory / "c.crt").write_text("no certificate\n")
        made.reload()
        wait_for(lambda: "cannot load certificate" in made.log(), 5, "a message")
        assert fingerprint() != old
        assert ask(kept).status == 200


@pytest.mark.switchyard_only
@pytest.mark.parametrize("text", ["", "ssl_session_tickets off; ssl_session_cache builtin:100;"])
def test_reloads_amid_handshakes(proxy, authority, rsa, text):
    made = proxy(server(rsa, text))
    failures, done = [], threading.Event()

    def run():
        client = context(authority)
        while not done.is_set():
            try:
                resumes(made.port, client)
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 8):
        made.reload()
        wait_for(lambda: f"configuration {number} runs" in made.log(), 10, "a reload")
    done.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert made.is_running


# What is wrong with a configuration


def problem(proxy, text, **files):
    made = proxy(text, start=False)
    for name, contents in files.items():
        (made.directory / name.replace("_", ".")).write_bytes(contents)
    done = made.run("-t")
    assert done.returncode != 0, done.stderr
    return done.stderr


@pytest.mark.switchyard_only
@pytest.mark.parametrize("text,message", [
    ("ssl_certificate <dir>/missing.crt; ssl_certificate_key <dir>/missing.key;",
     r"proxy.conf:\d+:\d+: \"ssl_certificate\": cannot load certificate \".*/missing.crt\": No such file"),
    ("ssl_certificate <good>; ssl_certificate_key <dir>/missing.key;",
     r"\"ssl_certificate_key\": cannot load certificate key \".*/missing.key\": No such file"),
    ("ssl_certificate <good>;", r'no "ssl_certificate_key" is defined for certificate'),
    ("", r'"listen": no "ssl_certificate" is defined for the "listen ... ssl" directive'),
    ("ssl_certificate <good>; ssl_certificate_key <other>;",
     r"SSL_CTX_use_PrivateKey\(\) failed \(SSL: error:.*private key mismatch\) for certificate"),
    ("ssl_certificate <dir>/junk; ssl_certificate_key <goodkey>;",
     r"cannot load certificate \".*/junk\": PEM_read_bio_X509\(\) failed \(SSL: error:.*no start line"),
    ("ssl_certificate <good>; ssl_certificate_key <dir>/junk;",
     r"cannot load certificate key \".*/junk\": PEM_read_bio_PrivateKey\(\) failed"),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_ciphers nonsense;",
     r'"ssl_ciphers": SSL_CTX_set_cipher_list\(\) failed \(SSL: error:.*no cipher match'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_ecdh_curve nonsense;",
     r'"ssl_ecdh_curve": SSL_CTX_set1_curves_list\(\) failed'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_conf_command Nonsense on;",
     r'"ssl_conf_command": SSL_CONF_cmd\("Nonsense", "on"\) failed'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_key_log /nowhere/keys.log;",
     r'\[emerg\].* open\(\) "/nowhere/keys.log" failed \(2: No such file or directory\)'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>;\nssl_verify_client on;",
     r':\d+:1: "ssl_verify_client": no ssl_client_certificate for ssl_verify_client'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_client_certificate <dir>/junk;",
     r"cannot load client certificate \".*/junk\""),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_crl <dir>/junk;", r"cannot load revocation list"),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_session_ticket_key <dir>/junk;",
     r'"ssl_session_ticket_key": ".*/junk" must be 48 or 80 bytes'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_dhparam <dir>/junk;",
     r"PEM_read_bio_DHparams\(\) failed"),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_session_cache shared:x;",
     r'expected "shared:name:size"'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_session_cache shared:x:1k;", r"is too small"),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_protocols TLSv1.4;", r'expected "SSLv2", "SSLv3", "TLSv1"'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_verify_depth -1;", r'"ssl_verify_depth": found "-1"'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_conf_command Groups nonsense;",
     r'"ssl_conf_command": SSL_CONF_cmd\("Groups", "nonsense"\) failed'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_alpn http/1.1 h2;",
     r'proxy.conf:\d+:\d+: "ssl_alpn": found "h2" in a server without HTTP/2, expected "http2 on"'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_alpn h3;",
     r'"ssl_alpn": found "h3", expected "h2", "http/1.1" or "http/1.0"'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_alpn http/1.1 http/1.1;", r"expected each protocol once"),
    ("ssl_certificate <good>; ssl_certificate_key engine:x:y;", r"found a key of an engine"),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; location /x { proxy_pass https://127.0.0.1;"
     "\nproxy_ssl_verify on; }", r'proxy.conf:\d+:18: "proxy_ssl_verify": no proxy_ssl_trusted_certificate for proxy_ssl_verify'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; location /x { proxy_pass https://127.0.0.1;"
     "proxy_ssl_password_file <dir>/missing; }", r'"proxy_ssl_password_file": cannot load password file ".*/missing": No such'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; ssl_ocsp_cache shared:a:1m; ssl_session_cache shared:a:1m;",
     r'"ssl_session_cache": the shared memory zone "a" is already declared for a different use'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; location /x { proxy_pass https://127.0.0.1;"
     "proxy_ssl_certificate <good>; }", r'no "proxy_ssl_certificate_key" is defined for certificate'),
    ("ssl_certificate <good>; ssl_certificate_key <goodkey>; location /x { proxy_pass https://127.0.0.1;"
     "proxy_ssl_verify on; proxy_ssl_trusted_certificate <dir>/missing; }",
     r'"proxy_ssl_trusted_certificate": cannot load trusted certificate'),
])
def test_what_is_wrong(proxy, rsa, ecdsa, text, message):
    for name, value in (("good", rsa), ("goodkey", rsa.key), ("other", ecdsa.key)):
        text = text.replace(f"<{name}>", str(value))
    found = problem(proxy, "server { listen 127.0.0.1:<port> ssl; " + text + " }", junk=b"junk\n")
    assert re.search(message, found), found


def test_what_is_taken_as_by_nginx(proxy, authority, rsa):
    made = proxy(server(
        rsa, "ssl_verify_depth 200; ssl_session_cache shared:one:1m; ssl_session_cache builtin:0; ssl_protocols SSLv2 TLSv1.2;"
        "location /x { proxy_pass https://127.0.0.1; proxy_ssl_verify_depth 100000; proxy_ssl_protocols SSLv2 TLSv1.3; }"))
    assert facts(get(made.port, context(authority)))["ssl_protocol"] == "TLSv1.2"
    made = proxy(server(rsa, "ssl_protocols SSLv2;"))
    with pytest.raises(ssl.SSLError):
        get(made.port, context(authority))


# The `certificate` hook


def hooked(text, more=""):
    return (
        "server { listen 127.0.0.1:<port> ssl; " + more + " certificate_by_lua_block { " + text + " }"
        " location / { return 200 $ssl_server_name; } }")


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("wait", ["", "sy.sleep(0.05)"])
@pytest.mark.parametrize("form", ["pem", "path"])
def test_a_script_gives_certificates(proxy, authority, version, wait, form):
    made = proxy(hooked(
        wait + " local f = '<dir>/' .. hello.server_name local function read(p) local h = assert(io.open(p)) "
        "local t = h:read('a') h:close() return t end " + (
            "return { certificate = read(f .. '.crt'), key = read(f .. '.key') }" if form == "pem"
            else "return { certificate = f .. '.crt', key = f .. '.key' }")),
        main="", start=False)
    # The text of a certificate is read by the script itself here, which the sandbox would not let it.
    made.write(made.config_path.read_text().replace("http {", "http { lua_sandbox off;", 1))
    for name in ("one.example", "two.example"):
        certificate = authority.issue(name, kind="ec")
        (made.directory / f"{name}.crt").write_text(certificate.text)
        (made.directory / f"{name}.key").write_text(certificate.key.read_text())
    made.start()
    for name in ("one.example", "two.example"):
        assert get(made.port, context(authority, least=version, most=version), name).text == name


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
def test_a_certificate_of_a_script_stands_for_those_of_all_kinds(proxy, authority, rsa, ecdsa, version):
    made = proxy(hooked(
        f"return {{ certificate = '{rsa}', key = '{rsa.key}' }}", f"ssl_certificate {ecdsa}; ssl_certificate_key {ecdsa.key};"))
    with open_tls(made.port, context(authority, least=version, most=version)) as sock:
        assert sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(rsa.text)


@pytest.mark.switchyard_only
def test_what_a_script_sees_of_a_handshake(proxy, authority, rsa):
    made = proxy(hooked(
        "sy.log.info('<<' .. tostring(hello.server_name) .. '|' .. table.concat(hello.alpn, ',') .. '|' .. "
        "table.concat(hello.versions, ',') .. '|' .. hello.address .. '|' .. math.type(hello.port) .. '|' .. "
        "math.type(hello.ciphers[1]) .. '>>')",
        f"ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"))
    assert get(made.port, context(authority, protocols=["x/1", "http/1.1"])).text == "localhost"
    wait_for(lambda: "<<localhost|x/1,http/1.1|TLSv1.3,TLSv1.2|127.0.0.1|integer|integer>>" in made.log(), 5, "a note")


@pytest.mark.switchyard_only
@pytest.mark.parametrize("text,served,log", [
    ("return false", True, None),
    ("return nil", True, None),
    ("return { reject = 'not today' }", False, "a script rejected the handshake: not today while SSL handshaking"),
    ("sy.sleep(0.05) return { reject = 'later' }", False, "a script rejected the handshake: later"),
    ("error('broken')", False, "certificate hook of .* failed: .*broken"),
    ("return 'text'", False, "found string, expected a table, false or nothing"),
    ("return { certificate = 'x' }", False, "found a table without certificate and key"),
    ("return { certificate = '/missing', key = '/missing' }", False,
     'certificate hook: cannot load certificate "/missing": No such file'),
    ("return { certificate = '-----BEGIN junk', key = 'x' }", False, "certificate hook: cannot load certificate"),
    ("return { certificate = '<good>\\0x', key = '<goodkey>' }", False,
     'certificate hook: "certificate" has NUL in the name of a file'),
    ("return { certificate = '<good>', key = '-----BEGIN junk\\0' }", False, 'certificate hook: "key" has NUL in its text'),
    ("return { certificate = string.rep('a', 10000000), key = 'x' }", False,
     'certificate hook: "certificate" is neither PEM nor the name of a file: it is too long for that'),
    ("return { reject = 'a\\n2026/01/01 00:00:00 [emerg] 1#1: forged' }", False,
     r"rejected the handshake: a\\x0A2026/01/01 00:00:00 \[emerg\] 1#1: forged while"),
])
def test_what_a_script_answers(proxy, authority, rsa, text, served, log):
    text = text.replace("<goodkey>", str(rsa.key)).replace("<good>", str(rsa))
    made = proxy(hooked(text, f"ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"))
    if served:
        assert get(made.port, context(authority)).text == "localhost"
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(made.port, context(authority))
        wait_for(lambda: re.search(log, made.log()), 5, f"{log} in the log")
        assert len(made.log()) < 10_000


@pytest.mark.switchyard_only
@pytest.mark.parametrize("by", ["script", "variable"])
def test_a_name_with_control_characters_in_the_log(proxy, authority, rsa, by):
    pair = f"ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"
    made = proxy(
        hooked("return { reject = 'unknown ' .. hello.server_name }", pair) if by == "script"
        else server(None, "ssl_certificate /missing/$ssl_server_name; ssl_certificate_key /missing/$ssl_server_name;"))
    name = "evil\n2026/01/01 00:00:00 [emerg] 1#1: forged\x1b[2J"
    subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-servername", name], input="", text=True,
        capture_output=True, timeout=10)
    shown = r"evil\x0A2026/01/01 00:00:00 [emerg] 1#1: forged\x1B[2J"
    wait_for(lambda: shown in made.log(), 5, "a message")


@pytest.mark.switchyard_only
def test_a_client_that_leaves_while_a_script_waits(proxy, authority, rsa):
    made = proxy(hooked(
        "if hello.server_name == 'slow.example' then sy.sleep(0.4) end return false",
        f"ssl_certificate {rsa}; ssl_certificate_key {rsa.key};"))
    for _ in range(5):
        client = context(authority)
        raw = socket.create_connection(("127.0.0.1", made.port), 5)
        raw.settimeout(0.1)
        with pytest.raises((TimeoutError, OSError)):
            client.wrap_socket(raw, server_hostname="slow.example")
        raw.close()
    time.sleep(0.6)
    assert get(made.port, context(authority)).text == "localhost"


@pytest.mark.switchyard_only
def test_a_plugin_gives_certificates(proxy, authority):
    certificate = authority.issue("plugin.example", kind="ec")
    made = proxy(
        "server { listen 127.0.0.1:<port> ssl; plugin <dir>/own.lua; location / { return 200 ok; } }", start=False)
    (made.directory / "own.lua").write_text(
        "return { certificate = function(hello) if hello.server_name == 'plugin.example' then "
        f"return {{ certificate = '{certificate}', key = '{certificate.key}' }} end end }}")
    made.start()
    assert get(made.port, context(authority), "plugin.example").text == "ok"
    with pytest.raises(ssl.SSLError):
        get(made.port, context(authority), "other.example")


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("text", [
    "", "ssl_session_tickets off; ssl_session_cache shared:one:1m;",
    "ssl_session_tickets off; ssl_session_cache builtin:1000;"])
@pytest.mark.parametrize("first", ["", "<first>"])
def test_a_session_of_another_name_does_not_pass_a_plugin_by(proxy, authority, rsa, version, text, first):
    # RFC 6066 §3. Where the plugin's server is not the one that handshakes begin under, too.
    other = authority.issue("first.example") if first else None
    before = (
        f"server {{ listen 127.0.0.1:<port> ssl; server_name first.example; ssl_certificate {other};"
        f"ssl_certificate_key {other.key}; {text} }}\n" if first else "")
    made = proxy(
        before + "server { listen 127.0.0.1:<port> ssl; plugin <dir>/own.lua; server_name localhost *.example;"
        f"ssl_certificate {rsa}; ssl_certificate_key {rsa.key}; {text}"
        'location / { return 200 "$ssl_session_reused"; } }', start=False)
    (made.directory / "own.lua").write_text(
        "return { certificate = function(hello) if hello.server_name == 'backend.example' then "
        "return { reject = 'not this one' } end end }")
    made.start()
    client = context(authority, least=version, most=version)
    client.check_hostname = False
    with open_tls(made.port, client, "localhost") as sock:
        ask(sock)
        session = sock.session
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            open_tls(made.port, client, "backend.example", session=session)
    for name, reused in (("localhost", True), ("other.example", False), (None, False)):
        if name is None and first:
            continue
        with open_tls(made.port, client, name, session=session) as sock:
            assert ask(sock).text == ("r" if reused else "."), name
            assert sock.session_reused == reused
    lines = [line for line in made.log().splitlines() if "handshak" in line]
    assert len(lines) == 2 and all("a script rejected the handshake: not this one" in line for line in lines), lines


@pytest.mark.parametrize("version", [V12, V13])
def test_a_session_is_one_of_all_names_of_a_server(proxy, authority, rsa, version):
    made = proxy(server(rsa, name="localhost backend.example"))
    client = context(authority, least=version, most=version)
    client.check_hostname = False
    with open_tls(made.port, client) as sock:
        ask(sock)
        session = sock.session
    with open_tls(made.port, client, "backend.example", session=session) as sock:
        ask(sock)
        assert sock.session_reused


@pytest.mark.switchyard_only
def test_a_named_server_has_a_number_of_tickets_of_its_own(proxy, authority, rsa):
    made = proxy(
        server(rsa, name="localhost") + server(rsa, "ssl_conf_command NumTickets 0;", name="backend.example"))
    client = context(authority, least=V13)
    client.check_hostname = False
    for name, has_tickets in (("localhost", True), ("backend.example", False)):
        with open_tls(made.port, client, name) as sock:
            ask(sock)
            assert sock.session.has_ticket == has_tickets


def test_a_command_asks_for_certificates(proxy, authority, stranger, rsa):
    made = proxy(
        server(rsa, "ssl_conf_command VerifyMode Request;", name="localhost")
        + server(rsa, "ssl_conf_command VerifyMode Request;", name="backend.example"))
    for name in ("localhost", "backend.example"):
        for certificate in (None, stranger.issue(subject="/CN=x")):
            client = context(authority, certificate)
            client.check_hostname = False
            answer = get(made.port, client, name)
            assert answer.status == 200
            assert facts(answer)["ssl_client_verify"].startswith("FAILED:" if certificate else "NONE")
