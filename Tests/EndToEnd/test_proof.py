"""scripts/chaos and scripts/soak: short runs of them, and that each of their checks can fail."""

import os
import re
import subprocess
import sys
import time

import pytest

from harness.proxy import ROOT, switchyard_binary
from harness.wire import Client
from proof import watch

pytestmark = pytest.mark.switchyard_only


def run(program, *arguments, binary=None, timeout=90):
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / program), *arguments], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "SWITCHYARD": str(binary or switchyard_binary())}, errors="replace")
    print(result.stdout, result.stderr)
    return result


def broken(result):
    """The invariants that a run found broken."""
    return set(re.findall(r"^(?:chaos|soak): broken: ([a-z-]+): ", result.stdout, re.M))


@pytest.fixture
def standin(tmp_path):
    """Makes a proxy of Python with a fault, and says where it is."""
    def make(fault):
        path = tmp_path / f"standin-{fault}"
        path.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={ROOT / 'Tests' / 'EndToEnd'}\nexec {sys.executable} -m proof.standin {fault} \"$@\"\n")
        path.chmod(0o755)
        return path

    return make


@pytest.mark.timeout(120)
def test_chaos_breaks_nothing():
    result = run("chaos", "--seconds", "8", "--seed", "1")
    assert result.returncode == 0 and not broken(result)
    assert "chaos: all invariants held" in result.stdout
    listed = run("chaos", "--list").stdout.splitlines()
    assert len(listed) > 20
    for line in listed:
        # Every fault of the table was made, but for what says why not.
        name = line[:46].strip()
        assert re.search(rf"^(left out: )?{re.escape(name)}", result.stdout, re.M), name


@pytest.mark.timeout(120)
def test_soak_is_flat():
    result = run("soak", "--minutes", "0.3", "--seed", "1")
    assert result.returncode == 0 and not broken(result)
    assert "soak: memory and descriptors are flat" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if re.match(r" +\d+\.\d\d ", line)]
    assert len(rows) == 10 and int(rows[-1][1]) > 500 and int(rows[-1][2]) > 500


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault, noticed", [
    ("none", set()), ("descriptors", {"descriptors"}), ("cross-talk", {"cross-talk"}), ("memory", {"memory"}),
    ("refusal", {"bystanders"}), ("crash", {"life"}), ("half", {"answers"})])
def test_chaos_notices(standin, fault, noticed):
    only = "ends in the middle of chunks" if fault == "half" else "early" if fault == "memory" else "backend trickles"
    result = run("chaos", "--seconds", "1", "--seed", "1", "--patience", "2", "--only", only, binary=standin(fault))
    assert result.returncode == (1 if noticed else 0)
    assert noticed <= broken(result) if noticed else not broken(result)
    if fault in ("descriptors", "memory"):
        assert broken(result) == noticed


@pytest.mark.timeout(120)
def test_chaos_notices_what_is_stuck(standin):
    result = run("chaos", "--seconds", "0.5", "--seed", "1", "--patience", "2", "--only", "backend trickles",
                 binary=standin("stuck"))
    assert result.returncode == 1 and "stuck" in broken(result)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["none", "descriptors", "memory", "cross-talk"])
def test_soak_notices(standin, fault):
    # The stand-in's threads and their arenas come and go by some MB; its leak is of 50 in that time.
    result = run("soak", "--minutes", "0.05", "--seed", "1", "--only", "requests", "--rise", "20", binary=standin(fault))
    names = {"cross-talk": "exchanges"}
    # Threads of the stand-in, and what they have open, come and go later on a busy machine.
    assert broken(result) >= {names.get(fault, fault)} if fault != "none" else not broken(result)
    assert result.returncode == (0 if fault == "none" else 1)


# MARK: Found by these programs; who mends what is marked takes the mark away

def test_a_body_that_never_begins_is_given_up(simple):
    made = simple("", server="client_header_timeout 1s; client_body_timeout 1s; proxy_read_timeout 1s;")
    with Client(made.port, timeout=4) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n")
        assert client.read_response().status == 408


def test_a_reload_with_an_empty_file_changes_nothing(simple):
    made = simple()
    assert made.fetch("/").status == 200
    made.reload("")
    time.sleep(0.5)
    assert made.fetch("/").status == 200


def test_memory_for_scripts_is_bounded_by_its_limit(proxy):
    made = proxy("""
        lua_memory_limit 8m;
        lua_hook_timeout 5s;
        server { listen 127.0.0.1:<port>; location / { request_by_lua_block {
            local size, kept = tonumber(flow.req.args.size), {}
            for at = 1, 6e6 // (size + 60) do kept[at] = ("%08d"):format(at) .. ("x"):rep(size - 8) end
            return flow:respond({ body = "ok" })
        } } }""")
    before = watch.private_bytes(made.pid)
    for size in range(40, 480, 48):
        assert made.fetch(f"/?size={size}").text == "ok"
    assert watch.private_bytes(made.pid) - before < 16 << 20
