"""Which device of which family a name on the command line means.

>>> place_of("tasmota/a0b0c0d0e0f4"), place_of("plug-kitchen")
(('tasmota', 'a0b0c0d0e0f4'), None)
"""

from __future__ import annotations

import asyncio

from adapters import discovery
from adapters.discovery import Discovery
from adapters.families.registry import families as all_families
from adapters.settings import AdapterSettings
from admin.exits import NotFoundError
from broker.contract.errors import ConfigurationError


def place_of(text: str) -> tuple[str, str] | None:
    """Family and key in ``FAMILY/KEY``; None for anything else."""
    family, slash, key = text.partition("/")
    return (family, key) if slash and key and family in all_families() else None


def places_of(
    settings: AdapterSettings, names: list[str], *, source: str, seconds: float
) -> list[tuple[str, str]]:
    """Families and keys of the devices; NotFoundError or ConfigurationError names a bad one."""
    given = {name: place for name in names if (place := place_of(name))}
    looked = len(given) < len(names)
    found = asyncio.run(discovery.discover(settings, seconds=seconds)) if looked else Discovery()
    places = []
    for name in names:
        wanted = name.casefold()
        fitting = {
            (device.source.family, device.point.key, device.source.name)
            for device in found.devices
            if wanted in (device.point.key.casefold(), device.point.name.casefold())
            and source in ("", device.source.name)
        }
        if name not in given and len(fitting) > 1:
            shown = "{}/{}" if len(settings.source) == 1 else "{}/{} (--source {})"
            some = ", ".join(sorted(shown.format(*one) for one in fitting)[:5])
            raise ConfigurationError(f"{name!r} is the name of {len(fitting)} devices: say which: {some}")
        if name not in given and not fitting:
            raise NotFoundError(f"no device is called {name!r}: meter61850 adapter discover shows all")
        places.append(given.get(name) or fitting.pop()[:2])
    return places
