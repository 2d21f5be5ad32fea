"""Values never lie: value, quality and time over MMS, for every state that a meter can be in."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from open61850.mms import OBJECT_CLASS_NAMED_VARIABLE, MmsClient, ObjectName, discover
from open61850.quality import Quality, TimeQuality

from broker.contract.enrolment import Access
from broker.contract.messages import utc_now
from broker.contract.relay import Position
from broker.contract.status import ServiceStatus
from tests.support.brokers import Broker
from tests.support.mms import DrivenMeter, Scene, eventually, meter_id, scene

GOOD, INVALID, FAILED, OLD = "good", "invalid", "invalid,failure", "questionable,old-data"
FULL = {
    "voltage": 231.0,
    "current": 0.191,
    "power": 21.3,
    "power_factor": 0.48,
    "frequency": 50.0,
    "energy": 98_414.0,
}
# reading's field -> data object, attribute and functional constraint
MEASURED = {
    "voltage": ("MMXN1.Vol", "mag.f", "MX"),
    "current": ("MMXN1.Amp", "mag.f", "MX"),
    "power": ("MMXN1.Watt", "mag.f", "MX"),
    "power_factor": ("MMXN1.PwrFact", "mag.f", "MX"),
    "frequency": ("MMXN1.Hz", "mag.f", "MX"),
    "energy": ("MMTN1.TotWh", "actVal", "ST"),
}
ON, OFF = 1, 5
OK, WARNING, ALARM = 1, 2, 3
POSITIONS = {b"\x00": "intermediate", b"\x40": "off", b"\x80": "on"}


@dataclass(frozen=True)
class Told:
    """A data object as the client sees it."""

    value: Any
    quality: str
    ts: datetime
    synchronized: bool


def read(client: MmsClient, domain: str, of: tuple[str, str, str]) -> Told:
    """Value, q and t of one data object."""
    data_object, attribute, fc = of
    value: Any = client.read(f"{domain}/{data_object}.{attribute}[{fc}]")
    q: Any = client.read(f"{domain}/{data_object}.q[{fc}]")
    t: Any = client.read(f"{domain}/{data_object}.t[{fc}]")
    synchronized = not TimeQuality.from_octet(t.quality).clock_not_synchronized
    return Told(value.value, str(Quality.from_bitstring(q)), t.value, synchronized)


def state(client: MmsClient, meter: DrivenMeter) -> dict[str, Told]:
    """All measured quantities of a meter."""
    return {name: read(client, meter.domain, of) for name, of in MEASURED.items()}


def qualities(client: MmsClient, meter: DrivenMeter) -> set[str]:
    """The qualities of all measured quantities."""
    return {told.quality for told in state(client, meter).values()}


def position(client: MmsClient, meter: DrivenMeter, node: str) -> tuple[str, str]:
    """Dbpos and quality of a switch position."""
    told = read(client, meter.domain, (f"{node}.Pos", "stVal", "ST"))
    return POSITIONS[told.value], told.quality


async def served(running: Scene, *, interval: float = 300.0) -> tuple[MmsClient, DrivenMeter]:
    """One meter in a CID, and an association."""
    meter = await running.add_meter(1, interval=interval)
    await running.publish_cid()
    return await running.associate(), meter


async def test_a_reading_arrives_with_the_meters_time(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            assert qualities(client, meter) == {INVALID}  # before the first reading
            ts = await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            told = state(client, meter)
    for name, value in FULL.items():
        assert told[name].value == pytest.approx(value, rel=1e-6), name
        assert abs((told[name].ts - ts).total_seconds()) < 0.001, name
        assert told[name].synchronized


async def test_an_absent_quantity_is_invalid_and_the_others_are_good(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**{k: v for k, v in FULL.items() if k != "frequency"})
            await eventually(lambda: GOOD in qualities(client, meter))
            told = state(client, meter)
    assert told["frequency"].quality == FAILED
    assert {t.quality for name, t in told.items() if name != "frequency"} == {GOOD}


async def test_a_dead_sensor_makes_all_invalid(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            await meter.read()
            await eventually(lambda: qualities(client, meter) == {FAILED})


async def test_a_last_will_makes_values_questionable_and_an_old_one_does_not(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            await meter.status(online=False, session="an-old-session")
            await meter.read(**FULL)  # the old will has been handled when this one is
            await eventually(lambda: state(client, meter)["voltage"].quality == GOOD)
            await meter.status(online=False)
            await eventually(lambda: qualities(client, meter) == {OLD})
            assert state(client, meter)["voltage"].value == 231.0
            assert position(client, meter, "XSWI1") == ("on", OLD)
            await meter.status(online=True)
            await eventually(lambda: qualities(client, meter) == {GOOD})


async def test_silence_of_three_intervals_is_stale(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running, interval=0.5)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {OLD})
            await meter.reads_until(lambda: qualities(client, meter) == {GOOD}, **FULL)


async def test_without_the_broker_nothing_is_trusted(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            broker.kill()
            await eventually(lambda: qualities(client, meter) == {OLD})
            assert position(client, meter, "CSWI1") == ("on", OLD)


async def test_a_retained_reading_is_as_old_as_its_time(broker: Broker) -> None:
    async with scene(broker) as earlier:
        meter = await earlier.add_meter(1)
        await meter.read(age=3600, **FULL)
    async with scene(broker, prefix=earlier.topics.prefix) as running:
        running.meters[meter.meter_id] = meter
        await running.publish_cid()
        with await running.associate() as client:
            await eventually(lambda: qualities(client, meter) == {OLD})
            assert state(client, meter)["voltage"].value == 231.0


async def test_a_clock_without_ntp_is_told(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.join(clock_synchronized=False)
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            assert not any(told.synchronized for told in state(client, meter).values())


async def test_the_relay_is_shown_by_both_nodes(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await eventually(lambda: position(client, meter, "XSWI1") == ("on", GOOD))
            meter.position, meter.operations = Position.OPEN, 7
            await meter.relay(None, local=True)
            await eventually(lambda: position(client, meter, "XSWI1") == ("off", GOOD))
            assert position(client, meter, "CSWI1") == ("off", GOOD)
            assert read(client, meter.domain, ("XSWI1.OpCnt", "stVal", "ST")).value == 7
            for node in ("CSWI1", "XSWI1"):
                assert read(client, meter.domain, (f"{node}.Loc", "stVal", "ST")).value is True


async def test_the_gateway_counts_its_meters(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:

            def counts() -> list[int]:
                return [gateway(client, f"GGIO1.IntIn{n}").value for n in (1, 2, 3, 4)]

            await eventually(lambda: counts() == [1, 1, 1, 1])  # the last: silent, there is no reading yet
            await meter.read(**FULL)
            await eventually(lambda: counts() == [1, 1, 1, 0])
            await meter.status(online=False)
            await eventually(lambda: counts() == [1, 0, 1, 0])


def gateway(client: MmsClient, data_object: str) -> Told:
    """A status of the gateway's own logical device."""
    return read(client, "SMGW001GW", (data_object, "stVal", "ST"))


async def test_the_gateway_counts_for_every_association(broker: Broker) -> None:
    """Also for an association that comes after the others: none begins at zero."""
    async with scene(broker) as running:
        client, _ = await served(running)
        with client, ExitStack() as stack:
            await eventually(lambda: gateway(client, "GGIO1.IntIn1").value == 1)
            others = [stack.enter_context(await running.associate()) for _ in range(4)]
            assert [gateway(other, "GGIO1.IntIn1").value for other in others] == [1] * 4


async def test_the_gateway_tells_of_bridge_and_broker(broker: Broker) -> None:
    async with scene(broker) as running:
        client, _ = await served(running)

        def told() -> tuple[bool, bool, int, int]:
            broker_up, bridge_up = (gateway(client, f"GGIO1.Ind{n}").value for n in (1, 2))
            health = [gateway(client, name).value for name in ("LPHD1.PhyHealth", "LLN0.Health")]
            return broker_up, bridge_up, *health

        async def say(name: str, *, online: bool) -> None:
            status = ServiceStatus(online=online, version="1", session="s", ts=utc_now())
            await running.client.publish(running.topics.service_status(name), status.payload(), retain=True)

        with client:
            await eventually(lambda: told() == (True, False, WARNING, WARNING))
            await say("bridge_a", online=True)
            await eventually(lambda: told() == (True, True, OK, OK))
            await say("bridge_b", online=True)
            await say("bridge_a", online=False)
            await say("web", online=False)
            await say("bridge_b", online=False)  # one is enough, others are none
            await eventually(lambda: told() == (True, False, WARNING, WARNING))
            await say("bridge_b", online=True)
            await eventually(lambda: told() == (True, True, OK, OK))
            broker.kill()
            await eventually(lambda: told() == (False, True, ALARM, ALARM))
            assert gateway(client, "GGIO1.Ind1").quality == GOOD
            assert gateway(client, "GGIO1.Ind2").quality == OLD


APPARENT = ("MMXN1.VolAmp", "mag.f", "MX")


async def test_apparent_power_is_made_of_voltage_and_current(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            assert read(client, meter.domain, APPARENT).quality == INVALID
            ts = await meter.read(**FULL)
            await eventually(lambda: read(client, meter.domain, APPARENT).quality == GOOD)
            told = read(client, meter.domain, APPARENT)
            assert told.value == pytest.approx(231.0 * 0.191, rel=1e-6)
            assert abs((told.ts - ts).total_seconds()) < 0.001
            await meter.read(**{k: v for k, v in FULL.items() if k != "current"})
            await eventually(lambda: read(client, meter.domain, APPARENT).quality == FAILED)
            assert read(client, meter.domain, MEASURED["voltage"]).quality == GOOD


async def test_a_withdrawn_meter_is_off_and_invalid_until_it_is_born_again(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)

        def behaviour() -> tuple[int, int]:
            beh, mod = (read(client, meter.domain, (f"LLN0.{do}", "stVal", "ST")) for do in ("Beh", "Mod"))
            assert (beh.quality, mod.quality) == (GOOD, GOOD)
            return beh.value, mod.value

        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            assert behaviour() == (ON, ON)
            before = utc_now()
            await meter.publish("birth", b"")
            await eventually(lambda: behaviour() == (OFF, OFF))
            assert qualities(client, meter) == {INVALID}
            assert position(client, meter, "CSWI1")[1] == position(client, meter, "XSWI1")[1] == INVALID
            assert all(told.ts >= before for told in state(client, meter).values())
            await eventually(lambda: gateway(client, "GGIO1.IntIn2").value == 0)  # at the next tick
            await meter.read(**FULL)  # it speaks, but it is not in service
            await meter.join()
            await eventually(lambda: behaviour() == (ON, ON))
            await eventually(lambda: qualities(client, meter) == {GOOD})  # by another connection


async def test_a_meter_that_is_kept_out_is_off_and_invalid_until_it_is_let_in_again(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            told = Access(allowed=False, reason="stolen", ts=utc_now())
            await meter.publish("access", told.payload())
            await eventually(lambda: read(client, meter.domain, ("LLN0.Beh", "stVal", "ST")).value == OFF)
            assert qualities(client, meter) == {INVALID}
            assert position(client, meter, "XSWI1")[1] == INVALID
            await eventually(lambda: gateway(client, "GGIO1.IntIn2").value == 0)  # at the next tick
            await meter.read(**FULL)  # an old message, or one that came while it was cut off
            await meter.join()
            assert qualities(client, meter) == {INVALID}
            await meter.publish("access", Access(allowed=True, ts=utc_now()).payload())
            await eventually(lambda: read(client, meter.domain, ("LLN0.Beh", "stVal", "ST")).value == ON)
            await eventually(lambda: qualities(client, meter) == {GOOD})


async def test_a_withdrawn_meter_is_gone_with_the_next_generation(broker: Broker) -> None:
    """Who was associated before still sees that it is off."""
    async with scene(broker) as running:
        client, meter = await served(running)
        await running.add_meter(2)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            await meter.publish("birth", b"")
            del running.meters[meter.meter_id]
            await running.publish_cid()
            await eventually(lambda: meter.domain not in domains(running))
            # by another connection than the CID: before or after it
            await eventually(lambda: read(client, meter.domain, ("LLN0.Beh", "stVal", "ST")).value == OFF)
            assert qualities(client, meter) == {INVALID}


async def test_a_meter_that_is_withdrawn_after_its_cid_has_gone(broker: Broker) -> None:
    """The CID and the meter's topics come by two connections; an older generation hears both in any order."""
    async with scene(broker) as running:
        client, meter = await served(running)
        await running.add_meter(2)
        with client:
            del running.meters[meter.meter_id]
            await running.publish_cid()
            await eventually(lambda: meter.domain not in domains(running))
            await meter.publish("birth", b"")
            await eventually(lambda: read(client, meter.domain, ("LLN0.Beh", "stVal", "ST")).value == OFF)


def domains(running: Scene) -> set[str]:
    """What a new association finds."""
    with running.connect() as client:
        return set(discover(client).logical_devices)


BAD = {
    "not JSON": b"{",
    "an array": b"[]",
    "NaN": b'{"epoch":1,"seq":9,"ts":"2026-11-23T12:00:00Z","voltage":NaN}',
    "a wrong type": b'{"epoch":1,"seq":9,"ts":"2026-11-23T12:00:00Z","voltage":"high"}',
    "1970": b'{"epoch":1,"seq":9,"ts":"1970-01-01T00:00:00Z","voltage":230}',
    "1 MB": b'{"epoch":1,"seq":9,"ts":"2026-11-23T12:00:00Z","x":"' + b"x" * 1_000_000 + b'"',
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
async def test_bad_input_changes_no_value_and_stops_nothing(broker: Broker, payload: bytes) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            for kind in ("reading", "birth", "status", "relay", "result"):
                await meter.publish(kind, payload)
            await running.client.publish(f"{running.topics.prefix}/no-uuid/reading", payload, qos=1)
            await running.client.publish(running.topics.cid("SMGW001"), payload, qos=1)
            await meter.read(**{**FULL, "voltage": 229.0})
            await eventually(lambda: state(client, meter)["voltage"].value == 229.0)
            assert qualities(client, meter) == {GOOD}


async def test_a_reading_that_is_marked_has_a_clock_that_is_not_synchronized(broker: Broker) -> None:
    """Its own mark, whatever the birth says of the meter."""
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL, clock_synchronized=False)
            await eventually(lambda: {told.synchronized for told in state(client, meter).values()} == {False})
            await meter.read(**FULL)
            await eventually(lambda: {told.synchronized for told in state(client, meter).values()} == {True})


MORE = {
    b'<DO name="VolAmp" ': b'<DO name="VolAmpr" type="MV_VA"/>\n<DO name="VolAmp" ',
    b'<DO name="OpCnt" ': b'<DO name="LocSta" type="SPS"/>\n<DO name="OpCnt" ',
    b'<DO name="IntIn4" ': b'<DO name="IntIn9" type="INS_IntIn4"/>\n<DO name="IntIn4" ',
    b'<DO name="TotWh" ': b'<DO name="DmdWh" type="BCR_Wh_actVal_frVal"/>\n<DO name="TotWh" ',
}
"""Data objects that somebody's CID has and nothing of ours feeds."""
UNBOUND = (
    ("MMXN1.VolAmpr", "mag.f", "MX"),
    ("XSWI1.LocSta", "stVal", "ST"),
    ("MMTN1.DmdWh", "actVal", "ST"),
)


def _more(cid: bytes) -> bytes:
    for before, after in MORE.items():
        assert cid.count(before) == 1, before
        cid = cid.replace(before, after)
    return cid


async def test_what_nothing_feeds_is_and_stays_invalid(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        await meter.read(**FULL)
        await running.publish_cid(change=_more)
        with await running.associate() as client:

            def found() -> set[str]:
                fed = {told.quality for told in state(client, meter).values()}
                told = {read(client, meter.domain, of).quality for of in UNBOUND}
                gateway = read(client, "SMGW001GW", ("GGIO1.IntIn9", "stVal", "ST")).quality
                # what the file itself says is as good as the file
                proxy = read(client, meter.domain, ("LPHD1.Proxy", "stVal", "ST")).quality
                assert (proxy, gateway, told) == (GOOD, INVALID, {INVALID})
                return fed

            await eventually(lambda: found() == {GOOD})
            await meter.status(online=False)
            await eventually(lambda: found() == {OLD})
            await meter.status(online=True)
            await meter.read(**FULL)
            await eventually(lambda: found() == {GOOD})


async def test_whatever_q_is_in_a_file_is_bound_or_invalid(broker: Broker) -> None:
    """Each q before its meter is heard of: good only where the file or the gateway gives the value."""
    async with scene(broker) as running:
        await running.add_meter(1)
        other = {"old": meter_id(1).encode(), "new": meter_id(2).encode()}
        await running.publish_cid(change=lambda cid: cid.replace(other["old"], other["new"]))
        with await running.associate() as client:
            domain = "SMGW001M1"
            good = {
                name
                for name in client.get_name_list(OBJECT_CLASS_NAMED_VARIABLE, domain)
                if name.endswith("$q") and _quality(client, domain, name) == GOOD
            }
            ours = {"LLN0$ST$Beh$q", "LLN0$ST$Health$q", "LLN0$ST$Mod$q", "LPHD1$ST$PhyHealth$q",
                    "LPHD1$ST$Proxy$q", "MMXN1$ST$Beh$q", "MMTN1$ST$Beh$q", "CSWI1$ST$Beh$q",
                    "MMXN4$ST$Beh$q", "MMXN5$ST$Beh$q",
                    "CSWI1$ST$LocSta$q", "XSWI1$ST$Beh$q", "XSWI1$ST$SwTyp$q"}  # fmt: skip
            assert good == ours


def _quality(client: MmsClient, domain: str, item: str) -> str:
    q: Any = client.read(ObjectName(item, domain))
    return str(Quality.from_bitstring(q))
