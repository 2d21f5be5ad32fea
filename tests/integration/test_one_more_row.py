"""One more data object is one more row of the table: shown in a copy of the tree that has that row."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.one_more_row import POWERS

ROOT = Path(__file__).parents[2]
TABLE = Path("scl_builder/model/measuring.py")
BEHIND = '        DataObject("Watt", "MV", "reading.power", unit="W"),\n'
PACKAGES = (
    "admin", "bridge", "broker", "meter_firmware", "mms_bridge", "registrar", "scl_builder", "tests", "tools",
    "web",
)  # fmt: skip


def asked(folder: Path, row: str, name: str, path: str) -> dict[str, Any]:
    """What a copy of the tree with ``row`` in the table makes of ``name``."""
    tree = folder / "tree"
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("node_modules", "__pycache__")
        )
    text = (tree / TABLE).read_text()
    assert text.count(BEHIND) == 1
    (tree / TABLE).write_text(text.replace(BEHIND, BEHIND + row))
    told = subprocess.run(
        [sys.executable, "-m", "tests.support.one_more_row", name, path, str(folder)],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "PATH": "/usr/sbin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


@pytest.mark.parametrize(
    ("row", "name", "path", "line"),
    [
        (
            '        DataObject("VolAmpr", "MV", "reading.power", unit="VAr"),\n',
            "MMXN1.VolAmpr",
            "mag.f",
            "| MMXN1.VolAmpr | MV | MX: instMag.f mag.f q t; CF: units.SIUnit units.multiplier db dbRef"
            " | `reading.power` |",
        ),
        (
            '        DataObject("Imp", "CMV", "reading.power", unit="ohm"),\n',
            "MMXN1.Imp",
            "cVal.mag.f",
            "| MMXN1.Imp | CMV | MX: cVal.mag.f q t; CF: units.SIUnit units.multiplier | `reading.power` |",
        ),
    ],
    ids=["MV", "CMV"],
)
def test_a_row_is_in_the_scd_over_mms_and_in_the_conformance_statement(
    tmp_path: Path, row: str, name: str, path: str, line: str
) -> None:
    assert asked(tmp_path, row, name, path) == {
        "findings": [],
        "in_scd": True,
        "values": list(POWERS),
        "differences": [],
        "conformance": [line],
    }


def test_without_its_row_a_data_object_is_nowhere(tmp_path: Path) -> None:
    told = asked(tmp_path, "", "MMXN1.VolAmpr", "mag.f")
    assert (told["in_scd"], told["values"], told["conformance"]) == (False, [None, None], [])
