"""The conformance statement says what the code does: every fact is told, every table is in it."""

from __future__ import annotations

import re
from dataclasses import replace
from string import Formatter

import pytest
from lxml import etree

from scl_builder.model.logical_devices import GATEWAY_LD, METER_LD
from scl_builder.read.cid import read_cid
from tools.docs import conformance
from tools.docs.conformance import OFFERS, conformance_markdown, example_cid
from tools.docs.conformance_answers import ANSWERS
from tools.docs.conformance_model import model_markdown
from tools.docs.conformance_pixit import facts


def services() -> etree._Element:
    found = etree.fromstring(example_cid()).find("{*}IED/{*}Services")
    assert found is not None
    return found


def test_every_fact_is_told_and_known() -> None:
    told = {
        name
        for answers in ANSWERS.values()
        for _, answer in answers
        for _, name, _, _ in Formatter().parse(answer)
        if name
    }
    assert told == facts(read_cid(example_cid()), services()).keys()


def test_every_data_object_is_in_the_model() -> None:
    text = conformance_markdown()
    for node in (*GATEWAY_LD, *METER_LD):
        for do in node.objects:
            assert f"| {node.name}.{do.name} | {do.cdc} | " in text
    assert "| `` |" not in text  # whatever feeds it


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.service)
def test_what_shows_a_service_can_be_looked_up(offer: conformance.Offer) -> None:
    assert re.fullmatch(r"yes|no|(services|co|file)/\w+", offer.evidence)


@pytest.mark.parametrize(
    ("element", "line"),
    [("GetDataSetValue", "GetDataSetValues"), ("ConfReportControl", "Report (URCB and BRCB)")],
)
def test_a_service_that_the_file_does_not_say_is_a_no(
    element: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = rf"\| {re.escape(line)} \| \w+ \| (.*) \|"
    assert re.findall(pattern, conformance_markdown()) == ["yes"]
    without = services()
    for found in without.findall(f"{{*}}{element}"):
        without.remove(found)
    monkeypatch.setattr(conformance, "_services", lambda: without)
    assert re.findall(pattern, conformance_markdown()) == ["**no**"]


def test_the_model_is_read_from_the_file() -> None:
    cid = read_cid(example_cid())
    less = tuple(
        replace(device, nodes=tuple(node for node in device.nodes if node.name != "MMXN1"))
        for device in cid.devices
    )
    text = model_markdown(replace(cid, devices=less), {})
    assert "MMXN1.Vol | MV" not in text
    assert "XSWI1.Pos | DPC" in text
