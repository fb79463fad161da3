"""What a proxy runs out of, and what changes under it: descriptors, disks, memory for scripts, names, clocks, files."""

import datetime
import glob
import os
import pathlib
import random
import resource
import tempfile
import threading
import time
from email.utils import parsedate_to_datetime

from harness.websocket import frame
from harness.wire import Closed, WireError, wait_for

from . import watch
from .client_faults import tunnel
from .scenarios import SCENARIOS, scenario
from .traffic import piece
from .world import GREEDS, GREEDY_TOLERANCE, TIMEOUT, World, answer_well, well


@scenario("descriptors run out", spares_new=False, mixes=False)
def descriptors_run_out(world, dice):
    """The process may open a few files more, then none: who is connected is served, who comes waits, and afterwards all
    is as before. A reload meanwhile changes nothing."""
    soft, hard = resource.prlimit(world.pid, resource.RLIMIT_NOFILE)
    # Bystanders have their connections by then, and the proxy its own to their backend.
    time.sleep(0.2)
    room = dice.choice((0, 1, 2, 20))
    held = sum(watch.descriptors(world.pid).values())
    clients = []
    try:
        # Descriptors are the lowest free numbers, so that this leaves room for that many.
        resource.prlimit(world.pid, resource.RLIMIT_NOFILE, (held + room, hard))
        for _ in range(40):
            number = world.begin(answer_well)
            client = world.connect(0.05)
            client.send(world.head(number, "/fresh/"))
            clients.append((client, number))
        # Clients have taken what there was.
        time.sleep(0.2)
        if dice.random() < 0.5:
            world.proxy.reload()
            world.reloads += 1
        time.sleep(0.2)
        if "(24: Too many open files)" not in world.proxy.log():
            world.fail("answers", f"with room for {room} descriptors and 40 clients there were still enough")
    finally:
        resource.prlimit(world.pid, resource.RLIMIT_NOFILE, (soft, hard))
    answered = 0
    for client, number in clients:
        client.sock.settimeout(5 * TIMEOUT)
        try:
            status = world.judge(number, client.read_response(), well, (500, 502, 503))
            answered += status == 200
        except (Closed, ConnectionResetError):
            world.count("broken off")
        except TimeoutError:
            world.fail("stuck", "a connection was not accepted once there were descriptors again")
        world.look_for_others(client, number)
        client.close()
        world.over(number)
    if world.exchange(answer_well, "/fresh/", whole=well, allowed=()) != 200:
        world.fail("answers", "a request after descriptors had run out")
    world.count("served once there were descriptors" if answered else "none served once there were descriptors")


@scenario("disk for logs is full")
def disk_full(world, dice):
    """Access and error logs on a full device, and on a small file system that fills up: requests do not notice, and lines
    are written again once there is room."""
    for _ in range(30):
        for target in ("/full/", "/disk/" + "x" * 900):
            if world.exchange(answer_well, target, whole=well, allowed=()) != 200:
                world.fail("answers", f"{target[:10]} without room for its log")
    # An error to be logged.
    for target in ("/full/", "/disk/"):
        world.exchange(lambda connection, request: False, target)
    if world.disk:
        for name in ("access.log", "error.log"):
            os.truncate(world.disk / name, 0)
        marker = f"/disk/{world.numbers.next()}"
        world.exchange(answer_well, marker, whole=well, allowed=())
        try:
            wait_for(lambda: marker in (world.disk / "access.log").read_text(errors="replace"), 2)
        except AssertionError:
            world.fail("answers", "a log was not written to after room was made")


@scenario("memory for scripts is exhausted")
def lua_memory(world, dice):
    """Scripts that take all memory that there is: 500, or a WebSocket closed with 1011; scripts of others go on."""
    world.tolerance = GREEDY_TOLERANCE
    for greed in GREEDS:
        status = world.exchange(answer_well, "/greedy/", headers=[("X-Greed", greed)], whole=well, allowed=(500,))
        if status != 500:
            world.fail("answers", f"a script that takes all memory by {greed} ended in {status}")
    greed = dice.choice(GREEDS)
    number = world.begin(tunnel)
    try:
        with world.connect() as client:
            client.send(
                f"GET /greedy/message/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Greed: {greed}\r\n"
                f"X-Number: {number}\r\n\r\n".encode() + frame(piece(number, 100), masked=True))
            status = client.read_response_head().status
            data = client.read_rest()
            if status != 101 or data[:1] != b"\x88" or data[2:4] != b"\x03\xf3":
                world.fail("answers", f"a greedy hook for messages: {status}, then {data[:40]!r}, expected a close of 1011")
    except TimeoutError:
        world.fail("stuck", "a WebSocket whose hook took all memory")
    except (Closed, WireError, OSError) as error:
        world.fail("answers", f"a greedy hook for messages: {error!r}")
    world.over(number)


@scenario("names are slow")
def slow_names(world, dice):
    """A name server that is silent, late, garbled or says something else each time: the upstream is found, or it is a 502
    in time."""
    allowed = {"one": (), "missing": (502,), "empty": (502,), "silent": (502, 504), "late": (502, 504),
               "garbled": (502, 504), "changing": (502, 504)}
    moods = list(allowed)
    dice.shuffle(moods)
    for mood in moods:
        # A name of its own is in no cache.
        fresh = dice.choice(("", f".n{dice.randrange(10**6)}"))
        target = f"/named/?name={mood}{fresh}.test"
        status = world.exchange(answer_well, target, whole=well, allowed=allowed[mood])
        if status is None:
            world.fail("answers", f"a request for a name that is {mood} was broken off")
    # Clients that go while names are sought.
    for mood in ("silent", "late"):
        number = world.begin(answer_well)
        client = world.connect()
        client.send(world.head(number, f"/named/?name={mood}.n{dice.randrange(10**6)}.test"))
        time.sleep(0.01)
        client.reset()
        world.over(number)


def replace(path, text):
    """Writes a file anew in one step, so that nobody reads a half of it."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def faketime_library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return found[0] if found else None


@scenario("clocks jump", mixes=False,
          missing=lambda world: None if faketime_library() else "Debian's package faketime is not installed")
def clocks_jump(world, dice):
    """The time of day leaps hours and years to and fro under a proxy of its own (libfaketime): no timeout comes early, none
    is missed, and bystanders do not notice."""
    with tempfile.TemporaryDirectory(prefix="clock-") as directory:
        clock = pathlib.Path(directory) / "clock"
        clock.write_text("+0")
        with World(pathlib.Path(directory) / "proxy", dice.random(), {
                "LD_PRELOAD": faketime_library(), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
                # Without a name for what it shares, it changes the environment before the process begins, and then
                # Swift's runtime does not find the arguments.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_SHARED": "none none"}) as other:
            other.bystanders.call("wake", False)
            for jump in ("+1h", "-1h", "+10y", "-20y", "+1", "+0"):
                replace(clock, jump)
                for act, target in ((answer_well, "/fresh/"), (answer_well, "/fresh/script/"),
                                    (answer_well, "/named/?name=one.test")):
                    if other.exchange(act, target, whole=well, allowed=()) != 200:
                        other.fail("answers", f"{target} after the clock went {jump}")
                if jump == "+10y":
                    date = parsedate_to_datetime(other.proxy.fetch("/status").get("date"))
                    if date.year < datetime.date.today().year + 9:
                        other.fail("answers", f"the clock went ten years on, and it is {date} there")
            started = time.monotonic()

            def jumping(connection, request):
                replace(clock, dice.choice(("+2h", "-2h")))
                time.sleep(3 * TIMEOUT)
                return False

            if other.exchange(jumping, whole=well) != 504:
                other.fail("answers", "no 504 from a backend that is silent while the clock jumps")
            took = time.monotonic() - started
            if not 0.8 * TIMEOUT < took < 2.5 * TIMEOUT:
                other.fail("answers", f"a timeout of {TIMEOUT} s came after {took:.2f} s while the clock jumped")
            world.times += other.check("clocks jump")
            for invariant, words in other.broken:
                world.fail(invariant, words)


@scenario("reloads", weight=6, mixes=False)
def reloads(world, dice):
    """All faults that can be mixed, four at a time, while the configuration is reloaded again and again, now and then with
    a file that is faulty."""
    good = world.proxy.config_path.read_text()
    rows = [row for row in SCENARIOS if row.mixes and row.missing(world) is None]
    over = threading.Event()
    seeds = [dice.random() for _ in range(4)]

    def work(seed):
        own = random.Random(seed)
        order = own.sample(rows, len(rows))
        for row in order:
            if over.is_set():
                return
            row.run(world, own)

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in seeds]
    for thread in threads:
        thread.start()
    try:
        end = time.monotonic() + world.share
        while time.monotonic() < end or world.reloads < 3:
            time.sleep(dice.choice((0.1, 0.3)))
            faulty = dice.random() < 0.2
            replace(world.proxy.config_path, good.replace("stub_status;", "stub_status") if faulty else good)
            world.proxy.reload()
            world.reloads += 1
    finally:
        over.set()
        replace(world.proxy.config_path, good)
    for thread in threads:
        thread.join(60)
        if thread.is_alive():
            world.fail("stuck", "a fault during reloads is not over after 60 s")
    # The last word is a good file.
    world.proxy.reload()
    time.sleep(0.2)
