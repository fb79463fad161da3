"""Backends that do what none should."""

import socket
import time

from harness.backend import chunked, reply
from harness.websocket import KEY, frame, handshake, switching
from harness.wire import Closed, WireError

from .scenarios import scenario
from .traffic import piece, read_frame
from .world import TIMEOUT, well


def wait_for_the_end(connection, seconds=3 * TIMEOUT):
    """Sends nothing more, and reads until the proxy gives up; whether it did."""
    connection.sock.settimeout(seconds)
    try:
        while connection.sock.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


def reset(connection):
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def answer(number, in_chunks):
    """A whole response with the number's body."""
    fields = [("X-Number", str(number))]
    if not in_chunks:
        return reply(200, well(number), fields)
    body = well(number)
    return reply(200, chunked(body[:50], body[50:51], body[51:]), [*fields, ("Transfer-Encoding", "chunked")],
                 length=False)


def sending(make, then=None):
    """An act that reads the request, sends what `make(number)` gives, and then does something else or closes."""

    def act(connection, request):
        connection.read_request_body(request)
        connection.send(make(int(request.get("x-number"))))
        if then:
            then(connection)
        return False

    return act


@scenario("backend stalls")
def stalls(world, dice):
    """Nothing comes, or half a head, a head, or half a body, and then nothing more: 504, or an end before the whole."""
    for part in (0, 7, 40, -60, -1):
        def make(number, part=part):
            data = answer(number, dice.random() < 0.5)
            return data[:part] if part else b""

        seen = []

        def stall(connection, seen=seen):
            seen.append(wait_for_the_end(connection))

        started = time.monotonic()
        status = world.exchange(sending(make, stall), whole=well)
        if status == 200:
            world.fail("answers", f"a response of which {part} bytes came was taken for whole")
        if time.monotonic() - started < 0.8 * TIMEOUT:
            world.fail("answers", f"gave up after {time.monotonic() - started:.2f} s, before the timeout")
        if dice.random() < 0.5:
            return


@scenario("backend resets at each byte")
def resets(world, dice):
    """A connection that ends, or is reset, after each number of bytes of a response: only a whole one is passed on as one."""
    in_chunks, how = dice.random() < 0.5, dice.choice((None, reset))
    size = len(answer(world.numbers.next(), in_chunks))
    target = dice.choice(("/faulty/", "/faulty/script/"))
    for offset in range(size + 1):
        status = world.exchange(
            sending(lambda number, offset=offset: answer(number, in_chunks)[:offset], how), target, whole=well)
        if offset < size and status == 200:
            world.fail("answers", f"{offset} bytes of {size} were taken for a whole response")
        if offset == size and how is None and status != 200:
            world.fail("answers", f"a whole response at whose end the connection ended gave {status}")


NASTY = [
    b"", b"\n", b"\r\n\r\n", b"\0" * 100, b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 99 Low\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ffffffffffffffff\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", b"HTTP/1.1 200 OK\r\nX y: z\r\n\r\n", b"HTTP/1.1 200 OK\r\n: z\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded: z\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 200 " + b"a" * 9000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"ICY 200 OK\r\n\r\n", b"220 mail.test ESMTP\r\n", b"GET / HTTP/1.1\r\n\r\n",
]


def garbled(dice, data):
    """The data with some bytes changed, left out, put in or repeated."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(changed))
        way = dice.randrange(4)
        if way == 0:
            changed[at] = dice.randrange(256)
        elif way == 1:
            del changed[at:at + dice.choice((1, 1, 20))]
        elif way == 2:
            changed[at:at] = bytes(dice.randrange(256) for _ in range(dice.choice((1, 1, 30))))
        else:
            changed[at:at] = changed[at:at + 40]
        if not changed:
            return b"\0"
    return bytes(changed)


@scenario("backend answers garbage")
def garbage(world, dice):
    """Bytes that are no response, and responses that were garbled: a 502, an end, or what is a response by chance."""
    for _ in range(40):
        way = dice.random()
        if way < 0.4:
            chosen = dice.choice(NASTY)
            make = lambda number, chosen=chosen: chosen  # noqa: E731
        elif way < 0.5:
            noise = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 3000)))
            make = lambda number, noise=noise: noise  # noqa: E731
        else:
            seed = dice.random()
            in_chunks = dice.random() < 0.5
            make = lambda number: garbled(type(dice)(seed), answer(number, in_chunks))  # noqa: E731, B023
        world.exchange(sending(make), dice.choice(("/faulty/", "/faulty/script/")), allowed=None)


@scenario("backend answers early")
def early(world, dice):
    """An answer before the request is whole, with the connection closed or the rest of the request read or not."""
    for ends in ("closes", "reads on", "leaves it"):
        def act(connection, request, ends=ends):
            number = int(request.get("x-number"))
            connection.send(answer(number, dice.random() < 0.5))
            if ends == "reads on":
                connection.read_request_body(request)
                return True
            if ends == "leaves it":
                time.sleep(0.05)
            return False

        def body(client, number):
            data = piece(number, 400000)
            for at in range(0, len(data), 40000):
                client.send(data[at:at + 40000])
                time.sleep(0.001)

        world.exchange(act, method="POST", headers=[("Content-Length", "400000")], body=body, whole=well)


@scenario("backend trickles")
def trickles(world, dice):
    """A response that comes a byte at a time is passed on whole."""
    in_chunks = dice.random() < 0.5

    def act(connection, request):
        connection.read_request_body(request)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in answer(int(request.get("x-number")), in_chunks):
            connection.send(bytes([byte]))
            time.sleep(0.0003)
        return True

    if world.exchange(act, dice.choice(("/fresh/", "/fresh/script/")), whole=well, allowed=()) != 200:
        world.fail("answers", "a response that came byte by byte was not passed on")


@scenario("backend ends in the middle of chunks")
def half_chunks(world, dice):
    """A body in chunks that ends within a chunk, its size or the last line: the client can tell that it is not whole."""
    for _ in range(10):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        end = dice.choice((b"", b"5\r\nab", b"5", b"ffff\r\n" + b"x" * 3000, b"0\r\n", b"0\r\nX-Trailer: a\r\n", b"3\r\nabc"))
        make = lambda number, end=end: head + b"78\r\n" + well(number) + b"\r\n" + end  # noqa: E731
        if world.exchange(sending(make, dice.choice((None, reset))), whole=well) == 200:
            world.fail("answers", f"a body in chunks that ended with {end[:20]!r} was taken for whole")


@scenario("backend never ends a head")
def endless_head(world, dice):
    """A head, a line of it or a trailer without an end is given up."""
    start, more = dice.choice((
        (b"HTTP/1.1 200 OK\r\n", b"X-Fill: " + b"a" * 500 + b"\r\n"), (b"HTTP/1.1 200 ", b"a" * 500),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 500),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Fill: " + b"a" * 500 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 500)))
    world.exchange(sending(lambda number: start, pouring(more)), whole=well)


def pouring(data, seconds=1.5 * TIMEOUT):
    """Sends the same again and again, until the proxy closes or the time is over."""

    def pour(connection):
        end = time.monotonic() + seconds
        connection.sock.settimeout(seconds)
        while time.monotonic() < end:
            connection.send(data * 20)
            time.sleep(0.002)

    return pour


@scenario("backend sends interim responses without end")
def endless_interim(world, dice):
    """103 after 103, and bodies without end: a client that leaves ends it."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    start = dice.choice((interim, b"HTTP/1.1 200 OK\r\n\r\n"))
    number = world.begin(sending(lambda number: start, pouring(interim)))
    with world.connect(0.1) as client:
        client.send(world.head(number))
        end = time.monotonic() + dice.choice((0.05, 0.3))
        came = 0
        try:
            while time.monotonic() < end and client.fill():
                came += len(client.buffer)
                client.buffer.clear()
                client.log.clear()
        except OSError:
            # Too many of them are a 502, and the client's connection is kept.
            pass
        if not came:
            world.fail("stuck", "nothing was passed on of responses without end")
        if dice.random() < 0.5:
            client.reset()
    world.over(number)


TUNNELS = ("/faulty/", "/faulty/hook/", "/faulty/frames/", "/faulty/pings/")


def open_tunnel(world, client, number, target):
    """Sends a handshake and reads its answer; whether it is a 101."""
    client.send(handshake(target, [("X-Number", str(number))]))
    response = client.read_response_head()
    if response.status != 101:
        client.read_response_body(response)
    return response.status == 101


@scenario("backend breaks WebSockets")
def websockets(world, dice):
    """A 101 that is wrong, and after a right one frames that are, halves of frames, resets and silence: each ends in time."""
    for target in TUNNELS:
        what = dice.choice((
            b"", frame(b"a" * 300)[:-5], b"\xff\xff\xff", frame(b"\xff\xfe"), frame(b"ok") + b"\x81\x7f" + b"\xff" * 8,
            frame(b"x" * 200, opcode=9), frame(b"x", opcode=3), frame(b"a", opcode=0), frame(b"a", final=False) + frame(b"b"),
            frame(b"\x03", opcode=8), frame(b"\x03\xe8bye", opcode=8), bytes(dice.randrange(256) for _ in range(200))))
        wrong = dice.random() < 0.2
        silent = dice.random() < 0.3
        resets_it = dice.random() < 0.3

        def act(connection, request, what=what, wrong=wrong, silent=silent, resets_it=resets_it):
            key = KEY[::-1] if wrong else request.get("sec-websocket-key")
            connection.send(switching(key, [("X-Number", request.get("x-number"))]))
            connection.send(frame(piece(int(request.get("x-number")), 50)) + what)
            if silent:
                wait_for_the_end(connection)
            if resets_it:
                reset(connection)
            return False

        number = world.begin(act)
        try:
            with world.connect() as client:
                if open_tunnel(world, client, number, target):
                    if wrong:
                        world.fail("answers", "a 101 with a wrong key was passed on")
                    while read_frame(client)[1] != 8:
                        pass
        except (Closed, ConnectionResetError, BrokenPipeError):
            world.count("broken off")
        except WireError:
            # What a backend sends through an opaque tunnel is not the proxy's.
            if "hook" in target:
                world.fail("answers", f"{target}: {what[:20]!r} was passed on by a hooked tunnel")
        except TimeoutError:
            world.fail("stuck", f"a tunnel of {target} after {what[:20]!r}")
        finally:
            world.look_for_others(client, number)
            world.over(number)


@scenario("backend refuses")
def refuses(world, dice):
    """Connections that are accepted and closed at once, with the request read or unread."""
    for _ in range(10):
        def act(connection, request):
            if dice.random() < 0.5:
                reset(connection)
            return False

        if world.exchange(act, method=dice.choice(("GET", "POST")), body=b"x" * dice.choice((0, 100000)), whole=well) == 200:
            world.fail("answers", "200 from a backend that said nothing")
