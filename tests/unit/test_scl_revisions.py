"""What says that the model has changed: configVersion, configRev, and the history with its reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from lxml import etree

from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import (
    DEFAULT_CONTROL_MODEL,
    ControlModel,
    HistoryItem,
    Ied,
    Project,
    model_revision,
)
from scl_builder.build.text import digest
from scl_builder.check.checker import check
from scl_builder.model.deadbands import Bands
from scl_builder.model.logical_devices import MODEL_REVISION, profile_of
from tests.support.scd import house

NS = {"s": "http://www.iec.ch/61850/2003/SCL"}
THREE_PHASE = profile_of(("power_l1", "power_l2", "energy"))
SHAPE = digest((("", THREE_PHASE.shape),))
"""What configRev says of its quantities."""


def town(control_model: ControlModel) -> Project:
    """One IED with a meter of one phase, and one of an exact profile, whose configRev is its own."""
    meters = (house(1), house(2, profile=THREE_PHASE))
    return Project("town", 1, (Ied("SMGW001", "192.0.2.1", 102, meters),), control_model=control_model)


def revisions(xml: bytes) -> dict[str, list[str]]:
    """configVersion of the IED; configRev of the type and of the instances."""
    root = etree.fromstring(xml)
    paths = {
        "version": "//s:IED/@configVersion",
        "type": "//s:DOType[@cdc='LPL']/s:DA[@name='configRev']/s:Val/text()",
        "own": "//s:IED//s:DAI[@name='configRev']/s:Val/text()",
    }
    return {name: [str(found) for found in root.xpath(path, namespaces=NS)] for name, path in paths.items()}


def test_another_control_model_is_another_configuration() -> None:
    found = [revisions(build_cid(town(model), "SMGW001")) for model in get_args(ControlModel)]
    for name, rows in {name: [row[name] for row in found] for name in found[0]}.items():
        assert [len(row) for row in rows] == [1] * 5, name
        assert len({row[0] for row in rows}) == 5, f"{name} tells the five control models apart"


@pytest.mark.parametrize("model", get_args(ControlModel))
def test_the_default_has_the_plain_revision(model: ControlModel) -> None:
    assert (model_revision(model) == MODEL_REVISION) == (model == DEFAULT_CONTROL_MODEL)
    assert revisions(build_cid(town(model), "SMGW001"))["version"] == [model_revision(model)]


BANDS = ("", "1", "2", "1,power=0.5")
"""Deadbands."""


def test_what_is_in_the_types_is_in_the_revision() -> None:
    """Deadbands, ranges, nominal values and the time limit of an operate."""
    plain = town(DEFAULT_CONTROL_MODEL)
    others = [replace(plain, bands=Bands.of(deadband=deadband)) for deadband in BANDS]
    others += [
        replace(plain, bands=Bands.of(deadband="1", ranges=text)) for text in ("voltage=10", "voltage=9")
    ]
    others += [replace(plain, bands=Bands.of(deadband="1", nominal="current=5"))]
    others += [replace(plain, operate_timeout=6000), replace(plain, control_model="status-only")]
    found = [revisions(build_cid(each, "SMGW001")) for each in others]
    for name in found[0]:
        assert len({row[name][0] for row in found}) == len(others), name
    assert {row["own"][0].removeprefix(row["type"][0]) for row in found} == {f".{SHAPE}"}, "beside its own"


def test_conf_rev_counts_the_members_alone() -> None:
    """IEC 61850-7-2: what is deleted, added or put in another order, and DatSet."""
    plain = town(DEFAULT_CONTROL_MODEL)
    other = replace(plain, control_model="status-only", bands=Bands.of(deadband="1"))
    conf_revs = [
        etree.fromstring(build_cid(each, "SMGW001")).xpath("//s:ReportControl/@confRev", namespaces=NS)
        for each in (plain, other, replace(plain, ieds=(replace(plain.ieds[0], changes=2),)))
    ]
    assert conf_revs[0] == conf_revs[1] != conf_revs[2]


def test_the_history_says_why() -> None:
    items = (
        HistoryItem(1, "2026-11-30T12:00:00Z", "bridge", "1 meter added", "births"),
        HistoryItem(2, "2026-11-30T12:00:00Z", "bridge", "1 <meter> added", ""),
    )
    xml = build_scd(replace(town(DEFAULT_CONTROL_MODEL), history=items))
    rows = etree.fromstring(xml).xpath("//s:Hitem", namespaces=NS)
    assert [(row.get("what"), row.get("why")) for row in rows] == [
        ("1 meter added", "births"),
        ("1 <meter> added", None),
    ]
    assert check(xml) == []
