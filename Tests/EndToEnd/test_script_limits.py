"""Scripts that mean harm, on the only worker of a proxy that others use meanwhile.

For each attack the others' response times are measured; their 99th percentile is bounded and printed (`pytest -s`).
"""

import os
import re
import threading
import time

import pytest

from harness import ports
from harness.wire import Client, fetch, wait_for

pytestmark = pytest.mark.switchyard_only

HOOK_TIMEOUT = 0.05

# What a `request` hook does, and what the error log says of it.
INTERRUPTED = "interrupted: on the CPU for longer"
MEMORY = "not enough memory|too large|overflow"
LOOPS = {
    "endless loop": "while true do end",
    "endless repeat": "repeat local a = {} until false",
    "goto": "::again:: goto again",
    "pcall around an endless loop": "while true do pcall(function() while true do end end) end",
    "pcall of errors": "while true do pcall(error) end",
    "xpcall whose handler loops": "xpcall(function() while true do end end, function() while true do end end)",
    "close handler that loops": "local c <close> = setmetatable({}, { __close = function() while true do end end }) error('x')",
    "coroutine that loops": "coroutine.wrap(function() while true do end end)()",
    "coroutines that loop": """
        while true do pcall(coroutine.wrap(function() while true do pcall(function() while true do end end) end end)) end""",
    "coroutine that is closed and loops": """
        local co = coroutine.create(function()
            local c <close> = setmetatable({}, { __close = function() while true do end end })
            coroutine.yield()
        end)
        coroutine.resume(co)
        coroutine.close(co)""",
    "metamethod that loops": "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
    "iterator without end": "for _ in function() return 1 end do end",
    "sort with a comparator that loops": "table.sort({ 1, 2, 3 }, function() while true do end end)",
    "gsub with a function that loops": "(('x'):rep(10)):gsub('x', function() while true do end end)",
    "load with a reader without end": "load(function() return 'x = 1 ' end)",
    "rep of nothing": "return (''):rep(1 << 60)",
    "move of much": "table.move({}, 1, 1 << 50, 2)",
    "insert into a table of feigned length":
        "table.insert(setmetatable({}, { __len = function() return 1 << 50 end }), 1, 1)",
    "remove from a table of feigned length":
        "table.remove(setmetatable({}, { __len = function() return 1 << 50 end }), 1)",
    "unpack of feigned much": "while true do pcall(table.unpack, {}, 1, 1e6) end",
    "pathological pattern": "return (('x'):rep(50000)):find('.-.-.-.-.-b')",
    "pathological pattern in gsub": "return (('a'):rep(30000)):gsub('a*a*a*a*a*a*b', '')",
    "pathological pattern in gmatch": "for _ in (('a'):rep(30000)):gmatch('a*a*a*a*a*b') do end",
    "plain search of the worst kind": "while true do (('a'):rep(100000)):find(('a'):rep(50000) .. 'b', 1, true) end",
    "timers without end": "while true do pcall(flow.after, flow, 1, print) end",
    "json without end": "local t = {} for i = 1, 1000 do t[i] = i end while true do sy.json.encode(t) end",
    "digests without end": "while true do sy.sha256('x') end",
}
GROWTH = {
    "string.rep": "return ('x'):rep(1 << 40)",
    "string.rep below the cap": "return ('x'):rep(60 << 20) .. ('y'):rep(60 << 20)",
    "string that doubles": "local s = 'x' while true do s = s .. s end",
    "table that grows": "local t = {} for i = 1, 1e9 do t[i] = i end",
    "table of strings": "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
    "table of tables": "local t = {} while true do t = { t, {}, {}, {} } end",
    "table.concat": "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(100000) end return table.concat(t)",
    "closures": "local f = print while true do local g = f f = function() return g, f end end",
    "coroutines that are kept":
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "gsub that grows": "local s = ('x'):rep(1000) while true do s = s:gsub('x', 'xxxx') end",
    "string.format": "local s = ('x'):rep(10 << 20) return ('%s'):rep(20):format(s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s)",
    "pcall around growth": "local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = {} end end) end",
    "context that grows": "for i = 1, 1e9 do flow.ctx[i] = ('x'):rep(1000) .. i end",
    "json that grows": "local t = {} for i = 1, 100 do t = { t, t } end return sy.json.encode(t)",
}
DEPTH = {
    "recursion": "local function f(n) return 1 + f(n + 1) end return f(1)",
    "recursion in pcall": "local function f() return pcall(f) end while true do f() end",
    "recursion in a metamethod": """
        local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k .. ''] end return t.x""",
    "recursion in tostring":
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return tostring(t) end return tostring(t)",
    "recursion in gsub": "local function f() return (('x'):gsub('x', f)) end return f()",
    "recursion in coroutines": "local function f() return coroutine.wrap(f)() end return f()",
    "recursion in sort": "local function f() table.sort({ 2, 1 }, f) end f()",
    "recursion in error handlers": "local function f() return xpcall(error, f) end f() local function g() error(g) end g()",
    "deep source": "return load(('('):rep(100000))",
    "deep JSON": "return sy.json.decode(('['):rep(100000))",
    "deep table as JSON": "local t = {} for i = 1, 10000 do t = { t } end return sy.json.encode(t)",
    "pathological regex": "return sy.re.match(('a'):rep(30) .. '!', '^(a+)+$')",
    "pathological regex in gsub": "return sy.re.gsub(('a'):rep(5000), '(a*)*b', '')",
    "deep regex": "return sy.re.match('a', ('('):rep(10000))",
    "collections without end": "while true do collectgarbage() end",
    "collector that is stopped": "collectgarbage('stop') while true do local t = { {}, {} } end",
    "nothing as an error": "error(nil)",
    "table as an error": "error({ code = 7 })",
    "error that cannot be shown": "error(setmetatable({}, { __tostring = function() error('again') end }))",
    "coroutine that never resumes": "coroutine.wrap(function() coroutine.yield() end)() error('left behind')",
    "wait in a coroutine": "coroutine.wrap(function() sy.sleep(1) end)()",
}
# These may end well by themselves; no more is asked of them than that others are served.
MAY_SUCCEED = {"load with a reader without end", "rep of nothing", "unpack of feigned much", "recursion in error handlers", "pathological regex in gsub", "deep source",
               "pathological regex", "table.concat", "json that grows"}


def cases():
    for kind, attacks, reason in (("loop", LOOPS, INTERRUPTED), ("memory", GROWTH, MEMORY + "|" + INTERRUPTED),
                                  ("depth", DEPTH, ".")):
        for name, body in attacks.items():
            yield pytest.param(name, body, reason, id=f"{kind}: {name}")


def scheduling(pid):
    """Seconds that a process's threads were on the CPU, and that they waited for one."""
    running = waiting = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as values:
            columns = values.read().split()
        running += int(columns[0])
        waiting += int(columns[1])
    return running / 1e9, waiting / 1e9


class Bystander:
    """A client that asks for `/calm` again and again beside something else, and measures."""

    def __init__(self, made):
        self.made = made
        self.times = []
        self.failure = None
        self.is_over = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        wait_for(lambda: self.times or self.failure, 10, "the bystander's first response")
        self.started = scheduling(self.made.pid)
        return self

    def _run(self):
        try:
            with Client(self.made.port) as client:
                while not self.is_over.is_set():
                    started = time.perf_counter()
                    response = client.fetch("/calm")
                    self.times.append(time.perf_counter() - started)
                    assert (response.status, response.body) == (200, b"ok")
                    time.sleep(0.001)
        except BaseException as failure:
            self.failure = failure

    def __exit__(self, *exc):
        self.is_over.set()
        self.thread.join(15)
        ended = scheduling(self.made.pid)
        self.running, self.waiting = (after - before for after, before in zip(ended, self.started))
        if not exc[0] and self.failure:
            raise self.failure

    @property
    def p99(self):
        times = sorted(self.times)
        return times[min(len(times) - 1, int(len(times) * 0.99))]

    @property
    def stretch(self):
        """By how much times on the CPU grow on the clock, with so many others on the machine."""
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        return max(1.0, load, 1 + self.waiting / max(self.running, 0.01))


def assert_unharmed(bystander, name):
    bound = (2 * HOOK_TIMEOUT + 0.05) * bystander.stretch
    print(f"\n{name}: p99 of {len(bystander.times)} other requests {bystander.p99 * 1000:.1f} ms, "
          f"bound {bound * 1000:.0f} ms")
    assert bystander.p99 < bound


@pytest.fixture
def attacked(simple):
    """A proxy of one worker with `/calm`, and `/attack` with what is given."""

    def make(location, http="", **rest):
        return simple(server=f"location /attack {{ proxy_pass http://<backend>; {location} }}", http=http, **rest)

    return make


@pytest.mark.clocked
@pytest.mark.parametrize("name, body, reason", list(cases()))
def test_a_harmful_hook_ends_alone(attacked, name, body, reason):
    made = attacked(f"request_by_lua_block {{ {body} }}")
    with Bystander(made) as others:
        statuses = [made.fetch("/attack", timeout=20).status for _ in range(5)]
    assert_unharmed(others, name)
    assert others.running < 5 * (2 * HOOK_TIMEOUT + 0.05)
    if name not in MAY_SUCCEED:
        assert statuses == [500] * len(statuses)
        lines = [line for line in made.log().splitlines() if "request hook of" in line]
        assert len(lines) == len(statuses)
        assert all(re.search(reason, line) for line in lines), lines[0]
    assert made.fetch("/calm").status == 200
    assert made.is_running


@pytest.mark.clocked
@pytest.mark.parametrize("hook", [
    "response_by_lua_block", "request_body_by_lua_block", "response_body_by_lua_block", "log_by_lua_block",
    "set_by_lua_block $loop"])
@pytest.mark.parametrize("body", ["while true do pcall(function() while true do end end) end",
                                  "local t = {} while true do t[#t + 1] = {} end"], ids=["loop", "growth"])
def test_harm_at_other_stages(attacked, hook, body):
    made = attacked(f"proxy_set_header X-Loop $loop; {hook} {{ {body} }}", http="map '' $loop { default ''; }"
                    if "$loop" not in hook else "")
    with Bystander(made) as others:
        for _ in range(5):
            with Client(made.port) as client:
                client.request("/attack", method="POST", body=b"a body")
                try:
                    assert client.read_response().status in (200, 500)
                except Exception as error:
                    assert "response_body" in hook, error
    assert_unharmed(others, hook)
    wait_for(lambda: len(re.findall(" failed: ", made.log())) >= 5, 5, "five messages")


@pytest.mark.clocked
@pytest.mark.parametrize("wait", ["sy.sleep(0)", "sy.fetch{ url = 'nonsense' }", "pcall(sy.sleep, 0)",
                                  "sy.fetch{ url = 'http://127.0.0.1:1/' }"])
def test_a_hook_that_waits_again_and_again(attacked, wait):
    made = attacked(f"request_by_lua_block {{ while true do {wait} end }}")
    clients = [Client(made.port) for _ in range(5)]
    with Bystander(made) as others:
        for client in clients:
            client.request("/attack")
        time.sleep(0.5)
    for client in clients:
        client.close()
    assert_unharmed(others, wait)
    wait_for(lambda: cpu_time(made.pid, 0.1) < 0.05, 5, "the end of the hooks")


def cpu_time(pid, seconds):
    """Seconds on the CPU that a process takes within so many seconds."""
    def now():
        with open(f"/proc/{pid}/stat") as stat:
            return sum(int(ticks) for ticks in stat.read().rsplit(")", 1)[1].split()[11:13])

    before = now()
    time.sleep(seconds)
    return (now() - before) / os.sysconf("SC_CLK_TCK")


@pytest.mark.clocked
def test_timers_and_spawned_functions_that_loop(attacked):
    made = attacked("""request_by_lua_block {
        sy.spawn(function() sy.sleep(0.01) while true do end end)
        flow:after(0.01, function() while true do end end)
        sy.sleep(0.2)
    }""")
    with Bystander(made) as others:
        for _ in range(3):
            assert made.fetch("/attack").status == 200
    assert_unharmed(others, "timers")
    assert len(re.findall("failed: .*interrupted", made.log())) == 6


@pytest.mark.clocked
def test_the_hook_timeout_is_what_is_configured(attacked):
    made = attacked("request_by_lua_block { while true do end }", http="lua_hook_timeout 300ms;")
    started = time.perf_counter()
    assert made.fetch("/attack").status == 500
    assert 0.29 < time.perf_counter() - started < 3
    assert "lua_hook_timeout, 300 ms" in made.log()


def test_waiting_is_not_time_on_the_cpu(attacked):
    made = attacked("request_by_lua_block { for _ = 1, 10 do sy.sleep(0.03) for i = 1, 100000 do end end }")
    assert made.fetch("/attack").status == 200


def test_memory_is_given_back(attacked):
    made = attacked("""request_by_lua_block {
        local t = {}
        for i = 1, 1e9 do t[i] = { i } end
    } lua_on_error closed;""", http="lua_memory_limit 16m;")

    def resident():
        with open(f"/proc/{made.pid}/statm") as pages:
            return int(pages.read().split()[1]) * 4096

    for _ in range(5):
        assert made.fetch("/attack").status == 500
    before = resident()
    for _ in range(40):
        assert made.fetch("/attack").status == 500
    assert resident() < before + (16 << 20)


@pytest.mark.parametrize("body", [
    "coroutine.wrap(function() coroutine.yield() end)()",
    "kept = kept or {} local co = coroutine.create(function() coroutine.yield(flow) end) coroutine.resume(co)",
    "flow.ctx.me = flow flow.ctx.again = function() return flow.ctx end",
    "flow:every(1, function() return flow.ctx end)",
    "pcall(error, { flow })",
    "local guard <close> = setmetatable({}, { __close = function() error('in close') end })",
])
def test_what_hooks_leave_behind_goes(attacked, body):
    """Runs in a tenth of what it would need if each exchange left a kilobyte."""
    made = attacked(f"lua_on_error open; request_by_lua_block {{ {body} }}",
                    http="lua_memory_limit 2m; keepalive_requests 10000;")
    with Client(made.port) as client:
        for _ in range(3000):
            assert client.fetch("/attack").status == 200
    assert "not enough memory" not in made.log()


@pytest.mark.clocked
def test_more_hooks_wait_than_may(attacked):
    made = attacked("request_by_lua_block { sy.sleep(0.5) }", http="lua_max_waiting 20;")
    clients = [Client(made.port) for _ in range(30)]
    with Bystander(made) as others:
        for client in clients:
            client.request("/attack")
        statuses = sorted(client.read_response().status for client in clients)
    assert statuses == [200] * 20 + [500] * 10
    assert_unharmed(others, "waiting hooks")
    assert "lua_max_waiting" in made.log()
    assert made.fetch("/attack").status == 200


@pytest.mark.clocked
def test_many_clients_vanish_while_hooks_wait(attacked):
    made = attacked("""request_by_lua_block {
        local guard <close> = setmetatable({}, { __close = function() sy.shared.counts:incr("closed", 1, 0) end })
        sy.sleep(60)
    }""", http="""lua_shared_dict counts 1m; lua_max_waiting 200;
        set_by_lua_block $closed { return sy.shared.counts:get("closed") or 0 }
        server { listen 127.0.0.1:<second>; return 200 $closed; }""",
        values={"second": ports.free_port()})
    second = made.values["second"]
    with Bystander(made) as others:
        for turn in range(1, 6):
            clients = [Client(made.port) for _ in range(150)]
            for client in clients:
                client.request("/attack")
            for number, client in enumerate(clients):
                client.reset() if number % 2 else client.close()
            wait_for(lambda: int(fetch(second).text) == 150 * turn, 20, f"the end of {150 * turn} hooks")
    assert_unharmed(others, "clients that vanish")
