"""Floods are ended, and whoever shares the worker with them is answered. How soon is for scripts/floods to say."""

import pytest

from proof import floods
from proof.flooded import World

pytestmark = pytest.mark.switchyard_only


@pytest.fixture(scope="module")
def world(tmp_path_factory, rsa):
    with World(tmp_path_factory.mktemp("floods"), rsa) as made:
        yield made


@pytest.mark.parametrize("row", floods.ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_a_flood(world, row):
    times, failures, counts = world.look(row, 1.5)
    assert world.proxy.is_running
    assert not failures
    assert all(times.values())
    if row.answered == "goaway":
        assert counts["goaways"] > 0, counts
        assert "http2 flood detected" in world.proxy.log()
    elif row.answered == "ended":
        assert counts["ended"] > 0, counts
    else:
        assert counts["frames"] > 0, counts


def test_a_burst_of_requests_is_answered_whole(world):
    """As many as may be under way at a time, in one write."""
    from harness.http2 import HTTP2Client

    with HTTP2Client(world.proxy.port) as client:
        streams = [client.begin("/hello") for _ in range(100)]
        for stream in streams:
            assert client.response(stream).status == 200
