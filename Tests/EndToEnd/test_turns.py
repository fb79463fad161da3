"""What one peer has sent is worked on for a while; then it is the others' turn, however much there is.

What is checked is the order in which things happen on the only worker, not how long they take.
"""

import pytest

from harness.websocket import WebSocketServer, frame, handshake
from harness.wire import Client

pytestmark = pytest.mark.switchyard_only

# Some tenths of a second for all of them.
MANY = 3000
SOME_WORK = "for _ = 1, 20000 do end sy.shared.seen:incr('count', 1, 0)"
COUNT = ("location = /count { request_by_lua_block { "
         "return flow:respond{ status = 200, body = tostring(sy.shared.seen:get('count') or 0) } } }")
HTTP = "lua_shared_dict seen 1m;"


def count(client):
    client.send(b"GET /count HTTP/1.1\r\nHost: test\r\n\r\n")
    return int(client.read_response().text)


def test_pipelined_requests_leave_others_their_turn(simple):
    proxy = simple(
        http=HTTP, server=f"keepalive_requests 100000; {COUNT} location = /busy {{ request_by_lua_block {{ "
        f"{SOME_WORK} return flow:respond{{ status = 200, body = 'done' }} }} }}")
    with Client(("127.0.0.1", proxy.port)) as busy, Client(("127.0.0.1", proxy.port)) as other:
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
            location="proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; "
            f"{stage}_by_lua_block {{ if {argument}.from == 'client' then {SOME_WORK} end }}")
        with Client(("127.0.0.1", proxy.port)) as busy, Client(("127.0.0.1", proxy.port)) as other:
            busy.send(handshake("/"))
            assert busy.read_response_head().status == 101
            assert count(other) == 0
            busy.send(b"".join(frame(str(number).encode(), masked=True) for number in range(MANY)))
            assert count(other) < MANY
            for number in range(MANY):
                header = busy.read_exactly(2)
                assert busy.read_exactly(header[1]) == str(number).encode()
            assert count(other) == MANY
