"""What was measured, and what can be said of it."""

import statistics
from dataclasses import dataclass


@dataclass
class Spread:
    """The quartiles of numbers, of which there may be one only."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, numbers):
        if len(numbers) == 1:
            return cls(numbers[0], numbers[0], numbers[0])
        low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
        return cls(low, median, high)


@dataclass
class Result:
    """A row, with a number of each round for each of its columns."""

    group: object
    row: object
    columns: dict

    def spread(self, name):
        return Spread.of(self.columns[name])

    def costs(self, name):
        """Numbers of which less is better."""
        return [1 / max(number, 1e-9) if self.row.ascends else number for number in self.columns[name]]

    def ratio(self, one, other):
        """What one costs of what the other does, round by round."""
        return Spread.of([
            ours / theirs if theirs else 1.0 if not ours else float("inf")
            for ours, theirs in zip(self.costs(one), self.costs(other))])

    def best_peer(self):
        """The name of the peer that costs least; `None` without any."""
        peers = [name for name in self.group.peers if name in self.columns]
        return min(peers, key=lambda name: statistics.median(self.costs(name)), default=None)

    def to_best(self):
        """Ours to the best peer's, where there are both and the row is one to be compared."""
        best = self.best_peer()
        if best is None or self.group.ours not in self.columns or not self.row.compared:
            return None
        return self.ratio(self.group.ours, best)
