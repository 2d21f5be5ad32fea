"""Who listens in ``bench.transfer``, each a process: an MMS client with its reports, a bare MQTT subscriber.

>>> with listening(listen_mqtt, site) as messages:  # doctest: +SKIP
...     messages.send("stop")
...     messages.recv()
{('reading', '…', 1764022800123): 1764022800.1236}
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import paho.mqtt.client as mqtt
from open61850.data import StructureData, TimestampData
from open61850.mms import (
    OBJECT_CLASS_DOMAIN,
    InformationReport,
    MmsClient,
    ObjectName,
    decode_report,
    is_report,
)
from open61850.mms import rcb as blocks
from open61850.mms.pdu import OBJECT_CLASS_NAMED_VARIABLE
from paho.mqtt.enums import CallbackAPIVersion

from broker.contract.reading import Reading
from broker.contract.relay import Relay
from broker.contract.topics import Topics, meter_id_of

PREFIX = "bench/transfer"
TOPICS = Topics(PREFIX)
DEADLINE = 20.0

Key = tuple[str, str, int]
"""Kind of event, meter_id, and the meter's time in ms: names one event at both ends."""
Times = dict[Key, float]
KINDS = {"position": ("XSWI1", "Pos"), "reading": ("MMXN1", "Vol")}
"""Kind of event → logical node and data object that change."""


@dataclass(frozen=True)
class Site:
    """Where everything is."""

    mqtt_port: int
    mms_port: int
    meters: tuple[str, ...]


def milliseconds(moment: float) -> int:
    """``moment`` as a message and a report carry it."""
    return int(moment * 1000)


class Reports:
    """One instance of every report control block, and when each event of it came."""

    def __init__(self, port: int) -> None:
        self.times: Times = {}
        self._members: dict[str, list[ObjectName]] = {}
        self.client = MmsClient.connect("127.0.0.1", port, on_information_report=self._take)

    def enable(self) -> None:
        """Take the first instance of each block, as it is configured."""
        settings = blocks.RcbSettings(None, None, None, general_interrogation=False)
        for domain in self.client.get_name_list(OBJECT_CLASS_DOMAIN):
            names = self.client.get_name_list(OBJECT_CLASS_NAMED_VARIABLE, domain)
            found = [ObjectName(name, domain) for name in names if blocks.is_rcb_name(name)]
            for first, *_ in blocks.group_instances(found).values():
                data_set = blocks.read_status(self.client, first).dat_set or ""
                owner, _, item = data_set.partition("/")
                self._members[data_set] = self.client.get_data_set_members(ObjectName(item, owner))
                blocks.enable(self.client, first, settings)

    def _take(self, message: InformationReport) -> None:
        now = time.time()
        if not is_report(message):
            return
        report = decode_report(message)
        members = self._members[report.data_set or ""]
        for entry in report.entries:
            key = _key(members[entry.index], entry.value)
            if key is not None:
                self.times.setdefault(key, now)


def _key(member: ObjectName, value: object) -> Key | None:
    node, _, name = member.item.split("$")[:3]
    kind = next((kind for kind, object_ in KINDS.items() if object_ == (node, name)), None)
    if kind is None or not isinstance(value, StructureData):
        return None
    (t,) = (leaf for leaf in value.members if isinstance(leaf, TimestampData))
    return kind, meter_id_of(member.domain or ""), round(t.value.timestamp() * 1000)


def listen_mms(site: Site, pipe: Connection) -> None:
    """Process: take the reports, say ready, and hand over their times when asked."""
    reports = Reports(site.mms_port)
    reports.enable()
    pipe.send("ready")
    pipe.recv()
    pipe.send(reports.times)
    reports.client.close()


def listen_mqtt(site: Site, pipe: Connection) -> None:
    """Process: the same of the messages themselves."""
    times: Times = {}

    def take(_client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        now = time.time()
        topic = TOPICS.parse(message.topic)
        kind, model = ("position", Relay) if topic.kind == "relay" else ("reading", Reading)
        told = model.model_validate_json(message.payload)
        assert isinstance(told, Relay | Reading)
        times.setdefault((kind, topic.name, round(told.ts.timestamp() * 1000)), now)

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.on_subscribe = lambda *_: pipe.send("ready")
    client.connect("127.0.0.1", site.mqtt_port)
    client.subscribe([(TOPICS.meter("+", "relay"), 1), (TOPICS.meter("+", "reading"), 1)])
    client.loop_start()
    pipe.recv()
    pipe.send(times)
    client.loop_stop()


@contextmanager
def listening(target: Callable[[Site, Connection], None], site: Site) -> Iterator[Connection]:
    """A process that listens and is ready."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    process = processes.Process(target=target, args=(site, theirs))
    process.start()
    try:
        if not ours.poll(DEADLINE):
            sys.exit(f"{target.__name__} is not ready after {DEADLINE:g} s")
        ours.recv()
        yield ours
    finally:
        process.terminate()
        process.join()
