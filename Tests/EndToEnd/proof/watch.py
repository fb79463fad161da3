"""What a process holds on to, and what its logs say of its death."""

import collections
import os
import re

# What Swift, its runtime, glibc, sanitizers and Python (of a stand-in) say when a process goes down.
CRASH = re.compile(
    r"Fatal error|Precondition failed|Assertion failed|Program crashed|Stack dump:|stack smashing|double free"
    r"|malloc\(\): |free\(\): |corrupted size|Segmentation fault|Illegal instruction|AddressSanitizer"
    r"|Traceback \(most recent call last\)|exited on signal")


def descriptors(pid):
    """How many descriptors there are of each kind: a path, `socket`, `pipe`, `anon_inode:[eventpoll]` and so on."""
    found = collections.Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue
        found[re.sub(r"^(socket|pipe):\[\d+\]$", r"\1", target)] += 1
    return found


def difference(before, after):
    """In words, what is more and what is less of two counts; empty where they are the same."""
    changes = [(after[kind] - before[kind], kind) for kind in sorted({*before, *after})]
    return ", ".join(f"{change:+d} {kind}" for change, kind in changes if change)


def private_bytes(pid):
    """Pages that are this process's alone and were written to, swapped ones included. What a process merely has
    mapped from its binary is no part of it: it comes and goes with the page cache."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        for line in lines:
            if line.startswith(("Private_Dirty:", "Swap:")):
                total += 1024 * int(line.split()[1])
    return total


def peak_bytes(pid):
    """The most that was ever resident."""
    with open(f"/proc/{pid}/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def crash_lines(proxy):
    """The lines of a proxy's output and error log that speak of a crash."""
    return [line for name in ("output.txt", "error.log") for line in proxy.log(name).splitlines()
            if CRASH.search(line)]


def percentile(values, share):
    """The value below which this share of all are; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
