"""What is on the brokers, and what each device would become; nothing is accepted or switched by looking.

>>> asyncio.run(discover(settings, seconds=5.0)).devices  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from adapters import acceptance, points
from adapters.acceptance import Acceptance, Rule
from adapters.aside import counted
from adapters.family import Available, Gone, Point, Step, Switched, Values
from adapters.profiles import quantities
from adapters.settings import AdapterSettings, SourceSettings
from adapters.source import Source


@dataclass
class Device:
    """A device that was met."""

    source: SourceSettings
    point: Point
    rule: Rule | None = None
    """That accepts it."""
    online: bool | None = None
    """As it says; None: it does not."""
    position: str | None = None
    values: dict[str, float | bool] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """As ``adapter accept`` takes it: ``tasmota/a0b0c0d0e0f4``."""
        return f"{self.source.family}/{self.point.key}"

    def row(self) -> dict[str, Any]:
        """For a table, and as JSON."""
        return {
            "device": self.place,
            "name": self.point.name,
            "model": f"{self.point.vendor} {self.point.model}".strip(),
            "source": self.source.name,
            "meter_id": points.meter_id_of(self.source.family, self.point.key),
            "accepted": self.rule is not None,
            "relay": ("switch" if self.rule and self.rule.switch else "yes") if self.point.switch else "no",
            "online": self.online,
            "position": self.position,
            "quantities": list(quantities(self.point, self.rule)),
            "values": self.values,
            "doubts": list(self.point.doubts),
        }


@dataclass
class Discovery:
    """What was found."""

    devices: list[Device] = field(default_factory=list)
    findings: dict[str, dict[str, int]] = field(default_factory=dict)
    """Source → cause → how often: of this look, and as the running adapter has counted."""
    unreachable: list[str] = field(default_factory=list)
    """Sources whose broker did not take us."""


class _Look:
    """Takes what the sources tell."""

    def __init__(self) -> None:
        self.devices: dict[tuple[str, str, str], Device] = {}

    def take(self, source: Source, step: Step) -> None:
        key = (source.settings.name, source.family, getattr(step, "key", ""))
        device = self.devices.get(key)
        match step:
            case Point():
                if device is None:
                    self.devices[key] = Device(source.settings, points.merged(step, None))
                else:
                    device.point = points.merged(step, device.point)
            case Gone():
                self.devices.pop(key, None)
            case Values() if device is not None and not step.historical:
                device.values |= step.measured
                device.point = points.with_measured(device.point, step.measured)
            case Available() if device is not None:
                device.online = step.online
            case Switched() if device is not None and step.confirmed:
                device.position = step.position.value


async def discover(settings: AdapterSettings, *, seconds: float) -> Discovery:
    """Listen for ``seconds``, and ask the devices to announce themselves; errors are `acceptance.read`'s."""
    rules = Acceptance(settings.accept, acceptance.read(settings.data_dir))
    look = _Look()
    was_up: set[str] = set()

    def connected(source: Source) -> None:
        if source.up:
            was_up.add(source.settings.name)

    sources = [
        Source(one, settings.mqtt_of(one), look.take, connected=connected, prefix=settings.mqtt.prefix)
        for one in settings.source
    ]
    tasks = [asyncio.create_task(source.run()) for source in sources]
    try:
        await asyncio.wait(tasks, timeout=seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for device in look.devices.values():
        point = device.point
        device.rule = rules.rule(device.source.family, point.key, point.name, source=device.source.name)
    return Discovery(
        sorted(look.devices.values(), key=lambda device: (device.place, device.source.name)),
        {one.settings.name: _summed(one, settings) for one in sources},
        [one.name for one in settings.source if one.name not in was_up],
    )


def _summed(source: Source, settings: AdapterSettings) -> dict[str, int]:
    before = counted(settings.data_dir, source.settings.name)
    return before | {cause: before.get(cause, 0) + count for cause, count in source.aside.counts.items()}
