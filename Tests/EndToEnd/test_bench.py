"""scripts/bench: a run of every row that is too short to say anything, and what it says of such numbers as it is given."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from benchmark import bars, chart, report
from benchmark.groups import Contender, Group
from benchmark.probes import Row
from benchmark.results import Result, Spread
from harness.proxy import ROOT, switchyard_binary

pytestmark = pytest.mark.switchyard_only


def run(*arguments, timeout=170, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench"), *arguments], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "SWITCHYARD": str(switchyard_binary()), **environment})


@pytest.fixture(scope="module")
def generator():
    given = [os.environ.get("SWITCHYARD_BENCH"), *(ROOT / ".build" / kind / "switchyard-bench" for kind in ("release", "debug"))]
    found = [str(path) for path in given if path and os.access(path, os.X_OK)]
    if not found:
        pytest.skip("no load generator: swift build --product switchyard-bench")
    return found[0]


def rows_of(listing):
    return [line.strip() for line in listing.splitlines() if line.startswith(" " * 20)]


@pytest.mark.timeout(240)
def test_every_row_is_measured_and_written(generator, tmp_path):
    nowhere = {"HAPROXY": "/nowhere", "CADDY": "/nowhere", "ENVOY": "/nowhere"}
    result = run("--scale", "tiny", "--tunnels", "10,20", "--output", str(tmp_path), SWITCHYARD_BENCH=generator, **nowhere)
    print(result.stdout, result.stderr)
    # Bars are missed by such numbers, or not; anything else that ends a run says so on the other stream.
    assert result.returncode == (1 if "missed: " in result.stdout else 0)
    assert "could not be measured" not in result.stdout
    for kind in ("haproxy", "caddy", "envoy"):
        assert f"bench: {kind} is missing and left out: " in result.stdout
    wanted = rows_of(run("--list", "--tunnels", "10,20").stdout)
    assert len(wanted) > 60
    text = (tmp_path / "benchmarks.md").read_text()
    assert str(tmp_path) not in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    for name in wanted:
        assert re.search(rf"^{re.escape(name)}  +\S+", result.stdout, re.M), name
        assert any(line.startswith(f"| {name} |") for line in table), name
    # A table has as many cells in each row as in its head, and every proxy that ran has a number.
    width = 0
    for line in text.splitlines():
        if line.startswith("|---"):
            width = line.count("|")
        elif line.startswith("| "):
            assert width in (0, line.count("|")) or "ratio to the best peer" in line, line
        else:
            width = 0
    assert re.search(r"^\| HTTP request, 1 connection \| CPU µs per request \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ of nginx",
                     text, re.M)
    picture = xml.etree.ElementTree.parse(tmp_path / "benchmarks.svg").getroot()
    texts = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"HTTP request, 1 connection", "WebSocket 256 KB, 16 in flight", "Switchyard", "nginx"} <= texts


def test_only_some_rows_are_measured(generator):
    result = run(
        "--scale", "tiny", "--only", "HTTP 16 KB", "--contenders", "switchyard", SWITCHYARD_BENCH=generator)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.findall(r"^(HTTP.*?)  +", result.stdout, re.M) == ["HTTP 16 KB, 1 connection", "HTTP 16 KB, 16 connections"]
    assert "nginx" not in result.stdout
    result = run("--scale", "tiny", "--only", "nothing is called so", SWITCHYARD_BENCH=generator)
    assert result.returncode == 1 and "there is nothing to measure" in result.stderr


def made(columns, ascends=False, name="a row", **rest):
    kinds = {"nginx": "nginx", "haproxy": "haproxy", "switchyard": "switchyard", "ping": "switchyard"}
    group = Group("g", "A group & more", [Contender(key, kinds[key]) for key in columns], [], **rest)
    return Result(group, Row(name, "µs", ascends), columns)


def test_quartiles_are_those_of_the_rounds():
    assert Spread.of([5]) == Spread(5, 5, 5)
    assert Spread.of([1, 2, 3, 4, 5]) == Spread(2, 3, 4)


def test_the_ratio_is_to_the_peer_that_costs_least():
    result = made({"nginx": [10, 20, 30], "haproxy": [30, 15, 29], "switchyard": [5, 30, 15]})
    assert result.best_peer() == "nginx"
    assert result.to_best() == Spread(0.5, 0.5, 1.0)
    # Where more is better, the one with the most.
    result = made({"nginx": [10, 10, 10], "haproxy": [20, 20, 20], "switchyard": [40, 40, 40]}, ascends=True)
    assert result.best_peer() == "haproxy" and result.to_best() == Spread(0.5, 0.5, 0.5)
    # Our other columns are no peers.
    assert made({"ping": [1], "switchyard": [2]}).to_best() is None


@pytest.mark.parametrize("ours, missed", [
    ([10, 10, 10], False), ([11, 11, 11], True), ([9, 12, 13], True), ([8, 11, 12], False), ([9, 9, 12], False), ([11, 12, 9, 12, 12], True)])
def test_a_peer_that_is_ahead_by_more_than_the_spread_is_told(ours, missed):
    result = made({"nginx": [10] * len(ours), "haproxy": [20] * len(ours), "switchyard": ours})
    assert [found for _, found in bars.Level().check(result)] == ([True] if missed else [])


def test_bars_of_rows():
    result = made({"nginx": [10, 10], "switchyard": [9, 9], "ping": [9.9, 9.9]}, name="128 B, 16 in flight")
    checked = [bars.Ratio("ping", "switchyard", 1.05, rows="16 in flight| KB").check(result),
               bars.Ratio("ping", "switchyard", 1.15).check(result), bars.Ratio("ping", "switchyard", 1, rows="^ KB").check(result),
               bars.Difference("ping", "switchyard", 0.5).check(result), bars.Most("ping", 9).check(result),
               bars.Most("ping", 10).check(result), bars.Most("other", 1).check(result)]
    assert [[missed for _, missed in found] for found in checked] == [[True], [False], [], [True], [True], [], []]


@pytest.mark.parametrize("value, text", [
    (0, "0"), (12345.6, "12346"), (1234.5, "1234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.0123")])
def test_numbers_have_as_many_digits_as_mean_something(value, text):
    assert report.number(value) == text


def test_the_chart_has_a_bar_for_each_column_that_is_compared():
    result = made({"nginx": [10], "haproxy": [40], "switchyard": [5], "ping": [6]}, name="a < b")
    other = made({"nginx": [10], "switchyard": [1000]})
    root = xml.etree.ElementTree.fromstring(chart.svg([result, other, made({"ping": [1]})], "Title & more"))
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["a < b, nginx: 1.00", "a < b, haproxy: 4.00", "a < b, switchyard: 0.50", "a row, nginx: 1.00",
                      "a row, switchyard: 100.00"]
    widths = [float(element.get("width")) for element in root.iter("{http://www.w3.org/2000/svg}rect")
              if element.get("height") == str(chart.BAR - 1)]
    # Half as much is as far from the middle as twice as much, and what is far beyond stays in the picture.
    assert widths[1] == pytest.approx(2 * widths[2], abs=0.2)
    assert all(width < chart.WIDTH / 2 for width in widths)
