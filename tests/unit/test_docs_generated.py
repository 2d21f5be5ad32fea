"""The generated files are what the code gives now."""

from __future__ import annotations

from pathlib import Path

import pytest

from admin.main import Commands
from broker.contract.specs import SPECS
from tools.docs.cli import DOCUMENTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_committed_file_is_what_is_generated(path: Path) -> None:
    assert path.read_text() == DOCUMENTS[path](), "run `make docs` and commit"


def test_every_topic_and_field_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "topics.md").read_text()
    for spec in SPECS.values():
        assert f"`{spec.pattern}`" in text
        for field in spec.model.model_fields if spec.model else ():
            assert f"| `{field}` |" in text


def test_units_are_in_the_reference() -> None:
    text = (ROOT / "docs" / "topics.md").read_text()
    for unit in ("V, RMS.", "A, RMS.", "W, active.", "Hz.", "Wh, active"):
        assert unit in text


def test_every_command_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for command in Commands.table:
        assert f"\n## meter61850 {command}\n" in text
