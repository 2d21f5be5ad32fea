"""The documents name only what there is: files, anchors, commands, options, settings, modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.documents import (
    ALL,
    dead_links,
    unknown_commands,
    unknown_paths,
    unknown_settings,
)
from tests.support.project import ROOT

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
