"""The SCL on the broker: from births to SCD, CIDs and revision, with the real builder."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator

import pytest
from lxml import etree

from broker.topics import scl_name
from scl_builder.builder import NAMESPACE
from tests.bridges import (
    BIRTH,
    METER,
    OTHER,
    TOPICS,
    Rig,
    birth,
    chain,
    eventually,
)
from tests.brokers import Broker

pytest_plugins = ("tests.databases",)


@pytest.fixture
def rig(broker: Broker, sqlite_url: str) -> Iterator[Rig]:
    with chain(broker, sqlite_url) as running:
        yield running


def logical_devices(xml: bytes) -> set[str]:
    """ldNames of the meters in an SCD or CID."""
    return set(etree.fromstring(xml).xpath("//s:LDevice/@ldName", namespaces={"s": NAMESPACE}))


def test_births_make_an_scd_and_births_that_change_nothing_make_no_revision(rig: Rig) -> None:
    rig.client.publish(BIRTH, birth(), retain=True)
    first = rig.wait_revision()
    assert (first.revision, first.meters, first.ieds) == (1, 1, 1)
    scd = rig.client.latest[TOPICS.scd]
    assert first.sha256 == hashlib.sha256(scd).hexdigest()
    assert (
        logical_devices(scd) == logical_devices(rig.client.latest[TOPICS.cid("SMGW001")]) == {scl_name(METER)}
    )

    rig.client.publish(BIRTH, birth(session="s2", ip="10.0.0.9"), retain=True)
    rig.client.publish(TOPICS.meter(OTHER, "birth"), birth(hardware={"serial": "2"}), retain=True)
    second = rig.wait_revision(lambda new: new != first)
    assert (second.revision, second.meters) == (2, 2), "the birth that changed nothing made no revision"
    assert [(row.revision, row.what) for row in rig.store.revisions()] == [
        (2, "1 meter added"),
        (1, "1 meter added"),
    ]

    rig.client.latest.clear()
    assert rig.bridge.stop() == 0
    rig.bridge.start()
    assert rig.wait_revision() == second, "the same registry gives the same bytes"
    assert hashlib.sha256(rig.client.latest[TOPICS.scd]).hexdigest() == second.sha256


def test_births_come_together_in_one_revision(rig: Rig) -> None:
    meters = [str(uuid.UUID(int=0x7777_0000 + number)) for number in range(120)]
    rig.client.start_publishing(
        (TOPICS.meter(meter, "birth"), birth(hardware={"serial": meter})) for meter in meters
    )
    final = rig.wait_revision(lambda new: new.meters == 120)
    assert final.ieds == 3
    assert final.revision <= 4, "debounced: not a revision for each birth"
    cids = [rig.client.latest[TOPICS.cid(f"SMGW{number:03d}")] for number in (1, 2, 3)]
    assert [len(logical_devices(cid)) for cid in cids] == [50, 50, 20]
    ports = [etree.fromstring(cid).findtext(f".//{{{NAMESPACE}}}P[@type='MMS-Port']") for cid in cids]
    assert ports == ["102", "103", "104"]


def test_a_withdrawn_meter_leaves_the_scd_and_comes_back(rig: Rig) -> None:
    rig.client.publish(BIRTH, birth(), retain=True)
    rig.wait_revision()
    for kind in ("birth", "status", "reading", "relay"):
        rig.client.publish(TOPICS.meter(METER, kind), b"", retain=True)
    gone = rig.wait_revision(lambda new: new.revision == 2)
    assert (gone.meters, gone.ieds) == (0, 0)
    assert rig.client.latest[TOPICS.cid("SMGW001")] == b""
    assert logical_devices(rig.client.latest[TOPICS.scd]) == set()
    rig.client.publish(BIRTH, birth(), retain=True)
    back = rig.wait_revision(lambda new: new.revision == 3)
    assert back.meters == 1
    assert logical_devices(rig.client.latest[TOPICS.cid("SMGW001")]) == {scl_name(METER)}
    assert rig.dead() == []


def test_only_the_changed_ied_is_published_again(rig: Rig) -> None:
    meters = [str(uuid.UUID(int=0x7777_0000 + number)) for number in range(51)]
    for number, meter in enumerate(meters):
        rig.client.publish(TOPICS.meter(meter, "birth"), birth(hardware={"serial": str(number)}))
    rig.wait_revision(lambda new: new.meters == 51)
    rig.client.all.clear()
    rig.client.publish(TOPICS.meter(meters[50], "birth"), birth(name="Mill", hardware={"serial": "50"}))
    eventually(lambda: TOPICS.revision in [topic for topic, _ in rig.client.all])
    topics = [topic for topic, _ in rig.client.all if topic.startswith("sm/v1/scl/")]
    assert topics == [TOPICS.cid("SMGW002"), TOPICS.scd, TOPICS.revision], "and the revision comes last"
