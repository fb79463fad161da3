"""The two recipe configurations of examples/, as they are but for their ports, before a `websockets` server."""

import asyncio
import http
import os

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness import ports
from harness.proxy import ROOT, Proxy
from harness.websocket import WebSocketServer

RECIPES = ["websocket-fixed.conf", "websocket-map.conf"]


async def handler(connection):
    """Echoes; obeys a few words."""
    async for message in connection:
        if message == "path":
            await connection.send(connection.request.path)
        elif message == "protocol":
            await connection.send(connection.subprotocol or "")
        elif message == "extensions":
            await connection.send(connection.response.headers.get("Sec-WebSocket-Extensions", ""))
        elif message == "forwarded":
            await connection.send(connection.request.headers.get("X-Forwarded-For", ""))
        elif isinstance(message, str) and message.startswith("close "):
            await connection.close(int(message.split()[1]), "as you wish")
        elif message == "ping me":
            waiter = await connection.ping(b"from the server")
            await waiter
            await connection.send("ponged")
        elif message == "burst":
            for number in range(1000):
                await connection.send(str(number))
        else:
            await connection.send(message)


def answer_page(connection, request):
    if request.path == "/page":
        return connection.respond(http.HTTPStatus.OK, "a page\n")
    if request.path == "/ws/denied":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "denied\n")


def choose_subprotocol(connection, offered):
    return next((name for name in ("chat.v2", "chat.v1") if name in offered), None)


@pytest.fixture(scope="module", params=RECIPES)
def recipe(request, tmp_path_factory):
    """The proxy's `ws://host:port`."""
    with WebSocketServer(
            handler, process_request=answer_page, select_subprotocol=choose_subprotocol) as server:
        directory = tmp_path_factory.mktemp("recipe")
        port = ports.free_port()
        text = (ROOT / "examples" / request.param).read_text()
        for was, becomes in (
                ("127.0.0.1:8080", f"127.0.0.1:{port}"), ("127.0.0.1:3000", str(server)),
                ("/tmp/switchyard-example.pid", f"{directory}/proxy.pid")):
            assert was in text
            text = text.replace(was, becomes)
        with Proxy(text, directory, values={"port": port}) as proxy:
            yield f"ws://127.0.0.1:{port}"


def test_text(recipe):
    with connect(recipe + "/ws/") as socket:
        for text in ("hello", "", "grüße ☃ 🚦", "x" * 200, "y" * 70000):
            socket.send(text)
            assert socket.recv(5) == text


def test_a_binary_message_of_a_megabyte(recipe):
    payload = os.urandom(1 << 20)
    with connect(recipe + "/ws/", max_size=2 << 20, compression=None) as socket:
        for _ in range(3):
            socket.send(payload)
            assert socket.recv(10) == payload


def test_a_fragmented_message(recipe):
    with connect(recipe + "/ws/") as socket:
        socket.send(["one ", "two ", "three"])
        assert socket.recv(5) == "one two three"


def test_ping_and_pong_in_both_directions(recipe):
    with connect(recipe + "/ws/") as socket:
        assert socket.ping(b"payload").wait(5)
        socket.send("ping me")
        assert socket.recv(5) == "ponged"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_code_from_the_server(recipe, code):
    with connect(recipe + "/ws/") as socket:
        socket.send(f"close {code}")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, "as you wish")


@pytest.mark.parametrize("code", [1000, 3001])
def test_a_close_code_from_the_client_is_echoed(recipe, code):
    with connect(recipe + "/ws/") as socket:
        socket.close(code, "bye")
    assert (socket.protocol.close_rcvd.code, socket.protocol.close_rcvd.reason) == (code, "bye")


def test_a_subprotocol_is_negotiated_end_to_end(recipe):
    with connect(recipe + "/ws/", subprotocols=["chat.v1", "other"]) as socket:
        assert socket.subprotocol == "chat.v1"
        socket.send("protocol")
        assert socket.recv(5) == "chat.v1"


def test_permessage_deflate_is_negotiated_end_to_end(recipe):
    with connect(recipe + "/ws/", compression="deflate") as socket:
        socket.send("extensions")
        assert "permessage-deflate" in socket.recv(5)
        text = "compressible " * 10000
        socket.send(text)
        assert socket.recv(5) == text


def test_no_compression_when_the_client_offers_none(recipe):
    with connect(recipe + "/ws/", compression=None) as socket:
        socket.send("extensions")
        assert socket.recv(5) == ""


def test_the_path_and_query_reach_the_server(recipe):
    with connect(recipe + "/ws/room%20a/b?x=1&y=%2F") as socket:
        socket.send("path")
        assert socket.recv(5) == "/ws/room%20a/b?x=1&y=%2F"


def test_many_messages_in_flight(recipe):
    with connect(recipe + "/ws/") as socket:
        socket.send("burst")
        assert [socket.recv(5) for _ in range(1000)] == [str(n) for n in range(1000)]


def test_a_refused_upgrade_passes_on_the_servers_answer(recipe):
    with pytest.raises(InvalidStatus) as refused:
        connect(recipe + "/ws/denied")
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == b"denied\n"


def test_two_hundred_connections_at_once(recipe):
    async def one(number):
        async with connect_async(recipe + f"/ws/{number}", open_timeout=20) as socket:
            for turn in range(10):
                await socket.send(f"{number} {turn}")
                assert await asyncio.wait_for(socket.recv(), 20) == f"{number} {turn}"
            await socket.send("path")
            assert await asyncio.wait_for(socket.recv(), 20) == f"/ws/{number}"

    async def all_of_them():
        await asyncio.gather(*(one(number) for number in range(200)))

    asyncio.run(all_of_them())
