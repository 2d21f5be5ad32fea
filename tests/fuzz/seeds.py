"""What fuzzing begins with: good inputs of each target, and those that once did harm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from broker.contract.alarms import Acknowledgement, AlarmInForce, Alarms
from broker.contract.billing import Billing, TariffInForce
from broker.contract.birth import Birth, Hardware
from broker.contract.block import Block
from broker.contract.enrolment import Access, Answer, Ask, Credential, Renewal
from broker.contract.messages import Message
from broker.contract.notice import MeterNotice
from broker.contract.reading import History, Reading, Stored
from broker.contract.relay import Command, Origin, OriginCategory, Position, Relay
from broker.contract.result import Outcome, Refusal, Result
from broker.contract.status import Revision, ServiceStatus, Status
from broker.mqtt import packets
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import Ied, Project
from tests.fuzz.targets import KINDS, METER, VERSIONS
from tests.hostile.capture import load
from tests.support.scd import house

TS = "2026-11-23T12:00:00.000Z"
BEYOND_UTC = b'{"online":true,"session":"a","ts":"9999-12-31T23:59:59.999-23:59"}'
"""Ended the MMS bridge and the meter until a timestamp had a latest."""
_PERIOD = {"period": "2026-11", "start": TS, "end": TS, "tariffs": {"T1": {"energy_import": 1.5}}}
_PEAK = {"power": 5200.0, "start": TS, "minutes": 15, "mark": "measured"}
BILLING = {
    "frozen": _PERIOD | {"registers": {"energy": 77.0}, "read_at": TS},
    "running": _PERIOD | {"maximum": _PEAK},
    "demand": _PEAK,
}
DEEP_HISTORY = b'{"readings":[' + b"[" * 300 + b"]" * 300 + b"]}"
"""orjson reads it and does not write it."""
FAULTS = Path(__file__).parents[1] / "unit" / "scl_faults"


def seeds(target: str) -> list[bytes]:
    """Inputs for ``target``, small ones first."""
    match target:
        case "payloads" | "commands":
            found = [*_payloads(), *HARMFUL_JSON]
        case "ingest" | "hearing":
            found = [
                bytes((kind,)) + one for kind in range(len(KINDS)) for one in (*_payloads(), *HARMFUL_JSON)
            ]
        case "mqtt":
            found = list(_streams())
        case "guard":
            found = [b"".join(session.requests) for session in load()]
            found += [request for session in load() for request in session.requests]
        case "cid":
            found = [good_cid(), *harmful_scl()]
        case _:
            found = [
                good_scd(),
                *harmful_scl(),
                *(path.read_bytes() for path in sorted(FAULTS.glob("*.scd"))),
            ]
    return sorted(set(found), key=len)


@cache
def good_messages() -> tuple[Message, ...]:
    """One of each model."""
    origin = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="desk 4")
    command = Command.model_validate(
        {"command_id": "c1", "position": "open", "issued_at": TS, "expires_at": TS, "origin": origin}
    )
    block = Block.model_validate({"open": True, "close": False, "ts": TS, "open_ts": TS, "origin": origin})
    reading = Reading.model_validate({"epoch": 1, "seq": 2, "ts": TS, "voltage": 230.1, "alarm": False})
    at = reading.ts
    return (
        Birth(name="Haus Ä", hardware=Hardware(serial="77"), firmware="1", interval=2, session="a", ts=at),
        Status(online=True, session="a", ts=at, outbox=3),
        reading,
        History(readings=(reading, reading)),
        Stored(epoch=1, first=1, seq=2),
        MeterNotice(code="recorded", command_id="c1", epoch=1, ts=at),
        Relay(position=Position.CLOSED, operations=2, ts=at, command_id="c1"),
        command,
        block,
        Result(command_id="c1", outcome=Outcome.REFUSED, reason="blocked", cause="blocked", ts=at),
        Refusal(meter_id=METER, command=command, reason="no", ts=at),
        Revision(revision=1, sha256="0" * 64, meters=1, ieds=1, ts=at),
        ServiceStatus(online=True, version="1", session="a", ts=at, counters={"stored": 1}),
        Billing.model_validate(BILLING),
        TariffInForce(tariff="T1", since=at),
        Alarms(alarms=(AlarmInForce(id=1, kind="twin", severity="alarm", detail="two", since=at),)),
        Acknowledgement(id=1, by="anna", ts=at),
        Access(allowed=False, reason="stolen", ts=at),
        Renewal(using="0" * 64, ts=at),
        Credential(authorities="-----BEGIN", ts=at),
        Ask(
            meter_id=METER,
            hardware=Hardware(serial="77"),
            name="Haus Ä",
            firmware="1",
            csr="-----BEGIN",
            ts=at,
        ),
        Answer(meter_id=METER, question="0" * 64, verdict="pending", ts=at),
    )


def _payloads() -> Iterator[bytes]:
    return (message.payload() for message in good_messages())


HARMFUL_JSON = (
    BEYOND_UTC,
    DEEP_HISTORY,
    b"[" * 5000,
    b'{"a":' * 5000,
    b'{"online":true,"session":"a","ts":253402300799999}',
    b'{"online":true,"session":"a","ts":1e400}',
    b'{"interval":Infinity,"ts":NaN}',
    b'{"epoch":' + b"9" * 5000 + b"}",
    b'{"name":"\\ud800","session":"\\udfff\\u0000"}',
    b'{"name":"\xed\xa0\x80"}',
)


def _streams() -> Iterator[bytes]:
    for version in VERSIONS:
        head = bytes((version & 1,))
        sent = packets.publish(b"sm/v1/x/reading", b"{}", packet_id=7, version=version)
        yield head + sent + packets.PINGREQ + packets.publish(b"a", b"x" * 200, version=version)
        yield head + b"\x20\x02\x00\x00" + b"\x90\x03\x00\x01\x01" + sent
        yield head + packets.connect("c", version=version, keepalive=5, will=packets.Will(b"w", b"x"))
    yield b"\x01\x20\x0f\x00\x00\x0c\x26\x00\x01k\x00\x01v\x21\x00\x14\x24\x01"
    yield b"\x00\x30\xff\xff\xff\xff\x01"


@cache
def project() -> Project:
    """One meter on one IED."""
    meter = house(1, name="Haus Ä", serial="77")
    return Project("t", 1, (Ied("SMGW001", "10.0.0.7", 10102, (meter,)),))


@cache
def good_cid() -> bytes:
    """As the bridge publishes it."""
    return build_cid(project(), "SMGW001")


@cache
def good_scd() -> bytes:
    """As the bridge publishes it."""
    return build_scd(project())


def harmful_scl() -> list[bytes]:
    """Bombs, loops and lies in a file that is good otherwise."""
    good = good_cid()
    at = good.index(b"<SCL")
    laughs = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 30))
    doctypes = (
        b'<!DOCTYPE SCL [<!ENTITY a0 "ha">' + laughs + b"]>",
        b'<!DOCTYPE SCL [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE SCL SYSTEM "http://192.0.2.1/scl.dtd">',
    )
    inside = (b"&a29;", b"&e;", b"10.0.0.7")
    return [
        *(
            good[:at] + doctype + good[at:].replace(b"10.0.0.7", text).replace(b'"Substation', b'"' + text)
            for doctype, text in zip(doctypes, inside, strict=True)
        ),
        good.replace(b"SMGW001", b"SM'W001"),
        good.replace(b"10102", b"9" * 12),
        good.replace(b"SMGW001", b"SM\0W001", 1),  # libxml2 tells of it in two lines
        good.replace(b'max="2"', b'max="2000000000"'),
        good.replace(b'<DAType id="AnalogueValue">', LOOP),
        good.replace(b'<DAType id="AnalogueValue">', BILLIONS),
        good.replace(
            b"<DOI ",
            b"<DOI " + b'name="a">' + b'<SDI name="a">' * 1500 + b"</SDI>" * 1500 + b"</DOI><DOI ",
            1,
        ),
    ]


LOOP = b'<DAType id="AnalogueValue"><BDA name="x" bType="Struct" type="AnalogueValue"/>'
BILLIONS = (
    b"".join(
        b'<DAType id="Z%d">' % n
        + b"".join(b'<BDA name="b%d" bType="Struct" type="Z%d"/>' % (k, n + 1) for k in range(8))
        + b"</DAType>"
        for n in range(10)
    )
    + b'<DAType id="Z10"><BDA name="f" bType="FLOAT32"/></DAType>'
    + b'<DAType id="AnalogueValue"><BDA name="x" bType="Struct" type="Z0"/>'
)
