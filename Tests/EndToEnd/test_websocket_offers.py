"""What a WebSocket's client is told of subprotocols and extensions, where a script or the configuration makes offers of
its own to the upstream, and what becomes of extensions that the proxy does not know. Both ends are spoken by hand."""

import os
import zlib

import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from harness.websocket import MAP, RECIPE, WebSocketServer, echoing, frame, handshake, switching
from harness.wire import Client, wait_for

pytestmark = pytest.mark.switchyard_only

DEFLATE = "permessage-deflate; client_max_window_bits"
HOOKS = {
    "message": "message_by_lua_block { sy.log.warn('seen ' .. msg.data) }",
    "frame": "frame_by_lua_block { sy.log.warn('seen ' .. frame.data) }",
}


@pytest.fixture
def opened(simple):
    """Opens a WebSocket with what the client offers and the upstream answers: the client, its head, and the proxy."""
    clients = []

    def make(location="", offers=(), answer=(), **rest):
        made = simple(RECIPE + location, http=MAP, **rest)
        made.backend.program = echoing(switching(headers=answer))
        client = Client(made.port)
        clients.append(client)
        client.send(handshake(headers=offers))
        return client, client.read_response_head(), made

    yield make
    for client in clients:
        client.close()


def extensions(value):
    return "Sec-WebSocket-Extensions", value


def subprotocol(value):
    return "Sec-WebSocket-Protocol", value


def log_of(made, text):
    wait_for(lambda: text in made.logs(), what=repr(text))


def close_code(client):
    first, second = client.read_exactly(2)
    assert first == 0x88
    return int.from_bytes(client.read_exactly(second & 127)[:2], "big")


def marked(data, bits, opcode=1, masked=False):
    """A frame with reserved bits."""
    whole = bytearray(frame(data, opcode, masked))
    whole[0] |= bits
    return bytes(whole)


# What the client did not offer


@pytest.mark.parametrize("location", [
    "proxy_set_header Sec-WebSocket-Protocol chat.v2; proxy_set_header Sec-WebSocket-Extensions x-a;",
    """upgrade_by_lua_block {
        flow.req.headers["Sec-WebSocket-Protocol"] = "chat.v2"
        flow.req.headers["Sec-WebSocket-Extensions"] = "x-a"
    }""",
    """request_by_lua_block { flow.req.headers["Sec-WebSocket-Extensions"] = "x-a" }
       upgrade_by_lua_block { flow.offer.subprotocols = { "chat.v2", "chat.v3" } }""",
])
@pytest.mark.parametrize("offers", [(), (subprotocol("chat.v1"), extensions("x-b"))])
def test_the_client_is_told_of_nothing_that_it_did_not_offer(opened, location, offers):
    _, head, made = opened(
        location + 'add_header X-Told "$sent_http_sec_websocket_protocol;$sent_http_sec_websocket_extensions" always;'
        + 'add_header X-Chosen $upstream_http_sec_websocket_protocol always;',
        offers, [subprotocol("chat.v2"), extensions("x-a; b=1")])
    assert head.status == 101
    assert "sec-websocket-protocol" not in head and "sec-websocket-extensions" not in head
    [request] = made.backend.requests
    assert request.get("sec-websocket-protocol").startswith("chat.v2")
    assert request.get("sec-websocket-extensions") == "x-a"
    assert head.get("x-chosen") == "chat.v2"


def test_a_library_opens_what_would_fail_with_the_upstreams_answer(simple):
    def select(connection, offered):
        return offered[0] if offered else None

    with WebSocketServer(select_subprotocol=select) as server:
        made = simple(
            RECIPE + "proxy_set_header Sec-WebSocket-Protocol internal;", http=MAP, values={"backend": server})
        with connect(f"ws://127.0.0.1:{made.port}/", compression=None) as socket:
            assert socket.subprotocol is None
            socket.send("hello")
            assert socket.recv(5) == "hello"
        assert server.requests[0].headers["Sec-WebSocket-Protocol"] == "internal"
        # The upstream's own answer, for comparison: the library fails the connection.
        with pytest.raises(InvalidHandshake):
            with connect(f"ws://{server}/", additional_headers={"Sec-WebSocket-Protocol": "internal"}):
                pass


def test_a_script_translates_subprotocols_both_ways(opened):
    _, head, made = opened("""
        upgrade_by_lua_block { flow.offer.subprotocols = { "internal" } }
        response_by_lua_block {
            flow.res.headers["X-Upstream"] = flow.res.headers["Sec-WebSocket-Protocol"] .. " " .. flow.subprotocol
            flow.res.headers["Sec-WebSocket-Protocol"] = "chat"
        }""", [subprotocol("chat, other")], [subprotocol("internal")])
    assert (head.status, head.get("sec-websocket-protocol")) == (101, "chat")
    assert head.get("x-upstream") == "internal internal"
    assert made.backend.requests[0].get("sec-websocket-protocol") == "internal"


@pytest.mark.parametrize("bits", [0x40, 0x20, 0x10])
def test_an_upstream_may_not_use_an_extension_that_the_client_was_not_told_of(simple, bits):
    made = simple(RECIPE + "proxy_set_header Sec-WebSocket-Extensions x-a;", http=MAP)

    def program(connection):
        connection.next_request()
        connection.send(switching(headers=[extensions("x-a")]) + frame(b"plain") + marked(b"marked", bits))
        connection.read_rest()

    made.backend.program = program
    with Client(made.port) as client:
        client.send(handshake())
        assert client.read_response_head().status == 101
        assert client.read_exactly(7) == frame(b"plain")
        assert close_code(client) == 1002


# permessage-deflate that is passed on


@pytest.mark.parametrize("answer", [
    "permessage-deflate; client_max_window_bits=16", "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=0",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; unknown", "permessage-deflate; server_no_context_takeover=1", "permessage-deflate;",
    "permessage-deflate, permessage-deflate",
])
@pytest.mark.parametrize("hook", ["", HOOKS["message"]])
def test_an_invalid_answer_is_a_bad_gateway(opened, answer, hook):
    _, head, made = opened("websocket_deflate pass;" + hook, [extensions(DEFLATE)], [extensions(answer)])
    assert head.status == 502
    log_of(made, "upstream accepted permessage-deflate in a way that the client did not offer")


@pytest.mark.parametrize("offer, location, answer, status", [
    # RFC 7692 §7.1.1.1, §7.1.2.1, §7.1.2.2.
    ("permessage-deflate; server_no_context_takeover", "", "permessage-deflate", 502),
    ("permessage-deflate; server_no_context_takeover", "", "permessage-deflate; server_no_context_takeover", 101),
    ("permessage-deflate; server_max_window_bits=10", "", "permessage-deflate; server_max_window_bits=11", 502),
    ("permessage-deflate; server_max_window_bits=10, permessage-deflate", "", "permessage-deflate", 101),
    ("permessage-deflate", "", "permessage-deflate; client_max_window_bits=10", 502),
    # What was offered in the client's name.
    ("permessage-deflate", f"proxy_set_header Sec-WebSocket-Extensions '{DEFLATE}';",
     "permessage-deflate; client_max_window_bits=10", 502),
    ("x-a", "proxy_set_header Sec-WebSocket-Extensions 'permessage-deflate, x-a';", "permessage-deflate", 502),
    ("x-a", "proxy_set_header Sec-WebSocket-Extensions 'permessage-deflate, x-a';", "x-a", 101),
    ("x-a", "upgrade_by_lua_block { flow.req.headers['Sec-WebSocket-Extensions'] = 'permessage-deflate' }",
     "permessage-deflate", 502),
    # The proxy is no end of what it does not offer.
    (DEFLATE, "websocket_deflate on client; proxy_set_header Sec-WebSocket-Extensions permessage-deflate;",
     "permessage-deflate", 502),
])
def test_the_client_must_be_able_to_take_the_answer(opened, offer, location, answer, status):
    _, head, _ = opened(location, [extensions(offer)], [extensions(answer)])
    assert head.status == status
    assert status == 502 or head.get("sec-websocket-extensions") == answer


# Extensions that the proxy does not know


@pytest.mark.parametrize("location, offer", [
    (HOOKS["message"], DEFLATE), (HOOKS["frame"], DEFLATE),
    (HOOKS["message"] + "upgrade_by_lua_block { flow.offer.deflate = false }", None),
    (HOOKS["frame"] + "upgrade_by_lua_block { flow.offer.deflate = false }", None),
    ("websocket_deflate on client;", None),
    # Nothing looks inside of these.
    ("websocket_ping_interval 20s;", f"{DEFLATE}, x-bits"), ("", f"{DEFLATE}, x-bits"),
    ("open_by_lua_block { }", f"{DEFLATE}, x-bits"), ("websocket_deflate off;", "x-bits"),
])
def test_extensions_are_not_offered_where_messages_are_looked_at(opened, location, offer):
    _, head, made = opened(location, [extensions(f"{DEFLATE}, x-bits"), subprotocol("a")])
    assert head.status == 101
    assert made.backend.requests[0].get("sec-websocket-extensions") == offer
    assert made.backend.requests[0].get("sec-websocket-protocol") == "a"


@pytest.mark.parametrize("hook", list(HOOKS))
def test_an_upstream_that_takes_one_all_the_same_is_a_bad_gateway(opened, hook):
    _, head, made = opened(HOOKS[hook], [extensions("x-bits")], [extensions("x-bits")])
    assert head.status == 502
    log_of(made, "upstream chose a WebSocket extension that was not offered")


@pytest.mark.parametrize("bits", [0x20, 0x10, 0x60, 0x70])
def test_no_message_goes_past_a_hook_by_its_bits(simple, bits):
    """The client and the upstream both know the extension, and would let it hide a message from the hook."""
    made = simple(RECIPE + HOOKS["message"], http=MAP)

    def program(connection):
        request = connection.next_request()
        offered = request.get("sec-websocket-extensions") or ""
        accepted = ", ".join(name for name in ("permessage-deflate", "x-bits") if name in offered)
        connection.send(switching(headers=[extensions(accepted)]))
        connection.tunnelled = connection.read_rest()

    made.backend.program = program
    with Client(made.port) as client:
        client.send(handshake(headers=[extensions("permessage-deflate, x-bits")]))
        head = client.read_response_head()
        assert (head.status, head.get("sec-websocket-extensions")) == (101, "permessage-deflate")
        packer = zlib.compressobj(wbits=-15)
        packed = (packer.compress(b"first") + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        client.send(marked(packed, 0x40, masked=True))
        log_of(made, "seen first")
        client.send(marked(packed, bits, masked=True))
        assert close_code(client) == 1002
    assert made.logs().count("seen ") == 1


def test_what_the_configuration_offers_goes_by(opened):
    """Whoever offers an extension by `proxy_set_header` beside a hook has decided that its messages are not seen."""
    client, head, made = opened(
        HOOKS["message"] + "proxy_set_header Sec-WebSocket-Extensions $http_sec_websocket_extensions;",
        [extensions("x-bits")], [extensions("x-bits")])
    assert (head.status, head.get("sec-websocket-extensions")) == (101, "x-bits")
    client.send(marked(b"hidden", 0x20, masked=True))
    wait_for(lambda: b"" != getattr(made.backend.connections[-1], "tunnelled", b""), what="the message")
    assert "seen" not in made.logs()


def test_a_tunnel_with_an_extension_does_not_move_to_where_it_would_be_looked_at(simple, tmp_path):
    plugin = tmp_path / "p.lua"
    plugin.write_text("return { open = function(flow) flow.ctx.n = 1 end }")
    made = simple(RECIPE + f"plugin {plugin};", http=MAP)

    def program(connection):
        connection.next_request()
        connection.send(switching(headers=[extensions("x-bits")]))
        connection.sock.settimeout(None)
        while connection.buffer or connection.fill():
            data = bytes(connection.buffer)
            connection.buffer.clear()
            made.received.append(data)

    made.received = []
    made.backend.program = program
    with Client(made.port) as client:
        client.send(handshake(headers=[extensions("x-bits")]))
        assert client.read_response_head().get("sec-websocket-extensions") == "x-bits"
        plugin.write_text(
            "return { open = function(flow) end, message = function(flow, msg) sy.log.warn('seen') return false end }")
        made.reload()
        for bits in (0x20, 0):
            client.send(marked(os.urandom(8).hex().encode(), bits, masked=True))
            wait_for(lambda: len(made.received) > (bits == 0), what="the message")
    assert "seen" not in made.logs()
