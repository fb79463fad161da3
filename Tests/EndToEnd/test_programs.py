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


SWIFT = """\
#!/bin/sh
if [ "$1" = build ]; then echo 'Build complete!'; exit; fi
echo '✔ Test "one" passed after 0.1 seconds.'
echo '✘ Test "two" failed after 0.1 seconds with 1 issue.'
echo '✘ Test three() failed after 0.1 seconds with 2 issues.'
echo '✘ Suite "all" failed after 0.1 seconds with 3 issues.'
echo '✘ Test run with 3 tests in 1 suite failed after 0.1 seconds with 3 issues.'
exit 1
"""


@pytest.mark.switchyard_only
def test_each_unit_test_that_fails_is_counted_once(tmp_path):
    programs = {"scripts/test": (ROOT / "scripts/test").read_text(), "scripts/setup": "#!/bin/sh\n", "bin/swift": SWIFT}
    for name, text in programs.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    result = subprocess.run(
        [tmp_path / "scripts/test", "sanitize"], capture_output=True, text=True, timeout=20,
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    # The build is the other one that passed.
    assert result.stdout.splitlines()[-1] == "2 passed, 2 failed", result.stdout
