"""WebSockets whose peers take slowly what they are sent: nothing is lost, and nobody is found dead or silent for it. And what the
error log says of WebSockets that the proxy ends, or that break."""

import contextlib
import re
import select
import socket
import threading
import time

import pytest

from harness.backend import Backend
from harness.websocket import MAP, RECIPE, frame, opened, switching
from harness.wire import Closed, wait_for

pytestmark = pytest.mark.switchyard_only

# From less than what a socket holds to more than that and what is read at once: in some of these cases the message is on its way when
# its sender's close frame is read.
SIZES = range(100_000, 500_000, 16_000)
CLOSE = b"\x03\xe8bye"
FOLLOWED = RECIPE + "websocket_ping_interval 1h; "


def accepted(connection):
    connection.send(switching(connection.read_request().get("sec-websocket-key")))
    return connection


def reset(reader):
    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    reader.sock.close()


def read_all(reader, size, answer, pause=0.005):
    """Reads a message and a close frame slowly, answers that, and says how many bytes came."""
    count = len(reader.buffer)
    reader.sock.settimeout(20)
    while count < size:
        data = reader.sock.recv(20_000 if pause else 1 << 20)
        if not data:
            return count
        count += len(data)
        time.sleep(pause)
    # Where the close frame has long been in this end's buffers, the time for the answer is over.
    with contextlib.suppress(OSError):
        reader.send(answer)
    return count


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sender", ["client", "upstream"])
def test_what_stands_before_a_close_frame_arrives_however_late(proxy, sender, tmp_path):
    found, threads = {}, []

    def program(connection):
        accepted(connection)
        connection.sock.settimeout(30)
        if sender == "upstream":
            size = int.from_bytes(connection.read_exactly(10)[6:], "big")
            connection.send(frame(bytes(size), opcode=2) + frame(CLOSE, opcode=8))
            try:
                found[size, "answer"] = connection.read_exactly(11)
            except (Closed, OSError) as error:
                found[size, "answer"] = error
        else:
            # Of the frame's header, the length.
            size = int.from_bytes(connection.read_exactly(14)[2:10], "big")
            time.sleep(2.5)
            found[size] = read_all(connection, size + 11, frame(CLOSE, opcode=8))
        connection.finish()

    # The system finds TCP more and more room.
    front = str(tmp_path / "front")
    with Backend(program=program, path=str(tmp_path / "back")) as backend, contextlib.ExitStack() as stack:
        proxy(
            MAP + f"server {{ listen 127.0.0.1:<port>; listen unix:{front}; location / {{ proxy_pass http://{backend}:;"
            " proxy_http_version 1.1; websocket_close_timeout 500ms; " + FOLLOWED + "} }")
        for size in SIZES:
            client = stack.enter_context(opened(front, timeout=30))
            if sender == "client":
                data = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(size) + frame(CLOSE, opcode=8, masked=True)

                def act(client=client, size=size, data=data):
                    try:
                        client.send(data)
                        found[size, "answer"] = client.read_exactly(7)
                    except (Closed, OSError) as error:
                        found[size, "answer"] = error
            else:
                # Of four bytes, which the mask of zeros leaves as they are.
                client.send(b"\x82\x84" + bytes(4) + size.to_bytes(4, "big"))

                def act(client=client, size=size):
                    time.sleep(2.5)
                    found[size] = read_all(client, size + 17, frame(CLOSE, opcode=8, masked=True))

            threads.append(threading.Thread(target=act))
            threads[-1].start()
        for thread in threads:
            thread.join()
        wait_for(lambda: len(found) == 2 * len(SIZES), 20, "all ends")
    # Headers of 10 and 14 bytes were read or not; the answer of a client is masked.
    extra = 11 if sender == "client" else 17
    assert {size: found[size] for size in SIZES} == {size: size + extra for size in SIZES}
    answers = [found[size, "answer"] for size in SIZES]
    assert all(isinstance(answer, bytes) and answer[0] == 0x88 for answer in answers), answers


@pytest.mark.timeout(120)
@pytest.mark.parametrize("broken", ["client", "upstream"])
def test_what_one_is_owed_arrives_though_the_other_breaks_meanwhile(simple, broken):
    size, ready, gone, upstream = 12_000_000, threading.Event(), threading.Event(), {}

    def program(connection):
        accepted(connection)
        connection.sock.settimeout(30)
        sending = threading.Thread(target=connection.send, args=(frame(bytes(size), opcode=2) + frame(CLOSE, opcode=8),))
        sending.start()
        ready.wait()
        if broken == "upstream":
            reset(connection)
            gone.set()
        else:
            gone.wait()
            time.sleep(0.3)
            upstream["count"] = read_all(connection, size + 14 + 11, b"", pause=0)
        with contextlib.suppress(OSError):
            sending.join()

    made = simple(RECIPE + "message_by_lua_block { local data = msg.data }", http=MAP)
    made.backend.program = program
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(opened(made.port, timeout=30))
        data = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(size) + frame(CLOSE, opcode=8, masked=True)

        def send():
            with contextlib.suppress(OSError):
                client.send(data)

        sending = threading.Thread(target=send)
        sending.start()
        time.sleep(2)
        ready.set()
        if broken == "client":
            client.reset()
            gone.set()
            wait_for(lambda: "count" in upstream, 30, "the message at the backend")
            assert upstream["count"] == size + 14 + 11
        else:
            gone.wait()
            time.sleep(0.3)
            assert read_all(client, size + 10 + 7, b"", pause=0) == size + 10 + 7
        sending.join()


def pumping(told):
    """A backend program: sends messages without a pause, and notes what comes."""
    def program(connection):
        accepted(connection)
        data, left = frame(bytes(8192), opcode=2), b""
        connection.sock.setblocking(False)
        with contextlib.suppress(OSError):
            while not told:
                ready = select.select([connection.sock], [connection.sock], [], 1)
                if ready[0]:
                    told.append(connection.sock.recv(100))
                if ready[1]:
                    left = left or data
                    left = left[connection.sock.send(left):]
        connection.sock.close()

    return program


@pytest.fixture
def pumped(proxy):
    """A WebSocket whose upstream sends without a pause, and a list for what that is told."""
    told = []
    with Backend(program=pumping(told)) as backend, contextlib.ExitStack() as stack:
        def make(directives):
            made = proxy(
                MAP + "server { listen 127.0.0.1:<port> sndbuf=32k; location / { proxy_pass http://<backend>;"
                " proxy_http_version 1.1; " + RECIPE + directives + "} }", values={"backend": backend})
            return stack.enter_context(opened(made.port, receive_buffer=8192)), told

        yield make
        told.append(b"")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("directives", [
    "websocket_ping_interval 500ms; websocket_pong_timeout 500ms; websocket_ping_to client;",
    "websocket_idle_timeout 1s;", "websocket_idle_timeout 1s messages;"])
def test_a_client_that_takes_slowly_is_neither_dead_nor_idle(pumped, directives):
    client, told = pumped(directives)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        header = client.read_exactly(2)
        if header[0] == 0x89:
            client.send(frame(client.read_exactly(header[1]), opcode=10, masked=True))
        else:
            assert header == b"\x82\x7e"
            client.read_exactly(2 + 8192)
        time.sleep(0.25)
        assert not told


@pytest.mark.timeout(60)
def test_a_client_that_takes_nothing_is_lost_after_send_timeout(pumped):
    _, told = pumped(
        "send_timeout 1s; websocket_ping_interval 300ms; websocket_pong_timeout 300ms; websocket_ping_to client;")
    began = time.monotonic()
    wait_for(lambda: told, 10, "the end")
    assert time.monotonic() - began > 0.9
    assert told[0][:1] == b"\x88"


# MARK: The error log


@pytest.fixture
def tunnel(simple):
    """Opens one by a program of the backend; gives the client, and what waits for a line of the error log."""
    with contextlib.ExitStack() as stack:
        def make(program, directives):
            made = simple(directives + RECIPE, http=MAP)
            made.backend.program = program
            client = stack.enter_context(opened(made.port))
            return client, lambda level, text: wait_for(
                lambda: re.search(rf"\[{level}\] \S+ (\*\d+ )?{re.escape(text)}", made.log()), 5, repr(text))

        yield make


def rests(connection):
    accepted(connection)
    with contextlib.suppress(OSError):
        while connection.fill():
            pass


def resets(connection):
    accepted(connection)
    connection.read_exactly(6)
    reset(connection)


BEHIND = " while proxying upgraded connection"


@pytest.mark.parametrize("directives", ["", "websocket_ping_interval 1h;", "message_by_lua_block { local data = msg.data }"])
def test_resets_are_in_the_error_log_as_with_nginx(tunnel, directives):
    client, wait_for_line = tunnel(resets, directives)
    client.send(frame(b"", masked=True))
    wait_for_line("error", "recv() failed (104: Connection reset by peer)" + BEHIND + ", client: 127.0.0.1, ")
    client, wait_for_line = tunnel(rests, directives)
    client.reset()
    wait_for_line("info", "recv() failed (104: Connection reset by peer)" + BEHIND + ", client: 127.0.0.1, ")


@pytest.mark.parametrize("directives", ["", "websocket_ping_interval 1h;"])
def test_a_clients_breach_says_whose_it_is(tunnel, directives):
    """Of the request no more is known than what an access log is to say of it."""
    client, wait_for_line = tunnel(resets, directives)
    client.send(frame(b"", masked=True))
    line = wait_for_line("error", "recv() failed (104: Connection reset by peer)" + BEHIND)
    assert ', client: 127.0.0.1, request: "GET /ws/ HTTP/1.1", upstream: "' in line.string[line.start():].split("\n")[0]
    client, wait_for_line = tunnel(resets, directives + "access_log off;")
    client.send(frame(b"", masked=True))
    line = wait_for_line("error", "recv() failed (104: Connection reset by peer)" + BEHIND)
    assert ', client: 127.0.0.1, upstream: "' in line.string[line.start():].split("\n")[0]


@pytest.mark.parametrize("directives, sends, level, line", [
    ("websocket_ping_interval 200ms; websocket_pong_timeout 200ms; websocket_ping_to client;", b"",
     "info", "client is gone: ping timeout"),
    ("websocket_ping_interval 200ms; websocket_pong_timeout 200ms; websocket_ping_to upstream;", b"",
     "error", "upstream is gone: ping timeout"),
    ("websocket_idle_timeout 200ms;", b"", "info", "closing the WebSocket: 1001 idle"),
    ("websocket_ping_interval 1h; proxy_read_timeout 200ms;", b"",
     "info", "closing the WebSocket: 1001 nothing came within proxy_read_timeout"),
    ("websocket_max_message 10; message_by_lua_block { local data = msg.data }", frame(bytes(11), opcode=2, masked=True),
     "info", "client broke the WebSocket: 1009 message too big"),
    ("websocket_ping_interval 1h;", frame(b"a", opcode=3, masked=True), "info", "client broke the WebSocket: 1002"),
    ("message_by_lua_block { flow:close(4001, 'enough') }", frame(b"a", masked=True),
     "info", "closing the WebSocket: 4001 enough"),
])
def test_why_the_proxy_ends_a_websocket_is_in_the_error_log(tunnel, directives, sends, level, line):
    client, wait_for_line = tunnel(rests, directives)
    client.send(sends)
    wait_for_line(level, line)


def test_a_client_that_leaves_without_a_word_is_in_the_error_log(tunnel):
    client, wait_for_line = tunnel(rests, "websocket_ping_interval 1h;")
    client.close()
    wait_for_line("info", "client left without a close frame" + BEHIND)
