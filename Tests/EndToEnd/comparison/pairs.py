"""Pairs of configuration and request. Each section is a server of its own, named for the section.

In a section's text stand `<backend>`, `<other>` (a second backend), `<dead>` (a port nobody listens at),
`<socket>` (a backend's UNIX socket) and `<port>`, the proxy's own.
"""

import base64
import random
import re
from dataclasses import dataclass, field

from harness.backend import CLOSE, chunked, reply

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass
class Pair:
    """Requests sent on one connection, and what the backend answers to each that reaches it."""

    name: str
    data: bytes
    answer: object
    methods: list = field(default_factory=lambda: ["GET"])
    #: What the other backends answer, where that differs.
    other: object = None


@dataclass
class Section:
    """`server` is the text of its server block, `http` stands before it. With `logs`, what the access log says of each
    pair is compared as well."""

    name: str
    server: str
    pairs: list
    http: str = ""
    listen: str = ""
    logs: bool = False

    @property
    def text(self):
        return f"{self.http}\nserver {{\n    listen 127.0.0.1:<port>{self.listen};\n    server_name {self.name}.test;\n{self.server}\n}}\n"


PLAIN = reply(200, b"ok", [("Content-Type", "text/plain")])


def ask(name, target="/", headers=(), method="GET", body=b"", answer=PLAIN, version="1.1", host=True, other=None):
    """A well-formed request; `host` True stands for the section's name, None for no Host."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append("Host: HOST" if host is True else f"Host: {host}")
    lines += [f"{key}: {value}" for key, value in headers]
    sent = {key.lower() for key, _ in headers}
    if body and not sent & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return Pair(name, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, answer, [method], other)


def raw(name, data, answer=PLAIN, methods=("GET",)):
    """Bytes as they are; `HOST` becomes the section's name."""
    return Pair(name, data, answer, list(methods))


def refused(name, fault, method=b"GET", target=b"/a%20b?q=1", version=b"1.1", host=b"HOST"):
    """A request with a faulty line behind good ones."""
    head = b"%s %s HTTP/%s\r\nHost: %s\r\nUser-Agent: ua\r\nReferer: r\r\nCookie: c=d\r\n" % (
        method, target, version, host)
    return raw(name, head + fault + b"\r\n", methods=[method.decode()])


def limits(name, target, count, fields=(), key=True, answer=PLAIN):
    """So many requests on one connection, with a key of their own unless the target has one."""
    if key:
        target += ("&" if "?" in target else "?") + "k=" + re.sub(r"\W+", "-", name)
    fields = list(fields) or [""] * count
    lines = [f"GET {target} HTTP/1.1\r\nHost: HOST\r\n" + (field and field + "\r\n") for field in fields]
    return raw(name, "\r\n".join([*lines, ""]).encode(), answer, ["GET"] * count)


def upgrade(name, target="/", answer=None, headers=(), version="13", connection="Upgrade", other=None):
    """A WebSocket handshake."""
    fields = [
        ("Connection", connection), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", version),
        ("Sec-WebSocket-Key", KEY), *headers]
    return ask(name, target, fields, answer=SWITCHING if answer is None else answer, other=other)


SWITCHING = [
    (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {ACCEPT}\r\nX-From: backend\r\n\r\n").encode(), CLOSE]


def accel(name, *arguments, **further):
    """A request whose answer leads to the other backend, which answers by a page of its own."""
    return ask(name, *arguments, other=PAGE, **further)


PAGE = reply(203, b"page", [("Content-Type", "text/x-page"), ("Cache-Control", "public"), ("X-Page", "1")])
CHUNKED = reply(200, chunked(b"one", b"two"), [("Transfer-Encoding", "chunked")], length=False)
BROWSER = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"), ("Accept", "text/html,*/*;q=0.8"),
    ("Accept-Language", "en,de;q=0.5"), ("Accept-Encoding", "gzip, deflate, br"), ("Connection", "keep-alive"),
    ("Cookie", "a=1; b=2"), ("Upgrade-Insecure-Requests", "1"), ("Cache-Control", "max-age=0")]

def credentials():
    """Values of Authorization, for the user `ann` with `{PLAIN}secret`; nothing for no such field."""
    good = base64.b64encode(b"ann:secret").decode()
    return [
        "", f"Basic {good}", f"basic {good}", f"BASIC   {good}", f"Basic {good}=", f"Basic{good}", f"Basic {good} x", "Basic",
        "Basic ", "Basic !!", "Bearer x",
        *["Basic " + base64.b64encode(text).decode() for text in (
            b"ann:", b"ann", b":secret", b"ann:secret\0x", b"ann:secret:x", b"Ann:secret", b"bob:secret", b"an:secret",
            b"ann:Secret", b"eve:secret", b"#eve:x", b"ann\xc3\xa9:secret", b"fay:", b"gil:a", b"\0:x")]]


def addresses():
    """Texts that are addresses, or nearly."""
    numbers = random.Random(1)
    parts = ["0", "1", "255", "256", "a", "ffff", "12345", "1.2.3.4", "", "::", ":", ":", ":", ":", ".", "[", "]", "x", "%", "-1"]
    texts = [
        "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65535", "1.2.3.4:65536", "1.2.3.4:", "1.2.3.4:0080", "1.2.3", "1.2.3.4.5", "1.2.3.256",
        "1..2.03", "...", "255.255.255.255", "255.255.255.254", "[1.2.3.4]:5", "::1", "[::1]", "[::1]:80", "[::1]:", "[::1", "[]:80",
        "::", "2001:DB8:0:0:1:0:0:1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::",
        "1:2:3:4:5:6:7:8::", "::2:3:4:5:6:7:8", "1::2::3", ":1:2:3:4:5:6:7:8", "1:2", ":", "12345::", "g::", "::ffff:1.2.3.4",
        "64:ff9b::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "1.2.3.4::", "::102", "::1:2", "::201", "0:1::",
        "1::", "0:0:1:0:0:0:1:0", "1:0:0:2:0:0:3:0", "fe80::1%eth0", "unix:", "unix:/a", "", "localhost", "::ffff:0:0", "1:0:2:3:4:5:6:7"]
    texts += ["".join(numbers.choice(parts) for _ in range(numbers.randint(2, 7))) for _ in range(120)]
    texts += [":".join(numbers.choice(["0", "0", "0", "1", "abcd", "00ff", ""]) for _ in range(numbers.randint(3, 9))) for _ in range(120)]
    return list(dict.fromkeys(texts))


def lists():
    """Values of X-Forwarded-For, on one line or more."""
    numbers = random.Random(2)
    parts = ["1.1.1.1", "2.2.2.2:5", "10.0.0.1", "10.0.0.2:7", "127.0.0.1", "[::1]:80", "::1", "::ffff:10.0.0.1", "nobody"]
    texts = []
    for _ in range(150):
        lines = [
            "".join(numbers.choice(parts) + numbers.choice([", ", ",", " ", " ,, "]) for _ in range(numbers.randint(0, 4)))
            + numbers.choice(parts + ["", ","]) for _ in range(numbers.choice([1, 1, 2, 3]))]
        texts.append(tuple(numbers.choice(["", ","]) + line for line in lines))
    return list(dict.fromkeys(texts))


def cookies():
    """Values of Set-Cookie, plain and odd."""
    numbers = random.Random(3)
    names = ["Domain", "domain", "DOMAIN ", "Path", " path", "Secure", "secure", "HttpOnly", "httponly", "SameSite", "samesite", "x", "", "Max-Age"]
    values = [
        "=a.test", "=.a.test", "= .A.Test", "=x.a.test", "=/", "=/a/b", "=/A/b", "=/one/two", "=Strict", "=none", "=", "", "", " = a.test ",
        "=b.local", "==/", "=/a=b"]
    plain = [
        "one=1", "one", "=1", "", ";", "one=1;", "one=1; Domain=a.test; Path=/a/b; Secure; HttpOnly; SameSite=Lax",
        "Domain=a.test", "Path=/a", "two=2; Domain=.a.test", "secure=1; secure", "three=3;Path=/a;Path=/b;Domain=a.test;Domain=b.local",
        "four = 4 ; path = /a/ ; x = y ", "ONE=1; SECURE; SECURE", "one=1, two=2; Path=/a"]
    for _ in range(90):
        parts = [numbers.choice(["one=1", "ONE=1", "two=2", "three", "lax=3", "s=", " one = 1 "])]
        parts += [numbers.choice(names) + numbers.choice(values) for _ in range(numbers.randint(0, 5))]
        plain.append(numbers.choice(["; ", ";", " ; "]).join(parts))
    return list(dict.fromkeys(plain))


def bakes(name, target="/", *fields, **further):
    """A request whose answer sets cookies."""
    return ask(name, target, answer=reply(200, b"ok", [("Set-Cookie", field) for field in fields]), **further)


SECTIONS = [
    Section("defaults", "location / { proxy_pass http://<backend>; }", [
        ask("a bare request"),
        ask("a browser's request", "/index.html?q=1", BROWSER),
        ask("a form", "/form", [("Content-Type", "application/x-www-form-urlencoded")], "POST", b"a=1&b=2"),
        ask("a chunked body becomes one with a length", "/", [("Transfer-Encoding", "chunked")], "POST",
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        ask("an empty body", "/", [("Content-Length", "0")], "POST"),
        ask("HEAD", method="HEAD", answer=reply(200, b"", [("Content-Length", "7")], length=False)),
        ask("OPTIONS", method="OPTIONS"),
        ask("DELETE with a body", method="DELETE", body=b"which"),
        ask("a method nobody knows", method="FROBNICATE"),
        ask("HTTP/1.0", version="1.0"),
        ask("HTTP/1.0 with keep-alive", version="1.0", headers=[("Connection", "keep-alive")]),
        ask("fields of one name", headers=[("X-A", "1"), ("x-a", "2"), ("X-B", ""), ("X-A", "3")]),
        ask("several Cookie fields", headers=[("Cookie", "a=1"), ("Cookie", "b=2")]),
        ask("names with underscores are dropped", headers=[("X_Under", "1"), ("X-Dash", "2")]),
        ask("bytes above ASCII in a value", headers=[("X-Name", "gr\xc3\xbc\xc3\x9fe \xff")]),
        ask("white space around a value", headers=[("X-Space", "  two  words \t")]),
        ask("Keep-Alive and TE", headers=[("Keep-Alive", "timeout=5"), ("TE", "trailers")]),
        ask("Proxy-Connection", headers=[("Proxy-Connection", "keep-alive")]),
        ask("Expect", "/", [("Expect", "100-continue")], "POST", b"body"),
        ask("an absolute target", "http://defaults.test/abs?x", host="elsewhere.test"),
        ask("the path stays as it was written", "/a%2Fb/%7Euser/./x//y?z=%20&w"),
        ask("dots that lead above the root", "/../x"),
        ask("an encoded NUL", "/a%00b"),
        ask("Authorization passes", headers=[("Authorization", "Basic QTpC")]),
        ask("Range passes", headers=[("Range", "bytes=0-1"), ("If-Range", '"e"')]),
        raw("bare line feeds end lines", b"GET /lf HTTP/1.1\nHost: HOST\nX-A: 1\n\n"),
        raw("an empty line before the request", b"\r\nGET / HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("two pipelined requests", b"GET /1 HTTP/1.1\r\nHost: HOST\r\n\r\nGET /2 HTTP/1.1\r\nHost: HOST\r\n\r\n",
            methods=("GET", "GET")),
    ]),
    Section("hop", "location / { proxy_pass http://<backend>; proxy_http_version 1.1; }", [
        ask("a field that Connection nominates", headers=[("Connection", "X-Hop"), ("X-Hop", "1"), ("X-Stay", "2")]),
        ask("Upgrade without a configuration for it", headers=[("Connection", "Upgrade"), ("Upgrade", "websocket")]),
        ask("a response's nominated field", answer=reply(200, b"ok", [("Connection", "X-Hop"), ("X-Hop", "1")])),
        ask("Trailer", headers=[("Trailer", "X-Sum")]),
    ]),
    Section("uri", """
        location /api/ { proxy_pass http://<backend>/v1/; }
        location /cut { proxy_pass http://<backend>/base; }
        location = /exact { proxy_pass http://<backend>/other?fixed=1; }
        location /same/ { proxy_pass http://<backend>; }
        location ~ ^/user/(\\d+)$ { proxy_pass http://<backend>/u/$1$is_args$args; }
        location /var/ { proxy_pass http://<backend>$request_uri; }
        location /slash/ { proxy_pass http://<backend>/; }
        location /unix/ { proxy_pass http://unix:<socket>:/inside/; }
    """, [
        ask("the prefix is replaced", "/api/users?id=5"),
        ask("escapes are written anew", "/api/a%20b/%C3%BC%2Fc%3F?q=%20"),
        ask("dot segments are removed before", "/api/x/../y/./z"),
        ask("slashes are merged before", "/api//x///y"),
        ask("a prefix without slashes", "/cutting/edge"),
        ask("an exact location", "/exact?a=b"),
        ask("no URI leaves the path", "/same/%41//b"),
        ask("captures make the path", "/user/42?full"),
        ask("variables make the path", "/var/%41?x=%20"),
        ask("a single slash as URI", "/slash/deep/er"),
        ask("a UNIX socket", "/unix/x?y"),
        ask("a slash is added by a redirect", "/api"),
        ask("a slash is added and arguments stay", "/slash?a=1"),
    ]),
    Section("keepalive", """
        location / { proxy_pass http://pool; proxy_http_version 1.1; proxy_set_header Connection ""; }
        location /stream { proxy_pass http://pool; proxy_http_version 1.1; proxy_request_buffering off; }
    """, [
        ask("no Connection field is sent", headers=[("Connection", "keep-alive")]),
        ask("the upstream's name is the Host", "/x"),
        ask("a chunked body has a length when buffered", "/", [("Transfer-Encoding", "chunked")], "PUT",
            b"3\r\nabc\r\n0\r\n\r\n"),
        ask("a chunked body stays chunked when not", "/stream", [("Transfer-Encoding", "chunked")], "PUT",
            b"3\r\nabc\r\n0\r\n\r\n"),
        ask("a chunked response", answer=CHUNKED),
    ], http="upstream pool { server <backend>; keepalive 4; }"),
    Section("fields", """
        proxy_set_header X-Server "server level";
        location / { proxy_pass http://<backend>; }
        location /own {
            proxy_pass http://<backend>;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header Accept-Encoding "";
            proxy_set_header User-Agent "fixed agent";
        }
        location /http-host { proxy_pass http://<backend>; proxy_set_header Host $http_host; }
        location /empty { proxy_pass http://<backend>; proxy_set_header X-Empty $arg_nothing; }
        location /no-fields { proxy_pass http://<backend>; proxy_pass_request_headers off; }
        location /no-body { proxy_pass http://<backend>; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
        location /body { proxy_pass http://<backend>; proxy_set_body "$request_method of $arg_a"; }
        location /method { proxy_pass http://<backend>; proxy_method PUT; }
    """, [
        ask("fields of the outer level are inherited"),
        ask("fields of the location replace them", "/own", [("Accept-Encoding", "gzip"), ("User-Agent", "mine")]),
        ask("X-Forwarded-For is appended to", "/own", [("X-Forwarded-For", "192.0.2.1"), ("X-Real-IP", "spoofed")]),
        ask("several X-Forwarded-For", "/own", [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "192.0.2.2")]),
        ask("$http_host as it was written", "/http-host", host="FIELDS.test:81"),
        ask("$host in lower case without port", "/own", host="FIELDS.test:81"),
        ask("an empty value leaves the field out", "/empty", [("X-Empty", "from the client")]),
        ask("fields are not passed", "/no-fields", [("X-A", "1")]),
        ask("the body is not passed", "/no-body", [("X-A", "1")], "POST", b"body"),
        ask("a body of the configuration's", "/body?a=b", [("Content-Type", "text/plain")], "POST", b"body"),
        ask("a method of the configuration's", "/method"),
    ]),
    Section("recipe", """
        location / {
            proxy_pass http://<backend>;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
        location /fixed {
            proxy_pass http://<backend>;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
        }
    """, [
        upgrade("a WebSocket handshake"),
        upgrade("a browser's handshake", headers=[
            ("Origin", "http://recipe.test"), ("Sec-WebSocket-Extensions", "permessage-deflate"),
            ("Sec-WebSocket-Protocol", "chat"), ("Pragma", "no-cache"), ("Cookie", "a=1")]),
        upgrade("Connection with other options", connection="keep-alive, Upgrade"),
        upgrade("the fixed recipe's handshake", "/fixed/room?x=1"),
        upgrade("a refused handshake", answer=reply(403, b"no", [("Content-Type", "text/plain")])),
        upgrade("a wrong version", version="12", answer=reply(426, b"", [("Sec-WebSocket-Version", "13")])),
        ask("an ordinary request", "/page"),
        ask("an ordinary request and the fixed recipe", "/fixed/page"),
        ask("a POST through the recipe", "/page", [], "POST", b"hello"),
    ], http="map $http_upgrade $connection_upgrade { default upgrade; '' close; }"),
    Section("answers", """
        proxy_http_version 1.1;
        location / { proxy_pass http://<backend>; }
        location /hide { proxy_pass http://<backend>; proxy_hide_header X-Secret; proxy_pass_header X-Pad; }
        location /add {
            proxy_pass http://<backend>;
            add_header X-Added "$upstream_http_x_one";
            add_header X-Always yes always;
            add_header X-Empty $arg_nothing;
        }
        location /expires { proxy_pass http://<backend>; expires epoch; }
        location /modified { proxy_pass http://<backend>; expires modified $arg_x; }
        location /forever { proxy_pass http://<backend>; expires max; }
        location /redirect/ { proxy_pass http://<backend>/inner/; }
        location /redirect-off/ { proxy_pass http://<backend>/inner/; proxy_redirect off; }
        location /redirect-own/ {
            proxy_pass http://<backend>/inner/;
            proxy_redirect http://old.test/ https://new.test/;
            proxy_redirect ~^http://([a-z]+)\\.local/(.*)$ http://$1.public/$2;
        }
        location /intercept {
            proxy_pass http://<backend>;
            proxy_intercept_errors on;
            error_page 404 /missing;
            error_page 503 =200 /missing;
        }
        location = /missing { return 200 "not here"; }
        location /plain { proxy_pass http://<backend>; proxy_intercept_errors on; }
    """, [
        ask("the fields of a response", answer=reply(200, b"ok", [
            ("X-One", "1"), ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("ETag", '"x"'),
            ("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT"), ("Cache-Control", "no-store"),
            ("Content-Type", "text/html; charset=utf-8"), ("Vary", "Accept"), ("X-Powered-By", "py")])),
        ask("X-Accel-* and X-Pad are hidden", answer=reply(200, b"ok", [("X-Accel-Expires", "1"), ("X-Pad", "p")])),
        ask("hidden and shown by the configuration", "/hide", answer=reply(200, b"ok", [
            ("X-Secret", "1"), ("X-Pad", "p"), ("X-Open", "2")])),
        ask("a status with a reason of its own", answer=reply(418, b"short", reason="I am a teapot")),
        ask("a status without a reason", answer=b"HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nok"),
        ask("204", answer=reply(204)),
        ask("304", answer=reply(304, headers=[("ETag", '"x"')])),
        ask("a body until the end of the connection", answer=[reply(200, b"to the end", length=False), CLOSE]),
        ask("a body until the end for HTTP/1.0", answer=[reply(200, b"to the end", length=False), CLOSE], version="1.0"),
        ask("a chunked response for HTTP/1.0", answer=CHUNKED, version="1.0"),
        ask("a response of HTTP/1.0", answer=[reply(200, b"ok", version="1.0"), CLOSE]),
        ask("an empty response", answer=reply(200, b"")),
        ask("fields are added", "/add", answer=reply(200, b"ok", [("X-One", "1")])),
        ask("fields are added to an error", "/add", answer=reply(404, b"no", [("X-One", "1")])),
        ask("expires epoch", "/expires"),
        ask("expires max", "/forever"),
        *[ask(f"expires modified by a variable, {value or 'empty'}", f"/modified?x={value}",
              answer=reply(200, b"x", [("Last-Modified", "Mon, 28 Sep 2020 06:00:00 GMT")]))
          for value in ("1h", "-1h", "@1h", "max", "off", "")],
        ask("Location is rewritten", "/redirect/x", answer=reply(302, b"", [("Location", "http://<backend>/inner/y?z")])),
        ask("a foreign Location stays", "/redirect/x", answer=reply(302, b"", [("Location", "http://other.test/inner/")])),
        ask("Location with proxy_redirect off", "/redirect-off/x",
            answer=reply(302, b"", [("Location", "http://<backend>/inner/y")])),
        ask("Location by a configured text", "/redirect-own/x",
            answer=reply(301, b"", [("Location", "http://old.test/path")])),
        ask("two Location fields", "/redirect-own/x", answer=reply(302, b"", [
            ("Location", "http://old.test/a"), ("Location", "http://other.test/"), ("Location", "http://old.test/b")])),
        ask("Location by a configured pattern", "/redirect-own/x",
            answer=reply(301, b"", [("Location", "http://shop.local/path?q")])),
        ask("Refresh is rewritten", "/redirect/x", answer=reply(200, b"", [("Refresh", "5; url=http://<backend>/inner/y")])),
        ask("an intercepted error", "/intercept", answer=reply(404, b"backend's own")),
        ask("an intercepted error with another status", "/intercept", answer=reply(503, b"backend's own")),
        ask("an error that error_page does not name", "/intercept", answer=reply(500, b"backend's own")),
        ask("intercepting without error_page", "/plain", answer=reply(404, b"backend's own")),
        ask("no response at all", answer=[CLOSE]),
        ask("a response that is none", answer=[b"SMTP ready\r\n\r\n", CLOSE]),
    ]),
    Section("sent", """
        proxy_http_version 1.1;
        location / {
            proxy_pass http://<backend>;
            expires $sent_age;
            add_header Content-Security-Policy $sent_policy;
            add_header X-Seen "$sent_http_content_type|$sent_http_etag|$sent_http_last_modified|$sent_http_x_own";
            add_header X-More "$sent_http_content_length|$sent_http_location|$sent_http_set_cookie|$sent_http_connection";
            add_header X-Caching "$sent_http_expires|$sent_http_cache_control";
            add_header X-Policy-Again $sent_http_content_security_policy;
        }
        location /always { proxy_pass http://<backend>; add_header X-Type $sent_http_content_type always; }
        location /by-own { proxy_pass http://<backend>; expires $sent_http_x_age; }
        location /by-caching { proxy_pass http://<backend>; expires $sent_by_caching; }
        location /text {
            default_type text/html;
            expires $sent_age;
            add_header X-Seen "$sent_http_content_type|$sent_http_content_length|$sent_http_cache_control";
            return 200 "a text";
        }
        location /moved { add_header X-Seen "$sent_http_location|$sent_http_content_type"; return 302 /there?a; }
        location /far { add_header X-Seen "$sent_http_location"; return 302 http://far.test/there; }
    """, [
        ask("a page", answer=reply(200, b"ok", [
            ("Content-Type", "text/html"), ("ETag", '"x"'), ("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT"),
            ("X-Own", "1"), ("Set-Cookie", "a=1")])),
        ask("an image", answer=reply(200, b"ok", [("Content-Type", "image/png"), ("Cache-Control", "private")])),
        ask("a type that turns expires off", answer=reply(200, b"ok", [("Content-Type", "text/plain"), ("Expires", "0")])),
        ask("a redirect of the backend", answer=reply(302, b"", [("Location", "/elsewhere")])),
        ask("a redirect that is rewritten", answer=reply(302, b"", [("Location", "http://<backend>/elsewhere")])),
        ask("chunks", answer=reply(
            200, chunked(b"one"), [("Transfer-Encoding", "chunked"), ("Content-Type", "text/html")], length=False)),
        ask("HEAD", method="HEAD", answer=reply(
            200, b"", [("Content-Length", "7"), ("Content-Type", "text/html")], length=False)),
        ask("an error", "/always", answer=reply(404, b"no", [("Content-Type", "text/plain")])),
        ask("expires by a field", "/by-own", answer=reply(200, b"ok", [("X-Age", "max"), ("Expires", "0")])),
        ask("expires without the field", "/by-own", answer=reply(200, b"ok", [("Expires", "0")])),
        ask("expires by what it replaces", "/by-caching", answer=reply(200, b"ok", [("Cache-Control", "no-store")])),
        ask("a text", "/text"),
        ask("a redirect", "/moved"),
        ask("a redirect to a whole URL", "/far"),
    ], http="""
        map $sent_http_content_type $sent_age { default off; ~text/html epoch; ~image/ max; }
        map $sent_http_content_type $sent_policy { ~text/html "default-src 'self'"; }
        map $sent_http_cache_control $sent_by_caching { no-store epoch; default max; }
    """),
    Section("challenge", """
        proxy_http_version 1.1;
        proxy_intercept_errors on;
        error_page 404 /page-text;
        location /page { proxy_pass http://<backend>; error_page 401 /page-text; }
        location /proxied { proxy_pass http://<backend>; error_page 401 /page-proxied; }
        location /named { proxy_pass http://<backend>; error_page 401 @named; }
        location /as-named { proxy_pass http://<backend>; error_page 401 = @named; }
        location /as-200 { proxy_pass http://<backend>; error_page 401 =200 /page-text; }
        location /away { proxy_pass http://<backend>; error_page 401 http://login.test/; }
        location /other-status { proxy_pass http://<backend>; error_page 403 /page-text; }
        location /hidden { proxy_pass http://<backend>; proxy_hide_header WWW-Authenticate; error_page 401 /page-text; }
        location = /page-text { return 200 "log in"; }
        location = /page-proxied { proxy_pass http://<other>; }
        location @named { proxy_pass http://<other>; }
    """, [
        ask(f"{status} {path}", f"/{path}", answer=reply(status, b"own", [
            ("WWW-Authenticate", 'Basic realm="here"'), ("X-Own", "1")]))
        for path in ("page", "proxied", "named", "as-named", "as-200", "away", "hidden")
        for status in (401, 403)
    ] + [ask("another status that is intercepted", "/other-status", answer=reply(403, b"own", [
        ("WWW-Authenticate", 'Basic realm="here"')]))]),
    Section("kept-location", """
        proxy_http_version 1.1;
        error_page 302 /text;
        location /text-as { error_page 302 =404 /text; return 302 /x; }
        location /status { error_page 301 @status; return 301 /x; }
        location /named { error_page 301 =200 @named; return 301 http://away.test/x; }
        location /rewritten { error_page 302 =404 @named; rewrite ^ /x?y redirect; }
        location /again { error_page 302 /redirect; return 302 /x; }
        location /relative { absolute_redirect off; error_page 302 =200 @named; return 302 /x; }
        location = /text { return 200 "text"; }
        location = /redirect { return 301 /y; }
        location @status { return 418; }
        location @named { proxy_pass http://<backend>; add_header X-Location $sent_http_location; }
    """, [ask(path, f"/{path}") for path in (
        "text-as", "status", "named", "rewritten", "again", "relative")]),
    Section("accel", """
        proxy_http_version 1.1;
        location / { proxy_pass http://<backend>; }
        location /ignored { proxy_pass http://<backend>; proxy_ignore_headers X-Accel-Redirect; }
        location /shown { proxy_pass http://<backend>; proxy_pass_header X-Accel-Redirect; }
        location /hidden { proxy_pass http://<backend>; proxy_hide_header Set-Cookie; proxy_hide_header Content-Type; }
        location /intercepted { proxy_pass http://<backend>; proxy_intercept_errors on; error_page 403 /inside/page; }
        location /inside/ { internal; add_header X-Uri "$uri?$args"; return 200 "inside $request_method $status"; }
        location /deep/ { internal; proxy_pass http://<other>/files/; }
        location @named { proxy_pass http://<other>; add_header X-Uri "$uri?$args"; }
        location /stray { internal; error_page 404 /inside/missing; return 404; }
    """, [
        accel("a text", "/a?b", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside/x?y=%20z")])),
        accel("a backend", "/a?b", answer=reply(200, b"own", [("X-Accel-Redirect", "/deep/x?y=z")])),
        accel("a named location", "/a?b", answer=reply(200, b"own", [("X-Accel-Redirect", "@named")])),
        accel("a POST", "/a?b", [], "POST", b"body", answer=reply(200, b"own", [("X-Accel-Redirect", "/deep/x")])),
        accel("a POST to a named location", "/a", [], "POST", b"body",
            answer=reply(200, b"own", [("X-Accel-Redirect", "@named")])),
        accel("HEAD", "/a", method="HEAD", answer=reply(200, b"", [("X-Accel-Redirect", "/deep/x")])),
        accel("fields that are carried over", answer=reply(200, b"own", [
            ("X-Accel-Redirect", "/inside/x"), ("Content-Type", "text/x-own"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"),
            ("Content-Disposition", "attachment"), ("Cache-Control", "no-store"), ("Expires", "0"),
            ("Accept-Ranges", "bytes"), ("ETag", '"own"'), ("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT"),
            ("X-Own", "1"), ("Vary", "X"), ("WWW-Authenticate", "Basic"), ("Location", "/x"), ("Link", "y")])),
        accel("fields that are carried over to a backend's", answer=reply(200, b"own", [
            ("X-Accel-Redirect", "/deep/x"), ("Content-Type", "text/x-own"), ("Set-Cookie", "a=1"),
            ("Content-Disposition", "attachment"), ("Cache-Control", "no-store")])),
        accel("fields that are hidden", "/hidden", answer=reply(200, b"own", [
            ("X-Accel-Redirect", "/inside/x"), ("Content-Type", "text/x-own"), ("Set-Cookie", "a=1")])),
        accel("an error's status is not kept", answer=reply(404, b"own", [("X-Accel-Redirect", "/inside/x")])),
        accel("an intercepted error goes first", "/intercepted",
            answer=reply(403, b"own", [("X-Accel-Redirect", "/inside/x")])),
        accel("escapes in the path", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside/a%20b%3Fc?d")])),
        accel("dots in the path", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside/../x")])),
        accel("escaped dots in the path", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside/%2e%2e/x")])),
        accel("two slashes", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside//x")])),
        accel("an empty path", answer=reply(200, b"own", [("X-Accel-Redirect", "")])),
        accel("a bad escape", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside/%zz")])),
        accel("a named location that there is none of", answer=reply(200, b"own", [("X-Accel-Redirect", "@none")])),
        accel("a loop", answer=reply(200, b"own", [("X-Accel-Redirect", "/again")])),
        accel("a location that fails", answer=reply(200, b"own", [("X-Accel-Redirect", "/stray")])),
        accel("ignored", "/ignored", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside/x")])),
        accel("shown", "/shown", answer=reply(200, b"own", [("X-Accel-Redirect", "/inside/x")])),
        accel("a body in chunks", answer=reply(
            200, chunked(b"one"), [("Transfer-Encoding", "chunked"), ("X-Accel-Redirect", "/inside/x")], length=False)),
    ]),
    Section("bodies-of-errors", """
        location /dead { proxy_pass http://127.0.0.1:<dead>; error_page 502 = @other; }
        location /dead-page { proxy_pass http://127.0.0.1:<dead>; error_page 502 = /page; }
        location /returned { error_page 503 = @other; return 503; }
        location /returned-page { error_page 503 = /page; return 503; }
        location /intercepted { proxy_pass http://<backend>; proxy_intercept_errors on; error_page 503 = @other; }
        location /forbidden { limit_except GET { deny all; } error_page 403 = @other; }
        location /large { client_max_body_size 3; proxy_pass http://<backend>; error_page 413 = @other; }
        location /wide { client_max_body_size 10; proxy_pass http://127.0.0.1:<dead>; error_page 502 = @narrow; }
        location /page { proxy_pass http://<other>; }
        location @other { proxy_pass http://<other>; }
        location @narrow { client_max_body_size 3; proxy_pass http://<other>; }
    """, [
        pair
        for path in ("dead", "dead-page", "returned", "returned-page", "intercepted", "forbidden", "large", "wide")
        for pair in (
            ask(f"a POST to {path}", f"/{path}", method="POST", body=b"a body", answer=reply(503, b"no")),
            ask(f"a PUT to {path}", f"/{path}", method="PUT", body=b"a body", answer=reply(503, b"no")),
            ask(f"chunks to {path}", f"/{path}", method="POST", body=chunked(b"a ", b"body"),
                headers=[("Transfer-Encoding", "chunked")], answer=reply(503, b"no")),
        )
        # nginx sends no answer to some of these until a time is over, depending on how the bytes come.
        if pair.name != "chunks to large"
    ]),
    # Broken chunks that nobody reads.
    Section("unread", """
        location /text { return 200 text; }
        location /none { return 204; }
        location /moved { return 302 /there; }
        location /error { return 404; }
        location /error-text { return 404 text; }
        location /forbidden { deny all; }
        location /page { error_page 404 /text; return 404; }
        location /own-400 { error_page 400 = /text; return 200 text; }
    """, [
        raw(f"{what} to {path}",
            b"POST /%s HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode() + chunks)
        for path in ("text", "none", "moved", "error", "error-text", "forbidden", "page", "own-400")
        for what, chunks in (
            ("a chunk without an end", b"3\r\nabcX\r\n0\r\n\r\n"), ("a size that is none", b"zz\r\n"),
            ("whole chunks", chunked(b"abc")))
    ]),
    # What is known of an upstream's response where another takes its place.
    Section("after-another", """
        proxy_intercept_errors on;
        location /proxied { error_page 404 = @other; proxy_pass http://<backend>; }
        location /page { error_page 404 = /other; proxy_pass http://<backend>; }
        location /returned { error_page 404 = @text; proxy_pass http://<backend>; }
        location /dead { error_page 404 = @dead; proxy_pass http://<backend>; }
        location /other {
            proxy_set_header X-Seen "$upstream_http_x_own|$upstream_cookie_a|$proxy_host|$proxy_port";
            proxy_pass http://<other>/;
        }
        location @other {
            set $before "$upstream_http_x_own|$upstream_status|$proxy_host";
            proxy_set_header X-Seen "$before|$upstream_http_x_own|$upstream_cookie_a|$proxy_host";
            proxy_pass http://<other>;
        }
        location @text { return 200 "$proxy_host|$proxy_port|$upstream_status|$upstream_http_x_own|$upstream_cookie_a"; }
        location @dead { proxy_pass http://127.0.0.1:<dead>; }
    """, [
        ask(path, f"/{path}", answer=reply(404, b"no", [("X-Own", "own"), ("Set-Cookie", "a=1")]))
        for path in ("proxied", "page", "returned", "dead")
    ], logs=True),
    Section("return", """
        location /text { return 200 "text $arg_a\\n"; }
        location /typed { default_type application/json; return 200 '{"a":1}'; }
        location /moved { return 301 http://new.test$request_uri; }
        location /relative { return 302 /elsewhere; }
        location /url { return http://new.test/; }
        location /see { return 303 /other; }
        location /keep { return 308 /other; }
        location /empty { return 204; }
        location /gone { return 410; }
        location /teapot { return 418 "short and stout"; }
        location /late { return 503; }
        location /not-modified { return 304; }
        location /not-modified-text { return 304 "text"; }
        location /not-modified-as { error_page 404 =304 /caught-page; return 404; }
        location /not-modified-added { return 304; add_header X-A b; add_header Last-Modified x; expires epoch; default_type text/css; }
        location /plain-http { error_page 497 =497 /caught-page; return 497; }
        location /plain-http-text { error_page 497 =497 /caught-page; return 497 "text"; }
        location /plain-http-named { error_page 497 =497 @plain-http; return 497; }
        location @plain-http { return 200 "$status $uri"; }
        location /plain-http-moved { error_page 497 =301 https://$host$request_uri; return 497; }
        location /plain-http-away { error_page 497 =497 https://$host/; return 497; }
        location /plain-http-400 { error_page 400 =497 /caught-page; return 400; }
        location /denied { deny all; proxy_pass http://<backend>; }
        location /limited { limit_except GET { deny all; } proxy_pass http://<backend>; }
        location /small { client_max_body_size 5; proxy_pass http://<backend>; }
        location /unnamed { return 404 ""; }
        location /status { return 203 "$status $sent_http_content_type"; }
        location /status-moved { return 302 /to-$status; }
        location /status-alone { return "http://new.test/$status"; }
        location /status-page { error_page 404 /status-inside; return 404; }
        location /status-as { error_page 404 =202 /status-inside; return 404; }
        location /status-from { error_page 404 = /status-inside; return 404; }
        location = /status-inside { return 206 "$status"; }
        location /bare-301 { return 301; }
        location /bare-302 { return 302; }
        location /bare-303 { return 303; }
        location /bare-307 { return 307; }
        location /bare-308 { return 308; }
        location /bare-408 { return 408; }
        location /bare-499 { return 499; }
        location /bare-494 { return 494; }
        location /bare-500 { return 500; }
        location /caught-400 { error_page 400 /caught-page; return 400; }
        location /caught-494 { error_page 494 /caught-page; return 494; }
        location /caught-500 { error_page 500 /caught-page; return 500; }
        location = /caught-page { return 200 caught; }
        location /text-400 { return 400 "text 400"; }
        location /text-402 { return 402 "text 402"; }
        location /text-408 { return 408 "text 408"; }
        location /text-413 { return 413 "text 413"; }
        location /text-414 { return 414 "text 414"; }
        location /text-416 { return 416 "text 416"; }
        location /text-494 { return 494 "text 494"; }
        location /text-495 { return 495 "text 495"; }
        location /text-496 { return 496 "text 496"; }
        location /text-497 { return 497 "text 497"; }
        location /text-499 { return 499 "text 499"; }
        location /text-500 { return 500 "text 500"; }
        location /text-501 { return 501 "text 501"; }
        location /text-502 { return 502 "text 502"; }
        location /text-503 { return 503 "text 503"; }
        location /text-504 { return 504 "text 504"; }
        location /text-507 { return 507 "text 507"; }
    """, [
        ask("$status in a text", "/status"),
        ask("$status in a redirect", "/status-moved"),
        ask("$status in a URL alone", "/status-alone"),
        ask("$status in the text of an error page", "/status-page"),
        ask("$status in the text of an error page with another status", "/status-as"),
        ask("$status in the text of an error page with its own status", "/status-from"),
        *(ask(f"return {code} alone", f"/bare-{code}") for code in (301, 302, 303, 307, 308, 408, 494, 499, 500)),
        *(ask(f"an error page for {code}", f"/caught-{code}") for code in (400, 494, 500)),
        *(raw(f"return {code} with a text keeps the connection", f"GET /text-{code} HTTP/1.1\r\nHost: HOST\r\n\r\n".encode() * 2,
              methods=("GET", "GET"))
          for code in (400, 402, 408, 413, 414, 416, 494, 495, 496, 497, 499, 500, 501, 502, 503, 504, 507)),
        ask("return a text", "/text?a=%20b"),
        ask("return a typed text", "/typed"),
        ask("return 301", "/moved?x=1"),
        ask("return a relative URL", "/relative"),
        ask("return a URL alone", "/url"),
        ask("return 303", "/see"),
        ask("return 308", "/keep"),
        ask("return 204", "/empty"),
        ask("return 410 with its page", "/gone"),
        ask("return a status nobody knows", "/teapot"),
        ask("return 503 with its page", "/late"),
        ask("return 304", "/not-modified"),
        ask("return 304 to HEAD", "/not-modified", method="HEAD"),
        ask("return 304 with a text", "/not-modified-text"),
        ask("return 304 with fields of its own", "/not-modified-added"),
        ask("304 in place of an error", "/not-modified-as"),
        ask("497 as itself", "/plain-http"),
        ask("497 as itself for HEAD", "/plain-http", method="HEAD"),
        ask("497 with a text, which is no error", "/plain-http-text"),
        ask("497 as itself from a named location", "/plain-http-named"),
        ask("497 as a redirect", "/plain-http-moved"),
        ask("497 as itself to another place", "/plain-http-away"),
        ask("400 as 497", "/plain-http-400"),
        ask("return a text for HEAD", "/text?a=1", method="HEAD"),
        ask("return for a POST whose body is skipped", "/text", [], "POST", b"ignored"),
        ask("return an empty text", "/unnamed"),
        ask("deny all", "/denied"),
        ask("limit_except lets GET pass", "/limited"),
        ask("limit_except lets HEAD pass", "/limited", method="HEAD", answer=reply(200, b"", [("Content-Length", "2")], length=False)),
        ask("limit_except refuses POST", "/limited", [], "POST", b"x"),
        ask("a body of the allowed length", "/small", [], "POST", b"12345"),
        ask("a body above the allowed length", "/small", [], "POST", b"123456"),
    ]),
    Section("rewrite", """
        rewrite ^/old/(.*)$ /new/$1;
        location / { proxy_pass http://<backend>; }
        location /new/ { proxy_pass http://<backend>; }
        location /last { rewrite ^/last/(.*)$ /new/$1?added=1 last; }
        location /break { rewrite ^/break/(.*)$ /inner/$1 break; proxy_pass http://<backend>; }
        location /drop { rewrite ^/drop/(.*)$ /inner/$1? break; proxy_pass http://<backend>; }
        location /redirect { rewrite ^/redirect/(.*)$ /there/$1 redirect; }
        location /permanent { rewrite ^/permanent/(.*)$ http://new.test/$1 permanent; }
        location /named { rewrite ^/named/(?<what>[a-z]+) /x/$what break; proxy_pass http://<backend>; }
        location /set { set $a one; set $b "$a-$arg_b"; proxy_pass http://<backend>; proxy_set_header X-B $b; }
        location /if {
            set $sort other;
            if ($request_method = POST) { set $sort post; }
            if ($http_x_kind ~* "^spe(.)ial$") { set $sort "special-$1"; }
            if ($arg_none) { return 402; }
            if ($arg_stop != "") { return 403; }
            if ($uri !~ z$) { set $sort "${sort}-no-z"; }
            proxy_pass http://<backend>; proxy_set_header X-Kind $sort;
        }
        location /if-proxy {
            if ($arg_to = other) { proxy_pass http://<other>; }
            proxy_pass http://<backend>;
        }
        location /escape { rewrite ^/escape/(.*)$ /e/$1 break; proxy_pass http://<backend>; }
    """, [
        ask("a rewrite of the server", "/old/x?y=1"),
        ask("last starts anew", "/last/x?y=1"),
        ask("break stays in the location", "/break/x?y=1"),
        ask("a question mark drops the arguments", "/drop/x?y=1"),
        ask("redirect", "/redirect/x?y=1"),
        ask("permanent", "/permanent/x%20y"),
        ask("a named capture", "/named/abc/def"),
        ask("set", "/set?b=two"),
        ask("if on the method", "/if", [], "POST", b"x"),
        ask("if on a pattern", "/if/z", [("X-Kind", "SpeCial")]),
        ask("if that returns", "/if?stop=now"),
        ask("if on a value that is 0", "/if?none=0"),
        ask("if on a value that is there", "/if?none=1"),
        ask("proxy_pass inside if", "/if-proxy?to=other"),
        ask("proxy_pass beside if", "/if-proxy?to=this"),
        ask("a rewritten path is escaped", "/escape/a%20b%3Fc%25/%C3%BC"),
    ]),
    Section("locations", """
        location / { return 200 root; }
        location = / { return 200 exactly-root; }
        location = /exact { return 200 exact; }
        location /exact { return 200 prefix; }
        location /a/ { return 200 a; location /a/b/ { return 200 a-b; location ~ \\.gif$ { return 200 a-b-gif; } } }
        location ^~ /static/ { return 200 static; }
        location ~ \\.php$ { return 200 php; }
        location ~* \\.JPE?G$ { return 200 jpeg; }
        location /files/ { return 200 files; }
        location /to-named { error_page 404 = @named; return 404; }
        location @named { return 200 "named $uri"; }
        location /page { error_page 403 /403.html; return 403; }
        location = /403.html { return 200 "page for $status"; }
        location /only-inside { internal; return 200 inside; }
        location /to-inside { error_page 404 =202 /only-inside; return 404; }
        location /outside { error_page 404 http://other.test/missing; return 404; }
        location "/with space" { return 200 space; }
        location /nowhere { proxy_pass http://127.0.0.1:<dead>; }
        location /caught { proxy_pass http://127.0.0.1:<dead>; error_page 502 =503 @named; }
    """, [
        ask("the exact root", "/"),
        ask("the exact root with arguments", "/?x"),
        ask("any other", "/other"),
        ask("exact before prefix", "/exact"),
        ask("prefix after exact", "/exactly"),
        ask("the longest prefix", "/a/b/c"),
        ask("a pattern nested in a prefix", "/a/b/c.gif"),
        ask("^~ keeps patterns out", "/static/x.php"),
        ask("a pattern before a prefix", "/files/x.php"),
        ask("a pattern without case", "/files/x.jpg"),
        ask("the path is decoded before", "/%73tatic/x"),
        ask("dot segments go before", "/files/../static/x"),
        ask("an encoded space", "/with%20space"),
        ask("a named location", "/to-named?x=1"),
        ask("an error page", "/page"),
        ask("an internal location from outside", "/only-inside"),
        ask("an internal location from inside", "/to-inside"),
        ask("an error page elsewhere", "/outside"),
        ask("nobody listens", "/nowhere"),
        ask("nobody listens, and a named location", "/caught"),
    ]),
    Section("variables", """
        default_type text/plain;
        location /request { return 200 "$request_method|$request_uri|$uri|$document_uri|$args|$query_string|$is_args|$request|$server_protocol|$scheme|$request_body|$content_length|$content_type|"; }
        location /names { return 200 "$host|$http_host|$hostname|$server_name|$server_addr|$server_port|$remote_addr|$remote_user|$nginx_version"; }
        location /args { return 200 "$arg_a|$arg_B|$arg_missing|$cookie_x|$cookie_y|$http_x_mine|$http_user_agent"; }
        location /nothing { return 200 "$arg_|$http_|$cookie_|$sent_http_|$upstream_http_|$upstream_cookie_|$upstream_trailer_"; }
        location /proxy {
            proxy_pass http://<backend>;
            add_header X-Seen "$proxy_host|$proxy_port|$upstream_addr|$upstream_status|$upstream_http_x_one|$upstream_cookie_c|$status";
        }
        location /map { return 200 "$kind|$site|$first"; }
        location /map-set { set $kind assigned; return 200 "$kind"; }
        location /map-if { if ($arg_set) { set $kind "not-$kind"; } return 200 "$kind"; }
        location /if-empty { return 200 "[$http_x_none][${arg_a}b][$arg_a]"; }
    """, [
        ask("of the request", "/request/%41?a=1&b=%20", [("Content-Type", "text/x"), ("Content-Length", "2")], "POST", b"hi"),
        ask("of names", "/names", [("Authorization", "Basic bWU6c2VjcmV0")], host="VARIABLES.test:8080"),
        ask("of arguments and cookies", "/args?a=1&b=2&A=3", [("Cookie", "x=1; y=a b; x=2"), ("X-Mine", "m"), ("User-Agent", "ua")]),
        *[ask(f"of cookies, {text}", "/args", [("Cookie", text)])
          for text in ("d=1, x=5", "d=1,x=5;y=6", "x=1, y=2", "d, x=5", "x, y=2", ",x=5", "dx=1, x=2")],
        *[ask(f"of no name, {text}", "/nothing" + text, [("Cookie", cookie)])
          for text, cookie in (("", "a=b"), ("?=x", "=y"), ("?a=b&=c", "a=b; =c"))],
        ask("of the upstream", "/proxy", answer=reply(201, b"ok", [("X-One", "1"), ("Set-Cookie", "c=d; Path=/")])),
        ask("map by default", "/map"),
        ask("map by an exact value", "/map?k=ONE"),
        ask("map by a pattern with a capture", "/map?k=number-42"),
        ask("map of host names", "/map?k=x&site=www.shop.test"),
        ask("a map's variable that is set", "/map-set?k=one"),
        ask("a map's variable that is set from itself", "/map-if?k=one&set=1"),
        ask("a map's variable that is set elsewhere", "/map-if?k=one"),
        ask("in braces", "/if-empty?a=x"),
    ], http="""
        map $arg_k $kind { default other; one exact; "~^number-(?<digits>\\d+)$" "digits-$digits"; }
        map $arg_site $site { hostnames; default none; *.shop.test shop; .blog.test blog; }
        map $uri$args $first { "~^(.)" $1; }
    """),
    Section("names", "location / { return 200 default; }", [
        ask("a name nobody has", host="unknown.test"),
        ask("an exact name", host="exact.names.test"),
        ask("an exact name in capitals with a port", host="EXACT.names.test:9"),
        ask("a name that ends in a dot", host="exact.names.test."),
        ask("a leading wildcard", host="any.wild.names.test"),
        ask("a trailing wildcard", host="trail.anything"),
        ask("a pattern", host="user7.names.test"),
        ask("a pattern that is the first name", host="first8.names.test"),
        ask("a name with a dot before it", host="sub.dotted.names.test"),
        ask("a name with an asterisk before it", host="sub.starred.names.test"),
        ask("HTTP/1.0 without a name", host=None, version="1.0"),
        ask("an empty name", host=""),
        ask("an IPv6 address as name", host="[::1]:80"),
    ], listen=" default_server", http="""
        server { listen 127.0.0.1:<port>; server_name exact.names.test; location / { return 200 exact-$server_name; } }
        server { listen 127.0.0.1:<port>; server_name *.wild.names.test; location / { return 200 wild; } }
        server { listen 127.0.0.1:<port>; server_name trail.*; location / { return 200 trail; } }
        server { listen 127.0.0.1:<port>; server_name ~^user(?<n>\\d+)\\.names\\.test$; location / { return 200 user-$n; } }
        server { listen 127.0.0.1:<port>; server_name ~^first(\\d+)\\.names\\.test$; return 200 $server_name; }
        server { listen 127.0.0.1:<port>; server_name .dotted.names.test; return 200 $server_name; }
        server { listen 127.0.0.1:<port>; server_name *.starred.names.test; return 200 $server_name; }
        server { listen 127.0.0.1:<port>; server_name ""; location / { return 200 nameless; } }
    """),
    # The server of the host's name decides about what stands behind it.
    Section("head-of-one", "location / { proxy_pass http://<backend>; add_header X-Seen \"$http_api_key\"; }", [
        ask("an underscore", headers=[("api_key", "1")]),
    ]),
    Section("head-of-another", """
        underscores_in_headers on;
        location / { proxy_pass http://<backend>; add_header X-Seen "$http_api_key"; }
    """, [
        ask("an underscore", headers=[("api_key", "1"), ("api.key", "2")]),
        raw("an underscore, the host in the target", b"GET http://HOST/ HTTP/1.1\r\napi_key: 1\r\nHost: HOST\r\n\r\n"),
        raw("an underscore, two hosts", b"GET http://HOST/ HTTP/1.1\r\nHost: head-of-one.test\r\napi_key: 1\r\n\r\n"),
    ]),
    Section("head-of-wide", "large_client_header_buffers 4 6k; location / { return 200 $request_length; }", [
        *[ask(f"a field of {size}", headers=[("X", "a" * size)]) for size in (1000, 1900, 2100, 5000, 7000)],
        *[ask(f"a target of {size}", "/" + "a" * size) for size in (1900, 2100)],
        raw("a field before the host", b"GET / HTTP/1.1\r\nX: " + 3000 * b"a" + b"\r\nHost: HOST\r\n\r\n"),
        raw("the host in the target",
            b"GET http://HOST/ HTTP/1.1\r\nX: " + 3000 * b"a" + b"\r\nHost: HOST\r\n\r\n"),
    ]),
    Section("head-of-narrow", "large_client_header_buffers 2 1k; location / { return 200 $request_length; }", [
        *[ask(f"a field of {size}", headers=[("X", "a" * size)]) for size in (900, 1100, 1900, 2100)],
        *[ask(f"{count} fields of 500", headers=[(f"X{place}", "a" * 500) for place in range(count)]) for count in (1, 3, 6)],
    ]),
    Section("upstreams", """
        location /failover { proxy_pass http://dead-first; }
        location /status { proxy_pass http://both; proxy_next_upstream http_503; }
        location /post { proxy_pass http://both; proxy_next_upstream error http_503; }
        location /tries { proxy_pass http://both; proxy_next_upstream http_503; proxy_next_upstream_tries 1; }
        location /backup { proxy_pass http://with-backup; }
        location /variable { set $to both; proxy_pass http://$to/by-name; }
        location /literally { proxy_pass http://localhost:<other_port>; }
        location /known { set $to LOCALhost; proxy_pass http://$to:<other_port>; }
    """, [
        ask("a dead server is passed over", "/failover"),
        ask("a status that moves on", "/status", answer=reply(503, b"busy")),
        ask("a POST does not move on", "/post", [], "POST", b"x", answer=reply(503, b"busy")),
        ask("tries are bounded", "/tries", answer=reply(503, b"busy")),
        ask("the backup serves", "/backup"),
        ask("an upstream named by a variable", "/variable"),
        ask("a name that stands elsewhere, given by a variable", "/known"),
    ], http="""
        upstream dead-first { server 127.0.0.1:<dead> max_fails=0; server <backend>; }
        upstream both { server <backend> max_fails=0; server <other> max_fails=0; }
        upstream with-backup { server 127.0.0.1:<dead> down; server <backend> backup; }
    """),
    Section("refused", "location / { proxy_pass http://<backend>; }", [
        raw("HTTP/1.1 without Host", b"GET / HTTP/1.1\r\n\r\n"),
        raw("two Host fields", b"GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n"),
        raw("a Host that is none", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        raw("both lengths", b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        raw("a length that is none", b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3x\r\n\r\nabc"),
        raw("two lengths", b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        raw("a coding nobody knows", b"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip\r\n\r\n"),
        raw("a chunk size that is none", b"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n"),
        raw("a method in lower case", b"get / HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a version of the future", b"GET / HTTP/3.0\r\nHost: HOST\r\n\r\n"),
        raw("no version that can be read", b"GET / HTTQ/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a target without slash", b"GET foo HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a target of another scheme", b"GET ftp://HOST/x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a target with a port that is none", b"GET http://HOST:99999/x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a target that is too long", b"GET /" + b"a" * 2100 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a field that is too long", b"GET / HTTP/1.1\r\nHost: HOST\r\nX-A: " + b"a" * 2100 + b"\r\n\r\n"),
        raw("TRACE", b"TRACE / HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a space before the colon", b"GET / HTTP/1.1\r\nHost: HOST\r\nX-A : 1\r\n\r\n"),
        raw("a folded field", b"GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\r\n 2\r\n\r\n"),
        raw("NUL in a field", b"GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\0\r\n\r\n"),
    ], logs=True),
    # What was known of a request when it was found to be none: in the error's page, and in the log.
    Section("refused-late", """
        error_page 400 501 /page;
        location = /page { return 200 "$request_method $host $server_name $uri $args $server_protocol"; }
    """, [
        refused("a name with a control", b"X\x01: 1\r\n"),
        refused("a space before the colon, behind other fields", b"X : 1\r\n"),
        refused("NUL in a value", b"X: a\0b\r\n"),
        refused("a second Host", b"Host: refused.test\r\n"),
        refused("a carriage return alone", b"X: a\rb\r\n"),
        refused("a length that is none, with arguments", b"Content-Length: 1x\r\n"),
        refused("two lengths, with arguments", b"Content-Length: 1\r\nContent-Length: 2\r\n"),
        refused("a length and a coding", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        refused("a coding that is unknown", b"Transfer-Encoding: gzip\r\n"),
        refused("chunks in HTTP/1.0", b"Transfer-Encoding: chunked\r\n", version=b"1.0"),
        refused("a field above the limit", b"X: " + b"x" * 2100 + b"\r\n"),
        refused("a head above the limit", b"".join(b"X%d: " % n + b"x" * 1800 + b"\r\n" for n in range(6))),
        refused("a HEAD with a faulty field", b"X : 1\r\n", method=b"HEAD"),
        refused("an absolute target and a faulty field", b"X : 1\r\n", target=b"http://refused.test/x%41?q=1"),
        refused("a Host that is none, with arguments", b"", host=b"a/b"),
        refused("a Host of two words", b"", host=b"a b"),
        refused("a host that nobody has, and a faulty field", b"X : 1\r\n", host=b"other.test"),
        raw("no Host, with arguments", b"GET /a%20b?q=1 HTTP/1.1\r\nUser-Agent: ua\r\nCookie: c=d\r\n\r\n"),
        raw("an absolute target and no Host", b"GET http://HOST/x%41?q=1 HTTP/1.1\r\nUser-Agent: ua\r\n\r\n"),
        raw("a method in lower case, with arguments", b"get /a?q=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a target of two words", b"GET /a b?q=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a control in the target", b"GET /a\x01?q=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a request line of one word", b"GET\r\n\r\n"),
        raw("no text at all", b"\x16\x03\x01\x02\0\x01\r\n\r\n"),
        raw("a request line of four words", b"GET /a?q=1 HTTP/1.1 x\r\nHost: HOST\r\n\r\n"),
        raw("a version that is none", b"GET /a?q=1 HTTP/x.1\r\nHost: HOST\r\n\r\n"),
        raw("HTTP/2.0 by its request line", b"GET /a?q=1 HTTP/2.0\r\nHost: HOST\r\n\r\n"),
        raw("a request line above the limit", b"GET /" + b"a" * 3000 + b"?q=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a method above the limit", b"G" * 2100 + b" / HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("an escape that is none", b"GET /a%zz?q=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        raw("a path above the root", b"GET /../a?q=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    ], logs=True),
    # Variables by addresses and by chance.
    Section("geo", """
        location / { return 200 "$place|$range|$near|$told|$plain|$bad|$border"; }
    """, [
        *[ask(f"an address, {text}", "/?a=" + text, host=True) for text in addresses() if not set(text) & set("%?#& \t")],
        *[ask(f"near {text}", f"/?a={text}") for text in [
            "10.0.0.0", "10.0.255.255", "10.1.2.3", "10.1.2.4", "10.255.255.255", "11.0.0.0", "9.255.255.255", "2001:db8::1",
            "2001:db9::1", "2001:db8:1:ffff::", "192.0.2.9", "192.0.2.10", "192.0.2.20", "192.0.2.21", "192.0.2.15",
            "192.0.2.30", "192.0.2.40", "192.0.2.41", "198.51.100.7", "::ffff:10.1.2.3", "::10.1.2.3"]],
        *[ask(f"at a border, {text}", f"/?a={text}") for text in [
            f"10.{second}.{rest}" for second in range(2, 13) for rest in ("0.0", "0.5", "0.6", "0.9", "0.10", "128.0", "255.255")]],
        *[ask(f"at the first border, {text}", f"/?a={text}") for text in [
            "10.0.0.0", "10.0.199.255", "10.0.200.0", "10.0.255.255", "10.1.0.0", "10.1.100.0", "10.1.100.1"]],
        *[ask(f"forwarded for {number}", "/?a=127.0.0.1", [("X-Forwarded-For", line) for line in lines])
          for number, lines in enumerate(lists()[:60])],
    ], http="""
        geo $arg_a $place {
            default elsewhere; 10.0.0.0/8 ten; 10.1.0.0/16 ten-one; 10.1.2.3 one; 2001:db8::/32 docs; 2001:db8:1::/48 more;
            0.0.0.0/1 low; ::1 self; 172.16.0.0/12 gone; delete 172.16.0.0/12; 127.0.0.0/8 "$uri in words"; 1.2.3.4 "";
        }
        geo $arg_a $range {
            ranges; default elsewhere; 192.0.2.10-192.0.2.20 some; 192.0.2.15-192.0.2.15 one; 192.0.2.30-192.0.2.40 first;
            192.0.2.30-192.0.2.34 begin; 192.0.2.38-192.0.2.40 end; 0.0.0.0-9.255.255.255 low; 250.0.0.0-255.255.255.254 high;
            198.51.100.7-198.51.100.7 gone; delete 198.51.100.7-198.51.100.7;
        }
        geo $arg_a $border {
            ranges; default none; 10.0.0.0-10.0.255.255 a; 10.0.200.0-10.1.100.0 b; 10.3.0.0-10.6.255.255 c; 10.5.0.0-10.8.0.9 d;
            10.6.128.0-10.7.255.255 e; 10.9.0.5-10.10.0.5 f; 10.10.0.6-10.11.255.255 g; delete 10.9.0.5-10.10.0.5;
            delete 10.4.0.0-10.4.255.255; delete 10.2.0.0-10.3.255.255;
        }
        geo $arg_a $bad { default none; 255.255.255.255 bad; 0.0.0.0/1 low; }
        geo $near { 127.0.0.1 here; }
        geo $told { proxy 127.0.0.0/8; proxy 10.0.0.0/8; default nobody; 1.1.1.1 one; 2.2.2.2 two; 10.0.0.0/8 inside; ::1 self; 127.0.0.1 here; }
        geo $arg_a $plain { proxy ::1; proxy 127.0.0.1; proxy 10.0.0.1; proxy_recursive; 1.1.1.1 one; 2.2.2.2 two; 10.0.0.0/8 inside; 127.0.0.1 here; }
    """),
    Section("split", """
        location / { return 200 "$third|$part|$all|$none|$both"; }
    """, [ask(f"text {number}", "/?x=" + "abcdefghijklmnopqrstuvwxyz"[:number % 23] + str(number * 7919)) for number in range(150)] + [
        ask("no text"), *[ask(f"{count} letters", "/?x=" + "z" * count) for count in range(9)],
    ], http="""
        split_clients $arg_x $third { 33.33% a; 33.3% b; * c; }
        split_clients "$arg_x-more" $part { 0.01% a; 50% b; 12.5% $uri; }
        split_clients $arg_x$arg_x $all { 100% all; }
        split_clients $arg_x $none { * ""; }
        split_clients $arg_x $both { 50% a; 50% b; * c; * d; }
    """),
    # Where a request comes from, by the settings of the server and of locations.
    Section("realip", """
        set_real_ip_from 127.0.0.1;
        set_real_ip_from 10.0.0.0/8;
        location / { return 200 "$remote_addr|$remote_port|$realip_remote_addr|$proxy_add_x_forwarded_for|$whence|"; }
        location /binary { return 200 "$binary_remote_addr"; }
        location /proxied {
            real_ip_header Other;
            proxy_pass http://<backend>;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
        location /allowed { allow 1.1.1.1; deny all; proxy_pass http://<backend>; }
        location /denied { deny 1.1.1.1; proxy_pass http://<backend>; }
    """, [
        *[ask(f"an address, {text}", headers=[("X-Real-IP", text)]) for text in addresses()],
        ask("no field"),
        ask("two fields", headers=[("X-Real-IP", "1.1.1.1"), ("X-Real-IP", "2.2.2.2")]),
        ask("two addresses", headers=[("X-Real-IP", "1.1.1.1, 2.2.2.2")]),
        ask("two addresses, of which one is trusted", headers=[("X-Real-IP", "1.1.1.1, 10.2.2.2")]),
        ask("a tab", headers=[("X-Real-IP", "1.1.1.1\t2.2.2.2")]),
        ask("a field in small letters", headers=[("x-real-ip", "1.1.1.1")]),
        ask("another field", headers=[("X-Forwarded-For", "1.1.1.1")]),
        ask("four bytes", "/binary", headers=[("X-Real-IP", "65.66.67.68")]),
        ask("sixteen bytes", "/binary", headers=[("X-Real-IP", "4142:4344:4546:4748:494a:4b4c:4d4e:4f50")]),
        ask("the server comes first", "/proxied", [
            ("X-Real-IP", "1.1.1.1"), ("Other", "2.2.2.2"), ("X-Forwarded-For", "3.3.3.3")]),
        ask("the location comes second", "/proxied", [("Other", "2.2.2.2"), ("X-Forwarded-For", "3.3.3.3")]),
        ask("whom rules allow", "/allowed", [("X-Real-IP", "1.1.1.1")]),
        ask("whom rules do not allow", "/allowed", [("X-Real-IP", "1.1.1.2")]),
        ask("whom rules deny", "/denied", [("X-Real-IP", "1.1.1.1")]),
        ask("whom rules do not deny", "/denied"),
        raw("each request of a connection has its own",
            b"GET /1 HTTP/1.1\r\nHost: HOST\r\nX-Real-IP: 1.1.1.1\r\n\r\nGET /2 HTTP/1.1\r\nHost: HOST\r\n\r\n",
            methods=("GET", "GET")),
        refused("a refused request has the connection's", b"X-Real-IP: 1.1.1.1\r\nX : 1\r\n"),
    ], http="map $remote_addr $whence { default other; 1.1.1.1 one; 127.0.0.1 here; }", logs=True),
    # Limits, with what upstreams and clients are told of them.
    Section("limits", """
        set_real_ip_from 127.0.0.1;
        limit_req_status 429;
        error_page 410 /gone?$args;
        proxy_set_header X-Limits "$limit_req_status $limit_conn_status";
        add_header X-Limits "$limit_req_status $limit_conn_status" always;
        location / { limit_req zone=pairs_rate burst=1 nodelay; limit_conn pairs_open 1; proxy_pass http://<backend>; }
        location /dry { limit_req zone=pairs_rate; limit_req_dry_run on; proxy_pass http://<backend>; }
        location /two { limit_req zone=pairs_rate burst=9 nodelay; limit_req zone=pairs_other; proxy_pass http://<backend>; }
        location /page { limit_req zone=pairs_rate; error_page 429 = @page; proxy_pass http://<backend>; }
        location @page { limit_req zone=pairs_other; limit_conn pairs_open 1; proxy_pass http://<backend>; }
        location /gone { limit_req zone=pairs_rate; proxy_pass http://<backend>; }
        location /moved { return 410; }
        location /intercepted { limit_req zone=pairs_rate; proxy_intercept_errors on; proxy_pass http://<backend>; }
        location /denied { limit_req zone=pairs_rate; limit_conn pairs_open 1; deny all; proxy_pass http://<backend>; }
        location /returned { limit_req zone=pairs_rate; return 200 "$limit_req_status|"; }
        location /if { limit_req zone=pairs_rate; if ($arg_x) { proxy_pass http://<backend>; } proxy_pass http://<backend>; }
        location /except { limit_req zone=pairs_rate; limit_except POST { deny 1.1.1.1; } proxy_pass http://<backend>; }
        location /there { limit_req zone=pairs_there; proxy_pass http://<backend>; }
    """, [
        *[limits(f"{count} requests, {path}", path, count) for path in (
            "/", "/dry", "/two", "/page", "/gone", "/moved", "/denied", "/returned", "/if?x=1", "/except") for count in (1, 2, 3)],
        limits("an upstream's error", "/intercepted", 3, answer=reply(410, b"gone")),
        limits("no key", "/two?k=", 3, key=False),
        limits("a key of 255 bytes", "/?k=" + "y" * 255, 2, key=False),
        limits("a key of 256 bytes", "/?k=" + "z" * 256, 2, key=False),
        limits("whoever a field names", "/there", 2, ["X-Real-IP: 1.1.1.1", "X-Real-IP: 1.1.1.2"]),
        limits("whoever a field names twice", "/there", 2, ["X-Real-IP: 1.1.1.3", "X-Real-IP: 1.1.1.3"]),
    ], http="limit_req_zone $arg_k zone=pairs_rate:1m rate=1r/m; limit_req_zone $arg_k zone=pairs_other:1m rate=1r/m;"
            "limit_req_zone $binary_remote_addr zone=pairs_there:1m rate=1r/m; limit_conn_zone $arg_k zone=pairs_open:1m;"),
    Section("realip-lists", """
        real_ip_header X-Forwarded-For;
        location / { set_real_ip_from 127.0.0.1; return 403; error_page 403 =200 @shown; }
        location @shown { set_real_ip_from 0.0.0.0/0; error_page 404 = @never; proxy_pass http://<backend>; add_header X-Seen "$remote_addr|$remote_port"; }
        location /recursive/ {
            set_real_ip_from 127.0.0.1;
            set_real_ip_from 10.0.0.0/8;
            set_real_ip_from ::1/128;
            real_ip_recursive on;
            proxy_pass http://<backend>;
            proxy_set_header X-Real-IP $remote_addr:$remote_port;
        }
        location /last/ {
            set_real_ip_from 127.0.0.1;
            proxy_pass http://<backend>;
            proxy_set_header X-Real-IP $remote_addr:$remote_port;
        }
        location /line/ {
            set_real_ip_from 127.0.0.1;
            real_ip_header x-forwarded-for;
            real_ip_recursive on;
            proxy_pass http://<backend>;
            proxy_set_header X-Real-IP $remote_addr:$remote_port;
        }
    """, [
        *[ask(f"{place} {lines}", f"/{place}/", [("X-Forwarded-For", line) for line in lines])
          for lines in lists() for place in ("recursive", "last", "line")],
        ask("an error's page has settings of its own", headers=[("X-Forwarded-For", "1.1.1.1")]),
    ], logs=True),
    Section("realip-looked-at", """
        location / {
            set_real_ip_from 127.0.0.1;
            if ($remote_addr = 1.1.1.1) { return 403; }
            if ($whence) { set $found $whence; }
            allow 1.1.1.1;
            deny all;
            proxy_pass http://<backend>;
            proxy_set_header X-Seen "$remote_addr $whence $found $proxy_add_x_forwarded_for";
        }
    """, [
        ask("a variable that was looked at before the address was known", headers=[("X-Real-IP", "1.1.1.1")]),
    ], logs=True),
    # `other` is who is asked.
    Section("auth", """
        auth_basic_user_file users;
        location = /auth {
            internal; proxy_pass http://<other>; proxy_pass_request_body off; proxy_set_header Content-Length "";
            proxy_set_header X-Original-URI $request_uri; proxy_set_header X-Original-Method $request_method;
        }
        location = /kept {
            internal; proxy_pass http://<other>/keep?q=$arg_q; proxy_http_version 1.1; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; proxy_set_header Connection "";
        }
        location / {
            auth_request /auth; auth_request_set $user $upstream_http_x_user; auth_request_set $code $upstream_status;
            proxy_pass http://<backend>; proxy_set_header X-User "$user $code"; add_header X-Asked "$user" always;
        }
        location /set/ {
            auth_request /kept; auth_request_set $args "user=$upstream_http_x_user"; proxy_pass http://<backend>/to/;
        }
        location /page/ {
            auth_request /auth; auth_request_set $user $upstream_http_x_user; error_page 401 403 = @page;
            error_page 500 /late/; proxy_pass http://<backend>;
        }
        location @page { return 302 /login?user=$user; }
        location /late/ { auth_request /auth; return 200 "late"; }
        location /again/ { proxy_intercept_errors on; error_page 404 = /set/again; proxy_pass http://<backend>; }
        location /chosen/ { auth_request /choose; proxy_pass http://<backend>; }
        location /choose { if ($http_x_key = sesame) { return 204; } if ($http_x_key) { return 403; } return 401; }
        location /odd/ { auth_request /nowhere?a=b; proxy_pass http://<backend>; }
        location /nowhere { return 404; }
        location /basic/ { auth_basic "the cave"; proxy_pass http://<backend>; proxy_set_header X-User $remote_user; }
        location /missing/ { auth_basic x; auth_basic_user_file none; return 200 never; proxy_pass http://<backend>; }
        location /any/ { satisfy any; deny all; auth_basic any; auth_request /auth; proxy_pass http://<backend>; }
        location /local/ { satisfy any; allow 127.0.0.1; auth_basic any; proxy_pass http://<backend>; }
        location /ws/ {
            auth_request /auth; proxy_pass http://<backend>; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        }
    """, [
        *[ask(f"{place} {status}", target, answer=reply(200, b"page"),
              other=reply(status, b"", [("X-User", "ann"), ("WWW-Authenticate", "Bearer")]))
          for place, target in (("asked", "/x?q=1"), ("arguments", "/set/x?q=1"), ("pages", "/page/x"))
          for status in (200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 407, 418, 500, 503)],
        *[ask(f"{method} is asked for by GET", "/a%20b?q=1", method=method, body=b"body" if method != "HEAD" else b"",
              other=reply(200, b"", [("X-User", "ann")])) for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")],
        ask("fields of the client's", "/x", [("Cookie", "c=1"), ("X-Own", "2"), ("Range", "bytes=0-1"), ("Referer", "r")]),
        ask("without Host", "/x", host=None, version="1.0"),
        ask("a body of the answer", "/x", other=reply(403, b"a page of its own")),
        ask("no answer", "/x", other=[CLOSE]),
        ask("an answer that is none", "/x", other=[b"nonsense\r\n\r\n", CLOSE]),
        ask("where an error leads", "/again/x", answer=reply(404, b"no", [("X-User", "bob")])),
        *[ask(f"chosen, {key}", "/chosen/x", [("X-Key", key)] if key else []) for key in ("sesame", "other", "")],
        ask("an argument is part of the path", "/odd/x"),
        *[ask(f"{place} with {text}", f"/{place}/x", [("Authorization", text)] if text else [], other=reply(403))
          for place in ("basic", "missing", "any", "local") for text in credentials()],
        ask("a body of who is not let in", "/basic/x", method="POST", body=b"x" * 100),
        upgrade("an upgrade that is let in", "/ws/x", other=reply(200, b"")),
        upgrade("an upgrade that is not", "/ws/x", other=reply(401, b"", [("WWW-Authenticate", "Bearer")])),
    ], logs=True),
    Section("cookies", """
        proxy_cookie_domain a.test server.test;
        proxy_cookie_path /a /server;
        proxy_cookie_flags one secure samesite=strict;
        location / { proxy_pass http://<backend>; }
        location /off/ { proxy_pass http://<backend>; proxy_cookie_domain off; proxy_cookie_path off; proxy_cookie_flags off; }
        location /path-off/ { proxy_pass http://<backend>; proxy_cookie_path off; }
        location /own/ {
            proxy_pass http://<backend>;
            proxy_cookie_domain .A.test .new.test;
            proxy_cookie_domain ~^\\.?([a-z]+)\\.LOCAL$ .$1.test;
            proxy_cookie_domain $arg_d $host;
            proxy_cookie_path ~^/(one)/(?<rest>.*)$ /$rest/$1;
            proxy_cookie_path ~*^/A/ /letter;
            proxy_cookie_path /a/ "/small;/";
            proxy_cookie_path $arg_p /b$uri;
            proxy_cookie_flags one nosecure httponly samesite=None;
            proxy_cookie_flags ~^(l)ax samesite=$1ax nohttponly $arg_flag;
            proxy_cookie_flags $arg_c secure nosecure nosamesite;
            proxy_cookie_flags ~^THREE|^s secure;
        }
        location ~ ^/captured/(.*)$ {
            proxy_pass http://<backend>;
            proxy_cookie_path / /$1/;
        }
        location ~ ^/groups/(.*)$ {
            proxy_pass http://<backend>;
            proxy_cookie_path ~^/(cookie) /$1/;
            proxy_cookie_flags ~^(f)lag secure;
            add_header X-Group $1;
        }
        location /hidden/ { proxy_pass http://<backend>; proxy_hide_header Set-Cookie; add_header Set-Cookie "own=1; Path=/a"; }
        location /page { proxy_pass http://<other>; proxy_cookie_domain off; }
        location /local { return 200 ok; add_header Set-Cookie "one=1; Path=/a"; }
        location /socket {
            proxy_pass http://<backend>;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }
    """, [
        *[bakes(f"{place} {text}", target, text) for text in cookies()
          for place, target in (("server", "/"), ("own", "/own/?d=d.test&p=/&c=two"))],
        bakes("several fields", "/", "one=1; Path=/a", "two=2; Domain=a.test", "three=3"),
        ask("a field in small letters", answer=reply(200, b"ok", [("set-cookie", "one=1; path=/a")])),
        bakes("all off", "/off/", "one=1; Path=/a ;Domain=a.test"),
        bakes("one off", "/path-off/", "one=1; Path=/a ;Domain=a.test"),
        bakes("a variable", "/own/?d=d.test&p=/q&c=two", "two=2; Domain=.D.test; Path=/q/r"),
        bakes("an empty variable", "/own/", "two=2; Domain=.D.test; Path=/q/r; Domain="),
        bakes("a flag of a variable", "/own/?flag=secure", "lax=1; HttpOnly"),
        bakes("a flag of a variable that is none", "/own/?flag=bogus", "lax=1; HttpOnly"),
        bakes("groups of the location", "/captured/x", "one=1; Path=/y"),
        bakes("groups of a path's", "/groups/x", "one=1; Path=/cookie"),
        bakes("groups of a name's", "/groups/x", "flag=1"),
        bakes("hidden", "/hidden/", "one=1; Path=/a"),
        bakes("of the proxy's own", "/local"),
        accel("taken along by X-Accel-Redirect", answer=reply(
            200, b"ok", [("X-Accel-Redirect", "/page"), ("Set-Cookie", "one=1; Path=/a; Domain=a.test"), ("Set-Cookie", "two")])),
        ask("an error's", answer=reply(404, b"no", [("Set-Cookie", "one=1; Path=/a")])),
        upgrade("of a 101", "/socket", answer=[
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             f"Sec-WebSocket-Accept: {ACCEPT}\r\nSet-Cookie: one=1; Path=/a\r\nSet-Cookie: two=2\r\n\r\n").encode(), CLOSE]),
    ], logs=True),
    Section("realip-names", """
        set_real_ip_from localhost;
        real_ip_header X_Whence;
        location / { return 200 "$remote_addr"; }
    """, [
        ask("a name is trusted, a name with an underscore is dropped", headers=[("X_Whence", "1.1.1.1")]),
    ]),
    Section("realip-odd", """
        set_real_ip_from localhost;
        real_ip_header X_Whence;
        underscores_in_headers on;
        location / { return 200 "$remote_addr"; }
        location /error { return 400; }
        error_page 400 =200 /page;
        location /page { set_real_ip_from 127.0.0.0/8; real_ip_header Late; return 200 "$remote_addr"; }
    """, [
        ask("a name is trusted, a name with an underscore is not dropped", headers=[("X_Whence", "1.1.1.1")]),
        refused("the page of a refused request finds an address", b"Late: 1.1.1.1\r\nX : 1\r\n"),
        ask("the page of an error finds an address", "/error", headers=[("Late", "1.1.1.1")]),
    ]),
]

# What is compared of the log, a name and a value each; tabs in values are escaped.
LOGGED = (
    "status request request_method request_uri uri args is_args arg_q host server_name server_protocol http_host "
    "http_user_agent http_referer cookie_c content_length http_x upstream_http_x_own remote_addr").split()

CONFIGURATION = """\
daemon off;
pid <dir>/proxy.pid;
error_log <dir>/error.log info;
worker_processes 1;
events { worker_connections 512; }
http {
    include <dir>/paths.conf;
    log_format pairs '$realip_remote_port	%s';
    access_log <dir>/pairs.log pairs;
    server_tokens OFF;
    large_client_header_buffers 4 2k;
    # Words of a table are looked up without regard to case.
    keepalive_disable MSIE6;
    proxy_next_upstream ERROR Timeout;
    proxy_connect_timeout 2s;
    proxy_read_timeout 5s;
%s
}
"""


def configuration():
    """The file that both proxies run."""
    log_format = "\t".join(f"{name} ${name}" for name in LOGGED)
    return CONFIGURATION % (log_format, "\n".join(section.text for section in SECTIONS))
