"""What one peer has sent is worked on for a while; then it is the others' turn, however much there is.

What is checked is the order in which things happen on the only worker, not how long they take.
"""

import contextlib
import signal

import pytest

from harness.websocket import WEBSOCKET, WebSocketServer, frame, opened
from harness.wire import Client, wait_for
from proof.traffic import read_frame

pytestmark = pytest.mark.switchyard_only

# Some tenths of a second for all of them.
MANY = 3000
SOME_WORK = "for _ = 1, 20000 do end sy.shared.seen:incr('count', 1, 0)"
COUNT = ("location = /count { request_by_lua_block { "
         "return flow:respond{ status = 200, body = tostring(sy.shared.seen:get('count') or 0) } } }")
HTTP = "lua_shared_dict seen 1m;"


def count(client):
    return int(client.fetch("/count").text)


def test_pipelined_requests_leave_others_their_turn(simple):
    proxy = simple(
        http=HTTP, server=f"keepalive_requests 100000; {COUNT} location = /busy {{ request_by_lua_block {{ "
        f"{SOME_WORK} return flow:respond{{ status = 200, body = 'done' }} }} }}")
    with Client(proxy.port) as busy, Client(proxy.port) as other:
        assert count(other) == 0
        busy.send(b"GET /busy HTTP/1.1\r\nHost: test\r\n\r\n" * MANY)
        assert count(other) < MANY
        assert all(busy.read_response().text == "done" for _ in range(MANY))
        assert count(other) == MANY


@pytest.mark.parametrize("stage", ["message", "frame"])
def test_messages_leave_others_their_turn(simple, stage):
    argument = "msg" if stage == "message" else "frame"
    with WebSocketServer() as server:
        proxy = simple(
            http=HTTP, server=COUNT, values={"backend": server},
            location=WEBSOCKET + f"{stage}_by_lua_block {{ if {argument}.from == 'client' then {SOME_WORK} end }}")
        with opened(proxy.port) as busy, Client(proxy.port) as other:
            assert count(other) == 0
            busy.send(b"".join(frame(str(number).encode(), masked=True) for number in range(MANY)))
            assert count(other) < MANY
            for number in range(MANY):
                assert read_frame(busy)[2] == str(number).encode()
            assert count(other) == MANY


def test_a_client_that_left_ends_what_a_hook_behind_many_messages_waits_for(simple):
    """Its end comes while others have their turn; the hook would sleep for longer than anybody waits here."""
    closed = []

    async def handler(connection):
        with contextlib.suppress(Exception):
            async for _ in connection:
                pass
        closed.append(connection.close_code)

    with WebSocketServer(handler) as server:
        proxy = simple(values={"backend": server}, location=WEBSOCKET + """
            message_by_lua_block {
                for _ = 1, 40000 do end
                if msg.data == "wait" then sy.sleep(3600) end
            }""")
        with opened(proxy.port) as client:
            client.send(frame(b"x", masked=True) * 300 + frame(b"wait", masked=True))
        wait_for(lambda: closed == [1011])


def test_keepalive_timeout_is_not_for_requests_that_are_here(simple):
    proxy = simple(server="keepalive_timeout 100ms; location = /busy { request_by_lua_block { "
                   "for _ = 1, 100000 do end return flow:respond{ status = 204 } } }")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(proxy.port)) for _ in range(30)]
        for client in clients:
            client.send(b"GET /busy HTTP/1.1\r\nHost: test\r\n\r\n" * 50)
        for client in clients:
            assert [client.read_response().status for _ in range(50)] == [204] * 50


def test_of_pipelined_requests_the_last_one_before_a_shutdown_is_told(simple):
    proxy = simple(server="keepalive_requests 100000; location = /some { request_by_lua_block { "
                   "for _ = 1, 20000 do end return flow:respond{ status = 204 } } }")
    with Client(proxy.port) as client:
        client.send(b"GET /some HTTP/1.1\r\nHost: test\r\n\r\n" * MANY)
        responses = [client.read_response() for _ in range(20)]
        proxy.signal(signal.SIGQUIT)
        while responses[-1].get("Connection") != "close":
            responses.append(client.read_response())
        assert client.read_rest() == b""
        assert len(responses) < MANY
