"""How servers of an upstream are chosen: by nginx and by Switchyard, running the same file."""

import shutil

import httpx
import pytest

from harness import ports
from harness.backend import Backend, reply
from harness.proxy import NGINX
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
