"""Meter → Mosquitto → bridge → SCD → MMS → relay, every part the real one and a process of its own."""

from __future__ import annotations

import queue
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from open61850 import scl
from open61850.mms import ObjectName, decode_report, discover, is_report, operate, rcb
from open61850.mms.control import ControlError, Origin
from open61850.mms.errors import MmsError
from open61850.mms.model import compare
from open61850.mms.report import Report
from paho.mqtt import publish

from scl_builder.check.checker import check
from tests.integration.test_mms_values import GOOD, MEASURED, OLD, POSITIONS, Told, read
from tests.support.brokers import Broker
from tests.support.chain import Chain, chain, until
from tests.support.pzem import Pzem

THESIS = {
    "voltage": 231.0,
    "current": 0.191,
    "power": 21.3,
    "power_factor": 0.48,
    "frequency": 50.0,
    "energy": 98_414.0,
}
METER_TOML = """
interval = 0.5
data_dir = "{folder}/pi"
[identity]
name = "Claremont 7"
owner = "K. Residence"
address = "7 Main Road"
address_code = "7708"
[hardware]
vendor = "Peacefair"
model = "PZEM-004T v3"
serial = "PZ-0001"
[sensor]
port = "{port}"
address = 1
[relay]
kind = "simulated"
[mqtt]
host = "{host}"
port = {mqtt_port}
keepalive = 2
"""


def told(running: Chain, domain: str, of: tuple[str, str, str]) -> Told:
    """A data object over an association of its own."""
    with running.connect() as client:
        return read(client, domain, of)


def position(running: Chain, domain: str, node: str) -> tuple[str, str]:
    """Dbpos and quality of a switch."""
    seen = told(running, domain, (f"{node}.Pos", "stVal", "ST"))
    return POSITIONS[seen.value], seen.quality


def test_a_sensor_on_the_wire_is_read_over_mms(broker: Broker, tmp_path: Path) -> None:
    with Pzem(tmp_path) as pzem, chain(broker, tmp_path) as running:
        config = tmp_path / "meter.toml"
        config.write_text(
            METER_TOML.format(folder=tmp_path, port=pzem.port, host=broker.host, mqtt_port=broker.port)
        )
        running.start("meter", "run", "--config", str(config))
        (meter_id,) = running.wait_for_meters(1)
        domain = running.domain(meter_id)
        running.wait_for_domain(domain)
        columns = ", ".join(THESIS)
        stored = running.rows(f"SELECT {columns} FROM reading")[0]
        assert stored == pytest.approx(tuple(THESIS.values()))
        for name, of in MEASURED.items():
            until(lambda of=of: told(running, domain, of).quality == GOOD, why=name)  # type: ignore[misc]
            assert told(running, domain, of).value == pytest.approx(THESIS[name], rel=1e-6), name
        with running.connect() as client:
            serial: Any = client.read(f"{domain}/LPHD1.PhyNam.serNum[DC]")
        assert serial.value == "PZ-0001"


def test_discovered_model_is_the_scd_and_the_scd_has_no_errors(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        running.simulate(3)
        for meter_id in running.wait_for_meters(3):
            running.wait_for_domain(running.domain(meter_id))
        scd = tmp_path / "exported.scd"
        running.cli("scl", "export", "--mqtt", running.mqtt, "--output", str(scd))
        assert check(scd.read_bytes()) == []
        running.cli("scl", "check", str(scd))
        with running.connect() as client:
            served = discover(client)
        expected = scl.load_model(scd)
        assert compare(expected, served) == []
        assert compare(served, expected) == []


def test_report_select_operate_and_the_ledger_agree(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        running.simulate(1, interval=0.5)
        (meter_id,) = running.wait_for_meters(1)
        domain = running.domain(meter_id)
        running.wait_for_domain(domain)
        reports: queue.Queue[tuple[float, Report]] = queue.Queue()

        def take(message: Any) -> None:
            if is_report(message):
                reports.put((time.time(), decode_report(message)))

        with running.connect(on_information_report=take) as client:
            block = ObjectName("LLN0$RP$urcbVol01", "SMGW001GW")
            rcb.enable(client, block, rcb.RcbSettings(intg_pd_ms=None, general_interrogation=False))
            arrived, report = reports.get(timeout=60)
            entry: Any = report.entries[0].value
            assert arrived >= entry.members[2].value.timestamp()  # the meter's time
            origin = Origin(category=3, ident=b"control room")
            result = operate(client, f"{domain}/CSWI1.Pos", False, origin=origin)
            assert result.terminated
            for node in ("CSWI1", "XSWI1"):  # a reading that is late makes it questionable for a moment
                until(lambda node=node: position(running, domain, node) == ("off", GOOD), why=node)  # type: ignore[misc]
        query = "SELECT meter_id, position, outcome, origin_category, origin_identifier FROM command"
        expected = [(meter_id, "open", "done", "remote-control", "control room")]
        until(lambda: running.rows(query) == expected, why="ledger")
        until(lambda: running.rows("SELECT relay FROM meter") == [("open",)], why="relay in the registry")


def test_a_stopped_meter_ends_negatively_within_the_limit(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        meters = running.simulate(1)
        (meter_id,) = running.wait_for_meters(1)
        domain = running.domain(meter_id)
        running.wait_for_domain(domain)
        until(lambda: position(running, domain, "CSWI1") == ("on", GOOD), why="closed")
        meters.send_signal(signal.SIGSTOP)
        with running.connect() as client:
            with pytest.raises(ControlError) as refused:
                operate(client, f"{domain}/CSWI1.Pos", False)
            assert refused.value.stage == "termination"
            assert refused.value.last_appl_error is not None
            assert refused.value.last_appl_error.add_cause == 16  # time-limit-over
        meters.send_signal(signal.SIGCONT)
        # the command has expired: the meter says so, and the house keeps its power
        until(
            lambda: running.rows("SELECT outcome FROM command") == [("expired",)], why="expired in the ledger"
        )
        assert position(running, domain, "XSWI1")[0] == "on"


def test_a_killed_meter_is_told_by_its_will(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        meters = running.simulate(1)
        (meter_id,) = running.wait_for_meters(1)
        domain = running.domain(meter_id)
        running.wait_for_domain(domain)
        until(lambda: told(running, domain, MEASURED["voltage"]).quality == GOOD, why="good")
        meters.kill()
        until(lambda: told(running, domain, MEASURED["voltage"]).quality == OLD, why="old data")
        with running.connect() as client, pytest.raises(ControlError) as refused:
            operate(client, f"{domain}/CSWI1.Pos", False)
        assert refused.value.stage == "select"
        query = "SELECT outcome, origin_identifier LIKE '127.0.0.1:%' FROM command"
        until(lambda: running.rows(query) == [("refused", 1)], why="the refusal in the ledger")


def test_a_meter_is_born_while_a_client_reads(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        running.simulate(1)
        (first,) = running.wait_for_meters(1)
        running.wait_for_domain(running.domain(first))
        stop, reads = threading.Event(), [0]
        failures: list[Exception] = []

        def loop() -> None:
            with running.connect() as client:
                while not stop.is_set():
                    try:
                        client.read(f"{running.domain(first)}/MMXN1.Vol[MX]")
                        reads[0] += 1
                    except (MmsError, OSError) as error:
                        failures.append(error)
                        return

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            running.simulate(1, first=2)
            born = until(
                lambda: running.rows("SELECT meter_id FROM meter WHERE name = 'House 2' AND born_at > 0"),
                why="birth",
            )
            running.wait_for_domain(running.domain(born[0][0]))
            before = reads[0]
            until(lambda: reads[0] > before + 100, why="the first client reads on")
        finally:
            stop.set()
            thread.join()
        assert failures == []


def test_every_service_survives_bad_input(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        running.simulate(1)
        (meter_id,) = running.wait_for_meters(1)
        domain = running.domain(meter_id)
        running.wait_for_domain(domain)
        messages: list[Any] = []
        for kind in ("reading", "history", "birth", "status", "relay", "command", "result", "stored", "what"):
            for target in (meter_id, "no-uuid"):
                for payload in (b"", b"{", b"[1]", b'{"seq":NaN}', b"\xff" * 100, b"x" * 1_000_000):
                    if payload or kind in ("command", "history"):
                        messages.append((f"sm/v1/{target}/{kind}", payload, 1, False))
        publish.multiple(messages, hostname=broker.host, port=broker.port)
        dead = until(
            lambda: rows if len(rows := running.rows("SELECT topic, cause FROM dead_letter")) > 20 else [],
            why="dead letters",
        )
        assert all(topic.startswith("sm/v1/") and cause for topic, cause in dead)
        (seq,) = running.rows("SELECT max(seq) FROM reading")[0]
        until(lambda: running.rows("SELECT max(seq) FROM reading")[0][0] > seq, why="readings go on")
        until(lambda: told(running, domain, MEASURED["voltage"]).quality == GOOD, why="values go on")
        for process in running.processes.values():
            assert process.poll() is None
