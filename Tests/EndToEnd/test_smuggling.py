"""The corpus of data/smuggling.txt, each case on a connection of its own, all through one proxy."""

import pathlib
import re

import pytest

from harness.backend import Backend
from harness.wire import Client, Closed, wait_for

pytestmark = pytest.mark.switchyard_only

ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\*\{(\d+):([^}]*)\}|(.))", re.S)


def unescape(text):
    out, at = [], 0
    for match in ESCAPE.finditer(text):
        out.append(text[at:match.start()].encode("latin-1"))
        code, times, repeated, letter = match.groups()
        if code:
            out.append(bytes([int(code, 16)]))
        elif times:
            out.append(unescape(repeated) * int(times))
        else:
            out.append(ESCAPES[letter])
        at = match.end()
    out.append(text[at:].encode("latin-1"))
    return b"".join(out)


def read_corpus():
    path = pathlib.Path(__file__).parent / "data" / "smuggling.txt"
    cases = []
    for block in re.split(r"^:: ", path.read_text(), flags=re.M)[1:]:
        name, keys, *lines = block.split("\n")
        keys = dict(re.findall(r"(\w+): (.*?)(?=  \w+: |$)", keys))
        data = unescape("".join(line for line in lines if not line.startswith("# ")))
        cases.append((name, keys, data))
    return cases


CORPUS = read_corpus()


def test_the_corpus_is_whole():
    assert len(CORPUS) >= 120
    assert len({name for name, _, _ in CORPUS}) == len(CORPUS)
    assert all({"expect", "backend"} <= keys.keys() for _, keys, _ in CORPUS)


@pytest.fixture(scope="module")
def served(module_proxy):
    with Backend() as backend:
        proxy = module_proxy(
            "upstream u { server <backend>; keepalive 4; } server { listen 127.0.0.1:<port>; location / {"
            ' proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; } }',
            values={"backend": backend})
        yield proxy, backend


def statuses(client, expected):
    """The statuses that came, up to as many as are expected."""
    found = []
    for allowed in expected:
        try:
            found.append(client.read_response().status)
        except (Closed, ConnectionResetError):
            found.append(None)
            break
        if str(found[-1]) not in allowed:
            break
    return found


def run(served, keys, pieces):
    proxy, backend = served
    backend.forget()
    before = sum(len(c.log) for c in backend.connections)
    expected = [item.split("|") for item in keys["expect"].split()]
    with Client(proxy.port, timeout=5) as client:
        try:
            for piece in pieces:
                client.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent
        found = statuses(client, expected)
        assert len(found) == len(expected) and all(
            str(status) in allowed for status, allowed in zip(found, expected)), f"{found}, not {keys['expect']}"
        if found[-1] >= 400:
            assert client.is_closed(), "the connection stays open"
        else:
            assert client.fetch("/sentinel").status == 200
            assert backend.requests.pop().target == "/sentinel"
    wanted = keys["backend"]
    if wanted == "none":
        assert sum(len(c.log) for c in backend.connections) == before, "bytes reached the backend"
        return
    wanted = int(wanted.rstrip("?")) if not wanted.endswith("?") or found[-1] < 400 else 0
    assert len(backend.requests) == wanted
    assert backend.errors == []
    # Whatever is not a whole request must be on a connection that was given up.
    wait_for(lambda: all(not c.buffer or not c.is_open for c in backend.connections), what="no remainder")
    if found[-1] < 400:
        if "bodies" in keys:
            assert "|".join(r.body.decode("latin-1") for r in backend.requests) == keys["bodies"].strip()
        if "targets" in keys:
            assert "|".join(r.target for r in backend.requests) == keys["targets"]
    for request in backend.requests:
        assert len(request.values("host")) == 1


@pytest.mark.parametrize("name, keys, data", CORPUS, ids=[name for name, _, _ in CORPUS])
def test_whole(served, name, keys, data):
    run(served, keys, [data])


@pytest.mark.parametrize(
    "name, keys, data", [case for case in CORPUS if len(case[2]) < 300],
    ids=[name for name, _, data in CORPUS if len(data) < 300])
def test_byte_by_byte(served, name, keys, data):
    run(served, keys, [data[i:i + 1] for i in range(len(data))])
