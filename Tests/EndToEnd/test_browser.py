"""A browser's WebSockets through the proxy: the recipes before a `websockets` server, and the demonstration."""

import http
import re
import subprocess

import pytest
from websockets.asyncio.server import broadcast
from websockets.datastructures import Headers
from websockets.http11 import Response

from harness import ports
from harness.browser import Browser
from harness.proxy import ROOT, Proxy, binary
from harness.websocket import WebSocketServer
from harness.wire import fetch, wait_for

PAGE = """<!doctype html>
<title>chat</title>
<script>
  window.received = [];
  window.state = "opening";
  window.socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/page$/, "ws/chat"), ["chat"]);
  socket.onopen = () => state = "open";
  socket.onmessage = (event) => received.push(event.data);
  socket.onclose = (event) => state = "closed " + event.code;
</script>
"""
people = set()


async def chat(connection):
    people.add(connection)
    try:
        async for message in connection:
            if message == "leave":
                await connection.close(4001, "as you wish")
            else:
                broadcast(people, message)
    finally:
        people.discard(connection)


def serve_page(connection, request):
    if request.path == "/page":
        headers = Headers({"Content-Type": "text/html", "Content-Length": str(len(PAGE)), "Connection": "close"})
        return Response(http.HTTPStatus.OK, "OK", headers, PAGE.encode())
    if not request.path.startswith("/ws/"):
        return connection.respond(http.HTTPStatus.NOT_FOUND, "")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(str(tmp_path_factory.mktemp("browser") / "profile")) as made:
        yield made


@pytest.mark.parametrize("recipe", ["websocket-fixed.conf", "websocket-map.conf"])
def test_two_pages_chat_through_the_recipe(browser, tmp_path, recipe):
    port = ports.free_port()
    with WebSocketServer(chat, process_request=serve_page, subprotocols=["chat"]) as server:
        text = (ROOT / "examples" / recipe).read_text()
        for was, becomes in (
                ("127.0.0.1:8080", f"127.0.0.1:{port}"), ("127.0.0.1:3000", str(server)),
                ("/tmp/switchyard-example.pid", f"{tmp_path}/proxy.pid")):
            text = text.replace(was, becomes)
        with Proxy(text, tmp_path, values={"port": port}):
            first, second = (browser.open(f"http://127.0.0.1:{port}/page") for _ in range(2))
            for page in (first, second):
                page.wait("window.state === 'open'")
                assert page.evaluate("socket.protocol") == "chat"
                assert "permessage-deflate" in page.evaluate("socket.extensions")
            first.evaluate("socket.send('hello from the first, grüße')")
            second.wait("received.includes('hello from the first, grüße')")
            second.evaluate("socket.send('x'.repeat(300000))")
            first.wait("received.some((text) => text.length === 300000)")
            second.evaluate("{ for (let i = 0; i < 200; i++) socket.send('message ' + i); }")
            first.wait("received.includes('message 199')")
            assert first.evaluate("received.filter((text) => text.startsWith('message ')).join()") == ",".join(
                f"message {number}" for number in range(200))
            second.evaluate("socket.send('leave')")
            second.wait("window.state === 'closed 4001'")
            assert first.evaluate("window.state") == "open"
            first.evaluate("socket.close(1000)")
            first.wait("window.state === 'closed 1000'")


@pytest.mark.switchyard_only
def test_the_demonstration_works_in_a_browser(browser):
    port = ports.free_port()
    process = subprocess.Popen(
        [binary("switchyard"), "demo", "--listen", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(lambda: ports.is_listening(port) or process.poll() is not None, 15, "listening")
        assert process.poll() is None, process.communicate()[0]
        first, second = (browser.open(f"http://127.0.0.1:{port}/") for _ in range(2))
        for page in (first, second):
            page.wait("document.querySelectorAll('.state.open').length === 2")
        first.wait("document.getElementById('people').textContent === '2 people'")
        first.evaluate(
            "document.getElementById('text').value = 'hello over there';"
            " document.querySelector('#chat button').click()")
        second.wait("document.getElementById('log').textContent.includes('hello over there')")
        for test in ("text", "large", "burst"):
            first.evaluate(f"id('result').textContent = ''; document.querySelector('[data-echo={test}]').click()")
            first.wait("id('result').textContent.includes('as sent')")
        first.evaluate("document.querySelector('[data-get=\"hello\"]').click()")
        first.wait("/200/.test(document.getElementById('answer').textContent)")
        assert fetch(port, "/status/418").status == 418
    finally:
        process.terminate()
        output = process.communicate(timeout=10)[0]
    assert process.returncode == 0
    assert re.search(rf"http://(127\.0\.0\.1|localhost):{port}", output), "the printed list names the address"
