import faulthandler
import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.backend import Backend  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.proxy import Proxy, default_kind, raise_file_limit, whole  # noqa: E402

# What pytest says of a number that is not below another.
BOUND = r"^AssertionError: assert .*[\d)] < \d"

faulthandler.enable()
raise_file_limit()


def pytest_configure(config):
    config.addinivalue_line("markers", "switchyard_only: states a rule that nginx does not have")
    config.addinivalue_line("markers", "clocked: has a bound on the clock, and two more chances to keep it")


def pytest_collection_modifyitems(items):
    for item in items:
        # Where others use the machine, all that runs on it may stand still for longer than any bound that says something.
        # What else a test asserts has one chance.
        if "clocked" in item.keywords:
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=BOUND))
    if default_kind() != "nginx":
        return
    skip = pytest.mark.skip(reason="nginx has no such rule")
    for item in items:
        if "switchyard_only" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the proxy's logs beside a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for proxy in getattr(item, "proxies", []):
            report.sections.append(("proxy", proxy.logs()))


def _maker(request, tmp_path_factory):
    proxies = []
    request.node.proxies = proxies
    names = (f"proxy{n}" for n in itertools.count())
    directory = tmp_path_factory.mktemp("p", numbered=True)

    def make(http=None, main="", config=None, **rest):
        """A proxy with `http` inside its http block, or with a whole `config`."""
        text = config if config is not None else whole(http, main)
        proxy = Proxy(text, directory / next(names), start=False, **{
            key: value for key, value in rest.items() if key not in ("start", "wait")})
        proxies.append(proxy)
        if rest.get("start", True):
            proxy.start(rest.get("wait", True))
        return proxy

    def stop():
        for proxy in proxies:
            proxy.stop()

    return make, stop


@pytest.fixture
def proxy(request, tmp_path_factory):
    """Makes proxies for one test: `proxy(http_text, values={...})`."""
    make, stop = _maker(request, tmp_path_factory)
    yield make
    stop()


@pytest.fixture(scope="module")
def module_proxy(request, tmp_path_factory):
    """Makes proxies that a module's tests share."""
    make, stop = _maker(request, tmp_path_factory)
    yield make
    stop()


@pytest.fixture
def backend():
    """A backend that answers "ok" until a test sets `backend.answer` or `backend.program`."""
    with Backend() as made:
        yield made


@pytest.fixture
def backends():
    """Makes backends: `backends(answer=…)`."""
    made = []

    def make(*args, **rest):
        made.append(Backend(*args, **rest))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def simple(proxy, backend):
    """A proxy that passes everything on over HTTP/1.1, `location` text added; with its backend."""

    def make(location="", server="", http="", main="", **rest):
        text = (
            http + "\nserver { listen 127.0.0.1:<port>; " + server
            + "\nlocation / { proxy_pass http://<backend>; proxy_http_version 1.1; " + location + " } }")
        made = proxy(text, main=main, values={"backend": backend, **rest.pop("values", {})}, **rest)
        made.backend = backend
        return made

    return make


# Certificates, made once for all tests of a run


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="session")
def rsa(authority):
    return authority.issue("localhost", "127.0.0.1", "backend.example")


@pytest.fixture(scope="session")
def ecdsa(authority):
    return authority.issue("localhost", "127.0.0.1", kind="ec")


@pytest.fixture(scope="session")
def client_certificate(authority):
    return authority.issue(subject="/O=Clients/CN=alice", kind="ec")
