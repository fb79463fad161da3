"""The programs of scripts/."""

import os
import subprocess

import pytest

from harness.proxy import ROOT

PROGRAMS = sorted(
    path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and os.access(path, os.X_OK))


@pytest.mark.switchyard_only
@pytest.mark.parametrize("name", PROGRAMS)
def test_help_says_how_a_program_is_used_and_does_nothing(name, tmp_path):
    # What a program would do beyond that takes what is not here.
    result = subprocess.run(
        [ROOT / "scripts" / name, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=20,
        env={"PATH": "/usr/bin:/bin"})
    assert (result.returncode, result.stderr) == (0, "")
    assert f"scripts/{name}" in result.stdout or f"usage: {name}" in result.stdout
    assert len(result.stdout.splitlines()) < 60
