"""The pure functions of the page's scripts, in Node: `tests/node`."""

from __future__ import annotations

import shutil
import subprocess

from tests.support.project import ROOT


def test_pure_functions_of_the_scripts() -> None:
    node = shutil.which("node")
    assert node, "node is not installed: make servers"
    files = sorted(map(str, (ROOT / "tests" / "node").glob("*.test.mjs")))
    told = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stdout
    assert "# pass 0\n" not in told.stdout
