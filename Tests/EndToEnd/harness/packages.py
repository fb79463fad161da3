"""The packages of .build-python, for scripts that are started with whatever Python there is."""

import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".build-python" / "bin" / "python"
# Set in the program that was started again: once is enough.
AGAIN = "SWITCHYARD_STARTED_AGAIN"


def require(name):
    """Starts the program again with .build-python's Python where this one lacks the package."""
    if importlib.util.find_spec(name) is None and PYTHON.exists() and not os.environ.get(AGAIN):
        os.execve(PYTHON, [str(PYTHON), *sys.argv], {**os.environ, AGAIN: "1"})
