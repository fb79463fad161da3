"""The scripts of examples/ with their configurations, as they are but for their ports."""

import asyncio
import base64
import collections
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import time

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness.backend import chunked, reply
from harness.proxy import ROOT, switchyard_binary
from harness.redis import AVAILABLE, Redis
from harness.websocket import WebSocketServer, handshake
from harness.wire import Client, fetch, wait_for

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.switchyard_only


@pytest.fixture
def example(proxy, tmp_path):
    """Runs an example: `example("canary", first, second)`, the servers standing for ports 3000 and 3001."""

    def run(name, *servers, edit=None):
        for script in EXAMPLES.glob("*.lua"):
            shutil.copy(script, tmp_path)
        text = (EXAMPLES / f"{name}.conf").read_text()
        for was, becomes in [
                ("127.0.0.1:8080", "127.0.0.1:<port>"), ("/tmp/switchyard-example.pid", "<dir>/proxy.pid")]:
            assert was in text
            text = text.replace(was, becomes)
        text, count = re.subn("error_log stderr[^;]*", "error_log <dir>/error.log info", text)
        assert count == 1
        # In one pass and by whole ports: a server's own port may begin with 3001.
        stands = {f"127.0.0.1:{3000 + n}": str(server) for n, server in enumerate(servers)}
        assert set(re.findall(r"[\d.]+:300\d\b", text)) == set(stands)
        text = re.sub(r"[\d.]+:300\d\b", lambda found: stands[found[0]], text)
        text = text.replace("/tmp/switchyard-example.log", "<dir>/access.log")
        for was, becomes in edit or []:
            assert was in text
            text = text.replace(was, becomes)
        return proxy(config=re.sub(r"plugin (\w+\.lua)", rf"plugin {tmp_path}/\1", text))

    return run


@pytest.fixture
def sockets():
    """WebSocket servers that echo, and that answer `/page` with a page."""
    made = []

    def page(connection, request):
        if request.path == "/page":
            return connection.respond(200, "a page\n")

    def make():
        made.append(WebSocketServer(process_request=page))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def named(name):
    return reply(body=name.encode())


def upgrade(made, path="/", **rest):
    return connect(f"ws://127.0.0.1:{made.port}{path}", **rest)


def refusal(made, path="/", **rest):
    """The response to an upgrade that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        upgrade(made, path, **rest)
    return refused.value.response


def test_every_script_has_a_test_and_a_configuration():
    here = (ROOT / "Tests/EndToEnd/test_examples.py").read_text()
    for script in EXAMPLES.glob("*.lua"):
        if not script.stem.endswith("_test"):
            assert f'example("{script.stem}"' in here
            assert script.with_suffix(".conf").exists()
            assert script.with_name(script.stem + "_test.lua").exists()


def test_the_scripts_own_tests():
    files = sorted(str(path) for path in EXAMPLES.glob("*_test.lua"))
    run = subprocess.run(
        [switchyard_binary(), "test", *files], capture_output=True, text=True, timeout=50,
        env={**os.environ, "JWT_KEY": "a secret"})
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\b[1-9]\d* passed, 0 failed", run.stdout)


# connection_upgrade


def test_connection_upgrade_passes_on_websockets_and_pages(example, sockets):
    made = example("connection_upgrade", sockets())
    with upgrade(made) as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"
    assert made.fetch("/page").body == b"a page\n"


def test_connection_upgrade_tells_the_upstream_of_allowed_protocols_only(example, backend):
    made = example("connection_upgrade", backend)
    for asked, seen in [("h2c", None), ("tus/1.0", None), ("", None)]:
        made.fetch("/", headers=[("Upgrade", asked), ("Connection", "upgrade")])
        assert (backend.requests[-1].get("upgrade"), backend.requests[-1].get("connection")) == (seen, None)


def test_connection_upgrade_keeps_upstream_connections(example, backend):
    made = example("connection_upgrade", backend)
    for _ in range(5):
        assert made.fetch("/").status == 200
    assert len(backend.connections) == 1


# canary


def test_canary_shares_and_sticks(example, backends):
    made = example("canary", backends(named("stable")), backends(named("canary")))
    count = collections.Counter()
    with Client(made.port) as client:
        for _ in range(400):
            first = client.fetch("/")
            cookie = first.get("Set-Cookie").split(";")[0]
            second = client.fetch("/", headers=[("Cookie", cookie)])
            assert second.body == first.body
            assert "Set-Cookie" not in second
            count[first.text] += 1
    # The share is 10 %: 40 of 400, give or take five standard deviations.
    assert 10 <= count["canary"] <= 70
    assert count["canary"] + count["stable"] == 400


def test_canary_obeys_the_header(example, backends):
    made = example("canary", backends(named("stable")), backends(named("canary")))
    for visitor in range(20):
        for wish, chosen in [("always", "canary"), ("never", "stable")]:
            headers = [("X-Canary", wish), ("Cookie", f"visitor=v{visitor}")]
            assert made.fetch("/", headers=headers).text == chosen


def test_canary_gets_the_request_as_it_was(example, backends):
    canary = backends(named("canary"))
    made = example("canary", backends(), canary)
    response = made.fetch("/a%20b/?c=%64", method="POST", body=b"a body", headers=[("X-Canary", "always")])
    assert response.status == 200
    [request] = canary.requests
    assert (request.method, request.target, request.body) == ("POST", "/a%20b/?c=%64", b"a body")


def test_canary_that_does_not_answer_is_stood_in_for(example, backends):
    canary = backends()
    canary.stop()
    made = example("canary", backends(named("stable")), canary)
    assert made.fetch("/", headers=[("X-Canary", "always")]).text == "stable"


# tenants


def token(claims, key="a secret", algorithm="HS256"):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = ".".join(part(json.dumps(each).encode()) for each in ({"alg": algorithm, "typ": "JWT"}, claims))
    return signed + "." + part(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())


@pytest.fixture
def tenants(example, backends, monkeypatch):
    monkeypatch.setenv("JWT_KEY", "a secret")
    made = example("tenants", backends(named("acme")), backends(named("globex")))

    def ask(bearer, *headers):
        given = [("Authorization", f"Bearer {bearer}")] if bearer is not None else []
        return made.fetch("/", headers=[*given, *headers])

    return ask


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_tenants_have_servers_of_their_own(tenants, tenant):
    assert tenants(token({"tenant": tenant, "sub": "ann", "exp": time.time() + 60})).text == tenant


@pytest.mark.parametrize("bearer, status", [
    (None, 401),
    ("", 401),
    ("nonsense", 401),
    (token({"tenant": "acme"}, key="another"), 401),
    (token({"tenant": "acme"}, algorithm="none"), 401),
    (token({"tenant": "acme", "exp": 1}), 401),
    (token({"tenant": "initech"}), 403),
    (token({"tenant": "claim"}), 403),
    (token({"tenant": 7}), 403),
    (token({}), 403),
])
def test_tenants_are_refused_without_a_good_token(tenants, bearer, status):
    response = tenants(bearer)
    assert response.status == status
    assert ("WWW-Authenticate" in response) == (status == 401)


def test_tenants_cannot_be_forged(example, backends, monkeypatch):
    monkeypatch.setenv("JWT_KEY", "a secret")
    acme = backends(named("acme"))
    made = example("tenants", acme, backends())
    made.fetch("/", headers=[
        ("Authorization", "Bearer " + token({"tenant": "acme"})), ("X-Tenant", "globex"), ("X-User", "root")])
    assert acme.requests[0].get("X-Tenant") == "acme"
    assert "X-User" not in acme.requests[0]


# header_policy


def test_header_policy_on_responses(example, backend):
    backend.answer = reply(headers=[
        ("Server", "Secret/1.0"), ("X-Powered-By", "magic"), ("Referrer-Policy", "no-referrer"), ("X-Other", "stays")])
    response = example("header_policy", backend).fetch("/")
    assert response.get("X-Content-Type-Options") == "nosniff"
    assert response.get("Strict-Transport-Security").startswith("max-age=")
    assert response.get("Content-Security-Policy").startswith("default-src")
    assert response.get("Referrer-Policy") == "no-referrer"
    assert response.get("X-Other") == "stays"
    assert "X-Powered-By" not in response
    assert "Secret" not in response.get("Server", "")


def test_header_policy_strips_what_clients_may_not_say(example, backend):
    example("header_policy", backend).fetch("/", headers=[
        ("X-User", "root"), ("x-internal-token", "1"), ("X-Internal-Token", "2"), ("X-Other", "stays")])
    request = backend.requests[0]
    assert "X-User" not in request and "X-Internal-Token" not in request
    assert request.get("X-Other") == "stays"


@pytest.mark.parametrize("given, is_taken", [("abc-123", True), ("a b", False), ("x" * 65, False), (None, False)])
def test_header_policy_gives_one_request_id_to_all(example, backend, given, is_taken):
    made = example("header_policy", backend)
    response = made.fetch("/", headers=[("X-Request-Id", given)] if given else [])
    number = response.get("X-Request-Id")
    assert (number == given) == is_taken
    assert re.fullmatch(r"[\w-]{1,64}", number)
    assert backend.requests[0].get("X-Request-Id") == number
    assert made.log_lines("access.log", 1)[0].endswith(f"id={number}")


# forward_auth


def login_server(request):
    if request.get("Cookie") == "session=good":
        return reply(headers=[("Remote-User", "ann"), ("Set-Cookie", "session=better")])
    return reply(403 if request.get("Cookie") else 401, b"no session\n", [("Set-Cookie", "csrf=1")])


def test_forward_auth_lets_who_is_logged_in_through(example, backends, backend):
    accounts = backends(login_server)
    made = example("forward_auth", backend, accounts)
    response = made.fetch("/a?b=c", headers=[
        ("Cookie", "session=good"), ("Remote-User", "root"), ("Remote-Groups", "admins")])
    assert response.status == 200
    assert response.get("Set-Cookie") == "session=better"
    assert backend.requests[0].values("Remote-User") == [b"ann"]
    assert "Remote-Groups" not in backend.requests[0]
    asked = accounts.requests[0]
    assert (asked.target, asked.get("X-Forwarded-Uri")) == ("/api/authz/forward-auth", "/a?b=c")
    assert asked.get("X-Forwarded-For") == "127.0.0.1"


def test_forward_auth_sends_others_to_the_login_page(example, backends, backend):
    made = example("forward_auth", backend, backends(login_server))
    response = made.fetch("/a?b=c&d=e", headers=[("Host", "app.example")])
    assert response.status == 302
    assert response.get("Location") == "https://auth.example.com/?rd=http%3A%2F%2Fapp.example%2Fa%3Fb%3Dc%26d%3De"
    assert response.get("Set-Cookie") == "csrf=1"
    assert made.fetch("/", headers=[("Cookie", "session=bad")]).status == 403
    assert backend.requests == []


def test_forward_auth_opens_websockets_for_who_is_logged_in(example, backends, sockets):
    chat = sockets()
    made = example("forward_auth", chat, backends(login_server))
    assert refusal(made).status_code == 401
    with upgrade(made, additional_headers={"Cookie": "session=good"}) as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"
    assert chat.requests[0].headers.get_all("Remote-User") == ["ann"]


# sessions


@pytest.mark.skipif(not AVAILABLE, reason="there is no redis-server")
def test_sessions_are_looked_up_in_redis(example, backend):
    with Redis() as redis:
        made = example("sessions", backend, edit=[("127.0.0.1:6379", str(redis))])

        def visit(*headers):
            return made.fetch("/", headers=[*headers, ("X-User", "root")]).status

        assert (visit(), visit(("Cookie", "session=1"))) == (401, 401)
        assert backend.requests == []
        redis.ask("SET", "session:1", "ann", "EX", 60)
        assert visit(("Cookie", "session=1")) == 200
        assert backend.requests[0].values("X-User") == [b"ann"]
        assert int(redis.ask("TTL", "session:1")[1:]) > 1700
        assert redis.clients() == 1
        redis.stop()
        assert visit(("Cookie", "session=1")) == 503
        redis.start()
        redis.ask("SET", "session:1", "bob")
        assert visit(("Cookie", "session=1")) == 200
        assert backend.requests[1].values("X-User") == [b"bob"]
        # Redis goes and comes back, and nobody has asked meanwhile.
        redis.stop()
        redis.start()
        assert visit(("Cookie", "session=1")) == 401


# upgrade_auth


def account_server(request):
    if request.get("Cookie") == "session=good":
        return reply(headers=[("X-User", "ann")])
    if request.get("Cookie") == "session=slow":
        return [4, reply()]
    if request.get("Cookie") == "session=odd":
        return reply(500)
    return reply(403 if request.get("Cookie") else 401, b"no session\n")


def test_upgrade_auth_lets_good_sessions_through(example, backends, sockets):
    accounts, chat = backends(account_server), sockets()
    made = example("upgrade_auth", chat, accounts)
    with upgrade(made, "/room?id=7", additional_headers={"Cookie": "session=good", "X-User": "root"}) as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"
    assert chat.requests[0].headers.get_all("X-User") == ["ann"]
    asked = accounts.requests[0]
    assert (asked.target, asked.get("X-Original-URI")) == ("/check", "/room?id=7")
    assert asked.get("X-Original-Address") == "127.0.0.1"


@pytest.mark.parametrize("cookie, status", [(None, 401), ("session=bad", 403), ("session=odd", 503)])
def test_upgrade_auth_refuses(example, backends, sockets, cookie, status):
    chat = sockets()
    made = example("upgrade_auth", chat, backends(account_server))
    response = refusal(made, additional_headers={"Cookie": cookie} if cookie else {})
    assert response.status_code == status
    if status != 503:
        assert response.body == b"no session\n"
    assert chat.requests == []


@pytest.mark.clocked
def test_upgrade_auth_gives_up_in_time_while_others_go_on(example, backends, sockets):
    made = example("upgrade_auth", sockets(), backends(account_server))

    async def slow():
        started = time.monotonic()
        with pytest.raises(InvalidStatus) as refused:
            await connect_async(f"ws://127.0.0.1:{made.port}/", additional_headers={"Cookie": "session=slow"})
        return refused.value.response.status_code, time.monotonic() - started

    async def both():
        waiting = asyncio.create_task(slow())
        await asyncio.sleep(0.2)
        async with connect_async(
                f"ws://127.0.0.1:{made.port}/", additional_headers={"Cookie": "session=good"}) as socket:
            await socket.send("meanwhile")
            assert await asyncio.wait_for(socket.recv(), 5) == "meanwhile"
            assert not waiting.done()
        return await waiting

    status, seconds = asyncio.run(both())
    assert status == 503
    assert 1.9 < seconds < 3.9


def test_upgrade_auth_without_its_server(example, backends, sockets):
    accounts = backends()
    accounts.stop()
    made = example("upgrade_auth", sockets(), accounts)
    assert refusal(made).status_code == 503
    assert "no word about an upgrade" in made.log()


def test_upgrade_auth_does_not_concern_pages(example, backends, sockets):
    accounts = backends(account_server)
    made = example("upgrade_auth", sockets(), accounts)
    assert made.fetch("/page").status == 200
    assert accounts.requests == []


# allowed_origins


@pytest.mark.parametrize("origin", [
    "https://app.example.com", "https://chat.example.org", "https://a.b.example.org", "HTTPS://APP.EXAMPLE.COM"])
def test_allowed_origins_may_open_websockets(example, sockets, origin):
    with upgrade(example("allowed_origins", sockets()), origin=origin) as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"


@pytest.mark.parametrize("origin", [
    "https://evil.example", "http://app.example.com", "https://app.example.com.evil.example",
    "https://appxexample.com", "https://example.org", "https://evil.example/.example.org", "null", None])
def test_other_origins_may_not(example, sockets, origin):
    chat = sockets()
    made = example("allowed_origins", chat)
    assert refusal(made, origin=origin).status_code == 403
    assert chat.requests == []
    assert made.fetch("/page", headers=[("Origin", "https://evil.example")]).status == 200


def test_allowed_origins_can_let_in_those_that_are_no_browsers(example, sockets):
    made = example("allowed_origins", sockets(), edit=[("example.org;", "example.org others=allow;")])
    with upgrade(made, origin=None) as socket:
        socket.send("hello")
        assert socket.recv(5) == "hello"


# rate_limit


def test_rate_limit_counts_each_user(example, backend):
    made = example("rate_limit", backend, edit=[
        ("limit=100", "limit=5"), ("events {}", "worker_processes 2; events {}")])

    def ask(user):
        return made.fetch("/", headers=[("X-Api-Key", user)] if user else [])

    for user in ("ann", "bob", None):
        answers = [ask(user) for _ in range(7)]
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
        assert [answer.get("RateLimit-Remaining") for answer in answers] == ["4", "3", "2", "1", "0", "0", "0"]
        assert 0 < int(answers[-1].get("Retry-After")) <= 60
    assert len(backend.requests) == 15


def test_rate_limit_lets_in_again_later(example, backend):
    made = example("rate_limit", backend, edit=[("limit=100 window=60", "limit=2 window=1")])
    while made.fetch("/").status != 429:
        pass
    wait_for(lambda: made.fetch("/").status == 200, 5, "the end of the window")


# health_check


def test_health_check_leaves_out_who_is_not_well(example, backends):
    is_well = [True, True]
    asked = collections.Counter()

    def server(number):
        def answer(request):
            if request.target != "/health":
                return reply(200, f"{number}".encode())
            asked[number] += 1
            return reply(200 if is_well[number] else 503)
        return backends(answer=answer)

    made = example("health_check", server(0), server(1), edit=[
        ("events {}", "worker_processes 2; events {}"), ("path=/health", "path=/health interval=0.1 fall=2 rise=1")])

    def answering():
        return {made.fetch("/").body for _ in range(16)}

    assert answering() == {b"0", b"1"}
    is_well[1] = False
    wait_for(lambda: answering() == {b"0"}, 5, "the server to be left out")
    before = asked[1]
    wait_for(lambda: asked[1] > before + 2, 5, "further checks")
    is_well[1] = True
    wait_for(lambda: answering() == {b"0", b"1"}, 5, "its return")
    assert "of app is left out: status 503" in made.log()


# maintenance


def test_maintenance_is_switched_on_and_off(example, backend):
    made = example("maintenance", backend, edit=[("events {}", "worker_processes 2; events {}")])
    switch = "/-/maintenance"
    assert made.fetch(switch).body == b"open\n"
    assert made.fetch("/").status == 200
    assert made.fetch(switch, method="PUT", body=b"back at <noon>").body == b"closed: back at <noon>\n"

    for _ in range(10):
        page = made.fetch("/", headers=[("Accept", "text/html,*/*")])
        assert (page.status, page.get("Retry-After")) == (503, "120")
        assert page.get("Content-Type") == "text/html; charset=utf-8"
        assert "back at &lt;noon&gt;" in page.text
    plain = made.fetch("/", headers=[("Accept", "*/*")])
    assert (plain.status, json.loads(plain.body)) == (503, {"error": "back at <noon>"})
    assert made.fetch("/", headers=[("Cookie", "a=b; maintenance=let-me-in")]).status == 200
    assert made.fetch("/", headers=[("Cookie", "maintenance=wrong")]).status == 503

    assert made.fetch(switch, method="DELETE").body == b"open\n"
    assert made.fetch("/").status == 200


# experiment


def test_experiment_draws_by_weight_and_keeps(example, backends):
    made = example("experiment", backends(named("classic")), backends(named("express")))
    count = collections.Counter()
    with Client(made.port) as client:
        for _ in range(400):
            first = client.fetch("/")
            cookie = first.get("Set-Cookie").split(";")[0]
            assert cookie == f"ab_checkout={first.text}"
            second = client.fetch("/", headers=[("Cookie", cookie)])
            assert second.body == first.body
            assert "Set-Cookie" not in second
            count[first.text] += 1
    # The weight is 20 %: 80 of 400, give or take five standard deviations.
    assert 40 <= count["express"] <= 120
    assert count["express"] + count["classic"] == 400


def test_experiment_draws_again_for_a_variant_that_does_not_exist(example, backends):
    made = example("experiment", backends(named("classic")), backends(named("express")))
    response = made.fetch("/", headers=[("Cookie", "ab_checkout=gone")])
    assert response.text in ("classic", "express")
    assert response.get("Set-Cookie").startswith(f"ab_checkout={response.text};")


# mirror


@pytest.mark.clocked
def test_mirror_copies_requests(example, backends):
    first, second = backends(named("first")), backends([0.5, named("second")])
    made = example("mirror", first, second)
    started = time.monotonic()
    response = made.fetch("/a%20b?c=d", method="POST", body=b"a body", headers=[
        ("X-Twice", "1"), ("X-Twice", "2"), ("Connection", "close")])
    assert time.monotonic() - started < 0.4
    assert response.text == "first"
    [copy] = second.wait_requests(1)
    assert (copy.method, copy.target, copy.body) == ("POST", "/a%20b?c=d", b"a body")
    assert copy.values("X-Twice") == [b"1", b"2"]
    assert re.fullmatch(r"[0-9a-f]{32}", copy.get("X-Mirrored"))
    assert first.requests[0].body == b"a body"
    assert "X-Mirrored" not in first.requests[0]
    wait_for(lambda: 'mirrored_requests{status="200"} 1' in made.fetch("/metrics").text, 5, "the metric")


def test_mirror_that_is_down_disturbs_nobody(example, backends):
    second = backends()
    second.stop()
    made = example("mirror", backends(named("first")), second)
    for _ in range(20):
        assert made.fetch("/").text == "first"
    wait_for(lambda: 'mirrored_requests{status="none"} 20' in made.fetch("/metrics").text, 5, "the metric")


# rewrite_response

INTERNAL, PUBLIC = b"http://intranet.local", b"https://www.example.com"
PAGE = b"<a href='http://intranet.local/a'>http://intranet.local</a> http://intranet.loca http://intranet.local"
HTML = ("Content-Type", "text/html; charset=utf-8")


def test_rewrite_response_replaces_text(example, backend):
    backend.answer = reply(body=PAGE, headers=[HTML, ("ETag", '"1"'), ("Location", "http://intranet.local/next")])
    response = example("rewrite_response", backend).fetch("/", headers=[("Accept-Encoding", "gzip")])
    assert response.body == PAGE.replace(INTERNAL, PUBLIC)
    assert response.get("Location") == "https://www.example.com/next"
    assert "ETag" not in response
    assert "Accept-Encoding" not in backend.requests[0]


@pytest.mark.parametrize("size", [1, 2, 7, 20, 21, 22])
def test_rewrite_response_finds_text_across_pieces(example, backend, size):
    pieces = [PAGE[at:at + size] for at in range(0, len(PAGE), size)]
    head = reply(headers=[HTML, ("Transfer-Encoding", "chunked")], length=False, body=b"")
    backend.answer = [head] + [part for piece in pieces for part in (b"%x\r\n%s\r\n" % (len(piece), piece), 0.002)]
    backend.answer.append(b"0\r\n\r\n")
    assert example("rewrite_response", backend).fetch("/").body == PAGE.replace(INTERNAL, PUBLIC)


def test_rewrite_response_leaves_other_types_alone(example, backend):
    backend.answer = reply(body=PAGE, headers=[("Content-Type", "text/plain"), ("ETag", '"1"')])
    response = example("rewrite_response", backend).fetch("/")
    assert (response.body, response.get("ETag")) == (PAGE, 'W/"1"')
    backend.answer = reply(body=b"http://intranet.loc", headers=[HTML])
    assert example("rewrite_response", backend).fetch("/").body == b"http://intranet.loc"


# Messages


def words(socket, *messages):
    """Sends each, and receives an answer to it before the next."""
    answers = []
    for message in messages:
        socket.send(message)
        answers.append(socket.recv(5))
    return answers


def test_keepalive_keeps_clients_that_answer_and_gives_up_the_others(example, sockets):
    made = example("keepalive", sockets(), edit=[("interval=20", "interval=0.1"), (
        "plugin keepalive", "websocket_pong_timeout 300ms; plugin keepalive")])
    with upgrade(made) as socket:
        with Client(made.port, timeout=10) as deaf:
            deaf.send(handshake())
            assert deaf.read_response_head().status == 101
            wait_for(lambda: deaf.fill() and b"no answer to pings" in deaf.buffer, 10, "the goodbye")
        assert words(socket, "still here") == ["still here"]


def test_redaction(example, sockets):
    with upgrade(example("redaction", sockets())) as socket:
        assert words(socket, "card 4111 1111 1111 1111 of a@b.example", "order 1234") == [
            "card [card ending in 1111] of [e-mail]", "order 1234"]


def test_json_schema(example, sockets):
    with upgrade(example("json_schema", sockets())) as socket:
        assert words(socket, '{"op":"say","text":"hi"}', "x", "{}") == [
            '{"op":"say","text":"hi"}', '{"error":"no JSON"}', '{"error":"message.op is missing"}']
        socket.send("[]")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert closed.value.rcvd.code == 1008


def test_message_rate(example, sockets):
    with upgrade(example("message_rate", sockets())) as socket:
        assert words(socket, *"abcdefghij") == list("abcdefghij")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                words(socket, "more")
        assert closed.value.rcvd.code == 1008


def test_json_rpc_is_translated(example):
    async def backend(connection):
        async for message in connection:
            call = json.loads(message)
            await connection.send(json.dumps({"seq": call["seq"], "ok": True, "data": sum(call["args"])}))

    with WebSocketServer(backend) as server, upgrade(example("json_rpc", server)) as socket:
        socket.send('[{"jsonrpc":"2.0","id":"a","method":"add","params":[1,2]},'
                    '{"jsonrpc":"2.0","id":2,"method":"add","params":[3,4]}]')
        answers = [json.loads(socket.recv(5)) for _ in range(2)]
        assert [(answer["id"], answer["result"]) for answer in answers] == [("a", 3), (2, 7)]


def test_broadcast_reaches_a_room_on_all_workers(example, sockets):
    made = example("broadcast", sockets(), edit=[("daemon off;", "daemon off; worker_processes 3;")])
    with upgrade(made, "/rooms/red?name=ann") as ann, upgrade(made, "/rooms/red?name=bob") as bob, \
            upgrade(made, "/rooms/blue?name=eve") as eve:
        bob.send("hello")
        for socket in (ann, bob):
            while socket.recv(5) != "bob: hello":
                pass
        assert eve.recv(5) == "eve has come"
        with pytest.raises(TimeoutError):
            eve.recv(0.2)


def test_chaos_delays_and_loses(example, sockets):
    made = example("chaos", sockets(), edit=[(
        "delay=0.2 jitter=0.3 drop=0.05 duplicate=0.02 corrupt=0.01", "delay=0.05 drop=1 from=upstream")])
    with upgrade(made) as socket:
        socket.send("gone")
        with pytest.raises(TimeoutError):
            socket.recv(0.3)


def test_recorder_records_and_plays_back(example, sockets, tmp_path):
    made = example("recorder", sockets(), edit=[("directory=/tmp", f"directory={tmp_path}")])
    with upgrade(made) as socket:
        assert words(socket, "one") == ["one"]
        made.reload()
        wait_for(lambda: "configuration 2 runs" in made.log(), what="the reload")
        assert words(socket, b"\x00two") == [b"\x00two"]
    recorded = wait_for(lambda: list(tmp_path.glob("*.jsonl")), what="the recording")[0]
    wait_for(lambda: recorded.read_text().count("\n") == 4, what="four lines")
    lines = [json.loads(line) for line in recorded.read_text().splitlines()]
    assert [line["from"] for line in lines] == ["client", "upstream", "client", "upstream"]
    played = example("recorder", sockets(), edit=[("directory=/tmp", f"replay={recorded}")])
    with upgrade(played) as socket:
        assert [socket.recv(5), socket.recv(5)] == ["one", b"\x00two"]


def session_token(seconds):
    return token({"sub": "a", "exp": time.time() + seconds}, key="secret")


def test_token_deadline_ends_the_session(example, sockets):
    made = example("token_deadline", sockets())
    with upgrade(made, f"/?token={session_token(1)}") as socket:
        assert words(socket, "hello") == ["hello"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "token expired")
    assert refusal(made, "/?token=none").status_code == 401


@pytest.mark.clocked
def test_a_token_is_renewed_across_a_reload(example, sockets):
    made = example("token_deadline", sockets())
    with upgrade(made, f"/?token={session_token(3)}") as renewed, upgrade(made, f"/?token={session_token(3)}") as other:
        made.reload()
        renewed.send(json.dumps({"type": "token", "token": session_token(60)}))
        with pytest.raises(ConnectionClosed) as closed:
            other.recv(10)
        assert closed.value.rcvd.code == 4001
        time.sleep(0.5)
        assert words(renewed, "hello") == ["hello"]


def test_subprotocol_chooses_the_backend(example):
    async def name(connection):
        await connection.send(f"{connection.local_address[1]} {connection.subprotocol}")

    with WebSocketServer(name, subprotocols=["mqtt"]) as brokers, WebSocketServer(name) as apps:
        made = example("subprotocol", brokers, apps)
        with upgrade(made, subprotocols=["other", "mqtt"]) as socket:
            assert socket.recv(5) == f"{brokers.port} mqtt"
        with upgrade(made) as socket:
            assert socket.recv(5) == f"{apps.port} None"
        assert refusal(made, subprotocols=["unknown"]).status_code == 400


def test_auto_reply_asks_once(example):
    asked = []

    async def backend(connection):
        async for message in connection:
            asked.append(json.loads(message))
            await connection.send(json.dumps({"id": asked[-1]["id"], "result": {"price": 3}}))

    with WebSocketServer(backend) as server:
        made = example("auto_reply", server, edit=[("daemon off;", "daemon off; worker_processes 2;")])
        for number in range(6):
            with upgrade(made) as socket:
                answer = json.loads(words(socket, json.dumps({"id": number, "method": "price", "params": {"of": 1}}))[0])
                assert answer == {"id": number, "result": {"price": 3}}
        assert len(asked) == 1
