"""Upstreams that fail before a request has gone out, or while it does."""

import pytest

# MARK: Failing at once


@pytest.mark.switchyard_only
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_peers_that_cannot_be_reached_are_no_matter_for_the_stack(proxy, version):
    """Connecting to such an address fails within the call, so that the next try could be made within the one before."""
    peers = " ".join("server 255.255.255.255:9;" for _ in range(6000))
    made = proxy(
        "error_log <dir>/quiet.log crit; upstream u { " + peers + " }"
        "server { listen 127.0.0.1:<port>; location / { proxy_pass http://u; proxy_http_version " + version + "; } }")
    for _ in range(2):
        assert made.fetch(timeout=60).status == 502
