"""How long lines of the error log may become."""

import re

import pytest

from harness import ports
from harness.wire import fetch, wait_for


def line_with(made, text):
    return wait_for(lambda: next((line for line in made.log().splitlines() if text in line), None), 5, text)


def test_a_long_request_line(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; large_client_header_buffers 4 32k; location / { proxy_pass http://127.0.0.1:<dead>; } }",
                 values={"dead": ports.free_port()})
    assert fetch(made.port, "/" + "a" * 30000, headers=[("Referer", "http://b/" + "c" * 5000)]).status == 502
    line = line_with(made, "connect() failed (111: Connection refused) while connecting to upstream")
    if made.kind == "nginx":
        assert len(line) <= 2048
    else:
        # One thing that is long hides no other.
        assert re.search(r'request: "GET /a{1019}\.\.\. [(]cut, 30014 bytes in all[)]", upstream: "http://[0-9.:]*/a{990,}'
                         r'\.\.\. [(]cut, 300\d\d bytes in all[)]", host: "[^"]*", referrer: "http://b/c{1015}\.\.\. [(]cut, 5009 bytes in all[)]"$',
                         line), line
        assert len(line) <= 2048 + 5 * 1100


@pytest.mark.switchyard_only
def test_what_scripts_say_is_cut_later(proxy):
    made = proxy("server { listen 127.0.0.1:<port>; location / { request_by_lua_block {"
                 " sy.log.warn(string.rep('x', 10000)) sy.log.warn(string.rep('y', 100000)) error(string.rep('z', 100000)) } } }")
    assert fetch(made.port, "/").status == 500
    assert re.search(r": x{10000}, client: ", line_with(made, "xxxx"))
    line = line_with(made, "y" * 100)
    assert re.search(r"y{16000,}\.\.\. [(]cut, 100\d\d\d bytes in all[)], client: ", line), line[-300:]
    assert len(line) <= 16384 + 1024
    # An error leaves room for what says where it was made.
    assert re.search(r"z{8000,8192}\.\.\. [(]cut, 100\d\d\d bytes in all[)]\n\tstack traceback:\n(\t.*\n)*\t.*, client: ", made.log())
