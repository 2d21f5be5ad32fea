"""How logical devices are named: a new database, one from before, and a change, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from alembic import command
from sqlalchemy import Engine, text
from sqlmodel import Session

from bridge.scl.ieds import Ieds
from bridge.store import database
from bridge.store.ld_names import LdNames, Recorded, record, recorded
from bridge.store.queries import Store
from broker.contract.topics import scl_name
from scl_builder.build.project import Ied
from scl_builder.read.cid import read_cid
from tests.integration.test_bridge_scl import conf_revs
from tests.integration.test_store_migration import first_release
from tests.support.bridges import BIRTH, METER, TOPICS, birth, chain
from tests.support.brokers import Broker
from tests.support.stores import meter_id

pytest_plugins = ("tests.support.databases",)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = database.connect(database_url)
    yield made
    made.dispose()


def found(engine: Engine) -> Recorded:
    with engine.connect() as connection:
        return recorded(connection)


def ieds(engine: Engine) -> tuple[Ied, ...]:
    with Session(engine) as session:
        return Ieds(IPv4Address("192.0.2.1"), 102, None).read(session)


def before_names(engine: Engine) -> None:
    """The schema of the release before names were recorded."""
    config = database._config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")


def test_a_new_database_names_by_number(engine: Engine) -> None:
    database.migrate(engine)
    assert found(engine) == (LdNames.NUMBER, 0)


def test_one_from_before_without_a_meter_has_no_names_to_keep(engine: Engine) -> None:
    before_names(engine)
    database.migrate(engine)
    assert found(engine) == (LdNames.NUMBER, 0)


def test_one_that_has_meters_keeps_its_names_until_it_is_told_otherwise(
    engine: Engine, database_url: str
) -> None:
    first_release(engine)
    database.migrate(engine)
    database.migrate(engine)
    assert found(engine) == (LdNames.METER_ID, 0)
    (old,) = ieds(engine)
    assert [(meter.inst, meter.ld_name) for meter in old.meters] == [("M1", scl_name(meter_id(1)))]
    with Store.open(database_url) as store:
        assert store.namer()(store.meter("House 1").meter) == scl_name(meter_id(1))
    for changed in (True, False):
        with engine.begin() as connection:
            assert record(connection, LdNames.NUMBER) is changed
    (new,) = ieds(engine)
    assert [(meter.inst, meter.ld_name) for meter in new.meters] == [("M1", "")]
    assert new.domain(new.meters[0]) == "SMGW001M1"
    assert new.changes == old.changes + 1, "the data sets have other members: confRev rises"
    with Store.open(database_url) as store:
        assert store.namer()(store.meter("SMGW001M1").meter) == "SMGW001M1"


def test_a_word_that_is_no_way_to_name_is_not_taken_for_one(engine: Engine) -> None:
    database.migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE setting SET value = 'colour'"))
    with pytest.raises(ValueError, match="colour"):
        found(engine)


def test_the_bridge_takes_the_setting_and_remembers_it(broker: Broker, database_url: str) -> None:
    with chain(broker, database_url) as rig:
        rig.client.publish(BIRTH, birth(), retain=True)
        first = rig.wait_revision()
        assert named(rig.client.latest[TOPICS.cid("SMGW001")]) == ["SMGW001M1"]
        assert rig.bridge.stop() == 0
        settings = rig.bridge.settings
        rig.bridge.settings = settings.model_copy(update={"ld_names": LdNames.METER_ID})
        rig.bridge.start()
        second = rig.wait_revision(lambda new: new.revision == first.revision + 1)
        cid = rig.client.latest[TOPICS.cid("SMGW001")]
        assert named(cid) == [scl_name(METER)]
        assert [device.meter_id for device in read_cid(cid).meters] == [METER]
        assert conf_revs(cid) == {2}
        told = rig.store.revisions()[0]
        assert (told.what, told.why) == (
            "logical devices named by meter_id instead of number",
            "METER61850_LD_NAMES",
        )
        rig.client.latest.clear()
        assert rig.bridge.stop() == 0
        rig.bridge.settings = settings
        rig.bridge.start()
        assert rig.wait_revision() == second, "without the setting the names stay"


def named(cid: bytes) -> list[str]:
    return [device.domain for device in read_cid(cid).meters]
