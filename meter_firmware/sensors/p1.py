"""P1 ports of DSMR and ESMR meters (NL, BE, SE, HU and others), and like telegrams without a checksum.

A meter sends a telegram each second (DSMR 5) or each 10 s (DSMR 4 and before). The settings of the line are
those of dsmr-parser 1.11.2, `clients/settings.py`; the codes, those of its `obis_references.py`. Encrypted
telegrams (Luxembourg) are not read.

>>> PATIENCE > 10
True
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from meter_firmware.sensors.kinds import Kind, register
from meter_firmware.sensors.sensor import Sensor
from meter_firmware.sensors.telegrams.encoders import p1
from meter_firmware.sensors.telegrams.line import Line
from meter_firmware.sensors.telegrams.obis import MEASURES
from meter_firmware.sensors.telegrams.simulated import FRAME, SIMULATES, Measure, sending
from meter_firmware.sensors.telegrams.stream import StreamSensor
from meter_firmware.sensors.telegrams.text import TextDecoder
from meter_firmware.sensors.telegrams.wired import wired
from meter_firmware.settings import SensorSettings

PATIENCE = 12.0
"""s: a telegram comes each 10 s at least."""


def _p1(settings: SensorSettings) -> Sensor:
    line = Line.given(settings, baud_rate=115_200, frame="8N1")
    return wired(StreamSensor(line, partial(TextDecoder, checksum=True), patience=PATIENCE), settings)


def _without_checksum(settings: SensorSettings) -> Sensor:
    line = Line.given(settings, baud_rate=9600, frame="7E1")
    return wired(StreamSensor(line, partial(TextDecoder, checksum=False), patience=PATIENCE), settings)


@asynccontextmanager
async def _simulated(kind: str, measure: Measure) -> AsyncIterator[SensorSettings]:
    async with sending(lambda: p1(measure(), checksum=kind == "p1"), every=1.0) as port:
        yield SensorSettings(kind=kind, port=port, frame=FRAME)


register(
    Kind(
        "p1",
        "P1 port: DSMR and ESMR 4 and later, Fluvius, Sweden, Hungary",
        MEASURES,
        _p1,
        partial(_simulated, "p1"),
        SIMULATES,
    )
)
register(
    Kind(
        "p1_v2",
        "P1 port of DSMR 2.2 and 3.0, IEC 62056-21 mode D push",
        MEASURES,
        _without_checksum,
        partial(_simulated, "p1_v2"),
        SIMULATES,
    )
)
