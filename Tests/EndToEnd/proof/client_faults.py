"""Clients that do what none should."""

import socket
import time

from harness.backend import reply
from harness.websocket import frame, handshake, switching
from harness.wire import Closed, WireError

from .backend_faults import TUNNELS, answer, garbled, open_tunnel, wait_for_the_end
from .scenarios import scenario
from .traffic import echo_frames, piece
from .world import SETTLED, TIMEOUT, answer_well, well


def leave(client, dice):
    """Closes, resets, or ends the sending side and then closes."""
    way = dice.random()
    if way < 0.4:
        client.reset()
    elif way < 0.6:
        try:
            client.finish()
        except OSError:
            pass
    client.close()


def tunnel(connection, request):
    """A backend's side of a WebSocket, with nothing wrong."""
    connection.send(switching(request.get("sec-websocket-key"), [("X-Number", request.get("x-number"))]))
    try:
        echo_frames(connection)
    except (Closed, WireError):
        pass
    return False


def large(connection, request):
    """An answer of 4 MB."""
    connection.read_request_body(request)
    connection.send(reply(200, piece(int(request.get("x-number")), 4 << 20)))
    return True


def slow(connection, request):
    """An answer that comes after a while, unless the proxy gives up before."""
    connection.read_request_body(request)
    if not wait_for_the_end(connection, 0.2):
        connection.send(answer(int(request.get("x-number")), False))
    return False


@scenario("client vanishes while sending")
def vanishes_sending(world, dice):
    """A request that ends after each number of its bytes."""
    number = world.begin(answer_well)
    data = world.head(number, method="POST", headers=[("Content-Length", "60")]) + piece(number, 60)
    for offset in range(0, len(data), dice.choice((1, 2, 3))):
        client = world.connect()
        client.send(data[:offset])
        leave(client, dice)
    world.over(number)


@scenario("client vanishes while waiting")
def vanishes_waiting(world, dice):
    """A client that goes before the answer, within it, or within a large one that it does not read."""
    for act, part in ((slow, 0), (large, 0), (large, 1000), (large, 200000), (answer_well, 30)):
        number = world.begin(act)
        client = world.connect()
        client.send(world.head(number, dice.choice(("/fresh/", "/fresh/script/"))))
        try:
            if part:
                client.read_exactly(part)
            elif dice.random() < 0.5:
                time.sleep(0.02)
        except (Closed, OSError) as error:
            world.fail("answers", f"{part} bytes of an answer: {error!r}")
        world.look_for_others(client, number)
        leave(client, dice)
        world.over(number)


@scenario("client vanishes from a WebSocket")
def vanishes_tunnel(world, dice):
    """A client that goes after the handshake, within a frame, after a message or after its close frame."""
    for target in TUNNELS:
        number = world.begin(tunnel)
        client = world.connect()
        message = frame(piece(number, 300), masked=True)
        try:
            if open_tunnel(world, client, number, target):
                client.send(dice.choice((
                    b"", message, message * 5, message[:dice.randrange(1, len(message))],
                    frame(b"\x03\xe8", opcode=8, masked=True), frame(b"", opcode=9, masked=True))))
            else:
                world.fail("answers", f"{target}: a right handshake was refused")
        except (Closed, WireError, OSError) as error:
            world.fail("answers", f"{target}: {error!r}")
        leave(client, dice)
        world.over(number)


@scenario("client trickles")
def trickles(world, dice):
    """A request that comes a byte at a time is answered; one that stops in its head or body is given up in time."""
    def body(client, number):
        for byte in piece(number, 30):
            client.send(bytes([byte]))
            time.sleep(0.001)

    if world.exchange(answer_well, dice.choice(("/fresh/", "/fresh/script/")), "POST",
                      [("Content-Length", "30")], body, whole=well, allowed=()) != 200:
        world.fail("answers", "a request that came byte by byte was not answered")
    waiting = []
    for _ in range(20):
        number = world.begin(answer_well)
        data = world.head(number, method="POST", headers=[("Content-Length", "60")]) + piece(number, 60)
        part = data[:dice.randrange(1, len(data) - 1)]
        client = world.connect()
        client.send(part)
        waiting.append((client, number, part))
    end = time.monotonic() + SETTLED
    for client, number, part in waiting:
        client.sock.settimeout(max(0.01, end - time.monotonic()))
        try:
            client.read_rest()
            if client.log and not client.log.startswith((b"HTTP/1.1 408", b"HTTP/1.1 504", b"HTTP/1.1 502")):
                world.fail("answers", f"half a request was answered by {bytes(client.log[:40])!r}")
        except TimeoutError:
            world.fail("stuck", f"a client of whose {len(data)} bytes {len(part)} came, after {SETTLED} s: ...{part[-20:]!r}")
        except ConnectionResetError:
            pass
        world.look_for_others(client, number)
        client.close()
        world.over(number)


@scenario("client floods")
def floods(world, dice):
    """Hundreds of pipelined requests, a hundred connections at once, answers that nobody reads, and junk."""
    numbers = [world.begin(answer_well) for _ in range(100)]
    with world.connect() as client:
        client.send(b"".join(world.head(number, "/fresh/") for number in numbers))
        for number in numbers:
            try:
                world.judge(number, client.read_response(), well, ())
            except (Closed, WireError, OSError) as error:
                world.fail("answers", f"pipelined request {numbers.index(number)} of 100: {error!r}")
                break
    crowd = []
    for number in numbers:
        client = world.connect()
        client.send(world.head(number, "/fresh/"))
        crowd.append((client, number))
    for client, number in crowd:
        try:
            world.judge(number, client.read_response(), well, ())
        except (Closed, WireError, OSError) as error:
            world.fail("answers", f"one of a hundred connections: {error!r}")
        world.look_for_others(client, number)
        client.close()
    for number in numbers:
        world.over(number)
    unread = []
    for _ in range(4):
        number = world.begin(large)
        client = world.connect()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(world.head(number))
        unread.append((client, number))
    with world.connect() as client:
        try:
            for _ in range(20):
                client.send(bytes(dice.randrange(33, 127) for _ in range(1000)) * 50)
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            world.fail("stuck", "junk is neither read nor refused")
    # Past send_timeout the proxy has given them up.
    time.sleep(dice.choice((0.05, 1.5 * TIMEOUT)))
    for client, number in unread:
        client.close()
        world.over(number)


@scenario("client sends garbage")
def garbage(world, dice):
    """Requests that were garbled, and bytes that are none: an answer or an end, in time."""
    for _ in range(40):
        number = world.begin(answer_well)
        data = world.head(number, method="POST", headers=[("Content-Length", "60")]) + piece(number, 60)
        data = garbled(dice, data) if dice.random() < 0.7 else bytes(dice.randrange(256) for _ in range(300))
        with world.connect() as client:
            try:
                client.send(data)
                client.finish()
                client.read_to_the_end()
            except TimeoutError:
                world.fail("stuck", f"after {data[:100]!r}")
            except OSError:
                pass
            world.look_for_others(client, number)
        world.over(number)


@scenario("client sends half of a WebSocket")
def half_websockets(world, dice):
    """Halves of handshakes and of frames, and frames that break the rules, after which nothing comes: each ends in time."""
    waiting = []
    for target in TUNNELS:
        number = world.begin(tunnel)
        data = handshake(target, [("X-Number", str(number))])
        client = world.connect()
        client.send(data[:dice.randrange(1, len(data))])
        waiting.append((client, number, "half a handshake"))
        number = world.begin(tunnel)
        client = world.connect()
        message = frame(piece(number, 300), masked=True)
        try:
            if open_tunnel(world, client, number, target):
                client.send(dice.choice((
                    message[:1], message[:5], message[:100], message[:-1], frame(b"not masked"), b"\xff" * 20,
                    frame(b"\xff\xfe", masked=True), frame(b"a", final=False, masked=True), frame(b"a", opcode=0, masked=True),
                    frame(b"a" * 200, opcode=9, masked=True), b"\x81\xff" + b"\xff" * 8, message * 2 + message[:40])))
        except (Closed, WireError, OSError) as error:
            world.fail("answers", f"{target}: {error!r}")
        waiting.append((client, number, f"half a WebSocket at {target}"))
    end = time.monotonic() + SETTLED
    for client, number, what in waiting:
        client.sock.settimeout(max(0.01, end - time.monotonic()))
        try:
            client.read_rest()
        except TimeoutError:
            world.fail("stuck", f"{what} after {SETTLED} s")
        except ConnectionResetError:
            pass
        world.look_for_others(client, number)
        client.close()
        world.over(number)
