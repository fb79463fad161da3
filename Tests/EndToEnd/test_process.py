"""The process: its command line, exit codes, pid file, signals, reloads."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import ports
from harness.backend import Backend, reply
from harness.http2 import HTTP2Client
from harness.proxy import Proxy, binary, default_kind, whole
from harness.websocket import opened, switching
from harness.wire import Client, Closed, wait_for

RECIPE = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
    " proxy_set_header Connection $connection_upgrade;")
MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"
KIND = default_kind()
TEXT = """\
daemon off;
pid <dir>/proxy.pid;
error_log <dir>/error.log info;
events {}
http {
    include <dir>/paths.conf;
    access_log <dir>/access.log;
    server { listen 127.0.0.1:<port>; location / { return 200 "<word>"; } }
}
"""


@contextlib.contextmanager
def running(port, *arguments, cwd=None):
    """The program, once it listens or has ended. Afterwards, what it wrote is its `output`."""
    process = subprocess.Popen(
        [binary(KIND), *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(lambda: ports.is_listening(port) or process.poll() is not None, what="listening")
        yield process
    finally:
        process.terminate()
        process.output = process.communicate(timeout=10)[0]


def served(proxy):
    return proxy.fetch("/").text


def serving(word, **rest):
    return dict(config=TEXT, values={"word": word}, **rest)


def slow_backend(started, gate):
    def program(connection):
        if connection.next_request() is None:
            return
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        started.set()
        gate.wait(20)
        connection.send(b"later")

    return program


def echo_backend(connection):
    request = connection.next_request()
    if request is None:
        return
    if "upgrade" not in request:
        connection.perform(reply())
        return
    connection.sock.settimeout(None)
    connection.send(switching(request.get("sec-websocket-key")))
    while connection.buffer or connection.fill():
        connection.send(bytes(connection.buffer))
        connection.buffer.clear()
        connection.log.clear()


def echoes(client, data):
    client.send(data)
    return client.read_exactly(len(data)) == data


# MARK: The command line


@pytest.mark.parametrize("arguments", [["-t"], ["-tq"], ["-t", "-q"]])
def test_t_accepts_a_good_file(proxy, arguments):
    made = proxy(**serving("a", start=False))
    result = made.run(*arguments)
    assert result.returncode == 0 and result.stdout == ""
    if "q" in "".join(arguments):
        assert result.stderr == ""
    else:
        assert f"the configuration file {made.config_path} syntax is ok" in result.stderr
        assert f"configuration file {made.config_path} test is successful" in result.stderr


@pytest.mark.parametrize("arguments", [["-t"], ["-t", "-q"], ["-T"]])
def test_t_refuses_a_bad_file(proxy, arguments):
    made = proxy(config=TEXT.replace("events {}", "events {}\nno_such_directive on;"), start=False)
    result = made.run(*arguments)
    assert result.returncode == 1
    assert "no_such_directive" in result.stderr
    assert f"{made.config_path}:{5 + (os.geteuid() == 0 and KIND == 'nginx')}" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("user", ["nosuchuser", "root nosuchgroup"])
def test_t_refuses_a_user_that_there_is_none_of(proxy, user):
    made = proxy(config=f"user {user};\nevents {{}}\n", start=False)
    result = made.run("-t")
    assert result.returncode == 1
    assert user.split()[-1] in result.stderr and f"{made.config_path}:1" in result.stderr
    assert "test is successful" not in result.stderr


def test_t_refuses_a_pid_file_that_cannot_be_written(proxy):
    made = proxy(config="daemon off;\npid <dir>/absent/proxy.pid;\nevents {}\n", start=False)
    result = made.run("-t")
    assert result.returncode == 1
    message = f'open() "{made.directory}/absent/proxy.pid" failed (2: No such file or directory)'
    assert message in result.stderr and "test failed" in result.stderr
    if KIND != "nginx":
        started = made.run()
        assert started.returncode == 1 and message in started.stderr


def test_t_refuses_a_unix_socket_that_has_no_place(proxy):
    made = proxy("server { listen unix:<dir>/absent/x.sock; }", start=False)
    result = made.run("-t")
    assert result.returncode == 1
    assert f"bind() to unix:{made.directory}/absent/x.sock failed (2: No such file or directory)" in result.stderr


def test_values_of_options_may_follow_at_once(proxy):
    made = proxy(config="pid <dir>/proxy.pid;\nevents {}\n", start=False)
    path = made.config_path
    for arguments in (["-t", f"-c{path}"], [f"-tqc{path}"], ["-tq", f"-p{path.parent}/", f"-c{path.name}"]):
        result = subprocess.run([binary(KIND), *arguments], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    result = subprocess.run([binary(KIND), f"-c{path}", "-sreload"], capture_output=True, text=True)
    assert result.returncode == 1 and "proxy.pid" in result.stderr


@pytest.mark.switchyard_only
@pytest.mark.parametrize("command", ["lua-types", "directives", "lua-reference"])
def test_what_cannot_be_written_is_told(command):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([binary(KIND), command], stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1 and "28: No space left on device" in result.stderr


@pytest.mark.switchyard_only
def test_t_leaves_the_pid_file_alone(proxy):
    made = proxy(config="pid <dir>/proxy.pid;\nevents {}\n", start=False)
    assert made.run("-t").returncode == 0
    path = made.directory / "proxy.pid"
    assert not path.exists()
    path.write_text("12\n")
    assert made.run("-t").returncode == 0
    assert path.read_text() == "12\n"


@pytest.mark.switchyard_only
def test_t_lists_every_error_with_its_place(proxy):
    made = proxy(config="events {}\nhttp {\n    foo on;\n    server {\n  listen 1 2 3;\n  keepalive_timeout x; } }\n",
                 start=False)
    result = made.run("-t")
    assert result.returncode == 1
    places = re.findall(re.escape(str(made.config_path)) + r":(\d+):(\d+)", result.stderr)
    assert ("3", "5") in places and {"3", "5", "6"} == {line for line, _ in places}


def test_t_does_not_listen(proxy):
    made = proxy(**serving("a"))
    assert made.run("-t").returncode == 0
    assert served(made) == "a"


def test_a_missing_file_is_named(proxy):
    made = proxy(**serving("a", start=False))
    made.config_path = made.directory / "absent.conf"
    result = made.run("-t")
    assert result.returncode == 1 and "absent.conf" in result.stderr


def test_capital_t_prints_every_file(proxy):
    made = proxy(config=TEXT.replace("http {", "http {\n    include <dir>/more.conf;"), values={"word": "a"},
                 start=False)
    (made.directory / "more.conf").write_text("keepalive_timeout 7s; # a comment stays\n")
    result = made.run("-T")
    assert result.returncode == 0
    assert f"# configuration file {made.config_path}:\n" in result.stdout
    assert f"# configuration file {made.directory}/more.conf:\nkeepalive_timeout 7s; # a comment stays\n" in result.stdout
    assert made.config_path.read_text() in result.stdout


@pytest.mark.parametrize("option", ["-v", "-V"])
def test_the_version(option):
    result = subprocess.run([binary(KIND), option], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0
    assert re.match(rf"{KIND} version: {KIND}/\d+\.\d+", result.stderr)
    assert (result.stderr.count("\n") > 1) == (option == "-V")


@pytest.mark.parametrize("arguments", [["-z"], ["-s", "explode"], ["-c"], ["stray"]])
def test_a_wrong_command_line(arguments):
    result = subprocess.run([binary(KIND), *arguments], capture_output=True, text=True, timeout=20)
    assert result.returncode == (1 if KIND == "nginx" or arguments != ["stray"] else result.returncode) != 0
    assert result.stderr


def test_g_adds_to_the_main_level(proxy):
    made = proxy(config=TEXT.replace("pid <dir>/proxy.pid;\n", ""), values={"word": "a"}, start=False)
    made.args = ["-g", f"pid {made.directory}/other.pid;"]
    made.start()
    wait_for(lambda: made.log("other.pid").strip() == str(made.pid), what="the pid file")


def test_g_cannot_repeat_what_the_file_says(proxy):
    made = proxy(**serving("a", start=False))
    result = made.run("-t", "-g", "daemon off;")
    assert result.returncode == 1 and "daemon" in result.stderr


def test_p_is_what_relative_paths_start_from(proxy, tmp_path):
    text = TEXT.replace("<dir>/proxy.pid", "run.pid").replace("<dir>/access.log", "logs/access.log").replace(
        "<dir>/paths.conf", "paths.conf")
    made = proxy(config=text, values={"word": "a"}, start=False)
    process = subprocess.Popen(
        [binary(KIND), "-p", str(made.directory), "-c", "proxy.conf"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: ports.is_listening(made.port), what="listening")
        assert served(made) == "a"
        wait_for(lambda: made.log("run.pid").strip() == str(process.pid), what="the pid file")
        made.log_lines("logs/access.log", 1)
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_e_is_the_error_log_of_a_file_that_names_none(proxy):
    made = proxy(
        config=TEXT.replace("error_log <dir>/error.log info;\n", "").replace(
            'return 200 "<word>"', "proxy_pass http://127.0.0.1:<dead>"),
        values={"dead": ports.free_port()}, start=False)
    made.args = ["-e", str(made.directory / "own.log")]
    made.start()
    assert made.fetch().status == 502
    made.log_lines("own.log", 1)
    assert "[error]" in made.log("own.log") and "upstream" in made.log("own.log")


def test_an_address_in_use_ends_the_start(proxy):
    first = proxy(**serving("a"))
    second = proxy(config=TEXT, values={"word": "b", "port": first.port}, wait=False)
    assert second.wait_exit(15) == 1
    assert "Address already in use" in second.logs() and str(first.port) in second.logs()
    assert served(first) == "a"


def test_daemon_on_returns_to_the_shell(proxy):
    made = proxy(config=TEXT.replace("daemon off;", "daemon on;"), values={"word": "a"}, start=False)
    try:
        # This also waits for the end of what it prints.
        assert made.run(timeout=8).returncode == 0
        wait_for(lambda: made.log("proxy.pid").strip(), what="the pid file")
        pid = int(made.log("proxy.pid"))
        wait_for(lambda: ports.is_listening(made.port), what="listening")
        assert served(made) == "a"
        assert os.getsid(pid) != os.getsid(0)
    finally:
        stopped = made.run("-s", "stop").returncode
    assert stopped == 0
    wait_for(lambda: not ports.is_listening(made.port) and not made.log("proxy.pid"), what="the end")


def test_a_daemon_runs_when_its_start_has_returned(proxy):
    made = proxy(config=TEXT.replace("daemon off;", "daemon on;"), values={"word": "a"}, start=False)
    for _ in range(12):
        try:
            # Nothing but the end of the process is waited for.
            assert subprocess.run(made.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
            assert made.log("proxy.pid").strip() and ports.is_listening(made.port)
        finally:
            made.run("-s", "stop")
        wait_for(lambda: not ports.is_listening(made.port) and not made.log("proxy.pid"), what="the end")


@pytest.mark.parametrize("place", ["absent/proxy.pid", "logs"])
def test_a_daemon_that_cannot_start_says_so(proxy, place):
    text = TEXT.replace("daemon off;", "daemon on;").replace("<dir>/proxy.pid", f"<dir>/{place}")
    made = proxy(config=text, values={"word": "a"}, start=False)
    began = made.run()
    assert began.returncode == 1
    assert f'open() "{made.directory}/{place}" failed' in began.stderr
    if KIND != "nginx":
        assert not ports.is_listening(made.port)
    else:
        # Debian's leaves its process behind.
        os.kill(int(re.findall(r"\[emerg\] (\d+)#", made.log())[-1]), signal.SIGTERM)


# MARK: Signals and -s


def test_the_pid_file_lives_as_long_as_the_process(proxy):
    made = proxy(**serving("a"))
    wait_for(lambda: made.log("proxy.pid") == f"{made.pid}\n", what="the pid file")
    assert made.stop() == 0
    assert not (made.directory / "proxy.pid").exists()


def test_a_reload_moves_the_pid_file_or_changes_nothing(proxy):
    made = proxy(**serving("a"))
    wait_for(lambda: made.log("proxy.pid"), what="the pid file")
    text = TEXT.replace("<word>", "b")
    made.reload(text.replace("<dir>/proxy.pid", "<dir>/absent/proxy.pid"))
    wait_for(lambda: "/absent/proxy.pid\" failed (2: No such file or directory)" in made.log(), what="a message")
    assert served(made) == "a" and made.log("proxy.pid") == f"{made.pid}\n"
    made.reload(text.replace("<dir>/proxy.pid", "<dir>/moved.pid"))
    wait_for(lambda: served(made) == "b", what="the new configuration")
    assert made.log("moved.pid") == f"{made.pid}\n"
    wait_for(lambda: not made.log("proxy.pid"), what="the end of the old file")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_to_stop(proxy, number):
    made = proxy(**serving("a"))
    assert served(made) == "a"
    made.signal(number)
    assert made.wait_exit() == 0
    assert not ports.is_listening(made.port)


@pytest.mark.parametrize("word", ["stop", "quit"])
def test_s_stops(proxy, word):
    made = proxy(**serving("a"))
    wait_for(lambda: made.log("proxy.pid"), what="the pid file")
    assert made.run("-s", word).returncode == 0
    assert made.wait_exit() == 0


def test_s_without_a_process_fails(proxy):
    made = proxy(**serving("a", start=False))
    result = made.run("-s", "stop")
    assert result.returncode == 1 and "proxy.pid" in result.stderr


def test_term_cuts_what_is_under_way(simple):
    started, gate = threading.Event(), threading.Event()
    made = simple("proxy_buffering off;")
    made.backend.program = slow_backend(started, gate)
    with Client(made.port) as client:
        client.request()
        assert started.wait(5)
        made.signal(signal.SIGTERM)
        assert made.wait_exit(3) == 0
        with pytest.raises((Closed, ConnectionResetError)):
            client.read_response()
    gate.set()


def test_quit_finishes_what_is_under_way_and_takes_no_more(simple):
    started, gate = threading.Event(), threading.Event()
    made = simple("proxy_buffering off;", server="location = /idle { return 200 idle; }")
    made.backend.program = slow_backend(started, gate)
    with Client(made.port) as client, Client(made.port) as idle:
        assert idle.fetch("/idle").text == "idle"
        client.request()
        assert started.wait(5)
        made.signal(signal.SIGQUIT)
        wait_for(lambda: not ports.is_listening(made.port), what="the end of listening")
        with pytest.raises(ConnectionRefusedError):
            Client(made.port)
        assert idle.is_closed()
        assert made.is_running
        gate.set()
        response = client.read_response()
        assert response.body == b"firstlater"
        assert client.is_closed()
    assert made.wait_exit() == 0


def test_quit_waits_for_a_tunnel(proxy, backend):
    backend.program = echo_backend
    made = proxy(MAP + "server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; " + RECIPE + "} }",
                 values={"backend": backend})
    with opened(made.port, timeout=20) as client:
        made.signal(signal.SIGQUIT)
        wait_for(lambda: not ports.is_listening(made.port), what="the end of listening")
        time.sleep(0.3)
        assert echoes(client, b"still here")
        assert made.is_running
    assert made.wait_exit() == 0


@pytest.mark.clocked
def test_worker_shutdown_timeout_ends_the_wait(proxy, backend):
    backend.program = echo_backend
    made = proxy(MAP + "server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; " + RECIPE + "} }",
                 main="worker_shutdown_timeout 1s;\n", values={"backend": backend})
    with opened(made.port, timeout=20) as client:
        began = time.monotonic()
        made.signal(signal.SIGQUIT)
        assert client.is_closed(within=5)
        assert 0.7 < time.monotonic() - began < 3
    assert made.wait_exit() == 0


@pytest.mark.clocked
@pytest.mark.switchyard_only
def test_worker_shutdown_timeout_ends_workers_that_a_reload_takes_away(proxy, backend):
    """Clients that have nothing under way, or half a head, do not hold them up."""
    gate = threading.Event()
    backend.program = slow_backend(threading.Event(), gate)
    text = "server { listen 127.0.0.1:<port> reuseport; http2 on; location / { proxy_pass http://<backend>; } }"
    made = proxy(config=whole(text, "worker_shutdown_timeout 1s;\n").replace("worker_processes 1", "worker_processes 3"),
                 values={"backend": backend})
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            client = stack.enter_context(HTTP2Client(made.port))
            client.begin("/")
            stack.enter_context(Client(made.port)).send(b"GET / HT")
        backend.wait_requests(12)
        before = len(os.listdir(f"/proc/{made.pid}/task"))
        began = time.monotonic()
        made.reload(whole(text, "worker_shutdown_timeout 1s;\n"))
        wait_for(lambda: len(os.listdir(f"/proc/{made.pid}/task")) <= before - 2, 10, "the end of two workers")
        assert 0.7 < time.monotonic() - began < 3
    gate.set()


def test_term_after_quit_ends_at_once(proxy, backend):
    backend.program = echo_backend
    made = proxy(MAP + "server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; " + RECIPE + "} }",
                 values={"backend": backend})
    with opened(made.port, timeout=20) as client:
        made.signal(signal.SIGQUIT)
        wait_for(lambda: not ports.is_listening(made.port), what="the end of listening")
        made.signal(signal.SIGTERM)
        assert made.wait_exit(3) == 0
        assert client.is_closed()


STALLED = """\
daemon off;
pid <dir>/proxy.pid;
error_log <log> info;
worker_shutdown_timeout 1s;
events {}
http {
    include <dir>/paths.conf;
    access_log /dev/<stream>;
    server { listen 127.0.0.1:<port>; location / { return 200 "a"; } }
}
"""


def stall(made):
    """Starts a proxy whose output nobody reads, and has it stand still in a write to that."""
    reader, writer = os.pipe()
    made.process = subprocess.Popen(made.command(), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
    made.output = os.fdopen(writer, "wb")
    made.wait_ready()
    with Client(made.port, timeout=1) as client:
        with pytest.raises((TimeoutError, Closed)):
            for _ in range(3000):
                client.fetch("/" + 200 * "x")
    return reader


@pytest.mark.clocked
@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGQUIT], [signal.SIGQUIT, signal.SIGTERM]])
def test_a_log_that_nobody_reads_does_not_hold_up_the_end(proxy, signals):
    if KIND == "nginx" and signal.SIGTERM not in signals:
        pytest.skip("nginx's workers are waited for without end")
    made = proxy(config="", start=False)
    made.write(STALLED.replace("<log>", "<dir>/error.log").replace("<stream>", "stdout"))
    reader = stall(made)
    try:
        began = time.monotonic()
        for number in signals:
            made.signal(number)
        assert made.wait_exit() == 0
        assert time.monotonic() - began < 6
        assert not made.log("proxy.pid")
        if KIND != "nginx":
            assert "worker threads that are held up and left behind: 1" in made.log()
    finally:
        os.close(reader)


@pytest.mark.clocked
@pytest.mark.switchyard_only
def test_term_ends_a_process_whose_every_thread_is_held_up(proxy):
    made = proxy(config="", start=False)
    made.write(STALLED.replace("<log>", "stderr").replace("<stream>", "stderr"))
    reader = stall(made)
    try:
        began = time.monotonic()
        made.signal(signal.SIGUSR1)
        made.signal(signal.SIGTERM)
        assert made.wait_exit() == 0
        assert time.monotonic() - began < 8
        assert not made.log("proxy.pid")
    finally:
        os.close(reader)


@pytest.mark.switchyard_only
def test_term_ends_a_process_that_opens_a_log_nobody_reads(proxy):
    made = proxy(config="", start=False)
    os.mkfifo(made.directory / "pipe")
    made.write(STALLED.replace("<log>", "<dir>/error.log").replace("/dev/<stream>", "<dir>/pipe"))
    reader = os.open(made.directory / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    made.start()
    # It listens before all of its logs are open.
    wait_for(lambda: "start 1 worker thread" in made.log(), what="the workers")
    os.close(reader)
    made.signal(signal.SIGUSR1)
    wait_for(lambda: made.log().count("reopening logs") == 2, what="the reopening")
    time.sleep(0.2)
    made.signal(signal.SIGTERM)
    assert made.wait_exit() == 0
    assert not made.log("proxy.pid")


@pytest.mark.parametrize("way", ["signal", "-s"])
def test_logs_are_reopened(proxy, way):
    made = proxy(**serving("a"))
    served(made)
    made.log_lines("access.log", 1)
    os.rename(made.directory / "access.log", made.directory / "access.old")
    served(made)
    made.log_lines("access.old", 2)
    if way == "signal":
        made.signal(signal.SIGUSR1)
    else:
        assert made.run("-s", "reopen").returncode == 0
    wait_for(lambda: (made.directory / "access.log").exists(), what="the new log")

    def is_written():
        served(made)
        return made.log("access.log")

    wait_for(is_written, what="a line in the new log")
    assert made.is_running


@pytest.mark.parametrize("way", [signal.SIGUSR1, signal.SIGHUP])
def test_lines_held_back_stay_with_those_from_before(proxy, way):
    made = proxy(**{**serving("a"), "config": TEXT.replace("access.log;", "access.log combined buffer=64k;")})
    for _ in range(3):
        served(made)
    assert not made.log("access.log")
    os.rename(made.directory / "access.log", made.directory / "access.old")
    made.signal(way)
    wait_for(lambda: (made.directory / "access.log").exists(), what="the new log")
    assert len(made.log("access.old").splitlines()) == 3
    served(made)
    made.stop()
    assert len(made.log("access.log").splitlines()) == 1
    assert len(made.log("access.old").splitlines()) == 3


def test_a_reload_opens_logs_that_were_moved(proxy):
    made = proxy(**serving("a"))
    served(made)
    made.log_lines("access.log", 1)
    for name in ["access", "error"]:
        os.rename(made.directory / f"{name}.log", made.directory / f"{name}.old")
    made.signal(signal.SIGHUP)
    for name in ["access", "error"]:
        wait_for(lambda: (made.directory / f"{name}.log").exists(), what=f"the new {name}.log")
    served(made)
    made.log_lines("access.log", 1)
    assert len(made.log("access.old").splitlines()) == 1
    before = made.log("error.old")
    made.signal(signal.SIGHUP)
    wait_for(lambda: "configuration 3 runs" in made.log(), what="the second reload")
    assert made.log("error.old") == before
    # What stands where it stood is left alone.
    assert len(made.log("access.log").splitlines()) == 1


def with_workers(number, text=TEXT):
    return text.replace("daemon off;", f"daemon off;\nworker_processes {number};")


def open_files(made):
    return len(os.listdir(f"/proc/{made.pid}/fd"))


@pytest.mark.switchyard_only
def test_workers_that_a_reload_takes_away_leave_nothing_and_keep_no_log(proxy):
    made = proxy(**serving("a"))
    # The system takes connections before the worker has all that it needs.
    assert served(made) == "a"
    before = open_files(made)
    for number in range(2, 18, 2):
        made.reload(with_workers(4))
        wait_for(lambda: f"configuration {number} runs" in made.log(), what="more workers")
        os.rename(made.directory / "access.log", made.directory / "access.old")
        made.reload(TEXT)
        wait_for(lambda: (made.directory / "access.log").exists(), what="the new log")
        wait_for(lambda: f"configuration {number + 1} runs" in made.log(), what="one worker")
    assert served(made) == "a"
    wait_for(lambda: open_files(made) <= before, what="no more files than before")


def watching(made):
    """How many event loops of the process wait for clients at its port."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(f":{made.port:04X}") and row[3] == "0A")
    watched = re.compile(rf"^tfd:.* ino:{int(inode):x} ", re.MULTILINE)
    return sum(bool(watched.search(path.read_text())) for path in Path(f"/proc/{made.pid}/fdinfo").iterdir())


@pytest.mark.switchyard_only
def test_workers_for_which_there_were_no_files_listen_when_a_reload_makes_them(proxy):
    made = proxy(**serving("a"))
    resource.prlimit(made.pid, resource.RLIMIT_NOFILE, (60, 60))
    made.reload(with_workers(40))
    wait_for(lambda: "while reconfiguring" in made.log(), what="a lack of files")

    def reloaded():
        # The configuration is a file too, for which there may be room only once connections of this test have ended.
        made.reload(with_workers(3))
        time.sleep(0.3)
        return "configuration 3 runs" in made.log()

    wait_for(reloaded, what="the next reload")
    wait_for(lambda: watching(made) == 3, what="three workers that listen")
    assert served(made) == "a"


def test_failures_of_access_logs_are_told_once_in_a_minute(proxy):
    made = proxy("""
        server { listen 127.0.0.1:<port>;
            location /full { access_log /dev/full; return 200; }
            location /held { access_log /dev/full combined buffer=1k flush=1ms; return 200; }
            location /named { access_log <dir>/none/$arg_name.log; return 200; }
            location /both { access_log /dev/full; error_log /dev/full; return 200; }
        }""")
    for _ in range(3):
        for path in ["/full", "/held", "/named?name=a", "/named?name=b", "/both"]:
            assert made.fetch(path).status == 200
    wait_for(lambda: "/none/a.log" in made.log() and "/dev/full" in made.log(), what="what is said of them")
    lines = [line for line in made.log().splitlines() if "[alert]" in line or "[crit]" in line]
    assert len(lines) == 2, lines
    assert any('[alert]' in line and 'write() to "/dev/full" failed (28: No space left' in line for line in lines)
    named = next(line for line in lines if "[crit]" in line)
    assert re.search(
        r'open\(\) ".*/none/a\.log" failed \(2: No such file or directory\) while logging request, client: 127', named)


# MARK: Reload


@pytest.mark.parametrize("way", ["signal", "-s"])
def test_a_reload_takes_effect(proxy, way):
    made = proxy(**serving("before"))
    assert served(made) == "before"
    made.values["word"] = "after"
    made.write(TEXT)
    if way == "signal":
        made.reload()
    else:
        assert made.run("-s", "reload").returncode == 0
    wait_for(lambda: served(made) == "after", what="the new configuration")
    assert made.is_running


def test_a_faulty_file_leaves_the_old_configuration(proxy):
    made = proxy(**serving("good"))
    for wrong in ("no_such_directive on;", "events { worker_connections many; }", "http { server { listen nowhere:x; } }"):
        before = made.log("error.log").count("[emerg]")
        made.reload(TEXT + wrong)
        wait_for(lambda: made.log("error.log").count("[emerg]") > before, what="a message")
        assert served(made) == "good"
    result = made.run("-s", "reload")
    assert result.returncode == 1
    assert served(made) == "good" and made.is_running
    made.values["word"] = "better"
    made.reload(TEXT)
    wait_for(lambda: served(made) == "better", what="the next good configuration")


@pytest.mark.parametrize("word", ["reload", "reopen", "quit", "stop"])
@pytest.mark.parametrize("wrong, named", [
    ("server { listen 127.0.0.1:<other>; location / { proxy_pass http://no.such.host.invalid; } }",
     'host not found in upstream "no.such.host.invalid'),
    ("server { listen 127.0.0.1:<other> ssl; ssl_certificate <dir>/none.crt; ssl_certificate_key <dir>/none.key; }", "none.crt"),
])
def test_s_wants_a_configuration_that_can_run(proxy, word, wrong, named):
    made = proxy(config=TEXT, values={"word": "good", "other": ports.free_port()})
    made.write(TEXT.replace("http {", "http { " + wrong))
    result = made.run("-s", word)
    assert result.returncode == 1 and named in result.stderr
    assert served(made) == "good" and "signal" not in made.log("error.log").split("start worker")[-1]


def test_s_opens_no_log(proxy):
    made = proxy(**serving("good"))
    made.write(TEXT.replace("http {", "http { access_log <dir>/absent/other.log;"))
    assert made.run("-s", "reload").returncode == 0
    wait_for(lambda: 'absent/other.log" failed' in made.log(), what="a message")
    made.write(TEXT.replace("<dir>/access.log", "<dir>/other.log"))
    assert made.run("-s", "stop").returncode == 0
    assert made.wait_exit() == 0
    assert not (made.directory / "other.log").exists()


def file_limit(made):
    """The soft limit of whoever serves; 0 while nobody does."""
    for pid in made.worker_pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        return int(re.search(r"Max open files +(\d+)", limits)[1])
    return 0


def limited(number, text=TEXT):
    return text.replace("events {}", f"worker_rlimit_nofile {number};\nevents {{}}")


@pytest.mark.switchyard_only
def test_a_reload_sets_the_limit_of_open_files(proxy):
    made = proxy(config=limited(2000), values={"word": "a"})
    assert file_limit(made) == 2000
    for number in (3000, 1500):
        made.reload(limited(number))
        wait_for(lambda: file_limit(made) == number, what="another limit")
    made.reload(TEXT)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    wait_for(lambda: file_limit(made) == soft, what="the limit of before")
    assert served(made) == "a"
    assert "[warn]" not in made.log() and "[alert]" not in made.log()


@pytest.mark.switchyard_only
def test_a_limit_below_what_is_open_stops_neither_clients_nor_the_next_reload(proxy):
    made = proxy(**serving("a"))
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            client = stack.enter_context(contextlib.closing(Client(made.port)))
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.read_response()
        for number, limit in ((2, 100), (3, 1000)):
            made.reload(limited(limit))
            wait_for(lambda: f"configuration {number} runs" in made.log(), what="a reload")
            assert served(made) == "a"
        wait_for(lambda: file_limit(made) == 1000, what="the limit")


@pytest.mark.switchyard_only
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_a_daemon_logs_whatever_streams_it_was_started_without(proxy, closed):
    made = proxy(config=TEXT.replace("daemon off;", "daemon on;"), values={"word": "a"}, start=False)
    command = " ".join(made.command()) + f" {closed}"
    assert subprocess.run(["sh", "-c", command], stderr=subprocess.DEVNULL).returncode == 0
    pid = int(made.log("proxy.pid"))
    try:
        wait_for(lambda: served(made) == "a", what="an answer")
        assert "start " in made.log()
        if KIND != "nginx":
            wait_for(lambda: "GET / " in made.log("access.log"), what="the access log")
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not made.log("proxy.pid"), what="the end")


@pytest.mark.switchyard_only
@pytest.mark.skipif(os.geteuid() != 0, reason="root's rights are taken from the process")
def test_a_limit_of_open_files_that_is_not_allowed_is_told_once(proxy):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    made = proxy(config=TEXT, values={"word": "a"}, start=False)
    made.command = lambda *arguments: ["setpriv", "--bounding-set", "-sys_resource", *Proxy.command(made, *arguments)]
    made.start()
    for number in (2, 3):
        made.reload(limited(hard + 1))
        wait_for(lambda: f"configuration {number} runs" in made.log(), what="a reload")
    told = f"[alert] {made.pid}#{made.pid}: setrlimit() failed (1: Operation not permitted), worker_rlimit_nofile {hard + 1}"
    assert made.log().count(told) == 1
    assert served(made) == "a"


@pytest.mark.switchyard_only
@pytest.mark.parametrize("name, changed", [
    ("daemon", lambda text: text.replace("daemon off;", "daemon on;")), ("user", lambda text: "user root;\n" + text)])
def test_a_reload_says_what_takes_a_restart(proxy, name, changed):
    made = proxy(**serving("a"))
    told = f'[warn] {made.pid}#{made.pid}: the "{name}" directive has changed, which takes a restart: ignored'
    for number, text, count in ((2, TEXT, 0), (3, changed(TEXT), 1), (4, TEXT, 1)):
        made.reload(text)
        wait_for(lambda: f"configuration {number} runs" in made.log(), what="a reload")
        assert made.log().count(told) == count and made.log().count("[warn]") == count
    # The terminal is still looked at.
    assert name in made.log("output.txt")
    assert served(made) == "a"


def test_more_connections_than_files_are_told(proxy):
    made = proxy(**serving("a", start=False))
    told = "512 worker_connections exceed open file resource limit: 300"
    made.command = lambda *arguments: ["prlimit", "--nofile=300:", *Proxy.command(made, *arguments)]
    tested = made.run("-t").stderr
    assert f"[warn] {told}" in tested
    assert tested.index("syntax is ok") < tested.index(told) < tested.index("test is successful")
    # nginx keeps what -t says.
    before = made.log().count(told)
    made.start()
    assert f"[warn] {told}" in made.log("output.txt") and made.log().count(told) == before + 1
    made.reload()
    wait_for(lambda: made.log().count(told) == before + 2, what="the same at a reload")
    made.reload(TEXT.replace("events {}", "events { worker_connections 300; }"))
    wait_for(lambda: served(made) == "a" and made.log().count("SIGHUP") == 2, what="another reload")
    made.write(TEXT.replace("events {}", "events { worker_connections 300; }"))
    assert "[warn]" not in made.run("-t").stderr
    made.write(limited(600))
    assert "[warn]" not in made.run("-t").stderr
    if KIND != "nginx":
        made.write(TEXT.replace("events {}", "worker_processes 2;\nevents { worker_connections 200; }"))
        assert "200 worker_connections of each of 2 workers, which share it, exceed" in made.run("-t").stderr
    assert made.log().count(told) == before + 2


def test_a_listener_that_cannot_be_made_leaves_the_old_configuration(proxy):
    with Backend() as occupant:
        made = proxy(config=TEXT, values={"word": "good", "taken": occupant.port})
        made.reload(TEXT.replace("listen", "listen 127.0.0.1:<taken>; listen").replace("<word>", "bad"))
        wait_for(lambda: "Address already in use" in made.log("error.log"), 10, "a message")
        assert served(made) == "good" and made.is_running


def test_a_reload_that_fails_leaves_no_log_open(proxy):
    if KIND == "nginx":
        pytest.skip("looks into the process of ours")
    made = proxy(**serving("a"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        made.reload(TEXT.replace("/access.log", "/unused.log").replace(
            "listen", f"listen 127.0.0.1:{taken}; listen"))
        wait_for(lambda: "still could not bind()" in made.log(), what="the end of the reload")
    assert (made.directory / "unused.log").exists()

    def open_files():
        return {os.readlink(entry) for entry in Path(f"/proc/{made.pid}/fd").iterdir() if entry.exists()}

    wait_for(lambda: not any(name.endswith("/unused.log") for name in open_files()), what="the file to be closed")
    assert any(name.endswith("/access.log") for name in open_files()) and served(made) == "a"


def test_a_reload_opens_and_closes_listeners(proxy):
    made = proxy(config=TEXT, values={"word": "a", "more": ports.free_port()})
    made.reload(TEXT.replace("listen", "listen 127.0.0.1:<more>; listen"))
    wait_for(lambda: ports.is_listening(made.values["more"]), what="the new listener")
    made.reload(TEXT)
    wait_for(lambda: not ports.is_listening(made.values["more"]), what="the end of the old listener")
    assert served(made) == "a"


def test_clients_of_a_listener_that_a_reload_takes_away_are_answered_by_what_they_came_to(proxy):
    two = TEXT.replace("    server {", """    server { listen 127.0.0.1:<more>; location / { return 200 "first"; } }
    server {""", 1)
    made = proxy(config=two, values={"word": "a", "more": ports.free_port()})
    more = made.values["more"]
    with Client(more) as silent, Client(more) as half, Client(more) as idle:
        half.send(b"GET / HTTP/1.1\r\nHost: a.te")
        idle.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert idle.read_response().body == b"first"
        made.reload(TEXT)
        wait_for(lambda: not ports.is_listening(more), what="the end of the old listener")
        half.send(b"st\r\n\r\n")
        silent.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for client in half, silent:
            response = client.read_response()
            assert (response.status, response.body, response.get("connection")) == (200, b"first", "close")
        assert idle.is_closed()


def test_a_request_goes_on_under_the_configuration_it_began_with(simple):
    started, gate = threading.Event(), threading.Event()
    made = simple("proxy_buffering off; add_header X-Word old;", server="location = /word { return 200 old; }")
    made.backend.program = slow_backend(started, gate)
    text = made.config_path.read_text()
    with Client(made.port) as client:
        client.request()
        assert started.wait(5)
        made.reload(text.replace(" old;", " new;"))
        wait_for(lambda: made.fetch("/word").text == "new", what="the new configuration")
        gate.set()
        response = client.read_response()
        assert (response.get("x-word"), response.body) == ("old", b"firstlater")


GENERATIONS = """
upstream pool { server <backend>; keepalive 16; }
server {
    listen 127.0.0.1:<port>;
    location / {
        proxy_pass http://pool; proxy_http_version 1.1; proxy_set_header Connection "";
        add_header X-Generation 0;
    }
    location = /generation { return 200 "0"; }
}
"""


def test_ten_thousand_requests_during_ten_reloads(proxy, backend):
    made = proxy(GENERATIONS, main="", values={"backend": backend})
    text = made.config_path.read_text()
    lock = threading.Lock()
    counts = {"done": 0, "reused": 0, "retried": 0}
    failures, generations = [], set()
    finished = threading.Event()

    def load(keeps_alive):
        client = None
        while not finished.is_set():
            fresh = client is None
            try:
                client = client or Client(made.port, timeout=10)
                response = client.fetch("/x", headers=() if keeps_alive else [("Connection", "close")])
                if response.status != 200 or response.body != b"ok":
                    failures.append(f"{response.status} {response.body[:80]}")
                with lock:
                    counts["done"] += 1
                    counts["reused"] += not fresh
                    generations.add(response.get("x-generation"))
                if response.get("connection") == "close":
                    client.close()
                    client = None
            except (OSError, Closed) as error:
                client = None
                # nginx closes idle connections on a reload, which may cross with a request on its way.
                if not fresh and KIND == "nginx":
                    with lock:
                        counts["retried"] += 1
                else:
                    failures.append(f"{'fresh' if fresh else 'reused'}: {error!r}")

    threads = [threading.Thread(target=load, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 11):
            wait_for(lambda: counts["done"] > (number - 1) * 900 or failures, 60, "progress")
            made.write(text.replace("X-Generation 0", f"X-Generation {number}").replace('"0"', f'"{number}"'))
            made.reload()
            wait_for(lambda: made.fetch("/generation").text == str(number), 10, f"generation {number}")
        wait_for(lambda: counts["done"] >= 10000 or failures, 60, "ten thousand requests")
    finally:
        finished.set()
        for thread in threads:
            thread.join(15)
    assert failures == []
    assert counts["done"] >= 10000 and counts["reused"] > 1000
    assert {str(number) for number in range(0, 11)} <= generations


def test_no_connection_is_lost_while_the_number_of_workers_changes(proxy, backend):
    text = TEXT.replace("daemon off;", "daemon off;\nworker_processes <workers>;").replace(
        'return 200 "<word>"', "proxy_pass http://<backend>; add_header X-Word <word>")
    made = proxy(config=text, values={"word": "0", "workers": 2, "backend": backend})
    failures, finished, done = [], threading.Event(), [0] * 6

    def load(index):
        while not finished.is_set():
            try:
                response = made.fetch("/", headers=[("Connection", "close")])
                done[index] += 1
                if response.body != b"ok":
                    failures.append(response.raw)
            except (OSError, Closed) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    try:
        for number, workers in enumerate((4, 1, 3, 2, 1, 4, 1, 2), 1):
            made.values.update(word=str(number), workers=workers)
            made.reload(text)
            wait_for(lambda: made.fetch("/").get("x-word") == str(number), 10, "the new configuration")
            time.sleep(0.15)
    finally:
        finished.set()
        for thread in threads:
            thread.join(15)
    assert not failures
    assert sum(done) > 300


@pytest.mark.parametrize("is_known", [True, False])
def test_a_buffered_log_has_what_outlives_a_reload(proxy, backend, is_known):
    text = TEXT.replace("http {", "http { " + MAP).replace(
        "location / {",
        "location /ws/ { access_log <dir>/tunnels.log combined buffer=32k flush=1s; " + RECIPE
        + " proxy_pass http://<backend>; } location / {")
    made = proxy(config=text.replace("<word>", "a"), values={"backend": backend})
    backend.program = echo_backend
    if is_known:
        # The buffer is there before the reload.
        assert made.fetch("/ws/").status == 200
    with opened(made.port, timeout=20) as client:
        made.reload(text.replace("<word>", "b").replace("tunnels.log", "other.log"))
        wait_for(lambda: served(made) == "b", what="the reload")
        assert echoes(client, b"still here")
    assert " 101 " in made.log_lines("tunnels.log", 1 + is_known)[-1]


def test_tunnels_of_workers_that_a_reload_does_without_go_on(proxy, backend):
    backend.program = echo_backend
    text = TEXT.replace("daemon off;", "daemon off;\nworker_processes <workers>;").replace(
        'return 200 "<word>";', "proxy_pass http://<backend>; add_header X-Word <word>;" + RECIPE).replace(
        "http {", "http {" + MAP, 1)
    made = proxy(config=text, values={"word": "0", "workers": 4, "backend": backend})
    tunnels = [opened(made.port, timeout=20) for _ in range(40)]
    try:
        made.values.update(word="1", workers=1)
        made.reload(text)
        wait_for(lambda: made.fetch("/").get("x-word") == "1", 10, "the new configuration")
        assert all(echoes(tunnel, b"still here") for tunnel in tunnels)
        made.signal(signal.SIGTERM)
        assert made.wait_exit() == 0
    finally:
        for tunnel in tunnels:
            tunnel.close()


def test_five_hundred_tunnels_across_ten_reloads(proxy, backend):
    backend.program = echo_backend
    made = proxy(
        MAP + "server { listen 127.0.0.1:<port>; location / { proxy_pass http://<backend>; " + RECIPE
        + " } location = /generation { return 200 '0'; } }",
        values={"backend": backend})
    text = made.config_path.read_text()
    tunnels = [opened(made.port, timeout=20) for _ in range(500)]
    try:
        for number in range(1, 11):
            made.write(text.replace("'0'", f"'{number}'"))
            made.reload()
            wait_for(lambda: made.fetch("/generation").text == str(number), 15, f"generation {number}")
            for index, tunnel in enumerate(tunnels):
                tunnel.send(b"%d of %d" % (index, number))
            for index, tunnel in enumerate(tunnels):
                expected = b"%d of %d" % (index, number)
                assert tunnel.read_exactly(len(expected)) == expected
        assert len(backend.connections) == 500
    finally:
        for tunnel in tunnels:
            tunnel.close()


@pytest.mark.switchyard_only
def test_workers_are_threads_of_one_process(proxy):
    made = proxy(config=TEXT.replace("events {}", "worker_processes 3;\nevents {}"), values={"word": "a"})
    assert served(made) == "a"
    assert len(os.listdir(f"/proc/{made.pid}/task")) >= 3
    with open(f"/proc/{made.pid}/task/{made.pid}/children") as children:
        assert children.read() == ""


# MARK: Without a file


@pytest.mark.switchyard_only
def test_proxy_prints_the_configuration_it_stands_for(tmp_path, proxy, backend):
    port = ports.free_port()
    result = subprocess.run(
        [binary(KIND), "proxy", "--listen", f"127.0.0.1:{port}", "--to", f"http://{backend}", "--print-config"],
        capture_output=True, text=True, timeout=20)
    assert result.returncode == 0 and "proxy_pass" in result.stdout
    (tmp_path / "printed.conf").write_text(result.stdout)
    tested = subprocess.run(
        [binary(KIND), "-t", "-p", str(tmp_path), "-c", "printed.conf"], capture_output=True, text=True, timeout=20)
    assert tested.returncode == 0, tested.stderr


@pytest.mark.switchyard_only
def test_proxy_without_a_file(backend):
    port = ports.free_port()
    with running(port, "proxy", "--listen", str(port), "--to", f"http://{backend}") as process:
        with Client(port) as client:
            assert client.fetch("/x").body == b"ok"
        backend.program = echo_backend
        with opened(port) as client:
            assert echoes(client, b"hello")
    assert process.returncode == 0


@pytest.mark.switchyard_only
def test_proxy_puts_requests_below_the_path_of_its_target(backend):
    port = ports.free_port()
    with running(port, "proxy", "--listen", str(port), "--to", f"http://{backend}/app"):
        with Client(port) as client:
            assert client.fetch("/a?b").body == b"ok"
    assert [request.target for request in backend.requests] == ["/app/a?b"]


@pytest.mark.switchyard_only
def test_a_fault_in_a_script_of_proxy_is_told_with_its_option(tmp_path):
    (tmp_path / "bad.lua").write_text("return {\n  x y\n}")
    result = subprocess.run(
        [binary(KIND), "proxy", "--listen", str(ports.free_port()), "--to", "127.0.0.1:1", "--script", "bad.lua"],
        cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert re.search(r'bad\.lua:2: "plugin": .*, loaded by --script$', result.stderr.strip())


def test_user_without_root_is_warned_of(tmp_path, proxy):
    """nginx, too, says so on standard error, whatever the level of the error log is."""
    (tmp_path / "user.conf").write_text(f"error_log stderr; pid {tmp_path}/p.pid; user nobody;\nevents {{}}\n")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    result = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
         binary(KIND), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "user.conf")],
        capture_output=True, text=True, timeout=20)
    assert result.returncode == 0
    assert re.search(r'\[warn\].*"user".* makes sense only if the .*runs with super-user privileges, ignored', result.stderr)


@pytest.mark.switchyard_only
@pytest.mark.parametrize("arguments, message", [
    (["proxy", "--listen", "abc", "--to", "a:1"], '--listen: found "abc", expected an address, a port'),
    (["proxy", "--listen", "80 80", "--to", "a:1"], '--listen: found "80 80", expected a port'),
    (["proxy", "--listen", "8080", "--to", "ftp://a"], '--to: found "ftp://a", expected a URL with http:, https:'),
    (["proxy", "--listen", "8080", "--to", "http://127.0.0.1:x"], "--to: invalid port in upstream"),
    (["proxy", "--listen", "8080", "--to", "a:1", "--watch"], "--watch: found no script to watch, expected --script"),
    (["proxy", "--listen", "8080", "--to", "127.0.0.1:1", "--script", "/no/such.lua"], '--script: cannot read "/no/such.lua"'),
    (["demo", "--listen", "abc"], '--listen: found "abc", expected an address, a port'),
    (["echo", "--listen", "name.invalid:1"], '--listen: found "name.invalid:1", expected a port, or a numeric address'),
    (["echo", "--listen", "abc"], '--listen: found "abc", expected a port, or a numeric address'),
])
def test_a_wrong_option_is_named(arguments, message):
    result = subprocess.run([binary(KIND), *arguments], capture_output=True, text=True, timeout=20)
    assert result.returncode == 1 and message in result.stderr
    assert "command line:" not in result.stderr


@pytest.mark.switchyard_only
def test_echo_names_the_address_that_is_in_use(backend):
    result = subprocess.run(
        [binary(KIND), "echo", "--listen", str(backend)], capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert f'bind() "{backend}" failed (98: Address already in use)' in result.stderr


@pytest.mark.switchyard_only
@pytest.mark.parametrize("listen, line", [
    ("127.0.0.1:{port}", "open http://localhost:{port}/ in a browser, or try:"),
    ("127.0.0.2:{port}", "open http://127.0.0.2:{port}/ in a browser, or try:"),
    ("unix:{directory}/demo.sock", "try, such as by curl --unix-socket {directory}/demo.sock:"),
])
def test_demo_says_where_it_is(tmp_path, listen, line):
    values = {"port": ports.free_port(), "directory": tmp_path}
    process = subprocess.Popen(
        [binary(KIND), "demo", "--listen", listen.format(**values)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True)
    try:
        began = [process.stdout.readline().rstrip("\n") for _ in range(4)]
        assert began[0].endswith(", proxy on " + listen.format(**values))
        assert began[1] == line.format(**values)
        url = began[3].split()[0]
        arguments = ["--unix-socket", str(tmp_path / "demo.sock")] if listen.startswith("unix:") else []
        fetched = subprocess.run(["curl", "-s", *arguments, url], capture_output=True, text=True, timeout=20)
        assert fetched.stdout.startswith("Hello from")
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.switchyard_only
def test_a_warning_is_called_one_once(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; server_name a a; }", start=False)
    stderr = made.run("-t").stderr
    assert "[warn] " in stderr and "conflicting server name" in stderr and "warning" not in stderr


@pytest.mark.switchyard_only
def test_a_script_of_proxy_finds_no_module_in_a_directory_that_everybody_writes(tmp_path):
    port, name = ports.free_port(), f"planted_{os.getpid()}"
    (tmp_path / "near.lua").write_text("return 'near'")
    (tmp_path / "hello.lua").write_text(f"""
        local isFound = pcall(require, "{name}")
        local near = require("near")
        return function() return {{ request = function(flow)
            return flow:respond{{ body = near .. " " .. tostring(isFound) }}
        end }} end""")
    planted = Path("/tmp") / f"{name}.lua"
    planted.write_text("return 1")
    arguments = ["--listen", f"127.0.0.1:{port}", "--to", "http://127.0.0.1:1", "--script", "hello.lua"]
    try:
        with running(port, "proxy", *arguments, cwd=tmp_path), Client(port) as client:
            assert client.fetch().text == "near false"
    finally:
        planted.unlink()


@pytest.mark.switchyard_only
def test_directives_prints_the_table():
    result = subprocess.run([binary(KIND), "directives"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0
    for name in ("proxy_pass", "proxy_set_header", "map", "server_name", "prometheus_metrics", "proxy_upgrade_protocols"):
        assert f"`{name}`" in result.stdout or re.search(rf"\b{name}\b", result.stdout)




@pytest.mark.switchyard_only
def test_a_file_that_speaks_of_no_logs_needs_no_place_for_them(tmp_path):
    port = ports.free_port()
    (tmp_path / "small.conf").write_text(
        f"pid {tmp_path}/small.pid; daemon off; events {{}} http {{ server {{ listen 127.0.0.1:{port}; return 200 hi; }} }}")
    arguments = ["-c", str(tmp_path / "small.conf"), "-p", str(tmp_path / "nowhere")]
    with running(port, *arguments) as process, Client(port) as client:
        assert client.fetch().text == "hi"
    assert process.returncode == 0
    assert "no access log is kept" in process.output and "alert" not in process.output


@pytest.mark.switchyard_only
def test_what_runs_keeps_its_sockets_and_logs_while_init_hooks_of_the_next_wait(proxy, tmp_path):
    path, log = tmp_path / "socket", tmp_path / "former.log"
    server = "server { listen 127.0.0.1:<port>; EXTRA location / { return 200 WORD; } }"
    former = server.replace("EXTRA", f"listen unix:{path}; access_log {log};").replace("WORD", "former")
    waiting = server.replace("EXTRA", "").replace("WORD", "next") + " init_by_lua_block { sy.sleep(3600) }"
    made = proxy(former)
    text = made.config_path.read_text()
    made.reload(text.replace(former.replace("<port>", str(made.port)), waiting.replace("<port>", str(made.port))))
    wait_for(lambda: "configuration 2 waits for its init hooks" in made.log(), what="the reload")
    with Client(str(path)) as client:
        assert client.fetch("/").text == "former"
    log.rename(tmp_path / "moved.log")
    made.signal(signal.SIGUSR1)
    wait_for(log.exists, what="the log to be reopened")
    assert made.fetch("/").text == "former"
    wait_for(lambda: log.read_text().count("\n") == 1, what="a line")
    made.reload(text)
    wait_for(lambda: "configuration 3 runs" in made.log(), what="the way back")
    assert "configuration 2 is given up before it runs" in made.log() and "bind()" not in made.log()
    with Client(str(path)) as client:
        assert client.fetch("/").text == "former"
    made.reload(text.replace(f"listen unix:{path};", ""))
    wait_for(lambda: not path.exists(), what="the socket to go")
    assert made.fetch("/").text == "former"
