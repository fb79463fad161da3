"""`server … resolve`: addresses of upstream servers that change while they are used. nginx has it from 1.27.3 on."""

import signal
import time

import pytest

from harness import ports
from harness.backend import Backend, reply
from harness.dns import SRV, NameServer
from harness.http2 import HTTP2Backend
from harness.proxy import whole
from harness.websocket import MAP, RECIPE, holding, opened
from harness.wire import Client, fetch, wait_for

pytestmark = pytest.mark.switchyard_only

NAME = "app.test"
SERVFAIL = 2


@pytest.fixture
def three():
    """Backends on one port of three addresses. They answer with the last number of theirs, and hold WebSockets."""
    port = ports.free_port()
    made = {f"127.0.0.{each}": Backend(
        reply(200, b"%d" % each), program=holding, host=f"127.0.0.{each}", port=port) for each in (1, 2, 3)}
    yield made
    for each in made.values():
        each.stop()


def group(proxy, resolver, servers, location=RECIPE, http="", version="1.1", **rest):
    """A proxy to the servers of an upstream; `<app>` is the port of the backends."""
    return proxy(text(resolver, servers, location, http, version), **rest)


def text(resolver, servers, location=RECIPE, http="", version="1.1"):
    return (
        f"{MAP} log_format l '$status $upstream_addr'; access_log <dir>/access.log l; resolver {resolver}; {http}"
        f" upstream app {{ {servers} }} server {{ listen 127.0.0.1:<port>; location / {{ proxy_pass http://app;"
        f" proxy_http_version {version}; {location} }} }}")


ONE = f"server {NAME}:<app> resolve;"


def port_of(three):
    return {"app": three["127.0.0.1"].port}


def open_in(backend):
    """How many WebSockets."""
    return sum(
        each.is_open and any("sec-websocket-key" in request for request in each.requests)
        for each in backend.connections)


def test_addresses_are_those_of_the_last_answer(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}, ttl=1) as names:
        made = group(proxy, f"{names} ipv6=off", ONE, values=port_of(three))
        assert {made.fetch().text for _ in range(4)} == {"1"}
        names.records[NAME] = ["127.0.0.2", "127.0.0.3"]
        wait_for(lambda: made.fetch().text != "1", what="the new addresses")
        assert {made.fetch().text for _ in range(4)} == {"2", "3"}
        names.records[NAME] = ["127.0.0.3"]
        wait_for(lambda: {made.fetch().text for _ in range(4)} == {"3"}, what="the last address alone")
    assert made.fetch().text == "3", "the name server has gone"
    wait_for(lambda: f"{NAME} could not be resolved (" in made.log(), 10, "the failure")
    assert made.fetch().text == "3"


def test_valid_counts_for_more_than_the_time_to_live(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}, ttl=3600) as names:
        made = group(proxy, f"{names} ipv6=off valid=1s", ONE, values=port_of(three))
        assert made.fetch().text == "1"
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: made.fetch().text == "2", what="the new address")


def test_an_upstreams_own_resolver_comes_before_that_of_http(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}) as outer, NameServer({NAME: ["127.0.0.2"]}) as inner:
        made = group(proxy, f"{outer} ipv6=off", f"resolver {inner} ipv6=off; {ONE}", values=port_of(three))
        assert made.fetch().text == "2"
        assert not outer.questions


def test_no_time_to_live_is_no_busy_loop(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}, ttl=0) as names:
        begin = time.monotonic()
        made = group(proxy, f"{names} ipv6=off", ONE, values=port_of(three))
        assert made.fetch().text == "1"
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: made.fetch().text == "2", what="the new address")
        wait_for(lambda: names.asked(NAME) >= 4, what="some questions")
        assert names.asked(NAME) <= time.monotonic() - begin + 1


def test_websockets_are_counted_across_changes(proxy, three):
    first, second, third = three.values()
    with NameServer({NAME: ["127.0.0.1", "127.0.0.2"]}, ttl=1) as names:
        made = group(proxy, f"{names} ipv6=off", f"least_conn; {ONE}", values=port_of(three))

        def count():
            return [open_in(each) for each in three.values()]

        clients = [opened(made.port) for _ in range(6)]
        assert count() == [3, 3, 0]
        names.records[NAME] = ["127.0.0.2", "127.0.0.3"]
        wait_for(lambda: made.fetch().text == "3", what="the address that carries nothing")
        clients += [opened(made.port) for _ in range(4)]
        assert count() == [3, 4, 3], "those of the first stay"
        names.records[NAME] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        wait_for(lambda: "1" in {made.fetch().text for _ in range(6)}, what="the first again")
        clients += [opened(made.port) for _ in range(2)]
        assert count() == [4, 4, 4]
        for client in clients[:6]:
            client.close()
        wait_for(lambda: sum(count()) == 6, what="their ends")
        clients += [opened(made.port) for _ in range(6)]
        assert count() == [4, 4, 4]
        for client in clients[6:]:
            client.close()
        wait_for(lambda: sum(count()) == 0, what="the end of all")


def test_connections_that_are_kept_end_with_their_address(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}, ttl=1) as names:
        made = group(
            proxy, f"{names} ipv6=off", f"{ONE} keepalive 4;", 'proxy_set_header Connection "";',
            values=port_of(three))
        assert [made.fetch().text for _ in range(3)] == ["1"] * 3
        [connection] = three["127.0.0.1"].connections
        assert connection.is_open
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: not connection.is_open, what="the end of the kept one")
        assert made.fetch().text == "2"


def test_http2_connections_end_with_their_address(proxy):
    port = ports.free_port()
    with HTTP2Backend(host="127.0.0.1", port=port) as first, HTTP2Backend(host="127.0.0.2", port=port) as second, \
            NameServer({NAME: ["127.0.0.1"]}, ttl=1) as names:
        made = group(
            proxy, f"{names} ipv6=off", f"{ONE} keepalive 4;", version="2", values={"app": port})
        assert [made.fetch().status for _ in range(3)] == [200] * 3
        assert (len(first.requests), len(second.requests)) == (3, 0)
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: first.servers[0].closed, what="the end of the connection")
        assert made.fetch().status == 200
        assert (len(first.requests), len(second.requests)) == (3, 1)


def test_a_name_that_is_gone_takes_its_servers_along(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}, ttl=1) as names:
        made = group(proxy, f"{names} ipv6=off valid=1s", ONE, values=port_of(three))
        assert made.fetch().text == "1"
        del names.records[NAME]
        wait_for(lambda: made.fetch().status == 502, what="a name without servers")
        assert f": {NAME} could not be resolved (3: Host not found)" in made.log()
        assert "no live upstreams while connecting to upstream" in made.log()
        wait_for(lambda: made.log("access.log").endswith("502 app\n"), what="the line of the request")
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: made.fetch().status == 200, what="the name again")


@pytest.mark.parametrize("failure, reason", [(SERVFAIL, "2: Server failure"), (None, "110: Operation timed out")])
def test_addresses_stay_when_nobody_knows(proxy, three, failure, reason):
    with NameServer({NAME: ["127.0.0.1"]}, ttl=1) as names:
        made = group(
            proxy, f"{names} ipv6=off", f"resolver_timeout 1s; {ONE}", values=port_of(three))
        assert made.fetch().text == "1"
        names.records[NAME] = failure
        wait_for(lambda: made.log().count(f"{NAME} could not be resolved ({reason})") >= 2, 10, "two failures")
        assert made.fetch().text == "1"
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: made.fetch().text == "2", what="the new address")


def test_the_start_needs_no_name_server(proxy, three):
    port = ports.free_port()
    made = group(
        proxy, f"127.0.0.1:{port} ipv6=off", f"resolver_timeout 1s; {ONE}", values=port_of(three))
    assert made.fetch().status == 502
    with NameServer({NAME: ["127.0.0.1"]}, port=port):
        wait_for(lambda: made.fetch().status == 200, 10, "the name")


@pytest.mark.parametrize("location", [
    RECIPE, 'request_by_lua_block { local r = sy.fetch{ url = "http://app/" }'
    " return flow:respond{ status = r.status, body = r.body } }"],
    ids=["proxied", "fetched"])
def test_requests_wait_for_the_first_answer(proxy, three, location):
    with NameServer({NAME: None}) as names:
        made = group(proxy, f"{names} ipv6=off", f"resolver_timeout 7s; {ONE}", location, values=port_of(three))
        with Client(made.port) as client, Client(made.port) as leaver:
            client.request("/")
            leaver.request("/")
            wait_for(lambda: names.asked(NAME), what="the question")
            leaver.close()
            names.records[NAME] = ["127.0.0.3"]
            response = client.read_response()
            assert (response.status, response.text) == (200, "3")
        assert made.fetch().status == 200


def test_requests_wait_no_longer_than_resolver_timeout(proxy, three):
    with NameServer({NAME: None}) as names:
        made = group(proxy, f"{names} ipv6=off", f"resolver_timeout 1s; {ONE}", values=port_of(three))
        assert made.fetch().status == 502
        assert f"{NAME} could not be resolved (110: Operation timed out)" in made.log()
        begin = time.monotonic()
        for _ in range(20):
            assert made.fetch().status == 502
        assert time.monotonic() - begin < 5, "later lookups are not waited for"


def test_no_end_waits_for_a_name(proxy, three):
    with NameServer({NAME: None}) as names:
        made = group(proxy, f"{names} ipv6=off", ONE, values=port_of(three))
        wait_for(lambda: names.asked(NAME), what="the question")
        made.signal(signal.SIGQUIT)
        assert made.wait_exit(10) == 0


def test_other_servers_need_not_wait(proxy, three):
    with NameServer({NAME: None}) as names:
        made = group(proxy, f"{names} ipv6=off", f"{ONE} server 127.0.0.2:<app>;", values=port_of(three))
        assert {made.fetch().text for _ in range(4)} == {"2"}
        names.records[NAME] = ["127.0.0.1"]
        wait_for(lambda: {made.fetch().text for _ in range(4)} == {"1", "2"}, 30, "the name's server")


def test_a_reload_goes_on_with_the_addresses_that_are_known(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}) as names:
        servers = f"resolver_timeout 1s; {ONE}"
        made = group(proxy, f"{names} ipv6=off", servers, values=port_of(three))
        assert made.fetch().text == "1"
        tunnel = opened(made.port)
        names.records[NAME] = SERVFAIL
        made.reload(whole(text(f"{names} ipv6=off", servers, RECIPE + "add_header X-New 1;")))
        wait_for(lambda: made.fetch().get("x-new") == "1", what="the new configuration")
        assert made.fetch().text == "1"
        wait_for(lambda: "could not be resolved (2" in made.log(), what="the failure")
        assert made.fetch().text == "1"
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: made.fetch().text == "2", what="the new address")
        tunnel.close()


def test_every_worker_follows(proxy, three):
    with NameServer({NAME: ["127.0.0.1", "127.0.0.2"]}, ttl=1) as names:
        http = text(f"{names} ipv6=off", f"hash $arg_key; {ONE}", 'proxy_set_header Connection "";')
        made = proxy(
            config=whole(http).replace("worker_processes 1;", "worker_processes 3;"), values=port_of(three))
        keys = [f"/?key={each}" for each in range(10)]

        def homes():
            """With connections of their own, which go to any worker."""
            return [{fetch(made.port, key).text for _ in range(12)} for key in keys]

        found = homes()
        assert all(len(each) == 1 for each in found), "a key has one server, whichever worker is asked"
        assert set.union(*found) == {"1", "2"}
        names.records[NAME] = ["127.0.0.3"]
        wait_for(lambda: set.union(*homes()) == {"3"}, 10, "the new address in all workers")


def test_a_test_of_the_configuration_asks_for_no_name(proxy, three):
    with NameServer({NAME: ["127.0.0.1"]}) as names:
        made = group(proxy, f"{names} ipv6=off", ONE, values=port_of(three), start=False)
        result = made.run("-t")
        assert result.returncode == 0, result.stderr
        assert not names.questions


def test_what_is_no_name_is_not_asked_for(proxy, three):
    with NameServer() as names:
        made = group(
            proxy, f"{names} ipv6=off", "server 127.0.0.2:<app> resolve; zone app 64k;", values=port_of(three))
        assert made.fetch().text == "2"
        assert not names.questions


@pytest.mark.parametrize("hook", [
    'request_by_lua_block { flow:route("app") }', 'request_by_lua_block { flow:route{ "dead", "app" } }'],
    ids=["first", "second"])
def test_scripts_route_to_names(proxy, three, hook):
    with NameServer({NAME: ["127.0.0.1"]}, ttl=1) as names:
        made = group(
            proxy, f"{names} ipv6=off", ONE, hook, "upstream dead { server 127.0.0.1:1; }", values=port_of(three))
        assert made.fetch().text == "1"
        names.records[NAME] = ["127.0.0.2"]
        wait_for(lambda: made.fetch().text == "2", what="the new address")


# Services

SERVICE = f"_http._tcp.{NAME}"
OF_SERVICE = f"server {NAME} service=http resolve;"


@pytest.fixture
def hosts(three):
    """Names of the three backends, and their port."""
    return {f"h{address[-1]}.test": [address] for address in three}, three["127.0.0.1"].port


def shares(made, count=12):
    """How many of so many requests each backend gets."""
    found = [made.fetch().text for _ in range(count)]
    return {each: found.count(each) for each in sorted(set(found))}


def test_records_of_a_service_say_servers_ports_and_weights(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 2, port, "h1.test"), (1, 1, port, "H2.test"), (1, 0, port, "h3.test")]
    with NameServer(names, ttl=1) as server:
        made = group(proxy, f"{server} ipv6=off", OF_SERVICE)
        assert shares(made) == {"1": 6, "2": 3, "3": 3}
        assert made.log_lines("access.log", 12)[0] == f"200 127.0.0.1:{port}"
        server.records[SERVICE] = [(1, 1, port, "h3.test"), (1, 1, port, "h2.test")]
        wait_for(lambda: shares(made) == {"2": 6, "3": 6}, what="other weights")
        # The addresses of a host may change as well.
        server.records["h3.test"] = ["127.0.0.1"]
        wait_for(lambda: shares(made) == {"1": 6, "2": 6}, what="another address")
        server.records[SERVICE] = [(1, 1, 1, "h2.test"), (1, 1, port, "h2.test")]
        wait_for(lambda: set(shares(made)) == {"2"}, what="two ports of one host")
        wait_for(lambda: f"200 127.0.0.2:1, 127.0.0.2:{port}\n" in made.log("access.log"), what="a try at either")


def test_a_lines_own_weight_counts_for_more(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 5, port, "h1.test"), (1, 1, port, "h2.test")]
    with NameServer(names) as server:
        made = group(
            proxy, f"{server} ipv6=off", f"server {NAME} service=http resolve weight=2; server 127.0.0.3:{port} weight=4;")
        made.fetch()
        wait_for(lambda: set(shares(made)) == {"1", "2", "3"}, what="the service")
        assert shares(made, 16) == {"1": 4, "2": 4, "3": 8}


def test_records_of_another_priority_are_backups(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(20, 1, port, "h3.test"), (10, 1, port, "h1.test"), (15, 1, port, "h2.test")]
    with NameServer(names, ttl=1) as server:
        made = group(proxy, f"{server} ipv6=off", OF_SERVICE)
        assert shares(made) == {"1": 12}
        # Nobody listens there.
        server.records[SERVICE] = [(20, 1, port, "h3.test"), (10, 1, 1, "h1.test"), (15, 1, port, "h2.test")]
        wait_for(lambda: shares(made) == {"2": 6, "3": 6}, what="the backups")
        assert f"200 127.0.0.1:1, 127.0.0.2:{port}\n" in made.log("access.log")
        # Of the first ones, no host has an address: others are the first.
        server.records[SERVICE] = [(20, 1, port, "h3.test"), (10, 1, port, "none.test"), (15, 1, port, "h2.test")]
        wait_for(lambda: shares(made) == {"2": 12}, what="those that are there")
        assert f"none.test could not be resolved (3: Host not found) while resolving service http of {NAME}" in made.log()


def test_a_service_for_backups_has_one_priority(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 1, port, "h1.test"), (2, 1, port, "h2.test")]
    with NameServer(names, ttl=1) as server:
        made = group(
            proxy, f"{server} ipv6=off", f"server 127.0.0.3:1; server {NAME} service=http resolve backup;")
        wait_for(lambda: shares(made) == {"1": 12}, what="the backup")
        server.records[SERVICE] = [(1, 1, 1, "h1.test"), (2, 1, port, "h2.test")]
        wait_for(lambda: made.fetch().status == 502, what="no server")


@pytest.mark.parametrize("service, name", [
    ("_http._tcp", SERVICE), ("api.v1", f"api.v1.{NAME}"), ("Api", f"_api._tcp.{NAME}")])
def test_names_of_services(proxy, hosts, service, name):
    names, port = hosts
    names[name] = [(1, 1, port, "h2.test")]
    with NameServer(names) as server:
        made = group(proxy, f"{server} ipv6=off", f"server {NAME} service={service} resolve;")
        assert made.fetch().text == "2"
        assert server.asked(name, SRV) == 1 and server.asked(NAME) == 0


def test_a_services_time_to_live_is_kept_to(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 1, port, "h1.test")]
    with NameServer(names, ttl=3600) as server:
        made = group(proxy, f"{server} ipv6=off", OF_SERVICE)
        assert made.fetch().text == "1"
        time.sleep(2.5)
        assert server.questions == [(SERVICE, SRV), ("h1.test", 1)]
    with NameServer(names, ttl=3600) as server:
        made = group(proxy, f"{server} ipv6=off valid=1s", OF_SERVICE)
        assert made.fetch().text == "1"
        server.records[SERVICE] = [(1, 1, port, "h2.test")]
        wait_for(lambda: made.fetch().text == "2", what="the new record")


def test_a_service_that_is_gone_takes_its_servers_along(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 1, port, "h1.test")]
    with NameServer(names, ttl=1) as server:
        made = group(proxy, f"{server} ipv6=off valid=1s", OF_SERVICE)
        assert made.fetch().text == "1"
        for gone in (None, "."):
            if gone:
                server.records[SERVICE] = [(0, 0, 0, ".")]
            else:
                del server.records[SERVICE]
            wait_for(lambda: made.fetch().status == 502, what="a service without servers")
            assert f": service http of {NAME} could not be resolved (3: Host not found)" in made.log()
            server.records[SERVICE] = [(1, 1, port, "h2.test")]
            wait_for(lambda: made.fetch().status == 200, what="the service again")


@pytest.mark.parametrize("failure, reason", [(SERVFAIL, "2: Server failure"), (None, "110: Operation timed out")])
def test_servers_of_a_service_stay_when_nobody_knows(proxy, hosts, failure, reason):
    names, port = hosts
    names[SERVICE] = [(1, 1, port, "h1.test"), (1, 1, port, "h2.test")]
    with NameServer(names, ttl=1) as server:
        made = group(proxy, f"{server} ipv6=off", f"resolver_timeout 1s; {OF_SERVICE}")
        assert shares(made) == {"1": 6, "2": 6}
        server.records["h2.test"] = failure
        words = f"h2.test could not be resolved ({reason}) while resolving service http of {NAME}"
        wait_for(lambda: made.log().count(words) >= 2, 10, "two failures of a host")
        assert shares(made) == {"1": 6, "2": 6}
        server.records[SERVICE] = failure
        words = f"service http of {NAME} could not be resolved ({reason})"
        wait_for(lambda: made.log().count(words) >= 2, 10, "two failures of the service")
        assert shares(made) == {"1": 6, "2": 6}
        server.records[SERVICE] = [(1, 1, port, "h3.test")]
        wait_for(lambda: shares(made) == {"3": 12}, what="the new record")


def test_requests_wait_for_a_service_no_longer_than_resolver_timeout(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 1, port, "h1.test")]
    names["h1.test"] = None
    with NameServer(names) as server:
        made = group(proxy, f"{server} ipv6=off", f"resolver_timeout 1s; {OF_SERVICE}")
        begin = time.monotonic()
        assert made.fetch().status == 502
        assert time.monotonic() - begin < 5
        server.records["h1.test"] = ["127.0.0.1"]
        wait_for(lambda: made.fetch().status == 200, what="the address")


def test_keys_stay_with_the_servers_of_a_service(proxy, hosts):
    names, port = hosts
    # Weights as large as they may be are no more than a moment's work.
    names[SERVICE] = [(1, 65535, port, f"h{each}.test") for each in (1, 2, 3)]
    with NameServer(names, ttl=1) as server:
        made = group(proxy, f"{server} ipv6=off", f"hash $arg_key consistent; {OF_SERVICE}")

        def homes():
            return [made.fetch(f"/?key={each}").text for each in range(40)]

        before = homes()
        assert set(before) == {"1", "2", "3"} and homes() == before
        server.records[SERVICE] = [(1, 65535, port, f"h{each}.test") for each in (3, 1)]
        wait_for(lambda: "2" not in homes(), what="the end of the second")
        assert all(old in ("2", new) for old, new in zip(before, homes()))
        server.records[SERVICE] = names[SERVICE]
        server.records[SERVICE] = [(1, 65535, port, f"h{each}.test") for each in (2, 3, 1)]
        wait_for(lambda: homes() == before, what="all of them")


def test_websockets_are_counted_across_changes_of_a_service(proxy, hosts, three):
    names, port = hosts
    names[SERVICE] = [(1, 1, port, "h1.test"), (1, 1, port, "h2.test")]
    with NameServer(names, ttl=1) as server:
        made = group(proxy, f"{server} ipv6=off", f"least_conn; {OF_SERVICE}")
        clients = [opened(made.port) for _ in range(4)]
        assert [open_in(each) for each in three.values()] == [2, 2, 0]
        # Other weights are no other servers.
        server.records[SERVICE] = [(1, 3, port, "h1.test"), (1, 1, port, "h2.test")]
        wait_for(lambda: shares(made) == {"1": 12}, what="the weights")
        clients += [opened(made.port) for _ in range(4)]
        assert [open_in(each) for each in three.values()] == [6, 2, 0]
        for client in clients:
            client.close()


def test_a_reload_goes_on_with_the_servers_of_a_service(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 3, port, "h1.test"), (1, 1, port, "h2.test"), (2, 1, port, "h3.test")]
    with NameServer(names) as server:
        servers = f"resolver_timeout 1s; {OF_SERVICE}"
        made = group(proxy, f"{server} ipv6=off", servers)
        assert shares(made) == {"1": 9, "2": 3}
        server.records[SERVICE] = SERVFAIL
        made.reload(whole(text(f"{server} ipv6=off", servers, RECIPE + "add_header X-New 1;")))
        wait_for(lambda: made.fetch().get("x-new") == "1", what="the new configuration")
        wait_for(lambda: "could not be resolved (2" in made.log(), what="the failure")
        assert shares(made) == {"1": 9, "2": 3}


def test_scripts_see_the_servers_of_a_service(proxy, hosts):
    names, port = hosts
    names[SERVICE] = [(1, 3, port, "h1.test"), (2, 1, port, "h3.test")]
    with NameServer(names) as server:
        made = group(
            proxy, f"{server} ipv6=off", OF_SERVICE,
            'request_by_lua_block { local l = {} for _, p in ipairs(sy.peers("app")) do'
            ' l[#l + 1] = table.concat({ p.name, p.server, p.weight, tostring(p.backup) }, " ") end'
            " return flow:respond{ body = table.concat(l, ',') } }")
        wait_for(
            lambda: made.fetch().text == f"127.0.0.1:{port} {NAME} 3 false,127.0.0.3:{port} {NAME} 1 true", what="both")
