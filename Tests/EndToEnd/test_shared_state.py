"""`shared_state`: what scripts publish reaches the tunnels of other nodes, through a real Redis."""

import contextlib
import os
import signal
import time

import pytest
from websockets.sync.client import connect

from harness import ports
from harness.proxy import whole
from harness.redis import AVAILABLE, Redis
from harness.websocket import MAP, RECIPE, WebSocketServer
from harness.wire import wait_for

pytestmark = pytest.mark.switchyard_only


@pytest.fixture
def redis(tmp_path):
    if not AVAILABLE:
        pytest.skip("there is no redis-server")
    with contextlib.ExitStack() as stack:
        def make(*options):
            path = tmp_path / f"redis{time.monotonic_ns()}.sock"
            made = stack.enter_context(Redis("--unixsocket", str(path), *options))
            made.path = path
            return made
        yield make


@pytest.fixture(scope="module")
def server():
    with WebSocketServer() as made:
        yield made


SCRIPT = """
    open_by_lua_block { flow:tag("room") flow.client:send("open") }
    message_by_lua_block { if msg.from == "client" then sy.publish("room", msg.data) return false end }
"""


def text(state, workers=2, port="<port>"):
    return whole(MAP + f"{state} server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://<backend>; proxy_http_version 1.1; {RECIPE} {SCRIPT} }} }}"
                 ).replace("worker_processes 1", f"worker_processes {workers}")


@pytest.fixture
def node(proxy, server):
    with contextlib.ExitStack() as stack:
        class Node:
            def __init__(self, state, workers=2):
                self.made = proxy(config=text(state, workers), values={"backend": f"127.0.0.1:{server.port}"})

            def member(self):
                socket = stack.enter_context(connect(f"ws://127.0.0.1:{self.made.port}/", compression=None))
                assert socket.recv(5) == "open"
                return socket

            def connected(self, times=1):
                wait_for(lambda: self.made.log().count(": connected") == times, 20, "the connection to Redis")

            def reload(self, state, workers=2):
                self.made.reload(text(state, workers))

        yield Node


def said(members, words):
    """Each has heard just these, in whatever order those of different speakers come."""
    for member in members:
        assert sorted(member.recv(5) for _ in words) == sorted(words)
        with pytest.raises(TimeoutError):
            member.recv(0.05)


def test_messages_reach_all_tunnels_of_all_nodes_once(redis, node):
    where = redis()
    nodes = [node(f"shared_state redis://127.0.0.1:{where.port};", workers) for workers in (1, 2, 3)]
    for each in nodes:
        each.connected()
    members = [each.member() for each in nodes for _ in range(5)]
    words = []
    for number, member in enumerate(members):
        words.append(f"{number}: grüße")
        member.send(words[-1])
    said(members, words)
    # One connection to listen for each node, however many workers it has.
    assert where.ask("PUBSUB", "NUMSUB", "switchyard:publish").endswith(b":3\r\n")


def test_nodes_of_another_prefix_hear_nothing(redis, node):
    where = redis()
    one, other = (node(f"shared_state unix:{where.path} prefix={prefix};") for prefix in ("a", "b"))
    one.connected()
    other.connected()
    here, there = one.member(), other.member()
    here.send("x")
    said([here], ["x"])
    said([there], [])


def test_who_has_to_log_in_does(redis, node):
    where = redis("--requirepass", "s:cret")
    one, other = (node(f"shared_state redis://:s%3Acret@127.0.0.1:{where.port};") for _ in range(2))
    one.connected()
    other.connected()
    members = [one.member(), other.member()]
    members[0].send("x")
    said(members, ["x"])
    stranger = node(f"shared_state redis://:wrong@127.0.0.1:{where.port};")
    wait_for(lambda: "Redis says: WRONGPASS" in stranger.made.log(), 5, "the log")
    member = stranger.member()
    member.send("alone")
    said([member], ["alone"])


def test_a_node_goes_on_without_redis_and_comes_back_to_it(redis, node):
    where = redis()
    one, other = (node(f"shared_state redis://127.0.0.1:{where.port};") for _ in range(2))
    one.connected()
    other.connected()
    here, there = one.member(), other.member()
    where.stop()
    wait_for(lambda: "it is tried again" in one.made.log() and "it is tried again" in other.made.log(), 5, "the loss")
    here.send("within")
    said([here], ["within"])
    where.start()
    one.connected(2)
    other.connected(2)
    # What was said a moment before may have been kept; what is said now comes.
    here.send("again")
    said([here], ["again"])
    heard = [there.recv(5)]
    while heard[-1] != "again":
        heard.append(there.recv(5))
    assert heard in (["again"], ["within", "again"])
    assert one.made.log().count("it is tried again") == 1


@pytest.mark.parametrize("program,word", [
    (lambda connection: (connection.fill(), connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), connection.fill()),
     "what it says is not Redis's: Protocol error"),
    (lambda connection: (connection.fill(), connection.fill()), "timeout"),
    (lambda connection: connection.fill(), "closed"),
], ids=["words", "silence", "end"])
def test_a_redis_that_is_none(node, backend, program, word):
    backend.program = program
    made = node(f"shared_state redis://{backend};")
    wait_for(lambda: f"shared_state redis://127.0.0.1:{backend.port}: {word}" in made.made.log(), 10, "the log")
    member = made.member()
    member.send("x")
    said([member], ["x"])


def test_the_connection_outlives_the_worker_that_had_it(redis, node):
    where = redis()
    state = f"shared_state redis://127.0.0.1:{where.port};"
    one, other = node(state, 3), node(state, 1)
    one.connected()
    other.connected()
    there = other.member()

    def reaches(expected):
        """Whether new members of the two hear each other, by now."""
        here = one.member()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            here.send("x")
            try:
                there.recv(0.2)
                found = True
            except TimeoutError:
                found = False
            if found == expected:
                return True
        return False

    for workers in (1, 3, 2, 1):
        one.reload(state, workers)
        assert reaches(True)
        wait_for(lambda: where.ask("PUBSUB", "NUMSUB", "switchyard:publish").endswith(b":2\r\n"), 5, "one connection each")
    one.reload("", 2)
    wait_for(lambda: where.ask("PUBSUB", "NUMSUB", "switchyard:publish").endswith(b":1\r\n"), 5, "the end of it")
    assert reaches(False)
    one.reload(state.replace(";", " prefix=other;"), 2)
    wait_for(lambda: where.ask("PUBSUB", "NUMSUB", "other:publish").endswith(b":1\r\n"), 5, "the other channel")
    one.reload(state, 2)
    assert reaches(True)
    one.made.signal(signal.SIGTERM)
    assert one.made.wait_exit() == 0
    wait_for(lambda: where.ask("PUBSUB", "NUMSUB", "switchyard:publish").endswith(b":1\r\n"), 5, "the end of the process")


@pytest.mark.parametrize("state,message", [
    ("shared_state http://127.0.0.1;", 'found "http://127.0.0.1", expected redis://'),
    ("shared_state redis://a prefix=;", 'found "prefix=", expected prefix=name'),
    ("shared_state redis://a; shared_state redis://b;", "shared_state"),
])
def test_what_cannot_be_is_said(proxy, state, message):
    made = proxy(state + "server { listen 127.0.0.1:<port>; }", start=False)
    result = made.run("-t")
    assert result.returncode != 0
    assert message in result.stderr


def test_a_silent_redis_is_given_up(redis, node):
    """One that takes what it is told and answers nothing is found out by its silence."""
    where = redis()
    made = node(f"shared_state redis://127.0.0.1:{where.port};")
    made.connected()
    where.process.send_signal(signal.SIGSTOP)
    try:
        member = made.member()
        for number in range(50):
            member.send(f"{number}")
            assert member.recv(5) == f"{number}"
    finally:
        os.kill(where.process.pid, signal.SIGCONT)


def test_a_burst_comes_through_and_so_does_what_follows(redis, node):
    where = redis()
    one, other = (node(f"shared_state redis://127.0.0.1:{where.port};") for _ in range(2))
    one.connected()
    other.connected()
    here, there = one.member(), other.member()
    where.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
    where.process.send_signal(signal.SIGSTOP)
    try:
        for number in range(40):
            here.send(f"{number}:" + "x" * 500_000)
            assert here.recv(5).startswith(f"{number}:")
    finally:
        where.process.send_signal(signal.SIGCONT)
    heard = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (not heard or heard[-1] != "after"):
        here.send("after")
        here.recv(5)
        try:
            while True:
                heard.append(there.recv(0.2).split(":")[0])
        except TimeoutError:
            pass
    numbers = [int(word) for word in heard if word != "after"]
    assert "after" in heard and numbers == sorted(set(numbers)) and len(numbers) >= 8


def test_what_is_said_at_the_end_of_a_node_is_heard(redis, node):
    where = redis()
    state = f"shared_state redis://127.0.0.1:{where.port};"
    one, other = node(state, 2), node(state, 1)
    for each in (one, other):
        each.made.reload(each.made.config_path.read_text().replace(
            "message_by_lua_block", 'close_by_lua_block { sy.publish("room", "left") } message_by_lua_block'))
        wait_for(lambda: "configuration 2 runs" in each.made.log(), what="the second configuration")
    there = other.member()
    here = one.member()
    one.made.signal(signal.SIGQUIT)
    here.close()
    assert there.recv(5) == "left"
    assert one.made.wait_exit() == 0


def test_names_that_no_tunnel_has_reach_none(redis, node):
    where = redis()
    one, other = (node(f"shared_state redis://127.0.0.1:{where.port};") for _ in range(2))
    one.connected()
    other.connected()
    one.made.reload(one.made.config_path.read_text().replace('sy.publish("room", msg.data)', 'sy.publish("room" .. ("y"):rep(65536), msg.data)'))
    wait_for(lambda: "configuration 2 runs" in one.made.log(), what="the second configuration")
    here, there = one.member(), other.member()
    here.send("secret")
    said([here, there], [])
