"""`worker_connections`: who gives way, who waits, and what is said of it."""

import contextlib
import time

import pytest

from harness import ports
from harness.backend import Backend
from harness.certificates import Authority
from harness.proxy import default_kind
from harness.websocket import handshake, holding
from harness.wire import Client, Closed, wait_for

KIND = default_kind()
TEXT = """\
daemon off;
pid <dir>/proxy.pid;
error_log <dir>/error.log info;
worker_processes 1;
events { worker_connections <limit>; }
http {
    include <dir>/paths.conf;
    access_log off;
    upstream kept { server <backend>; keepalive 8; }
    server {
        listen 127.0.0.1:<port>;
        proxy_http_version 1.1;
        location / { return 200 "ok"; }
        location /plain { proxy_pass http://<backend>; proxy_set_header Connection close; }
        location /kept { proxy_pass http://kept; proxy_set_header Connection ""; }
        location /tunnel {
            proxy_pass http://<backend>;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        }
    }
}
"""


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def limited(proxy):
    with Backend(program=holding) as backend:
        yield lambda limit: proxy(config=TEXT, values={"limit": limit, "backend": backend})


def tunnel(stack, port):
    client = opened(stack, port)
    client.send(handshake("/tunnel"))
    assert client.read_response_head().status == 101
    return client


def crowd(stack, made):
    """Three tunnels, for which a limit of 6 has room, and a client for whom there is none any more."""
    tunnels = [tunnel(stack, made.port) for _ in range(3)]
    late = opened(stack, made.port)
    late.send(REQUEST)
    wait_for(lambda: "6 worker_connections are not enough" in made.log(), what="a line in the log")
    return tunnels, late


def opened(stack, port):
    return stack.enter_context(contextlib.closing(Client(port)))


def ask(client, path="/"):
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client.read_response()


def is_closed(client):
    with contextlib.suppress(Closed, OSError):
        return client.is_closed(within=0.05)
    return True


def test_clients_at_rest_give_way_to_others(limited):
    made = limited(21)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(36):
            clients.append(opened(stack, made.port))
            assert ask(clients[-1]).status == 200
        assert "21 worker_connections are not enough, reusing connections" in made.log()
        # The one that rested longest went first, and the last ones are there still.
        assert is_closed(clients[0])
        assert ask(clients[-1]).status == 200


def test_clients_at_rest_are_fewer_after_a_reload_with_less_room(limited):
    made = limited(60)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            assert ask(opened(stack, made.port)).status == 200
        made.values["limit"] = 10
        made.reload(TEXT)
        wait_for(lambda: "reconfiguring" in made.log(), what="the reload")
        time.sleep(0.3)
        assert [ask(opened(stack, made.port)).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("tls", [False, True])
def test_clients_that_say_nothing_give_way(limited, tmp_path, tls):
    made = limited(21)
    port = made.port
    if tls:
        port = ports.free_port()
        certificate = Authority(tmp_path).issue("localhost")
        made.reload(TEXT.replace(
            "listen", f"ssl_certificate {certificate}; ssl_certificate_key {certificate.key};"
            f" listen 127.0.0.1:{port} ssl; listen", 1))
        wait_for(lambda: ports.is_listening(port), what="the reload")
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            opened(stack, port)
        time.sleep(1.2)
        assert ask(opened(stack, made.port)).status == 200


def test_connections_kept_to_an_upstream_give_way_to_others(limited):
    if KIND == "nginx":
        pytest.skip("nginx takes some of them for itself")
    made = limited(4)
    with contextlib.ExitStack() as stack:
        first = opened(stack, made.port)
        assert ask(first, "/kept").status == 200
        clients = [opened(stack, made.port) for _ in range(3)]
        assert [ask(client).status for client in clients] == [200] * 3


@pytest.mark.skipif(KIND == "nginx", reason="nginx turns clients away")
def test_clients_wait_while_all_the_others_are_busy(limited):
    made = limited(6)
    with contextlib.ExitStack() as stack:
        tunnels, late = crowd(stack, made)
        time.sleep(0.2)
        assert not is_closed(late)
        tunnels[0].close()
        assert late.read_response().status == 200


@pytest.mark.skipif(KIND == "nginx", reason="nginx turns clients away")
@pytest.mark.parametrize("change", ["more room", "less room", "another listener"])
def test_a_reload_while_there_is_no_room(limited, change):
    made = limited(6)
    with contextlib.ExitStack() as stack:
        tunnels, late = crowd(stack, made)
        port = made.port
        text = TEXT
        if change == "another listener":
            port = ports.free_port()
            text = TEXT.replace("listen", f"listen 127.0.0.1:{port}; listen", 1)
        else:
            made.values["limit"] = 60 if change == "more room" else 3
        made.reload(text)
        if change == "more room":
            assert late.read_response().status == 200
        else:
            wait_for(lambda: ports.is_listening(port) and "reconfiguring" in made.log(), what="the reload")
            time.sleep(0.3)
            another = opened(stack, port)
            another.send(REQUEST)
            time.sleep(0.2)
            assert not is_closed(late) and not is_closed(another)
            for client in tunnels:
                client.close()
            assert late.read_response().status == 200
            assert another.read_response().status == 200


def test_no_room_for_an_upstream(limited):
    """The client has the last place; its own connection does not rest."""
    made = limited(3 if KIND != "nginx" else 5)
    with contextlib.ExitStack() as stack:
        tunnel(stack, made.port)
        assert ask(opened(stack, made.port), "/plain").status == 500
        line = next(line for line in made.log().splitlines() if "while connecting to upstream" in line)
        assert "[alert]" in line and "worker_connections are not enough while connecting to upstream, client: " in line


@pytest.mark.parametrize("kept", ["client", "upstream"])
def test_what_rests_is_found_again_and_again(limited, kept):
    """Whoever comes to rest while room is short already is known for it."""
    made = limited(20)
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            tunnel(stack, made.port)
        for _ in range(60):
            client = opened(stack, made.port)
            assert ask(client, "/kept" if kept == "upstream" and KIND != "nginx" else "/").status == 200
