"""Many meters in one process: the very same :class:`Meter`, with simulated hardware.

Meters of a kind of sensor read simulated devices, each on a wire of its own, with the code of real ones.

``seed`` and number make a meter: its id, serial number, name, address and load. A rerun with the
same seed and data_dir is the same meters, with their outboxes and relay positions. Each seed is a town of
its own: the houses of seed 7 are ``House 7-1`` and so on, beside ``House 1`` of the usual one.

>>> meter_ids(SimulateSettings(n=2, seed=1)) == meter_ids(SimulateSettings(n=2, seed=1))
True
"""

from __future__ import annotations

import asyncio
import random
import resource
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

from broker.contract.birth import Hardware
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now
from broker.mqtt.settings import MqttSettings
from broker.signals import stop_on_signals
from meter_firmware.enrolment import enrol as enrolment
from meter_firmware.enrolment.credentials import settle
from meter_firmware.meter import Meter, Plan
from meter_firmware.process import run_meters
from meter_firmware.profile import Profile
from meter_firmware.relay.pin import SimulatedPin
from meter_firmware.sensors.household import Household
from meter_firmware.sensors.kinds import Kind, kind, kinds
from meter_firmware.sensors.simulated import SimulatedHardware
from meter_firmware.sensors.wired_house import WiredHouse
from meter_firmware.settings import IDENTITY, USUAL_SEED, Identity, SimulateSettings

FILES_PER_METER = 4
"""Socket, database, its log, and one that is open for a moment."""
FILES_PER_WIRE = 4
"""Both ends of a pseudo-terminal or of a connection, the port that is read, and the one that listens."""
FILES_BESIDES = 200
MOST_WIRED = 80
"""Meters on simulated wires in one process: pyserial waits with select(), which knows 1024 files."""

FAMILIES = (
    "Abrahams", "Botha", "Cele", "Dlamini", "Erasmus", "Fortuin", "Govender", "Hendricks", "Isaacs", "Jacobs",
    "Khumalo", "Le Roux", "Mokoena", "Naidoo", "October", "Pillay", "Ramaphosa", "Sithole", "Visser", "Zulu",
)  # fmt: skip
STREETS = ("Acacia", "Baobab", "Cedar", "Disa", "Erica", "Fynbos", "Gardenia", "Hakea", "Iris", "Jasmine")
HOUSES_IN_A_STREET = 25
STREETS_IN_A_QUARTER = len(STREETS)
FIRST_CODE = 7500


async def run(settings: SimulateSettings, *, stop: asyncio.Event | None = None) -> None:
    """Be the meters until SIGTERM or SIGINT (or ``stop``, if given); Meter61850Error if one cannot start."""
    if settings.kind is not None and settings.n > MOST_WIRED:
        raise ConfigurationError(
            f"{settings.n} wired meters: at most {MOST_WIRED} in one process; start others with --first"
        )
    allow_files(FILES_BESIDES + (FILES_PER_METER + FILES_PER_WIRE * bool(settings.kind)) * settings.n)
    async with AsyncExitStack() as wires:
        meters = [await _meter(settings, number, wires) for number in _numbers(settings)]
        await run_meters(meters, stop or stop_on_signals())


async def enrol_all(
    settings: SimulateSettings, code: EnrolmentCode, *, host: str, port: int, ca: Path
) -> None:
    """Have each meter let in that is not yet; the errors of `meter_firmware.enrolment.enrol`."""
    for number in _numbers(settings):
        profile = simulated_profile(settings, number)
        data_dir = settings.data_dir / profile.meter_id
        if not (data_dir / IDENTITY).exists():
            plan = enrolment.EnrolmentOptions(
                *(profile.meter_id, profile.identity, profile.hardware, data_dir, host, ca, code), port=port
            )
            await enrolment.enrol(plan)


def meter_ids(settings: SimulateSettings) -> list[str]:
    """The meters' ids, in the order of their numbers."""
    return [meter_id(settings.seed, number, kind=settings.kind) for number in _numbers(settings)]


def meter_id(seed: int, number: int, *, kind: str | None = None) -> str:
    """Id of meter ``number`` of ``seed``: a version 4 UUID, but a reproducible one."""
    bits = random.Random(" ".join(filter(None, ("meter_id", str(seed), str(number), kind)))).getrandbits(128)
    return str(UUID(int=bits, version=4))


async def _meter(settings: SimulateSettings, number: int, wires: AsyncExitStack) -> Meter:
    if settings.kind is None:
        return simulated_meter(settings, number)
    found = kind(settings.kind)
    if found.simulated is None:
        able = ", ".join(each.name for each in kinds().values() if each.simulated is not None)
        raise ConfigurationError(f"--kind {found.name}: it cannot be simulated: use one of {able}")
    house = WiredHouse(seed=settings.seed, number=number, measures=_measures(found), solar=settings.solar)
    wire = found.simulated(lambda: house.measure(utc_now().timestamp()))
    sensor = found.open(await wires.enter_async_context(wire))
    return Meter(_plan(settings, number), sensor=sensor, pin=SimulatedPin())


def simulated_meter(settings: SimulateSettings, number: int) -> Meter:
    """Meter ``number``; the meters' reading instants are spread over the interval."""
    plan = _plan(settings, number)
    hardware = SimulatedHardware(
        Household(seed=settings.seed, number=number), plan.data_dir / "hardware.json"
    )
    return Meter(plan, sensor=hardware, pin=hardware)


def _plan(settings: SimulateSettings, number: int) -> Plan:
    profile = simulated_profile(settings, number)
    return Plan(
        profile=profile,
        mqtt=_connection(settings, profile.meter_id),
        data_dir=settings.data_dir / profile.meter_id,
        outbox=settings.outbox,
        offset=settings.interval * (number - settings.first) / settings.n,
        spared=False,
    )


def _measures(kind: Kind) -> tuple[str, ...]:
    return kind.simulates or kind.measures


def _connection(settings: SimulateSettings, meter_id: str) -> MqttSettings:
    """As itself, if there are identities."""
    folder = settings.data_dir / meter_id / IDENTITY
    if settings.identities is not None:
        folder = settings.identities / meter_id
    elif not folder.exists():
        return settings.mqtt
    settle(folder)
    return MqttSettings(identity=folder, version=settings.mqtt.version)


def simulated_profile(settings: SimulateSettings, number: int) -> Profile:
    """Who meter ``number`` says it is."""
    street, house = divmod(number - 1, HOUSES_IN_A_STREET)
    quarter, street = divmod(street, STREETS_IN_A_QUARTER)
    code = str(FIRST_CODE + quarter)
    seed = "" if settings.seed == USUAL_SEED else str(settings.seed)
    town = "-".join(filter(None, (settings.kind, seed)))
    wired = None if settings.kind is None else kind(settings.kind)
    return Profile(
        meter_id=meter_id(settings.seed, number, kind=settings.kind),
        identity=Identity(
            name=f"House {town}-{number}" if town else f"House {number}",
            owner=random.Random(f"owner {settings.seed} {number}").choice(FAMILIES),
            address=f"{house + 1} {STREETS[street]} Street, {code} Bellville {town}".rstrip(),
            address_code=code,
        ),
        hardware=Hardware(
            vendor="meter61850",
            model=f"simulated {wired.name if wired else 'PZEM-004T'}",
            serial="-".join(filter(None, ("SIM", settings.kind, str(settings.seed), f"{number:05d}"))),
        ),
        quantities=_measures(wired) if wired else SimulatedHardware.measures,
        relay=wired is None,
        interval=settings.interval,
        clock_synchronized=True,
    )


def allow_files(count: int) -> None:
    """Raise the limit of open files to ``count``; ConfigurationError if the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and count > hard:
        raise ConfigurationError(
            f"{count} open files are needed, {hard} are allowed: raise ulimit -Hn or simulate fewer meters"
        )
    if soft != resource.RLIM_INFINITY and count > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _numbers(settings: SimulateSettings) -> range:
    return range(settings.first, settings.first + settings.n)
