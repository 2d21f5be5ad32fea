"""The adapter's commands: what is on the broker, what is accepted, and many sites at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import paho.mqtt.publish as paho
import pytest

from adapters import acceptance
from adapters.points import meter_id_of
from admin import logs
from admin.main import main
from tests.support import made_up
from tests.support.adapters import toml
from tests.support.brokers import Broker

INFO = {"name": "hall", "switch": True, "quantities": ["power"], "model": "X1"}


@pytest.fixture
def config(broker: Broker, tmp_path: Path) -> Path:
    """Two devices that are announced, on a broker, and an adapter that accepts none by a rule."""
    for key, info in (("d1", INFO), ("d2", INFO | {"name": "cellar"}), ("d3", INFO | {"name": "cellar"})):
        topic = f"{made_up.NAME}/{key}/info"
        paho.single(topic, json.dumps(info), qos=1, retain=True, hostname=broker.host, port=broker.port)
    topic = f"{made_up.NAME}/d1/relay"
    told = json.dumps({"position": "open"})
    paho.single(topic, told, qos=1, retain=True, hostname=broker.host, port=broker.port)
    file = toml(broker, tmp_path)
    file.write_text(file.read_text().replace(f'[[accept]]\nfamily = "{made_up.NAME}"\nswitch = true\n', ""))
    return file


@pytest.fixture(autouse=True)
def _log_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in this process, whose log is that of the tests."""
    monkeypatch.setattr(logs, "set_up", lambda _: None)


def cli(config: Path, *words: str, code: int = 0) -> None:
    """Run ``meter61850 adapter …`` here: the made-up family is registered in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["adapter", *words, "--config", str(config)])
    assert (ended.value.code or 0) == code


def found(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    cli(config, "discover", "--seconds", "2", "--json")
    return {row["device"]: row for row in json.loads(capsys.readouterr().out)["devices"]}


def test_devices_are_shown_accepted_and_dismissed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hall = found(config, capsys)["made-up/d1"]
    assert (hall["accepted"], hall["relay"], hall["position"], hall["quantities"]) == (
        *(False, "yes", "open"),
        ["power"],
    )
    assert hall["meter_id"] == meter_id_of("made-up", "d1")
    cli(config, "accept", "hall", "--name", "Hall 1", "--switch", "--seconds", "2")
    cli(config, "accept", "made-up/d2")
    hall, cellar, other = found(config, capsys).values()
    assert [row["accepted"] for row in (hall, cellar, other)] == [True, True, False]
    assert (hall["relay"], cellar["relay"]) == ("switch", "yes")
    cli(config, "dismiss", "made-up/D1")
    assert not found(config, capsys)["made-up/d1"]["accepted"]
    cli(config, "dismiss", "made-up/d1", code=3)


def test_what_cannot_be_accepted_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(config, "accept", "attic", "--seconds", "1", code=3)
    assert "no device is called 'attic'" in capsys.readouterr().err
    cli(config, "accept", "cellar", "--seconds", "2", code=2)
    assert "made-up/d2, made-up/d3" in capsys.readouterr().err
    cli(config, "accept", "made-up/d1", "made-up/d2", "--name", "One", code=2)
    assert acceptance.read(config.parent / "adapter") == ()


def test_sites_are_taken_as_a_whole(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sites, data_dir = config.parent / "sites.csv", config.parent / "adapter"
    good = "family,key,name,address,address_code,switch\nmade-up,d1,Hall,1 Street,7530,yes\n"
    sites.write_text(good + "made-up,d1,Twice,,,\ntoaster,d2,,,,\n")
    cli(config, "import", str(sites), code=2)
    told = " ".join(capsys.readouterr().err.split())
    assert "line 3: key 'd1' is in line 2 too" in told
    assert "line 4: family 'toaster' is not known" in told
    sites.write_text(good)
    cli(config, "import", str(sites), "--dry-run")
    assert acceptance.read(data_dir) == ()
    cli(config, "import", str(sites))
    (rule,) = acceptance.read(data_dir)
    assert (rule.key, rule.name, rule.address, rule.address_code, rule.switch) == (
        *("d1", "Hall", "1 Street", "7530"),
        True,
    )
    cli(config, "import", str(config.parent / "none.csv"), code=3)
    sites.write_bytes(b"family,key\nmade-up,\xff\n")
    cli(config, "import", str(sites), code=2)


def test_a_broker_that_is_not_there_is_named(
    config: Path, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.kill()
    cli(config, "discover", "--seconds", "0.5", code=4)
    assert "no connection to the broker of the source home" in capsys.readouterr().err
