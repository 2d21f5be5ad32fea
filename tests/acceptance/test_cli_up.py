"""``meter61850 up``: ready when every meter can be read over MMS, ends cleanly, leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from broker.contract.quantities import HOUSEHOLD
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.cli import STOP_SECONDS, Running, answer, error, run, up
from tests.support.web import log_in


def free_ports(folder: Path | None = None) -> tuple[str, ...]:
    """Options that let ``up`` listen where nothing else does; a deployment in ``folder`` keeps its own."""
    options = {"--mqtt-port": 3, "--mms-port": 2, "--web-port": 1}
    if folder and (folder / "data" / "meter61850.env").exists():
        del options["--mqtt-port"]
    return tuple(word for option, room in options.items() for word in (option, str(free_port(room))))


def document(folder: Path, broker: str, *options: str, spare: str = "0") -> dict[str, Any]:
    """What ``up --for 3 --json`` prints; stdout has nothing else, READY is on stderr."""
    done = run(
        *(
            "up",
            "--for",
            "3",
            "--json",
            "--interval",
            "0.5",
            "--broker",
            broker,
            *free_ports(folder),
            *options,
        ),
        folder=folder,
        METER61850_SPARE=spare,
    )
    assert "\nREADY in " in f"\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("broker", "spare"), [("mosquitto", "10"), ("embedded", "0")])
def test_database_and_mms_tell_the_same_last_reading(broker: str, spare: str, tmp_path: Path) -> None:
    """Spare logical devices are neither waited for nor counted."""
    told = document(tmp_path, broker, "--meters", "3", spare=spare)
    assert told["different"] == 0
    assert told["broker"]["kind"] == broker
    assert told["ready_seconds"] > 0
    assert [ied["meters"] for ied in told["mms"]] == [3]
    assert len(told["meters"]) == 3
    for meter in told["meters"]:
        assert meter["same"]
        assert meter["database"]["seq"] >= 4  # readings went on after READY
        assert meter["database"]["ts"] == meter["mms"]["ts"]
        assert meter["mms"]["relay"] == "closed"
        for name in HOUSEHOLD:
            assert meter["mms"][name] == pytest.approx(meter["database"][name], rel=1e-6, abs=0.5)


def test_the_document_is_of_this_run(tmp_path: Path) -> None:
    """The last reading is the newest row of the database, looked up without our code."""
    told = document(tmp_path, "mosquitto", "--meters", "1")
    with closing(sqlite3.connect(tmp_path / "data" / "meter61850.sqlite")) as database:
        (seq,) = database.execute("select max(seq) from reading").fetchone()
        (ms,) = database.execute("select ts from reading where seq = ?", (seq,)).fetchone()
    assert told["meters"][0]["database"]["seq"] == seq
    assert time.time() - ms / 1000 < 300


def test_ieds_fill_up_to_fifty_meters(tmp_path: Path) -> None:
    told = document(tmp_path, "mosquitto", "--meters", "51")
    assert told["different"] == 0
    assert sorted(ied["meters"] for ied in told["mms"]) == [1, 50]
    assert told["mms"][1]["port"] == told["mms"][0]["port"] + 1


@pytest.mark.parametrize(
    ("option", "offset"), [("--mqtt-port", 0), ("--mms-port", 0), ("--mms-port", 1), ("--web-port", 0)]
)
def test_taken_port_is_named_with_its_option(option: str, offset: int, tmp_path: Path) -> None:
    with socket.socket() as holder:
        first = free_port(2)  # the ports before the taken one are free: up names the first that is not
        port = first + offset
        holder.bind(("127.0.0.1", port))
        holder.listen()
        taken = (option, str(first))
        said = error("up", "--meters", "51", *free_ports(), *taken, code=4, folder=tmp_path)
    assert f"port {port} " in said
    assert option in said
    assert not (tmp_path / "data" / "meter61850.sqlite").exists()


def test_ready_line_names_ports_and_database(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "2") as running:
        line = running.ready()
        assert re.match(r"READY in \d+\.\d s: ", line)
        assert f"MQTT {running.mqtt} (mosquitto " in line
        assert f"MMS {running.mms} (SMGW001)" in line
        where = f"database sqlite:///data/meter61850.sqlite, web http://127.0.0.1:{running.web_port}/"
        assert line.endswith(where)
        said = running.log.read_text().splitlines()
        login, ready = (line for line in said if not line.startswith("ts="))  # a log line, for example of NTP
        assert ready == line
        assert re.match(r"log in as admin with \S{16} \(shown only now; to set another: ", login)


def test_first_login_works_and_is_told_once(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "1") as running:
        running.ready()
        found = re.search(r"log in as (\S+) with (\S+)", until_written(running, "log in"))
        assert found
        name, password = found.groups()
        assert_login(running, name, password)
        assert running.stop() == 0
    with up(tmp_path, "--meters", "1", "--mqtt-port", str(running.mqtt_port)) as again:
        again.ready()
        assert_login(again, name, password)
        assert again.stop() == 0
    assert "log in" not in again.log.read_text()


def assert_login(running: Running, name: str, password: str) -> None:
    """The page takes this name and password."""
    with httpx.Client(base_url=f"http://127.0.0.1:{running.web_port}", timeout=60) as client:
        told = log_in(client, name, password)
        assert told.status_code == 303, told.text
        assert "House 1" in client.get("/").text


def until_written(running: Running, words: str) -> str:
    """The output when it has ``words``."""
    return until(lambda: text if words in (text := running.log.read_text()) else "", why=words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_everything_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "2") as running:
        running.ready()
        children = running.children()
        assert set(children) == {"broker", "bridge", "mms", "registrar", "web", "meters"}
        assert running.stop(number) == 0
        assert [name for name, child in children.items() if alive(child)] == []
        for name in children:
            log = (tmp_path / "data" / "logs" / f"{name}.log").read_text()
            assert "Traceback" not in log, log


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "2") as running:
        running.ready()
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert any("mosquitto" in child.name() for child in children)
        running.process.kill()
        _, left = psutil.wait_procs(children, timeout=STOP_SECONDS)
    assert left == []


@pytest.mark.parametrize("victim", ["broker", "bridge", "mms", "registrar", "web", "meters"])
def test_child_that_dies_stops_all_with_its_name_and_log(victim: str, tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "2") as running:
        running.ready()
        children = running.children()
        everybody = psutil.Process(running.process.pid).children(recursive=True)
        children[victim].kill()
        assert running.process.wait(2 * STOP_SECONDS) == 1
        said = running.log.read_text()
        assert f"error: {victim} ended by itself (SIGKILL); data/logs/{victim}.log says:" in said
        _, left = psutil.wait_procs(everybody, timeout=STOP_SECONDS)
        assert left == []


def test_second_up_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "1") as running:
        running.ready()
        assert "--data-dir" in error("up", *free_ports(), code=4, folder=tmp_path)


@pytest.mark.parametrize("plain", [(), ("--plain",)], ids=["deployment", "plain"])
def test_a_database_without_an_octet_is_not_taken_as_a_new_one(
    plain: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "meter61850.sqlite").touch()
    said = error("up", *plain, *free_ports(), code=2, folder=tmp_path)
    assert "meter61850.sqlite is empty: restore it from a backup (meter61850 store restore FILE)" in said
    assert sorted(path.name for path in (tmp_path / "data").glob("m*")) == ["meter61850.sqlite"]


def test_second_run_is_the_same_meters(tmp_path: Path) -> None:
    first, second = (document(tmp_path, "mosquitto", "--meters", "2") for _ in range(2))
    ids = [[meter["meter_id"] for meter in told["meters"]] for told in (first, second)]
    assert ids[0] == ids[1]
    for before, after in zip(first["meters"], second["meters"], strict=True):
        assert after["ied"] == before["ied"]
        assert after["database"]["seq"] > before["database"]["seq"]
        assert after["database"]["energy"] >= before["database"]["energy"]


def test_interrupted_before_ready_is_exit_130(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "2") as running:
        first_child(running)
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert running.stop() == 130
        _, left = psutil.wait_procs(children, timeout=STOP_SECONDS)
    assert left == []


def first_child(running: Running) -> None:
    """Wait until the broker has been started, which is long before READY."""
    deadline = time.monotonic() + STOP_SECONDS
    while not psutil.Process(running.process.pid).children():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_meter_that_is_blocked_is_not_waited_for(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "2") as running:
        running.ready()
        meter_id = answer("meters", "list", folder=tmp_path)[0]["meter_id"]
        assert run("meters", "block", meter_id, "--reason", "stolen", folder=tmp_path).returncode == 0
    with up(tmp_path, "--meters", "2", "--mqtt-port", str(running.mqtt_port)) as again:
        again.ready()
        assert [meter["state"] for meter in answer("meters", "list", folder=tmp_path)] == [
            "withdrawn",
            "online",
        ]
