"""A sensor that was replaced: the meter learns why its birth is refused, and one command lets it go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from bridge.meters import replacement
from bridge.store.audit import Kind
from bridge.store.meter_names import UnknownMeterError
from bridge.store.queries import Store
from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now
from broker.contract.notice import MeterNotice, NoticeCode
from scl_builder.build.builder import NAMESPACE
from tests.support.bridges import BIRTH, METER, OTHER, TOPICS, Rig, birth, chain, eventually
from tests.support.brokers import Broker
from tests.support.cli import answer, error, run
from tests.support.firmware_rig import Rig as Firmware
from tests.support.mms import eventually as soon

pytest_plugins = ("tests.support.databases",)
NOTICE = TOPICS.meter(METER, "notice")


@pytest.fixture
def rig(broker: Broker, database_url: str) -> Iterator[Rig]:
    with chain(broker, database_url) as running:
        running.client.publish(BIRTH, birth(hardware={"serial": "old", "vendor": "v"}), retain=True)
        running.wait_revision(lambda new: new.revision == 1)
        yield running


def notices(rig: Rig) -> list[MeterNotice]:
    """What the meter was told."""
    told = (payload for topic, payload in rig.client.all if topic == NOTICE)
    return [MeterNotice.model_validate_json(payload) for payload in told]


def test_meter_is_told_and_replaced_and_the_scd_follows(rig: Rig, tmp_path: Path) -> None:
    rig.client.publish(
        BIRTH, birth(name="Mill", interval=7, hardware={"serial": "new", "vendor": "v"}), retain=True
    )
    eventually(lambda: bool(notices(rig)))
    (notice,) = notices(rig)
    assert notice.code == NoticeCode.BIRTH_REFUSED
    assert "another hardware serial" in notice.reason
    assert f"meter61850 meters replace {METER} --serial" in notice.reason
    assert rig.store.meter(METER).meter.name != "Mill"

    url = rig.bridge.settings.database_url
    mqtt = ("--mqtt", f"{rig.broker.host}:{rig.broker.port}")
    run("meters", "replace", METER, "--serial", "new", *mqtt, "--database", url, folder=tmp_path)
    rig.wait_revision(lambda new: new.revision == 2)
    meter = rig.store.meter(METER).meter
    assert (meter.name, meter.interval, meter.serial, meter.vendor) == ("Mill", 7, "new", "v")
    scd = etree.fromstring(rig.client.latest[TOPICS.scd])
    assert "new" in scd.xpath("//s:DAI[@name='serNum']/s:Val/text()", namespaces={"s": NAMESPACE})
    (row,) = answer("audit", "show", "--event", Kind.METER_REPLACED, "--database", url, folder=tmp_path)
    assert (row["meter_id"], row["identity"]) == (METER, "new")
    assert row["who"]
    assert len(notices(rig)) == 1


def test_birth_that_cannot_be_read_is_told_too(rig: Rig) -> None:
    rig.client.publish(BIRTH, birth(interval=-1))
    eventually(lambda: bool(notices(rig)))
    assert "interval" in notices(rig)[0].reason


def test_other_meters_serial_and_no_meter_are_refused(rig: Rig, tmp_path: Path) -> None:
    rig.client.publish(TOPICS.meter(OTHER, "birth"), birth(hardware={"serial": "theirs"}), retain=True)
    rig.wait_revision(lambda new: new.revision == 2)
    url = rig.bridge.settings.database_url
    with pytest.raises(ConfigurationError, match=f"'theirs' belongs to another meter: {OTHER}"):
        replacement.replace(url, METER, serial="theirs", who="x")
    with pytest.raises(UnknownMeterError):
        replacement.replace(url, "3f2504e0-4f89-41d3-9a0c-0305e82c33ff", serial="s", who="x")
    error("meters", "replace", METER, "--serial", " ", "--database", url, code=2, folder=tmp_path)
    assert rig.store.meter(METER).meter.serial == "old"


def test_the_number_that_it_has_already_is_refused_and_not_recorded(rig: Rig, tmp_path: Path) -> None:
    url = rig.bridge.settings.database_url
    told = error("meters", "replace", METER, "--serial", "old", "--database", url, code=2, folder=tmp_path)
    assert "has the serial number 'old' already: nothing to replace" in told
    assert answer("audit", "show", "--event", Kind.METER_REPLACED, "--database", url, folder=tmp_path) == []
    assert rig.store.meter(METER).meter.vendor == "v"


def test_without_a_broker_the_next_birth_is_taken(rig: Rig, tmp_path: Path) -> None:
    url = rig.bridge.settings.database_url
    told = run(
        "meters",
        "replace",
        METER,
        "--serial",
        "new",
        "--mqtt",
        "127.0.0.1:1",
        "--database",
        url,
        folder=tmp_path,
    )
    assert "its next birth will be taken" in told.stderr
    rig.client.publish(BIRTH, birth(name="Mill", hardware={"serial": "new"}), retain=True)

    def name() -> str:
        with Store.open(url) as store:
            return store.meter(METER).meter.name

    eventually(lambda: name() == "Mill")


async def test_meter_logs_why_its_birth_was_refused(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Firmware.on(broker, tmp_path) as house, house.meter():
        await house.heard("status", lambda status: bool(status["online"]))
        notice = MeterNotice(code=NoticeCode.BIRTH_REFUSED, reason="the serial is another", ts=utc_now())
        with caplog.at_level(logging.WARNING):
            await house.client.publish(house.topic("notice"), notice.payload(), qos=1)
            await soon(lambda: "the bridge has refused our birth" in caplog.text)
        assert "the serial is another" in caplog.text
