"""The table of topics is the one place (`broker.contract.specs`).

A row added to it is in the access control list, in the subscriptions of every program and in the reference;
and each program has a handler for what it hears by the table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from bridge.ingest import ledger
from broker.contract.alarms import Acknowledgement, Alarms
from broker.contract.errors import ContractError
from broker.contract.known import Known
from broker.contract.reading import History, Reading
from broker.contract.roles import Role
from broker.contract.specs import RETAINED_OF_METER, SPECS, STATE_KINDS, heard_by
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings
from meter_firmware.session import Session
from mms_bridge.gateway import Gateway
from mms_bridge.settings import MmsSettings
from web.live.hub import Hub
from web.live.state import Live

ROOT = Path(__file__).parents[2]
METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
ROW = """
    "test_topic": Spec(
        pattern="<meter_id>/test_topic", writers=(_METER,), retained=True, model=Revision,
        heard_by=(*_SERVICES, _REGISTRAR, _METER), state=True),
"""
LOOK = """
import json
from bridge.settings import BridgeSettings
from broker.contract.roles import Role
from broker.contract.specs import RETAINED_OF_METER, SPECS, STATE_KINDS, heard_by
from broker.contract.topics import Topics
from meter_firmware.session import SUBSCRIPTIONS
from mms_bridge.run import FED
from registrar.acl import render
from registrar.identities import Identity
from tools.docs.topics import topics_markdown
from web.live.hub import Hub
from web.live.state import Live

topics = Topics()
group = BridgeSettings(database_url="postgresql://h/d", group="g").subscriptions
print(json.dumps({
    "acl": render([], prefix="p"),
    "acl of mms": render([Identity("mms", Role.MMS)], prefix="p"),
    "acl of an operator": render([Identity("anna", Role.OPERATOR)], prefix="p").partition("user anna")[2],
    "group of bridges": group,
    "MMS bridge": FED,
    "web": Live(topics, Hub()).filters(stored=True),
    "registrar": heard_by(Role.REGISTRAR),
    "meter": SUBSCRIPTIONS,
    "CLI": STATE_KINDS,
    "withdrawn": RETAINED_OF_METER,
    "docs": topics_markdown(),
    "parsed": topics.parse("sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/test_topic").kind,
}))
"""


def look(folder: Path, row: str) -> dict[str, Any]:
    """What the programs make of the table with ``row`` in it; nothing else is changed."""
    shutil.copytree(ROOT / "broker", folder / "broker", ignore=shutil.ignore_patterns("__pycache__"))
    table = folder / "broker" / "contract" / "specs.py"
    text = table.read_text()
    assert text.count('    "renew": Spec(') == 1
    table.write_text(text.replace('    "renew": Spec(', f'{row.strip(chr(10))}\n    "renew": Spec('))
    path = os.pathsep.join((str(folder), str(ROOT)))
    told = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr.decode()
    return dict(json.loads(told.stdout))


def test_one_row_brings_a_topic_everywhere(tmp_path: Path) -> None:
    seen = look(tmp_path, ROW)
    assert "pattern write p/%u/test_topic\n" in seen["acl"]
    assert "pattern read p/%u/test_topic\n" in seen["acl"]
    assert "topic read p/+/test_topic\n" in seen["acl of mms"]
    assert "test_topic" not in seen["acl of an operator"]
    for program in ("group of bridges", "web"):
        assert "sm/v1/+/test_topic" in seen[program]
    for program in ("MMS bridge", "registrar", "meter", "CLI", "withdrawn"):
        assert "test_topic" in seen[program]
    hearers = "bridge, MMS bridge, web service, registrar, meter"
    assert f"| `<meter_id>/test_topic` | meter | {hearers} | — | 1 | yes |" in seen["docs"]
    assert seen["parsed"] == "test_topic"


def test_without_the_row_it_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not of the contract"):
        look(tmp_path, "")


def test_who_hears_may_read_and_a_command_is_never_retained() -> None:
    for kind, spec in SPECS.items():
        assert all(spec.may("read", role) for role in spec.heard_by), kind
    assert SPECS["command"].live_only
    assert not SPECS["command"].retained


def test_who_may_move_a_relay_or_shut_a_meter_out() -> None:
    """By hand, so that a slip in the table is seen."""
    assert set(SPECS["command"].writers) == {
        Role.ISSUER,
        Role.MMS,
        Role.WEB,
        Role.ADMIN,
        Role.HOMEASSISTANT_ISSUER,
        Role.CREDIT,
    }
    assert set(SPECS["access"].writers) == {Role.REGISTRAR, Role.ADMIN}
    for kind in ("renew", "credential", "ask", "answer"):
        assert set(SPECS[kind].writers) | {*SPECS[kind].heard_by, *SPECS[kind].readers} == {
            Role.METER,
            Role.REGISTRAR,
        }
    assert RETAINED_OF_METER == ("birth", "status", "relay", "reading")


async def test_mms_bridge_has_a_handler_for_what_it_hears() -> None:
    gateway = Gateway(MmsSettings(), identity=("meter61850", "test", "0"))
    try:
        assert set(gateway.handlers) == set(heard_by(Role.MMS))
    finally:
        gateway.close()


def test_web_has_a_handler_for_what_it_hears() -> None:
    assert set(Live(Topics(), Hub()).handlers) == set(heard_by(Role.WEB))


async def test_meter_has_a_handler_for_what_it_hears() -> None:
    session = Session(MagicMock(), "s", mqtt=MqttSettings(), parts=MagicMock())
    assert {*session.handlers, "answer"} == set(heard_by(Role.METER))  # enrolment hears the answer


def test_bridge_has_a_place_for_what_it_hears() -> None:
    placed = {*(SPECS[kind].model for kind in STATE_KINDS), *ledger.enter.registry, Reading, History}
    placed |= {Alarms, Acknowledgement, ServiceStatus}  # of alarms
    assert {SPECS[kind].model for kind in heard_by(Role.BRIDGE)} <= placed


@pytest.mark.parametrize("kind", STATE_KINDS)
def test_what_is_known_of_a_meter_has_every_kind_of_state(kind: str) -> None:
    message = {
        "access": '{"allowed":true,"ts":"2026-11-23T12:00:00Z"}',
        "birth": '{"name":"x","hardware":{"serial":"1"},"firmware":"1","interval":1,"session":"s",'
        '"ts":"2026-11-23T12:00:00Z"}',
        "status": '{"online":true,"session":"s","ts":"2026-11-23T12:00:00Z"}',
        "relay": '{"position":"open","operations":1,"ts":"2026-11-23T12:00:00Z"}',
        "block": '{"open":true,"close":false,"ts":"2026-11-23T12:00:00Z",'
        '"origin":{"category":"maintenance","identifier":"x"}}',
    }[kind]
    known = Known(METER)
    assert known.take(kind, message.encode())
    assert getattr(known, kind) is not None


@pytest.mark.parametrize("kind", SPECS)
def test_a_topic_is_parsed_as_it_is_built(kind: str) -> None:
    topics, spec = Topics("a/b"), SPECS[kind]
    names = {"meter_id": METER, "ied": "SMGW001", "service": "mms", "identity": "otto-1", "slot": "QK7M-1"}
    topic = topics.parse(f"a/b/{spec.topic(**names)}")
    assert topic.kind == kind
    fields = [names[part[1:-1]] for part in spec.words if part.startswith("<")]
    assert [topic.name, topic.meter_id][: len(fields)] == fields


@pytest.mark.parametrize(
    "name",
    ["a/b", "a/c/scl/scd", "a/b/scl/cid/1x", "a/b/service/x-y/status", "a/b/enrol/QK7M-0/ask", "a/b/x/birth",
     f"a/b/{METER}/birth/x", "a/b/service/otto/refused/x", f"a/b/{METER}/scd"],
)  # fmt: skip
def test_what_is_not_of_the_contract_is_refused(name: str) -> None:
    with pytest.raises(ContractError):
        Topics("a/b").parse(name)
