"""How servers of an upstream are chosen: by nginx and by Switchyard, running the same file."""

import json
import shutil

import httpx
import pytest

from harness import ports
from harness.backend import Backend, reply
from harness.proxy import NGINX, whole
from harness.websocket import MAP, RECIPE, holding, opened
from harness.wire import wait_for

KEYS = [f"key{number}" for number in range(60)] + ["a%20b", "%D0%B6", "0", "x" * 300]
CLIENTS = [f"127.{number}.{number * 7 % 256}.{number % 5}" for number in range(1, 60)]
# Server 3 is not there. `max_fails=0`, so that no choice depends on the ones before.
SERVERS = """
    server 127.0.0.1:<1> max_fails=0; server 127.0.0.1:<2> weight=2 max_fails=0; server 127.0.0.1:<3> max_fails=0;
    server 127.0.0.9 weight=2 down; server unix:<socket> max_fails=0; server 127.0.0.1:<4> weight=3 max_fails=0;
"""
METHODS = {
    "hash": "hash $arg_key;", "ring": "hash $arg_key consistent;", "parts": "hash $uri/$http_x-$arg_key consistent;",
    "address": "ip_hash;",
}


@pytest.fixture(scope="module")
def both(module_proxy, tmp_path_factory):
    """nginx and Switchyard with the same upstreams, in which one server of five does not answer."""
    if not shutil.which(NGINX):
        pytest.skip("nginx is not there")
    directory = tmp_path_factory.mktemp("b")
    directory.chmod(0o777)
    values = {str(number): ports.free_port() for number in range(1, 5)} | {"socket": f"{directory}/s"}
    made = [Backend(port=values[number]) for number in ("1", "2", "4")] + [Backend(path=values["socket"])]
    text = "".join(f"upstream {name} {{ {method} {SERVERS} }}\n" for name, method in METHODS.items())
    text += "server { listen 127.0.0.1:<port>; listen unix:<dir>/client; add_header X-Peers $upstream_addr always;\n"
    text += "".join(f"location /{name} {{ proxy_pass http://{name}; }}\n" for name in METHODS) + "}"
    yield [module_proxy(text, kind=kind, values=values) for kind in ("nginx", "switchyard")]
    for each in made:
        each.stop()


def tried(proxy, target, client="127.0.0.1", path=None):
    """The servers that were tried for one request."""
    transport = httpx.HTTPTransport(uds=path) if path else httpx.HTTPTransport(local_address=client)
    with httpx.Client(transport=transport) as session:
        answer = session.get(f"http://127.0.0.1:{proxy.port}{target}", headers={"X-X": "y"})
    assert answer.status_code == 200
    return answer.headers["x-peers"]


@pytest.mark.parametrize("name", ["hash", "ring", "parts"])
def test_keys_go_where_nginx_sends_them(both, name):
    nginx, switchyard = ([tried(each, f"/{name}?key={key}") for key in KEYS] for each in both)
    assert switchyard == nginx
    assert len({peers.split(", ")[-1] for peers in nginx}) == 4, "all that answer have keys"
    assert any(", " in peers for peers in nginx), "some keys belong to the server that does not answer"


def test_clients_go_where_nginx_sends_them(both):
    nginx, switchyard = ([tried(each, "/address", client) for client in CLIENTS] for each in both)
    assert switchyard == nginx
    assert len({peers.split(", ")[-1] for peers in nginx}) == 4


def test_clients_on_a_unix_socket_are_one(both):
    nginx, switchyard = (tried(each, "/address", path=f"{each.directory}/client") for each in both)
    assert switchyard == nginx


def test_without_a_key_servers_take_turns(both):
    for each in both:
        assert len({tried(each, "/hash").split(", ")[-1] for _ in range(12)}) == 4


# What holds for either of them


def group(proxy, method, servers, location=RECIPE, **rest):
    return proxy(
        f"{MAP} upstream group {{ {method} {servers} }} server {{ listen 127.0.0.1:<port>; location / {{"
        f" proxy_pass http://group; proxy_http_version 1.1; {location} }} }}", **rest)


@pytest.fixture
def silent(backends):
    """Three that say nothing in WebSockets, and answer everything else with their names."""
    return {name: backends(answer=reply(200, name.encode()), program=holding) for name in "abc"}


def websockets(backend):
    """How many are open."""
    return sum(
        each.is_open and any("sec-websocket-key" in request for request in each.requests)
        for each in backend.connections)


THREE = "server <a> max_fails=0; server <b> max_fails=0; server <c> max_fails=0;"


def test_least_conn_counts_websockets_for_as_long_as_they_live(proxy, silent):
    made = group(proxy, "least_conn;", "server <a>; server <b>; server <c> weight=2;", values=silent)

    def carried():
        return [websockets(each) for each in silent.values()]

    clients = [opened(made.port) for _ in range(8)]
    assert carried() == [2, 2, 4]
    # Requests that end at once take turns beside them.
    assert {made.fetch().text for _ in range(8)} == {"a", "b", "c"}
    for client in clients:
        client.close()
    wait_for(lambda: carried() == [0, 0, 0], what="the end of all")
    clients = [opened(made.port) for _ in range(4)]
    assert carried() == [1, 1, 2]
    for client in clients:
        client.close()


def test_least_conn_fills_up_a_server_that_comes_back(proxy, silent):
    made = group(proxy, "least_conn;", "server <a> max_conns=2; server <b>;", values=silent)
    clients = [opened(made.port) for _ in range(6)]
    assert [websockets(silent["a"]), websockets(silent["b"])] == [2, 4]
    for client in clients:
        client.close()


@pytest.mark.parametrize("method", ["random;", "random two;", "random two least_conn;"])
def test_random_takes_every_server(proxy, silent, method):
    made = group(proxy, method, THREE, values=silent)
    assert {made.fetch().text for _ in range(60)} == {"a", "b", "c"}
    silent["b"].stop()
    assert {made.fetch().text for _ in range(40)} == {"a", "c"}


@pytest.mark.parametrize("method", ["hash $arg_key;", "hash $arg_key consistent;"])
def test_a_key_keeps_its_server(proxy, silent, method):
    made = group(proxy, method, THREE, values=silent)
    homes = {key: made.fetch(f"/?key={key}").text for key in KEYS[:30]}
    assert set(homes.values()) == {"a", "b", "c"}
    assert all(made.fetch(f"/?key={key}").text == home for key, home in homes.items())
    silent["b"].stop()
    others = {key: made.fetch(f"/?key={key}").text for key in homes}
    assert all(others[key] == home for key, home in homes.items() if home != "b")
    assert "b" not in others.values()


@pytest.mark.parametrize("order", ["hash $arg_key; keepalive 4;", pytest.param(
    "keepalive 4; hash $arg_key;", marks=pytest.mark.switchyard_only)])
def test_connections_are_kept_to_the_servers_of_keys(proxy, silent, order):
    made = group(proxy, "", f"{THREE} {order}", 'proxy_set_header Connection "";', values=silent)
    assert len({made.fetch(f"/?key={key}").text for key in KEYS[:30]}) == 3
    assert all(len(each.connections) == 1 for each in silent.values())


def test_a_second_method_is_warned_of(proxy, silent):
    made = group(proxy, "ip_hash; least_conn;", THREE, values=silent)
    assert {made.fetch().text for _ in range(6)} == {"a", "b", "c"}, "the last one holds"
    result = made.run("-t")
    assert "load balancing method redefined" in (result.stdout + result.stderr)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("script", [
    "return flow.req.args.user", "sy.sleep(0.01) return flow.req.args.user"], ids=["at once", "later"])
def test_a_script_says_the_key(proxy, silent, script):
    lua = f"set_by_lua_block $user {{ {script} }}"
    by_script = group(proxy, "hash $user consistent;", THREE, lua, values=silent)
    by_argument = group(proxy, "hash $arg_user consistent;", THREE, values=silent)
    targets = [f"/{number}?user={number % 7}" for number in range(20)]
    assert [by_script.fetch(each).text for each in targets] == [by_argument.fetch(each).text for each in targets]


def test_a_request_body_says_the_key(proxy, silent):
    made = group(proxy, "hash $request_body;", THREE, values=silent)

    def home(key):
        return made.fetch(method="POST", body=key.encode()).text

    homes = {key: home(key) for key in KEYS[:12]}
    assert set(homes.values()) == {"a", "b", "c"}
    assert all(home(key) == value for key, value in homes.items())


@pytest.mark.switchyard_only
@pytest.mark.parametrize("hook", [
    'request_by_lua_block { flow:route("group") }', 'request_by_lua_block { flow:route{ "dead", "group" } }',
    'request_by_lua_block { sy.sleep(0.01) flow:route("http://group") }'], ids=["by name", "second", "later, by URL"])
@pytest.mark.parametrize("place", ["", "proxy_pass http://other;"], ids=["alone", "with a proxy_pass"])
def test_a_request_body_says_the_key_of_a_route(proxy, silent, hook, place):
    made = proxy(
        f"upstream group {{ hash $request_body; {THREE} }} upstream other {{ server <a>; }}"
        " upstream dead { server 127.0.0.1:1; } server { listen 127.0.0.1:<port>;"
        f" location / {{ proxy_pass http://group; }} location /routed {{ {place} {hook} }} }}", values=silent)

    def homes(path):
        return [made.fetch(path, method="POST", body=key.encode()).text for key in KEYS[:12]]

    assert set(homes("/")) == {"a", "b", "c"}
    assert homes("/routed") == homes("/")


PEERS = """
    server { listen 127.0.0.1:<port>;
        location / { proxy_pass http://app; add_header X-Peer $upstream_addr always; }
        location /set { request_by_lua_block {
            local arguments, down = flow.req.args, nil
            if arguments.down then down = arguments.down == "yes" end
            local ok, why = sy.set_peer_down(arguments.upstream or "app", arguments.peer, down)
            return flow:respond{ status = ok and 200 or 404, body = why or "" }
        } }
        location /list { request_by_lua_block {
            local peers, why = sy.peers(flow.req.args.upstream or "APP")
            return flow:respond{ status = peers and 200 or 404, body = peers and sy.json.encode(peers) or why }
        } }
    }
"""


@pytest.mark.switchyard_only
def test_scripts_take_peers_out_of_service_on_every_worker_and_over_reloads(proxy, backends):
    one, two, three = backends(), backends(), backends()
    text = (f"upstream app {{ server {one} weight=2; server localhost:{two.port} down; server {three} backup; }} log_format l $status;"
            "access_log <dir>/access.log l;" + PEERS)
    made = proxy(config=whole(text).replace("worker_processes 1", "worker_processes 3"))

    def answering():
        """Each request is a connection's first, so that all workers get some."""
        found = [made.fetch("/") for _ in range(24)]
        return {each.get("x-peer") for each in found} if all(each.status == 200 for each in found) else {each.status for each in found}

    def put(**arguments):
        return made.fetch("/set?" + "&".join(f"{name}={value}" for name, value in arguments.items()))

    assert answering() == {f"{one}"}
    assert json.loads(made.fetch("/list").body) == [
        {"name": f"{one}", "server": f"{one}", "weight": 2, "backup": False, "down": False, "fails": 0, "connections": 0},
        {"name": f"127.0.0.1:{two.port}", "server": f"localhost:{two.port}", "weight": 1, "backup": False, "down": True,
         "fails": 0, "connections": 0},
        {"name": f"{three}", "server": f"{three}", "weight": 1, "backup": True, "down": False, "fails": 0, "connections": 0}]
    assert put(peer=one, down="yes").status == 200
    assert answering() == {f"{three}"}
    assert [peer["down"] for peer in json.loads(made.fetch("/list").body)] == [True, True, False]
    assert put(peer=two, down="no").status == 200
    assert answering() == {f"{two}"}
    made.reload()
    assert answering() == {f"{two}"}
    # A peer that one reload takes away is another server when the next brings it back.
    for line in ("", f"server localhost:{two.port} down;"):
        made.reload(whole(text.replace(f"server localhost:{two.port} down;", line)).replace("worker_processes 1", "worker_processes 3"))
        wait_for(lambda: answering() == {f"{three}"}, 5, "all workers to do without the peer")
    assert put(peer=two, down="no").status == 200
    assert answering() == {f"{two}"}
    assert put(peer=two).status == put(peer=one).status == 200
    assert answering() == {f"{one}"}
    for backend in (one, two, three):
        put(peer=backend, down="yes")
    assert answering() == {502}
    # Without scripts nobody could take it back.
    made.reload(whole(text.replace(PEERS, "server { listen 127.0.0.1:<port>; location / { proxy_pass http://app; add_header X-Peer $upstream_addr; } }")))
    wait_for(lambda: answering() == {f"{one}"}, 5, "all workers to do without scripts")
    log = made.log()
    assert log.count(f'upstream "app": peer "{one}" is down') == 2 and log.count(f'upstream "app": peer "{one}" is up') == 1


@pytest.mark.switchyard_only
def test_peers_that_there_are_not(proxy, backend):
    made = proxy(f"upstream app {{ server {backend}; }}" + PEERS)
    assert made.fetch("/set?peer=127.0.0.1:1&down=yes").body == b'upstream "app" has no peer "127.0.0.1:1"'
    for place in ("/list?upstream=x", "/set?upstream=x&peer=y"):
        answer = made.fetch(place)
        assert (answer.status, answer.body) == (404, b'there is no upstream "x"')
