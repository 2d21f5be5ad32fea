"""A device that floods: its newest value counts, the others are heard, and the operator reads of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.families.registry import families
from adapters.family import Step, Values
from adapters.flood import MOST, MOST_SHARED, PERIOD, Gate, Held
from adapters.known import MAX_DEVICES
from adapters.settings import SourceSettings
from adapters.source import Source
from broker.mqtt.settings import MqttSettings
from tests.support import made_up


class Heard:
    """What a source has told of its devices, at a time that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.values: list[tuple[str, float]] = []
        monkeypatch.setattr("adapters.source.monotonic", lambda: self.now)
        settings = SourceSettings(name="s", family=made_up.NAME)
        self.source = Source(settings, MqttSettings(), self._take)
        self.source._open()

    def _take(self, source: Source, step: Step) -> None:
        assert isinstance(step, Values)
        self.values.append((step.key, float(step.measured["power"])))

    def tell(self, key: str, power: float) -> None:
        payload = json.dumps({"power": power}).encode()
        self.source._take(f"made-up/{key}/values", payload, retained=False)


def test_the_newest_value_of_a_flood_counts_and_others_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)
    for power in range(5 * MOST):
        heard.tell("mad", power)
    heard.tell("sane", 7)
    assert heard.values[-1] == ("sane", 7.0)
    assert len(heard.values) == MOST + 1
    heard.source._open()
    assert len(heard.values) == MOST + 1, "the second is not over"
    heard.now += PERIOD
    heard.source._open()
    assert heard.values[MOST + 1 :] == [("mad", 5 * MOST - 1.0)]
    assert heard.source.gate is not None
    assert heard.source.gate.dropped == 4 * MOST - 1
    assert heard.source.aside.counts == {"too many messages of a topic": 1}
    heard.tell("mad", 1)
    assert heard.values[-1] == ("mad", 1.0)


SHARED = {"shelly1": ("shellies/announce",), "shelly2": ("meter61850-adapter/rpc",)}


def test_the_answers_of_many_devices_on_one_topic_are_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in families().values():
        shared = SHARED.get(kind.name, ())
        monkeypatch.setattr("adapters.source.monotonic", lambda: 100.0)
        source = Source(SourceSettings(name="s", family=kind.name), MqttSettings(), lambda *_: None)
        read: list[bytes] = []
        monkeypatch.setattr(source, "_read", lambda _topic, payload, *, read=read, **_: read.append(payload))
        for topic in shared:
            for number in range(MAX_DEVICES):
                source._take(topic, b"%d" % number, retained=False)
        assert read == [b"%d" % number for number in range(MAX_DEVICES)] * len(shared), kind.name
        assert kind.options().shared() == shared


def test_a_flood_of_a_shared_topic_has_an_end_too() -> None:
    gate = Gate(shared=["all"])
    assert [gate.passes("all", b"", retained=False) for _ in range(MOST_SHARED + 2)][-3:] == [
        True,
        False,
        False,
    ]
    assert not all(gate.passes("one", b"", retained=False) for _ in range(MOST + 1))


def test_one_message_too_many_is_late_and_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)
    for power in range(MOST + 1):
        heard.tell("plug", power)
    heard.now += PERIOD
    heard.source._open()
    assert [power for _, power in heard.values] == list(range(MOST + 1))
    assert heard.source.aside.counts == {}


def test_no_message_of_a_family_with_numbers_is_left_out() -> None:
    assert [kind.name for kind in families().values() if kind.numbered] == ["sparkplug"]
    source = Source(SourceSettings(name="s", family="sparkplug"), MqttSettings(), lambda *_: None)
    assert source.gate is None


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 5))
def test_every_message_is_read_held_or_counted(topics: list[str], most: int) -> None:
    gate = Gate(most=most)
    told = [(topic, str(place).encode()) for place, topic in enumerate(topics)]
    read = [one for one in told if gate.passes(*one, retained=False)]
    held = gate.opened()
    assert len(read) + len(held) + gate.dropped == len(told)
    for one in held:
        assert one == Held(one.topic, dict(told)[one.topic], False, one.dropped)
    assert gate.opened() == []
