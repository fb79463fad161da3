"""What the numbers are held to. A bar's `check` gives a line to be printed, and whether the bar was missed."""

import re
import statistics
from dataclasses import dataclass


@dataclass
class Level:
    """No peer is ahead by more than the run's spread: not even the lower quartile of the rounds' ratios is above 1."""

    def check(self, result):
        found = result.to_best()
        if found is None or found.low <= 1:
            return []
        return [(f"{result.row.name}: {result.best_peer()} is ahead, {result.group.ours} takes {found.median:.2f} of it "
                 f"({found.low:.2f}–{found.high:.2f})", True)]


@dataclass
class Ratio:
    """The median of the rounds' ratios of two columns is at most so much, in rows whose name `rows` matches."""

    one: str
    other: str
    most: float
    rows: str = ""

    def check(self, result):
        if not re.search(self.rows, result.row.name) or not {self.one, self.other} <= set(result.columns):
            return []
        found = result.ratio(self.one, self.other)
        missed = found.median > self.most
        return [(f"{result.row.name}: {self.one} takes {found.median:.2f} of {self.other} ({found.low:.2f}–{found.high:.2f}), "
                 f"bar {self.most:.2f}", missed)]


@dataclass
class Difference:
    """What a column takes more than another: the median over the rounds. Only told where there is no `most`."""

    one: str
    other: str
    most: float

    def check(self, result):
        if not {self.one, self.other} <= set(result.columns):
            return []
        found = statistics.median(a - b for a, b in zip(result.columns[self.one], result.columns[self.other]))
        bar = "" if self.most is None else f", bar {self.most}"
        return [(f"{result.row.name}: {self.one} takes {found:.2f} µs more than {self.other}{bar}",
                 self.most is not None and found > self.most)]


@dataclass
class Most:
    """A column's median is at most so much."""

    name: str
    most: float
    rows: str = ""

    def check(self, result):
        if not re.search(self.rows, result.row.name) or self.name not in result.columns:
            return []
        found = statistics.median(result.columns[self.name])
        if found <= self.most:
            return []
        return [(f"{result.row.name}: {self.name} takes {found:.0f} {result.row.unit}, bar {self.most}", True)]
