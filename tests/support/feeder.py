"""A topology file with one feeder, for the bridges that are started.

>>> with feeder_of(folder, "House 1", "House 10"):  # doctest: +SKIP
...     running.start_bridge()
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FEEDER = "Mill/LV/T1_F1"
_FILE = """
[[substation]]
name = "Mill"
[[substation.transformer]]
name = "T1"
[[substation.transformer.feeder]]
name = "F1"
meters = {}
"""


@contextmanager
def feeder_of(folder: Path, *houses: str) -> Iterator[None]:
    """`FEEDER` has the meters with these names."""
    file = folder / "topology.toml"
    file.write_text(_FILE.format(json.dumps(houses)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_TOPOLOGY", str(file))
        yield
