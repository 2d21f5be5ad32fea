"""PostgreSQL has one space of advisory locks: two uses of one number wait for each other, or for ever."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("bridge", "registrar", "web", "admin", "mms_bridge")
NUMBER = re.compile(r"^_[A-Z_]+ = (618[5-9]\d)$", re.MULTILINE)


def test_each_number_has_one_use() -> None:
    """`credit run` has its lock for as long as it lives: were it the registry's, the bridge would stand."""
    used = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for number in NUMBER.findall(file.read_text(encoding="utf-8")):
                used[number].append(str(file.relative_to(ROOT)))
    assert len(used) >= 6
    assert {number: files for number, files in used.items() if len(files) > 1} == {}
