"""Every table of the command line on a terminal of 100 columns: no cell and no line is cut.

All commands with --json are walked: a new one has to be added here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from paho.mqtt import publish

from broker.mqtt.settings import MqttSettings
from tests.support.chain import until
from tests.support.cli import Running, answer, error, run, up
from tests.support.tables import faults, on_a_terminal
from tests.unit.test_cli_help import EVERY

MMS = "127.0.0.1:MMS"
CREDIT = ("--credit", "credit.toml")
TABLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "meters list": ((),),
    "meters show": (("House 1",),),
    "readings": (("House 1",), ("House 1", "--resolution", "hour")),
    "relay open": (("House 1", "--wait"), ("House 2", "House 3", "--yes")),
    "relay close": (("House 1", "--wait"),),
    "relay block": (("House 1",),),
    "commands": ((), ("House 1",)),
    "alarms": ((),),
    "audit show": ((),),
    "audit verify": ((),),
    "dead-letters": ((),),
    "dead-letters show": (("1",),),
    "store maintain": (("--once",),),
    "store check": ((),),
    "store recompute": (("--from", "7d"),),
    "energy": ((),),
    "profile": (("House 1",), ("House 1", "--corrections")),
    "demand": ((), ("House 1", "--by", "day")),
    "quality": ((), ("House 1",)),
    "outages": ((),),
    "reliability": ((),),
    "registers": ((), ("House 1", "--by", "month")),
    "tariffs check": (("tariffs.toml",),),
    "tariffs now": (("--tariffs", "tariffs.toml"),),
    "tariffs energy": (("--tariffs", "tariffs.toml", "--by", "day"),),
    "credit check": (("credit.toml",),),
    "credit list": (CREDIT,),
    "credit show": (("House 1", *CREDIT),),
    "credit top-up": (("House 1", "20.00", "--reference", "M-1", *CREDIT),),
    "credit adjust": (("House 1", "1.00", "--reason", "a gift", *CREDIT),),
    "credit waiting": ((),),
    "credit statement": (("House 1", "2026-11", *CREDIT),),
    "credit audit": ((),),
    "losses": ((), ("--by", "interval")),
    "suspicions": ((),),
    "mms browse": ((MMS,), (MMS, "House 1")),
    "mms read": ((MMS, "House 1/MMXN1.Vol[MX]"),),
    "identity list": ((),),
    "enrol list": ((),),
    "credentials list": ((),),
    "devices list": ((),),
    "web user list": ((),),
    "adapter families": ((),),
    "doctor": ((),),
}
"""Command → the words after it, for each of its tables."""
NO_TABLE = {
    "up", "subscribe", "scl show", "scl check", "scl diff", "scl topology",
    "mms operate", "mms watch", "mms compare",
    "enrol new", "statement", "store restore", "credit decide", "credit run", "meter probe",
    "adapter discover",
}  # fmt: skip
"""They print lines, or need what is not here; their rows are shown by the same function."""


OTHERWISE = (
    "alarms", "energy", "profile", "demand", "tariffs check", "tariffs now", "tariffs energy", "meters list",
    "registers", "quality", "outages", "reliability",
    "mms browse", "mms read", "dead-letters", "doctor", "credit list", "credit show", "credit top-up",
    "credit adjust", "credit statement",
)  # fmt: skip
"""Their values change meanwhile, or people see them otherwise: only the lines are looked at."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Meters, commands, a dead letter, an identity and a code."""
    with up(tmp_path_factory.mktemp("tables"), "--meters", "3", "--interval", "0.5") as running:
        running.ready()
        folder = running.folder
        run("identity", "add", "anna", "--role", "operator", folder=folder)
        run("enrol", "new", folder=folder)
        (folder / "tariffs.toml").write_text(run("tariffs", "example", folder=folder).stdout)
        (folder / "credit.toml").write_text(run("credit", "example", folder=folder).stdout)
        run("credit", "open", "House 1", *CREDIT, folder=folder)
        meter = answer("meters", "list", folder=folder)[0]["meter_id"]
        admin = MqttSettings(identity=folder / "data" / "identities" / "admin")
        publish.single(
            f"sm/v1/{meter}/reading", b"no reading at all, but a long text " * 9, qos=1,
            hostname=admin.host, port=admin.port, client_id="admin",
            tls={"ca_certs": str(admin.ca), "certfile": str(admin.cert), "keyfile": str(admin.key)},
        )  # fmt: skip
        until(lambda: answer("dead-letters", folder=folder))
        yield running


def test_every_command_with_json_is_walked() -> None:
    with_json = {
        path.partition(" ")[2]
        for path, command, context in EVERY
        if any("--json" in one.opts for one in command.get_params(context))
    }
    assert with_json == {*TABLES, *NO_TABLE}


@pytest.mark.parametrize(
    ("command", "words"), [(name, words) for name, several in TABLES.items() for words in several], ids=str
)
def test_no_table_is_cut(command: str, words: tuple[str, ...], chain: Running) -> None:
    words = tuple(word.replace(MMS, chain.mms) for word in words)
    shown = on_a_terminal(*command.split(), *words, folder=chain.folder)
    if command.startswith("relay ") and command != "relay block":
        assert faults(shown, []) == []
        return  # once more would be another command
    told: Any = json.loads(run(*command.split(), *words, "--json", folder=chain.folder).stdout)
    rows = told if isinstance(told, list) else told.get("codes", [told])
    still = [row for row in rows if not {"seq", "counter"} & row.keys()]
    assert faults(shown, [] if command in OTHERWISE else still) == []
    assert shown.strip() or not rows


def test_names_stand_for_ids(chain: Running) -> None:
    """Also where no table is: the identity of a meter by the name of its house."""
    said = run("credentials", "rotate", "House 2", folder=chain.folder).stderr
    assert "1 meters are requested to renew" in said
    assert "House 9" in error("credentials", "rotate", "House 9", code=3, folder=chain.folder)
    assert "House 9" in error("meters", "show", "House 9", code=3, folder=chain.folder)
    assert "House 9" in error("relay", "open", "House 9", code=3, folder=chain.folder)
    assert "House 9" in error("enrol", "approve", "House 9", code=3, folder=chain.folder)
    offered = run(
        folder=chain.folder, COMP_WORDS='meter61850\nrelay\nopen\n"Hou', COMP_CWORD="3",
        _METER61850_COMPLETE="complete_bash",
    ).stdout.splitlines()  # fmt: skip
    assert offered == ["House 1", "House 2", "House 3"]
