"""The rows of the table, in groups of those that the same processes are measured with."""

from dataclasses import dataclass, field, replace

from harness.certificates import Authority
from harness.proxy import ROOT

from . import bars
from .configurations import Setup
from .probes import H2Load, Handshakes, Latency, Load, Memory, Reload, Scaling

LARGE_BUFFERS = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"


@dataclass(frozen=True)
class Contender:
    """A column: a proxy, set up in some way."""

    name: str
    kind: str
    setup: Setup = Setup()
    # What the machine must have besides the program.
    needs: tuple = ()


@dataclass
class Group:
    key: str
    title: str
    contenders: list
    probes: list
    # What is compared with what: ours, and those that do the same.
    ours: str = "switchyard"
    peers: tuple = ("nginx", "nginx/64k", "haproxy", "caddy", "envoy")
    bars: list = field(default_factory=list)
    note: str = ""
    # How often in a run, at most.
    rounds: int = 100
    needs: tuple = ()


def plain(setup=Setup(), kinds=("nginx", "nginx/64k", "haproxy", "caddy", "envoy", "switchyard")):
    """A column for each proxy, and one for nginx with larger buffers."""
    made = []
    for name in kinds:
        if name == "nginx/64k":
            made.append(Contender(name, "nginx", replace(setup, extra={"nginx": LARGE_BUFFERS})))
        else:
            made.append(Contender(name, name, setup))
    return made


def with_extra(name, kind, text, needs=()):
    return Contender(name, kind, Setup(extra={kind: text}), needs)


def http():
    def get(name, count, connections, *rest):
        return Load(name, count, ["http", "--headers=10", f"--connections={connections}", *rest], "requests")

    return [
        get("HTTP request, 1 connection", 3000, 1),
        get("HTTP request, 16 connections", 8000, 16),
        get("HTTP 16 KB, 1 connection", 2500, 1, "--path=/bytes/16384"),
        get("HTTP 16 KB, 16 connections", 6000, 16, "--path=/bytes/16384"),
        get("HTTP 1 MB, 1 connection", 300, 1, "--path=/bytes/1048576"),
        get("HTTP 1 MB, 16 connections", 300, 16, "--path=/bytes/1048576"),
        get("HTTP new connection each, 1 at a time", 1500, 1, "--fresh"),
        get("HTTP new connection each, 16 at a time", 3500, 16, "--fresh"),
    ]


def websocket():
    def echo(name, count, size, connections=1, in_flight=1):
        return Load(name, count, [
            "ws", f"--size={size}", f"--in-flight={in_flight}", f"--connections={connections}"])

    return [
        echo("WebSocket 128 B, 1 in flight", 4500, 128),
        echo("WebSocket 128 B, 16 in flight", 75000, 128, in_flight=16),
        echo("WebSocket 128 B, 64 connections", 20000, 128, connections=64),
        echo("WebSocket 128 B, 1000 connections", 25000, 128, connections=1000),
        echo("WebSocket 16 KB, 1 in flight", 3500, 16384),
        echo("WebSocket 16 KB, 16 in flight", 12000, 16384, in_flight=16),
        echo("WebSocket 256 KB, 1 in flight", 500, 262144),
        echo("WebSocket 256 KB, 16 in flight", 500, 262144, in_flight=16),
    ]


MESSAGE_HOOK = "message_by_lua_block { if #msg.data == 0 then seen = (seen or 0) + 1 end }"
PINGS = "websocket_ping_interval 20s; websocket_pong_timeout 10s;"
RELAY = f"set $relay_port <backend>; content_by_lua_file {ROOT}/scripts/bench-relay.lua;"
NGINX_HOOK = """access_by_lua_block {
                if ngx.req.get_headers()["Accept"] then ngx.req.set_header("X-Seen", "yes") end
            }"""
OUR_HOOK = """request_by_lua_block {
                if flow.req.headers["Accept"] then flow.req.headers["X-Seen"] = "yes" end
            }"""
LUA_MODULE = ("nginx's Lua module",)


def deflate():
    def echo(name, count, size, in_flight=1):
        return Load(name, count, ["ws", "--deflate", f"--size={size}", f"--in-flight={in_flight}"])

    return [
        echo("deflated 128 B, 16 in flight", 40000, 128, 16), echo("deflated 4 KB, 16 in flight", 10000, 4096, 16),
        echo("deflated 64 KB, 1 in flight", 1000, 65536),
    ]


def plane_probes():
    wanted = ("128 B", "16 KB, 1", "256 KB, 1 ")
    return [load for load in websocket() if any(word in load.name for word in wanted)]


HANDSHAKE = ["http", "--fresh", "--headers=1", "--tls", "--connections=4", "--path=/bytes/100"]


def tls():
    """By the kind of the certificate."""
    def handshake(name, count, *rest):
        return Load(name, count, [*HANDSHAKE, *rest], "requests")

    def get(name, count, connections, size):
        return Load(name, count, [
            "http", "--headers=10", "--tls", f"--connections={connections}", f"--path=/bytes/{size}"], "requests")

    return {"rsa": [handshake("handshake, RSA 2048, TLS 1.3", 400)], "ec": [
        handshake("handshake, P-256, TLS 1.3", 1000),
        handshake("handshake, P-256, TLS 1.2", 1000, "--tls-version=1.2"),
        handshake("resumed handshake, TLS 1.3", 800, "--resume"),
        handshake("resumed handshake, TLS 1.2", 1500, "--resume", "--tls-version=1.2"),
        get("TLS, 1 KB response", 6000, 16, 1024), get("TLS, 1 MB response", 200, 4, 1 << 20),
        Load("TLS, WebSocket 128 B, 1 in flight", 4000, ["ws", "--size=128", "--tls"]),
        Load("TLS, WebSocket 128 B, 16 in flight", 60000, ["ws", "--size=128", "--in-flight=16", "--tls"]),
        Load("TLS, WebSocket 16 KB, 1 in flight", 3000, ["ws", "--size=16384", "--tls"]),
    ]}


def http2_websocket():
    def echo(name, count, size, connections=1, in_flight=1, streams=1):
        return Load(name, count, [
            "ws", "--http2", f"--size={size}", f"--in-flight={in_flight}", f"--connections={connections}",
            f"--streams={streams}"])

    return [
        echo("RFC 8441, 128 B, 1 in flight", 6000, 128),
        echo("RFC 8441, 128 B, 16 in flight", 60000, 128, in_flight=16),
        echo("RFC 8441, 128 B, 64 streams of a connection", 40000, 128, 64, 1, 64),
        echo("RFC 8441, 16 KB, 1 in flight", 3000, 16384),
        echo("RFC 8441, 256 KB, 1 in flight", 300, 262144),
    ]


def all_groups(directory, tunnels):
    """All there is to measure. Certificates are made in `directory`; `tunnels` are numbers of idle ones."""
    authority = Authority(directory / "authority")
    by_kind = {kind: authority.issue("localhost", kind=kind) for kind in ("rsa", "ec")}
    many = Setup(connections=max(8192, 3 * max(tunnels)))
    quick = ("nginx", "haproxy", "caddy", "envoy", "switchyard")
    return [
        Group("http", "HTTP/1.1 requests", plain(), http(), bars=[
            bars.Level(), bars.Ratio("switchyard", "nginx", 1 / 1.25, rows="HTTP request,")]),
        Group("websocket", "WebSocket messages that nobody looks at", plain(), websocket(), bars=[
            bars.Level(), bars.Ratio("switchyard", "nginx", 0.95, rows="16 in flight| KB")]),
        Group("plane", "WebSocket messages that are looked at", [
            Contender("nginx", "nginx"), Contender("switchyard", "switchyard"),
            with_extra("ping", "switchyard", PINGS), with_extra("hook", "switchyard", MESSAGE_HOOK),
            with_extra("relay", "nginx", RELAY, LUA_MODULE)],
            plane_probes(), ours="hook", peers=("relay",), bars=[
                bars.Ratio("ping", "switchyard", 1.05), bars.Ratio("hook", "nginx", 1.35, rows="128 B"),
                bars.Ratio("hook", "relay", 1 / 5, rows="128 B, 16 in flight"), bars.Level()],
            note="nginx and switchyard pass bytes through; ping has the proxy ping every 20 s; hook calls a Lua function with "
                 "every message; relay is the same hook in a relay for nginx's Lua module, the only peer that can do it."),
        Group("deflate", "WebSocket messages with permessage-deflate", [
            *plain(kinds=quick), with_extra("terminated", "switchyard", "websocket_deflate on client; websocket_deflate off upstream;"),
            with_extra("hook", "switchyard", MESSAGE_HOOK)], deflate(), bars=[bars.Level()],
            note="Passed on as it is; terminated: inflated and deflated by the proxy, plain towards the backend; hook: agreed "
                 "on by both ends, and inflated for a Lua function. No peer does the latter two."),
        Group("script", "HTTP requests that a script looks at", [
            Contender("nginx", "nginx"), with_extra("nginx, Lua", "nginx", NGINX_HOOK, LUA_MODULE),
            with_extra("haproxy, Lua", "haproxy", "yes"), with_extra("envoy, Lua", "envoy", "yes"),
            Contender("switchyard", "switchyard"), with_extra("switchyard, Lua", "switchyard", OUR_HOOK)],
            [Load("HTTP request with a hook, 16 connections", 12000, ["http", "--headers=10", "--connections=16"], "requests")],
            ours="switchyard, Lua", peers=("nginx, Lua", "haproxy, Lua", "envoy, Lua"), bars=[
                bars.Level(), bars.Difference("switchyard, Lua", "switchyard", 1.5),
                bars.Difference("nginx, Lua", "nginx", None)],
            note="The hook reads one field and sets one. nginx and switchyard without one are there to tell what it costs."),
        Group("setup", "WebSockets that come and go", plain(kinds=quick), [
            Handshakes("WebSocket handshakes, 16 at a time", 2500, ["open", "--connections=16"], "handshakes")],
            bars=[bars.Level()]),
        Group("latency", "Latency at a fixed rate", plain(kinds=quick), [
            Latency("HTTP request, 1000/s", 1000, 2.5, ["http", "--headers=10", "--connections=16"], "requests"),
            Latency("WebSocket 128 B, 1000/s", 1000, 2.5, ["ws", "--size=128", "--connections=64"], "messages")],
            bars=[bars.Level()],
            note="An open loop: what is due is sent whether or not earlier answers have come, and is timed from when it was due."),
        Group("scaling", "One worker and two", plain(kinds=quick), [
            Scaling("HTTP", 25000, ["http", "--headers=10", "--connections=64"], "requests"),
            Scaling("WebSocket 128 B", 50000, ["ws", "--size=128", "--connections=64"], "messages")],
            bars=[bars.Level()], rounds=3,
            note="Nothing is kept to one processor here, and load and backend run on the same ones: with few of them, the second "
                 "worker has little left to bring."),
        Group("reload", "Reloads under load", plain(
            Setup(reloads=True), kinds=("nginx", "haproxy", "caddy", "switchyard")),
            [Reload(500, 6, 1)], bars=[bars.Level(), bars.Most("switchyard", 0, rows="failed")], rounds=3,
            note="500 requests per second on 16 kept connections, the configuration loaded anew each second. A request that crosses "
                 "the end of its connection on its way is sent again, which clients may do for a GET. Envoy has no reload of a "
                 "file."),
        Group("tls", "TLS with clients: handshakes", plain(
            Setup(certificate=by_kind["rsa"]), kinds=quick), tls()["rsa"], bars=[bars.Level()],
            note="A handshake has a request with its response over it, on a connection of its own."),
        Group("tls", "TLS with clients", plain(
            Setup(certificate=by_kind["ec"]), kinds=quick), tls()["ec"], bars=[bars.Level()]),
        Group("http2", "HTTP/2 requests", plain(Setup(http2=True), kinds=quick), [
            H2Load("HTTP/2 request, 1 stream", 3000, 1, 1), H2Load("HTTP/2 request, 16 streams", 8000, 1, 16),
            H2Load("HTTP/2 request, 4 connections of 32 streams", 8000, 4, 32),
            H2Load("HTTP/2 16 KB, 16 streams", 4000, 1, 16, "/bytes/16384")], bars=[bars.Level()],
            note="Without TLS, by prior knowledge; the load is h2load's.", needs=("h2load",)),
        Group("http2-websocket", "WebSockets over HTTP/2 (RFC 8441)", plain(
            Setup(http2=True), kinds=("haproxy", "envoy", "switchyard")), http2_websocket(), bars=[bars.Level()]),
        Group("memory", "Memory of idle tunnels", [
            *plain(many, kinds=quick),
            Contender("ping", "switchyard", replace(many, extra={"switchyard": PINGS})),
            Contender("hook", "switchyard", replace(many, extra={"switchyard": MESSAGE_HOOK}))],
            [Memory(number, only=() if number == min(tunnels) else quick) for number in tunnels], rounds=1, bars=[
                bars.Level(), bars.Most("switchyard", 1024), bars.Most("ping", 1024), bars.Most("hook", 1536)],
            note="Growth of the process's private pages."),
        Group("tls", "Memory of idle tunnels over TLS", plain(
            replace(many, certificate=by_kind["ec"]), kinds=quick),
            [Memory(min(tunnels), ("--tls",))], rounds=1, bars=[bars.Level()]),
    ]
