"""Names and passwords, `satisfy`, and what they cost others. What the checks of a location come to is in AccessTests."""

import base64
import os
import signal
import threading
import time
import warnings

import pytest

from harness import ports
from harness.http2 import HTTP2Client
from harness.websocket import MAP, RECIPE, echoing, frame, handshake, opened
from harness.wire import Client, wait_for

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

PASSWORD = "open sesame"
# By openssl passwd, crypt(3) and hashlib, of PASSWORD.
USERS = {
    "plain": "{PLAIN}open sesame",
    "sha": "{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=",
    "ssha": "{SSHA}hN5uxFJUEWCPg56kk42tnVCdJ61zYWx0",
    "apr1": "$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ.",
    "md5": "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/",
    "sha256": "$5$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC",
    "sha512": "$6$saltsalt$e/5XKibXPLqVcfjpD.ouauaJrAOL5V0uo80Lt7n7EbRdRiCx3HbQ90yjOHr.G0T.mx79PEMRy8nmtr0qSYhQp1",
    "des": "ab/G8gtZdMwak",
    "bcrypt": "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW",
    "yescrypt": "$y$j75$saltsaltsalt$/t.p6VFaMssrvW9hjFBIPSCdXaaCzdMD9V8t0nx8fL.",
}
SERVER = "server { listen 127.0.0.1:<port>; error_log <dir>/error.log info; "


def login(user, password=PASSWORD):
    return ("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def users(made, lines=None):
    text = lines if lines is not None else "".join(f"{name}:{stored}\n" for name, stored in USERS.items())
    (made.directory / "users").write_text("# users\n\n" + text)


def log_lines(made, words):
    wait_for(lambda: words in made.log(), what=f"{words} in the log")
    return [line for line in made.log().splitlines() if words in line]


@pytest.fixture
def secured(proxy, backend):
    """A proxy that asks for a password, with its backend and its file of users."""

    def make(location="", server="", lines=None, http="", **rest):
        made = proxy(
            http + SERVER + server + " auth_basic_user_file users; location / { auth_basic 'the cave';"
            " proxy_pass http://<backend>; " + location + " } }", values={"backend": backend}, **rest)
        made.backend = backend
        users(made, lines)
        return made

    return make


@pytest.mark.parametrize("user", USERS)
def test_each_kind_of_hash(secured, user):
    made = secured(http="log_format who '$remote_user'; access_log <dir>/access.log who;")
    for _ in range(2):
        assert made.fetch("/", headers=[login(user)]).status == 200
    # DES looks at eight bytes of a password only.
    for wrong in ("", "open se", "Open sesame"):
        found = made.fetch("/", headers=[login(user, wrong)])
        assert found.status == 401
        assert [value.decode() for value in found.values("WWW-Authenticate")] == ['Basic realm="the cave"']
    assert len(made.backend.requests) == 2
    line = log_lines(made, "password mismatch")[0]
    assert '[error]' in line and f'user "{user}": password mismatch, client: 127.0.0.1, server: ' in line
    assert made.log_lines("access.log", 5) == [user] * 5


def test_who_is_not_known(secured):
    made = secured()
    assert made.fetch("/").status == 401
    assert made.fetch("/", headers=[login("nobody")]).status == 401
    assert "[info]" in log_lines(made, "no user/password was provided for basic authentication")[0]
    line = log_lines(made, 'user "nobody" was not found in')[0]
    assert "[error]" in line and f'was not found in "{made.directory}/users", client: ' in line
    assert made.backend.requests == []


def test_a_file_that_is_changed_counts_at_once(secured):
    made = secured()
    assert made.fetch("/", headers=[login("sha512")]).status == 200
    users(made, "sha512:{PLAIN}another\n")
    assert made.fetch("/", headers=[login("sha512")]).status == 401
    assert made.fetch("/", headers=[login("sha512", "another")]).status == 200


def test_a_file_that_is_missing_or_no_file(secured):
    made = secured("location /directory { auth_basic x; auth_basic_user_file .; proxy_pass http://<backend>; }")
    os.unlink(made.directory / "users")
    assert made.fetch("/", headers=[login("md5")]).status == 403
    line = log_lines(made, "failed (2: No such file or directory)")[0]
    assert "[error]" in line and f'open() "{made.directory}/users" failed' in line
    assert made.fetch("/directory", headers=[login("md5")]).status == 500
    assert "[crit]" in log_lines(made, "failed (21: Is a directory)")[0]
    # Without a name and a password, nobody looks.
    assert made.fetch("/").status == 401


def test_variables_choose_realm_and_file(secured):
    made = secured(
        "location /by/ { auth_basic $arg_realm; auth_basic_user_file $dir/$arg_file; proxy_pass http://<backend>; }",
        http="map $host $dir { default <dir>; } ")
    (made.directory / "others").write_text("other:{PLAIN}x")
    assert made.fetch("/by/?realm=r&file=others", headers=[login("other", "x")]).status == 200
    assert made.fetch("/by/?realm=r&file=users", headers=[login("other", "x")]).status == 401
    assert made.fetch("/by/?realm=r").get("WWW-Authenticate") == 'Basic realm="r"'
    assert made.fetch("/by/?realm=off&file=none").status == 200


def test_satisfy(secured):
    any_ = "satisfy any; auth_basic any; proxy_pass http://<backend>;"
    made = secured(
        "location /in { allow 127.0.0.1; deny all; " + any_ + " } location /out { deny all; " + any_ + " }"
        " location /both { satisfy all; deny 127.0.0.2; allow all; auth_basic both; proxy_pass http://<backend>; }"
        " location /never { deny all; auth_basic never; proxy_pass http://<backend>; }")
    assert made.fetch("/in").status == 200
    found = made.fetch("/out")
    assert found.status == 401 and found.get("WWW-Authenticate") == 'Basic realm="any"'
    found = made.fetch("/out", headers=[login("sha")])
    assert found.status == 200 and "WWW-Authenticate" not in found
    assert "access forbidden by rule" not in made.log()
    assert made.fetch("/both", headers=[login("sha")]).status == 200
    assert made.fetch("/both").status == 401
    assert made.fetch("/never", headers=[login("sha")]).status == 403
    os.unlink(made.directory / "users")
    assert made.fetch("/out", headers=[login("sha")]).status == 403
    assert len(log_lines(made, "access forbidden by rule")) == 2


def test_an_error_page_goes_with_the_challenge(secured):
    made = secured("error_page 401 /page; ", server="location /page { return 402 'Log in.'; }")
    found = made.fetch("/")
    assert (found.status, found.body) == (401, b"Log in.")
    assert found.get("WWW-Authenticate") == 'Basic realm="the cave"'


def test_bodies_and_pipelined_requests_wait(secured):
    made = secured()
    with Client(made.port) as client:
        for number in range(3):
            client.request(f"/{number}", method="POST", headers=[login("sha512")], body=b"x" * 70_000 + b"%d" % number)
        for number in range(3):
            assert client.read_response().status == 200
    assert [(request.target, len(request.body), request.body[-1:]) for request in made.backend.requests] == [
        (f"/{number}", 70_001, b"%d" % number) for number in range(3)]
    with Client(made.port) as client:
        client.request("/", method="POST", headers=[login("sha512", "wrong")], body=b"x" * 70_000)
        assert client.read_response().status == 401


def test_streams_of_http2(secured):
    port = ports.free_port()
    made = secured(server=f"listen 127.0.0.1:{port} http2;")
    with HTTP2Client(port) as client:
        streams = [
            client.begin("/", headers=[(name.lower(), value) for name, value in [login("sha512", password)]])
            for password in (PASSWORD, "wrong", PASSWORD)]
        assert [client.response(stream).status for stream in streams] == [200, 401, 200]
        bare = client.fetch("/")
        assert (bare.status, bare.get("www-authenticate")) == (401, 'Basic realm="the cave"')
    assert len(made.backend.requests) == 2


def test_websockets(secured):
    made = secured(location=RECIPE + "proxy_http_version 1.1;", http=MAP)
    made.backend.program = echoing()
    with Client(made.port) as client:
        client.send(handshake())
        assert client.read_response().status == 401
    assert made.backend.connections == []
    with opened(made.port, headers=[login("sha512")]) as client:
        sent = frame(b"x", masked=True)
        client.send(sent)
        assert client.read_exactly(len(sent)) == sent


@pytest.mark.switchyard_only
def test_a_costly_hash_holds_nobody_up(secured):
    # Half a second and more.
    slow = crypt.crypt(PASSWORD, "$6$rounds=600000$saltsalt")
    made = secured(lines=f"slow:{slow}\nquick:{{PLAIN}}x\n")
    started = time.monotonic()
    assert made.fetch("/", headers=[login("slow")]).status == 200
    cost = time.monotonic() - started
    results = []

    def ask():
        results.append(made.fetch("/", headers=[login("slow", "guess")]).status)

    # All of one guess: computed once.
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(cost / 10)
    began = time.monotonic()
    for _ in range(5):
        assert made.fetch("/", headers=[login("quick", "x")]).status == 200
        # It was verified before, and is not computed again.
        assert made.fetch("/", headers=[login("slow")]).status == 200
    assert results == []
    assert time.monotonic() - began < cost / 2
    for thread in threads:
        thread.join()
    assert results == [401] * 8
    assert time.monotonic() - began < 4 * cost


@pytest.mark.switchyard_only
def test_a_client_that_leaves_while_its_password_is_computed(secured):
    made = secured(lines=f"slow:{crypt.crypt(PASSWORD, '$6$rounds=900000$saltsalt')}\n",
                   http="log_format status '$status'; access_log <dir>/access.log status;")
    with Client(made.port) as client:
        client.request("/", method="POST", body=b"whole", headers=[login("slow", "guess")])
        time.sleep(0.1)
        client.reset()
    assert made.log_lines("access.log", 1, 10) == ["499"]
    assert " while sending request to upstream" not in made.log()


@pytest.mark.switchyard_only
def test_threads_for_passwords_leave_nothing_behind(secured):
    """Each of them ends with its work, and with it what the system keeps of a thread."""
    made = secured(lines=f"slow:{crypt.crypt(PASSWORD, '$5$rounds=1000$saltsalt')}\n")

    def stacks():
        with open(f"/proc/{made.pid}/maps", encoding="ascii") as maps:
            spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
        return sum(end - start == 8 << 20 for start, end in spans)

    text = made.config_path.read_text()
    before = stacks()
    for number in range(2, 26, 2):
        made.reload(text.replace("worker_processes 1", "worker_processes 4"))
        wait_for(lambda: f"configuration {number} runs" in made.log(), what="more workers")
        for guess in range(16):
            assert made.fetch("/", headers=[login("slow", f"guess {guess}")]).status == 401
        made.reload(text)
        wait_for(lambda: f"configuration {number + 1} runs" in made.log(), what="one worker")
    # The C library keeps some stacks for the next threads.
    wait_for(lambda: stacks() <= before + 8, 5, "the end of the threads")


@pytest.mark.switchyard_only
@pytest.mark.parametrize("leave", [Client.reset, Client.close])
def test_guesses_of_clients_that_have_gone_are_not_computed(secured, leave):
    slow = crypt.crypt(PASSWORD, "$6$rounds=600000$saltsalt")
    made = secured(lines=f"slow:{slow}\n")
    started = time.monotonic()
    assert made.fetch("/", headers=[login("slow")]).status == 200
    cost = time.monotonic() - started
    clients = []
    for number in range(30):
        clients.append(Client(made.port))
        clients[-1].request("/", headers=[login("slow", f"guess {number}")])
    time.sleep(cost / 4)
    for client in clients:
        leave(client)
    began = time.monotonic()
    assert made.fetch("/", headers=[login("slow", "guess")], timeout=60).status == 401
    assert time.monotonic() - began < 6 * cost


def seconds(made, target="/", **rest):
    """How long its 401 takes."""
    started = time.monotonic()
    assert made.fetch(target, **rest).status == 401
    return time.monotonic() - started


def test_a_401_is_delayed(secured):
    made = secured(
        "auth_delay 400ms;"
        " location /forbidden { deny all; proxy_pass http://<backend>; }"
        " location /any { satisfy any; deny all; auth_basic any; proxy_pass http://<backend>; }"
        " location /asked { auth_basic off; auth_request /says401; proxy_pass http://<backend>; }"
        " location /returned { auth_basic off; return 401; }"
        " location /own { auth_delay 0; auth_basic x; proxy_pass http://<backend>; }",
        server="auth_delay 20s; location /says401 { internal; return 401; }")
    for target, headers in (
            ("/", []), ("/", [login("sha", "wrong")]), ("/", [login("nobody")]), ("/any", []), ("/asked", [])):
        assert 0.39 < seconds(made, target, headers=headers) < 5, (target, headers)
    assert len(log_lines(made, "delaying unauthorized request")) == 5
    assert "[info]" in log_lines(made, "delaying unauthorized request")[0]
    for target in ("/own", "/returned"):
        assert seconds(made, target) < 0.39, target
    started = time.monotonic()
    assert made.fetch("/forbidden").status == 403
    assert made.fetch("/", headers=[login("sha")]).status == 200
    assert made.fetch("/any", headers=[login("sha")]).status == 200
    assert time.monotonic() - started < 0.39


def test_an_error_page_waits_with_its_401(secured):
    made = secured(
        "auth_delay 300ms; error_page 401 /page;",
        server="location /page { limit_req zone=page burst=9; proxy_pass http://<backend>; }",
        http="limit_req_zone all zone=page:1m rate=5r/s; ")
    assert 0.29 < seconds(made) < 5
    # Delayed once more by what the page's own location says.
    with Client(made.port) as first, Client(made.port) as second:
        started = time.monotonic()
        for client in (first, second):
            client.request("/")
        for client in (first, second):
            found = client.read_response()
            assert (found.status, found.get("WWW-Authenticate")) == (401, 'Basic realm="the cave"')
        assert time.monotonic() - started > 0.45
    assert [request.target for request in made.backend.requests] == ["/page"] * 3


@pytest.mark.clocked
def test_what_a_password_costs_is_part_of_the_delay(secured):
    """Nobody learns from the time whether there is such a user."""
    slow = crypt.crypt(PASSWORD, "$6$rounds=100000$saltsalt")
    made = secured("auth_delay 1s;", lines=f"slow:{slow}\n")
    found = [seconds(made, headers=[login("slow", f"guess {number}")]) for number in range(3)]
    # The hash takes 50 ms and more, of which a machine that is busy may add as much to any of these.
    assert 0.99 < min(found) < 1.05, found


def test_a_client_that_leaves_is_not_delayed_any_more(secured):
    made = secured("auth_delay 20s;", http="log_format status '$status'; access_log <dir>/access.log status;")
    with Client(made.port) as client:
        client.request("/", method="POST", body=b"whole")
        log_lines(made, "delaying unauthorized request")
        client.reset()
    assert made.log_lines("access.log", 1, 10) == ["499"]
    with Client(made.port) as client:
        client.request("/")
        wait_for(lambda: made.log().count("delaying unauthorized request") == 2, what="the second")
        client.close()
    assert made.log_lines("access.log", 2, 10) == ["499"] * 2


def test_pipelined_requests_and_streams_wait_behind_a_delay(secured):
    port = ports.free_port()
    made = secured("auth_delay 400ms;", server=f"listen 127.0.0.1:{port} http2;")
    with Client(made.port) as client:
        started = time.monotonic()
        client.request("/", method="POST", body=b"x" * 70_000)
        client.request("/", headers=[login("sha")])
        assert client.read_response().status == 401
        assert time.monotonic() - started > 0.39
        assert client.read_response().status == 200
    with HTTP2Client(port) as client:
        started = time.monotonic()
        streams = [client.begin("/") for _ in range(3)]
        assert client.fetch("/", headers=[("authorization", login("sha")[1])]).status == 200
        assert time.monotonic() - started < 0.39
        assert [client.response(stream).status for stream in streams] == [401] * 3
        assert 0.39 < time.monotonic() - started < 1.1


def test_a_delayed_401_is_waited_for_when_the_proxy_leaves(secured):
    made = secured("auth_delay 1s;")
    with Client(made.port) as client:
        client.request("/")
        log_lines(made, "delaying unauthorized request")
        made.signal(signal.SIGQUIT)
        found = client.read_response()
        assert found.status == 401 and found.get("Connection") == "close"
    assert made.wait_exit() == 0


def test_a_delayed_401_ends_with_the_time_to_leave(secured):
    made = secured("auth_delay 30s;", main="worker_shutdown_timeout 300ms;")
    with Client(made.port) as client:
        client.request("/")
        log_lines(made, "delaying unauthorized request")
        started = time.monotonic()
        made.signal(signal.SIGQUIT)
        assert made.wait_exit() == 0
        assert time.monotonic() - started < 10
