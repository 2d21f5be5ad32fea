"""One accepted device: it comes and goes, tells news of itself, and may be switched, or no longer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import entry as entries
from adapters.acceptance import Rule
from adapters.entry import Context, Entry
from adapters.family import Available, Gone, Outgoing, Point, Values
from adapters.profiles import profile_of
from adapters.settings import AdapterSettings
from adapters.source import Source
from adapters.store import Store
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings
from tests.support import made_up

POINT = Point("plug", "plug", "", "", "plug", quantities=("power",), switch=True)
SETTINGS = AdapterSettings.model_validate(
    {"source": [{"name": "home", "family": made_up.NAME}], "accept": [{"family": made_up.NAME}]}
)
SWITCHED, KEPT = Rule(family=made_up.NAME, switch=True), Rule(family=made_up.NAME)


def made(folder: Path, rule: Rule = SWITCHED) -> Entry:
    async def admit(*_: object) -> None:
        """Anybody."""

    settings = SETTINGS.model_copy(update={"data_dir": folder})
    source = Source(settings.source[0], MqttSettings(), lambda *_: None)
    return Entry(Context(settings, admit, Store(folder / "adapter.sqlite")), source, POINT, rule)


def test_a_device_that_was_removed_is_there_again_when_it_tells_of_itself(tmp_path: Path) -> None:
    entry = made(tmp_path)
    for again in (entry.announced, lambda: entry.take(Values("plug", {"power": 1.0}))):
        entry.take(Gone("plug"))
        assert not entry._online
        again()
        assert entry._online
    entry.take(Available("plug", False))
    entry.announced()
    assert not entry._online, "it says itself that it is not there"


def test_a_relay_that_is_not_to_be_switched_any_more_is_not_from_that_moment(tmp_path: Path) -> None:
    entry = made(tmp_path)
    assert entry.switch(Position.OPEN, token="c").startswith("no connection")
    entry.update(entry.source, entry.point, KEPT)
    assert entry.switch(Position.OPEN, token="c") == "its relay may no longer be switched from here"


def test_a_device_that_tells_news_all_the_time_starts_its_meter_once_a_minute(tmp_path: Path) -> None:
    entry = made(tmp_path)
    pauses = [entry._settling() for _ in range(entries.OFTEN + 3)]
    assert pauses == [entries.SETTLE_SECONDS] * entries.OFTEN + [entries.CALM_SECONDS] * 3


def test_no_request_to_switch_is_kept_by_a_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Outgoing] = []
    source = made(tmp_path).source

    def send(message: Outgoing) -> bool:
        sent.append(message)
        return True

    monkeypatch.setattr(source, "_send", send)
    kept = [Outgoing("made-up/plug/set", b"", qos=1, retain=True)]
    answer: Sequence[Outgoing] = kept
    monkeypatch.setattr(source._family, "switch", lambda *_, **__: answer)
    source.up = True
    assert source.switch("plug", Position.OPEN, token="c") == ""
    assert sent == [dataclasses.replace(kept[0], qos=0, retain=False)]


@given(
    st.builds(
        Point,
        *(st.text(min_size=1), st.text(), st.text(), st.text(), st.text(), st.text()),
        quantities=st.just(("power",)),
        interval=st.one_of(st.none(), st.floats()),
    ),
    st.sampled_from(["", "{name} of {key}", "{key}", "{name}"]),
)
def test_whatever_a_device_says_of_itself_it_can_be_a_meter(point: Point, name: str) -> None:
    rule = Rule(family=made_up.NAME, name=name)
    assert profile_of(SETTINGS, SETTINGS.source[0], point, rule).identity.name
