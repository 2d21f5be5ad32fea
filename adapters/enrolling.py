"""Meters of devices in a deployment: each enrols as itself; the adapter speaks for these and no other.

>>> await Admission(Entrance("broker.example", Path("ca.crt"), code))(profile, folder)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from adapters import discovery, points
from adapters.profiles import profile_of
from adapters.settings import AdapterSettings
from broker.contract.enrolment_codes import EnrolmentCode
from meter_firmware.enrolment import enrol as enrolment
from meter_firmware.profile import Profile
from meter_firmware.settings import IDENTITY

_log = logging.getLogger(__name__)

AT_ONCE = 4
"""Meters that ask at the same time."""


@dataclass(frozen=True)
class Entrance:
    """Where to enrol, and with which code."""

    host: str
    ca: Path
    code: EnrolmentCode
    port: int = enrolment.PORT
    prefix: str = "sm/v1"
    wait: float = 0.0
    """Seconds to wait for an administrator."""


class Admission:
    """Enrols each meter that has no identity yet."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, profile: Profile, folder: Path) -> None:
        """Return when the meter has an identity; the errors of `meter_firmware.enrolment.enrol`."""
        if (folder / IDENTITY).exists():
            return
        there = self._entrance
        async with self._turns:
            await enrolment.enrol(
                enrolment.EnrolmentOptions(
                    *(profile.meter_id, profile.identity, profile.hardware, folder),
                    *(there.host, there.ca, there.code),
                    port=there.port,
                    prefix=there.prefix,
                    wait=there.wait,
                )
            )
        _log.info("meter %s is enrolled", profile.meter_id)


async def enrol_accepted(settings: AdapterSettings, admission: Admission, *, seconds: float) -> int:
    """Enrol every accepted device that is found in ``seconds``; how many. Admission's errors end it."""
    found = await discovery.discover(settings, seconds=seconds)
    accepted = [(device.source, device.point, device.rule) for device in found.devices if device.rule]
    for source, point, rule in accepted:
        profile = profile_of(settings, source, point, rule)
        folder = settings.data_dir / profile.meter_id
        await admission(profile, folder)
        await asyncio.to_thread(points.save, folder, points.Kept(source.family, source.name, point))
        assert (folder / IDENTITY).exists()
    return len(accepted)
