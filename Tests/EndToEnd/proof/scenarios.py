"""The table of faults. Each is a function that makes one round of them in a `World`."""

from dataclasses import dataclass
from typing import Callable


@dataclass
class Scenario:
    name: str
    run: Callable
    # Whether connections that bystanders make anew must succeed meanwhile; those they have must in any case.
    spares_new: bool = True
    # Its share of the time, beside the others'.
    weight: int = 1
    # Whether it may run at the same time as others, and during reloads.
    mixes: bool = True
    # Why it cannot be run here; None where it can.
    missing: Callable = lambda world: None

    @property
    def words(self):
        return " ".join(self.run.__doc__.split())


SCENARIOS = []


def scenario(name, **rest):
    """Makes a function a row of the table."""

    def add(function):
        SCENARIOS.append(Scenario(name, function, **rest))
        return function

    return add
