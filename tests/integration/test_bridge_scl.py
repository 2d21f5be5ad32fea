"""The SCL on the broker: from births to SCD, CIDs and revision, with the real builder."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator

import pytest
from lxml import etree

from scl_builder.build.builder import NAMESPACE
from scl_builder.model.logical_devices import GROUP_REVISION
from tests.support.bridges import BIRTH, METER, OTHER, TOPICS, Rig, birth, chain, eventually
from tests.support.brokers import Broker

SCL = {"s": NAMESPACE}
pytest_plugins = ("tests.support.databases",)


@pytest.fixture
def rig(broker: Broker, sqlite_url: str) -> Iterator[Rig]:
    with chain(broker, sqlite_url) as running:
        yield running


def logical_devices(xml: bytes) -> set[str]:
    """meter_ids of the meters in an SCD or CID."""
    path = "//s:LDevice/s:Private[@type='meter61850:meter_id']/text()"
    return set(etree.fromstring(xml).xpath(path, namespaces=SCL))


def conf_revs(xml: bytes) -> set[int]:
    """confRev of the report control blocks in an SCD or CID, beyond that of the groups themselves."""
    found = etree.fromstring(xml).xpath("//s:ReportControl/@confRev", namespaces=SCL)
    return {int(rev) - GROUP_REVISION for rev in found}


def members(xml: bytes) -> list[str]:
    """insts in the data set of all voltages."""
    path = "//s:DataSet[@name='dsVol']/s:FCDA/@ldInst"
    return [str(inst) for inst in etree.fromstring(xml).xpath(path, namespaces=SCL)]


def test_conf_rev_goes_up_whenever_the_members_change(rig: Rig) -> None:
    """Also when a meter leaves and another one comes: the number of members is then the same."""
    seen: list[tuple[int, list[str]]] = []

    def look(revision: int) -> None:
        rig.wait_revision(lambda new: new.revision == revision)
        cid = rig.client.latest[TOPICS.cid("SMGW001")]
        (conf_rev,) = conf_revs(cid)
        seen.append((conf_rev, members(cid)))

    third = TOPICS.meter("3f2504e0-4f89-41d3-9a0c-0305e82c3399", "birth")
    rig.client.publish(BIRTH, birth(), retain=True)
    look(1)
    rig.client.publish(TOPICS.meter(OTHER, "birth"), birth(hardware={"serial": "2"}), retain=True)
    look(2)
    rig.client.publish(BIRTH, birth(name="Mill"), retain=True)  # the members stay
    look(3)
    rig.client.publish(BIRTH, b"", retain=True)
    look(4)
    rig.client.publish(third, birth(hardware={"serial": "3"}), retain=True)
    look(5)
    rig.client.publish(BIRTH, birth(), retain=True)
    look(6)
    assert seen == [
        (1, ["M1"]),
        (2, ["M1", "M2"]),
        (2, ["M1", "M2"]),
        (3, ["M2"]),
        (4, ["M2", "M3"]),
        (5, ["M1", "M2", "M3"]),
    ]
    assert rig.bridge.stop() == 0
    rig.client.latest.clear()
    rig.bridge.start()
    rig.wait_revision(lambda new: new.revision == 6)
    assert conf_revs(rig.client.latest[TOPICS.cid("SMGW001")]) == {5}, "kept over a restart"


def test_births_make_an_scd_and_births_that_change_nothing_make_no_revision(rig: Rig) -> None:
    rig.client.publish(BIRTH, birth(), retain=True)
    first = rig.wait_revision()
    assert (first.revision, first.meters, first.ieds) == (1, 1, 1)
    scd = rig.client.latest[TOPICS.scd]
    assert first.sha256 == hashlib.sha256(scd).hexdigest()
    assert logical_devices(scd) == logical_devices(rig.client.latest[TOPICS.cid("SMGW001")]) == {METER}

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
    assert final.revision < 30, "debounced: not a revision for each birth"
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
    assert logical_devices(rig.client.latest[TOPICS.cid("SMGW001")]) == {METER}
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


def test_a_meter_without_a_relay_has_no_switch_and_conf_rev_counts_when_it_gets_one(rig: Rig) -> None:
    def switches() -> tuple[list[str], set[int]]:
        cid = rig.client.latest[TOPICS.cid("SMGW001")]
        classes = etree.fromstring(cid).xpath("//*[local-name()='LDevice'][@inst='M1']/*/@lnClass")
        return [name for name in classes if name in ("CSWI", "XSWI")], conf_revs(cid)

    rig.client.publish(BIRTH, birth(relay=False), retain=True)
    first = rig.wait_revision()
    assert switches() == ([], {1})
    rig.client.publish(BIRTH, birth(relay=True), retain=True)
    second = rig.wait_revision(lambda new: new.revision > first.revision)
    assert switches() == (["CSWI", "XSWI"], {2})
    rig.client.publish(BIRTH, birth(relay=False), retain=True)
    rig.wait_revision(lambda new: new.revision > second.revision)
    assert switches() == ([], {3})


def test_a_birth_with_other_quantities_is_a_new_configuration(rig: Rig) -> None:
    """The meter has got a sensor of three phases, then one more register."""
    found = []
    kinds = (["power", "energy"], ["power_l1", "power_l2"], ["power_l1", "power_l2", "energy_export"])
    for revision, quantities in enumerate(kinds, 1):
        rig.client.publish(BIRTH, birth(quantities=quantities), retain=True)
        rig.wait_revision(lambda new, wanted=revision: new.revision == wanted)  # type: ignore[misc]
        cid = etree.fromstring(rig.client.latest[TOPICS.cid("SMGW001")])
        path = "//s:LDevice[@inst!='GW']/s:LN[starts-with(@lnClass, 'MM')]/@lnClass"
        nodes = [str(name) for name in cid.xpath(path, namespaces=SCL)]
        found.append((nodes, *conf_revs(rig.client.latest[TOPICS.cid("SMGW001")])))
    assert found == [(["MMXN", "MMTN", "MMXN", "MMXN"], 1), (["MMXU"], 2), (["MMXU", "MMTR"], 3)]
