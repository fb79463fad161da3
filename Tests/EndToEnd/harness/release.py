"""Release builds for programs that measure, or try for long: what a user runs."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
GENERATOR = "switchyard-bench"


def build(*products):
    """Builds them; the folder of their binaries."""
    for product in products:
        subprocess.run(["swift", "build", "-c", "release", "--static-swift-stdlib", "--product", product], cwd=ROOT, check=True,
                       stdout=sys.stderr)
    return ROOT / ".build" / "release"


def set_proxy():
    """Sees to it that SWITCHYARD names a binary, a release build where it does not."""
    if not os.environ.get("SWITCHYARD"):
        os.environ["SWITCHYARD"] = str(build("switchyard") / "switchyard")


def set_proxy_and_generator():
    """As `set_proxy`; the load generator that SWITCHYARD_BENCH names, or a release build of it."""
    given = os.environ.get("SWITCHYARD_BENCH")
    set_proxy()
    return given or str(build(GENERATOR) / GENERATOR)
