"""The settings in the pages "Connect …": adapters.toml takes each, with the options of its families."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.families.registry import family
from adapters.settings import AdapterSettings
from tests.support.project import ROOT

PAGES = [page for page in sorted((ROOT / "docs").glob("connect-*.md")) if "[[source]]" in page.read_text()]
BLOCKS = [
    (page, body)
    for page in PAGES
    for body in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    if "[[source]]" in body
]


@pytest.mark.parametrize(("page", "body"), BLOCKS, ids=lambda part: getattr(part, "name", "toml"))
def test_settings_of_the_page(page: Path, body: str, tmp_path: Path) -> None:
    file = tmp_path / "adapters.toml"
    file.write_text(body)
    for source in AdapterSettings.load(file).source:
        kind = family(source.family)
        assert kind.make(kind.options.model_validate(source.options)).subscriptions()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_of_a_family_is_explained(page: Path) -> None:
    """A page names each key of the families that it uses."""
    text = page.read_text()
    names = set(re.findall(r'^family = "(\w+)"', text, re.MULTILINE))
    assert names
    for name in names:
        missing = [key for key in family(name).options.model_fields if key not in text]
        assert missing == [], name
