"""`listen … proxy_protocol`: what a balancer in front says of the client, in text and in binary."""

import socket
import ssl
import struct
import subprocess

import pytest

from harness import ports, tls
from harness.http2 import HTTP2Client
from harness.proxy import whole
from harness.websocket import MAP, RECIPE, echoing, frame, handshake
from harness.wire import Client, wait_for

SHOWN = "$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port"
LOG = f"log_format seen '$remote_addr {SHOWN}'; access_log <dir>/access.log seen;"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TEXT = b"PROXY TCP4 203.0.113.9 198.51.100.7 40000 443\r\n"


def binary(addresses, command=1, version=2, family=0x11, more=b""):
    payload = addresses + more
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack("!H", len(payload)) + payload


def addresses(client, server, family=socket.AF_INET):
    return socket.inet_pton(family, client) + socket.inet_pton(family, server) + struct.pack("!HH", 40000, 443)


IPV4 = addresses("203.0.113.9", "198.51.100.7")
IPV6 = addresses("2001:db8::9", "2001:db8::7", socket.AF_INET6)


def server(text="", listen=""):
    return f'server {{ listen 127.0.0.1:<port> proxy_protocol {listen}; {text} location / {{ return 200 "$remote_addr {SHOWN}"; }} }}'


def fetch(made, header, target="/"):
    with Client(made.port) as client:
        client.send(header + f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return client.read_response().text


@pytest.mark.parametrize("header, expected", [
    (TEXT, "203.0.113.9|40000|198.51.100.7|443"),
    (b"PROXY TCP6 2001:db8::9 2001:DB8::7 1 65535\r\n", "2001:db8::9|1|2001:DB8::7|65535"),
    (b"PROXY UNKNOWN\r\n", "|||"),
    (b"PROXY UNKNOWN what ever this is\r\n", "|||"),
    (binary(IPV4), "203.0.113.9|40000|198.51.100.7|443"),
    (binary(IPV6, family=0x21), "2001:db8::9|40000|2001:db8::7|443"),
    (binary(IPV4, more=b"\x02\x00\x03abc"), "203.0.113.9|40000|198.51.100.7|443"),
    (binary(b"", command=0), "|||"),
    (binary(IPV4, command=0), "|||"),
    (binary(b"", family=0), "|||"),
    (binary(b"x" * 216, family=0x31), "|||"),
    (binary(IPV4, family=0x12), "|||"),
], ids=range(12))
def test_a_header_says_who_the_client_is(proxy, header, expected):
    made = proxy(server())
    assert fetch(made, header) == f"127.0.0.1 {expected}"


@pytest.mark.parametrize("header, message", [
    (b"", 'broken header: "GET / HTTP/1.1'),
    (b"PROXY TCP5 203.0.113.9 198.51.100.7 40000 443\r\n", 'broken header: "PROXY TCP5 203.0.113.9 198.51.100.7 40000 443'),
    (b"PROXY TCP4 203.0.113.9 198.51.100.7 65536 443\r\n", "broken header"),
    (b"PROXY TCP4 203.0.113.9 198.51.100.7 40000 443 \r\n", "broken header"),
    (b"PROXY TCP4 203.0.113.9 198.51.100.7 40000\r\n", "broken header"),
    (b"PROXY TCP4 somebody 198.51.100.7 40000 443\r\n", "broken header"),
    (b"PROXY TCP4 203.0.113.9 198.51.100.7 40000 443\n", "broken header"),
    (binary(IPV4, version=1), "unknown PROXY protocol version: 1"),
    (binary(IPV4, version=3), "unknown PROXY protocol version: 3"),
    # nginx takes other commands for no addresses, which the specification tells it not to.
    pytest.param(binary(IPV4, command=2), "unknown PROXY protocol command: 2", marks=pytest.mark.switchyard_only),
], ids=range(10))
def test_another_beginning_ends_the_connection(proxy, header, message):
    made = proxy(server())
    with Client(made.port) as client:
        client.send(header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.is_closed()
    where = f" while reading PROXY protocol, client: 127.0.0.1, server: 127.0.0.1:{made.port}"
    wait_for(lambda: message in made.log() and where in made.log(), what="the line in the log")


def value(kind, content):
    return struct.pack("!BH", kind, len(content)) + content


def crc32c(data):
    """By its polynomial, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def checked(more, spoil=0):
    header = binary(IPV4, more=value(3, bytes(4)) + more)
    place = len(binary(IPV4)) + 3
    return header[:place] + struct.pack("!I", crc32c(header) ^ spoil) + header[place + 4:]


VALUES = (
    value(0x01, b"h2") + value(0x02, b"sni.example") + value(0x05, b"unique") + value(0x30, b"blue")
    + value(0x20, b"\x07" + struct.pack("!I", 19) + value(0x21, b"TLSv1.3") + value(0x22, b"Client A")
            + value(0x23, b"AES") + value(0x24, b"SHA256") + value(0x25, b"RSA2048") + value(0xE3, b"inner"))
    + value(0xEA, b"vpce-1") + value(0xEE, b"\xff\n\0"))
NAMES = ("alpn", "authority", "unique_id", "netns", "ssl_verify", "ssl_version", "ssl_cn", "ssl_cipher", "ssl_sig_alg",
         "ssl_key_alg", "ssl_0xe3", "0xea", "0xef", "0x22")
EXPECTED = "h2|sni.example|unique|blue|19|TLSv1.3|Client A|AES|SHA256|RSA2048|inner|vpce-1||"


def valued():
    shown = "|".join("$proxy_protocol_tlv_" + name for name in NAMES)
    return (f"log_format seen escape=default '{shown} $proxy_protocol_tlv_0xee'; access_log <dir>/access.log seen;"
            f'server {{ listen 127.0.0.1:<port> proxy_protocol http2; location / {{ return 200 "{shown}"; }}'
            ' location /unknown { return 200 "$proxy_protocol_tlv_what|$proxy_protocol_tlv_0xno"; } }')


@pytest.mark.switchyard_only  # nginx has these since 1.23.2.
@pytest.mark.parametrize("header, expected", [
    (binary(IPV4, more=VALUES), EXPECTED),
    (binary(IPV6, family=0x21, more=VALUES), EXPECTED),
    (checked(VALUES), EXPECTED),
    (binary(IPV4), "|" * 13),
    (TEXT, "|" * 13),
    (binary(IPV4, command=0, more=VALUES), "|" * 13),
    (b"PROXY UNKNOWN\r\n", "|" * 13),
], ids=range(7))
def test_values_of_a_header(proxy, header, expected):
    made = proxy(valued())
    assert fetch(made, header) == expected
    other = "\\xFF\\x0A\\x00" if expected == EXPECTED else "-"
    shown = "|".join(part or "-" for part in expected.split("|"))
    assert made.log_lines("access.log", 1) == [f"{shown} {other}"]


@pytest.mark.switchyard_only
def test_streams_have_values_of_a_header(proxy):
    made = proxy(valued())
    with HTTP2Client(made.port, greet=False) as client:
        client.socket.sendall(checked(VALUES))
        client.connection.initiate_connection()
        client.flush()
        for _ in range(2):
            assert client.fetch("/").body == EXPECTED.encode()


@pytest.mark.switchyard_only
def test_names_that_stand_for_no_value(proxy):
    made = proxy(valued())
    assert fetch(made, binary(IPV4, more=VALUES), "/unknown") == "|"
    for words in ('[error]', 'unknown PROXY protocol TLV "what"', 'invalid PROXY protocol TLV "0xno"'):
        assert words in made.log()


@pytest.mark.switchyard_only  # nginx sees it when it is asked for a value, and goes on.
@pytest.mark.parametrize("header, message", [
    (binary(IPV4, more=VALUES[:-1]), "broken PROXY protocol TLV"),
    (binary(IPV4, more=VALUES + b"\1"), "broken PROXY protocol TLV"),
    (binary(IPV4, more=value(0x20, b"\7\0\0\0")), "broken PROXY protocol TLV"),
    (checked(VALUES, spoil=1), "wrong checksum of PROXY protocol header"),
], ids=range(4))
def test_broken_values_end_the_connection(proxy, header, message):
    made = proxy(valued())
    with Client(made.port) as client:
        client.send(header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.is_closed()
    wait_for(lambda: message + " while reading PROXY protocol" in made.log(), what="the line in the log")


@pytest.mark.switchyard_only  # nginx takes what is of no use for no addresses.
def test_a_header_too_short_for_its_addresses(proxy):
    made = proxy(server())
    with Client(made.port) as client:
        client.send(binary(IPV4[:8]))
        assert client.is_closed()
    assert "header is too short for its addresses" in made.log()


@pytest.mark.switchyard_only  # To nginx, what comes first is all of the header.
@pytest.mark.parametrize("header", [TEXT, binary(IPV4, more=b"\x02\x00\x03abc")], ids=["text", "binary"])
def test_a_header_byte_by_byte(proxy, header):
    made = proxy(server())
    with Client(made.port) as client:
        for byte in header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n":
            client.send(bytes([byte]))
        assert client.read_response().text.startswith("127.0.0.1 203.0.113.9|40000|")
        assert client.fetch("/").text.startswith("127.0.0.1 203.0.113.9|40000|")


def test_a_header_that_does_not_come(proxy):
    made = proxy(server("client_header_timeout 1s;"))
    with Client(made.port) as client:
        client.send(b"PROXY TCP4 ")
        assert client.is_closed(within=5)
    with Client(made.port) as client:
        assert client.is_closed(within=5)


def test_the_real_address(proxy):
    made = proxy(LOG + server(
        "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"
        "location /port { return 200 $remote_addr:$remote_port|$realip_remote_addr; }"
        "location /other { set_real_ip_from 192.0.2.1; return 200 $remote_addr; }"))
    assert fetch(made, TEXT, "/port") == "203.0.113.9:40000|127.0.0.1"
    assert fetch(made, binary(IPV6, family=0x21), "/port") == "2001:db8::9:40000|127.0.0.1"
    assert fetch(made, b"PROXY UNKNOWN\r\n").startswith("127.0.0.1 ")
    assert made.log_lines("access.log", 3)[0] == "203.0.113.9 203.0.113.9|40000|198.51.100.7|443"


def test_an_address_of_somebody_who_is_not_trusted(proxy):
    made = proxy(server("set_real_ip_from 192.0.2.1; real_ip_header proxy_protocol;"))
    assert fetch(made, TEXT).startswith("127.0.0.1 203.0.113.9|")


@pytest.mark.parametrize("header", [TEXT, binary(IPV4)], ids=["text", "binary"])
def test_before_tls(proxy, rsa, authority, header):
    made = proxy(tls.server(rsa, listen="proxy_protocol").replace(tls.FACTS, "$scheme " + SHOWN))
    with socket.create_connection(("127.0.0.1", made.port), 10) as raw:
        raw.sendall(header)
        with tls.context(authority).wrap_socket(raw, server_hostname="localhost") as sock:
            assert tls.ask(sock).text == "https 203.0.113.9|40000|198.51.100.7|443"


def test_tls_without_it(proxy, rsa, authority):
    made = proxy(tls.server(rsa, listen="proxy_protocol"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls.get(made.port, tls.context(authority))
    assert "broken header" in made.log()


def test_streams_have_it(proxy):
    made = proxy(server(listen="http2"))
    with HTTP2Client(made.port, greet=False) as client:
        client.socket.sendall(TEXT)
        client.connection.initiate_connection()
        client.flush()
        for _ in range(2):
            assert client.fetch("/").body == b"127.0.0.1 203.0.113.9|40000|198.51.100.7|443"


def test_a_websocket_has_it(proxy, backend):
    backend.program = echoing()
    made = proxy(
        MAP + LOG + "server { listen 127.0.0.1:<port> proxy_protocol; location / { proxy_pass http://<backend>; "
        "proxy_http_version 1.1; " + RECIPE + " } }", values={"backend": backend})
    with Client(made.port) as client:
        client.send(TEXT + handshake())
        assert client.read_response().status == 101
        message = frame(b"hello", masked=True)
        client.send(message)
        assert client.read_exactly(len(message)) == message
    assert made.log_lines("access.log", 1) == ["127.0.0.1 203.0.113.9|40000|198.51.100.7|443"]


def test_one_listen_of_an_address_is_enough(proxy):
    made = proxy(
        "server { listen 127.0.0.1:<port>; return 200 $proxy_protocol_addr; }"
        "server { listen 127.0.0.1:<port> proxy_protocol; server_name other; }")
    assert fetch(made, TEXT) == "203.0.113.9"


def test_a_listener_without_it_refuses_it(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; return 200 ok; }")
    with Client(made.port) as client:
        client.send(TEXT + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 400


def test_curl_sends_it(proxy):
    made = proxy(server())
    answer = subprocess.run(
        ["curl", "-sS", "--haproxy-protocol", f"http://127.0.0.1:{made.port}/"], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("127.0.0.1 127.0.0.1|") and answer.stdout.endswith(f"|127.0.0.1|{made.port}")


@pytest.mark.switchyard_only
def test_a_reload_brings_it(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; return 200 plain; }")
    with Client(made.port) as kept:
        assert kept.fetch("/").text == "plain"
        made.reload(whole("server { listen 127.0.0.1:<port> proxy_protocol; return 200 $proxy_protocol_addr; }"))
        wait_for(lambda: fetch(made, TEXT) == "203.0.113.9", what="the reload")
        assert kept.fetch("/").text == ""
