"""The SCL of the bridge with a topology file, and what its history says; a real SQLite file, no broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bridge.scl.history import kept_topology
from bridge.scl.publication import Publication
from bridge.settings import BridgeSettings
from bridge.store import database
from bridge.store.tables import Meter, SclRevision
from broker.contract.compressed import unpacked
from broker.mqtt.settings import MqttSettings
from scl_builder.check.checker import check

NS = {"s": "http://www.iec.ch/61850/2003/SCL"}
FEEDER = (
    '[[substation]]\nname = "{}"\n[[substation.transformer]]\nname = "T1"\n'
    '[[substation.transformer.feeder]]\nname = "F1"\nmeters = ["House 1"]\n'
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = database.connect(f"sqlite:///{tmp_path / 'store.sqlite'}")
    database.migrate(made)
    yield made
    made.dispose()


class Town:
    """A bridge's publication over a registry, as after each start."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sent: dict[str, bytes] = {}

    def start(self, **settings: Any) -> Publication:
        """A new process that publishes all that it has to."""
        made = BridgeSettings(mqtt=MqttSettings(), **settings)
        publication = Publication(self.engine, made, publish=self.sent.__setitem__)
        publication.update(everything=True)
        return publication

    def birth(self, number: int) -> None:
        """One more meter, House ``number``."""
        born: dict[str, Any] = {"born_at": 1, "first_seen": 1, "last_seen": 1, "changes": 1, "ied": "SMGW001"}
        name = f"House {number}"
        with Session(self.engine) as session:
            session.add(Meter(meter_id=str(uuid.UUID(int=number)), number=number, name=name, **born))
            session.commit()

    @property
    def scd(self) -> bytes:
        """The published one; clean."""
        scd = unpacked(self.sent["sm/v1/scl/scd"])
        assert check(scd) == []
        return scd

    @property
    def substations(self) -> list[str]:
        """Names, in the SCD."""
        return [str(name) for name in etree.fromstring(self.scd).xpath("//s:Substation/@name", namespaces=NS)]

    @property
    def history(self) -> list[tuple[str | None, str | None]]:
        """What and why, of each revision in the SCD."""
        rows = etree.fromstring(self.scd).xpath("//s:Hitem", namespaces=NS)
        return [(row.get("what"), row.get("why")) for row in rows]


def rejected(publication: Publication) -> int:
    """How often the file was wrong."""
    return publication.counters()["topology_rejected"]


@pytest.fixture
def town(engine: Engine) -> Town:
    made = Town(engine)
    made.birth(1)
    return made


def test_a_changed_file_is_taken_up_and_a_broken_one_is_not(
    town: Town, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "topology.toml"
    file.write_text(FEEDER.format("Mill"))
    publication = town.start(topology=file)
    assert town.substations == ["Mill"]
    assert "no meter yet" not in caplog.text
    file.write_text(FEEDER.format("Water mill"))
    publication.look()
    assert (rejected(publication), publication._topology.held.topology is not None) == (1, True)
    wrong = "line 2: substation.name = 'Water mill': letters and digits"
    assert wrong in caplog.text
    (warning,) = publication.warnings()
    assert warning.startswith(f"{file} (METER61850_TOPOLOGY): {wrong}")
    publication.update(everything=False)
    assert town.substations == ["Mill"]
    file.unlink()
    publication.look()
    publication.update(everything=False)
    assert (rejected(publication), town.substations) == (2, ["Mill"])
    file.write_text(FEEDER.format("Weir"))
    publication.look()
    assert publication.warnings() == [], "it is right now"
    assert publication._first, "a rebuild is asked for"
    publication.update(everything=False)
    assert town.substations == ["Weir"]
    assert town.history == [
        ("1 meter added; topology of 1 substation, 1 transformer, 1 feeder",
         "births and withdrawals of meters, METER61850_TOPOLOGY"),
        ("topology of 1 substation, 1 transformer, 1 feeder", "METER61850_TOPOLOGY"),
    ]  # fmt: skip


def test_the_last_good_file_holds_over_a_restart(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "topology.toml"
    file.write_text(FEEDER.format("Mill"))
    town.start(topology=file)
    before = town.scd
    file.write_text("[[substation]]")
    town.start(topology=file)
    assert town.scd == before, "no new revision"
    file.write_text("# a remark\n" + FEEDER.format("Mill"))
    town.start(topology=file)
    assert town.scd == before
    with Session(town.engine) as session:
        assert "a remark" in str(kept_topology(session)), "what is not in the SCD, is known, too"
    town.start()
    assert town.substations == ["SMGW001_Site"]
    assert town.history[-1] == ("no topology any more", "METER61850_TOPOLOGY")


def test_a_wrong_file_at_the_first_start_is_no_topology(
    town: Town, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "topology.toml"
    file.write_bytes(b"\xff\xfe")
    publication = town.start(topology=file)
    assert (town.substations, rejected(publication)) == (["SMGW001_Site"], 1)
    assert "METER61850_TOPOLOGY" in publication.warnings()[0]
    file.write_text(FEEDER.format("Mill").replace("House 1", "House 9"))
    publication.look()
    publication.update(everything=False)
    assert town.substations == ["Mill", "SMGW001_Site"]
    assert "topology: no meter yet for 1 of its entries: name:House 9" in caplog.text


def test_the_history_names_the_setting_that_was_changed(town: Town) -> None:
    town.start()
    town.start(control_model="status-only", report_instances=3)
    town.birth(2)
    town.start(control_model="status-only", report_instances=3, mms_port=10102)
    members = "births and withdrawals of meters"
    assert town.history == [
        ("1 meter added", members),
        ("control model status-only instead of sbo-with-enhanced-security; report instances 3 instead of 2",
         "METER61850_CONTROL_MODEL, METER61850_REPORT_INSTANCES"),
        ("MMS port 10102 instead of 102; 2 meters instead of 1", f"METER61850_MMS_PORT, {members}"),
    ]  # fmt: skip
    before = town.scd
    town.start(control_model="status-only", report_instances=3, mms_port=10102)
    assert town.scd == before, "the same again is no revision"


def test_the_history_names_the_clients_of_the_reports(town: Town) -> None:
    town.start()
    cid = town.sent["sm/v1/scl/cid/SMGW001"]
    town.start(report_clients="ControlCentre")
    what = "clients of the reports ControlCentre instead of none"
    assert town.history[-1] == (what, "METER61850_REPORT_CLIENTS")
    assert b'<ClientLN iedName="ControlCentre"' in town.scd
    assert town.sent["sm/v1/scl/cid/SMGW001"] == cid, "no server and no association is disturbed"


def test_the_history_names_what_decides_which_values_are_events(town: Town) -> None:
    town.start()
    town.start(mms_deadband="2", mms_nominal="voltage=120")
    assert town.history[-1] == (
        "deadband (%) 2 instead of 1; nominal values voltage=120 instead of none",
        "METER61850_MMS_DEADBAND, METER61850_MMS_NOMINAL",
    )


def test_only_the_newest_revision_keeps_what_it_was_made_with(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "topology.toml"
    for name in ("A", "B", "C"):
        file.write_text(FEEDER.format(name))
        town.start(topology=file)
    with Session(town.engine) as session:
        rows = session.exec(select(SclRevision).order_by(col(SclRevision.revision))).all()
    assert [(row.settings is None, row.topology) for row in rows] == [
        (True, None),
        (True, None),
        (False, FEEDER.format("C")),
    ]


def test_a_revision_of_an_older_bridge_says_what_it_can(town: Town, engine: Engine) -> None:
    town.start()
    with Session(engine) as session:
        (row,) = session.exec(select(SclRevision))
        row.settings = row.topology = row.why = None
        session.add(row)
        session.commit()
    town.start(control_model="status-only")
    assert town.history == [("1 meter added", None), ("changed while the bridge was not running", None)]
