"""Births, data, deaths, losses and late messages in any order: no value ever has another metric's name."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from adapters.family import Available, Finding, Outgoing, Step, Values
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.payload import metric
from tests.support.edge import T0, Host, message, node_birth, node_death, power

QUANTITIES = ("power", "voltage", "current", "frequency")
RANGES = {name: 1000.0 * (number + 1) for number, name in enumerate(QUANTITIES)}
"""A value says whose it is: 1000 to 1999 is power, and so on."""
DEVICES = ("a", "b")


@dataclass
class Town:
    """An edge node that numbers its messages, and gives its aliases anew at each birth."""

    seq: int = 0
    bd_seq: int = 0
    number: int = 0
    aliases: dict[str, dict[str, int]] = field(default_factory=dict)
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def _say(self, verb: str, device: str, payload: bytes) -> None:
        where = "/".join(filter(None, ("spBv1.0/G", verb, "n", device)))
        self.sent.append((where, payload))

    def _next(self) -> int:
        self.seq = (self.seq + 1) % 256
        return self.seq

    def session(self, order: list[int]) -> None:
        """NBIRTH and DBIRTHs, after an NDEATH; ``order`` permutes the aliases."""
        self._say("NDEATH", "", node_death(self.bd_seq))
        self.bd_seq, self.seq = self.bd_seq + 1, 0
        self._say("NBIRTH", "", node_birth(0, self.bd_seq))
        for device in DEVICES:
            self.birth(device, order)

    def birth(self, device: str, order: list[int]) -> None:
        self.aliases[device] = dict(zip(QUANTITIES, order, strict=True))
        self._say("DBIRTH", device, message(self._next(), *self._metrics(device, names=True)))

    def data(self, device: str) -> None:
        self._say("DDATA", device, message(self._next(), *self._metrics(device, names=False)))

    def death(self, device: str) -> None:
        self._say("DDEATH", device, message(self._next()))

    def _metrics(self, device: str, *, names: bool):  # type: ignore[no-untyped-def]
        self.number += 1
        for name, alias in self.aliases[device].items():
            value = RANGES[name] + self.number % 1000
            told = name if names else None
            yield metric(told, DataType.DOUBLE, value, alias=alias, timestamp=T0 + self.number)


ORDERS = st.permutations([1, 2, 3, 4])
ACTS = st.one_of(
    st.tuples(st.just("data"), st.sampled_from(DEVICES)),
    st.tuples(st.just("data"), st.sampled_from(DEVICES)),
    st.tuples(st.just("death"), st.sampled_from(DEVICES)),
    st.tuples(st.just("birth"), st.sampled_from(DEVICES), ORDERS),
    st.tuples(st.just("session"), ORDERS),
)


def play(acts: list[tuple[object, ...]]) -> Town:
    town = Town()
    town.session([1, 2, 3, 4])
    for name, *arguments in acts:
        getattr(town, str(name))(*arguments)
    return town


def assert_names_are_right(steps: list[Step]) -> None:
    for step in steps:
        if isinstance(step, Values):
            for name, value in step.measured.items():
                assert RANGES[name] <= value < RANGES[name] + 1000


@given(st.lists(ACTS, max_size=25), st.data())
def test_no_value_has_a_wrong_name_and_none_comes_after_a_death(
    acts: list[tuple[object, ...]], data: st.DataObject
) -> None:
    """Whatever is lost, late or doubled on the way."""
    sent = play(acts).sent
    arriving = [one for one in sent if data.draw(st.integers(0, 9)) != 0]
    for _ in range(data.draw(st.integers(0, 4))):
        if len(arriving) > 1:
            here = data.draw(st.integers(0, len(arriving) - 2))
            arriving[here], arriving[here + 1] = arriving[here + 1], arriving[here]
    host, there = Host(), dict.fromkeys(("G/n/a", "G/n/b"), False)
    for topic, payload in arriving:
        steps = [*host.take(topic, payload), *host.wait(data.draw(st.sampled_from([0.0, 0.1, 6.0])))]
        assert_names_are_right(steps)
        for step in steps:
            if isinstance(step, Available):
                there[step.key] = step.online
            assert not isinstance(step, Values) or there[step.key]


@given(st.lists(ACTS, max_size=25))
def test_without_losses_everything_is_taken_and_no_birth_is_asked_for(acts: list[tuple[object, ...]]) -> None:
    town = play(acts)
    dead = {str(act[1]) for act in acts if act[0] == "death"}
    host = Host()
    for topic, payload in town.sent:
        host.take(topic, payload)
    told = [step for step in host.steps if isinstance(step, Values)]
    assert_names_are_right(host.steps)
    if not dead:
        assert len(told) == sum("/DBIRTH/" in topic or "/DDATA/" in topic for topic, _ in town.sent)
        assert not [step for step in host.steps if isinstance(step, Outgoing)]


@given(st.lists(ACTS, max_size=12), st.data())
def test_damaged_messages_stop_nothing(acts: list[tuple[object, ...]], data: st.DataObject) -> None:
    host = Host()
    for topic, payload in play(acts).sent:
        bad = bytearray(payload)
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(0, 255))
        host.take(topic, bytes(bad))
        host.wait(0.5)
    town = Town(bd_seq=77, number=500)
    town.session([4, 3, 2, 1])
    steps = [step for topic, payload in town.sent for step in host.take(topic, payload)]
    assert [step.key for step in steps if isinstance(step, Values)] == ["G/n/a", "G/n/b"]


def test_what_a_birth_does_not_name_well_is_left_out_of_its_values() -> None:
    """Without a name, twice, or with the alias of another: the rest of the birth counts."""
    host = Host()
    host.take("spBv1.0/G/NBIRTH/n", node_birth())
    bad = [power(2.0, name=None, alias=3), power(3.0, alias=2), power(4.0, name="Voltage", alias=2)]
    host.take("spBv1.0/G/DBIRTH/n/a", message(1, power(1.0), *bad))
    (told,) = [step for step in host.steps if isinstance(step, Values)]
    assert told.measured["power"] == 1.0
    assert [step.cause for step in host.steps if isinstance(step, Finding)] == ["sparkplug birth"] * 2
