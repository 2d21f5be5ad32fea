"""Options become settings; a meter is found by id, SM_ name or name; what would be in vain is not sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from admin.exits import NotFoundError
from admin.options import make_folder, mqtt_settings, user_name
from admin.switching.directory import chosen, exact
from admin.times import point
from broker.contract.birth import Birth, Hardware
from broker.contract.commands import against_switching
from broker.contract.errors import ConfigurationError
from broker.contract.known import Known
from broker.contract.messages import utc_now
from broker.contract.relay import Position, Relay
from broker.contract.status import Status

ID, OTHER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "00000000-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("broker.local", "broker.local", 1883),
        ("broker.local:1884", "broker.local", 1884),
        (":1884", "127.0.0.1", 1884),
        ("[::1]:1884", "::1", 1884),
        ("[::1]", "::1", 1883),
        (None, "127.0.0.1", 1883),
    ],
)
def test_broker_address(text: str | None, host: str, port: int) -> None:
    settings = mqtt_settings(text, None)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize("text", ["broker:x", "broker:0", "broker:70000"])
def test_impossible_port_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="port"):
        mqtt_settings(text, None)


def test_option_goes_before_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_MQTT_HOST", "from-environment")
    monkeypatch.setenv("METER61850_MQTT_PASSWORD", "hunter2")
    assert mqtt_settings(None, None).host == "from-environment"
    told = mqtt_settings("told", "a/b", 4)
    assert (told.host, told.prefix, told.version) == ("told", "a/b", 4)
    assert told.password is not None
    assert "hunter2" not in repr(told)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1.5h", timedelta(hours=1.5)),
        ("7d", timedelta(7)),
    ],
)
def test_a_duration_ago(text: str, ago: timedelta) -> None:
    assert abs(datetime.now(UTC) - ago - point(text, option="--from")) < timedelta(seconds=5)


def test_a_time_with_its_zone() -> None:
    assert point("2026-11-23T12:00+02:00", option="--from") == datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "h", "1e400d", "5w"])
def test_anything_else_says_what_is_right(text: str) -> None:
    with pytest.raises(ConfigurationError, match="24h"):
        point(text, option="--from")


def test_user_fits_into_an_origin() -> None:
    assert 1 <= len(user_name().encode()) <= 64


def test_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    make_folder(f"sqlite:///{tmp_path}/a/b/x.sqlite")
    assert (tmp_path / "a" / "b").is_dir()
    make_folder("postgresql://me@db/name")


def test_meter_by_id_scl_name_or_name() -> None:
    names = {ID: "House 1", OTHER: "House 2"}
    assert exact("SM_3f2504e04f8941d39a0c0305e82c3301") == ID
    assert exact("House 1") is None
    for text in (ID, "SM_3f2504e04f8941d39a0c0305e82c3301", "House 1"):
        assert chosen(text, names) == ID


@pytest.mark.parametrize("text", ["House 9", OTHER])
def test_unknown_meter(text: str) -> None:
    with pytest.raises(NotFoundError, match="meters list"):
        chosen(text, {ID: "House 1"})


def test_ambiguous_name_asks_for_the_id() -> None:
    with pytest.raises(ConfigurationError, match="2 meters have the name"):
        chosen("House", {ID: "House", OTHER: "House"})


def known(
    *, online: bool | None = True, position: Position | None = Position.CLOSED, born: bool = True
) -> Known:
    """What is retained of a meter; None for a topic that is empty."""
    now = utc_now()
    birth = Birth(name="x", hardware=Hardware(serial="1"), firmware="1", interval=1, session="s", ts=now)
    state = Known(ID)
    if born:
        state.hear(birth, live=False, now=now)
    if online is not None:
        state.hear(Status(online=online, session="s", ts=now), live=False, now=now)
    if position is not None:
        state.hear(Relay(position=position, operations=0, ts=now), live=False, now=now)
    return state


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (known(born=False), "no such meter"),
        (known(online=False), "offline"),
        (known(online=None), "offline"),
        (known(position=None), "not known"),
        (known(position=Position.OPEN), "open already"),
    ],
)
def test_command_in_vain_is_not_sent(state: Known, why: str) -> None:
    objection = against_switching(state, Position.OPEN)
    assert objection is not None
    assert why in objection.reason


def test_command_that_makes_sense_has_no_obstacle() -> None:
    assert against_switching(known(), Position.OPEN) is None
