"""One function for each place where bytes from elsewhere are read; each states what must hold of any bytes.

Nothing is raised but the errors that the place declares, and what is taken survives being written and
read again. Time and memory are libFuzzer's to judge (``__main__.py``), and test_fuzz.py's for the bombs.

>>> TARGETS["commands"](b"no JSON")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache

from pydantic import ValidationError

from admin.mms.scl_model import read_scl
from bridge.ingest import classify, parse
from broker.contract.errors import ConfigurationError
from broker.contract.messages import Message
from broker.contract.specs import SPECS
from broker.contract.topics import Topics
from broker.mqtt import packets
from broker.mqtt.decoder import Decoder, parse_connack
from broker.mqtt.packets import Control, ProtocolError, Publish, Version
from meter_firmware.relay.rules import UnreadableCommandError, read
from mms_bridge.gateway import Gateway
from mms_bridge.guard.ber import MalformedError
from mms_bridge.guard.judge import Guard
from mms_bridge.guard.rules import SERVICES
from mms_bridge.guard.transport import Stream
from mms_bridge.libiec61850.ied_model import check as check_model
from mms_bridge.mqtt.router import Router
from mms_bridge.settings import MmsSettings
from scl_builder.check.checker import check
from scl_builder.check.diff import diff
from scl_builder.check.outline import parse as parse_scl
from scl_builder.read.cid import CidError, read_cid
from tests.hostile.ber import parse as parse_ber

NOW = 1_795_435_200_000
"""ms since 1970."""
METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TOPICS = Topics("sm/v1")
MODELS: tuple[type[Message], ...] = tuple(spec.model for spec in SPECS.values() if spec.model is not None)
KINDS = tuple(SPECS)
VERSIONS: tuple[Version, ...] = (4, 5)


def payloads(data: bytes) -> None:
    """Every model of the contract."""
    for model in MODELS:
        with suppress(ValidationError):
            written = model.model_validate_json(data).payload()
            again = model.model_validate_json(written)
            assert again.payload() == written, (model, written)


def commands(data: bytes) -> None:
    """The meter's reading of a command."""
    with suppress(UnreadableCommandError):
        command = read(data)
        assert read(command.payload()).payload() == command.payload()


def topics(kind: str) -> bytes:
    """A topic of ``kind``."""
    names = {"meter_id": METER, "service": "bridge", "identity": "mms", "ied": "SMGW001", "slot": "QK7M-1"}
    return f"{TOPICS.prefix}/{SPECS[kind].topic(**names)}".encode()


def ingest(data: bytes) -> None:
    """The bridge's sorting: a message is a row, a notice or a dead letter. The first byte says the kind."""
    if not data:
        return
    kind, payload = KINDS[data[0] % len(KINDS)], data[1:]
    sorter = classify.Sorter(TOPICS, keys={})
    work = sorter.sort(
        [Publish(topics(kind), payload, b"", 0), Publish(payload[:200], payload, b"", 0)], now=NOW
    )
    for row in work.rows:
        assert 0 < row[3] <= NOW + 300_000
    with suppress(parse.RejectedError):
        fast = parse.reading_row(payload, METER, latest=NOW)
        assert fast == parse._unusual(payload, METER), payload


def hearing(data: bytes) -> None:
    """The MMS bridge's: no message ends the process. The first byte says the kind."""
    asyncio.run(_heard(data))


@cache
def _settings() -> MmsSettings:
    return MmsSettings()


async def _heard(data: bytes) -> None:
    gateway = Gateway(_settings(), identity=("meter61850", "fuzz", "0"))
    ears = Router(gateway, TOPICS)
    kind = KINDS[data[0] % len(KINDS)] if data else "birth"
    try:
        for name in (topics(kind).decode(), data[1:].decode("utf-8", "replace")):
            for retained in (False, True):
                ears.take(name, data[1:], retained=retained)
        assert not ears._failed.done(), ears._failed.exception()
    finally:
        gateway.close()


def mqtt(data: bytes) -> None:
    """The codec: the first byte says the version and where the stream is split."""
    if not data:
        return
    version, stream = VERSIONS[data[0] & 1], data[1:]
    whole, parted = Decoder(version=version), Decoder(version=version)
    with suppress(ProtocolError):
        publishes, controls = whole.feed(stream)
        split = len(stream) * (data[0] >> 1) // 128
        first, second = parted.feed(stream[:split]), parted.feed(stream[split:])
        assert (publishes, controls) == (first[0] + second[0], first[1] + second[1])
        for publish in publishes:
            _is_written_as_it_was_read(publish, version)
        for control in controls:
            _connack(control, version)


def _is_written_as_it_was_read(message: Publish, version: Version) -> None:
    packet_id = int.from_bytes(message.packet_id, "big")
    if message.flags & 0x06 and not packet_id:
        return  # QoS 1 without an identifier is not ours to send
    again, _ = Decoder(version=version).feed(
        packets.publish(message.topic, message.payload, packet_id=packet_id, version=version)
    )
    assert [one[:3] for one in again] == [message[:3]]


def _connack(control: Control, version: Version) -> None:
    with suppress(ProtocolError):
        parse_connack(control.body, version=version)


def cid(data: bytes) -> None:
    """The file that the MMS server is built from, up to its building."""
    with suppress(CidError):
        found = read_cid(data)
        with suppress(ValueError):
            check_model(found)
        for device in found.devices:
            for node in device.nodes:
                for report in node.reports:
                    assert len(list(report.instance_names())) < 100


def scl(data: bytes) -> None:
    """The engineer's importer: checker, comparison and the reader for a comparison with a server."""
    for finding in check(data):
        assert str(finding).count("\n") == 0
    with suppress(ConfigurationError):
        model = read_scl(data)
        for name in model.names:
            model.devices(name)
            model.associations(name)
        model.endpoints  # noqa: B018 - computed when it is asked for
    with suppress(ValueError):
        assert diff(parse_scl(data), parse_scl(data)) == []


def guard(data: bytes) -> None:
    """What stands before libiec61850: only whole requests of services that are served pass."""
    stream, judge = Stream(), Guard()
    judge.heard(ACCEPTED)
    stream.feed(data)
    with suppress(MalformedError):
        while (message := stream.next()) is not None:
            action = judge.judge(message)
            assert action.forward in (b"", message.raw), "nothing is made up"
            assert not (action.forward and action.reply), "one answer"
            if action.asks:
                assert message.data is not None
                assert _service(message.data) in SERVICES, data
            judge.missing()


ACCEPTED = b"\x03\0\0\x10\x02\xf0\x80\x0e"
"""The beginning of the server's answer to an association."""


def _service(data: bytes) -> int:
    """The tag of the service in a message, found by other code than the guard's."""
    [presentation] = parse_ber(data[4:])
    request = presentation.parts[0].parts[1].parts[0]
    assert request.tag == b"\xa0"
    invoke, service = request.parts
    assert invoke.tag == b"\x02"
    return int.from_bytes(service.tag)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    function.__name__: function for function in (payloads, commands, ingest, hearing, mqtt, cid, scl, guard)
}
