"""The documents name only what there is: files, anchors, commands, options, settings, modules.

Their English is plain: :data:`ODD` lists the phrases that readers stumbled over.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import (
    ALL,
    WRITTEN,
    code_lines,
    dead_links,
    prose,
    spans,
    unknown_commands,
    unknown_paths,
    unknown_settings,
)
from tests.support.project import ROOT

ODD = (
    "unless told", "is told", "are told", "was told", "says so", "say so", "says otherwise", "whoever",
    "somebody", "nobody", "anybody", "goes by", "none any more", "IEC 61850 face", "for trying out",
    "doors", "stands in", "so long after",
)  # fmt: skip
README = ROOT / "README.md"

each = pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))


@each
def test_links_lead_somewhere(path: Path) -> None:
    assert dead_links(path.read_text(), path) == []


@each
def test_commands_and_options_exist(path: Path) -> None:
    assert unknown_commands(path.read_text()) == []


@each
def test_settings_exist(path: Path) -> None:
    assert unknown_settings(path.read_text()) == []


@each
def test_files_and_modules_exist(path: Path) -> None:
    assert unknown_paths(path.read_text()) == []


@pytest.mark.parametrize(
    "path", [*WRITTEN, ROOT / "docs" / "cli.md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_english_is_plain(path: Path) -> None:
    text = re.sub(r"`[^`]*`|tests/[\w/]+\.py::\w+", "", prose(path.read_text()))
    words = " ".join(text.split())
    assert [phrase for phrase in ODD if re.search(rf"\b{phrase}\b", words, re.IGNORECASE)] == []


def test_every_guide_is_linked_from_the_readme_or_from_the_page_of_devices() -> None:
    text, devices = README.read_text(), (ROOT / "docs" / "connect.md").read_text()
    names = {path.name for path in (ROOT / "docs").glob("*.md")}
    linked = {name for name in names if f"docs/{name}" in text or f"({name})" in devices}
    assert names - linked == {"operations-store.md"}


def test_code_is_seen() -> None:
    """All four kinds of it; a check of nothing would pass."""
    operator = (ROOT / "docs" / "operator.md").read_text()
    assert "meter61850 meters list" in list(code_lines(operator))
    assert "credentials rotate server" in spans(operator)
    assert "make up" in list(code_lines(README.read_text()))
    assert "meter61850 scl diff imported.scd -" in spans((ROOT / "docs" / "scada.md").read_text())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](operatr.md)", "operatr.md"),
        ("[a](docs/operator.md#put-it-up)", "docs/operator.md#put-it-up"),
        ("[a](#nowhere)", "#nowhere"),
    ],
)
def test_a_dead_link_is_found(text: str, fault: str) -> None:
    assert dead_links(text, README) == [fault]
    assert dead_links("[a](docs/operator.md#put-a-meter-up) [b](https://example.org/x#y)", README) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("`meter61850 meter list`", "no command meter61850 meter list"),
        ("`meter61850 meters\nlist --jason`", "meter61850 meters list: no option --jason"),
        ("`meters shrink NAME`", "no command meter61850 meters shrink"),
        ("`--mms-hots`", "no option --mms-hots"),
        ("    METER61850_DIR=x meter61850 --dri=y up", "meter61850: no option --dri"),
        ("```console\n$ .venv/bin/meter61850 relay opn 'House 1'\n```", "no command meter61850 relay opn"),
        ("```\nmeter61850 up && sudo meter61850 upp | jq\n```", "no command meter61850 upp"),
        ("`docker compose exec web meter61850 web users`", "no command meter61850 web users"),
    ],
)
def test_an_unknown_command_is_found(text: str, fault: str) -> None:
    assert unknown_commands(text) == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("set METER61850_MMS_DRAIN", "METER61850_MMS_DRAIN"),
        ("`METER61850_MQQT_…`", "METER61850_MQQT_…"),
        ("`[outbox] weeks`", "[outbox] weeks"),
        ("`[outputs] days`", "[outputs] days"),
        ('`kinds = "gpio"`', 'kinds = "gpio"'),
        ('```toml\n[clients."desk"]\nrigths = "observe"\n```', "rigths"),
    ],
)
def test_an_unknown_setting_is_found(text: str, fault: str) -> None:
    assert unknown_settings(text) == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("in bridge/store/tabels.py", "bridge/store/tabels.py"),
        ("`bridge/stores/`", "bridge/stores/"),
        ("`memories.py`", "memories.py"),
        ("`broker.contract.order`", "broker.contract.order"),
        ("`broker.contract.commands.become`", "broker.contract.commands.become"),
        ("python -m bench.ingests", "bench.ingests"),
    ],
)
def test_an_unknown_module_is_found(text: str, fault: str) -> None:
    assert unknown_paths(text) == [fault]
