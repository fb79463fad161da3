"""Where requests come from: what goes on over connections, tunnels and logs. Values and phases are scripts/compare-nginx's."""

import time
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from harness import ports
from harness.backend import reply
from harness.http2 import HTTP2Client
from harness.websocket import MAP, RECIPE, WebSocketServer, echoing, frame, opened
from harness.wire import Client, wait_for

TRUSTING = "set_real_ip_from 127.0.0.1; set_real_ip_from unix:; "
LOG = ("log_format whence '$remote_addr:$remote_port $realip_remote_addr:$realip_remote_port $status $request_uri';"
       "access_log <dir>/access.log whence;")
SHOWN = 'return 200 "$remote_addr:$remote_port $realip_remote_addr";'


def test_each_request_of_a_connection_has_its_own(proxy):
    made = proxy(LOG + "server { listen 127.0.0.1:<port>; " + TRUSTING + SHOWN + "}")
    with Client(made.port) as client:
        port = client.sock.getsockname()[1]
        for number, fields in enumerate([[("X-Real-IP", "203.0.113.9")], [], [("X-Real-IP", "2001:DB8::1")],
                                         [("X-Real-IP", "nobody")], [("X-Real-IP", "203.0.113.10:77")]]):
            client.request(f"/{number}", headers=fields)
            client.read_response()
    lines = [line.replace(str(port), "PORT") for line in made.log_lines("access.log", 5)]
    assert lines == [
        "203.0.113.9: 127.0.0.1:PORT 200 /0", "127.0.0.1:PORT 127.0.0.1:PORT 200 /1",
        "2001:db8::1: 127.0.0.1:PORT 200 /2", "127.0.0.1:PORT 127.0.0.1:PORT 200 /3",
        "203.0.113.10:77 127.0.0.1:PORT 200 /4"]


def test_each_stream_of_a_connection_has_its_own(proxy):
    made = proxy(
        "server { listen 127.0.0.1:<port>; listen 127.0.0.1:<h2> http2; " + TRUSTING + SHOWN
        + "location /own { real_ip_header X-Forwarded-For; real_ip_recursive on; " + SHOWN + " } }",
        values={"h2": ports.free_port()})
    with HTTP2Client(made.values["h2"]) as client:
        first = client.begin("/", headers=[("x-real-ip", "203.0.113.9")])
        second = client.begin("/", headers=[("x-real-ip", "[2001:db8::1]:8")])
        third = client.begin("/", headers=[("x-forwarded-for", "203.0.113.9")])
        assert client.response(first).body == b"203.0.113.9: 127.0.0.1"
        assert client.response(second).body == b"2001:db8::1:8 127.0.0.1"
        port = client.socket.getsockname()[1]
        assert client.response(third).body == f"127.0.0.1:{port} 127.0.0.1".encode()


def test_lists_over_http2(proxy, backend):
    made = proxy(
        "server { listen 127.0.0.1:<port>; listen 127.0.0.1:<h2> http2; " + TRUSTING
        + "real_ip_header X-Forwarded-For; real_ip_recursive on; location / { proxy_pass http://<backend>;"
        " proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } }",
        values={"h2": ports.free_port(), "backend": backend})
    with HTTP2Client(made.values["h2"]) as client:
        client.fetch("/", headers=[
            ("x-forwarded-for", "203.0.113.9, 203.0.113.10"), ("x-forwarded-for", "127.0.0.1")])
    assert backend.requests[0].get("x-forwarded-for") == "203.0.113.9, 203.0.113.10, 127.0.0.1, 203.0.113.10"


@pytest.mark.parametrize("lines, expected", [
    ([], "127.0.0.1"), ([""], ", 127.0.0.1"), (["", ""], ", , 127.0.0.1"), ([","], ",, 127.0.0.1"),
    (["203.0.113.9", ""], "203.0.113.9, , 127.0.0.1"), (["", "203.0.113.9"], ", 203.0.113.9, 203.0.113.9"),
])
def test_fields_without_an_address(proxy, lines, expected):
    made = proxy(
        "server { listen 127.0.0.1:<port>; " + TRUSTING + "real_ip_header X-Forwarded-For;"
        " location / { return 200 $proxy_add_x_forwarded_for; } }")
    found = made.fetch("/", headers=[("X-Forwarded-For", line) for line in lines])
    assert found.text == expected


def test_a_unix_socket_is_trusted(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; listen unix:<dir>/in.sock; " + TRUSTING + SHOWN + "}")
    with Client(str(made.directory / "in.sock")) as client:
        client.request("/", headers=[("X-Real-IP", "203.0.113.9")])
        assert client.read_response().body == b"203.0.113.9: unix:"
        client.request("/", headers=[("X-Real-IP", "unix:")])
        assert client.read_response().body == b"unix:: unix:"


def test_the_error_log_names_the_client(proxy):
    made = proxy(
        "server { listen 127.0.0.1:<port>; " + TRUSTING + "location / { deny 203.0.113.9; return 404; }"
        " location /late { allow 203.0.113.8; deny all; } }")
    for target, address in (("/late", "203.0.113.9"), ("/late", "203.0.113.8")):
        assert made.fetch(target, headers=[("X-Real-IP", address)]).status == (403 if address[-1] == "9" else 404)
    wait_for(lambda: "access forbidden by rule" in made.log(), what="the refusal in the log")
    line = next(line for line in made.log().splitlines() if "access forbidden by rule" in line)
    assert "client: 203.0.113.9," in line


def test_the_log_of_a_tunnel(simple):
    made = simple(TRUSTING + RECIPE, http=MAP + LOG)
    made.backend.program = echoing()
    with opened(made.port, headers=[("X-Real-IP", "203.0.113.9")]) as client:
        port = client.sock.getsockname()[1]
        client.send(frame(b"x", masked=True))
        client.read_exactly(3)
    assert made.log_lines("access.log", 1) == [f"203.0.113.9: 127.0.0.1:{port} 101 /ws/"]


SEEING = """
    local function seen(flow)
        return flow.client.address .. " " .. tostring(flow.client.port) .. " " .. flow.var.remote_addr .. " "
            .. flow.var.realip_remote_addr .. " " .. flow.var.realip_remote_port
    end
    return {
        request = function(flow) flow.req.headers["X-Seen"] = seen(flow) end,
        open = function(flow) flow:tag("all") end,
        message = function(flow, msg)
            if msg.from == "upstream" then return end
            local others = {}
            for _, other in ipairs(sy.flows{ tag = "all" }) do
                if other.id ~= flow.id then others[#others + 1] = other.client.address end
            end
            table.sort(others)
            msg.data = seen(flow) .. " | " .. table.concat(others, " ")
        end,
        log = function(flow) sy.log.info("log " .. seen(flow)) end,
    }
"""
# More than stay whole: see WholeExchanges.
MANY = 40


@pytest.mark.switchyard_only
def test_hooks_see_the_client(simple, tmp_path):
    (tmp_path / "seeing.lua").write_text(SEEING)
    with WebSocketServer() as server, ExitStack() as stack:
        made = simple(
            TRUSTING + RECIPE, http=MAP + LOG, server=f"plugin {tmp_path}/seeing.lua;", values={"backend": server})
        tunnels = [stack.enter_context(connect(
            f"ws://127.0.0.1:{made.port}/{number}", additional_headers={"X-Real-IP": f"203.0.113.{number}:{number}"}))
            for number in range(1, MANY)]
        plain = stack.enter_context(connect(f"ws://127.0.0.1:{made.port}/plain"))
        everyone = [f"203.0.113.{number}" for number in range(1, MANY)] + ["127.0.0.1"]

        def check(sign=" | "):
            for number, tunnel in enumerate(tunnels, 1):
                address = f"203.0.113.{number}"
                port = tunnel.socket.getsockname()[1]
                tunnel.send("?")
                others = " ".join(sorted(set(everyone) - {address}))
                assert tunnel.recv(5) == f"{address} {number} {address} 127.0.0.1 {port}{sign}{others}"
            plain.send("?")
            port = plain.socket.getsockname()[1]
            assert plain.recv(5) == f"127.0.0.1 {port} 127.0.0.1 127.0.0.1 {port}{sign}" + " ".join(sorted(everyone[:-1]))

        check()
        # What is idle is frozen, and a reload moves all of them.
        time.sleep(0.5)
        check()
        (tmp_path / "seeing.lua").write_text(SEEING.replace('" | "', '" moved "'))
        made.reload()

        def have_moved():
            plain.send("?")
            return " moved " in plain.recv(5)

        wait_for(have_moved, what="the reload")
        check(" moved ")
        stack.close()
        lines = made.log_lines("access.log", MANY)
        assert sum(line.startswith("203.0.113.7:7 127.0.0.1:") for line in lines) == 1
        wait_for(lambda: made.log().count("log 203.0.113.") == MANY - 1, what="the hooks' lines")


@pytest.mark.switchyard_only
def test_hooks_see_the_client_over_http2(simple, tmp_path):
    (tmp_path / "seeing.lua").write_text(SEEING)
    made = simple(TRUSTING, server=f"http2 on; plugin {tmp_path}/seeing.lua;")
    made.backend.answer = lambda request: reply(200, request.get("x-seen").encode())
    with HTTP2Client(made.port) as client:
        port = client.socket.getsockname()[1]
        got = client.fetch("/", headers=[("x-real-ip", "203.0.113.9:5")])
        assert got.body == f"203.0.113.9 5 203.0.113.9 127.0.0.1 {port}".encode()
        assert client.fetch("/").body == f"127.0.0.1 {port} 127.0.0.1 127.0.0.1 {port}".encode()
