"""The tools for those who write scripts: `test`, `new plugin`, `lua-types`, `lua-reference`, and `proxy --watch`."""

import os
import re
import subprocess
import threading

import pytest

from harness import ports
from harness.proxy import binary, default_kind
from harness.websocket import frame, handshake, switching
from harness.wire import Client, wait_for

pytestmark = pytest.mark.switchyard_only
KIND = default_kind()

PLUGIN = """\
return function(config)
  return {
    request = function(flow)
      if flow.req.path == "/slow" then sy.sleep(60) end
      flow.req.headers["X-Room"] = config.room
    end,
  }
end
"""


def run(directory, *arguments):
    return subprocess.run(
        [binary(KIND), *arguments], cwd=directory, capture_output=True, text=True, timeout=60)


@pytest.fixture
def chat(tmp_path):
    """Writes chat.lua and its test, and runs the test."""
    (tmp_path / "chat.lua").write_text(PLUGIN)

    def make(text, *options):
        (tmp_path / "chat_test.lua").write_text(text)
        return run(tmp_path, "test", "chat_test.lua", *options)

    return make


# MARK: test


def test_tests_that_pass_end_with_0(chat):
    result = chat("""\
test("the room goes upstream", function()
  local p = proxy{ plugin = "chat.lua", args = { room = "42" } }
  p:backend(function(request) return { body = request.headers["X-Room"] } end)
  expect(p:request().body):equals("42")
end)
test("a minute passes at once", function()
  local client = proxy{ plugin = "chat.lua", args = { room = "1" } }:send{ path = "/slow" }
  advance(59)
  expect(client:response()):is_nil()
  advance(1)
  expect(client:response().status):equals(200)
end)
""")
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[:3] == ["chat_test.lua", "  ok      the room goes upstream", "  ok      a minute passes at once"]
    assert re.fullmatch(r"2 passed, 0 failed in \d+ ms", lines[-1])


def test_arguments_of_a_plugin_reach_it_as_they_are(tmp_path):
    (tmp_path / "p.lua").write_text(
        "return function(config) return { request = function(flow) return flow:respond{ body = config.x } end } end")
    (tmp_path / "p_test.lua").write_text("""\
for _, value in ipairs{ "a$b", "$host", "\\\\$", "a\\\\b", 'a"b', "a'b", "a b;{}#", "a\\nb", "a\\tb", "ä", "" } do
  test(("as it is: %q"):format(value), function()
    expect(proxy{ plugin = "p.lua", args = { x = value } }:request().body):equals(value)
  end)
end
""")
    result = run(tmp_path, "test", "p_test.lua")
    assert result.returncode == 0, result.stdout + result.stderr


def test_clients_are_asked_for_certificates_as_the_server_asks(tmp_path, authority, rsa):
    (tmp_path / "tls_test.lua").write_text("""\
local function status(verify, tls)
  local p = proxy{ server = [[
    listen 443 ssl;
    ssl_certificate CERTIFICATE;
    ssl_certificate_key KEY;
    ssl_client_certificate AUTHORITY;
    error_log error.log info;
    ssl_verify_client ]] .. verify .. ";", location = "return 204;" }
  local status = p:request{ listener = "443", tls = tls }.status
  if status == 400 then expect(p:log()):matches("client .* certificate.* while reading client request headers") end
  return status
end
test("none", function()
  expect(status("on")):equals(400)
  expect(status("optional")):equals(204)
end)
test("one that no authority vouches for", function()
  expect(status("on", { verified = false })):equals(400)
  expect(status("optional", { verified = false })):equals(400)
  expect(status("optional_no_ca", { verified = false })):equals(204)
end)
test("a good one", function() expect(status("on", { client_subject = "CN=ann" })):equals(204) end)
""".replace("CERTIFICATE", str(rsa)).replace("KEY", str(rsa.key)).replace("AUTHORITY", str(authority)))
    result = run(tmp_path, "test", "tls_test.lua")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_test_that_fails_ends_with_1_and_says_where(chat):
    result = chat("""\
test("fine", function() end)
test("wrong", function()
  local p = proxy{ plugin = "chat.lua", args = { room = "42" } }
  expect(p:request().status):equals(404)
end)
""")
    assert result.returncode == 1
    assert "  FAILED  wrong\n          chat_test.lua:4: expected 404, found 200\n" in result.stdout
    assert "1 passed, 1 failed" in result.stdout


def test_a_filter_leaves_tests_out(chat):
    text = 'test("one", function() end)\ntest("two", function() error("no") end)\n'
    result = chat(text, "--filter", "one")
    assert result.returncode == 0
    assert "1 passed, 0 failed, 1 left out" in result.stdout
    assert "two" not in result.stdout
    none = chat(text, "--filter", "three")
    assert none.returncode == 1 and 'the filter "three" fits no test' in none.stdout
    empty = chat("local x = 1\n")
    assert empty.returncode == 1 and "there is no test in this file" in empty.stdout


def test_files_that_cannot_be_used_end_with_2(chat, tmp_path):
    result = chat('test("a", function() end)\nthis is no Lua\n')
    assert result.returncode == 2
    assert "chat_test.lua:2: syntax error" in result.stdout
    result = run(tmp_path, "test", "missing_test.lua")
    assert result.returncode == 2
    assert "missing_test.lua: cannot be read: No such file or directory" in result.stdout
    assert run(tmp_path, "test").returncode == 1


def test_paths_are_those_of_the_file_of_tests(tmp_path):
    os.mkdir(tmp_path / "policies")
    (tmp_path / "policies" / "chat.lua").write_text(PLUGIN)
    (tmp_path / "policies" / "shared.lua").write_text("return { room = '7' }")
    (tmp_path / "policies" / "edge.conf").write_text(
        "events {} http { server { listen 81; plugin chat.lua room=8; location / { proxy_pass http://x; } } }")
    (tmp_path / "policies" / "chat_test.lua").write_text("""\
local shared = require "shared"
test("beside", function()
  local p = proxy{ plugin = "chat.lua", args = { room = shared.room } }
  p:backend(function(request) return { body = request.headers["X-Room"] } end)
  expect(p:request().body):equals("7")
end)
test("a configuration's file", function()
  local p = proxy{ file = "edge.conf" }
  p:backend("x:80", function(request) return { body = request.headers["X-Room"] } end)
  expect(p:request().body):equals("8")
end)
""")
    result = run(tmp_path, "test", "policies/chat_test.lua")
    assert result.returncode == 0, result.stdout
    assert result.stdout.startswith("policies/chat_test.lua\n")


def test_no_socket_is_opened(chat, tmp_path):
    """The ports that its proxies listen on are taken here, and below those that a user may bind."""
    result = chat("""\
test("listens", function()
  for _ = 1, 3 do
    expect(proxy{ config = "events {} http { server { listen 1; return 200 hi; } }" }:request().body):equals("hi")
  end
end)
""")
    assert result.returncode == 0, result.stdout
    assert not (tmp_path / "logs").exists()


# MARK: new plugin


def test_a_new_plugin_passes_its_test_and_loads(tmp_path):
    made = run(tmp_path, "new", "plugin", "hello-there")
    assert made.returncode == 0, made.stderr
    assert sorted(os.listdir(tmp_path)) == ["hello-there.lua", "hello-there_test.lua"]
    result = run(tmp_path, "test", "hello-there_test.lua")
    assert result.returncode == 0, result.stdout
    assert "0 passed" not in result.stdout
    (tmp_path / "a.conf").write_text(
        f"pid {tmp_path}/a.pid; events {{}} http {{ server {{ listen 127.0.0.1:{ports.free_port()};"
        " location / { plugin hello-there.lua; return 200; } } }")
    tested = run(tmp_path, "-t", "-p", str(tmp_path), "-c", "a.conf")
    assert tested.returncode == 0, tested.stderr


def test_a_new_plugin_overwrites_nothing(tmp_path):
    for existing in ("one.lua", "two_test.lua"):
        (tmp_path / existing).write_text("precious")
        name = existing.removesuffix(".lua").removesuffix("_test")
        result = run(tmp_path, "new", "plugin", name)
        assert result.returncode == 1
        assert f"{existing}: File exists" in result.stderr
        assert (tmp_path / existing).read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["one.lua", "two_test.lua"]


def test_a_plugin_needs_a_name_of_a_file(tmp_path):
    for name in ("", "a b", "a/", "x;y"):
        assert run(tmp_path, "new", "plugin", name).returncode == 1
    assert os.listdir(tmp_path) == []


# MARK: lua-types, lua-reference


def test_the_types_are_lua_and_name_the_api(tmp_path):
    result = run(tmp_path, "lua-types", "--output", "types.lua")
    assert result.returncode == 0 and result.stdout == ""
    text = (tmp_path / "types.lua").read_text()
    assert text.startswith("---@meta\n")
    for piece in ("function Flow:respond(", "function sy.fetch(", "function test(name, fn)", "function TestProxy:request("):
        assert piece in text, piece
    assert run(tmp_path, "lua-types").stdout == text
    # A file of tests that is the types themselves: all of it compiles.
    (tmp_path / "types_test.lua").write_text('test("it loads", function() end)\ndo\n' + text + "\nend")
    loaded = run(tmp_path, "test", "types_test.lua")
    assert loaded.returncode == 0, loaded.stdout


def test_the_reference_names_the_api(tmp_path):
    result = run(tmp_path, "lua-reference")
    assert result.returncode == 0
    for piece in ("# Lua API\n", "`:respond(answer)`", "`sy.fetch(request)`", "# Tests\n", "`expect(value)`"):
        assert piece in result.stdout, piece


# MARK: proxy --watch


def echo_backend(connection):
    """Says X-Room to plain requests, and that it is open to whatever comes by what is upgraded."""
    while (request := connection.next_request()) is not None:
        if "upgrade" in request:
            connection.sock.settimeout(None)
            connection.send(switching(request.get("sec-websocket-key")))
            while connection.buffer or connection.fill():
                connection.send(frame(b"still open"))
                connection.buffer.clear()
                connection.log.clear()
            return
        room = (request.get("x-room") or "none").encode()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(room), room))


class Watched:
    """`switchyard proxy --script FILE --watch`, and what it writes to standard error."""

    def __init__(self, directory, backend, script):
        self.port = ports.free_port()
        self.errors = []
        self.process = subprocess.Popen(
            [binary(KIND), "proxy", "--listen", f"127.0.0.1:{self.port}", "--to", f"http://{backend}",
             "--script", script, "--watch"],
            cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        wait_for(lambda: ports.is_listening(self.port) or self.process.poll() is not None, what="listening")

    def read(self):
        for line in self.process.stderr:
            self.errors.append(line)

    @property
    def stderr(self):
        return "".join(self.errors)

    def room(self):
        with Client(self.port) as client:
            return client.fetch("/").body.decode()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


def saying(room):
    return f'return {{ request = function(flow) flow.req.headers["X-Room"] = "{room}" end }}\n'


@pytest.fixture
def watched(tmp_path, backend):
    backend.program = echo_backend
    (tmp_path / "room.lua").write_text(saying("first"))
    made = Watched(tmp_path, backend, "room.lua")
    made.file = tmp_path / "room.lua"
    yield made
    made.stop()


def test_a_script_finds_the_modules_beside_it(tmp_path, backend):
    backend.program = echo_backend
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "room.lua").write_text("local name = require 'name'\n" + saying("first").replace('"first"', "name"))
    (scripts / "name.lua").write_text('return "of a module"\n')
    made = Watched(tmp_path, backend, "scripts/room.lua")
    try:
        assert made.room() == "of a module"
    finally:
        made.stop()


def test_a_script_that_is_saved_runs_from_then_on_and_tunnels_survive(watched):
    assert watched.room() == "first"
    with Client(watched.port, timeout=20) as tunnel:
        tunnel.send(handshake())
        assert tunnel.read_response_head().status == 101
        watched.file.write_text(saying("second"))
        wait_for(lambda: watched.room() == "second", what="the new script")
        # As editors do it: another file takes the name.
        other = watched.file.with_name("room.lua.new")
        other.write_text(saying("third"))
        os.replace(other, watched.file)
        wait_for(lambda: watched.room() == "third", what="the renamed script")
        tunnel.send(frame(b"are you?", masked=True))
        assert tunnel.read_exactly(12) == frame(b"still open")


def test_a_link_to_a_script_and_what_it_leads_to_are_watched(tmp_path, backend):
    backend.program = echo_backend
    (tmp_path / "kept").mkdir()
    target = tmp_path / "kept" / "room of one's own"
    target.write_text(saying("first"))
    link = tmp_path / "room.lua"
    link.symlink_to(target)
    made = Watched(tmp_path, backend, "room.lua")
    try:
        assert made.room() == "first"
        target.write_text(saying("second"))
        wait_for(lambda: made.room() == "second", what="the script that the link leads to")
        link.unlink()
        link.write_text(saying("third"))
        wait_for(lambda: made.room() == "third", what="the script in the link's place")
    finally:
        made.stop()


def test_a_broken_script_is_shown_with_its_line_and_the_old_one_goes_on(watched):
    assert watched.room() == "first"
    with Client(watched.port, timeout=20) as tunnel:
        tunnel.send(handshake())
        assert tunnel.read_response_head().status == 101
        watched.file.write_text("return {\n  request = function(flow) flow.req.headers = = end\n}\n")
        wait_for(lambda: "room.lua:2" in watched.stderr, what="the error")
        # The line itself stands below the message.
        wait_for(lambda: "request = function(flow) flow.req.headers = = end" in watched.stderr, what="the line")
        assert watched.room() == "first"
        watched.file.write_text(saying("repaired"))
        wait_for(lambda: watched.room() == "repaired", what="the repaired script")
        tunnel.send(frame(b"are you?", masked=True))
        assert tunnel.read_exactly(12) == frame(b"still open")
