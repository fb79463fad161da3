"""What a run was made on."""

import datetime
import os
import platform
import re
import subprocess

from harness.proxy import ROOT

from . import peers


def first(pattern, path):
    try:
        with open(path) as text:
            found = re.search(pattern, text.read(), re.M)
    except OSError:
        return "unknown"
    return found[1].strip() if found else "unknown"


def commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    name = git("rev-parse", "--short", "HEAD") or "unknown"
    return name + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def describe(kinds):
    """Lines of what and of which kind: the machine, the programs of these kinds, the commit, the date."""
    memory = first(r"^MemTotal:\s+(\d+) kB", "/proc/meminfo")
    lines = [
        ("processor", first(r"^model name\s*: (.*)", "/proc/cpuinfo")),
        ("processors for the run", str(len(os.sched_getaffinity(0)))),
        ("memory", f"{int(memory) >> 20} GB" if memory.isdigit() else memory),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("system", first(r'^PRETTY_NAME="(.*)"', "/etc/os-release"))]
    lines += [(kind, peers.version(kind)) for kind in kinds if kind != "switchyard"]
    lines += [("switchyard", f"commit {commit()}"), ("date", datetime.date.today().isoformat())]
    return lines
