"""`sy.flows` of a node with several workers: python `websockets` on one worker, and scripts on another that find their
tunnels, send on them, tag them and close them."""

import asyncio
import contextlib
import json
import threading
import time
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from harness.websocket import WebSocketServer
from harness.wire import Client, wait_for

pytestmark = pytest.mark.switchyard_only

# Each tunnel has the name of its worker's interpreter as a tag, so that a test knows where it is.
PLUGIN = """
local json = sy.json
local function described(one)
    return {
        id = one.id, remote = one.is_remote, tags = one.tags, address = one.client.address, port = one.client.port }
end
local actions = {
    list = function(one) return described(one) end,
    send = function(one, args) return { one.client:send(args.text) } end,
    many = function(one, args)
        for i = 1, 50 do one.client:send(args.text .. i) end
        one.client:send_binary("\\0")
        return {}
    end,
    announce = function(one, args)
        one.client:send(args.text)
        sy.publish("all", args.text .. " to all")
        return {}
    end,
    upstream = function(one, args) return { one.upstream:send(args.text) } end,
    close = function(one, args) one:close(4001, args.text) return {} end,
    close_client = function(one, args) one.client:close(4002, args.text) return {} end,
    close_upstream = function(one, args) one.upstream:close(4003, args.text) return {} end,
    tag = function(one, args) one:tag(args.text) return { #sy.flows{ tag = args.text } } end,
    headers = function(one) return { pcall(function() return one.req.headers.Host end) } end,
    later = function(one, args)
        sy.sleep(1.5)
        local sent, why = one.client:send(args.text)
        return { sent or why, one.id }
    end,
}
return {
    init = function() NAME = sy.uuid() end,
    request = function(flow)
        local action = actions[flow.req.path:match("^/(.*)$")]
        if not action then return end
        local args, results = flow.req.args, {}
        for _, one in ipairs(sy.flows(args.of and { tag = args.of })) do
            if one ~= flow then results[#results + 1] = action(one, args) end
        end
        return flow:respond{ status = 200, body = json.encode{ name = NAME, results = results } }
    end,
    open = function(flow)
        flow:tag("all")
        flow:tag(NAME)
        flow.client:send(flow.id .. " " .. NAME)
        if flow.req.path == "/stays" then flow:after(3600, function() end) end
    end,
    message = function(flow, msg)
        if flow.req.path ~= "/room" or msg.from == "upstream" then return end
        for _, member in ipairs(sy.flows{ tag = "all" }) do member.client:send(msg.data) end
        return false
    end,
}
"""


class Member:
    """A tunnel, and what its script says of it."""

    def __init__(self, socket):
        self.socket = socket
        self.id, self.worker = socket.recv(5).split()

    def recv(self):
        return self.socket.recv(5)

    def closing(self):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                self.socket.recv(5)
        return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.fixture(scope="module")
def server():
    with WebSocketServer() as made:
        yield made


@pytest.fixture
def node(simple, server, tmp_path):
    """A proxy of `workers` threads, ways to hold tunnels through it, and to ask its script for something."""
    with contextlib.ExitStack() as stack:
        script = tmp_path / "flows.lua"
        script.write_text(PLUGIN)

        def make(workers=2, backend=server):
            made = simple(
                http="lua_hook_timeout 5s;", location="proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; "
                         f"plugin {script};",
                values={"backend": backend}, start=False)
            text = made.config_path.read_text().replace("worker_processes 1;", f"worker_processes {workers};")
            # Each worker has a socket of its own then, of which the system chooses by chance.
            made.config_path.write_text(text.replace(f"127.0.0.1:{made.port};", f"127.0.0.1:{made.port} reuseport;"))
            made.start()
            made.open = lambda path="/", **options: Member(stack.enter_context(connect(
                f"ws://127.0.0.1:{made.port}{path}", compression=None, ping_interval=None, **options)))

            def desk(worker=None):
                """A connection to this worker, or to any, and what its script is asked for on it."""
                for _ in range(300):
                    client = stack.enter_context(Client(made.port))

                    def ask(action, **args):
                        answer = json.loads(client.fetch(f"/{action}?{urlencode(args)}").text)
                        ask.worker = answer["name"]
                        # An empty table is an object to JSON.
                        return answer["results"] or []

                    ask("list", of="nobody")
                    if worker in (None, ask.worker):
                        return ask
                raise AssertionError(f"no connection comes to the worker {worker}")

            made.desk = desk

            def spread(path="/"):
                """Tunnels on two workers, several on each; by worker."""
                members = [made.open(path) for _ in range(8)]
                while len({member.worker for member in members}) < min(workers, 2):
                    assert len(members) < 300
                    members.append(made.open(path))
                by_worker = {}
                for member in members:
                    by_worker.setdefault(member.worker, []).append(member)
                return by_worker

            made.spread = spread
            return made

        yield make


def ids(members):
    return {member.id for member in members}


# What is found


def test_tunnels_of_all_workers_are_listed(node):
    made = node()
    by_worker = made.spread()
    everybody = ids(sum(by_worker.values(), []))
    for worker, members in by_worker.items():
        listed = made.desk(worker)("list")
        assert len(listed) == len(everybody) and {one["id"] for one in listed} == everybody
        assert {one["id"] for one in listed if not one["remote"]} == ids(members)
        assert all(one["tags"][0] == "all" and len(one["tags"]) == 2 for one in listed)
        # Those of the worker itself come first.
        assert [one["remote"] for one in listed] == sorted(one["remote"] for one in listed)
        ports = {member.id: member.socket.local_address[1] for each in by_worker.values() for member in each}
        assert {one["id"]: (one["address"], one["port"]) for one in listed} == {
            key: ("127.0.0.1", port) for key, port in ports.items()}
        for other, theirs in by_worker.items():
            assert {one["id"] for one in made.desk(worker)("list", of=other)} == ids(theirs)


def test_what_only_its_own_worker_has_is_an_error(node):
    made = node()
    one, other = list(made.spread())[:2]
    for works, answer in made.desk(one)("headers", of=other):
        assert not works
        assert answer.endswith(
            'remote flow: "req" is of a tunnel on another worker, or one that stayed with an older configuration')


def test_tunnels_that_have_ended_vanish_everywhere(node):
    made = node()
    by_worker = made.spread()
    desks = [made.desk(worker) for worker in by_worker]
    for members in by_worker.values():
        for member in members[1:]:
            member.socket.close()
    left = ids(members[0] for members in by_worker.values())
    for desk in desks:
        wait_for(lambda: {one["id"] for one in desk("list")} == left, what="only those that are open")
        assert len(desk("list", of="all")) == len(left)


# What is asked of them


def test_messages_are_sent_to_tunnels_of_other_workers_in_order(node):
    made = node()
    by_worker = made.spread()
    one, other = list(by_worker)[:2]
    desk = made.desk(one)
    assert desk("send", of=other, text="hello") == [[True]] * len(by_worker[other])
    assert desk("many", of=other, text="n")
    assert desk("send", of=other, text="last")
    expected = ["hello"] + [f"n{i}" for i in range(1, 51)] + [b"\0", "last"]
    for member in by_worker[other]:
        assert [member.recv() for _ in expected] == expected
    # The upstream echoes.
    assert desk("upstream", of=other, text="up") == [[True]] * len(by_worker[other])
    assert [member.recv() for member in by_worker[other]] == ["up"] * len(by_worker[other])
    for member in by_worker[one]:
        with pytest.raises(TimeoutError):
            member.socket.recv(0.05)


@pytest.mark.parametrize("action, expected", [
    ("close", (4001, "bye")), ("close_client", (4002, "bye")), ("close_upstream", (1001, ""))])
def test_tunnels_are_closed_from_another_worker(node, action, expected):
    made = node()
    by_worker = made.spread()
    one, other = list(by_worker)[:2]
    desk = made.desk(one)
    desk(action, of=other, text="bye")
    assert {member.closing() for member in by_worker[other]} == {expected}
    wait_for(lambda: desk("list", of=other) == [], what="no tunnel of the other worker")
    assert {one["id"] for one in desk("list", of="all")} == ids(
        sum((members for worker, members in by_worker.items() if worker != other), []))


def begin_to_send_later(made, by_worker, text):
    """One worker has found the only tunnel of another, and sends to it after a while: the tunnel's client, what comes of
    it, and the thread that waits for that."""
    one, other = list(by_worker)[:2]
    desk = made.desk(one)
    for member in by_worker[other][1:]:
        member.socket.close()
    wait_for(lambda: len(desk("list", of=other)) == 1, what="one tunnel")
    results = []
    thread = threading.Thread(target=lambda: results.extend(desk("later", of=other, text=text)))
    thread.start()
    time.sleep(0.3)
    return by_worker[other][0], results, thread


def test_a_message_for_a_tunnel_that_has_ended_meanwhile(node):
    made = node()
    by_worker = made.spread()
    member, results, thread = begin_to_send_later(made, by_worker, "x")
    member.socket.close()
    thread.join(10)
    assert results == [["there is no open WebSocket", member.id]]


def test_tags_are_given_from_another_worker(node):
    made = node()
    by_worker = made.spread()
    one, other = list(by_worker)[:2]
    count = len(by_worker[other])
    # At once where it is asked for, and to the tunnel's own worker.
    assert made.desk(one)("tag", of=other, text="new") == [[number] for number in range(1, count + 1)]
    own = made.desk(other)
    wait_for(lambda: len(own("list", of="new")) == count, what="the tag")
    assert all(one["tags"] == ["all", other, "new"] and not one["remote"] for one in own("list", of="new"))


def test_what_a_message_hook_sends_to_all_comes_to_each_once(node):
    """The hook of a tunnel on another worker does not see what the same hook here has sent."""
    made = node()
    by_worker = made.spread("/room")
    everybody = sum(by_worker.values(), [])
    for number, members in enumerate(by_worker.values()):
        members[0].socket.send(f"message {number}")
        for member in everybody:
            assert member.recv() == f"message {number}"
    for member in everybody:
        with pytest.raises(TimeoutError):
            member.socket.recv(0.05)


# Reloads


def names_of(made):
    return {made.desk().worker for _ in range(20)}


def test_tunnels_are_found_after_a_reload(node):
    made = node()
    by_worker = made.spread()
    before = set(by_worker)
    everybody = sum(by_worker.values(), [])
    made.reload()
    wait_for(lambda: not names_of(made) & before, 10, "the new scripts")
    fresh = made.spread()
    everybody += sum(fresh.values(), [])
    for worker in fresh:
        desk = made.desk(worker)
        listed = desk("list")
        assert len(listed) == len(everybody) and {one["id"] for one in listed} == ids(everybody)
        # Those from before the reload have moved.
        assert any(one["tags"][1] in before and not one["remote"] for one in listed)
        assert any(one["remote"] for one in listed)
        desk("send", of="all", text=f"from {worker}")
        assert [member.recv() for member in everybody] == [f"from {worker}"] * len(everybody)


def test_what_was_found_before_a_reload_is_reached_after_it(node):
    made = node()
    by_worker = made.spread()
    member, results, thread = begin_to_send_later(made, by_worker, "after")
    made.reload()
    wait_for(lambda: not names_of(made) & set(by_worker), 10, "the new scripts")
    thread.join(10)
    assert results == [[True, member.id]]
    assert member.recv() == "after"


def test_tunnels_that_stay_with_an_older_configuration_are_found(node):
    made = node(workers=1)
    stays = made.open("/stays")
    made.reload()
    wait_for(lambda: made.desk().worker != stays.worker, 10, "the new scripts")
    moves = made.open()
    desk = made.desk()
    assert {one["id"]: one["remote"] for one in desk("list")} == {stays.id: True, moves.id: False}
    assert desk("send", of=stays.worker, text="hello") == [[True]]
    assert stays.recv() == "hello"
    # At once, as on a tunnel that has moved: nothing that is asked later goes before it.
    desk("announce", of=stays.worker, text="first")
    assert [stays.recv(), stays.recv(), moves.recv()] == ["first", "first to all", "first to all"]
    desk("tag", of=stays.worker, text="old")
    assert [one["id"] for one in desk("list", of="old")] == [stays.id]
    desk("close", of="old", text="bye")
    assert stays.closing() == (4001, "bye")
    wait_for(lambda: [one["id"] for one in desk("list")] == [moves.id], what="only the new tunnel")


# Many


def test_a_thousand_tunnels(node):
    made = node()
    count = 1000
    done = {}

    async def run():
        url = f"ws://127.0.0.1:{made.port}/"
        sockets = []
        for _ in range(0, count, 100):
            sockets += await asyncio.gather(*(
                connect_async(url, compression=None, ping_interval=None) for _ in range(100)))
        workers = {}
        for socket in sockets:
            worker = (await socket.recv()).split()[1]
            workers[worker] = workers.get(worker, 0) + 1
        assert sum(workers.values()) == count

        def ask():
            done["listed"] = made.desk()("list", of="all")
            assert made.desk()("send", of="all", text="hello") == [[True]] * count

        await asyncio.to_thread(ask)
        listed = done["listed"]
        assert len({one["id"] for one in listed}) == count
        assert sum(one["remote"] for one in listed) in {count - number for number in workers.values()}
        for socket in sockets:
            assert await asyncio.wait_for(socket.recv(), 5) == "hello"
        await asyncio.gather(*(socket.close() for socket in sockets))
        await asyncio.to_thread(
            lambda: wait_for(lambda: made.desk()("list") == [], 10, "no tunnel any more"))

    asyncio.run(run())
