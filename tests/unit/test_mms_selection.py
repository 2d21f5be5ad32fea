"""Which IEDs a process serves."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mms_bridge.settings import MmsSettings


def test_names_and_ranges() -> None:
    settings = MmsSettings.model_validate({"ieds": "SMGW002-SMGW010,SMGW020"})
    assert settings.ieds is not None
    names = [f"SMGW{number:03d}" for number in range(1, 30)]
    assert [name for name in names if name in settings.ieds] == [*names[1:10], "SMGW020"]
    assert "OTHER005" not in settings.ieds
    assert settings.service == "mms_SMGW002"


def test_all_unless_told() -> None:
    settings = MmsSettings()
    assert settings.ieds is None
    assert settings.service == "mms"


@pytest.mark.parametrize("text", ["", "SMGW010-SMGW002", "SMGW001-OTHER002", "SM GW-1", "SMGW001,,SMGW002"])
def test_what_is_no_selection_is_named(text: str) -> None:
    with pytest.raises(ValidationError, match="an IED's name, or a range such as"):
        MmsSettings.model_validate({"ieds": text})


def test_the_environment_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_MMS_IEDS", "SMGW001-SMGW003")
    settings = MmsSettings()
    assert settings.ieds is not None
    assert "SMGW003" in settings.ieds
